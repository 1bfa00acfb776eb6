#pragma once
/* What a thread that serves callers hands to each of its requests: the loop, the way to the
 * upstream, the settings and the token in force, limits, counters, and the lists of requests
 * under way. One for each worker, which fills it in; all of it is for that thread alone. */
#include <stdatomic.h>
#include <sys/queue.h>

#include "base/base.h"
#include "base/failure.h"
#include "config/config.h"
#include "event/loop.h"
#include "ledger/ledger.h"
#include "net/curl_host.h"
#include "rights/caller_secrets.h"
#include "rights/freeze.h"
#include "stats/metrics.h"
#include "stats/recent_failures.h"
#include "token/token.h"
#include "upstream/conn_pool.h"
#include "upstream/exchange.h"
#include "upstream/h2_client.h"

struct relay;

TAILQ_HEAD(relay_list, relay);

struct context {
    struct loop loop;
    struct curl_host multi;
    struct conn_pool conn_pool;
    struct h2_host h2;
    struct exchange_host exchange_host; /* these four, as the exchanges know them */

    struct config *config;     /* in force; a reference */
    struct token *token;       /* NULL: none; else a reference */
    struct token *other_token; /* NULL, or another one that is alive, see token_manager.h */
    bool other_good;           /* the older one of the two is not known to be refused */
    uint64_t doubted[2];       /* tokens that were refused: when one is taken, it is told */
    bool failing;              /* no token, and none is being fetched */
    struct failure failure;    /* why */
    /* A refusal of the token of this generation is passed on, until then. */
    uint64_t passthrough_generation;
    int64_t passthrough_until_ms;

    struct relay_list parked;  /* wait for a token, oldest first */
    struct relay_list ready;   /* to be looked at once the callbacks have returned */
    struct relay_list running; /* all */
    struct relay_list pool;    /* for the next requests */
    size_t running_count, pool_count;
    int64_t typical_us;        /* running average of the upstream's time to a first byte */
    unsigned char random[512]; /* for request ids */
    size_t random_left;

    struct freeze *freeze;     /* shared by all threads */
    struct ledger_port ledger; /* its ledger NULL: there is none */
    /* The callers' secrets, where their files were read again since the settings were; else NULL. A
     * reference. */
    struct caller_secrets *secrets;

    _Atomic int64_t *in_flight; /* of all threads, see upstream.max_in_flight */
    struct metrics metrics;
    struct recent_failures_outbox failures;

    int64_t unknown_ms; /* when it was last logged that nobody was recognised; 0: never */

    bool draining;  /* answers get `Connection: close` */
    bool closed;    /* nothing is accepted any more */
    bool giving_up; /* callers without an answer are told that there will be none */

    /* A request waits for a token; the upstream refused the token of this generation; it took one
     * that is doubted. */
    void (*on_want)(void *arg);
    void (*on_refused)(void *arg, uint64_t generation);
    void (*on_accepted)(void *arg, uint64_t generation);
    void *arg; /* for all */
};

/* A new name for a request, of 128 random bits; empty when there are none. */
#define CONTEXT_REQUEST_ID_BYTES 33
void context_request_id(struct context *ctx, char out[CONTEXT_REQUEST_ID_BYTES]);

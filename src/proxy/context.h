#pragma once
/* What a worker hands to each of its requests: the loop, the connections to the upstream,
 * the settings and token in force, limits, counters, and the lists of requests in progress.
 * Each worker has one, which it fills in. Thread: the worker's. */
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
    struct exchange_host exchange_host; /* points to the four above */

    struct config *config; /* in force; holds a reference */
    struct token *token;   /* NULL: none; holds a reference */
    /* NULL, or another one that has not expired, see token_manager.h */
    struct token *other_token;
    bool other_good;        /* the older of the two is not known to be refused */
    uint64_t doubted[2];    /* generations that were refused; report it when one is accepted */
    bool failing;           /* no token, and none is being fetched */
    struct failure failure; /* why */
    /* Until then, refusals of the token with this generation are passed on to callers. */
    uint64_t passthrough_generation;
    int64_t passthrough_until_ms;

    struct relay_list parked;  /* waiting for a token, oldest first */
    struct relay_list ready;   /* to be examined when the callbacks have returned */
    struct relay_list running; /* all */
    struct relay_list pool;    /* free ones, for the next requests */
    size_t running_count, pool_count;
    int64_t typical_us;        /* running average of the time until the upstream's first byte */
    unsigned char random[512]; /* for request ids */
    size_t random_left;

    struct freeze *freeze;     /* shared by all threads */
    struct ledger_port ledger; /* its `ledger` is NULL if there is none */
    /* The callers' secrets, if their files were read after the settings; otherwise NULL.
     * Holds a reference. */
    struct caller_secrets *secrets;

    _Atomic int64_t *in_flight; /* shared by all threads, see upstream.max_in_flight */
    struct metrics metrics;
    struct recent_failures_outbox failures;

    int64_t unknown_ms; /* when an unknown caller was last logged; 0: never */

    bool draining;  /* answers get `Connection: close` */
    bool closed;    /* no requests are accepted any more */
    bool giving_up; /* callers that wait are told that there will be no answer */

    /* A request waits for a token; the upstream refused the token of this generation; it
     * accepted one that is doubted. */
    void (*on_want)(void *arg);
    void (*on_refused)(void *arg, uint64_t generation);
    void (*on_accepted)(void *arg, uint64_t generation);
    void *arg; /* passed to all three */
};

/* Makes a request id from 128 random bits; empty if there are none. */
#define CONTEXT_REQUEST_ID_BYTES 33
void context_request_id(struct context *ctx, char out[CONTEXT_REQUEST_ID_BYTES]);

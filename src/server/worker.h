#pragma once
/* One thread that serves callers: a loop with a libmicrohttpd daemon, a curl multi, its own
 * pointers to the settings and the token, and the requests it has under way. */
#include <pthread.h>
#include <sys/queue.h>

#include "base/base.h"
#include "config/config.h"
#include "downstream/mhd_pool.h"
#include "event/loop.h"
#include "event/mailbox.h"
#include "net/curl_host.h"
#include "net/listener.h"
#include "net/mhd_host.h"
#include "net/tls_bridge.h"
#include "proxy/limit.h"
#include "stats/metrics.h"
#include "stats/recent_failures.h"
#include "token/token_manager.h"
#include "upstream/conn_pool.h"

struct relay;
struct worker;
struct conn;

/* The settings and the token as this worker holds them: counted here without atomics, so that
 * requests of several threads do not meet on the shared counters. */
struct worker_config {
    unsigned refs;
    struct config *config;
};
struct worker_token {
    unsigned refs;
    struct token *token;
};

/* What the workers share with whoever runs them. Both calls are made on the worker's thread. */
struct worker_shared {
    struct limit in_flight, connections;
    struct recent_failures *failures; /* NULL: nobody looks at them */
    void (*on_want)(void *arg);       /* a request waits for a token */
    void (*on_refused)(void *arg, struct worker *w,
                       uint64_t generation); /* the upstream refused it */
    void (*on_drained)(void *arg);           /* a draining worker has nothing left */
    void *arg;
};

#define WORKER_LISTENERS_MAX 16

struct worker_listener {
    struct loop_io watch;
    struct worker *worker;
    int port; /* -1: unix socket */
    bool tls;
};

TAILQ_HEAD(relay_list, relay);
LIST_HEAD(conn_list, conn);

struct worker {
    unsigned index;
    pthread_t thread;
    bool started;
    struct worker_shared *shared;
    struct loop loop;
    struct mailbox mailbox;
    struct mhd_host mhd_host;
    struct curl_host multi;
    struct conn_pool conn_pool;
    struct tls *tls; /* what new connections by TCP are met with; NULL: plain */
    struct tls_bridges tls_bridges;
    size_t tunnels_refused;

    struct worker_config *snapshot;
    struct worker_token *grant; /* NULL: no token */
    bool failing;               /* no token, and none is being fetched */
    struct failure failure;     /* why */
    uint64_t
        passthrough_generation; /* a 401 on this one is passed on until passthrough_until_ms */
    int64_t passthrough_until_ms;

    struct worker_listener listener[WORKER_LISTENERS_MAX];
    size_t listeners;
    struct loop_timer accept_pause; /* after descriptors ran out */

    struct conn_list conns;
    struct mhd_pool mhd_pool;
    size_t refused_count;      /* of them: above listen.max_connections */
    struct relay_list parked;  /* wait for a token, oldest first */
    struct relay_list ready;   /* to be looked at once the callbacks have returned */
    struct relay_list running; /* all */
    struct relay_list pool;    /* for the next requests */
    size_t running_count, pool_count;
    int64_t typical_us;        /* running average of the upstream's time to a first byte */
    unsigned char random[512]; /* for request ids */
    size_t random_left;
    struct limit_share in_flight, connections;
    bool draining, closed, giving_up, drained;
    struct metrics metrics;
    struct recent_failures_outbox failures;
};

/* Prepares everything but the thread; takes a reference to c. The listening sockets stay the
 * caller's. Returns 0 or -errno. Thread: control. */
int worker_init(struct worker *w, unsigned index, struct worker_shared *shared,
                struct config *c, const struct listener *listeners, size_t count) MUST_CHECK;
/* Starts the thread. Returns 0 or -errno. Thread: control. */
int worker_start(struct worker *w) MUST_CHECK;
/* Frees what worker_init made; after the thread has ended, or never started. Thread: control.
 */
void worker_done(struct worker *w);

/* Mail to the worker. Thread: control. */
void worker_send_view(struct worker *w, const struct token_view *view);
void worker_send_keep(struct worker *w, uint64_t generation, int64_t until_ms);
void worker_send_config(struct worker *w, struct config *c);
/* Answers get `Connection: close` from now on. */
void worker_send_drain(struct worker *w);
/* Stops listening; idle connections are closed; a request whose first bytes are here is still
 * served; on_drained once nothing runs. */
void worker_send_close(struct worker *w);
/* Callers that wait for an answer are told that there will be none. */
void worker_send_give_up(struct worker *w);
/* Ends whatever still runs and leaves the loop. */
void worker_send_stop(struct worker *w);

/* For relays. Thread: worker. */
struct worker_config *worker_config_ref(struct worker *w);
void worker_config_unref(struct worker_config *s);
struct worker_token *worker_token_ref(struct worker *w);
void worker_token_unref(struct worker_token *g);

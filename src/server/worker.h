#pragma once
/* One thread that serves callers: a loop with a libmicrohttpd daemon, a curl multi handle,
 * its own pointers to settings and token, and its requests in progress. */
#include <pthread.h>
#include <stdatomic.h>

#include "base/base.h"
#include "config/config.h"
#include "downstream/downstream.h"
#include "event/mailbox.h"
#include "ledger/ledger.h"
#include "net/listener.h"
#include "proxy/context.h"
#include "stats/recent_failures.h"
#include "token/token_manager.h"
#include "upstream/conn_limit.h"

struct worker;

/* What workers share with the control thread. The callbacks are called on the worker's
 * thread. */
struct worker_shared {
    /* number of requests sent on, and of callers' connections */
    _Atomic int64_t in_flight, connections;
    struct conn_limit upstream_connections;
    struct freeze freeze; /* set before the first request; checked by the control thread */
    struct recent_failures *failures; /* NULL: nobody reads them */
    struct ledger *ledger;            /* NULL: none */
    void (*on_want)(void *arg);       /* a request waits for a token */
    /* the upstream refused the token with this generation */
    void (*on_refused)(void *arg, uint64_t generation);
    void (*on_accepted)(void *arg, uint64_t generation); /* ... accepted it after all */
    void (*on_drained)(void *arg); /* a draining worker has no requests left */
    void *arg;
};

struct worker {
    unsigned index;
    pthread_t thread;
    bool started;
    struct worker_shared *shared;
    struct mailbox mailbox;
    struct context ctx;           /* what its requests get */
    struct downstream downstream; /* the callers' side */
    bool drained;
};

/* Prepares everything but the thread; takes a reference to c. The listeners stay the
 * caller's. Returns 0 or -errno. Thread: control. */
int worker_init(struct worker *w, unsigned index, struct worker_shared *shared,
                struct config *c, const struct listener *listeners, size_t count) MUST_CHECK;
/* Starts the thread. Returns 0 or -errno. Thread: control. */
int worker_start(struct worker *w) MUST_CHECK;
/* Frees what worker_init has made; call it when the thread has ended, or was never started.
 * Thread: control. */
void worker_done(struct worker *w);

/* The following send mail to the worker. Thread: control. */
void worker_send_view(struct worker *w, const struct token_view *view);
void worker_send_config(struct worker *w, struct config *c);
/* The callers' secrets to use from now on, for the settings that were sent last. */
void worker_send_secrets(struct worker *w, struct caller_secrets *s);
/* From now on answers get `Connection: close`. */
void worker_send_drain(struct worker *w);
/* Stops listening and closes idle connections; a request whose first bytes have arrived is
 * still served; on_drained is called when no request is left. */
void worker_send_close(struct worker *w);
/* Callers that wait for an answer are told that there will be none. */
void worker_send_give_up(struct worker *w);
/* Ends whatever still runs and leaves the loop. */
void worker_send_stop(struct worker *w);

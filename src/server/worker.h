#pragma once
/* One thread that serves callers: a loop with a libmicrohttpd daemon, a curl multi, its own
 * pointers to the settings and the token, and the requests it has under way. */
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

/* What the workers share with whoever runs them. Both calls are made on the worker's thread. */
struct worker_shared {
    _Atomic int64_t in_flight, connections; /* counts: requests sent on, and of callers */
    struct conn_limit upstream_connections;
    struct freeze freeze; /* set before the first request; the control thread looks */
    struct recent_failures *failures;                    /* NULL: nobody looks at them */
    struct ledger *ledger;                               /* NULL: there is none */
    void (*on_want)(void *arg);                          /* a request waits for a token */
    void (*on_refused)(void *arg, uint64_t generation);  /* the upstream refused this token */
    void (*on_accepted)(void *arg, uint64_t generation); /* ... took this one after all */
    void (*on_drained)(void *arg); /* a draining worker has nothing left */
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
/* Frees what worker_init made; after the thread has ended, or never started. Thread: control.
 */
void worker_done(struct worker *w);

/* Mail to the worker. Thread: control. */
void worker_send_view(struct worker *w, const struct token_view *view);
void worker_send_config(struct worker *w, struct config *c);
/* The callers' secrets as they are from now on, for the settings that were sent last. */
void worker_send_secrets(struct worker *w, struct caller_secrets *s);
/* Answers get `Connection: close` from now on. */
void worker_send_drain(struct worker *w);
/* Stops listening; idle connections are closed; a request whose first bytes are here is still
 * served; on_drained once nothing runs. */
void worker_send_close(struct worker *w);
/* Callers that wait for an answer are told that there will be none. */
void worker_send_give_up(struct worker *w);
/* Ends whatever still runs and leaves the loop. */
void worker_send_stop(struct worker *w);

#pragma once
/* Limits how many connections to the upstream the whole process has open
 * (upstream.max_connections). Whoever finds none left waits in one queue for all threads,
 * first come first served.
 *
 *     conn_limit_take --> yes, at once
 *                   `---> no: queued --- conn_limit_give, by any thread ---> granted, by mail
 *
 * There is a lock. It is taken when a connection is made or closed, and for a request only
 * while somebody waits. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "base/base.h"
#include "event/mailbox.h"

struct conn_limit_user;

/* A place in the queue; embedded in what waits. */
struct conn_waiter {
    struct conn_limit_user *user; /* NULL: not waiting */
    bool granted;    /* a permit was granted, and the mail that says so is on its way */
    uint64_t number; /* which one it is since the start, from 1 */
    TAILQ_ENTRY(conn_waiter) link;
};

TAILQ_HEAD(conn_waiter_list, conn_waiter);

struct conn_limit {
    pthread_mutex_t lock;
    int64_t max, left;
    struct conn_waiter_list waiting;
    TAILQ_HEAD(, conn_limit_user) users;
    int64_t user_count;
    _Atomic unsigned waiting_count;
    uint64_t last_number;
};

/* The part of one thread. */
struct conn_limit_user {
    struct conn_limit *limit; /* NULL: no limit */
    struct mailbox *mailbox;
    void (*on_granted)(struct conn_limit_user *u, struct conn_waiter *w);
    /* Others are waiting: if there is an idle connection, close it; otherwise see
     * conn_limit_is_asked. */
    void (*on_wanted)(struct conn_limit_user *u);
    struct conn_waiter_list granted;
    int64_t held;      /* its connections, and permits on their way to it */
    uint64_t asked_by; /* the last waiter for which it gave up a connection in use */
    /* number of connections that it could close, now or soon; maintained by the user */
    _Atomic unsigned idle;
    TAILQ_ENTRY(conn_limit_user) link;
};

/* max: most connections. Returns 0 or -errno. Thread: control, before the others start and
 * after they have ended. */
int conn_limit_init(struct conn_limit *l, int64_t max) MUST_CHECK;
void conn_limit_done(struct conn_limit *l);

/* Thread, from here on: the user's. */
void conn_limit_join(struct conn_limit *l, struct conn_limit_user *u);
/* Nothing of this user may be waiting. Takes one that has not joined. */
void conn_limit_leave(struct conn_limit_user *u);

/* True: one more connection may be opened. Otherwise `w` waits, until on_granted or
 * conn_limit_cancel. */
bool conn_limit_take(struct conn_limit_user *u, struct conn_waiter *w) MUST_CHECK;
/* A connection was closed, or will not be opened after all. */
void conn_limit_give(struct conn_limit_user *u);
/* Stops waiting. Takes one that does not wait. */
void conn_limit_cancel(struct conn_waiter *w);
/* Removes the first in the queue, if it belongs to this user, and returns it: it will get a
 * connection that is open already. Otherwise NULL. */
struct conn_waiter *conn_limit_pop(struct conn_limit_user *u);

/* Whether the first in the queue belongs to another user, so that this one should close a
 * connection in use as soon as it can. True only once for each waiter that comes first.
 * Without this, a connection that many requests share would never be closed. If there are
 * enough for all users, only one that holds at least two more than the waiting one is asked. */
bool conn_limit_is_asked(struct conn_limit_user *u);

/* Whether anybody is waiting. */
static inline bool conn_limit_is_wanted(const struct conn_limit_user *u)
{
    return u->limit != NULL && atomic_load(&u->limit->waiting_count) > 0;
}

#pragma once
/* How many connections to the upstream the whole process has open at most
 * (upstream.max_connections). Whoever finds none left waits in one queue for all threads, first
 * come first served.
 *
 *     conn_limit_take --> yes, at once
 *                   `---> no: queued --- conn_limit_give, by any thread ---> granted, told by mail
 *
 * There is a lock. It is taken when a connection is made or closed, and for a request only while
 * somebody waits. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "base/base.h"
#include "event/mailbox.h"

struct conn_limit_user;

/* A place in the queue; embedded in what waits. */
struct conn_waiter {
    struct conn_limit_user *user; /* NULL: it does not wait */
    bool granted;                 /* and the mail that tells is on its way */
    TAILQ_ENTRY(conn_waiter) link;
};

TAILQ_HEAD(conn_waiter_list, conn_waiter);

struct conn_limit {
    pthread_mutex_t lock;
    int64_t left;
    struct conn_waiter_list waiting;
    TAILQ_HEAD(, conn_limit_user) users;
    _Atomic unsigned waiting_count;
};

/* One thread's part. */
struct conn_limit_user {
    struct conn_limit *limit; /* NULL: no limit */
    struct mailbox *mailbox;
    void (*on_granted)(struct conn_limit_user *u, struct conn_waiter *w);
    /* Others wait: an idle connection, if there is one, is to be closed. */
    void (*on_wanted)(struct conn_limit_user *u);
    struct conn_waiter_list granted;
    _Atomic unsigned idle; /* connections that it could do without; kept by the user */
    TAILQ_ENTRY(conn_limit_user) link;
};

/* Thread: control, before the others start and after they have ended. */
int conn_limit_init(struct conn_limit *l, int64_t max) MUST_CHECK;
void conn_limit_done(struct conn_limit *l);

/* Thread, from here on: the user's. */
void conn_limit_join(struct conn_limit *l, struct conn_limit_user *u);
/* None of its own may wait. Takes one that has not joined. */
void conn_limit_leave(struct conn_limit_user *u);

/* True: one more connection may be opened. Else `w` waits; on_granted, or conn_limit_cancel. */
bool conn_limit_take(struct conn_limit_user *u, struct conn_waiter *w) MUST_CHECK;
/* A connection is closed, or will not be opened after all. */
void conn_limit_give(struct conn_limit_user *u);
/* It waits no more. Takes one that does not wait. */
void conn_limit_cancel(struct conn_waiter *w);
/* Takes the first of all that wait off the queue, if it is this user's: it gets a connection that
 * is open already. Else NULL. */
struct conn_waiter *conn_limit_first(struct conn_limit_user *u);

/* Whether anybody waits. */
static inline bool conn_limit_is_wanted(const struct conn_limit_user *u)
{
    return u->limit != NULL && atomic_load(&u->limit->waiting_count) > 0;
}

/* The limit on connections to the upstream, see conn_limit.h. A permit that is given back
 * goes to the first in the queue, so that nobody can overtake. */
#include "upstream/conn_limit.h"

#include <errno.h>

struct note {
    struct mail mail;
    struct conn_limit_user *to;
};

static void on_granted(struct mail *mail)
{
    struct conn_limit_user *u = CONTAINER_OF(mail, struct note, mail)->to;
    struct conn_waiter *w;

    (void)pthread_mutex_lock(&u->limit->lock);
    w = TAILQ_FIRST(&u->granted); /* NULL: cancelled meanwhile */
    if (w != NULL) {
        TAILQ_REMOVE(&u->granted, w, link);
        w->user = NULL;
        w->granted = false;
    }
    (void)pthread_mutex_unlock(&u->limit->lock);
    if (w != NULL)
        u->on_granted(u, w);
}

static void on_wanted(struct mail *mail)
{
    struct conn_limit_user *u = CONTAINER_OF(mail, struct note, mail)->to;

    u->on_wanted(u);
}

static void send_mail(struct conn_limit_user *u, void (*run)(struct mail *))
{
    struct note *n = base_alloc(sizeof *n);

    *n = (struct note){ .mail = { .run = run, .free = mail_free }, .to = u };
    mailbox_send(u->mailbox, &n->mail);
}

int conn_limit_init(struct conn_limit *l, int64_t max)
{
    *l = (struct conn_limit){ .max = max, .left = max };
    TAILQ_INIT(&l->waiting);
    TAILQ_INIT(&l->users);
    return -pthread_mutex_init(&l->lock, NULL);
}

void conn_limit_done(struct conn_limit *l)
{
    assert(TAILQ_EMPTY(&l->users));
    (void)pthread_mutex_destroy(&l->lock);
}

void conn_limit_join(struct conn_limit *l, struct conn_limit_user *u)
{
    u->limit = l;
    TAILQ_INIT(&u->granted);
    (void)pthread_mutex_lock(&l->lock);
    TAILQ_INSERT_TAIL(&l->users, u, link);
    l->user_count++;
    (void)pthread_mutex_unlock(&l->lock);
}

void conn_limit_leave(struct conn_limit_user *u)
{
    struct conn_limit *l = u->limit;

    if (l == NULL)
        return;
    (void)pthread_mutex_lock(&l->lock);
    TAILQ_REMOVE(&l->users, u, link);
    l->user_count--;
    (void)pthread_mutex_unlock(&l->lock);
    u->limit = NULL;
}

bool conn_limit_take(struct conn_limit_user *u, struct conn_waiter *w)
{
    struct conn_limit *l = u->limit;
    struct conn_limit_user *other = NULL;

    if (l == NULL)
        return true;
    (void)pthread_mutex_lock(&l->lock);
    bool taken = l->left > 0 && TAILQ_EMPTY(&l->waiting);

    if (taken) {
        l->left--;
        u->held++;
    } else {
        w->user = u;
        w->number = ++l->last_number;
        TAILQ_INSERT_TAIL(&l->waiting, w, link);
        (void)atomic_fetch_add(&l->waiting_count, 1);
        TAILQ_FOREACH (other, &l->users, link)
            if (atomic_load(&other->idle) > 0)
                send_mail(other, on_wanted);
    }
    (void)pthread_mutex_unlock(&l->lock);
    return taken;
}

/* The first in the queue gets what was given back. With the lock. */
static void pass_on(struct conn_limit *l)
{
    struct conn_waiter *w = TAILQ_FIRST(&l->waiting);

    if (w == NULL) {
        l->left++;
        return;
    }
    TAILQ_REMOVE(&l->waiting, w, link);
    (void)atomic_fetch_sub(&l->waiting_count, 1);
    w->granted = true;
    w->user->held++;
    TAILQ_INSERT_TAIL(&w->user->granted, w, link);
    send_mail(w->user, on_granted);
}

void conn_limit_give(struct conn_limit_user *u)
{
    if (u->limit == NULL)
        return;
    (void)pthread_mutex_lock(&u->limit->lock);
    u->held--;
    pass_on(u->limit);
    (void)pthread_mutex_unlock(&u->limit->lock);
}

void conn_limit_cancel(struct conn_waiter *w)
{
    struct conn_limit_user *u = w->user;

    if (u == NULL)
        return;
    (void)pthread_mutex_lock(&u->limit->lock);
    if (w->granted) {
        TAILQ_REMOVE(&u->granted, w, link);
        u->held--;
        pass_on(u->limit);
    } else {
        TAILQ_REMOVE(&u->limit->waiting, w, link);
        (void)atomic_fetch_sub(&u->limit->waiting_count, 1);
    }
    w->user = NULL;
    w->granted = false;
    (void)pthread_mutex_unlock(&u->limit->lock);
}

struct conn_waiter *conn_limit_pop(struct conn_limit_user *u)
{
    struct conn_limit *l = u->limit;
    struct conn_waiter *w;

    (void)pthread_mutex_lock(&l->lock);
    w = TAILQ_FIRST(&l->waiting);
    if (w != NULL && w->user == u) {
        TAILQ_REMOVE(&l->waiting, w, link);
        (void)atomic_fetch_sub(&l->waiting_count, 1);
        w->user = NULL;
    } else {
        w = NULL;
    }
    (void)pthread_mutex_unlock(&l->lock);
    return w;
}

bool conn_limit_is_asked(struct conn_limit_user *u)
{
    const struct conn_waiter *w;
    bool asked;

    if (!conn_limit_is_wanted(u))
        return false;
    (void)pthread_mutex_lock(&u->limit->lock);
    w = TAILQ_FIRST(&u->limit->waiting);
    asked = w != NULL && w->user != u && w->number != u->asked_by &&
            (u->limit->max < u->limit->user_count || u->held > w->user->held + 1);
    if (asked)
        u->asked_by = w->number;
    (void)pthread_mutex_unlock(&u->limit->lock);
    return asked;
}

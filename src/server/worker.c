/* A worker's turn:
 *
 *   loop wakes -> callbacks set `due` and wake relays -> on_turn:
 *       repeat: tunnels, libmicrohttpd, woken relays, curl, until none has anything left
 *   -> write the log -> sleep
 *
 * so that a request that can go all the way does so in one turn. */
#include "server/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "downstream/accept.h"
#include "downstream/conn.h"
#include "downstream/handler.h"
#include "proxy/relay.h"
#include "upstream/upstream_inside.h"

/* Room in libmicrohttpd's pool beside the largest request head: for its own records of the
 * fields, and an answer's head of ordinary size; a larger one goes past it, see bypass.h. All
 * of a pool is overwritten for each request, half of it twice, so that its size costs time. */
#define POOL_SPARE_BYTES (16 * 1024)

struct worker_config *worker_config_ref(struct worker *w)
{
    w->snapshot->refs++;
    return w->snapshot;
}

void worker_config_unref(struct worker_config *s)
{
    if (s == NULL || --s->refs > 0)
        return;
    config_unref(s->config);
    free(s);
}

struct worker_token *worker_token_ref(struct worker *w)
{
    w->grant->refs++;
    return w->grant;
}

void worker_token_unref(struct worker_token *g)
{
    if (g == NULL || --g->refs > 0)
        return;
    token_unref(g->token);
    free(g);
}

static struct worker_config *worker_config_new(struct config *c)
{
    struct worker_config *s = base_alloc(sizeof *s);

    s->refs = 1;
    s->config = c;
    return s;
}

/* A head that has begun counts as running. */
static bool head_under_way(const struct worker *w)
{
    struct conn *c;

    LIST_FOREACH(c, &w->conns, link)
    if (!c->finished && (c->partial || c->phase == CONN_HEAD))
        return true;
    return false;
}

/* After a worker that drains has nothing left, once. */
static void check_drained(struct worker *w)
{
    if (!w->closed || w->drained || w->running_count > 0 || w->tls_bridges.releasing > 0 ||
        (!w->giving_up && (head_under_way(w) || tls_bridges_in_handshake(&w->tls_bridges))))
        return;
    w->drained = true;
    w->shared->on_drained(w->shared->arg);
}

static bool on_turn(void *arg)
{
    enum { ROUNDS_MAX = 32 };
    struct worker *w = arg;
    bool more = true;

    for (int i = 0; more && i < ROUNDS_MAX; i++) {
        more = tls_bridges_turn(&w->tls_bridges);
        more |= mhd_host_turn(&w->mhd_host);
        more |= relay_turn(w);
        more |= curl_host_turn(&w->multi);
        more |= conn_pool_turn(&w->conn_pool);
    }
    metrics_set(&w->metrics, M_upstream_connections_opened, w->multi.opened);
    metrics_set(&w->metrics, M_upstream_connections_closed, w->multi.closed);
    check_drained(w);
    return more || w->mhd_host.due;
}

/* A unix socket is shared by all workers: one of them is enough to accept. */
static int watch_listener(struct worker *w, struct worker_listener *l)
{
    return loop_io_start(&w->loop, &l->watch,
                         EPOLLIN | (l->port < 0 ? (uint32_t)EPOLLEXCLUSIVE : 0));
}

static void on_accept_pause(struct loop_timer *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, accept_pause);

    for (size_t i = 0; i < w->listeners && !w->closed; i++)
        (void)watch_listener(w, &w->listener[i]);
}

static int start_httpd(struct worker *w, const struct config *c)
{
    mhd_pool_init(&w->mhd_pool, &w->loop,
                  (size_t)c->listen.max_header_size_bytes + POOL_SPARE_BYTES);
    struct mhd_host_options o = {
        .pool_bytes = w->mhd_pool.pool_bytes,
        .connection_limit =
            (unsigned)c->listen.max_connections + ACCEPT_REFUSED_MAX + ACCEPT_BATCH,
        .idle_timeout_ms = c->listen.idle_timeout_ms,
        .on_request = handler_on_request,
        .on_completed = handler_on_completed,
        .on_target = handler_on_target,
        .on_connection = conn_on_connection,
        .arg = w,
    };

    return mhd_host_init(&w->mhd_host, &w->loop, &o);
}

int worker_init(struct worker *w, unsigned index, struct worker_shared *shared,
                struct config *c, const struct listener *listeners, size_t count)
{
    memset(w, 0, sizeof *w);
    w->index = index;
    w->shared = shared;
    w->in_flight.quota = &shared->in_flight;
    w->connections.quota = &shared->connections;
    w->snapshot = worker_config_new(config_ref(c));
    w->tls = c->listen.tls == NULL ? NULL : tls_ref(c->listen.tls);
    w->accept_pause.on_due = on_accept_pause;
    LIST_INIT(&w->conns);
    TAILQ_INIT(&w->parked);
    TAILQ_INIT(&w->ready);
    TAILQ_INIT(&w->running);
    TAILQ_INIT(&w->pool);
    int err = loop_init(&w->loop);
    if (err == 0)
        err = mailbox_init(&w->mailbox, &w->loop);
    if (err == 0)
        accept_init(w);
    if (err == 0)
        err = curl_host_init(&w->multi, &w->loop, (long)c->upstream.max_connections);
    if (err == 0)
        conn_pool_init(&w->conn_pool, &w->multi, (size_t)c->upstream.max_connections,
                       &h1_client_user);
    if (err == 0)
        err = start_httpd(w, c);
    for (size_t i = 0; err == 0 && i < count; i++) {
        struct worker_listener *l = &w->listener[w->listeners++];

        *l = (struct worker_listener){ .watch = { .fd = listeners[i].fd,
                                                  .on_event = accept_on_acceptable },
                                       .worker = w,
                                       .port = listeners[i].port,
                                       .tls = w->tls != NULL && listeners[i].port >= 0 };
        err = watch_listener(w, l);
    }
    recent_failures_outbox_init(&w->failures, &w->loop, shared->failures);
    w->loop.on_turn = on_turn;
    w->loop.on_turn_arg = w;
    return err;
}

static void *run(void *arg)
{
    struct worker *w = arg;
    char name[16];

    /* By itself: naming another thread writes a file, which the sandbox refuses. */
    (void)snprintf(name, sizeof name, "worker-%u", w->index);
    (void)pthread_setname_np(pthread_self(), name);
    loop_run(&w->loop);
    return NULL;
}

int worker_start(struct worker *w)
{
    sigset_t all, before;

    /* Signals are the control thread's. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&w->thread, NULL, run, w);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err != 0)
        return -err;
    w->started = true;
    return 0;
}

/* Makes libmicrohttpd let go of every connection: none may be suspended when it stops. */
static void abandon(struct worker *w)
{
    struct relay *r;

    TAILQ_FOREACH (r, &w->running, all_link) {
        r->gone = true;
        upstream_cancel(r);
        handler_resume(r);
    }
    for (int i = 0; i < 100 && !TAILQ_EMPTY(&w->running); i++) {
        w->mhd_host.due = true;
        (void)mhd_host_turn(&w->mhd_host);
    }
}

void worker_done(struct worker *w)
{
    if (w->snapshot == NULL)
        return;
    w->closed = true;
    mailbox_done(&w->mailbox);
    if (w->mhd_host.daemon != NULL)
        abandon(w);
    mhd_host_done(&w->mhd_host);
    mhd_pool_done(&w->mhd_pool);
    tls_bridges_done(&w->tls_bridges);
    relay_free_pool(w);
    conn_pool_done(&w->conn_pool);
    curl_host_done(&w->multi);
    loop_timer_clear(&w->loop, &w->accept_pause);
    recent_failures_outbox_done(&w->failures);
    worker_token_unref(w->grant);
    worker_config_unref(w->snapshot);
    tls_unref(w->tls);
    loop_done(&w->loop);
    w->snapshot = NULL;
}

/* Mail, from here on: the sender's half on the control thread, `on_x` on the worker's. */

struct view_mail {
    struct mail mail;
    struct worker *worker;
    struct token_view view;
};

/* Each parked relay is asked once; it may leave the list, or go to its end. */
static void tell_parked(struct worker *w)
{
    struct relay *last = TAILQ_LAST(&w->parked, relay_list), *next;

    for (struct relay *r = TAILQ_FIRST(&w->parked); r != NULL; r = next) {
        next = r == last ? NULL : TAILQ_NEXT(r, parked_link);
        relay_on_token(r);
    }
}

static void on_view(struct mail *mail)
{
    struct view_mail *m = CONTAINER_OF(mail, struct view_mail, mail);
    struct worker *w = m->worker;

    worker_token_unref(w->grant);
    w->grant = NULL;
    if (m->view.token != NULL) {
        w->grant = base_alloc(sizeof *w->grant);
        w->grant->refs = 1;
        w->grant->token = m->view.token;
    }
    w->failing = m->view.failing;
    w->failure = m->view.failure;
    free(m);
    tell_parked(w);
}

void worker_send_view(struct worker *w, const struct token_view *view)
{
    struct view_mail *m = base_alloc(sizeof *m);

    m->mail.run = on_view;
    m->worker = w;
    m->view = *view;
    if (view->token != NULL)
        token_ref(view->token);
    mailbox_send(&w->mailbox, &m->mail);
}

struct keep_mail {
    struct mail mail;
    struct worker *worker;
    uint64_t generation;
    int64_t until_ms;
};

static void on_keep(struct mail *mail)
{
    struct keep_mail *m = CONTAINER_OF(mail, struct keep_mail, mail);
    struct worker *w = m->worker;

    w->passthrough_generation = m->generation;
    w->passthrough_until_ms = m->until_ms;
    free(m);
    tell_parked(w);
}

void worker_send_keep(struct worker *w, uint64_t generation, int64_t until_ms)
{
    struct keep_mail *m = base_alloc(sizeof *m);

    *m = (struct keep_mail){
        .mail.run = on_keep, .worker = w, .generation = generation, .until_ms = until_ms
    };
    mailbox_send(&w->mailbox, &m->mail);
}

struct config_mail {
    struct mail mail;
    struct worker *worker;
    struct config *config;
};

static void on_config(struct mail *mail)
{
    struct config_mail *m = CONTAINER_OF(mail, struct config_mail, mail);
    struct worker *w = m->worker;
    struct worker_config *was = w->snapshot;
    bool moved = strcmp(was->config->upstream.origin, m->config->upstream.origin) != 0;

    w->snapshot = worker_config_new(m->config);
    worker_config_unref(was);
    /* A listener is born with TLS or without; see config_needs_restart. */
    if (w->tls != NULL && m->config->listen.tls != NULL) {
        struct tls *before = w->tls;

        w->tls = tls_ref(m->config->listen.tls);
        conn_tls_changed(w, before);
        tls_unref(before);
    }
    /* Pooled handles and connections carry the old settings. */
    relay_free_pool(w);
    conn_pool_forget(&w->conn_pool);
    free(m);
    /* No token goes to another upstream than the one it was obtained for. */
    if (moved) {
        worker_token_unref(w->grant);
        w->grant = NULL;
        w->failing = false;
        tell_parked(w);
    }
}

void worker_send_config(struct worker *w, struct config *c)
{
    struct config_mail *m = base_alloc(sizeof *m);

    *m = (struct config_mail){ .mail.run = on_config, .worker = w, .config = config_ref(c) };
    mailbox_send(&w->mailbox, &m->mail);
}

struct order_mail {
    struct mail mail;
    struct worker *worker;
};

static void order(struct worker *w, void (*run_order)(struct mail *))
{
    struct order_mail *m = base_alloc(sizeof *m);

    m->mail.run = run_order;
    m->worker = w;
    mailbox_send(&w->mailbox, &m->mail);
}

static struct worker *ordered(struct mail *mail)
{
    struct order_mail *m = CONTAINER_OF(mail, struct order_mail, mail);
    struct worker *w = m->worker;

    free(m);
    return w;
}

static void on_drain(struct mail *mail)
{
    ordered(mail)->draining = true;
}

/* More than a queue (listener.c) can hold. */
#define LAST_BATCHES 32

static void on_close(struct mail *mail)
{
    struct worker *w = ordered(mail);
    struct conn *c;

    w->closed = true;
    loop_timer_clear(&w->loop, &w->accept_pause);
    for (size_t i = 0; i < w->listeners; i++) {
        /* Whom the kernel has connected already would be reset. */
        accept_on_acceptable(&w->listener[i].watch, EPOLLIN);
        loop_io_stop(&w->loop, &w->listener[i].watch);
        /* From now on the kernel refuses; the server closes the descriptor at the end. */
        (void)shutdown(w->listener[i].watch.fd, SHUT_RDWR);
        /* Who waits for a place in the queue of a unix socket is not told, only woken by one.
         */
        for (int n = 0; n < LAST_BATCHES && w->listener[i].port < 0; n++)
            accept_on_acceptable(&w->listener[i].watch, EPOLLIN);
    }
    loop_timer_clear(&w->loop, &w->accept_pause);
    w->mhd_host.due = true;
    (void)mhd_host_turn(&w->mhd_host);
    tls_bridges_stop_silent(&w->tls_bridges);
    LIST_FOREACH(c, &w->conns, link)
    {
        if (c->phase != CONN_IDLE || c->partial)
            continue;
        if (!conn_has_sent(c)) {
            conn_close_idle(c);
            continue;
        }
        c->partial = true;
        c->since_ms = loop_now(&w->loop);
    }
}

static void on_give_up(struct mail *mail)
{
    struct worker *w = ordered(mail);
    struct relay *r;

    w->giving_up = true;
    TAILQ_FOREACH (r, &w->running, all_link)
        relay_give_up(r);
}

static void on_stop(struct mail *mail)
{
    loop_stop(&ordered(mail)->loop);
}

void worker_send_drain(struct worker *w)
{
    order(w, on_drain);
}

void worker_send_close(struct worker *w)
{
    order(w, on_close);
}

void worker_send_give_up(struct worker *w)
{
    order(w, on_give_up);
}

void worker_send_stop(struct worker *w)
{
    order(w, on_stop);
}

/* A worker's turn:
 *
 *   loop wakes -> callbacks set `due` and wake relays -> on_turn:
 *       repeat: tls_bridges, libmicrohttpd, woken relays, curl, until none has work left
 *   -> write the log -> sleep
 *
 * so that a request that need not wait is handled in one turn. */
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
#include "upstream/h1_client.h"
#include "upstream/h2_client.h"

/* Room in libmicrohttpd's pool besides the largest request head: for its records of fields,
 * and the head of an ordinary answer; a larger one is written without libmicrohttpd, see
 * downstream/response.h. A whole pool is overwritten after each request, and half of it once
 * more before, so its size costs time: a page less is 6 KiB less to write. A head that does
 * not fit is beyond a limit, see handler_on_own_answer. */
#define POOL_SPARE_BYTES (8 * 1024)
#define POOL_RECORD_BYTES 64
/* so that the default of listen.max_headers needs no further page */
#define POOL_OTHER_BYTES 1792
/* A pool of this size or more has memory pages of its own. */
#define POOL_BYTES_MIN (36 * 1024)

/* A head that has begun, or may be about to begin, counts as a running request. */
static bool head_under_way(const struct worker *w)
{
    struct conn *c;

    LIST_FOREACH(c, &w->downstream.conns, link)
    if (conn_in_head(c))
        return true;
    return false;
}

/* Reports once that a draining worker has no requests left. */
static void check_drained(struct worker *w)
{
    if (!w->ctx.closed || w->drained || w->ctx.running_count > 0 ||
        w->downstream.tls_bridges.releasing > 0 ||
        (!w->ctx.giving_up &&
         (head_under_way(w) || tls_bridges_in_handshake(&w->downstream.tls_bridges))))
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
        more = tls_bridges_turn(&w->downstream.tls_bridges);
        /* Before libmicrohttpd: an answer of the upstream that has arrived must come before
         * an error that libmicrohttpd would send by itself. */
        more |= relay_turn(&w->ctx);
        more |= mhd_host_turn(&w->downstream.mhd_host);
        more |= relay_turn(&w->ctx);
        more |= curl_host_turn(&w->ctx.multi);
        more |= conn_pool_turn(&w->ctx.conn_pool);
    }
    metrics_set(&w->ctx.metrics, M_upstream_connections_opened, w->ctx.multi.opened);
    metrics_set(&w->ctx.metrics, M_upstream_connections_closed, w->ctx.multi.closed);
    check_drained(w);
    return more || w->downstream.mhd_host.due;
}

/* In whole pages, as libmicrohttpd allocates it. */
static size_t pool_bytes(const struct config *c)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int64_t spare = base_max(POOL_SPARE_BYTES,
                             c->listen.max_headers * POOL_RECORD_BYTES + POOL_OTHER_BYTES);
    int64_t bytes = base_max(POOL_BYTES_MIN, c->listen.max_header_size_bytes + spare);

    return ((size_t)bytes + page - 1) / page * page;
}

static int start_httpd(struct worker *w, const struct config *c)
{
    mhd_pool_init(&w->downstream.mhd_pool, &w->ctx.loop, pool_bytes(c));
    struct mhd_host_options o = {
        .pool_bytes = w->downstream.mhd_pool.pool_bytes,
        .connection_limit =
            (unsigned)c->listen.max_connections + ACCEPT_REFUSED_MAX + ACCEPT_BATCH,
        .idle_timeout_ms = 0, /* conn.c and relay.c have a time limit for each kind of wait */
        .on_request = handler_on_request,
        .on_completed = handler_on_completed,
        .on_target = handler_on_target,
        .on_connection = handler_on_connection,
        .on_own_answer = handler_on_own_answer,
        .arg = &w->downstream,
    };

    return mhd_host_init(&w->downstream.mhd_host, &w->ctx.loop, &o);
}

static void on_want(void *arg)
{
    const struct worker *w = arg;

    w->shared->on_want(w->shared->arg);
}

static void on_refused(void *arg, uint64_t generation)
{
    const struct worker *w = arg;

    w->shared->on_refused(w->shared->arg, generation);
}

static void on_accepted(void *arg, uint64_t generation)
{
    const struct worker *w = arg;

    w->shared->on_accepted(w->shared->arg, generation);
}

/* Sets up the connections to the upstream. */
static int start_upstream(struct worker *w, const struct config *c)
{
    struct context *ctx = &w->ctx;
    int err = curl_host_init(&ctx->multi, &ctx->loop, (long)c->upstream.max_connections);

    ctx->exchange_host = (struct exchange_host){ .loop = &ctx->loop,
                                                 .curl = &ctx->multi,
                                                 .conn_pool = &ctx->conn_pool,
                                                 .h1 = &h1_client,
                                                 .h2 = &h2_client,
                                                 .h2_host = &ctx->h2 };
    if (err != 0)
        return err;
    conn_pool_init(&ctx->conn_pool, &ctx->multi, (size_t)c->upstream.max_connections,
                   &h1_client_user);
    ctx->conn_pool.limit.mailbox = &w->mailbox;
    conn_limit_join(&w->shared->upstream_connections, &ctx->conn_pool.limit);
    h2_host_init(&ctx->h2, &ctx->conn_pool);
    return 0;
}

int worker_init(struct worker *w, unsigned index, struct worker_shared *shared,
                struct config *c, const struct listener *listeners, size_t count)
{
    memset(w, 0, sizeof *w);
    w->index = index;
    w->shared = shared;
    w->downstream.ctx = &w->ctx;
    w->downstream.user = &handler_conn_user;
    w->ctx.on_want = on_want;
    w->ctx.on_refused = on_refused;
    w->ctx.on_accepted = on_accepted;
    w->ctx.arg = w;
    w->ctx.in_flight = &shared->in_flight;
    w->ctx.freeze = &shared->freeze;
    w->ctx.ledger = (struct ledger_port){ .ledger = shared->ledger,
                                          .loop = &w->ctx.loop,
                                          .mailbox = &w->mailbox };
    w->downstream.connections = &shared->connections;
    w->ctx.config = config_ref(c);
    w->downstream.tls = c->listen.tls == NULL ? NULL : tls_ref(c->listen.tls);
    LIST_INIT(&w->downstream.conns);
    TAILQ_INIT(&w->ctx.parked);
    TAILQ_INIT(&w->ctx.ready);
    TAILQ_INIT(&w->ctx.running);
    TAILQ_INIT(&w->ctx.pool);
    int err = loop_init(&w->ctx.loop);
    if (err == 0)
        err = mailbox_init(&w->mailbox, &w->ctx.loop);
    if (err == 0)
        accept_init(&w->downstream);
    if (err == 0)
        err = start_upstream(w, c);
    if (err == 0)
        err = start_httpd(w, c);
    if (err == 0)
        err = acceptor_init(&w->downstream.acceptor, &w->ctx.loop,
                            &(struct acceptor_options){ .listeners = listeners,
                                                        .count = count,
                                                        .batch = ACCEPT_BATCH,
                                                        .on_accepted = accept_on_accepted,
                                                        .arg = &w->downstream });
    recent_failures_outbox_init(&w->ctx.failures, &w->ctx.loop, shared->failures);
    w->ctx.loop.on_turn = on_turn;
    w->ctx.loop.on_turn_arg = w;
    return err;
}

static void *run(void *arg)
{
    struct worker *w = arg;
    char name[16];

    /* The thread names itself: naming another one writes to a file, which the sandbox
     * refuses. */
    (void)snprintf(name, sizeof name, "worker-%u", w->index);
    (void)pthread_setname_np(pthread_self(), name);
    loop_run(&w->ctx.loop);
    return NULL;
}

int worker_start(struct worker *w)
{
    sigset_t all, before;

    /* Signals are handled by the control thread. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&w->thread, NULL, run, w);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err != 0)
        return -err;
    w->started = true;
    return 0;
}

/* Makes libmicrohttpd release every connection: none may be suspended when it stops. */
static void abandon(struct worker *w)
{
    struct relay *r, *next;

    for (r = TAILQ_FIRST(&w->ctx.running); r != NULL; r = next) { /* may be freed in the body */
        next = TAILQ_NEXT(r, all_link);
        relay_abandon(r);
    }
    for (int i = 0; i < 100 && !TAILQ_EMPTY(&w->ctx.running); i++) {
        w->downstream.mhd_host.due = true;
        (void)mhd_host_turn(&w->downstream.mhd_host);
    }
}

void worker_done(struct worker *w)
{
    if (w->ctx.config == NULL)
        return;
    w->ctx.closed = true;
    mailbox_done(&w->mailbox);
    if (w->downstream.mhd_host.daemon != NULL)
        abandon(w);
    mhd_host_done(&w->downstream.mhd_host);
    mhd_pool_done(&w->downstream.mhd_pool);
    tls_bridges_done(&w->downstream.tls_bridges);
    handovers_done(&w->downstream.handovers);
    relay_free_pool(&w->ctx);
    h2_host_done(&w->ctx.h2);
    conn_pool_done(&w->ctx.conn_pool);
    curl_host_done(&w->ctx.multi);
    acceptor_done(&w->downstream.acceptor);
    recent_failures_outbox_done(&w->ctx.failures);
    token_unref(w->ctx.token);
    token_unref(w->ctx.other_token);
    config_unref(w->ctx.config);
    caller_secrets_unref(w->ctx.secrets);
    tls_unref(w->downstream.tls);
    loop_done(&w->ctx.loop);
    w->ctx.config = NULL;
}

/* Mail, from here on: the sender's half runs on the control thread, `on_x` on the worker's. */

struct view_mail {
    struct mail mail;
    struct worker *worker;
    struct token_view view;
};

/* Informs each parked relay once; it may leave the list, or end. */
static void tell_parked(struct worker *w)
{
    struct relay *last = TAILQ_LAST(&w->ctx.parked, relay_list), *next;

    for (struct relay *r = TAILQ_FIRST(&w->ctx.parked); r != NULL; r = next) {
        next = r == last ? NULL : TAILQ_NEXT(r, parked_link);
        relay_on_token(r);
    }
}

static void on_view(struct mail *mail)
{
    struct view_mail *m = CONTAINER_OF(mail, struct view_mail, mail);
    struct worker *w = m->worker;

    token_unref(w->ctx.token);
    token_unref(w->ctx.other_token);
    w->ctx.token = STEAL(m->view.token);
    w->ctx.other_token = STEAL(m->view.other);
    w->ctx.other_good = m->view.other_good;
    w->ctx.failing = m->view.failing;
    w->ctx.failure = m->view.failure;
    w->ctx.passthrough_generation = m->view.passthrough_generation;
    w->ctx.passthrough_until_ms = m->view.passthrough_until_ms;
    memcpy(w->ctx.doubted, m->view.doubted, sizeof w->ctx.doubted);
    tell_parked(w);
}

static void free_view(struct mail *mail)
{
    struct view_mail *m = CONTAINER_OF(mail, struct view_mail, mail);

    token_unref(m->view.token);
    token_unref(m->view.other);
    free(m);
}

void worker_send_view(struct worker *w, const struct token_view *view)
{
    struct view_mail *m = base_alloc(sizeof *m);

    *m = (struct view_mail){ .mail = { .run = on_view, .free = free_view },
                             .worker = w,
                             .view = *view };
    if (view->token != NULL)
        token_ref(view->token);
    if (view->other != NULL)
        token_ref(view->other);
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
    struct config *was = w->ctx.config;
    bool moved = strcmp(was->upstream.origin, m->config->upstream.origin) != 0;

    if (was->rules != m->config->rules) {
        caller_secrets_unref(w->ctx.secrets); /* those in the settings are newer */
        w->ctx.secrets = NULL;
    }
    w->ctx.config = config_ref(m->config);
    config_unref(was);
    /* Whether a listener uses TLS cannot change; see config_needs_restart. */
    if (w->downstream.tls != NULL && m->config->listen.tls != NULL) {
        struct tls *before = w->downstream.tls;

        w->downstream.tls = tls_ref(m->config->listen.tls);
        conn_tls_changed(&w->downstream, before);
        tls_unref(before);
    }
    /* Pooled handles and connections use the old settings. */
    relay_free_pool(&w->ctx);
    h2_host_forget(&w->ctx.h2);
    conn_pool_forget(&w->ctx.conn_pool);
    /* A token is never sent to another upstream than the one it was obtained for. */
    if (moved) {
        token_unref(w->ctx.token);
        token_unref(w->ctx.other_token);
        w->ctx.token = w->ctx.other_token = NULL;
        w->ctx.failing = false;
        tell_parked(w);
    }
}

static void free_config(struct mail *mail)
{
    struct config_mail *m = CONTAINER_OF(mail, struct config_mail, mail);

    config_unref(m->config);
    free(m);
}

void worker_send_config(struct worker *w, struct config *c)
{
    struct config_mail *m = base_alloc(sizeof *m);

    *m = (struct config_mail){ .mail = { .run = on_config, .free = free_config },
                               .worker = w,
                               .config = config_ref(c) };
    mailbox_send(&w->mailbox, &m->mail);
}

struct secrets_mail {
    struct mail mail;
    struct worker *worker;
    struct caller_secrets *secrets;
};

static void on_secrets(struct mail *mail)
{
    struct secrets_mail *m = CONTAINER_OF(mail, struct secrets_mail, mail);
    struct caller_secrets *was = m->worker->ctx.secrets;

    m->worker->ctx.secrets = caller_secrets_ref(m->secrets);
    caller_secrets_unref(was);
}

static void free_secrets(struct mail *mail)
{
    struct secrets_mail *m = CONTAINER_OF(mail, struct secrets_mail, mail);

    caller_secrets_unref(m->secrets);
    free(m);
}

void worker_send_secrets(struct worker *w, struct caller_secrets *s)
{
    struct secrets_mail *m = base_alloc(sizeof *m);

    *m = (struct secrets_mail){ .mail = { .run = on_secrets, .free = free_secrets },
                                .worker = w,
                                .secrets = caller_secrets_ref(s) };
    mailbox_send(&w->mailbox, &m->mail);
}

struct order_mail {
    struct mail mail;
    struct worker *worker;
};

static void order(struct worker *w, void (*run_order)(struct mail *))
{
    struct order_mail *m = base_alloc(sizeof *m);

    *m = (struct order_mail){ .mail = { .run = run_order, .free = mail_free }, .worker = w };
    mailbox_send(&w->mailbox, &m->mail);
}

static struct worker *ordered(struct mail *mail)
{
    return CONTAINER_OF(mail, struct order_mail, mail)->worker;
}

static void on_drain(struct mail *mail)
{
    ordered(mail)->ctx.draining = true;
}

static void on_close(struct mail *mail)
{
    struct worker *w = ordered(mail);
    struct conn *c;

    w->ctx.closed = true;
    acceptor_close(&w->downstream.acceptor);
    w->downstream.mhd_host.due = true;
    (void)mhd_host_turn(&w->downstream.mhd_host);
    tls_bridges_stop_silent(&w->downstream.tls_bridges,
                            loop_now(&w->ctx.loop) + CONN_NEW_GRACE_MS);
    LIST_FOREACH(c, &w->downstream.conns, link)
    conn_drain(c);
}

static void on_give_up(struct mail *mail)
{
    struct worker *w = ordered(mail);
    struct relay *r;

    w->ctx.giving_up = true;
    TAILQ_FOREACH (r, &w->ctx.running, all_link)
        relay_give_up(r);
}

static void on_stop(struct mail *mail)
{
    loop_stop(&ordered(mail)->ctx.loop);
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

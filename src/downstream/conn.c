/* Callers' connections. libmicrohttpd lacks three things:
 *
 *  - its timeout is for inactivity, so a head that arrives slowly never ends. The clock for a
 *    whole head is here: TCP_INFO shows that bytes of a next head have arrived before MHD
 *    reports them.
 *  - at its connection limit it silently stops accepting. Connections are accepted here, and
 *    those above listen.max_connections get an error.
 *  - it does not look at a suspended connection. So a request that has waited for a while gets
 *    a watch of ours, which notices that the caller leaves.
 *
 * With TLS, the caller's connection ends in a TLS bridge (net/tls_bridge.c), which gives
 * libmicrohttpd a plain connection when the handshake is done.
 *
 * Who calls is learned once, when libmicrohttpd reports the connection, from what was written
 * down when it was given the descriptor (handover.c), and stays with the connection.
 *
 * Each connection has one timer. A request does not arm it again, but only changes fields that
 * the timer looks at when it fires. */
#include "downstream/conn.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/limit.h"
#include "base/log.h"
#include "downstream/downstream.h"

struct conn *conn_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info->socket_context;
}

/* Bytes received so far, as counted by the kernel or the TLS bridge; -1: not counted (unix
 * sockets). */
static int64_t bytes_received(const struct conn *c)
{
    struct tcp_info info;
    socklen_t len = sizeof info;

    if (c->tls_bridge != NULL)
        return tls_bridge_received_bytes(c->tls_bridge);
    memset(&info, 0, sizeof info);
    if (!c->tcp || getsockopt(c->watch.fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return -1;
    return (int64_t)info.tcpi_bytes_received;
}

/* Whether the caller has closed or half-closed. libmicrohttpd may not have noticed it: an
 * end that arrives together with a request is not a separate event. */
static bool has_left(const struct conn *c)
{
    char byte;

    return recv(c->watch.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void refuse(struct conn *c, const struct failure *f)
{
    c->downstream->user->on_refused(c, f);
}

/* Waits for the next bytes on sockets where they are not counted. */
static void await_bytes(struct conn *c)
{
    if (!c->tcp && c->tls_bridge == NULL && c->watch.events == 0)
        (void)loop_io_start(&c->downstream->ctx->loop, &c->watch, EPOLLIN | EPOLLET);
}

static void head_too_slow(struct conn *c)
{
    struct failure f = failure_make(
        FAIL_HEAD_TIMEOUT, "The request head was not complete within listen.header_timeout.");

    refuse(c, &f);
}

/* Shuts down a connection that is between requests. */
static void close_idle(struct conn *c)
{
    c->finished = true;
    conn_unwatch(c);
    (void)shutdown(c->watch.fd, SHUT_RDWR);
}

/* Checks on a connection between requests whether a next head has begun. */
static int64_t check_idle(struct conn *c, int64_t now_ms)
{
    const struct config *config = c->downstream->ctx->config;
    int64_t look_ms = config->listen.header_timeout_ms / 2 + 1;
    int64_t idle_ms =
        c->begin_by_ms != 0 ? c->begin_by_ms : c->since_ms + config->listen.idle_timeout_ms;

    if (c->refused) {
        struct failure f = failure_make(FAIL_OVERLOAD, "listen.max_connections is reached.");

        f.retry_after_s = 1;
        refuse(c, &f);
        return 0;
    }
    if (!c->partial) {
        int64_t bytes = bytes_received(c);

        if (c->received_bytes >= 0 && bytes > c->received_bytes) {
            /* On a new connection the first bytes may be as old as the connection. */
            c->partial = true;
            if (c->received_bytes > 0)
                c->since_ms = now_ms;
        } else if (now_ms >= idle_ms || has_left(c)) {
            close_idle(c);
            return 0;
        } else {
            c->received_bytes = bytes;
            await_bytes(c);
            return base_min(now_ms + look_ms, idle_ms);
        }
    }
    if (now_ms >= c->since_ms + config->listen.header_timeout_ms) {
        head_too_slow(c);
        return 0;
    }
    return c->since_ms + config->listen.header_timeout_ms;
}

static void on_timer(struct loop_timer *t)
{
    struct conn *c = CONTAINER_OF(t, struct conn, timer);
    const struct config *config = c->downstream->ctx->config;
    int64_t now_ms = loop_now(&c->downstream->ctx->loop), next_ms = 0;

    if (c->finished)
        return;
    switch (c->phase) {
    case CONN_IDLE:
        next_ms = check_idle(c, now_ms);
        break;
    case CONN_HEAD:
        next_ms = c->since_ms + config->listen.header_timeout_ms;
        if (now_ms >= next_ms) {
            head_too_slow(c);
            next_ms = 0;
        }
        break;
    case CONN_BUSY:
        next_ms = now_ms + config->listen.header_timeout_ms;
        break;
    }
    if (next_ms != 0)
        loop_timer_set(&c->downstream->ctx->loop, t, next_ms);
}

static void on_watch(struct loop_io *w, uint32_t events)
{
    struct conn *c = CONTAINER_OF(w, struct conn, watch);

    if (c->phase != CONN_IDLE) {
        c->downstream->user->on_event(c, events);
        return;
    }
    int unread = 0;

    if (c->finished || c->heard)
        conn_unwatch(c);
    if (c->finished)
        return;
    if (!c->partial && c->received_bytes != 0) /* not for a new connection, see check_idle */
        c->since_ms = loop_now(&c->downstream->ctx->loop);
    c->partial = true; /* bytes of a head have arrived */
    if (!c->heard && ioctl(w->fd, FIONREAD, &unread) == 0)
        c->first_bytes += unread;
}

/* Returns false if it cannot be known who calls. */
static bool learn_facts(struct conn *c, const struct handover *from)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    c->facts = (struct caller_facts){ .uid = -1, .gid = -1 };
    if (from->owner > 0)
        c->facts.listener = UINT64_C(1) << (from->owner - 1);
    switch (from->kind) {
    case HANDOVER_UNKNOWN:
        return false;
    case HANDOVER_TCP:
        return true;
    case HANDOVER_UNIX:
        if (getsockopt(c->watch.fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
            return false;
        c->facts.uid = peer.uid;
        c->facts.gid = peer.gid;
        return true;
    case HANDOVER_TLS:
        if (c->tls_bridge == NULL)
            return false;
        tls_peer_names(c->tls_bridge->session, &c->names);
        c->facts.uri =
            (struct caller_names){ (const char *const *)c->names.uri, c->names.uris };
        c->facts.dns =
            (struct caller_names){ (const char *const *)c->names.dns, c->names.dnss };
        c->facts.subject = c->names.subject;
        return true;
    }
    return false;
}

/* Nothing more can arrive, and what has arrived is taken out: libmicrohttpd finds an end. */
static void close_unread(struct conn *c)
{
    log_debug("connection_not_known");
    close_idle(c);
    conn_discard_unread(c);
}

void conn_init(struct conn *c, struct downstream *d, struct MHD_Connection *connection)
{
    const struct config *config = d->ctx->config;
    const union MHD_ConnectionInfo *fd =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    int64_t now_ms = loop_now(&d->ctx->loop);

    *c = (struct conn){ .downstream = d, .response = c->response };
    c->connection = connection;
    c->watch = (struct loop_io){ .fd = fd->connect_fd, .on_event = on_watch };
    c->timer.on_due = on_timer;
    c->since_ms = now_ms;
    const struct handover from = handover_take(&d->handovers, fd->connect_fd);

    c->tcp = from.kind == HANDOVER_TCP;
    c->tls = from.kind == HANDOVER_TLS;
    if (from.tls_bridge != NULL)
        tls_bridge_hold(from.tls_bridge, &c->tls_bridge);
    c->known = learn_facts(c, &from);
    if (c->tls_bridge != NULL) {
        c->refused = c->tls_bridge->refused; /* the TLS bridge has been counted already */
        c->received_bytes = tls_bridge_received_bytes(c->tls_bridge);
        c->partial = d->ctx->closed; /* so late that a request must follow at once */
    } else if (!c->tls) {
        c->refused = !limit_take(d->connections, config->listen.max_connections);
        await_bytes(c);
    }
    loop_timer_set(&d->ctx->loop, &c->timer,
                   now_ms +
                       (c->refused ? CONN_REFUSED_GRACE_MS : config->listen.header_timeout_ms));
    LIST_INSERT_HEAD(&d->conns, c, link);
    metrics_add(&d->ctx->metrics, M_connections_opened, 1);
    if (c->refused) {
        metrics_add(&d->ctx->metrics, M_connections_refused, 1);
        d->refused_count++;
    }
    if (!c->known)
        close_unread(c);
}

uint32_t conn_callers(struct conn *c, const struct rules *rules,
                      const struct caller_facts **facts)
{
    assert(c->known);
    if (c->rules_number != rules->number) {
        c->rules_number = rules->number;
        c->callers = callers_of_connection(&rules->callers, &c->facts);
    }
    *facts = &c->facts;
    return c->callers;
}

/* libmicrohttpd closes silently when it cannot parse a request line. If nothing was sent on
 * the connection yet, a 400 can still be written here. */
static void refuse_noise(struct conn *c)
{
    struct failure f =
        failure_make(FAIL_BAD_REQUEST, "The request line is not METHOD TARGET VERSION.");
    struct tcp_info info;
    socklen_t len = sizeof info;
    int unread = 0;

    memset(&info, 0, sizeof info);
    if (c->heard || c->finished || !c->tcp || c->downstream->ctx->closed)
        return;
    if (getsockopt(c->watch.fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 ||
        len < offsetof(struct tcp_info, tcpi_bytes_sent) + sizeof info.tcpi_bytes_sent ||
        info.tcpi_bytes_received == 0 || info.tcpi_bytes_sent != 0 || has_left(c))
        return;
    /* Bytes that were not read were not found malformed: libmicrohttpd had an error. The
     * kernel counts a FIN as a byte. */
    if (ioctl(c->watch.fd, FIONREAD, &unread) == 0 && unread > 0 &&
        (uint64_t)unread + 1 >= info.tcpi_bytes_received)
        return;
    refuse(c, &f);
}

void conn_done(struct conn *c)
{
    struct downstream *d = c->downstream;

    refuse_noise(c);
    conn_unwatch(c);
    loop_io_stop(&d->ctx->loop, &c->watch);
    mhd_pool_end(&d->mhd_pool, &c->rest);
    loop_timer_clear(&d->ctx->loop, &c->timer);
    LIST_REMOVE(c, link);
    tls_names_done(&c->names);
    if (c->refused)
        d->refused_count--;
    else if (!c->tls)
        limit_give(d->connections);
    tls_bridge_release(&c->tls_bridge, d->ctx->config->listen.send_timeout_ms);
    metrics_add(&d->ctx->metrics, M_connections_closed, 1);
}

void conn_head_begun(struct conn *c)
{
    conn_unwatch(c);
    mhd_pool_end(&c->downstream->mhd_pool, &c->rest);
    if (!c->partial)
        c->since_ms = loop_now(&c->downstream->ctx->loop);
    c->phase = CONN_HEAD;
    c->begin_by_ms = 0;
}

void conn_head_done(struct conn *c)
{
    c->phase = CONN_BUSY;
    c->partial = false;
    c->heard = true;
}

void conn_request_done(struct conn *c)
{
    conn_unwatch(c);
    c->phase = CONN_IDLE;
    c->partial = false;
    c->received_bytes = -1;
    c->since_ms = loop_now(&c->downstream->ctx->loop);
    c->over_in_run = c->downstream->mhd_host.runs;
    mhd_pool_begin(&c->downstream->mhd_pool, &c->rest);
}

void conn_watch(struct conn *c)
{
    if (c->taken_over)
        return;
    if (c->watch.events == 0 && !c->finished)
        (void)loop_io_start(&c->downstream->ctx->loop, &c->watch, EPOLLRDHUP);
    if (c->tls_bridge != NULL)
        tls_bridge_watch(c->tls_bridge, true);
}

void conn_watch_room(struct conn *c)
{
    (void)loop_io_start(&c->downstream->ctx->loop, &c->watch, EPOLLOUT | EPOLLRDHUP);
    if (c->tls_bridge != NULL)
        tls_bridge_watch(c->tls_bridge, true);
}

void conn_unwatch(struct conn *c)
{
    if (c->taken_over)
        return;
    if (c->tls_bridge != NULL)
        tls_bridge_watch(c->tls_bridge, false);
    loop_io_stop(&c->downstream->ctx->loop, &c->watch);
}

void conn_take_over(struct conn *c, int fd)
{
    c->watch.fd = fd;
    c->taken_over = true;
    (void)loop_io_start(&c->downstream->ctx->loop, &c->watch,
                        EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

void conn_half_close(struct conn *c)
{
    (void)shutdown(c->watch.fd, SHUT_WR);
}

void conn_discard_unread(struct conn *c)
{
    char ignored[4096];

    for (int i = 0; i < 64 && recv(c->watch.fd, ignored, sizeof ignored, MSG_DONTWAIT) > 0; i++)
        ;
}

void conn_reset_on_close(struct conn *c)
{
    const struct linger hard = { .l_onoff = 1, .l_linger = 0 };

    if (c->tls_bridge != NULL)
        tls_bridge_cut(c->tls_bridge);
    else if (c->tcp)
        (void)setsockopt(c->watch.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

/* For TCP, the caller's kernel reports how much it has accepted. For a unix socket we see
 * how much is still in it, which becomes less with each piece that was read completely. */
struct conn_sent conn_look_sent(const struct conn *c)
{
    int fd = c->tls_bridge != NULL ? tls_bridge_fd(c->tls_bridge) : c->watch.fd, waiting = 0;
    struct conn_sent sent = { .waiting = c->tls_bridge != NULL &&
                                         tls_bridge_keeps_bytes(c->tls_bridge) };
    struct tcp_info info;
    socklen_t len = sizeof info;

    if ((c->tls && c->tls_bridge == NULL) || ioctl(fd, TIOCOUTQ, &waiting) != 0)
        return (struct conn_sent){ .waiting = false };
    sent.waiting |= waiting > 0;
    memset(&info, 0, sizeof info);
    if (!c->tcp && !c->tls)
        sent.taken = -waiting;
    else if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0)
        sent.taken = (int64_t)info.tcpi_bytes_acked;
    return sent;
}

void conn_abort(struct conn *c)
{
    conn_reset_on_close(c);
    if (c->tls_bridge != NULL)
        tls_bridge_abort(c->tls_bridge);
    (void)shutdown(c->watch.fd, SHUT_RDWR);
}

bool conn_has_unread(const struct conn *c)
{
    char byte;

    return recv(c->watch.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0 ||
           (c->tls_bridge != NULL && tls_bridge_has_received(c->tls_bridge));
}

void conn_drain(struct conn *c)
{
    int64_t now_ms = loop_now(&c->downstream->ctx->loop);

    if (c->phase != CONN_IDLE || c->partial || c->finished)
        return;
    if (conn_has_unread(c)) {
        c->partial = true;
        c->since_ms = now_ms;
    } else if (!c->heard && !c->refused && now_ms < c->since_ms + CONN_NEW_GRACE_MS) {
        c->begin_by_ms = c->since_ms + CONN_NEW_GRACE_MS;
        loop_timer_set(&c->downstream->ctx->loop, &c->timer, c->begin_by_ms);
    } else {
        close_idle(c);
    }
}

/* Whether libmicrohttpd still has the memory of a connection between requests. It frees it
 * as soon as it closes the connection, but reports that only at the end of its run. It
 * closes one whose request has ended, whose caller has left, or which has urgent data; for
 * other reasons that it may have, mhd_pool_used asks the kernel whether the memory exists. */
static bool keeps_pool(const struct conn *c)
{
    struct pollfd gone = { .fd = c->watch.fd, .events = POLLRDHUP | POLLPRI };

    return c->over_in_run != c->downstream->mhd_host.runs && poll(&gone, 1, 0) == 0;
}

/* For the first head only the number of bytes is known; later heads are stored at the same
 * place. */
size_t conn_line_bytes(const struct conn *c)
{
    int unread = 0;
    int64_t bytes = c->first_bytes;

    if (c->phase != CONN_IDLE || c->finished)
        return 0;
    if (c->rest.pool != NULL)
        return keeps_pool(c) ? mhd_pool_used(&c->downstream->mhd_pool, &c->rest) : 0;
    if (c->heard)
        return 0;
    if (c->tls_bridge != NULL)
        bytes = c->tls_bridge->passed_up_bytes;
    else if (c->tcp)
        bytes = bytes_received(c);
    if ((c->tcp || c->tls) && ioctl(c->watch.fd, FIONREAD, &unread) != 0)
        return 0;
    return bytes > unread ? (size_t)(bytes - unread) : 0;
}

bool conn_is_uncounted(const struct conn *c, bool *more)
{
    int unread = 0;

    *more = ioctl(c->watch.fd, FIONREAD, &unread) == 0 && unread > 0;
    return c->phase == CONN_IDLE && !c->tcp && !c->tls && !c->heard &&
           (c->partial || *more || c->since_ms == loop_now(&c->downstream->ctx->loop));
}

bool conn_in_head(const struct conn *c)
{
    return !c->finished && (c->partial || c->phase == CONN_HEAD || c->begin_by_ms != 0);
}

void conn_tls_changed(struct downstream *d, const struct tls *before)
{
    struct conn *c;

    if (!tls_differs(before, d->tls, TLS_CLIENT_CA))
        return;
    tls_bridges_stop_handshakes(&d->tls_bridges);
    LIST_FOREACH(c, &d->conns, link)
    if (c->tls && !c->last) {
        c->last = true;
        if (c->phase == CONN_IDLE && !c->partial && !c->finished && !conn_has_unread(c))
            close_idle(c);
    }
}

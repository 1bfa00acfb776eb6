/* Callers' connections. libmicrohttpd knows three things too few about them:
 *
 *  - its timeout counts inactivity, so a head that drips in never ends. The clock for a whole
 *    head is here: TCP_INFO tells that bytes of a next head have come before MHD says so.
 *  - at its connection limit it stops accepting, in silence. Connections are accepted here, and
 *    those above listen.max_connections are told so.
 *  - it does not look at a suspended connection, so a caller that left is noticed by a watch of
 *    our own, which a request gets once it has waited a while.
 *
 * One timer per connection is checked lazily: a request only writes fields. */
#include "caller.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "answer.h"
#include "log.h"
#include "relay.h"
#include "worker.h"

/* How long a connection above the limit may take to send a head before it gets its 503 anyway.
 */
#define REFUSED_GRACE_MS 1000
/* How long accepting rests when descriptors have run out. */
#define ACCEPT_PAUSE_MS 100
/* Connections beyond the limit that are still given an answer. */
#define ACCEPT_BATCH 64

void caller_on_acceptable(struct loop_watch *watch, uint32_t events)
{
    struct worker_listener *l = CONTAINER_OF(watch, struct worker_listener, watch);
    struct worker *w = l->worker;

    (void)events;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        struct sockaddr_storage addr;
        socklen_t len = sizeof addr;
        int fd =
            accept4(watch->fd, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                log_warn("descriptors_exhausted", log_str("detail", strerrordesc_np(errno)));
                for (size_t k = 0; k < w->listeners; k++)
                    loop_unwatch(&w->loop, &w->listener[k].watch);
                loop_timer_set(&w->loop, &w->accept_pause,
                               loop_now(&w->loop) + ACCEPT_PAUSE_MS);
            }
            return;
        }
        if (httpd_take(&w->httpd, fd, (struct sockaddr *)&addr, len) != 0)
            log_debug("connection_not_taken");
    }
}

struct caller *caller_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info->socket_context;
}

/* Bytes received so far, by the kernel's count; -1 where it keeps none (unix sockets). */
static int64_t bytes_received(const struct caller *c)
{
    struct tcp_info info;
    socklen_t len = sizeof info;

    memset(&info, 0, sizeof info);
    if (c->port < 0 || getsockopt(c->watch.fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return -1;
    return (int64_t)info.tcpi_bytes_received;
}

/* A failure before there was a request. */
static void note(struct caller *c, const struct failure *f)
{
    failures_note(
        &c->worker->failures,
        &(struct failures_request){ .failure = f, .status = failure_status(f), .method = "-" });
}

static void head_too_slow(struct caller *c)
{
    struct failure f = failure_make(
        FAIL_HEAD_TIMEOUT, "The request head was not complete within listen.header_timeout.");

    if (c->relay != NULL) { /* it notes the failure at its end */
        c->relay->status = failure_status(&f);
        c->relay->failure = f;
    } else {
        note(c, &f);
    }
    caller_finish(c, &f);
}

/* A connection between requests: has a next head begun? */
static int64_t check_idle(struct caller *c, int64_t now_ms)
{
    const struct config *config = c->worker->snapshot->config;
    int64_t look_ms = config->listen.header_timeout_ms / 2 + 1;
    int64_t idle_ms = c->since_ms + config->listen.idle_timeout_ms;

    if (c->refused) {
        struct failure f = failure_make(FAIL_OVERLOAD, "listen.max_connections is reached.");

        f.retry_after_s = 1;
        note(c, &f);
        caller_finish(c, &f);
        return 0;
    }
    if (!c->partial) {
        int64_t bytes = bytes_received(c);

        if (c->received_bytes >= 0 && bytes > c->received_bytes) {
            /* On a new connection the first bytes may be as old as the connection. */
            c->partial = true;
            if (c->received_bytes > 0)
                c->since_ms = now_ms;
        } else if (now_ms >= idle_ms) {
            caller_close_idle(c);
            return 0;
        } else {
            c->received_bytes = bytes;
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
    struct caller *c = CONTAINER_OF(t, struct caller, timer);
    const struct config *config = c->worker->snapshot->config;
    int64_t now_ms = loop_now(&c->worker->loop), next_ms = 0;

    if (c->finished)
        return;
    switch (c->phase) {
    case CALLER_IDLE:
        next_ms = check_idle(c, now_ms);
        break;
    case CALLER_HEAD:
        next_ms = c->since_ms + config->listen.header_timeout_ms;
        if (now_ms >= next_ms) {
            head_too_slow(c);
            next_ms = 0;
        }
        break;
    case CALLER_BUSY:
        next_ms = now_ms + config->listen.header_timeout_ms;
        break;
    }
    if (next_ms != 0)
        loop_timer_set(&c->worker->loop, t, next_ms);
}

static void on_left(struct loop_watch *w, uint32_t events)
{
    struct caller *c = CONTAINER_OF(w, struct caller, watch);

    (void)events;
    caller_unwatch(c);
    if (c->relay != NULL)
        relay_on_caller_gone(c->relay);
}

/* The port the connection came in by; -1 for a unix socket. It is asked of the connection,
 * since libmicrohttpd 1.0 announces one only in a later MHD_run, when nobody knows who accepted
 * it. */
static int local_port(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } addr = { .any.sa_family = AF_UNSPEC };
    socklen_t len = sizeof addr;

    if (getsockname(fd, &addr.any, &len) != 0)
        return -1;
    if (addr.any.sa_family == AF_INET)
        return ntohs(addr.v4.sin_port);
    return addr.any.sa_family == AF_INET6 ? ntohs(addr.v6.sin6_port) : -1;
}

static struct caller *caller_new(struct worker *w, struct MHD_Connection *connection)
{
    struct caller *c = base_alloc(sizeof *c);
    const struct config *config = w->snapshot->config;
    const union MHD_ConnectionInfo *fd =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    int64_t now_ms = loop_now(&w->loop);

    c->worker = w;
    c->connection = connection;
    c->watch = (struct loop_watch){ .fd = fd->connect_fd, .on_event = on_left };
    c->timer.on_due = on_timer;
    c->since_ms = now_ms;
    c->port = local_port(fd->connect_fd);
    c->tls = config->listen.tls_certificate != NULL;
    c->refused = !quota_take(&w->connections);
    loop_timer_set(&w->loop, &c->timer,
                   now_ms + (c->refused ? REFUSED_GRACE_MS : config->listen.header_timeout_ms));
    LIST_INSERT_HEAD(&w->callers, c, link);
    metrics_add(&w->metrics, M_connections_opened, 1);
    if (c->refused)
        metrics_add(&w->metrics, M_connections_refused, 1);
    return c;
}

static void caller_free(struct caller *c)
{
    struct worker *w = c->worker;

    caller_unwatch(c);
    loop_timer_clear(&w->loop, &c->timer);
    LIST_REMOVE(c, link);
    if (!c->refused)
        quota_give(&w->connections);
    metrics_add(&w->metrics, M_connections_closed, 1);
    free(c);
}

void caller_on_connection(void *arg, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        *socket_context = caller_new(arg, connection);
    else
        caller_free(*socket_context);
}

void caller_head_begun(struct caller *c, struct relay *r)
{
    if (!c->partial)
        c->since_ms = loop_now(&c->worker->loop);
    c->phase = CALLER_HEAD;
    c->relay = r;
}

void caller_head_done(struct caller *c)
{
    c->phase = CALLER_BUSY;
    c->partial = false;
}

void caller_request_done(struct caller *c)
{
    caller_unwatch(c);
    c->relay = NULL;
    c->phase = CALLER_IDLE;
    c->partial = false;
    c->received_bytes = -1;
    c->since_ms = loop_now(&c->worker->loop);
}

void caller_watch(struct caller *c)
{
    if (c->watch.events == 0 && !c->finished)
        (void)loop_watch(&c->worker->loop, &c->watch, EPOLLRDHUP);
}

void caller_unwatch(struct caller *c)
{
    loop_unwatch(&c->worker->loop, &c->watch);
}

void caller_finish(struct caller *c, const struct failure *f)
{
    struct buf message;

    if (c->finished)
        return;
    c->finished = true;
    caller_unwatch(c);
    buf_init(&message, 8192);
    if (!c->tls && answer_message(f, &message) == 0) {
        char ignored[4096];

        (void)send(c->watch.fd, buf_front(&message), buf_unread(&message),
                   MSG_NOSIGNAL | MSG_DONTWAIT);
        /* What was sent to us and not read would turn the close into a reset that can overtake
         * the answer. */
        for (int i = 0; i < 64 && recv(c->watch.fd, ignored, sizeof ignored, MSG_DONTWAIT) > 0;
             i++)
            ;
    }
    buf_done(&message);
    (void)shutdown(c->watch.fd, SHUT_RDWR);
}

void caller_reset_on_close(struct caller *c)
{
    const struct linger hard = { .l_onoff = 1, .l_linger = 0 };

    if (c->port >= 0)
        (void)setsockopt(c->watch.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

void caller_close_idle(struct caller *c)
{
    c->finished = true;
    caller_unwatch(c);
    (void)shutdown(c->watch.fd, SHUT_RDWR);
}

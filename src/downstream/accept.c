/* Where callers' connections come from.
 *
 *     unix socket, or TCP without TLS ------------------> mhd_host_take (libmicrohttpd)
 *     TCP with TLS --> tls_bridge_open --handshake done--> on_open --^
 *
 * libmicrohttpd's own accepting stops in silence at its limit, hence this. */
#include "downstream/accept.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/log.h"
#include "downstream/conn.h"
#include "http/problem.h"
#include "server/worker.h"

/* How long accepting rests when descriptors have run out. */
#define ACCEPT_PAUSE_MS 100

/* --- accepting ----------------------------------------------------------------------- */

static void pause_accepting(struct worker *w)
{
    log_warn("descriptors_exhausted", log_str("detail", strerrordesc_np(errno)));
    for (size_t k = 0; k < w->listeners; k++)
        loop_io_stop(&w->loop, &w->listener[k].watch);
    loop_timer_set(&w->loop, &w->accept_pause, loop_now(&w->loop) + ACCEPT_PAUSE_MS);
}

static void accept_tls(struct worker *w, int fd)
{
    const struct config *config = w->snapshot->config;
    bool refused = !limit_take(&w->connections);

    if (refused && w->tunnels_refused == ACCEPT_REFUSED_MAX) {
        (void)close(fd);
        return;
    }
    if (tls_bridge_open(&w->tls_bridges, w->tls, fd,
                        loop_now(&w->loop) + (refused ? CONN_REFUSED_GRACE_MS
                                                      : config->listen.header_timeout_ms),
                        refused) != 0) {
        log_debug("connection_not_taken");
        if (!refused)
            limit_give(&w->connections);
        return;
    }
    w->tunnels_refused += refused;
}

/* The 503 for one of too many, given before it has asked. */
static void turn_away(struct worker *w, int fd)
{
    struct failure f = failure_make(FAIL_OVERLOAD, "listen.max_connections is reached.");
    struct buf message;

    f.retry_after_s = 1;
    buf_init(&message, 8192);
    if (problem_message(&f, &message) == 0)
        (void)send(fd, buf_front(&message), buf_unread(&message), MSG_NOSIGNAL | MSG_DONTWAIT);
    buf_done(&message);
    (void)close(fd);
    metrics_add(&w->metrics, M_connections_refused, 1);
}

void accept_on_acceptable(struct loop_io *watch, uint32_t events)
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
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                pause_accepting(w);
            return;
        }
        if (l->tls)
            accept_tls(w, fd);
        else if (w->refused_count >= ACCEPT_REFUSED_MAX)
            turn_away(w, fd);
        else if (mhd_host_take(&w->mhd_host, fd, (struct sockaddr *)&addr, len) != 0)
            log_debug("connection_not_taken");
    }
}

/* --- tunnels ------------------------------------------------------------------------- */

static int on_tunnel_open(void *arg, int fd)
{
    struct worker *w = arg;
    struct sockaddr_un nameless = { .sun_family = AF_UNIX };

    return mhd_host_take(&w->mhd_host, fd, (struct sockaddr *)&nameless, sizeof(sa_family_t));
}

static void on_tunnel_failed(void *arg, struct tls_bridge *t, const char *why)
{
    struct worker *w = arg;
    struct buf message;

    if (tls_bridge_received_bytes(t) == 0) { /* somebody looked whether the port is open */
        log_debug("tls_handshake_failed", log_str("detail", why));
        return;
    }
    metrics_add(&w->metrics, M_tls_handshakes_failed, 1);
    if (w->snapshot->config->log.access)
        log_info("tls_handshake_failed", log_str("detail", why));
    if (!tls_spoken_to_in_http(t->session))
        return;
    struct failure f = failure_make(FAIL_BAD_REQUEST, "This port speaks TLS: use https://.");
    buf_init(&message, 8192);
    if (problem_message(&f, &message) == 0)
        (void)send(t->net.fd, buf_front(&message), buf_unread(&message), MSG_NOSIGNAL);
    buf_done(&message);
}

static void on_tunnel_gone(void *arg, struct tls_bridge *t)
{
    struct worker *w = arg;

    if (t->refused)
        w->tunnels_refused--;
    else
        limit_give(&w->connections);
}

void accept_init(struct worker *w)
{
    tls_bridges_init(&w->tls_bridges, &w->loop);
    w->tls_bridges.on_open = on_tunnel_open;
    w->tls_bridges.on_failed = on_tunnel_failed;
    w->tls_bridges.on_gone = on_tunnel_gone;
    w->tls_bridges.arg = w;
}

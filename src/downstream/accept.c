/* Accepts callers' connections.
 *
 *     unix socket, or TCP without TLS ------------------> handover_give (to libmicrohttpd)
 *     TCP with TLS --> tls_bridge_open --handshake done--> on_open --^
 *
 * libmicrohttpd is not used for this, because it silently stops accepting at its limit. */
#include "downstream/accept.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/limit.h"
#include "base/log.h"
#include "downstream/conn.h"
#include "downstream/downstream.h"
#include "downstream/response.h"

/* --- accepting ----------------------------------------------------------------------- */

static void accept_tls(struct downstream *d, int fd, unsigned owner)
{
    const struct config *config = d->ctx->config;
    bool refused = !limit_take(d->connections, config->listen.max_connections);

    if (refused && d->tls_refused == ACCEPT_REFUSED_MAX) {
        (void)close(fd);
        return;
    }
    const struct tls_bridge_options options = {
        .tls = d->tls,
        .deadline_ms = loop_now(&d->ctx->loop) +
                       (refused ? CONN_REFUSED_GRACE_MS : config->listen.header_timeout_ms),
        .owner = owner,
        .refused = refused,
    };
    if (tls_bridge_open(&d->tls_bridges, fd, &options) != 0) {
        log_debug("connection_not_taken");
        if (!refused)
            limit_give(d->connections);
        return;
    }
    d->tls_refused += refused;
}

/* Answers on a connection that libmicrohttpd does not have yet. */
static void write_refusal(struct downstream *d, int fd, const struct failure *f)
{
    char id[CONTEXT_REQUEST_ID_BYTES];
    struct buf message;

    context_request_id(d->ctx, id);
    buf_init(&message, 8192);
    if (response_message(&message, f, id) == 0)
        (void)send(fd, buf_front(&message), buf_unread(&message), MSG_NOSIGNAL | MSG_DONTWAIT);
    buf_done(&message);
}

/* The 503 for one of too many, given before it has asked. */
static void turn_away(struct downstream *d, int fd)
{
    struct failure f = failure_make(FAIL_OVERLOAD, "listen.max_connections is reached.");

    f.retry_after_s = 1;
    write_refusal(d, fd, &f);
    (void)close(fd);
    metrics_add(&d->ctx->metrics, M_connections_refused, 1);
}

void accept_on_accepted(void *arg, const struct listener *from, int fd,
                        const struct sockaddr *addr, socklen_t len)
{
    struct downstream *d = arg;
    const struct handover known = { .kind = from->port < 0 ? HANDOVER_UNIX : HANDOVER_TCP,
                                    .owner = from->owner };

    if (d->tls != NULL && from->port >= 0)
        accept_tls(d, fd, from->owner);
    else if (d->refused_count >= ACCEPT_REFUSED_MAX)
        turn_away(d, fd);
    else if (handover_give(&d->handovers, fd, known, addr, len) != 0)
        log_debug("connection_not_taken");
}

/* --- TLS ----------------------------------------------------------------------------- */

static int on_tls_open(void *arg, struct tls_bridge *t, int fd)
{
    struct downstream *d = arg;
    const struct handover known = { .kind = HANDOVER_TLS, .owner = t->owner, .tls_bridge = t };
    const struct sockaddr_un nameless = { .sun_family = AF_UNIX };

    return handover_give(&d->handovers, fd, known, (const struct sockaddr *)&nameless,
                         sizeof(sa_family_t));
}

static void on_tls_failed(void *arg, struct tls_bridge *t, const char *why)
{
    struct downstream *d = arg;

    if (tls_bridge_received_bytes(t) == 0) { /* somebody looked whether the port is open */
        log_debug("tls_handshake_failed", log_str("detail", why));
        return;
    }
    metrics_add(&d->ctx->metrics, M_tls_handshakes_failed, 1);
    if (d->ctx->config->log.access)
        log_info("tls_handshake_failed", log_str("detail", why));
    if (!tls_peer_spoke_http(t->session))
        return;
    struct failure f = failure_make(FAIL_BAD_REQUEST, "This port speaks TLS: use https://.");
    write_refusal(d, t->net.fd, &f);
}

static void on_tls_gone(void *arg, struct tls_bridge *t)
{
    struct downstream *d = arg;

    handover_bridge_gone(&d->handovers, t->given_fd, t);
    /* Its access line was written when libmicrohttpd had given it all to the bridge. */
    if (t->stalled) {
        metrics_add(&d->ctx->metrics, M_send_timeouts, 1);
        if (d->ctx->config->log.access)
            log_info("send_timeout",
                     log_str("detail", "the end of an answer was cut, since its caller took "
                                       "nothing of it for listen.send_timeout"));
    }
    if (t->broken != NULL && d->ctx->config->log.access)
        log_info("tls_broken", log_str("detail", t->broken));
    if (t->refused)
        d->tls_refused--;
    else
        limit_give(d->connections);
}

void accept_init(struct downstream *d)
{
    handovers_init(&d->handovers, &d->mhd_host);
    tls_bridges_init(&d->tls_bridges, &d->ctx->loop);
    d->tls_bridges.on_open = on_tls_open;
    d->tls_bridges.on_failed = on_tls_failed;
    d->tls_bridges.on_gone = on_tls_gone;
    d->tls_bridges.arg = d;
}

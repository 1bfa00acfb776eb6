/* Puts TLS in front of a plain connection: bytes come from the caller encrypted, and go on to
 * libmicrohttpd as plain text, through a socket pair.
 *
 *     caller ==net.fd== tls_session ==plain.fd== socket pair ==given_fd== libmicrohttpd
 *            encrypted                                plain
 *
 *     HANDSHAKE --done--> GIVEN --held--> OPEN --plain end closed, all sent--> LINGERING
 *        |   \--failed----------------------------------------------------------/   |
 *        \--too slow, or the caller is gone--> freed <------------------------------'
 *
 * In GIVEN, libmicrohttpd has its end, and has not reported the connection yet (1.0 does that
 * in its next run): nothing that was decrypted goes there before it is known whose it is.
 *
 * If the plain end is only half-closed, the caller is told so by close_notify and FIN, and what
 * it still sends is passed up as before: who reads there decides for how long.
 *
 * Descriptors are registered once, edge-triggered: an event only marks the bridge as ready;
 * tls_bridges_turn then moves bytes until one side has none or takes none. It moves a
 * limited amount each time, so that a fast upload leaves room for other connections. Records
 * that carry no data are limited by tls.c. */
#include "net/tls_bridge.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/secret.h"

#define STEPS_MAX 16
#define LINGER_MS 1000

static void mark_ready(struct tls_bridge *t)
{
    if (t->ready)
        return;
    t->ready = true;
    TAILQ_INSERT_TAIL(&t->host->ready, t, ready_link);
}

static void unmark_ready(struct tls_bridge *t)
{
    if (!t->ready)
        return;
    t->ready = false;
    TAILQ_REMOVE(&t->host->ready, t, ready_link);
}

static void on_net(struct loop_io *w, uint32_t events)
{
    struct tls_bridge *t = CONTAINER_OF(w, struct tls_bridge, net);

    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        t->left = true;
    mark_ready(t);
}

static void on_plain(struct loop_io *w, uint32_t events)
{
    (void)events;
    mark_ready(CONTAINER_OF(w, struct tls_bridge, plain));
}

static void all_sent(struct tls_bridge *t)
{
    if (t->released)
        t->host->releasing--;
    t->released = false;
}

/* Reads what the caller still sends. Closing a socket with unread data would send a reset,
 * which could overtake the last bytes that we sent. */
static void linger(struct tls_bridge *t)
{
    (void)shutdown(t->net.fd, SHUT_WR);
    t->state = TLS_BRIDGE_LINGERING;
    all_sent(t);
    loop_timer_set(t->host->loop, &t->deadline, loop_now(t->host->loop) + LINGER_MS);
    mark_ready(t);
}

static void tls_bridge_free(struct tls_bridge *t)
{
    struct tls_bridges *host = t->host;

    host->on_gone(host->arg, t);
    all_sent(t);
    unmark_ready(t);
    loop_timer_clear(host->loop, &t->deadline);
    if (t->holder != NULL)
        *t->holder = NULL;
    loop_io_stop(host->loop, &t->net);
    tls_session_free(t->session);
    (void)close(t->net.fd);
    if (t->plain.fd >= 0) {
        loop_io_stop(host->loop, &t->plain);
        (void)close(t->plain.fd);
    }
    buf_wipe(&t->up);
    buf_wipe(&t->down);
    LIST_REMOVE(t, link);
    host->count--;
    free(t);
}

static void reset(struct tls_bridge *t)
{
    const struct linger hard = { .l_onoff = 1, .l_linger = 0 };

    (void)setsockopt(t->net.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    tls_bridge_free(t);
}

static bool has_begun(const struct tls_bridge *t)
{
    return tls_bridge_received_bytes(t) > 0 || tls_bridge_has_received(t);
}

/* How many bytes the caller's kernel has acknowledged. */
static int64_t taken_bytes(const struct tls_bridge *t)
{
    struct tcp_info info;
    socklen_t len = sizeof info;

    memset(&info, 0, sizeof info);
    (void)getsockopt(t->net.fd, IPPROTO_TCP, TCP_INFO, &info, &len);
    return (int64_t)info.tcpi_bytes_acked;
}

static void on_deadline(struct loop_timer *timer)
{
    struct tls_bridge *t = CONTAINER_OF(timer, struct tls_bridge, deadline);

    if (t->state == TLS_BRIDGE_HANDSHAKE && t->whole_by_ms > loop_now(t->host->loop) &&
        has_begun(t)) {
        loop_timer_set(t->host->loop, timer, t->whole_by_ms);
        return;
    }
    if (t->state == TLS_BRIDGE_HANDSHAKE)
        t->host->on_failed(t->host->arg, t, "the handshake took too long");
    if (t->released && taken_bytes(t) != t->taken_bytes) {
        t->taken_bytes = taken_bytes(t);
        loop_timer_set(t->host->loop, timer, loop_now(t->host->loop) + t->send_timeout_ms);
        return;
    }
    t->expired = true; /* tls_bridges_turn ends and frees it */
    mark_ready(t);
}

/* --- the handshake --------------------------------------------------------------------- */

static int open_pair(struct tls_bridge *t, int *given)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return -errno;
    t->plain.fd = pair[0];
    *given = pair[1];
    return loop_io_start(t->host->loop, &t->plain, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

/* Continues the handshake. Returns whether to go on with the connection. */
static bool handshake(struct tls_bridge *t)
{
    struct tls_bridges *host = t->host;
    int rc = tls_handshake(t->session), given = -1;

    if (rc == TLS_AGAIN)
        return false;
    if (rc == TLS_FAILED) {
        host->on_failed(host->arg, t, tls_why(t->session));
        linger(t);
        return false;
    }
    rc = open_pair(t, &given);
    if (rc == 0) {
        loop_timer_clear(host->loop, &t->deadline);
        t->state = TLS_BRIDGE_GIVEN;
        t->given_fd = given;
        rc = host->on_open(host->arg, t, given);
    } else if (given >= 0) {
        (void)close(given);
    }
    if (rc != 0) {
        host->on_failed(host->arg, t, strerrordesc_np(-rc));
        tls_bridge_free(t);
    }
    return rc == 0;
}

/* --- bytes ----------------------------------------------------------------------------- */

/* The result of a step. */
enum step { STEP_MOVED, STEP_NOTHING, STEP_BROKEN };

static void end_up(struct tls_bridge *t)
{
    t->up_ended = true;
    buf_wipe(&t->up);
    (void)shutdown(t->plain.fd, SHUT_WR);
}

/* Keeps those of n bytes that were not taken. They are wiped where they were read to: a
 * caller's secret may be in them. */
static void keep(struct buf *b, char *bytes, size_t n, ssize_t taken)
{
    size_t done = taken > 0 ? (size_t)taken : 0;

    if (done < n && buf_add(b, bytes + done, n - done) != 0)
        abort(); /* cannot happen: at most a record */
    secret_wipe(bytes, n);
}

static void consume(struct buf *b, ssize_t n)
{
    buf_consume(b, (size_t)n);
    if (buf_unread(b) == 0)
        buf_wipe(b);
}

static enum step step_up(struct tls_bridge *t)
{
    char *scratch = t->host->scratch;
    bool kept = buf_unread(&t->up) > 0;
    ssize_t n = 0;

    if (t->up_ended || t->state != TLS_BRIDGE_OPEN)
        return STEP_NOTHING;
    if (!kept) {
        n = tls_read(t->session, scratch, sizeof t->host->scratch);
        if (n == TLS_FAILED)
            return STEP_BROKEN;
        if (n == TLS_END)
            end_up(t);
        if (n <= 0)
            return STEP_NOTHING;
    }
    ssize_t sent = send(t->plain.fd, kept ? buf_front(&t->up) : scratch,
                        kept ? buf_unread(&t->up) : (size_t)n, MSG_NOSIGNAL);
    bool gone = sent < 0 && errno != EAGAIN && errno != EINTR; /* nobody reads there any more */

    if (sent > 0)
        t->passed_up_bytes += sent;
    if (!kept)
        keep(&t->up, scratch, (size_t)n, sent);
    else if (sent > 0)
        consume(&t->up, sent);
    if (gone)
        end_up(t);
    return sent > 0 ? STEP_MOVED : STEP_NOTHING;
}

/* Sends to the caller. STEP_NOTHING with *ended: the plain end is closed or half-closed, and
 * everything is sent. */
static enum step step_down(struct tls_bridge *t, bool *ended)
{
    char *scratch = t->host->scratch;
    bool kept = buf_unread(&t->down) > 0;
    ssize_t n = 0;

    if (t->down_ended)
        return STEP_NOTHING;
    if (!kept) {
        n = recv(t->plain.fd, scratch, sizeof t->host->scratch, 0);
        /* If it was closed with unread bytes in it, this shows as a reset. */
        *ended = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
        if (n <= 0)
            return STEP_NOTHING;
    }
    ssize_t sent = tls_write(t->session, kept ? buf_front(&t->down) : scratch,
                             kept ? buf_unread(&t->down) : (size_t)n);

    if (sent == TLS_FAILED) {
        secret_wipe(scratch, (size_t)n);
        return STEP_BROKEN;
    }
    if (!kept)
        keep(&t->down, scratch, (size_t)n, sent);
    else if (sent > 0)
        consume(&t->down, sent);
    return sent > 0 ? STEP_MOVED : STEP_NOTHING;
}

/* Whether nobody reads from the plain end any more. */
static bool plain_is_closed(const struct tls_bridge *t)
{
    struct pollfd p = { .fd = t->plain.fd };

    return poll(&p, 1, 0) > 0;
}

/* Everything is sent: sends close_notify. Returns whether nothing is passed on any more. */
static bool finish(struct tls_bridge *t)
{
    if (t->cut) {
        reset(t);
        return true;
    }
    if (!t->down_ended && tls_close_notify(t->session) == TLS_AGAIN)
        return false;
    t->down_ended = true;
    (void)shutdown(t->net.fd, SHUT_WR);
    if (!plain_is_closed(t))
        return false;
    linger(t);
    return true;
}

static void pump(struct tls_bridge *t)
{
    enum step up = STEP_MOVED, down = STEP_MOVED;
    bool ended = false;

    unmark_ready(t);
    for (int i = 0; i < STEPS_MAX && (up == STEP_MOVED || down == STEP_MOVED); i++) {
        up = step_up(t);
        down = up == STEP_BROKEN ? STEP_BROKEN : step_down(t, &ended);
        if (down == STEP_BROKEN) {
            t->broken = tls_is_broken(t->session) ? tls_why(t->session) : NULL;
            tls_bridge_free(t);
            return;
        }
    }
    if ((ended || t->down_ended) && finish(t))
        return;
    if (t->watched && t->left && !t->up_ended && buf_unread(&t->up) > 0)
        end_up(t);
    if (up == STEP_MOVED || down == STEP_MOVED)
        mark_ready(t);
}

static void throw_away(struct tls_bridge *t)
{
    ssize_t n = 1;

    for (int i = 0; i < STEPS_MAX && n > 0; i++)
        n = recv(t->net.fd, t->host->scratch, sizeof t->host->scratch, 0);
    if (n > 0)
        mark_ready(t);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        tls_bridge_free(t);
}

static void run(struct tls_bridge *t)
{
    unmark_ready(t);
    if (t->expired && t->released) {
        t->stalled = true;
        reset(t);
        return;
    }
    if (t->expired) {
        tls_bridge_free(t);
        return;
    }
    if (t->state == TLS_BRIDGE_HANDSHAKE && !handshake(t))
        return;
    if (t->state == TLS_BRIDGE_LINGERING)
        throw_away(t);
    else
        pump(t);
}

bool tls_bridges_turn(struct tls_bridges *host)
{
    /* Bridges that become ready meanwhile are handled in the next turn. */
    struct tls_bridge *t, *last = TAILQ_LAST(&host->ready, tls_bridge_ready);
    bool ran = last != NULL;

    for (bool more = ran; more;) {
        t = TAILQ_FIRST(&host->ready);
        more = t != last && t != NULL;
        if (t != NULL)
            run(t);
    }
    return ran;
}

/* --- life ------------------------------------------------------------------------------ */

void tls_bridges_init(struct tls_bridges *host, struct loop *l)
{
    host->loop = l;
    LIST_INIT(&host->all);
    TAILQ_INIT(&host->ready);
}

int tls_bridge_open(struct tls_bridges *host, int fd, const struct tls_bridge_options *o)
{
    struct tls_bridge *t = base_alloc(sizeof *t);
    const int on = 1;

    /* Whole records are written: waiting for more data gains nothing. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *t = (struct tls_bridge){ .host = host,
                              .session = tls_session_new(o->tls, fd),
                              .net = { .fd = fd, .on_event = on_net },
                              .plain = { .fd = -1, .on_event = on_plain },
                              .deadline = { .on_due = on_deadline },
                              .given_fd = -1,
                              .owner = o->owner,
                              .refused = o->refused };
    int err = t->session == NULL ? -ENOMEM
                                 : loop_io_start(host->loop, &t->net,
                                                 EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    if (err != 0) {
        tls_session_free(t->session);
        (void)close(fd);
        free(t);
        return err;
    }
    buf_init(&t->up, sizeof host->scratch);
    buf_init(&t->down, sizeof host->scratch);
    LIST_INSERT_HEAD(&host->all, t, link);
    host->count++;
    loop_timer_set(host->loop, &t->deadline, o->deadline_ms);
    return 0;
}

void tls_bridge_hold(struct tls_bridge *t, struct tls_bridge **holder)
{
    assert(t->state == TLS_BRIDGE_GIVEN);
    t->state = TLS_BRIDGE_OPEN;
    t->holder = holder;
    *holder = t;
    mark_ready(t);
}

void tls_bridge_release(struct tls_bridge **holder, int64_t send_timeout_ms)
{
    struct tls_bridge *t = *holder;

    if (t == NULL)
        return;
    *holder = NULL;
    t->holder = NULL;
    if (t->state != TLS_BRIDGE_OPEN)
        return;
    t->released = true;
    t->host->releasing++;
    t->send_timeout_ms = send_timeout_ms;
    t->taken_bytes = taken_bytes(t);
    loop_timer_set(t->host->loop, &t->deadline, loop_now(t->host->loop) + send_timeout_ms);
}

void tls_bridge_watch(struct tls_bridge *t, bool on)
{
    t->watched = on;
    if (on && t->left)
        mark_ready(t);
}

void tls_bridge_cut(struct tls_bridge *t)
{
    t->cut = true;
}

void tls_bridge_abort(struct tls_bridge *t)
{
    reset(t);
}

int tls_bridge_fd(const struct tls_bridge *t)
{
    return t->net.fd;
}

bool tls_bridge_keeps_bytes(const struct tls_bridge *t)
{
    return buf_unread(&t->down) > 0;
}

int64_t tls_bridge_received_bytes(const struct tls_bridge *t)
{
    return tls_received_bytes(t->session);
}

bool tls_bridge_has_received(const struct tls_bridge *t)
{
    char byte;

    return recv(t->net.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static bool is_unheld(const struct tls_bridge *t)
{
    return t->state == TLS_BRIDGE_HANDSHAKE || t->state == TLS_BRIDGE_GIVEN;
}

bool tls_bridges_in_handshake(const struct tls_bridges *host)
{
    struct tls_bridge *t;

    LIST_FOREACH(t, &host->all, link)
    if (is_unheld(t))
        return true;
    return false;
}

void tls_bridges_stop_silent(struct tls_bridges *host, int64_t begin_by_ms)
{
    struct tls_bridge *t;

    LIST_FOREACH(t, &host->all, link)
    if (t->state == TLS_BRIDGE_HANDSHAKE && t->deadline.due_ms > begin_by_ms && !has_begun(t)) {
        t->whole_by_ms = t->deadline.due_ms;
        loop_timer_set(host->loop, &t->deadline, begin_by_ms);
    }
}

void tls_bridges_stop_handshakes(struct tls_bridges *host)
{
    struct tls_bridge *t, *next;

    for (t = LIST_FIRST(&host->all); t != NULL; t = next) {
        next = LIST_NEXT(t, link);
        if (is_unheld(t))
            tls_bridge_free(t);
    }
}

void tls_bridges_done(struct tls_bridges *host)
{
    struct tls_bridge *t, *next;

    if (host->loop == NULL)
        return;
    tls_bridges_stop_handshakes(host);
    LIST_FOREACH(t, &host->all, link)
    mark_ready(t);
    (void)tls_bridges_turn(host);
    for (t = LIST_FIRST(&host->all); t != NULL; t = next) {
        next = LIST_NEXT(t, link);
        tls_bridge_free(t);
    }
}

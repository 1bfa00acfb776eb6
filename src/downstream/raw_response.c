/* The way past libmicrohttpd.
 *
 *     head, r->down --send--> the caller     takes nothing: wait for EPOLLOUT, raw_response_step
 * again
 *
 * The connection stays suspended meanwhile; then the handler is called a last time and has
 * libmicrohttpd close it. */
#include "downstream/raw_response.h"

#include <errno.h>
#include <sys/socket.h>

#include "downstream/conn.h"
#include "downstream/downstream.h"
#include "downstream/handler.h"
#include "proxy/relay.h"

/* An answer's largest head with what is added to it. */
#define HEAD_BYTES_MAX (RESPONSE_CHECK_BYTES_MAX + 4096)

bool raw_response_status(struct relay *r, int status)
{
    buf_init(&r->raw_response.head, HEAD_BYTES_MAX);
    return buf_addf(&r->raw_response.head, "HTTP/1.1 %d %s\r\n", status,
                    MHD_get_reason_phrase_for((unsigned)status)) == 0;
}

bool raw_response_field(struct relay *r, const struct header_field *f)
{
    struct buf *head = &r->raw_response.head;

    return buf_add(head, f->name, f->name_len) == 0 && buf_add(head, ": ", 2) == 0 &&
           buf_add(head, f->value, f->value_len) == 0 && buf_add(head, "\r\n", 2) == 0;
}

bool raw_response_begin(struct relay *r, int64_t body_bytes)
{
    struct raw_response *b = &r->raw_response;

    if (body_bytes >= 0 &&
        buf_addf(&b->head, "Content-Length: %lld\r\n", (long long)body_bytes) != 0)
        return false;
    if (buf_add_str(&b->head, "Connection: close\r\n\r\n") != 0)
        return false;
    b->on = true;
    b->moved_ms = loop_now(&r->ctx->loop);
    relay_wake(r);
    return true;
}

static void end(struct relay *r)
{
    char ignored[4096];
    int fd = r->conn->watch.fd;

    r->raw_response.over = true;
    if (r->gone || r->down_cut) {
        conn_reset_on_close(r->conn);
        return;
    }
    (void)shutdown(fd, SHUT_WR);
    /* What was sent to us and not read would turn the close into a reset that can overtake the
     * answer. */
    for (int i = 0; i < 64 && recv(fd, ignored, sizeof ignored, MSG_DONTWAIT) > 0; i++)
        ;
}

/* What is to be written next; false: nothing at present. */
static bool next_bytes(const struct relay *r, const char **bytes, size_t *n)
{
    const struct buf *from =
        buf_unread(&r->raw_response.head) > 0 ? &r->raw_response.head : &r->down;

    *bytes = buf_front(from);
    *n = buf_unread(from);
    return *n > 0;
}

static void written(struct relay *r, size_t n)
{
    r->raw_response.moved_ms = loop_now(&r->ctx->loop);
    if (buf_unread(&r->raw_response.head) > 0) {
        buf_consume(&r->raw_response.head, n);
        return;
    }
    buf_consume(&r->down, n);
    r->down_bytes += (int64_t)n;
    if (r->exchange.wants_room)
        relay_wake(r);
}

void raw_response_step(struct relay *r)
{
    struct raw_response *b = &r->raw_response;
    const char *bytes = NULL;
    size_t n = 0;

    b->blocked = false;
    while (!b->over && !r->gone && next_bytes(r, &bytes, &n)) {
        ssize_t sent = send(r->conn->watch.fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN && !r->down_cut) {
            b->blocked = true;
            conn_watch_room(r->conn);
            return;
        }
        if (sent < 0) {
            r->gone = !r->down_cut;
            break;
        }
        written(r, (size_t)sent);
    }
    if (!b->over && (r->gone || r->down_done || r->down_cut))
        end(r);
}

void raw_response_done(struct raw_response *b)
{
    buf_done(&b->head);
}

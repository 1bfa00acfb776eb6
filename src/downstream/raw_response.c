/* Writes the bytes of an answer to the caller's connection.
 *
 *     head | "1f4\r\n" piece "\r\n" | ... | "0\r\n\r\n"         (chunked)
 *     head | piece | piece | ...                               (by length, or until the end)
 *
 * `out` contains what is not body; each turn writes `out` and the present piece. */
#include "downstream/raw_response.h"

#include <errno.h>
#include <microhttpd.h>
#include <sys/socket.h>

/* The largest head of an answer, including our own fields. */
#define HEAD_BYTES_MAX (128 * 1024)

int raw_response_head(struct buf *out, const struct raw_head *head)
{
    int err = buf_addf(out, "HTTP/1.1 %d %s\r\n", head->status,
                       MHD_get_reason_phrase_for((unsigned)head->status));

    for (size_t i = 0; i < head->count && err == 0; i++) {
        const struct header_field *f = &head->fields[i];

        err = buf_add(out, f->name, f->name_len);
        if (err == 0)
            err = buf_add_str(out, ": ");
        if (err == 0)
            err = buf_add(out, f->value, f->value_len);
        if (err == 0)
            err = buf_add_str(out, "\r\n");
    }
    if (err == 0 && head->framing == RAW_CHUNKED)
        err = buf_add_str(out, "Transfer-Encoding: chunked\r\n");
    else if (err == 0 && head->body_bytes >= 0)
        err = buf_addf(out, "Content-Length: %lld\r\n", (long long)head->body_bytes);
    return err == 0 ? buf_add_str(out, "\r\n") : err;
}

int raw_response_init(struct raw_response *r, const struct raw_head *head)
{
    *r = (struct raw_response){ .framing = head->framing };
    buf_init(&r->out, HEAD_BYTES_MAX);
    return raw_response_head(&r->out, head);
}

/* Prepares the next piece of the body, or its end. */
static enum raw_state next_piece(struct raw_response *r, const struct buf *body, bool ended)
{
    size_t here = buf_unread(body);
    int err = 0;

    if (here == 0 && !ended)
        return RAW_EMPTY;
    if (here == 0 && (r->framing != RAW_CHUNKED || r->last_added))
        return RAW_DONE;
    r->piece_bytes = here;
    if (r->framing != RAW_CHUNKED)
        return RAW_BLOCKED;
    if (r->in_chunk)
        err = buf_add_str(&r->out, "\r\n");
    r->in_chunk = here > 0;
    r->last_added = here == 0;
    if (err == 0)
        err =
            here == 0 ? buf_add_str(&r->out, "0\r\n\r\n") : buf_addf(&r->out, "%zx\r\n", here);
    return err == 0 ? RAW_BLOCKED : RAW_FAILED;
}

enum raw_state raw_response_write(struct raw_response *r, int fd, struct buf *body, bool ended,
                                  size_t *taken)
{
    *taken = 0;
    for (;;) {
        if (buf_unread(&r->out) == 0 && r->piece_bytes == 0) {
            enum raw_state state = next_piece(r, body, ended);

            if (state != RAW_BLOCKED)
                return state;
        }
        struct iovec part[2] = {
            { (void *)(uintptr_t)buf_front(&r->out), buf_unread(&r->out) },
            { (void *)(uintptr_t)buf_front(body), r->piece_bytes },
        };
        const struct msghdr message = { .msg_iov = part, .msg_iovlen = 2 };
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno == EAGAIN ? RAW_BLOCKED : RAW_FAILED;
        size_t of_out = part[0].iov_len < (size_t)sent ? part[0].iov_len : (size_t)sent;

        buf_consume(&r->out, of_out);
        buf_consume(body, (size_t)sent - of_out);
        r->piece_bytes -= (size_t)sent - of_out;
        *taken += (size_t)sent - of_out;
    }
}

void raw_response_done(struct raw_response *r)
{
    buf_done(&r->out);
}

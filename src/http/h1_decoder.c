/* The framing of an HTTP/1.1 answer.
 *
 *     HEAD --http1_body--> COUNTED -----------------------------------------> ENDED
 *      (lines)         |-> UNTIL_CLOSE                                          ^
 *                      `-> SIZE --> CHUNK --> CHUNK_END --> SIZE ... --> TRAILERS
 *
 * Stricter than it need be where the length of the body depends on it: a chunk's size is all
 * digits, its line and its data end in CRLF. What one reader takes for a body and the next for
 * an answer is how one caller's data ends up with another. */
#include "http/h1_decoder.h"

#include <string.h>

#include "base/ascii.h"

void http1_init(struct http1 *h)
{
    h->state = HTTP1_HEAD;
    h->left = 0;
    h->line_given = false;
    h->line.limit = HTTP1_LINE_MAX;
    buf_clear(&h->line);
}

void http1_done(struct http1 *h)
{
    buf_done(&h->line);
}

void http1_body(struct http1 *h, bool chunked, int64_t bytes)
{
    assert(h->state == HTTP1_HEAD);
    h->left = bytes;
    h->state = chunked      ? HTTP1_SIZE
               : bytes > 0  ? HTTP1_COUNTED
               : bytes == 0 ? HTTP1_ENDED
                            : HTTP1_UNTIL_CLOSE;
}

/* HTTP1_LINE with a whole line, HTTP1_MORE, or HTTP1_TOO_LONG. */
static enum http1_event take_line(struct http1 *h, const char **in, size_t *n,
                                  const char **piece, size_t *len)
{
    const char *end = *n == 0 ? NULL : memchr(*in, '\n', *n);
    size_t used = end == NULL ? *n : (size_t)(end - *in) + 1;
    bool begun = buf_unread(&h->line) > 0;

    if (used > buf_room(&h->line) ||
        ((end == NULL || begun) && buf_add(&h->line, *in, used) != 0))
        return HTTP1_TOO_LONG;
    *piece = begun ? buf_front(&h->line) : *in;
    *len = begun ? buf_unread(&h->line) : used;
    *in += used;
    *n -= used;
    h->line_given = end != NULL && begun;
    return end == NULL ? HTTP1_MORE : HTTP1_LINE;
}

/* "1a2b" or "1a2b;name=value", without its line end; -1: it is neither. */
static int64_t chunk_size(const char *s, size_t n)
{
    uint64_t size = 0;
    size_t digits = 0;

    while (digits < n && ascii_is_hex(s[digits])) {
        if (size > INT64_MAX >> 4)
            return -1;
        size = size << 4 | (uint64_t)ascii_hex(s[digits++]);
    }
    if (digits == 0 || !ascii_is_field_text(s + digits, n - digits))
        return -1;
    while (digits < n && ascii_is_blank(s[digits]))
        digits++;
    return digits == n || s[digits] == ';' ? (int64_t)size : -1;
}

static enum http1_event on_size_line(struct http1 *h, const char *line, size_t len)
{
    if (len < 3 || line[len - 2] != '\r')
        return HTTP1_BROKEN;
    h->left = chunk_size(line, len - 2);
    if (h->left < 0)
        return HTTP1_BROKEN;
    h->state = h->left == 0 ? HTTP1_TRAILERS : HTTP1_CHUNK;
    return HTTP1_MORE;
}

static enum http1_event take_body(struct http1 *h, const char **in, size_t *n,
                                  const char **piece, size_t *len)
{
    size_t used = *n;

    if (used == 0)
        return HTTP1_MORE;
    if (h->state != HTTP1_UNTIL_CLOSE) {
        used = (int64_t)used < h->left ? used : (size_t)h->left;
        h->left -= (int64_t)used;
        if (h->left == 0) {
            h->left = h->state == HTTP1_CHUNK ? 2 : 0;
            h->state = h->state == HTTP1_CHUNK ? HTTP1_CHUNK_END : HTTP1_ENDED;
        }
    }
    *piece = *in;
    *len = used;
    *in += used;
    *n -= used;
    return HTTP1_BODY;
}

static enum http1_event take_chunk_end(struct http1 *h, const char **in, size_t *n)
{
    for (; *n > 0 && h->left > 0; h->left--) {
        if (**in != (h->left == 2 ? '\r' : '\n'))
            return HTTP1_BROKEN;
        ++*in;
        --*n;
    }
    if (h->left == 0)
        h->state = HTTP1_SIZE;
    return HTTP1_MORE;
}

static enum http1_event step(struct http1 *h, const char **in, size_t *n, const char **piece,
                             size_t *len)
{
    enum http1_event event;

    switch (h->state) {
    case HTTP1_HEAD:
        return take_line(h, in, n, piece, len);
    case HTTP1_TRAILERS:
        event = take_line(h, in, n, piece, len);
        if (event == HTTP1_LINE && (*len == 1 || (*len == 2 && **piece == '\r')))
            h->state = HTTP1_ENDED;
        return event;
    case HTTP1_SIZE:
        event = take_line(h, in, n, piece, len);
        if (event == HTTP1_TOO_LONG || *len > HTTP1_SIZE_LINE_MAX)
            return HTTP1_BROKEN;
        return event == HTTP1_LINE ? on_size_line(h, *piece, *len) : event;
    case HTTP1_CHUNK_END:
        return take_chunk_end(h, in, n);
    case HTTP1_ENDED:
        return HTTP1_END;
    default:
        return take_body(h, in, n, piece, len);
    }
}

enum http1_event http1_next(struct http1 *h, const char **in, size_t *n, const char **piece,
                            size_t *len)
{
    enum http1_event event = HTTP1_MORE;

    do {
        if (h->line_given)
            buf_clear(&h->line);
        h->line_given = false;
        event = step(h, in, n, piece, len);
    } while (event == HTTP1_MORE && *n > 0);
    return event;
}

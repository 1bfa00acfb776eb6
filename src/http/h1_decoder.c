/* The framing of an HTTP/1.1 answer.
 *
 *     HEAD --h1_decoder_body--> COUNTED -----------------------------------------> ENDED
 *      (lines)         |-> UNTIL_CLOSE                                          ^
 *                      `-> SIZE --> CHUNK --> CHUNK_END --> SIZE ... --> TRAILERS
 *
 * Stricter than necessary where the length of the body depends on it: the size of a chunk is
 * digits only, its line and its data end in CRLF. If two programs disagree about where a
 * body ends, one caller can get another caller's data. */
#include "http/h1_decoder.h"

#include <string.h>

#include "base/ascii.h"

void h1_decoder_init(struct h1_decoder *h)
{
    h->state = H1_HEAD;
    h->left = 0;
    h->line_given = false;
    h->line.limit = H1_LINE_MAX;
    buf_clear(&h->line);
}

void h1_decoder_done(struct h1_decoder *h)
{
    buf_done(&h->line);
}

void h1_decoder_body(struct h1_decoder *h, bool chunked, int64_t bytes)
{
    assert(h->state == H1_HEAD);
    h->left = bytes;
    h->state = chunked      ? H1_SIZE
               : bytes > 0  ? H1_COUNTED
               : bytes == 0 ? H1_ENDED
                            : H1_UNTIL_CLOSE;
}

/* Reads a line: H1_LINE when it is complete, H1_MORE, or H1_TOO_LONG. */
static enum h1_event take_line(struct h1_decoder *h, const char **in, size_t *n,
                               const char **piece, size_t *len)
{
    const char *end = *n == 0 ? NULL : memchr(*in, '\n', *n);
    size_t used = end == NULL ? *n : (size_t)(end - *in) + 1;
    bool begun = buf_unread(&h->line) > 0;

    if (used > buf_room(&h->line) ||
        ((end == NULL || begun) && buf_add(&h->line, *in, used) != 0))
        return H1_TOO_LONG;
    *piece = begun ? buf_front(&h->line) : *in;
    *len = begun ? buf_unread(&h->line) : used;
    *in += used;
    *n -= used;
    h->line_given = end != NULL && begun;
    return end == NULL ? H1_MORE : H1_LINE;
}

/* The size in "1a2b" or "1a2b;name=value" (without line end); -1: malformed. */
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

static enum h1_event on_size_line(struct h1_decoder *h, const char *line, size_t len)
{
    if (len < 3 || line[len - 2] != '\r')
        return H1_BROKEN;
    h->left = chunk_size(line, len - 2);
    if (h->left < 0)
        return H1_BROKEN;
    h->state = h->left == 0 ? H1_TRAILERS : H1_CHUNK;
    return H1_MORE;
}

static enum h1_event take_body(struct h1_decoder *h, const char **in, size_t *n,
                               const char **piece, size_t *len)
{
    size_t used = *n;

    if (used == 0)
        return H1_MORE;
    if (h->state != H1_UNTIL_CLOSE) {
        used = (int64_t)used < h->left ? used : (size_t)h->left;
        h->left -= (int64_t)used;
        if (h->left == 0) {
            h->left = h->state == H1_CHUNK ? 2 : 0;
            h->state = h->state == H1_CHUNK ? H1_CHUNK_END : H1_ENDED;
        }
    }
    *piece = *in;
    *len = used;
    *in += used;
    *n -= used;
    return H1_BODY;
}

static enum h1_event take_chunk_end(struct h1_decoder *h, const char **in, size_t *n)
{
    for (; *n > 0 && h->left > 0; h->left--) {
        if (**in != (h->left == 2 ? '\r' : '\n'))
            return H1_BROKEN;
        ++*in;
        --*n;
    }
    if (h->left == 0)
        h->state = H1_SIZE;
    return H1_MORE;
}

static enum h1_event step(struct h1_decoder *h, const char **in, size_t *n, const char **piece,
                          size_t *len)
{
    enum h1_event event;

    switch (h->state) {
    case H1_HEAD:
        return take_line(h, in, n, piece, len);
    case H1_TRAILERS:
        event = take_line(h, in, n, piece, len);
        if (event == H1_LINE && (*len == 1 || (*len == 2 && **piece == '\r')))
            h->state = H1_ENDED;
        return event;
    case H1_SIZE:
        event = take_line(h, in, n, piece, len);
        if (event == H1_TOO_LONG || *len > H1_SIZE_LINE_MAX)
            return H1_BROKEN;
        return event == H1_LINE ? on_size_line(h, *piece, *len) : event;
    case H1_CHUNK_END:
        return take_chunk_end(h, in, n);
    case H1_ENDED:
        return H1_END;
    default:
        return take_body(h, in, n, piece, len);
    }
}

enum h1_event h1_decoder_next(struct h1_decoder *h, const char **in, size_t *n,
                              const char **piece, size_t *len)
{
    enum h1_event event = H1_MORE;

    do {
        if (h->line_given)
            buf_clear(&h->line);
        h->line_given = false;
        event = step(h, in, n, piece, len);
    } while (event == H1_MORE && *n > 0);
    return event;
}

/* h1_decoder_next on any answer, whole and in pieces: it ends, says the same both times, and where
 * it finds the end of a body a plain reading of the same bytes finds it too.
 *
 *     measure | four sizes of pieces, used in turn | head, body and what is behind it
 *
 * The measure's low two bits: 0 counted, by its other bits; 1 until close; 2 and 3 chunks. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "http/h1_decoder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PIECES 4

static void require(bool holds)
{
    if (!holds)
        abort();
}

struct reading {
    struct h1_decoder reader;
    bool chunked;
    int64_t bytes;
    struct buf lines, body;
    enum h1_event last;
    size_t used, body_at; /* body_at: what was used when the head was over */
    bool has_head;
};

static void begin(struct reading *r, uint8_t measure)
{
    *r = (struct reading){ .chunked = measure % 4 >= 2,
                           .bytes = measure % 4 == 0 ? measure / 4 : -1 };
    buf_init(&r->lines, SIZE_MAX);
    buf_init(&r->body, SIZE_MAX);
    h1_decoder_init(&r->reader);
}

static void done(struct reading *r)
{
    h1_decoder_done(&r->reader);
    buf_done(&r->lines);
    buf_done(&r->body);
}

static void on_line(struct reading *r, const char *line, size_t n)
{
    require(n <= H1_LINE_MAX && memchr(line, '\n', n) == line + n - 1);
    require(buf_add(&r->lines, line, n) == 0);
    if (r->reader.state != H1_HEAD || n > 2 || (n == 2 && *line != '\r'))
        return;
    h1_decoder_body(&r->reader, r->chunked, r->bytes);
    r->has_head = true;
}

/* Takes one input, in a block of its own; false: no more is wanted. */
static bool feed(struct reading *r, const char *bytes, size_t size)
{
    char *block = malloc(size + 1);
    require(block != NULL);
    char *start = block + 1; /* up to the block's end: a byte too far is seen */
    const char *in = start, *piece = NULL;
    size_t n = size, len = 0;

    memcpy(start, bytes, size);
    for (;;) {
        const char *before = in;
        r->last = h1_decoder_next(&r->reader, &in, &n, &piece, &len);
        require(in + n == start + size && in >= before);
        if (r->last != H1_LINE && r->last != H1_BODY)
            break;
        require(in > before && len > 0); /* so that it ends */
        if (r->last == H1_BODY) {
            require(piece >= before && piece + len <= in && r->has_head);
            require(buf_add(&r->body, piece, len) == 0);
        } else {
            on_line(r, piece, len);
        }
        if (r->has_head && r->body_at == 0)
            r->body_at = r->used + (size_t)(in - start);
    }
    require(r->last != H1_MORE || n == 0);
    r->used += size - n;
    free(block);
    return r->last == H1_MORE;
}

/* The chunks as strtoull reads them, from the end of the head to the end of the answer. */
static void require_chunks(const struct reading *r, const char *at, const char *end)
{
    const char *body = buf_front(&r->body);
    size_t left = buf_unread(&r->body);

    for (;;) {
        require(at < end && ascii_is_hex(at[0]) && ascii_lower(at[1]) != 'x');
        unsigned long long n = strtoull(at, NULL, 16);
        at = memchr(at, '\n', (size_t)(end - at));
        require(at != NULL && at[-1] == '\r');
        at++;
        if (n == 0)
            break;
        require(n <= left && memcmp(at, body, n) == 0);
        body += n;
        left -= n;
        at += n;
        require(at[0] == '\r' && at[1] == '\n');
        at += 2;
    }
    require(left == 0 && at < end && end[-1] == '\n');
}

static void require_measured(const struct reading *r, const char *text)
{
    size_t body = buf_unread(&r->body);

    if (!r->has_head)
        require(body == 0 && (r->last == H1_MORE || r->last == H1_TOO_LONG));
    else if (r->chunked && r->last == H1_END)
        require_chunks(r, text + r->body_at, text + r->used);
    else if (!r->chunked && r->bytes < 0)
        require(r->last == H1_MORE && body == r->used - r->body_at);
    else if (!r->chunked)
        require(body == r->used - r->body_at &&
                (r->last == H1_END ? body == (size_t)r->bytes
                                   : r->last == H1_MORE && body < (size_t)r->bytes));
}

static bool same(const struct buf *a, const struct buf *b)
{
    return buf_unread(a) == buf_unread(b) &&
           memcmp(buf_front(a), buf_front(b), buf_unread(a)) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reading whole, pieces;

    if (size < 1 + PIECES)
        return 0;
    size_t n = size - 1 - PIECES;
    char *text = malloc(n + 1); /* ends in NUL for strtoull */
    require(text != NULL);
    memcpy(text, data + 1 + PIECES, n);
    text[n] = '\0';

    begin(&whole, data[0]);
    (void)feed(&whole, text, n);
    require_measured(&whole, text);

    begin(&pieces, data[0]);
    bool more = feed(&pieces, text, 0);
    for (size_t at = 0, i = 0, len = 0; at < n && more; at += len, i++) {
        len = (size_t)data[1 + i % PIECES] + 1;
        len = len < n - at ? len : n - at;
        more = feed(&pieces, text + at, len);
    }
    require(whole.last == pieces.last && same(&whole.lines, &pieces.lines) &&
            same(&whole.body, &pieces.body));
    require(whole.used == pieces.used || (whole.last != H1_END && whole.last != H1_MORE));
    done(&whole);
    done(&pieces);
    free(text);
    return 0;
}

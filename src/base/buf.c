/* A buffer that grows up to a fixed limit.
 *
 *     data   start        len          cap
 *     | read | unread ... | free ...    |      one byte of `cap` is kept for a NUL
 *
 * To make room, the unread bytes are moved to the front if that is enough; otherwise a
 * larger block is allocated. The old block is wiped before it is freed, since it may have
 * held a secret and nobody else can reach it. */
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FIRST_BYTES 256

void buf_init(struct buf *b, size_t limit_bytes)
{
    /* this bound keeps sums of sizes from overflowing */
    *b = (struct buf){ .limit = limit_bytes < SIZE_MAX / 4 ? limit_bytes : SIZE_MAX / 4 };
}

static void release(struct buf *b)
{
    free(b->data);
    *b = (struct buf){ .limit = b->limit };
}

void buf_done(struct buf *b)
{
    release(b);
}

void buf_wipe(struct buf *b)
{
    if (b->data != NULL)
        explicit_bzero(b->data, b->cap);
    release(b);
}

static int move_to_larger(struct buf *b, size_t need)
{
    size_t most = b->limit + 1;
    size_t cap = b->cap < FIRST_BYTES / 2 ? FIRST_BYTES : b->cap * 2;
    size_t unread = buf_unread(b);

    if (cap > most)
        cap = most;
    if (cap < need)
        cap = need;

    char *data = malloc(cap);
    if (data == NULL)
        return -ENOMEM;
    if (b->data != NULL) {
        memcpy(data, b->data + b->start, unread);
        explicit_bzero(b->data, b->cap);
        free(b->data);
    }
    b->data = data;
    b->cap = cap;
    b->start = 0;
    b->len = unread;
    return 0;
}

static int make_room(struct buf *b, size_t n)
{
    size_t unread = buf_unread(b);

    if (n > b->limit - unread)
        return -EMSGSIZE;
    if (b->cap > b->len && n < b->cap - b->len)
        return 0;
    if (unread + n + 1 > b->cap)
        return move_to_larger(b, unread + n + 1);
    memmove(b->data, b->data + b->start, unread);
    b->start = 0;
    b->len = unread;
    return 0;
}

char *buf_reserve(struct buf *b, size_t n)
{
    return make_room(b, n) == 0 ? b->data + b->len : NULL;
}

void buf_commit(struct buf *b, size_t n)
{
    assert(n == 0 || n < b->cap - b->len);
    b->len += n;
}

int buf_add(struct buf *b, const void *bytes, size_t n)
{
    if (n == 0)
        return 0;

    int rc = make_room(b, n);
    if (rc != 0)
        return rc;
    memcpy(b->data + b->len, bytes, n);
    b->len += n;
    return 0;
}

int buf_add_str(struct buf *b, const char *text)
{
    return buf_add(b, text, strlen(text));
}

int buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    size_t free_bytes = b->cap - b->len; /* usually large enough, and then one pass is enough */

    va_start(args, fmt);
    int n = vsnprintf(free_bytes > 0 ? b->data + b->len : NULL, free_bytes, fmt, args);
    va_end(args);
    if (n < 0)
        return -EMSGSIZE;

    bool written = (size_t)n < free_bytes;
    int rc = make_room(b, (size_t)n); /* checks the limit too */
    if (rc != 0)
        return rc;
    if (!written) {
        va_start(args, fmt);
        (void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, args);
        va_end(args);
    }
    b->len += (size_t)n;
    return 0;
}

void buf_consume(struct buf *b, size_t n)
{
    assert(n <= buf_unread(b));
    b->start += n;
    if (b->start == b->len)
        buf_clear(b);
}

void buf_clear(struct buf *b)
{
    b->start = 0;
    b->len = 0;
}

const char *buf_text(struct buf *b)
{
    if (buf_unread(b) == 0 || make_room(b, 0) != 0)
        return "";
    b->data[b->len] = '\0';
    return b->data + b->start;
}

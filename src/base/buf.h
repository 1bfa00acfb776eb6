#pragma once
/* A buffer that grows, but never beyond the limit it was created with. Bytes are added at
 * the end and read from the front: data[start .. len) is unread. Thread: one at a time. */
#include "base/base.h"

struct buf {
    char *data;
    size_t start; /* first unread byte */
    size_t len;   /* end of the written bytes */
    size_t cap;
    size_t limit; /* most bytes that may be unread (`len - start`) */
};

/* An empty buffer that allocates nothing until it is written to. */
void buf_init(struct buf *b, size_t limit_bytes);

/* Frees the bytes; the buffer is empty and usable again. Takes a zeroed one. */
void buf_done(struct buf *b);

/* Like buf_done, but wipes the bytes first: for anything that held a secret. */
void buf_wipe(struct buf *b);

/* Appends. Returns 0, -EMSGSIZE (the limit would be exceeded) or -ENOMEM; on error nothing
 * is appended. */
int buf_add(struct buf *b, const void *bytes, size_t n) MUST_CHECK;
int buf_add_str(struct buf *b, const char *text) MUST_CHECK;
int buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Makes room for n more bytes and returns where to write them, or NULL (limit, memory). Call
 * buf_commit afterwards with the number of bytes written. */
char *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);

/* Removes n unread bytes from the front (n <= buf_unread). */
void buf_consume(struct buf *b, size_t n);

/* Removes all bytes and keeps the memory. */
void buf_clear(struct buf *b);

static inline size_t buf_unread(const struct buf *b)
{
    return b->len - b->start;
}
static inline const char *buf_front(const struct buf *b)
{
    return b->data == NULL ? "" : b->data + b->start;
}
static inline size_t buf_room(const struct buf *b)
{
    return b->limit - buf_unread(b);
}

/* The unread bytes as a C string (with a NUL after them); "" when empty or out of memory. */
const char *buf_text(struct buf *b);

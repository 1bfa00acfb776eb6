#pragma once
/* Bytes that grow, never past the limit they were born with. Readers take from
 * the front: what is unread is data[start .. len). */
#include "base/base.h"

struct buf {
    char *data;
    size_t start; /* first unread byte */
    size_t len;   /* end of what was written */
    size_t cap;
    size_t limit; /* most bytes that `len - start` may reach */
};

/* An empty buffer that allocates nothing until it is written to. */
void buf_init(struct buf *b, size_t limit_bytes);

/* Frees the bytes; the buffer is empty and usable again. Takes a zeroed one. */
void buf_done(struct buf *b);

/* As buf_done, but overwrites the bytes first: for what held a secret. */
void buf_wipe(struct buf *b);

/* Appends. Returns 0, or -EMSGSIZE when the limit would be passed, or -ENOMEM;
 * nothing is appended then. */
int buf_add(struct buf *b, const void *bytes, size_t n) MUST_CHECK;
int buf_add_str(struct buf *b, const char *text) MUST_CHECK;
int buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Makes room for n more bytes and returns where they go, or NULL (limit, memory);
 * buf_commit says how many were written. */
char *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);

/* Forgets n unread bytes from the front (n <= buf_unread). */
void buf_consume(struct buf *b, size_t n);

/* Forgets all bytes and keeps the memory. */
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

/* The written bytes as a C string (a NUL is kept behind them); "" when empty or
 * out of memory. */
const char *buf_text(struct buf *b);

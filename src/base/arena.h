#pragma once
/* Memory of one request: allocated in small pieces, freed all at once. One thread at a
 * time uses it. */
#include "base/base.h"

struct arena_block;

struct arena {
    /* survives arena_clear, so that the next request needs no allocation */
    struct arena_block *first;
    struct arena_block *blocks;
    size_t used_bytes;
    size_t limit_bytes;
};

/* An empty arena that allocates nothing yet. limit_bytes: most bytes of all pieces together. */
void arena_init(struct arena *a, size_t limit_bytes);

/* Returns n bytes, aligned for any type, not zeroed, which the arena owns. NULL: above the
 * limit, or no memory. */
void *arena_alloc(struct arena *a, size_t n) MUST_CHECK;

/* Copies n bytes and adds a NUL. NULL as above. */
char *arena_copy(struct arena *a, const char *text, size_t n) MUST_CHECK;

/* Wipes and frees all pieces, and keeps the first block for the next request. */
void arena_clear(struct arena *a);

/* Wipes and frees everything (it may have held a header with a token). */
void arena_done(struct arena *a);

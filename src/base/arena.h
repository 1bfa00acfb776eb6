#pragma once
/* Memory of one request: taken in small pieces, freed all at once. */
#include "base/base.h"

struct arena_block;

struct arena {
    /* survives arena_clear, so that the next request needs no allocation */
    struct arena_block *first;
    struct arena_block *blocks;
    size_t used_bytes;
    size_t limit_bytes;
};

void arena_init(struct arena *a, size_t limit_bytes);

/* n bytes, aligned for any type, not zeroed; NULL past the limit. */
void *arena_alloc(struct arena *a, size_t n) MUST_CHECK;

/* Copies n bytes and adds a NUL; NULL past the limit. */
char *arena_copy(struct arena *a, const char *text, size_t n) MUST_CHECK;

/* Frees all but the first block. */
void arena_clear(struct arena *a);

/* Wipes and frees everything (it may have held a header with a token). */
void arena_done(struct arena *a);

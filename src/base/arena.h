#pragma once
/* Memory of one request: taken in small pieces, given back all at once. */
#include "base/base.h"

struct arena_block;

struct arena {
    struct arena_block *first; /* kept over arena_clear, so that a pooled user allocates once */
    struct arena_block *blocks;
    size_t used_bytes;
    size_t limit_bytes;
};

void arena_init(struct arena *a, size_t limit_bytes);

/* n bytes, aligned for any type, not zeroed; NULL past the limit. */
void *arena_alloc(struct arena *a, size_t n) MUST_CHECK;

/* A copy with a NUL behind it; NULL past the limit. */
char *arena_copy(struct arena *a, const char *text, size_t n) MUST_CHECK;

/* Gives back all but the first block. */
void arena_clear(struct arena *a);

/* Gives back everything, wiped first (it may have held a header with a token). */
void arena_done(struct arena *a);

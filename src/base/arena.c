/* Memory for one request, handed out in pieces from larger blocks.
 *
 *     blocks -> [ newest: pieces | free ] -> [ ... ] -> [ first ]
 *
 * Pieces come from the newest block. A piece that is too large for an ordinary block gets a
 * block of its own, which becomes the second in the list, so that the free part of the
 * newest stays in use. */
#include "base/arena.h"

#include <stdalign.h>
#include <string.h>

#define BLOCK_BYTES 4096

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    alignas(max_align_t) char data[];
};

void arena_init(struct arena *a, size_t limit_bytes)
{
    *a = (struct arena){ .limit_bytes = limit_bytes };
}

static struct arena_block *block_new(size_t size)
{
    struct arena_block *block = malloc(sizeof *block + size);

    if (block != NULL) {
        block->next = NULL;
        block->used = 0;
        block->size = size;
    }
    return block;
}

static void block_free(struct arena_block *block)
{
    explicit_bzero(block->data, block->used);
    free(block);
}

static void *block_take(struct arena_block *block, size_t n)
{
    void *piece = block->data + block->used;

    block->used += n;
    return piece;
}

/* Returns a block with room for n bytes; makes one if there is none. */
static struct arena_block *block_for(struct arena *a, size_t n)
{
    const size_t ordinary = BLOCK_BYTES - sizeof(struct arena_block);

    if (a->blocks == NULL) {
        a->first = a->blocks = block_new(ordinary);
        if (a->blocks == NULL)
            return NULL;
    }
    if (n <= a->blocks->size - a->blocks->used)
        return a->blocks;

    struct arena_block *block = block_new(n > ordinary ? n : ordinary);
    if (block == NULL)
        return NULL;
    if (n > ordinary) {
        block->next = a->blocks->next;
        a->blocks->next = block;
    } else {
        block->next = a->blocks;
        a->blocks = block;
    }
    return block;
}

void *arena_alloc(struct arena *a, size_t n)
{
    const size_t step = alignof(max_align_t);

    if (n > a->limit_bytes - a->used_bytes)
        return NULL;
    n = n == 0 ? step : (n + step - 1) & ~(step - 1);
    if (n == 0 || n > a->limit_bytes - a->used_bytes)
        return NULL;

    struct arena_block *block = block_for(a, n);
    if (block == NULL)
        return NULL;
    a->used_bytes += n;
    return block_take(block, n);
}

char *arena_copy(struct arena *a, const char *text, size_t n)
{
    char *copy = n < SIZE_MAX ? arena_alloc(a, n + 1) : NULL;

    if (copy == NULL)
        return NULL;
    if (n > 0)
        memcpy(copy, text, n);
    copy[n] = '\0';
    return copy;
}

static void free_all_but_first(struct arena *a)
{
    struct arena_block *next;

    for (struct arena_block *block = a->blocks; block != NULL; block = next) {
        next = block->next;
        if (block != a->first)
            block_free(block);
    }
    a->blocks = a->first;
    a->used_bytes = 0;
}

void arena_clear(struct arena *a)
{
    free_all_but_first(a);
    if (a->first != NULL) {
        explicit_bzero(a->first->data, a->first->used);
        a->first->used = 0;
        a->first->next = NULL;
    }
}

void arena_done(struct arena *a)
{
    free_all_but_first(a);
    if (a->first != NULL)
        block_free(a->first);
    a->first = a->blocks = NULL;
}

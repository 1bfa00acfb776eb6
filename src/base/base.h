#pragma once
/* What every file uses: attributes, release at the end of a scope, array length. */
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof(a)[0])
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Frees a local variable at the end of its scope: `auto_free char *p = NULL;` */
#define auto_free __attribute__((cleanup(base_free_p)))
#define auto_close __attribute__((cleanup(base_close_p)))

static inline void base_free_p(void *p)
{
    free(*(void **)p);
}
static inline void base_close_p(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

/* Passes such a variable's value on, so that it is not freed: `return STEAL(p);` */
#define STEAL(p)                    \
    ({                              \
        __typeof__(p) stolen = (p); \
        (p) = NULL;                 \
        stolen;                     \
    })

/* The same for a descriptor: `return base_take_fd(&fd);` */
static inline int base_take_fd(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

/* Allocates a small object of fixed size, zeroed. Aborts the process when memory runs out. */
static inline void *base_alloc(size_t size_bytes)
{
    void *p = calloc(1, size_bytes);
    if (p == NULL)
        abort();
    return p;
}

/* Whether two strings are equal, or both NULL. */
static inline bool base_same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Whether this errno means that descriptors or memory have run out: a temporary condition of
 * this process or machine, never the peer's fault. */
static inline bool base_ran_out(int err)
{
    return err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM;
}

static inline int64_t base_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static inline int64_t base_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Gives back the memory pages of idle pools.
 *
 *     request over --> list, oldest first --RESTED_MS later--> all bytes zero? --> given back
 *
 * The request line shows where a pool is: libmicrohttpd receives into its start, and
 * allocates a pool of this size by mmap. But a caller may send empty lines first, even a
 * whole page of them: so the address counts only if the pool also ends where it should.
 * After a request libmicrohttpd clears the whole pool, and private pages full of zeros that
 * are given back read as zeros again: nothing changes but the memory in use. It is checked
 * first that all of them are zero, since they may contain the beginning of a next head, for
 * example. */
#include "downstream/mhd_pool.h"

#include <string.h>
#include <sys/mman.h>

#define RESTED_MS 1000
/* Size of one record of libmicrohttpd. */
#define RECORD_BYTES_MAX 128
/* Most pools that are examined before requests get their turn. */
#define BATCH 64

static bool all_zero(const char *at, size_t n)
{
    /* whether each byte equals the next */
    return n == 0 || (at[0] == 0 && memcmp(at, at + 1, n - 1) == 0);
}

static void give_back(const struct mhd_pool *r, const struct mhd_pool_rest *p)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = r->pool_bytes & ~(page - 1);

    if (all_zero(p->pool, n))
        (void)madvise((void *)(uintptr_t)p->pool, n, MADV_DONTNEED);
}

static void on_due(struct loop_timer *t)
{
    struct mhd_pool *r = CONTAINER_OF(t, struct mhd_pool, timer);
    struct mhd_pool_rest *p;
    int64_t now_ms = loop_now(r->loop);

    for (int i = 0; i < BATCH && (p = TAILQ_FIRST(&r->list)) != NULL; i++) {
        if (p->since_ms + RESTED_MS > now_ms)
            break;
        mhd_pool_end(r, p);
        give_back(r, p);
    }
    if ((p = TAILQ_FIRST(&r->list)) != NULL)
        loop_timer_set(r->loop, t, base_max(p->since_ms + RESTED_MS, now_ms + 1));
}

void mhd_pool_init(struct mhd_pool *r, struct loop *l, size_t pool_bytes)
{
    *r = (struct mhd_pool){ .loop = l, .timer.on_due = on_due, .pool_bytes = pool_bytes };
    TAILQ_INIT(&r->list);
}

void mhd_pool_done(struct mhd_pool *r)
{
    if (r->loop != NULL)
        loop_timer_clear(r->loop, &r->timer);
}

void mhd_pool_seen(const struct mhd_pool *r, struct mhd_pool_rest *p, const char *method,
                   const char *kept, size_t records)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), end = (uintptr_t)method + r->pool_bytes;

    if (((uintptr_t)method & (page - 1)) == 0 && (uintptr_t)kept < end &&
        end - (uintptr_t)kept <= (records + 1) * RECORD_BYTES_MAX &&
        (records + 1) * RECORD_BYTES_MAX <= page)
        p->pool = method;
}

size_t mhd_pool_used(const struct mhd_pool *r, const struct mhd_pool_rest *p)
{
    static const char unused[4] = { 0 };

    /* ENOMEM if there is no memory at that address; otherwise it does nothing. */
    if (msync((void *)(uintptr_t)p->pool, r->pool_bytes, MS_ASYNC) != 0)
        return 0;
    const char *end = memmem(p->pool, r->pool_bytes, unused, sizeof unused);

    return end == NULL ? r->pool_bytes : (size_t)(end - p->pool);
}

void mhd_pool_begin(struct mhd_pool *r, struct mhd_pool_rest *p)
{
    if (p->pool == NULL || p->listed)
        return;
    p->listed = true;
    p->since_ms = loop_now(r->loop);
    TAILQ_INSERT_TAIL(&r->list, p, link);
    if (r->timer.slot == 0)
        loop_timer_set(r->loop, &r->timer, p->since_ms + RESTED_MS);
}

void mhd_pool_end(struct mhd_pool *r, struct mhd_pool_rest *p)
{
    if (!p->listed)
        return;
    p->listed = false;
    TAILQ_REMOVE(&r->list, p, link);
}

#pragma once
/* Gives back the memory of connections that are idle between requests. libmicrohttpd keeps a
 * pool of fixed size for each, and writes to all of it after each request: otherwise a
 * connection that was used once would occupy all of it as long as it is open. */
#include <sys/queue.h>

#include "base/base.h"
#include "event/loop.h"

struct mhd_pool_rest {
    /* where libmicrohttpd's pool begins; NULL: not known, or not page-aligned */
    const char *pool;
    int64_t since_ms;
    bool listed;
    TAILQ_ENTRY(mhd_pool_rest) link;
};

struct mhd_pool {
    struct loop *loop;
    struct loop_timer timer;
    size_t pool_bytes;
    TAILQ_HEAD(mhd_pool_list, mhd_pool_rest) list; /* the one that is idle longest first */
};

void mhd_pool_init(struct mhd_pool *r, struct loop *l, size_t pool_bytes);
void mhd_pool_done(struct mhd_pool *r);

/* A head was received. `method` points to it: to the very start of the pool, unless
 * something came before it. `kept` is what libmicrohttpd has stored at the other end, after
 * that many records. */
void mhd_pool_seen(const struct mhd_pool *r, struct mhd_pool_rest *p, const char *method,
                   const char *kept, size_t records);
/* How many bytes at its start a request line occupies; libmicrohttpd puts single NULs into
 * it. 0: the pool is gone. */
size_t mhd_pool_used(const struct mhd_pool *r, const struct mhd_pool_rest *p);
/* The request is over: frees the memory if no other request comes soon. */
void mhd_pool_begin(struct mhd_pool *r, struct mhd_pool_rest *p);
/* Something was received, or the connection ends. */
void mhd_pool_end(struct mhd_pool *r, struct mhd_pool_rest *p);

#pragma once
/* Gives back the memory of connections that rest between requests. libmicrohttpd keeps a pool
 * of fixed size for each, and writes all of it after each request: without this a connection
 * that was used once holds all of it for as long as it is open. */
#include <sys/queue.h>

#include "base/base.h"
#include "event/loop.h"

struct mhd_pool_rest {
    const char *pool; /* where libmicrohttpd's pool begins; NULL: not known, or not on pages */
    int64_t since_ms;
    bool listed;
    TAILQ_ENTRY(mhd_pool_rest) link;
};

struct mhd_pool {
    struct loop *loop;
    struct loop_timer timer;
    size_t pool_bytes;
    TAILQ_HEAD(mhd_pool_list, mhd_pool_rest) list; /* the longest rest first */
};

void mhd_pool_init(struct mhd_pool *r, struct loop *l, size_t pool_bytes);
void mhd_pool_done(struct mhd_pool *r);

/* A head has come. `method` is where it lies: at the very start of the pool, unless something came
 * in front of it. `kept` is what libmicrohttpd has put at the other end, behind so many records. */
void mhd_pool_seen(const struct mhd_pool *r, struct mhd_pool_rest *p, const char *method,
                   const char *kept, size_t records);
/* Bytes at its start that a request line has come to; libmicrohttpd puts single NULs into it. 0: the
 * pool is gone. */
size_t mhd_pool_used(const struct mhd_pool *r, const struct mhd_pool_rest *p);
/* The request is over. Its memory is given back if no other comes soon. */
void mhd_pool_begin(struct mhd_pool *r, struct mhd_pool_rest *p);
/* Something came, or the connection ends. */
void mhd_pool_end(struct mhd_pool *r, struct mhd_pool_rest *p);

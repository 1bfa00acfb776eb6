#pragma once
/* Gives back the memory of connections that rest between requests. libmicrohttpd keeps a pool
 * of fixed size for each, and writes all of it after each request: without this a connection
 * that was used once holds all of it for as long as it is open. */
#include <sys/queue.h>

#include "base/base.h"
#include "event/loop.h"

struct resting_place {
    const char *pool; /* where libmicrohttpd's pool begins; NULL: not known, or not on pages */
    int64_t since_ms;
    bool listed;
    TAILQ_ENTRY(resting_place) link;
};

struct resting {
    struct loop *loop;
    struct loop_timer timer;
    size_t pool_bytes;
    TAILQ_HEAD(resting_list, resting_place) list; /* the longest rest first */
};

void resting_init(struct resting *r, struct loop *l, size_t pool_bytes);
void resting_done(struct resting *r);

/* A request line has come; `method` is where it lies: at the very start of the pool, unless
 * something came in front of it. */
void resting_seen(struct resting_place *p, const char *method);
/* The request is over. Its memory is given back if no other comes soon. */
void resting_begin(struct resting *r, struct resting_place *p);
/* Something came, or the connection ends. */
void resting_end(struct resting *r, struct resting_place *p);

#pragma once
/* A limit on how much of something there may be in the whole process, such as requests in flight.
 * Threads do not meet on one cache line for each request: each keeps a few permits in hand. */
#include <stdatomic.h>

#include "base/base.h"

struct limit {
    _Atomic int64_t left;
    int64_t step; /* how many a thread takes at a time; 1: exact at any moment */
};

/* The part of it that one thread holds. */
struct limit_share {
    struct limit *limit;
    int64_t in_hand;
};

/* With `threads` users; a limit that is small for them is kept exactly, a larger one may
 * refuse while a fiftieth of it lies in other hands. */
static inline void limit_init(struct limit *l, int64_t limit, unsigned threads)
{
    atomic_init(&l->left, limit);
    l->step = base_max(1, base_min(32, limit / (128 * (int64_t)threads)));
}

static inline bool limit_take(struct limit_share *s)
{
    if (s->in_hand > 0) {
        s->in_hand--;
        return true;
    }
    int64_t left = atomic_load_explicit(&s->limit->left, memory_order_relaxed);

    while (left > 0) {
        int64_t n = base_min(left, s->limit->step);

        if (atomic_compare_exchange_weak_explicit(&s->limit->left, &left, left - n,
                                                  memory_order_relaxed, memory_order_relaxed)) {
            s->in_hand = n - 1;
            return true;
        }
    }
    return false;
}

static inline void limit_give(struct limit_share *s)
{
    int64_t keep = s->limit->step > 1 ? s->limit->step * 2 : 0;

    if (++s->in_hand > keep) {
        int64_t back = s->in_hand - keep / 2;

        s->in_hand -= back;
        (void)atomic_fetch_add_explicit(&s->limit->left, back, memory_order_relaxed);
    }
}

/* A changed limit: the difference goes to, or is owed by, what is left. Thread: control. */
static inline void limit_change(struct limit *l, int64_t difference)
{
    (void)atomic_fetch_add_explicit(&l->left, difference, memory_order_relaxed);
}

#pragma once
/* Limits how many of something exist at a time in the whole process, for example requests in
 * progress. All threads share one counter, which is exact at any moment. */
#include <stdatomic.h>

#include "base/base.h"

/* Takes one. False if `most` are taken already. */
static inline bool limit_take(_Atomic int64_t *taken, int64_t most)
{
    int64_t now = atomic_load_explicit(taken, memory_order_relaxed);

    do {
        if (now >= most)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(taken, &now, now + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

/* Gives back one that was taken. */
static inline void limit_give(_Atomic int64_t *taken)
{
    (void)atomic_fetch_sub_explicit(taken, 1, memory_order_relaxed);
}

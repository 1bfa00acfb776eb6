#pragma once
/* A limit on how much of something there may be at a time in the whole process, such as requests in
 * flight: a count that all threads share, and that is exact at any moment. */
#include <stdatomic.h>

#include "base/base.h"

/* One more, unless there are `most` already: false, and nothing is counted. */
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

/* One less, of those that were taken. */
static inline void limit_give(_Atomic int64_t *taken)
{
    (void)atomic_fetch_sub_explicit(taken, 1, memory_order_relaxed);
}

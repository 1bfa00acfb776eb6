#pragma once
/* A rate limit for the whole process: a bucket that holds n tokens and is filled from empty to
 * full in a given time. Each request takes a token; when there is none it is refused, never
 * delayed. The state is one atomic number, the time at which the bucket would be full again
 * (generic cell rate algorithm). Thread: any, without a lock. Times are of clock_us(). */
#include <stdatomic.h>

#include "base/base.h"

/* The setting `money 6/1m`. */
struct rate {
    int64_t n;           /* tokens in a full bucket; 0: no limit */
    int64_t duration_us; /* time from empty to full */
};

struct rate_bucket {
    _Atomic int64_t full_us; /* when it will be full; in the past: it is full */
};

struct rate_level {
    int64_t left;     /* whole tokens in the bucket */
    int64_t again_us; /* time until there is one more; 0: there is one now */
};

/* Takes one if the bucket is not empty. now_us is monotonic. */
bool rate_take(struct rate_bucket *b, const struct rate *r, int64_t now_us) MUST_CHECK;
/* The level of the bucket. */
struct rate_level rate_look(const struct rate_bucket *b, const struct rate *r, int64_t now_us);
/* The setting has changed: keeps the level, but not more than the new size. */
void rate_change(struct rate_bucket *b, const struct rate *was, const struct rate *now,
                 int64_t now_us);

#pragma once
/* A rate for the whole process: a bucket that holds N and refills N in a duration, as one atomic
 * number (the generic cell rate algorithm: it is the time at which the bucket would be full
 * again). Any thread, no lock. Nothing is delayed: what finds the bucket empty is refused. */
#include <stdatomic.h>

#include "base/base.h"

/* The setting `money 6/1m`. */
struct rate {
    int64_t n;           /* 0: no limit */
    int64_t duration_us; /* in which n are refilled */
};

struct rate_bucket {
    _Atomic int64_t full_us; /* when it will be full; in the past: it is */
};

struct rate_level {
    int64_t left;     /* whole ones in the bucket */
    int64_t again_us; /* until there is one more; 0: there is one now */
};

/* Takes one if there is one. now_us is monotonic. */
bool rate_take(struct rate_bucket *b, const struct rate *r, int64_t now_us) MUST_CHECK;
/* What is in it. */
struct rate_level rate_look(const struct rate_bucket *b, const struct rate *r, int64_t now_us);
/* The setting has changed from one to the other: what is in the bucket stays, cut to its new
 * size. */
void rate_change(struct rate_bucket *b, const struct rate *was, const struct rate *now,
                 int64_t now_us);

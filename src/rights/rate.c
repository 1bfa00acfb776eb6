/* Rates; see rate.h. */
#include "rights/rate.h"

#define SLACK_US 1000000

/* The time in which one refills, rounded up, so that never more than n pass in d. */
static int64_t each_us(const struct rate *r)
{
    return (r->duration_us + r->n - 1) / r->n;
}

/* A bucket cannot lack more than its size. It may look so for a moment after the settings
 * were changed, if another thread still used the old rate. The clocks of threads differ by
 * far less than SLACK_US, so a bucket in good order is never changed. */
static void mend(struct rate_bucket *b, const struct rate *r, int64_t full_us, int64_t now_us)
{
    int64_t most_us = now_us + each_us(r) * r->n;

    if (full_us > most_us + SLACK_US)
        (void)atomic_compare_exchange_strong_explicit(
            &b->full_us, &full_us, most_us, memory_order_relaxed, memory_order_relaxed);
}

bool rate_take(struct rate_bucket *b, const struct rate *r, int64_t now_us)
{
    if (r->n == 0)
        return true;
    int64_t full_us = atomic_load_explicit(&b->full_us, memory_order_relaxed);

    for (;;) {
        int64_t from_us = full_us > now_us ? full_us : now_us;
        int64_t next_us = from_us + each_us(r);

        if (next_us - now_us > each_us(r) * r->n) {
            mend(b, r, full_us, now_us);
            return false;
        }
        if (atomic_compare_exchange_weak_explicit(&b->full_us, &full_us, next_us,
                                                  memory_order_relaxed, memory_order_relaxed))
            return true;
    }
}

struct rate_level rate_look(const struct rate_bucket *b, const struct rate *r, int64_t now_us)
{
    int64_t full_us = atomic_load_explicit(&b->full_us, memory_order_relaxed);
    struct rate_level l = { .left = r->n };

    if (r->n == 0 || full_us <= now_us)
        return l;
    int64_t missing_us = full_us - now_us, each = each_us(r);
    int64_t missing = (missing_us + each - 1) / each;

    l.left = missing < r->n ? r->n - missing : 0;
    if (l.left == 0)
        l.again_us = missing_us - each * (r->n - 1);
    return l;
}

void rate_change(struct rate_bucket *b, const struct rate *was, const struct rate *now,
                 int64_t now_us)
{
    int64_t full_us = atomic_load_explicit(&b->full_us, memory_order_relaxed), next_us;

    if (now->n == 0 || (now->n == was->n && now->duration_us == was->duration_us))
        return;
    do {
        const struct rate_bucket was_so = { .full_us = full_us };
        int64_t left = was->n == 0 ? now->n : rate_look(&was_so, was, now_us).left;

        left = left < now->n ? left : now->n;
        next_us = now_us + (now->n - left) * each_us(now);
    } while (!atomic_compare_exchange_weak_explicit(
        &b->full_us, &full_us, next_us, memory_order_relaxed, memory_order_relaxed));
}

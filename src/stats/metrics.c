/* Counting a finished request: one counter by outcome, one bucket per duration. */
#include "stats/metrics.h"

static void observe(struct metrics *m, enum metrics_duration which, int64_t us)
{
    static const int64_t bounds_us[METRICS_BUCKETS - 1] = METRICS_BOUNDS_US;
    size_t i = 0;

    if (us < 0)
        return;
    while (i < METRICS_BUCKETS - 1 && us > bounds_us[i])
        i++;
    metrics_bump(&m->bucket[which][i], 1);
    metrics_bump(&m->sum_us[which], (uint64_t)us);
}

void metrics_request(struct metrics *m, const struct metrics_request *r)
{
    int status_class = r->status >= 100 && r->status <= 599 ? r->status / 100 : 0;

    metrics_bump(&m->requests[r->method][status_class][r->stage], 1);
    metrics_add(m, M_requests_finished, 1);
    observe(m, METRICS_TOTAL, r->total_us);
    observe(m, METRICS_TOKEN_WAIT, r->token_us);
    observe(m, METRICS_UPSTREAM, r->upstream_us);
}

void metrics_add_shard(struct metrics_sum *sum, const struct metrics *shard)
{
#define ADD(field)                                                    \
    for (size_t i = 0; i < sizeof sum->field / sizeof(uint64_t); i++) \
    ((uint64_t *)sum->field)[i] += atomic_load_explicit(              \
        &((const _Atomic uint64_t *)shard->field)[i], memory_order_relaxed)
    ADD(counter);
    ADD(requests);
    ADD(bucket);
    ADD(sum_us);
#undef ADD
}

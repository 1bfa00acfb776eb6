/* Counts finished requests by outcome and duration, and adds up the shards. */
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

static int status_class_of(int status)
{
    return status >= 100 && status <= 599 ? status / 100 : 0;
}

void metrics_request(struct metrics *m, const struct metrics_request *r)
{
    metrics_bump(&m->requests[r->method][status_class_of(r->status)][r->stage], 1);
    metrics_add(m, M_requests_finished, 1);
    observe(m, METRICS_TOTAL, r->total_us);
    observe(m, METRICS_TOKEN_WAIT, r->token_us);
    observe(m, METRICS_UPSTREAM, r->upstream_us);
}

void metrics_class(struct metrics *m, const struct metrics_class *r)
{
    metrics_bump(&m->class_results[r->class][status_class_of(r->status)][r->stage], 1);
    if (r->outcome_unknown)
        metrics_bump(&m->outcome_unknown[r->class], 1);
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
    ADD(class_results);
    ADD(outcome_unknown);
    ADD(ledger);
#undef ADD
}

/* Keeps in a ring what happened in each of the last steps: differences between totals.
 *
 *        |<- step ->|<- step ->|     no sample     |<- step ->| rest |
 *   -----+----------+----------+- - - - -+- - - - -+----------+------+---> time
 *      sample     sample     sample             sample            now
 */
#include "stats/history.h"

static struct history_step difference(const struct history_totals *from,
                                      const struct history_totals *to, int64_t span_ms)
{
    struct history_step s = { .span_ms = span_ms,
                              .requests = to->requests - from->requests,
                              .upstream_errors = to->upstream_errors - from->upstream_errors };

    for (size_t i = 0; i < STAGE_COUNT; i++)
        s.failed[i] = to->failed[i] - from->failed[i];
    for (size_t i = 0; i < METRICS_BUCKETS; i++)
        s.bucket[i] = to->bucket[i] - from->bucket[i];
    return s;
}

static void push(struct history *h, const struct history_step *s)
{
    h->newest = (h->newest + 1) % HISTORY_STEPS;
    h->step[h->newest] = *s;
    if (h->count < HISTORY_STEPS)
        h->count++;
}

struct history_totals history_totals_of(const struct metrics_sum *sum)
{
    struct history_totals t = { .requests = sum->counter[M_requests_finished] };

    for (size_t method = 0; method < METRICS_METHOD_COUNT; method++) {
        t.upstream_errors += sum->requests[method][5][STAGE_COUNT];
        for (size_t status = 0; status < ARRAY_LEN(sum->requests[method]); status++)
            for (size_t stage = 0; stage < STAGE_COUNT; stage++)
                t.failed[stage] += sum->requests[method][status][stage];
    }
    for (size_t i = 0; i < METRICS_BUCKETS; i++)
        t.bucket[i] = sum->bucket[METRICS_TOTAL][i];
    return t;
}

void history_init(struct history *h, const struct history_totals *totals, int64_t now_ms)
{
    *h = (struct history){ .last = *totals, .last_ms = now_ms };
}

void history_sample(struct history *h, const struct history_totals *totals, int64_t now_ms)
{
    static const struct history_step no_sample;
    int64_t span_ms = now_ms - h->last_ms;
    int64_t steps = (span_ms + HISTORY_STEP_MS / 2) / HISTORY_STEP_MS;

    if (steps < 1)
        return;
    steps = base_min(steps, HISTORY_STEPS);
    for (int64_t i = 1; i < steps; i++)
        push(h, &no_sample);

    struct history_step s = difference(&h->last, totals, span_ms);

    push(h, &s);
    h->last = *totals;
    h->last_ms = now_ms;
}

const struct history_step *history_step(const struct history *h, size_t age)
{
    if (age >= h->count)
        return NULL;
    return &h->step[(h->newest + HISTORY_STEPS - age) % HISTORY_STEPS];
}

struct history_step history_rest(const struct history *h, const struct history_totals *totals,
                                 int64_t now_ms)
{
    return difference(&h->last, totals, base_max(now_ms - h->last_ms, 0));
}

struct history_step history_sum(const struct history *h, const struct history_totals *totals,
                                int64_t now_ms, size_t steps)
{
    struct history_step sum = history_rest(h, totals, now_ms);

    for (size_t age = 0; age < steps && age < h->count; age++) {
        const struct history_step *s = history_step(h, age);

        sum.span_ms += s->span_ms;
        sum.requests += s->requests;
        sum.upstream_errors += s->upstream_errors;
        for (size_t i = 0; i < STAGE_COUNT; i++)
            sum.failed[i] += s->failed[i];
        for (size_t i = 0; i < METRICS_BUCKETS; i++)
            sum.bucket[i] += s->bucket[i];
    }
    return sum;
}

uint64_t history_failed(const struct history_step *s)
{
    uint64_t n = s->upstream_errors;

    for (size_t i = 0; i < STAGE_COUNT; i++)
        n += s->failed[i];
    return n;
}

double history_rate(const struct history_step *s)
{
    return s->span_ms <= 0 ? 0 : (double)s->requests * 1000 / (double)s->span_ms;
}

double history_quantile_us(const struct history_step *s, double q)
{
    static const int64_t bounds_us[METRICS_BUCKETS - 1] = METRICS_BOUNDS_US;
    uint64_t all = 0;
    double before = 0;

    for (size_t i = 0; i < METRICS_BUCKETS; i++)
        all += s->bucket[i];
    if (all == 0)
        return -1;
    for (size_t i = 0; i < METRICS_BUCKETS - 1; i++) {
        double here = (double)s->bucket[i], wanted = q * (double)all;

        if (here > 0 && before + here >= wanted) {
            double low = i == 0 ? 0 : (double)bounds_us[i - 1];

            return low + ((double)bounds_us[i] - low) * (wanted - before) / here;
        }
        before += here;
    }
    return (double)bounds_us[METRICS_BUCKETS - 2];
}

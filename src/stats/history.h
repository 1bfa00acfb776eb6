#pragma once
/* What happened in the last quarter of an hour, in steps of ten seconds, for the charts of
 * the status page. It is computed from totals that only grow. It reads no clock: the caller
 * passes the time of clock_ms(). Thread: control. */
#include "base/base.h"
#include "base/failure.h"
#include "stats/metrics.h"

#define HISTORY_STEP_MS 10000
#define HISTORY_STEPS 90

/* Totals since the start of the process. */
struct history_totals {
    uint64_t requests;                /* finished */
    uint64_t failed[STAGE_COUNT];     /* answered by the proxy itself, by whose fault it was */
    uint64_t upstream_errors;         /* the upstream's own answers of 500 and above */
    uint64_t bucket[METRICS_BUCKETS]; /* durations of whole requests */
};

/* What happened between two samples. */
struct history_step {
    /* length of the step; 0: no sample (the process or the machine was suspended) */
    int64_t span_ms;
    uint64_t requests, failed[STAGE_COUNT], upstream_errors, bucket[METRICS_BUCKETS];
};

struct history {
    struct history_totals last;
    int64_t last_ms;
    struct history_step step[HISTORY_STEPS]; /* a ring */
    size_t newest, count;
};

/* The totals, taken from the metrics of all threads. */
struct history_totals history_totals_of(const struct metrics_sum *sum);

/* `totals`: at this moment. */
void history_init(struct history *h, const struct history_totals *totals, int64_t now_ms);

/* Call it about every HISTORY_STEP_MS. After a longer pause the steps in between are empty,
 * and everything since the last sample is counted in the newest step, with its true length.
 * A call that is early (less than half a step) does nothing. */
void history_sample(struct history *h, const struct history_totals *totals, int64_t now_ms);

/* The step that began `age` whole steps before the last sample; NULL: older than the
 * history. */
const struct history_step *history_step(const struct history *h, size_t age);

/* What happened since the last sample. */
struct history_step history_rest(const struct history *h, const struct history_totals *totals,
                                 int64_t now_ms);

/* The sum of the newest `steps` steps and of what happened since. */
struct history_step history_sum(const struct history *h, const struct history_totals *totals,
                                int64_t now_ms, size_t steps);

/* All requests that the proxy itself answered with a failure, or the upstream with 500 and
 * above. */
uint64_t history_failed(const struct history_step *s);

/* Requests per second; 0 for an empty step. */
double history_rate(const struct history_step *s);

/* Estimates the duration in microseconds that the share `q` (0 to 1) of the requests did not
 * exceed: linear inside a bucket; above the largest bound, that bound. -1: no requests. */
double history_quantile_us(const struct history_step *s, double q);

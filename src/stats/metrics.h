#pragma once
/* The counters of the program. Each thread has its own set, a shard, and is the only one
 * that writes to it, with plain stores; the admin listener reads all shards and adds them
 * up. So counting takes no lock, and no two threads write to the same cache line. */
#include <stdatomic.h>

#include "base/base.h"
#include "base/failure.h"

enum metrics_counter {
    M_connections_opened,          /* Caller connections accepted */
    M_connections_closed,          /* Caller connections closed */
    M_tls_handshakes_failed,       /* TLS handshakes with callers that failed */
    M_connections_refused,         /* Caller connections above listen.max_connections */
    M_requests_started,            /* Requests, and what was refused before it was one */
    M_requests_finished,           /* Requests answered or given up */
    M_send_timeouts,               /* Answers cut: nothing accepted for listen.send_timeout */
    M_request_body_bytes,          /* Body bytes taken from callers */
    M_response_body_bytes,         /* Body bytes given to callers */
    M_upstream_connections_opened, /* Connections opened to the upstream */
    M_upstream_connections_closed, /* Connections to the upstream that were closed */
    M_upstream_requests,           /* Requests sent to the upstream, repeats included */
    M_upstream_connections_reused, /* Requests sent on a connection that was there */
    M_replays,                     /* Requests repeated after the upstream refused the token */
    M_reloads_applied,             /* Settings read again and put in force */
    M_reloads_refused,             /* Settings read again and found wrong */
    METRICS_COUNTER_COUNT
};

enum metrics_duration {
    METRICS_TOTAL,
    METRICS_TOKEN_WAIT,
    METRICS_UPSTREAM,
    METRICS_DURATION_COUNT
};
/* Upper bounds of the buckets in microseconds; one more bucket has no bound. */
#define METRICS_BOUNDS_US                                                                     \
    {                                                                                         \
        500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, \
            5000000, 10000000, 30000000                                                       \
    }
#define METRICS_BUCKETS 16

enum metrics_method { METRICS_SAFE, METRICS_UNSAFE, METRICS_METHOD_COUNT };

/* The outcome of a request. */
struct metrics_request {
    enum metrics_method method;
    int status; /* HTTP status; 0: no answer */
    int stage;  /* enum stage of its failure; STAGE_COUNT: it has none */
    int64_t total_us, token_us, upstream_us; /* durations; negative: that part did not happen */
};

/* Classes of requests, see rights/classes.h. */
#define METRICS_CLASSES 7
struct metrics_class {
    int class;
    int status, stage; /* as in metrics_request */
    bool outcome_unknown;
};

/* Results of the ledger for a request, see ledger/claim_result.h. */
#define METRICS_LEDGER_RESULTS 10

struct metrics {
    _Alignas(64) _Atomic uint64_t counter[METRICS_COUNTER_COUNT];
    _Atomic uint64_t requests[METRICS_METHOD_COUNT][6][STAGE_COUNT + 1];
    _Atomic uint64_t bucket[METRICS_DURATION_COUNT][METRICS_BUCKETS];
    _Atomic uint64_t sum_us[METRICS_DURATION_COUNT];
    _Atomic uint64_t class_results[METRICS_CLASSES][6][STAGE_COUNT + 1];
    _Atomic uint64_t outcome_unknown[METRICS_CLASSES];
    _Atomic uint64_t ledger[METRICS_LEDGER_RESULTS];
};

/* The sum of all shards, as plain values. The count of a duration is the sum of its buckets. */
struct metrics_sum {
    uint64_t counter[METRICS_COUNTER_COUNT];
    uint64_t requests[METRICS_METHOD_COUNT][6][STAGE_COUNT + 1];
    uint64_t bucket[METRICS_DURATION_COUNT][METRICS_BUCKETS];
    uint64_t sum_us[METRICS_DURATION_COUNT];
    uint64_t class_results[METRICS_CLASSES][6][STAGE_COUNT + 1];
    uint64_t outcome_unknown[METRICS_CLASSES];
    uint64_t ledger[METRICS_LEDGER_RESULTS];
};

/* Adds a shard. Thread: any. */
void metrics_add_shard(struct metrics_sum *sum, const struct metrics *shard);

/* How many are in progress, from how many began and ended. Never negative, although the two
 * counters are not read at the same moment. */
static inline int64_t metrics_in_progress(uint64_t begun, uint64_t ended)
{
    return begun > ended ? (int64_t)(begun - ended) : 0;
}

/* Thread: the shard's owner. */
static inline void metrics_bump(_Atomic uint64_t *value, uint64_t n)
{
    uint64_t now = atomic_load_explicit(value, memory_order_relaxed);

    atomic_store_explicit(value, now + n, memory_order_relaxed);
}
static inline void metrics_add(struct metrics *m, enum metrics_counter which, uint64_t n)
{
    metrics_bump(&m->counter[which], n);
}

/* Sets a counter that is counted elsewhere. */
static inline void metrics_set(struct metrics *m, enum metrics_counter which, uint64_t value)
{
    atomic_store_explicit(&m->counter[which], value, memory_order_relaxed);
}

/* Counts a finished request. Thread: the shard's owner. */
void metrics_request(struct metrics *m, const struct metrics_request *r);
void metrics_class(struct metrics *m, const struct metrics_class *r);

#pragma once
/* The state of the program at one moment, as plain values. /healthz, /readyz, /metrics and
 * the status page are all made from it, so that they agree. Thread: control. */
#include "base/base.h"
#include "base/failure.h"
#include "config/certificates.h"
#include "config/config.h"
#include "ledger/ledger.h"
#include "rights/freeze.h"
#include "stats/metrics.h"
#include "token/token_manager.h"

#define STATUS_WORKERS_MAX 256
/* A worker whose loop has not turned for this long is stuck; an idle one turns every
 * LOOP_IDLE_MS. */
#define STATUS_STUCK_MS 5000

/* Why the program is (not) ready: the first reason that applies. */
enum status_reason {
    STATUS_READY,
    STATUS_DRAINING,      /* it is being stopped */
    STATUS_TOKEN_PENDING, /* no usable token; one is being fetched */
    STATUS_TOKEN_FAILING  /* no usable token, and the last fetch failed:
                             token.stats->last_failure */
};

struct status_worker {
    int64_t turn_age_ms; /* since its loop last turned */
    bool stuck;
};

/* Times are relative to `now_ms`, so that nobody needs to read a clock. */
struct status_token {
    bool held; /* there is a usable one; if not, the next three are 0 */
    int64_t age_ms, expires_in_ms, lifetime_ms; /* age + expires_in = lifetime */
    uint64_t generation;                        /* of the last one obtained; 0: none yet */
    bool fetching;                              /* a fetch is in progress */
    int64_t fetching_for_ms;
    bool backing_off;      /* the last fetch failed, and the next one waits */
    int64_t next_fetch_ms; /* renewal, or the end of back-off; -1: none is planned */
    const struct token_manager_stats
        *stats; /* counts, last success and failure, events; borrowed */
};

struct status {
    const char *version, *libcurl, *libmicrohttpd;
    int64_t now_ms, now_wall_s;
    int64_t uptime_ms, started_wall_s;
    enum status_reason reason;
    bool draining;
    unsigned worker_count, stuck_count;
    struct status_worker worker[STATUS_WORKERS_MAX];
    struct status_token token;
    struct metrics_sum sum;            /* of all threads */
    int64_t in_flight, connections;    /* requests in progress; callers' open connections */
    int64_t upstream_connections;      /* open now, including idle ones */
    int64_t cpu_us, memory_peak_bytes; /* of the process */
    uint64_t log_dropped;              /* number of lines */
    const struct config *config;       /* in force; borrowed */
    const struct freeze *freeze;       /* NULL: freeze.file is not set; borrowed */
    struct ledger_status ledger;
    struct config_certificate certificate[CERTIFICATES_COUNT];
    size_t certificates;
    const char
        *certificate_trouble; /* why a new one is not used; NULL: none is faulty; borrowed */
    /* The first error of the last reload, and when; NULL: it was not refused. Borrowed. */
    const char *reload_trouble;
    int64_t reload_wall_s;
};

/* What the status is made from; filled in by the server. */
struct status_input {
    int64_t started_ms, started_wall_s;
    bool draining;
    const struct config *config;
    const struct token_manager *token_manager;
    unsigned worker_count;
    int64_t turned_ms[STATUS_WORKERS_MAX]; /* when each worker's loop last turned */
    struct metrics_sum sum;                /* of all threads */
    const struct freeze *freeze;           /* NULL: freeze.file is not set */
    const struct ledger *ledger;           /* NULL: none */
    const char *certificate_trouble;       /* NULL or "": nothing */
    const char *reload_trouble;            /* likewise */
    int64_t reload_wall_s;
};

/* Collects the status now. What is borrowed is valid until the control thread goes on. */
void status_take(struct status *out, const struct status_input *from);

/* Whether a worker whose loop last turned then is stuck. For the service manager's watchdog,
 * with the same limit as /healthz. */
bool status_is_stuck(int64_t turned_ms, int64_t now_ms);

/* The certificate that expires first; NULL: there are none. */
const struct config_certificate *status_first_certificate(const struct status *s);

static inline bool status_ready(const struct status *s)
{
    return s->reason == STATUS_READY;
}

/* Writes the reason as a sentence for people, with what to do; NUL-terminated, cut if
 * necessary. */
void status_reason_text(const struct status *s, char *out, size_t size);

/* Appends the answer of /healthz and /readyz: one line of JSON. Returns 0 or the error of
 * buf_add. */
int status_health_json(const struct status *s, struct buf *out) MUST_CHECK;
int status_ready_json(const struct status *s, struct buf *out) MUST_CHECK;

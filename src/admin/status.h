#pragma once
/* How the program is, at one moment, as plain values. /healthz, /readyz, /metrics and the status
 * page are all made from this, so that they agree. Thread: control. */
#include "base/base.h"
#include "base/failure.h"
#include "config/certificates.h"
#include "config/config.h"
#include "ledger/ledger.h"
#include "rights/freeze.h"
#include "stats/metrics.h"
#include "token/token_manager.h"

#define STATUS_WORKERS_MAX 256
/* A worker whose loop has not turned for so long is stuck; idle, it turns every LOOP_IDLE_MS.
 */
#define STATUS_STUCK_MS 5000

/* Why the program is (not) ready: the first that applies. */
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

/* Times are relative to `now_ms`, so that nothing here needs a clock to be read. */
struct status_token {
    bool held; /* one that may be used; the next three are 0 otherwise */
    int64_t age_ms, expires_in_ms, lifetime_ms; /* age + expires_in = lifetime */
    uint64_t generation;                        /* of the last one obtained; 0: none yet */
    bool fetching;                              /* a fetch is under way */
    int64_t fetching_for_ms;
    bool backing_off;      /* the last fetch failed, and the next one waits */
    int64_t next_fetch_ms; /* renewal, or the end of the back-off; -1: none is planned */
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
    int64_t in_flight, connections;    /* requests under way; callers' open connections */
    int64_t upstream_connections;      /* open now, idle ones included */
    int64_t cpu_us, memory_peak_bytes; /* of the process */
    uint64_t log_dropped;              /* lines */
    const struct config *config;       /* in force; borrowed */
    const struct freeze *freeze;       /* NULL: there is no freeze.file; borrowed */
    struct ledger_status ledger;
    struct config_certificate certificate[CERTIFICATES_COUNT];
    size_t certificates;
    const char
        *certificate_trouble; /* why a new one is not taken up; NULL: all are; borrowed */
};

/* What it is taken from; the server fills it in. */
struct status_input {
    int64_t started_ms, started_wall_s;
    bool draining;
    const struct config *config;
    const struct token_manager *token_manager;
    unsigned worker_count;
    int64_t turned_ms[STATUS_WORKERS_MAX]; /* when each worker's loop last turned */
    struct metrics_sum sum;                /* of all threads */
    const struct freeze *freeze;           /* NULL: nobody can freeze anything */
    const struct ledger *ledger;           /* NULL: there is none */
    const char *certificate_trouble;       /* NULL or "": nothing */
};

/* Takes it as of now. What is borrowed lives until the control thread goes on. */
void status_take(struct status *out, const struct status_input *from);

/* Whether a worker whose loop last turned at that time is stuck. For the service manager's
 * watchdog, by the same bound as /healthz. */
bool status_is_stuck(int64_t turned_ms, int64_t now_ms);

/* The one that ends first; NULL: there are none. */
const struct config_certificate *status_first_certificate(const struct status *s);

static inline bool status_ready(const struct status *s)
{
    return s->reason == STATUS_READY;
}

/* "ready", "draining", "token_pending", "token_failing". */
const char *status_reason_name(enum status_reason reason);

/* The reason as a sentence for a person, with what to do; NUL-terminated, cut when it must be.
 */
void status_reason_text(const struct status *s, char *out, size_t size);

/* What /healthz and /readyz answer with: one line of JSON. Returns 0 or what buf_add says. */
int status_health_json(const struct status *s, struct buf *out) MUST_CHECK;
int status_ready_json(const struct status *s, struct buf *out) MUST_CHECK;

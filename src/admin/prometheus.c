/* Writes the metrics. The table below lists all of them; a metric that is more than one
 * number has a function that writes its samples.
 *
 * Counters begin at 0 and never decrease. A value that does not exist at present, such as
 * the age of a token when there is none, is 0 too, so that no time series appears and
 * disappears. Values are in base units: seconds and bytes. */
#include "admin/prometheus.h"

#include <inttypes.h>
#include <string.h>

#include "ledger/claim_result.h"

#define PREFIX "oneshot_proxy_"

struct metric;

struct writer {
    struct buf *out;
    const struct status *status;
    const struct metric *metric;
    int err;
};

struct metric {
    const char *name, *type, *labels, *help;
    void (*write)(struct writer *w, int which);
    int which;
    enum metric_when {
        ALWAYS,
        WITH_CLASSES,
        WITH_CALLERS,
        WITH_FREEZE,
        WITH_LEDGER,
        WITH_CERTIFICATES
    } when; /* the setting without which it does not exist */
};

/* --- one sample --- */

/* Writes the name of a sample and its labels: pairs of a label and its value, ended by NULL.
 * The values are fixed texts and need no escaping. */
static void name_sample(struct writer *w, const char *suffix, const char *const *labels)
{
    if (w->err == 0)
        w->err = buf_addf(w->out, PREFIX "%s%s", w->metric->name, suffix);
    for (size_t i = 0; w->err == 0 && labels != NULL && labels[i] != NULL; i += 2)
        w->err = buf_addf(w->out, "%s%s=\"%s\"%s", i == 0 ? "{" : ",", labels[i], labels[i + 1],
                          labels[i + 2] == NULL ? "}" : "");
}

static void count(struct writer *w, const char *const *labels, uint64_t value)
{
    name_sample(w, "", labels);
    if (w->err == 0)
        w->err = buf_addf(w->out, " %" PRIu64 "\n", value);
}

/* Microseconds, written as seconds. */
static void seconds_us(struct writer *w, const char *suffix, uint64_t us)
{
    name_sample(w, suffix, NULL);
    if (w->err == 0)
        w->err = buf_addf(w->out, " %" PRIu64 ".%06" PRIu64 "\n", us / 1000000, us % 1000000);
}

static void seconds_ms(struct writer *w, const char *const *labels, int64_t ms)
{
    name_sample(w, "", labels);
    if (w->err == 0)
        w->err = buf_addf(w->out, " %" PRId64 ".%03" PRId64 "\n", ms / 1000, ms % 1000);
}

/* --- one metric --- */

static void write_counter(struct writer *w, int which)
{
    count(w, NULL, w->status->sum.counter[which]);
}

static void write_build(struct writer *w, int which)
{
    const struct status *s = w->status;

    (void)which;
    count(w,
          (const char *const[]){ "version", s->version, "libcurl", s->libcurl, "libmicrohttpd",
                                 s->libmicrohttpd, NULL, NULL },
          1);
}

static const char *const status_classes[] = { "none", "1xx", "2xx", "3xx", "4xx", "5xx" };

static const char *stage_label(size_t stage)
{
    return stage == STAGE_COUNT ? "none" : failure_stage_name((enum stage)stage);
}

static void write_requests(struct writer *w, int which)
{
    static const char *const methods[] = {
        [METRICS_SAFE] = "safe", [METRICS_UNSAFE] = "unsafe"
    };

    (void)which;
    for (size_t m = 0; m < METRICS_METHOD_COUNT; m++)
        for (size_t c = 0; c < ARRAY_LEN(status_classes); c++)
            for (size_t stage = 0; stage <= STAGE_COUNT && c != 1; stage++)
                count(w,
                      (const char *const[]){ "method", methods[m], "status", status_classes[c],
                                             "stage", stage_label(stage), NULL, NULL },
                      w->status->sum.requests[m][c][stage]);
}

static void write_class_results(struct writer *w, int which)
{
    (void)which;
    for (int k = 0; k < CLASS_COUNT; k++)
        for (size_t c = 0; c < ARRAY_LEN(status_classes); c++)
            for (size_t stage = 0; stage <= STAGE_COUNT && c != 1; stage++)
                count(w,
                      (const char *const[]){ "class", class_name((enum request_class)k),
                                             "status", status_classes[c], "stage",
                                             stage_label(stage), NULL, NULL },
                      w->status->sum.class_results[k][c][stage]);
}

static void write_caller(struct writer *w, const char *name, struct caller_counts *counts)
{
    for (int k = 0; k < CLASS_COUNT; k++)
        for (int d = DECISION_ALLOWED; d < DECISION_COUNT; d++)
            count(w,
                  (const char *const[]){
                      "caller", name, "class", class_name((enum request_class)k), "decision",
                      rules_outcome_name((enum rules_outcome)d), NULL, NULL },
                  atomic_load_explicit(&counts->requests[k][d], memory_order_relaxed));
}

static void write_callers(struct writer *w, int which)
{
    const struct rules *rules = w->status->config->rules;

    (void)which;
    for (size_t i = 0; i < rules->callers.count; i++)
        write_caller(w, rules->callers.caller[i].name, rules->callers.caller[i].counts);
    write_caller(w, "none", rules->nobody);
}

static void write_callers_in_flight(struct writer *w, int which)
{
    const struct callers *all = &w->status->config->rules->callers;

    (void)which;
    for (size_t i = 0; i < all->count; i++)
        count(w, (const char *const[]){ "caller", all->caller[i].name, NULL, NULL },
              (uint64_t)atomic_load_explicit(&all->caller[i].counts->in_flight,
                                             memory_order_relaxed));
}

static void write_outcome_unknown(struct writer *w, int which)
{
    (void)which;
    for (int k = 0; k < CLASS_COUNT; k++)
        count(w,
              (const char *const[]){ "class", class_name((enum request_class)k), NULL, NULL },
              w->status->sum.outcome_unknown[k]);
}

static void histogram(struct writer *w, const uint64_t *bucket, uint64_t sum_us)
{
    static const int64_t bounds_us[] = METRICS_BOUNDS_US;
    uint64_t so_far = 0;

    static_assert(ARRAY_LEN(bounds_us) == METRICS_BUCKETS - 1, "one bucket has no bound");
    for (size_t i = 0; i < METRICS_BUCKETS && w->err == 0; i++) {
        so_far += bucket[i];
        name_sample(w, "_bucket", NULL);
        if (w->err == 0 && i < ARRAY_LEN(bounds_us))
            w->err = buf_addf(w->out, "{le=\"%g\"} %" PRIu64 "\n", (double)bounds_us[i] / 1e6,
                              so_far);
        else if (w->err == 0)
            w->err = buf_addf(w->out, "{le=\"+Inf\"} %" PRIu64 "\n", so_far);
    }
    seconds_us(w, "_sum", sum_us);
    name_sample(w, "_count", NULL);
    if (w->err == 0)
        w->err = buf_addf(w->out, " %" PRIu64 "\n", so_far);
}

static void write_histogram(struct writer *w, int which)
{
    histogram(w, w->status->sum.bucket[which], w->status->sum.sum_us[which]);
}

static void write_claims(struct writer *w, int which)
{
    (void)which;
    histogram(w, w->status->ledger.claim_bucket, w->status->ledger.claim_sum_us);
}

static void write_ledger_requests(struct writer *w, int which)
{
    (void)which;
    for (int r = CLAIM_RESULT_CLAIMED; r < CLAIM_RESULTS; r++)
        count(w,
              (const char *const[]){ "result", claim_result_name((enum claim_result)r), NULL,
                                     NULL },
              w->status->sum.ledger[r]);
}

static void write_ledger_outcomes(struct writer *w, int which)
{
    (void)which;
    for (int s = LEDGER_ANSWERED; s < LEDGER_STATES; s++)
        count(w,
              (const char *const[]){ "outcome", ledger_state_name((enum ledger_state)s), NULL,
                                     NULL },
              w->status->ledger.outcomes[s]);
}

static void write_ledger_entries(struct writer *w, int which)
{
    const struct ledger_status *l = &w->status->ledger;

    (void)which;
    count(w, (const char *const[]){ "state", "in_flight", NULL, NULL }, l->in_flight);
    count(w, (const char *const[]){ "state", "unknown", NULL, NULL }, l->unknown);
}

static void write_turn_ages(struct writer *w, int which)
{
    (void)which;
    for (unsigned i = 0; i < w->status->worker_count; i++) {
        char number[16];

        (void)snprintf(number, sizeof number, "%u", i);
        seconds_ms(w, (const char *const[]){ "worker", number, NULL, NULL },
                   w->status->worker[i].turn_age_ms);
    }
}

/* Failures of this machine (descriptors, memory), in addition to those of the token
 * endpoint. */
static bool ends_a_fetch(enum failure_kind kind)
{
    return kind == FAIL_OVERLOAD || kind == FAIL_INTERNAL ||
           (kind != FAIL_NONE && failure_info(kind)->stage == STAGE_TOKEN);
}

static void write_fetches(struct writer *w, int which)
{
    const struct token_manager_stats *t = w->status->token.stats;

    (void)which;
    count(w, (const char *const[]){ "result", "obtained", NULL, NULL }, t->obtained);
    for (int k = 0; k < FAILURE_COUNT; k++)
        if (ends_a_fetch((enum failure_kind)k))
            count(w,
                  (const char *const[]){ "result", failure_info((enum failure_kind)k)->slug,
                                         NULL, NULL },
                  t->failed_of[k]);
}

/* A path as the value of a label: quotes, backslashes and newlines are escaped, and it may
 * be cut. */
static const char *label_value(const char *text, char out[1024])
{
    size_t n = 0;

    for (; *text != '\0' && n + 3 < 1024; text++) {
        if (*text == '"' || *text == '\\' || *text == '\n')
            out[n++] = '\\';
        out[n++] = *text;
        if (*text == '\n')
            out[n - 1] = 'n';
    }
    out[n] = '\0';
    return out;
}

static void write_certificates(struct writer *w, int which)
{
    char path[1024];

    (void)which;
    for (size_t i = 0; i < w->status->certificates; i++)
        count(w,
              (const char *const[]){ "file", label_value(w->status->certificate[i].path, path),
                                     NULL, NULL },
              (uint64_t)base_max(0, w->status->certificate[i].end_s));
}

static void write_reloads(struct writer *w, int which)
{
    const uint64_t *n = w->status->sum.counter;

    (void)which;
    count(w, (const char *const[]){ "result", "applied", NULL, NULL }, n[M_reloads_applied]);
    count(w, (const char *const[]){ "result", "refused", NULL, NULL }, n[M_reloads_refused]);
}

/* Metrics without labels: each is a single number of the status. */
enum single {
    ONE_READY,
    ONE_DRAINING,
    ONE_WORKERS,
    ONE_STUCK,
    ONE_STARTED,
    ONE_CPU,
    ONE_MEMORY,
    ONE_IN_FLIGHT,
    ONE_IN_FLIGHT_MAX,
    ONE_CONNECTIONS,
    ONE_CONNECTIONS_MAX,
    ONE_UPSTREAM_CONNECTIONS,
    ONE_HELD,
    ONE_EXPIRES,
    ONE_AGE,
    ONE_SUCCESS,
    ONE_FAILURE,
    ONE_FAILURES,
    ONE_DROPPED,
    ONE_FROZEN,
    ONE_FROZEN_SINCE,
    ONE_LEDGER_UP,
    ONE_LEDGER_OLDEST,
    ONE_LEDGER_WAITING,
    ONE_LEDGER_CONTRADICTIONS,
    ONE_LEDGER_BYTES,
    ONE_OBSERVING,
    ONE_LOG_DROPPED
};

/* The age of the oldest entry whose outcome is unknown. */
static uint64_t unknown_oldest_s(const struct status *s)
{
    int64_t since_s = s->ledger.unknown_oldest_ms / 1000;

    return since_s == 0 ? 0 : (uint64_t)base_max(0, s->now_wall_s - since_s);
}

static uint64_t ledger_number(const struct status *s, int which)
{
    switch (which) {
    case ONE_LEDGER_UP:
        return s->ledger.up;
    case ONE_LEDGER_OLDEST:
        return unknown_oldest_s(s);
    case ONE_LEDGER_WAITING:
        return s->ledger.outcomes_waiting;
    case ONE_LEDGER_CONTRADICTIONS:
        return s->ledger.contradictions;
    default:
        return s->ledger.store_bytes;
    }
}

static void write_ledger(struct writer *w, int which)
{
    count(w, NULL, ledger_number(w->status, which));
}

static uint64_t single_number(const struct status *s, int which)
{
    switch (which) {
    case ONE_READY:
        return status_ready(s);
    case ONE_DRAINING:
        return s->draining;
    case ONE_WORKERS:
        return s->worker_count;
    case ONE_STUCK:
        return s->stuck_count;
    case ONE_STARTED:
        return (uint64_t)s->started_wall_s;
    case ONE_MEMORY:
        return (uint64_t)s->memory_peak_bytes;
    case ONE_IN_FLIGHT:
        return (uint64_t)s->in_flight;
    case ONE_IN_FLIGHT_MAX:
        return (uint64_t)s->config->upstream.max_in_flight;
    case ONE_CONNECTIONS:
        return (uint64_t)s->connections;
    case ONE_CONNECTIONS_MAX:
        return (uint64_t)s->config->listen.max_connections;
    case ONE_UPSTREAM_CONNECTIONS:
        return (uint64_t)s->upstream_connections;
    case ONE_HELD:
        return s->token.held;
    case ONE_SUCCESS:
        return (uint64_t)s->token.stats->last_success_wall_s;
    case ONE_FAILURE:
        return (uint64_t)s->token.stats->last_failure_wall_s;
    case ONE_FAILURES:
        return s->token.stats->consecutive_failures;
    case ONE_FROZEN:
        return s->freeze->is_frozen;
    case ONE_FROZEN_SINCE:
        return s->freeze->is_frozen ? (uint64_t)s->freeze->since_s : 0;
    case ONE_OBSERVING:
        return rules_observing(s->config->rules);
    case ONE_DROPPED:
        return s->token.stats->refused;
    default:
        return s->log_dropped;
    }
}

static void write_single(struct writer *w, int which)
{
    const struct status *s = w->status;

    if (which == ONE_CPU)
        seconds_us(w, "", (uint64_t)s->cpu_us);
    else if (which == ONE_EXPIRES)
        seconds_ms(w, NULL, s->token.expires_in_ms);
    else if (which == ONE_AGE)
        seconds_ms(w, NULL, s->token.age_ms);
    else
        count(w, NULL, single_number(s, which));
}

/* name, type, labels, help, function that writes it, and its argument */
/* clang-format off */
static const struct metric metrics[] = {
    { "build_info", "gauge", "version, libcurl, libmicrohttpd", "Versions of the program and of its libraries; the value is 1.", write_build, 0, ALWAYS },
    { "start_timestamp_seconds", "gauge", "", "When the process started, in seconds since 1970.", write_single, ONE_STARTED, ALWAYS },
    { "ready", "gauge", "", "1 while /readyz answers 200: a usable token is held and the proxy is not draining.", write_single, ONE_READY, ALWAYS },
    { "draining", "gauge", "", "1 from SIGTERM on.", write_single, ONE_DRAINING, ALWAYS },
    { "workers", "gauge", "", "Worker threads.", write_single, ONE_WORKERS, ALWAYS },
    { "workers_stuck", "gauge", "", "Workers whose loop has not turned within the bound of /healthz.", write_single, ONE_STUCK, ALWAYS },
    { "worker_turn_age_seconds", "gauge", "worker", "Time since a worker's loop last turned; up to about 1 when idle.", write_turn_ages, 0, ALWAYS },
    { "cpu_seconds_total", "counter", "", "CPU time of the process, user and system.", write_single, ONE_CPU, ALWAYS },
    { "memory_peak_bytes", "gauge", "", "Largest resident memory of the process so far.", write_single, ONE_MEMORY, ALWAYS },
    { "log_lines_dropped_total", "counter", "", "Log lines that a full stderr did not take.", write_single, ONE_LOG_DROPPED, ALWAYS },

    { "requests_total", "counter", "method, status, stage", "Finished requests. method: safe (GET, HEAD, OPTIONS) or unsafe. status: class of the answer, none when the caller got none. stage: whose fault an answer of the proxy's own was, none when the upstream answered.", write_requests, 0, ALWAYS },
    { "request_duration_seconds", "histogram", "", "From the request line to the end of the answer.", write_histogram, METRICS_TOTAL, ALWAYS },
    { "token_wait_seconds", "histogram", "", "What requests waited for a token, 0 when one was held.", write_histogram, METRICS_TOKEN_WAIT, ALWAYS },
    { "upstream_first_byte_seconds", "histogram", "", "From having a token for a request to the head of its answer: waiting for a connection (upstream.max_connections), opening one, repeats and waiting for a new token included.", write_histogram, METRICS_UPSTREAM, ALWAYS },
    { "requests_in_flight", "gauge", "", "Requests under way.", write_single, ONE_IN_FLIGHT, ALWAYS },
    { "requests_in_flight_limit", "gauge", "", "upstream.max_in_flight.", write_single, ONE_IN_FLIGHT_MAX, ALWAYS },
    { "request_body_bytes_total", "counter", "", "Body bytes of finished requests, from callers.", write_counter, M_request_body_bytes, ALWAYS },
    { "response_body_bytes_total", "counter", "", "Body bytes of finished requests, to callers.", write_counter, M_response_body_bytes, ALWAYS },
    { "request_repeats_total", "counter", "", "Requests sent once more because the upstream refused the token.", write_counter, M_replays, ALWAYS },

    { "connections", "gauge", "", "Open connections of callers.", write_single, ONE_CONNECTIONS, ALWAYS },
    { "connections_limit", "gauge", "", "listen.max_connections.", write_single, ONE_CONNECTIONS_MAX, ALWAYS },
    { "connections_accepted_total", "counter", "", "Connections of callers.", write_counter, M_connections_opened, ALWAYS },
    { "connections_refused_total", "counter", "", "Those of them above listen.max_connections: they got a 503.", write_counter, M_connections_refused, ALWAYS },
    { "send_timeouts_total", "counter", "", "Answers that were cut, since the caller took nothing of them for listen.send_timeout.", write_counter, M_send_timeouts, ALWAYS },
    { "tls_handshakes_failed_total", "counter", "", "Callers whose TLS handshake came to nothing; they are no connections yet.", write_counter, M_tls_handshakes_failed, ALWAYS },
    { "upstream_connections", "gauge", "", "Open connections to the upstream, idle ones included.", write_single, ONE_UPSTREAM_CONNECTIONS, ALWAYS },
    { "upstream_connections_opened_total", "counter", "", "Connections to the upstream, failed attempts included.", write_counter, M_upstream_connections_opened, ALWAYS },
    { "upstream_connections_reused_total", "counter", "", "Requests that went out on a connection that was there.", write_counter, M_upstream_connections_reused, ALWAYS },
    { "upstream_requests_total", "counter", "", "Requests sent to the upstream, repeats included.", write_counter, M_upstream_requests, ALWAYS },

    { "token_held", "gauge", "", "1 while a usable token is held.", write_single, ONE_HELD, ALWAYS },
    { "token_expires_in_seconds", "gauge", "", "What is left of the token's life; 0 without a token.", write_single, ONE_EXPIRES, ALWAYS },
    { "token_age_seconds", "gauge", "", "Time since the token was asked for; 0 without a token.", write_single, ONE_AGE, ALWAYS },
    { "token_fetches_total", "counter", "result", "Finished token fetches. result: obtained, or the error as in the log and in the type of a problem.", write_fetches, 0, ALWAYS },
    { "token_consecutive_failures", "gauge", "", "Token fetches that failed since the last one that did not.", write_single, ONE_FAILURES, ALWAYS },
    { "token_last_success_timestamp_seconds", "gauge", "", "When a token was last obtained, in seconds since 1970; 0: never.", write_single, ONE_SUCCESS, ALWAYS },
    { "token_last_failure_timestamp_seconds", "gauge", "", "When a token fetch last failed, in seconds since 1970; 0: never.", write_single, ONE_FAILURE, ALWAYS },
    { "tokens_dropped_total", "counter", "", "Tokens that the upstream refused; each serves until a new one is here.", write_single, ONE_DROPPED, ALWAYS },

    { "class_results_total", "counter", "class, status, stage", "With classes.table: finished requests by class; status and stage as in requests_total.", write_class_results, 0, WITH_CLASSES },
    { "outcome_unknown_total", "counter", "class", "With classes.table: requests of which nobody can tell whether the upstream carried them out, because no answer, or no whole one, came back, or, to one in the ledger, a 5xx.", write_outcome_unknown, 0, WITH_CLASSES },
    { "caller_requests_total", "counter", "caller, class, decision", "With [caller NAME] sections: finished requests by caller (none: nobody was recognised), class, and what was decided: allowed, denied, limited or frozen, or, where it went on because its caller is only observed, would-deny or would-limit.", write_callers, 0, WITH_CALLERS },
    { "callers_observing", "gauge", "", "With [caller NAME] sections: how many of them are only observed, and one more where callers.mode says so of those that nobody recognised.", write_single, ONE_OBSERVING, WITH_CALLERS },
    { "caller_in_flight", "gauge", "caller", "With [caller NAME] sections: requests of the caller under way.", write_callers_in_flight, 0, WITH_CALLERS },
    { "frozen", "gauge", "", "With freeze.file: 1 while it stops requests.", write_single, ONE_FROZEN, WITH_FREEZE },
    { "frozen_since_timestamp_seconds", "gauge", "", "With freeze.file: since when it does, in seconds since 1970; 0: it does not.", write_single, ONE_FROZEN_SINCE, WITH_FREEZE },

    { "ledger_up", "gauge", "", "With ledger.store: 1 while requests can be recorded.", write_ledger, ONE_LEDGER_UP, WITH_LEDGER },
    { "ledger_requests_total", "counter", "result", "With ledger.store: finished requests by what the ledger did: claimed, replayed a stored answer, or refused as in_flight, unknown, reused, not_kept, required, malformed or down.", write_ledger_requests, 0, WITH_LEDGER },
    { "ledger_outcomes_total", "counter", "outcome", "With ledger.store: what became of claims: answered, unknown or released (not carried out).", write_ledger_outcomes, 0, WITH_LEDGER },
    { "ledger_entries", "gauge", "state", "With ledger.store: entries that are open, of all processes that share the store: in_flight or unknown.", write_ledger_entries, 0, WITH_LEDGER },
    { "ledger_unknown_oldest_seconds", "gauge", "", "With ledger.store: age of the oldest entry whose outcome is unknown; 0: there is none.", write_ledger, ONE_LEDGER_OLDEST, WITH_LEDGER },
    { "ledger_claim_seconds", "histogram", "", "With ledger.store: from asking for a claim until it was durable.", write_claims, 0, WITH_LEDGER },
    { "ledger_outcomes_waiting", "gauge", "", "With ledger.store: outcomes that wait in memory to be written, some milliseconds each; longer only while the ledger is down.", write_ledger, ONE_LEDGER_WAITING, WITH_LEDGER },
    { "ledger_contradictions_total", "counter", "", "With ledger.store: answers that came for an entry which an operator had settled otherwise.", write_ledger, ONE_LEDGER_CONTRADICTIONS, WITH_LEDGER },
    { "ledger_store_bytes", "gauge", "", "With ledger.store: what the store takes; 0: not known.", write_ledger, ONE_LEDGER_BYTES, WITH_LEDGER },

    { "certificate_expiry_timestamp_seconds", "gauge", "file", "With certificates in files: when the one in use ends, in seconds since 1970. Of a chain the first that ends; of authorities the first of those that are still good.", write_certificates, 0, WITH_CERTIFICATES },
    { "reloads_total", "counter", "result", "Settings read again while running. result: applied, or refused because they were wrong.", write_reloads, 0, ALWAYS },
};
/* clang-format on */

static bool is_there(enum metric_when when, const struct status *s)
{
    switch (when) {
    case WITH_CLASSES:
        return s->config->rules != NULL;
    case WITH_CALLERS:
        return s->config->rules != NULL && s->config->rules->has_callers;
    case WITH_FREEZE:
        return s->freeze != NULL;
    case WITH_LEDGER:
        return s->ledger.on;
    case WITH_CERTIFICATES:
        return s->certificates > 0;
    default:
        return true;
    }
}

int prometheus_render(const struct status *s, struct buf *out)
{
    struct writer w = { .out = out, .status = s };

    for (size_t i = 0; i < ARRAY_LEN(metrics) && w.err == 0; i++) {
        if (!is_there(metrics[i].when, s))
            continue;
        w.metric = &metrics[i];
        w.err = buf_addf(out, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n",
                         metrics[i].name, metrics[i].help, metrics[i].name, metrics[i].type);
        metrics[i].write(&w, metrics[i].which);
    }
    return w.err;
}

int prometheus_print_markdown(struct buf *out)
{
    int err = buf_add_str(out, "| metric | type | labels | meaning |\n|---|---|---|---|\n");

    for (size_t i = 0; i < ARRAY_LEN(metrics) && err == 0; i++)
        err = buf_addf(out, "| `" PREFIX "%s` | %s | %s | %s |\n", metrics[i].name,
                       metrics[i].type, metrics[i].labels, metrics[i].help);
    return err;
}

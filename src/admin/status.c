/* Collects the status, and writes the answers of the two probes.
 *
 *   metrics, workers' last turns --+
 *   token manager -----------------+--> struct status --> /healthz /readyz /metrics, the page
 *   settings, draining ------------+
 */
#include "admin/status.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/curl_host.h"
#include "net/mhd_host.h"

/* A worker may have read its clock after the control thread did: that counts as age 0. */
static int64_t turn_age_ms(int64_t turned_ms, int64_t now_ms)
{
    return base_max(0, now_ms - turned_ms);
}

bool status_is_stuck(int64_t turned_ms, int64_t now_ms)
{
    return turn_age_ms(turned_ms, now_ms) > STATUS_STUCK_MS;
}

static void take_workers(struct status *out, const struct status_input *from)
{
    out->worker_count = from->worker_count;
    for (unsigned i = 0; i < from->worker_count; i++) {
        struct status_worker *w = &out->worker[i];

        w->turn_age_ms = turn_age_ms(from->turned_ms[i], out->now_ms);
        w->stuck = status_is_stuck(from->turned_ms[i], out->now_ms);
        out->stuck_count += w->stuck;
    }
    out->sum = from->sum;

    const uint64_t *n = out->sum.counter;

    out->in_flight = metrics_in_progress(n[M_requests_started], n[M_requests_finished]);
    out->connections = metrics_in_progress(n[M_connections_opened], n[M_connections_closed]);
    out->upstream_connections =
        metrics_in_progress(n[M_upstream_connections_opened], n[M_upstream_connections_closed]);
}

static void take_token(struct status *out, const struct token_manager *t)
{
    struct status_token *s = &out->token;

    s->stats = &t->stats;
    s->generation = t->generation;
    s->fetching = t->state == TOKEN_MANAGER_FETCHING;
    s->fetching_for_ms = s->fetching ? out->now_ms - t->sent_ms : 0;
    s->backing_off = t->state == TOKEN_MANAGER_WAITING;
    s->next_fetch_ms = t->timer.slot != 0 ? base_max(0, t->timer.due_ms - out->now_ms) : -1;
    s->held = token_valid(t->current, out->now_ms);
    if (s->held) {
        s->age_ms = out->now_ms - t->current->obtained_ms;
        s->expires_in_ms = t->current->expires_ms - out->now_ms;
        s->lifetime_ms = t->current->expires_ms - t->current->obtained_ms;
    }
}

static enum status_reason reason_of(const struct status *s)
{
    if (s->draining)
        return STATUS_DRAINING;
    if (s->token.held)
        return STATUS_READY;
    return s->token.backing_off ? STATUS_TOKEN_FAILING : STATUS_TOKEN_PENDING;
}

void status_take(struct status *out, const struct status_input *from)
{
    struct rusage used;

    assert(from->worker_count <= STATUS_WORKERS_MAX);
    *out = (struct status){ .version = PROXY_VERSION,
                            .libcurl = curl_host_library_version(),
                            .libmicrohttpd = mhd_host_library_version(),
                            .now_ms = clock_ms(),
                            .now_wall_s = clock_wall_s(),
                            .started_wall_s = from->started_wall_s,
                            .draining = from->draining,
                            .log_dropped = log_dropped(),
                            .config = from->config };
    if (from->freeze != NULL && from->freeze->file != NULL)
        out->freeze = from->freeze;
    out->certificates = config_certificates(from->config, out->now_wall_s, out->certificate);
    if (from->certificate_trouble != NULL && from->certificate_trouble[0] != '\0')
        out->certificate_trouble = from->certificate_trouble;
    if (from->reload_trouble != NULL && from->reload_trouble[0] != '\0') {
        out->reload_trouble = from->reload_trouble;
        out->reload_wall_s = from->reload_wall_s;
    }
    out->uptime_ms = out->now_ms - from->started_ms;
    if (getrusage(RUSAGE_SELF, &used) == 0) {
        out->cpu_us = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * INT64_C(1000000) +
                      used.ru_utime.tv_usec + used.ru_stime.tv_usec;
        out->memory_peak_bytes = used.ru_maxrss * INT64_C(1024);
    }
    ledger_status_take(from->ledger, &out->ledger);
    take_workers(out, from);
    take_token(out, from->token_manager);
    out->reason = reason_of(out);
}

const struct config_certificate *status_first_certificate(const struct status *s)
{
    const struct config_certificate *first = NULL;

    for (size_t i = 0; i < s->certificates; i++)
        if (first == NULL || s->certificate[i].end_s < first->end_s)
            first = &s->certificate[i];
    return first;
}

static const char *reason_name(enum status_reason reason)
{
    static const char *const names[] = { [STATUS_READY] = "ready",
                                         [STATUS_DRAINING] = "draining",
                                         [STATUS_TOKEN_PENDING] = "token_pending",
                                         [STATUS_TOKEN_FAILING] = "token_failing" };

    assert((unsigned)reason < ARRAY_LEN(names));
    return names[reason];
}

void status_reason_text(const struct status *s, char *out, size_t size)
{
    const struct failure *last = &s->token.stats->last_failure;
    long long next_s = (long long)(base_max(0, s->token.next_fetch_ms) + 999) / 1000;

    switch (s->reason) {
    case STATUS_READY:
        (void)snprintf(out, size, "A usable token is held.");
        break;
    case STATUS_DRAINING:
        (void)snprintf(out, size, "The proxy is being stopped: it finishes what runs.");
        break;
    case STATUS_TOKEN_PENDING:
        (void)snprintf(out, size, "No usable token is held; one is being fetched.");
        break;
    case STATUS_TOKEN_FAILING:
        (void)snprintf(out, size,
                       "No usable token is held, and the last fetch failed; the next one "
                       "is in %lld s. %s",
                       next_s, last->detail);
        break;
    }
}

/* A NULL value becomes JSON's null. Aborts when memory runs out. */
static void put(struct json_object *o, const char *key, struct json_object *value)
{
    if (json_object_object_add(o, key, value) != 0)
        abort();
}

static struct json_object *text(const char *s)
{
    return json_object_new_string(s);
}

static struct json_object *seconds(int64_t ms)
{
    return json_object_new_int64(ms / 1000);
}

/* RFC 3339, UTC. */
static struct json_object *moment(int64_t wall_s)
{
    time_t t = (time_t)wall_s;
    struct tm utc;
    char out[32];

    if (wall_s == 0 || gmtime_r(&t, &utc) == NULL ||
        strftime(out, sizeof out, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        return NULL;
    return text(out);
}

static int write_line(struct json_object *o, struct buf *out)
{
    const char *line = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
                                                             JSON_C_TO_STRING_NOSLASHESCAPE);
    int err = line == NULL ? -ENOMEM : buf_add_str(out, line);

    json_object_put(o);
    return err == 0 ? buf_add_str(out, "\n") : err;
}

int status_health_json(const struct status *s, struct buf *out)
{
    struct json_object *o = json_object_new_object();
    struct json_object *stuck = json_object_new_array();

    for (unsigned i = 0; i < s->worker_count; i++) {
        if (!s->worker[i].stuck)
            continue;
        struct json_object *w = json_object_new_object();

        put(w, "worker", json_object_new_int((int)i));
        put(w, "seconds", seconds(s->worker[i].turn_age_ms));
        (void)json_object_array_add(stuck, w);
    }
    put(o, "status", text(s->stuck_count == 0 ? "ok" : "stuck"));
    put(o, "workers", json_object_new_int((int)s->worker_count));
    put(o, "stuck_workers", stuck);
    put(o, "bound_seconds", seconds(STATUS_STUCK_MS));
    put(o, "uptime_seconds", seconds(s->uptime_ms));
    put(o, "version", text(s->version));
    return write_line(o, out);
}

static struct json_object *token_json(const struct status_token *t)
{
    struct json_object *o = json_object_new_object();

    put(o, "held", json_object_new_boolean(t->held));
    put(o, "generation", json_object_new_int64((int64_t)t->generation));
    put(o, "expires_in_seconds", t->held ? seconds(t->expires_in_ms) : NULL);
    put(o, "age_seconds", t->held ? seconds(t->age_ms) : NULL);
    put(o, "fetching", json_object_new_boolean(t->fetching));
    put(o, "next_fetch_in_seconds", t->next_fetch_ms < 0 ? NULL : seconds(t->next_fetch_ms));
    put(o, "consecutive_failures", json_object_new_int64(t->stats->consecutive_failures));
    put(o, "last_success", moment(t->stats->last_success_wall_s));
    return o;
}

static struct json_object *failure_json(const struct token_manager_stats *stats)
{
    const struct failure *f = &stats->last_failure;

    if (f->kind == FAIL_NONE)
        return NULL;
    struct json_object *o = json_object_new_object();

    put(o, "stage", text(failure_stage_name(failure_info(f->kind)->stage)));
    put(o, "error", text(failure_info(f->kind)->slug));
    put(o, "received_status",
        f->received_status == 0 ? NULL : json_object_new_int(f->received_status));
    put(o, "time", moment(stats->last_failure_wall_s));
    put(o, "detail", text(f->detail));
    return o;
}

int status_ready_json(const struct status *s, struct buf *out)
{
    struct json_object *o = json_object_new_object();
    char detail[512];

    status_reason_text(s, detail, sizeof detail);
    put(o, "status", text(status_ready(s) ? "ready" : "not_ready"));
    put(o, "reason", text(reason_name(s->reason)));
    put(o, "detail", text(detail));
    put(o, "token", token_json(&s->token));
    put(o, "last_failure", failure_json(s->token.stats));
    if (s->freeze != NULL) {
        put(o, "frozen", json_object_new_boolean(s->freeze->is_frozen));
        put(o, "frozen_reason", s->freeze->is_frozen ? text(s->freeze->reason) : NULL);
        put(o, "frozen_since", moment(s->freeze->is_frozen ? s->freeze->since_s : 0));
    }
    if (s->ledger.on)
        put(o, "ledger", text(s->ledger.up ? "up" : "down"));
    return write_line(o, out);
}

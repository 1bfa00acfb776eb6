/* Rates the health of the program for the status page. The first rule that applies decides:
 *
 *   a worker's loop does not turn                          bad   this proxy
 *   SIGTERM came                                           warn  nobody
 *   no token | no fetch was ever answered                  warn  nobody
 *            | the last fetch failed                       bad   credentials, token endpoint,
 *                                                                or this proxy
 *            | being fetched after expiry or refusal       warn  nobody
 *   two tokens in a row were refused by the upstream       bad   credentials
 *   the ledger is down                                     bad   its store
 *   frozen, since the freeze file cannot be looked at      bad   the configuration
 *   last minute: three or more, half of all, failed there  bad   upstream
 *   last minute, unless frozen:
 *                a hundredth turned away or failed by us   warn  this proxy
 *                a hundredth failed upstream               warn  upstream
 *   there is a token, renewing it failed                   warn  as if there were none
 *   frozen, since the freeze file is there                 warn  nobody
 *            | and a certificate in use has expired        bad   the configuration
 *   last minute: some failed for lack of a token           warn  token endpoint
 *   a certificate in use has expired                       bad   the configuration
 *   a new certificate or key is faulty                     warn  the configuration
 *   a certificate in use expires within two weeks          warn  the configuration
 *   the last reload was refused                            warn  the configuration
 *   otherwise                                              good
 *
 * Mistakes of callers do not count: the page mentions them, and the health is good. */
#include "admin/health.h"

#include <stdarg.h>
#include <stdio.h>

static const char proxy_fault[] = "this proxy", upstream_fault[] = "the upstream",
                  token_fault[] = "the token endpoint",
                  credentials_fault[] = "the configuration (client credentials)",
                  certificates_fault[] = "the configuration (certificates)",
                  freeze_fault[] = "the configuration (freeze.file)",
                  settings_fault[] = "the configuration", store_fault[] = "the ledger's store";

static const struct {
    enum health_level level;
    const char *headline;
} table[HEALTH_COUNT] = {
    [HEALTH_STUCK] = { HEALTH_BAD, "A worker is stuck" },
    [HEALTH_STOPPING] = { HEALTH_WARN, "Stopping" },
    [HEALTH_STARTING] = { HEALTH_WARN, "Waiting for the first token" },
    [HEALTH_NO_TOKEN] = { HEALTH_BAD, "No token: requests fail" },
    [HEALTH_RENEWING] = { HEALTH_WARN, "Fetching a new token: requests wait" },
    [HEALTH_TOKENS_REFUSED] = { HEALTH_BAD, "The upstream refuses the tokens" },
    [HEALTH_LEDGER_DOWN] = { HEALTH_BAD, "The ledger is down: what it records is refused" },
    [HEALTH_FREEZE_UNSEEN] = { HEALTH_BAD, "Frozen: freeze.file cannot be looked at" },
    [HEALTH_UPSTREAM_DOWN] = { HEALTH_BAD, "The upstream is failing" },
    [HEALTH_FROZEN] = { HEALTH_WARN, "Frozen: what moves money is refused" },
    [HEALTH_LIMIT] = { HEALTH_WARN, "Requests are turned away" },
    [HEALTH_UPSTREAM_FAILS] = { HEALTH_WARN, "Some requests fail at the upstream" },
    [HEALTH_RENEWAL_FAILS] = { HEALTH_WARN, "Serving, but the token cannot be renewed" },
    [HEALTH_RECOVERED] = { HEALTH_WARN, "A token is here again" },
    [HEALTH_CERTIFICATE_ENDED] = { HEALTH_BAD, "A certificate has ended" },
    [HEALTH_CERTIFICATE_KEPT] = { HEALTH_WARN, "A new certificate is not taken up" },
    [HEALTH_CERTIFICATE_ENDS] = { HEALTH_WARN, "A certificate ends soon" },
    [HEALTH_RELOAD_REFUSED] = { HEALTH_WARN, "The last reload was refused" },
    [HEALTH_WELL] = { HEALTH_GOOD, "All is well" },
};

const char *health_level_name(enum health_level level)
{
    static const char *const names[] = { "good", "warn", "bad" };

    assert((unsigned)level < ARRAY_LEN(names));
    return names[level];
}

PRINTF_LIKE(3, 4)
static struct health make(enum health_kind kind, const char *fault, const char *fmt, ...)
{
    struct health h = { .kind = kind,
                        .level = table[kind].level,
                        .headline = table[kind].headline,
                        .fault = fault };
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(h.detail, sizeof h.detail, fmt, args);
    va_end(args);
    return h;
}

/* Whose fault a failed fetch is. Without memory or descriptors it is not the endpoint's. */
static const char *whose(const struct failure *f)
{
    if (failure_info(f->kind)->stage == STAGE_PROXY)
        return proxy_fault;
    return f->kind == FAIL_TOKEN_REFUSED || f->kind == FAIL_TOKEN_FORBIDDEN ||
                   f->kind == FAIL_TOKEN_CONFIG
               ? credentials_fault
               : token_fault;
}

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

/* As /readyz reports it. */
static struct health without_token(const struct status *s)
{
    enum health_kind kind = HEALTH_RENEWING;
    const char *fault = NULL;

    if (s->token.stats->consecutive_failures > 0) {
        kind = HEALTH_NO_TOKEN;
        fault = whose(&s->token.stats->last_failure);
    } else if (s->token.generation == 0) {
        kind = HEALTH_STARTING;
    }
    struct health h = make(kind, fault,
                           "No usable token is held; one is being fetched once more. The last "
                           "time: %s",
                           s->token.stats->last_failure.detail);

    if (kind != HEALTH_NO_TOKEN || s->reason == STATUS_TOKEN_FAILING)
        status_reason_text(s, h.detail, sizeof h.detail);
    return h;
}

/* One refused token was probably revoked. Two within the longest time between such fetches,
 * with a fresh token in between, have another reason. */
static bool tokens_refused(const struct status *s)
{
    const struct token_manager_stats *t = s->token.stats;
    size_t kept = (size_t)base_min((int64_t)t->events, TOKEN_MANAGER_EVENTS), refused = 0;
    int64_t since_ms = s->now_ms - 2 * s->config->token.retry_max_ms;

    for (size_t i = 0; i < kept; i++)
        refused += t->event[i].what == TOKEN_MANAGER_SUSPECT && t->event[i].at_ms >= since_ms;
    return refused >= 2;
}

static struct health well(const struct history_step *recent)
{
    uint64_t refused = recent->failed[STAGE_REQUEST];

    if (refused > 0)
        return make(
            HEALTH_WELL, NULL,
            "A token is held and the upstream answers. Callers got %llu request%s wrong "
            "in the last minute.",
            (unsigned long long)refused, plural(refused));
    if (recent->requests == 0)
        return make(HEALTH_WELL, NULL, "A token is held. Nobody asked in the last minute.");
    return make(HEALTH_WELL, NULL, "A token is held and the upstream answers.");
}

static struct health stuck(const struct status *s)
{
    unsigned i = 0;

    while (i + 1 < s->worker_count && !s->worker[i].stuck)
        i++;
    return make(HEALTH_STUCK, proxy_fault,
                "The loop of worker %u has not turned for %lld seconds; its callers wait. "
                "Restart the process, and keep its log and a stack trace for a report.",
                i, (long long)(s->worker[i].turn_age_ms / 1000));
}

/* One in a hundred, and at least one. */
static bool too_many(uint64_t failed, uint64_t requests)
{
    return failed > 0 && failed * 100 >= requests;
}

static uint64_t upstream_failures(const struct history_step *recent)
{
    return recent->failed[STAGE_UPSTREAM] + recent->upstream_errors;
}

static bool is_upstream_down(const struct history_step *recent)
{
    uint64_t failed = upstream_failures(recent);

    return failed >= 3 && failed * 2 >= recent->requests;
}

/* Health by what stops some requests here, whether there were any or not: the ledger and the
 * freeze file. HEALTH_COUNT: nothing. */
static struct health of_stops(const struct status *s, const struct history_step *recent)
{
    const struct ledger_status *l = &s->ledger;
    const struct freeze *f = s->freeze;

    if (l->on && !l->up)
        return make(HEALTH_LEDGER_DOWN, store_fault,
                    "For %lld s: %s. Requests that it would record get 503 and are not sent; "
                    "all others are served. Look at the disk or the database that ledger.store "
                    "names; the log says more (event=ledger_down).",
                    (long long)((s->now_ms - l->down_ms) / 1000),
                    l->why != NULL ? l->why : "it cannot be used");
    if (f == NULL || !f->is_frozen)
        return (struct health){ .kind = HEALTH_COUNT };
    if (f->in_doubt)
        return make(
            HEALTH_FREEZE_UNSEEN, freeze_fault,
            "It counts as there: %s. What freeze.classes names, and what is in no class, "
            "gets 503. Make its directory, where the proxy's user may look, or correct "
            "the setting: %s",
            f->reason, f->file);
    if (is_upstream_down(recent))
        return (struct health){ .kind = HEALTH_COUNT };
    return make(HEALTH_FROZEN, NULL,
                "The reason given: %s. What freeze.classes names, and what is in no class, "
                "gets 503. It ends when this file is removed: %s",
                f->reason, f->file);
}

/* Health by the last minute's requests; HEALTH_COUNT: nothing to report. */
static struct health of_requests(const struct history_step *recent)
{
    uint64_t all = recent->requests, ours = recent->failed[STAGE_PROXY];
    uint64_t upstream = upstream_failures(recent);
    bool is_down = is_upstream_down(recent);

    if (!is_down && too_many(ours, all))
        return make(HEALTH_LIMIT, proxy_fault,
                    "%llu of %llu requests in the last minute; the list of failures says why. "
                    "Where a limit is reached, it is upstream.max_in_flight, "
                    "upstream.max_connections or listen.max_connections.",
                    (unsigned long long)ours, (unsigned long long)all);
    if (is_down || too_many(upstream, all))
        return make(is_down ? HEALTH_UPSTREAM_DOWN : HEALTH_UPSTREAM_FAILS, upstream_fault,
                    "%llu of %llu requests failed there in the last minute; the list of "
                    "failures says how.",
                    (unsigned long long)upstream, (unsigned long long)all);
    return (struct health){ .kind = HEALTH_COUNT };
}

/* HEALTH_COUNT: they are all right. */
static struct health of_certificates(const struct status *s)
{
    const struct config_certificate *first = status_first_certificate(s);
    int64_t left_s = first == NULL ? INT64_MAX : first->end_s - s->now_wall_s;

    if (left_s <= 0)
        return make(
            HEALTH_CERTIFICATE_ENDED, certificates_fault,
            "%s (%s) has ended: put a new one in its place, which is taken up by itself.",
            first->path, first->key);
    if (s->certificate_trouble != NULL)
        return make(HEALTH_CERTIFICATE_KEPT, certificates_fault,
                    "What was read before goes on serving. %s", s->certificate_trouble);
    if (left_s < CONFIG_CERTIFICATE_SOON_S)
        return make(HEALTH_CERTIFICATE_ENDS, certificates_fault,
                    "%s (%s) ends in %lld day%s: put a new one in its place, which is taken up "
                    "by itself.",
                    first->path, first->key, (long long)(left_s / 86400),
                    plural((uint64_t)left_s / 86400));
    return (struct health){ .kind = HEALTH_COUNT };
}

/* Health by the settings: HEALTH_COUNT: they are as somebody wants them. */
static struct health of_settings(const struct status *s)
{
    struct health h = of_certificates(s);

    if (h.kind != HEALTH_COUNT || s->reload_trouble == NULL)
        return h;
    return make(HEALTH_RELOAD_REFUSED, settings_fault,
                "The settings from before it are still in force. Correct the file and reload "
                "again; the log has every error (event=reload_refused). The first one: %s",
                s->reload_trouble);
}

struct health health_of(const struct status *s, const struct history_step *recent)
{
    const struct token_manager_stats *tokens = s->token.stats;

    if (s->stuck_count > 0)
        return stuck(s);
    if (s->draining)
        return make(HEALTH_STOPPING, NULL,
                    "It was asked to stop and finishes what runs: %lld request%s.",
                    (long long)s->in_flight, plural((uint64_t)s->in_flight));
    if (tokens_refused(s) && tokens->consecutive_failures == 0)
        return make(
            HEALTH_TOKENS_REFUSED, credentials_fault,
            "It answers 401 to fresh tokens too, and callers get that answer. Are these "
            "the credentials for this API: token.client_id, token.url, token.audience, "
            "upstream.base_url?");
    if (!s->token.held)
        return without_token(s);

    struct health h = of_stops(s, recent);
    bool frozen = h.kind == HEALTH_FROZEN;
    if (h.kind == HEALTH_COUNT)
        h = of_requests(recent);
    if (h.kind != HEALTH_COUNT && !frozen)
        return h;
    if (tokens->consecutive_failures > 0)
        return make(HEALTH_RENEWAL_FAILS, whose(&tokens->last_failure),
                    "The token that is held serves for %lld more minutes. %s",
                    (long long)(s->token.expires_in_ms / 60000), tokens->last_failure.detail);
    const struct health settings = of_settings(s);

    if (frozen)
        return settings.kind == HEALTH_CERTIFICATE_ENDED ? settings : h;
    if (too_many(recent->failed[STAGE_TOKEN], recent->requests))
        return make(HEALTH_RECOVERED, token_fault,
                    "%llu of %llu requests failed in the last minute for want of a token.",
                    (unsigned long long)recent->failed[STAGE_TOKEN],
                    (unsigned long long)recent->requests);
    return settings.kind != HEALTH_COUNT ? settings : well(recent);
}

void health_track(struct health_since *s, const struct health *h, int64_t now_ms,
                  int64_t wall_s)
{
    if (s->wall_s != 0 && s->kind == h->kind)
        return;
    *s = (struct health_since){ .kind = h->kind, .ms = now_ms, .wall_s = wall_s };
}

/* The order of things:
 *
 *     configuration -> upstream: (proxy) name, connection, TLS -+
 *                   -> token endpoint, when it is another host -+-> token -> request -> clock
 *
 * What a failed step makes impossible is skipped, and said to be. */
#include "cli/doctor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/doctor_parts.h"
#include "net/curl_host.h"

#define ANSWER_MS 8000  /* one answer */
#define CLOCK_NOTE_S 30 /* from there on the clock is worth a word */

int64_t doctor_until(const struct doctor *d, int64_t ms)
{
    return base_min(d->deadline_ms, clock_ms() + ms);
}

void doctor_note_date(struct doctor *d, int64_t date_s)
{
    if (date_s == 0)
        return;
    d->skew_known = true;
    d->skew_s = clock_wall_s() - date_s;
}

/* --- token, request, clock --------------------------------------------------------------- */

static void try_token(struct doctor *d)
{
    struct token_client_result result;
    int64_t begin_ms = clock_ms();

    doctor_fetch(d->config, doctor_until(d, ANSWER_MS), &result);
    d->token = result.token;
    if (result.token == NULL) {
        doctor_say(d, "token", DOCTOR_FAILED, "%s", result.failure.detail);
        return;
    }
    doctor_say(d, "token", DOCTOR_OK, "lifetime %" PRId64 " s, scope %s%s%s (%" PRId64 " ms)",
               (result.token->expires_ms - result.token->obtained_ms) / 1000,
               result.token->scope != NULL ? "\"" : "",
               result.token->scope != NULL ? result.token->scope : "not said",
               result.token->scope != NULL ? "\"" : "", clock_ms() - begin_ms);
}

static void judge_answer(struct doctor *d, const char *path, const struct doctor_call *call)
{
    if (call->is_html && call->status < 400)
        doctor_say(
            d, "request", DOCTOR_FAILED,
            "GET %s: a web page (%d) where the API should answer: check upstream.base_url, and "
            "whether a login page or a proxy is in the way",
            path, call->status);
    else if (call->status == 401)
        doctor_say(
            d, "request", DOCTOR_FAILED,
            "GET %s: 401, the upstream refuses a token that was just issued: do token.url and "
            "upstream.base_url belong to the same environment?",
            path);
    else if (call->status == 403)
        doctor_say(
            d, "request", DOCTOR_FAILED,
            "GET %s: 403, the upstream knows the token and forbids this: the API key lacks the "
            "right, or its quota is used up",
            path);
    else if (call->status == 404)
        doctor_say(
            d, "request", DOCTOR_OK,
            "GET %s: 404, the token is accepted; if calls give 404 too, check the path in "
            "upstream.base_url",
            path);
    else if (call->status >= 200 && call->status < 300)
        doctor_say(d, "request", DOCTOR_OK,
                   "GET %s: %d, the token is accepted (%" PRId64 " ms)", path, call->status,
                   call->took_ms);
    else if (call->status == 429)
        doctor_say(d, "request", DOCTOR_FAILED,
                   "GET %s: 429, too many requests: try again later", path);
    else if (call->status >= 500)
        doctor_say(d, "request", DOCTOR_FAILED,
                   "GET %s: %d, the upstream itself is in trouble; nothing to change here",
                   path, call->status);
    else
        doctor_say(d, "request", DOCTOR_FAILED,
                   "GET %s: %d is no answer of the API: check upstream.base_url", path,
                   call->status);
}

/* The cheapest call there is: it reads, costs no quota, and every key may make it. */
static void try_request(struct doctor *d, const struct doctor_target *upstream)
{
    char url[2048], path[1024];
    struct doctor_call call = { .config = d->config,
                                .target = upstream,
                                .url = url,
                                .token = d->token,
                                .what = DOCTOR_GET,
                                .deadline_ms = doctor_until(d, ANSWER_MS) };

    (void)snprintf(url, sizeof url, "%s/chains?pageSize=1", d->config->upstream.base_url);
    (void)snprintf(path, sizeof path, "%s/chains?pageSize=1", d->config->upstream.base_path);
    doctor_call(&call);
    if (call.end == DOCTOR_DONE) {
        doctor_note_date(d, call.date_s);
        judge_answer(d, path, &call);
    } else if (call.end == DOCTOR_LATE) {
        doctor_say(d, "request", DOCTOR_FAILED,
                   "GET %s: no answer within %d s: the upstream hangs", path, ANSWER_MS / 1000);
    } else if (call.certificate.asked_for_ours) {
        doctor_say(d, "request", DOCTOR_FAILED,
                   "GET %s: the upstream asks for a client certificate: set "
                   "upstream.client_certificate and client_key",
                   path);
    } else {
        doctor_say(d, "request", DOCTOR_FAILED, "GET %s: no whole answer (%s)", path, call.why);
    }
}

static void judge_clock(struct doctor *d)
{
    char skew[32];

    if (!d->skew_known)
        doctor_say(d, "clock", DOCTOR_SKIPPED, "no answer said what time it is");
    else if (d->skew_s >= -CLOCK_NOTE_S && d->skew_s <= CLOCK_NOTE_S)
        doctor_say(d, "clock", DOCTOR_OK, "agrees with the server's");
    else
        doctor_say(
            d, "clock", DOCTOR_NOTE,
            "the clock of this machine is %s %s the server's: set it (NTP), or certificates "
            "will "
            "seem invalid and log times will not match",
            doctor_span(d->skew_s, skew), d->skew_s > 0 ? "ahead of" : "behind");
}

/* --- all of it --------------------------------------------------------------------------- */

static struct doctor_target target(const char *name, const struct config *c, bool token)
{
    struct doctor_target t = {
        .name = name,
        .leg = token ? LEG_TOKEN : LEG_UPSTREAM,
        .url_key = token ? c->token.url_key : "upstream.base_url",
        .ca_key = token ? c->token.ca_key : "upstream.ca_file",
        .proxy_key = token ? c->token.proxy_key : "upstream.proxy",
        .url = token ? c->token.url : c->upstream.base_url,
        .proxy = token ? c->token.proxy : c->upstream.proxy,
        .ca_file = token ? c->token.ca_file : c->upstream.ca_file,
    };

    t.port = config_url_port(t.url, t.host);
    t.tls = strncmp(t.url, "https://", 8) == 0;
    return t;
}

static bool same_way(const struct doctor_target *a, const struct doctor_target *b)
{
    bool same_ca = a->ca_file == b->ca_file || (a->ca_file != NULL && b->ca_file != NULL &&
                                                strcmp(a->ca_file, b->ca_file) == 0);

    return strcmp(a->host, b->host) == 0 && a->port == b->port && a->tls == b->tls &&
           strcmp(a->proxy, b->proxy) == 0 && same_ca;
}

static void examine(struct doctor *d)
{
    struct doctor_target upstream = target("upstream", d->config, false);
    struct doctor_target token = target("token", d->config, true);
    bool reached = doctor_try(d, &upstream);
    bool token_reached = same_way(&upstream, &token) ? reached : doctor_try(d, &token);

    if (token_reached)
        try_token(d);
    else
        doctor_say(d, "token", DOCTOR_SKIPPED, "the token endpoint is not reached");
    if (reached && d->token != NULL)
        try_request(d, &upstream);
    else
        doctor_say(d, "request", DOCTOR_SKIPPED,
                   reached ? "there is no token" : "the upstream is not reached");
    judge_clock(d);
}

static void say_message(void *arg, bool is_error, const char *line)
{
    doctor_say(arg, "configuration", is_error ? DOCTOR_FAILED : DOCTOR_NOTE, "%s", line);
}

bool doctor_run(const char *file, const struct config_env *env)
{
    struct doctor d = { .deadline_ms = clock_ms() + DOCTOR_TIMEOUT_MS };
    struct config_report report;

    log_setup(LOG_ERROR, LOG_LOGFMT);
    config_report_init(&report);
    d.config = config_load(file, env, &report);
    config_report_each(&report, say_message, &d);
    config_report_done(&report);
    if (d.config == NULL) {
        doctor_say(&d, "all else", DOCTOR_SKIPPED, "the settings are not good");
    } else {
        doctor_say(&d, "configuration", DOCTOR_OK, "%s",
                   file != NULL ? file : "from the environment");
        if (curl_host_global_init() != 0)
            abort();
        examine(&d);
    }
    (void)printf(d.failed == 0 ? "all is well\n" : "%d failed\n", d.failed);
    token_unref(d.token);
    config_unref(d.config);
    return fflush(stdout) == 0 && ferror(stdout) == 0 && d.failed == 0;
}

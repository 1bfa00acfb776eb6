/* The sections about failed requests: the last ones, with what to do, and how many of each
 * kind since the start. */
#include "admin/page/failures.h"

#include <stdio.h>

/* Of each part of a connection the failure's own text says what to check; which part it is only
 * the text knows. */
#define BY_STEPS "oneshot-proxy doctor tries the connection step by step."

/* What to do, where the failure's own text does not say it already. */
static const char *const advice[FAILURE_COUNT] = {
    [FAIL_BAD_REQUEST] = "The caller has to send sound HTTP.",
    [FAIL_BAD_TARGET] = "The caller has to ask for a plain path.",
    [FAIL_ORIGIN_DENIED] = "List the origin there if that page may use the proxy.",
    [FAIL_HEAD_TIMEOUT] = "The caller, or the way from it, is slow.",
    [FAIL_BODY_TIMEOUT] = "The caller, or the way from it, is slow.",
    [FAIL_BODY_TOO_LARGE] = "Send less, or raise that limit.",
    [FAIL_KEY_REUSED] = "The caller has to make a new key for each new request.",
    [FAIL_KEY_IN_FLIGHT] = "The caller asked again before the first request had its answer.",
    [FAIL_KEY_UNKNOWN] = "Find out whether it was carried out, then use the ledger command.",
    [FAIL_TARGET_TOO_LONG] = "Send less, or raise that limit.",
    [FAIL_HEAD_TOO_LARGE] = "Send less, or raise that limit.",
    [FAIL_LOOP] = "Point upstream.base_url at the API.",
    [FAIL_TOKEN_TIMEOUT] = "See above how the token is.",
    [FAIL_UPSTREAM_DNS] = BY_STEPS,
    [FAIL_UPSTREAM_CONNECT] = BY_STEPS,
    [FAIL_UPSTREAM_CERT] = BY_STEPS,
    [FAIL_UPSTREAM_TLS] = BY_STEPS,
    [FAIL_UPSTREAM_CONNECT_TIMEOUT] = BY_STEPS,
    [FAIL_UPSTREAM_RESPONSE_TIMEOUT] =
        "Find out whether it was carried out before sending it again.",
    [FAIL_UPSTREAM_STALLED] = "Find out whether it was carried out before sending it again.",
    [FAIL_UPSTREAM_INCOMPLETE] = "Find out whether it was carried out before sending it again.",
    [FAIL_UPSTREAM_PROTOCOL] =
        "If upstream.base_url is right, report it to the operator of the upstream.",
    [FAIL_UPSTREAM_HEAD_SIZE] = "Report it to the operator of the upstream.",
    [FAIL_OVERLOAD] = "Find out why requests take long, or raise the limit.",
    [FAIL_INTERNAL] = "A fault of this program, or no memory: please report it with the log.",
};

static const char *upstream_advice(int status)
{
    switch (status) {
    case 401:
        return "The upstream refused the token. If it goes on with the next token: are these "
               "the credentials for this API?";
    case 429:
        return "The upstream limits the rate: callers should ask less often.";
    default:
        return "The upstream answered so itself; its answer went through unchanged. Ask there, "
               "with the request id.";
    }
}

static const char *stage_class(enum stage stage)
{
    return stage == STAGE_REQUEST ? "request" : "bad";
}

static void entry(struct html *o, const struct status *s, const struct recent_failures_entry *e)
{
    html_put(o, "<tr role=\"row\">");
    html_when(o, s->now_ms - e->at_ms, e->wall_s, s->now_wall_s);
    html_putf(o,
              "<td role=\"cell\"><span class=\"stage %s\">%s</span></td>"
              "<td role=\"cell\" data-label=\"status\">",
              stage_class(e->stage), failure_stage_name(e->stage));
    if (e->status > 0)
        html_putf(o, "%d", e->status);
    else
        html_put(o, "none");
    html_put(o, "</td><td role=\"cell\" class=\"what\"><code>");
    html_text(o, e->method);
    html_put(o, " ");
    html_text(o, e->path);
    html_put(o, "</code>");
    if (e->request_id[0] != '\0') {
        html_put(o, "<span class=\"soft small\">id <code>");
        html_text(o, e->request_id);
        html_put(o, "</code></span>");
    }
    if (e->trace_id[0] != '\0') {
        html_put(o, "<span class=\"soft small\">trace <code>");
        html_text(o, e->trace_id);
        html_put(o, "</code></span>");
    }
    html_put(o, "</td><td role=\"cell\" class=\"what\">");
    if (e->kind == FAIL_NONE) {
        html_text(o, upstream_advice(e->status));
    } else {
        html_sentence(o, e->detail[0] != '\0' ? e->detail : failure_info(e->kind)->title);
        html_put(o, " ");
        html_put(o, advice[e->kind] == NULL ? "" : advice[e->kind]);
        html_put(o, "<span class=\"soft small\">");
        html_put(o, failure_info(e->kind)->slug);
        html_put(o, "</span>");
    }
    html_put(o, "</td></tr>\n");
}

void failures_list(struct html *o, const struct content *c)
{
    html_put(o, "<section id=\"failures\" aria-labelledby=\"failures-h\">"
                "<h2 id=\"failures-h\">The last failures</h2>");
    if (c->failures->count == 0) {
        html_put(o, "<p class=\"soft\">None since the start.</p></section>\n");
        return;
    }
    html_put(
        o,
        "<table class=\"rows\" role=\"table\" aria-labelledby=\"failures-h\">"
        "<thead role=\"rowgroup\"><tr role=\"row\">"
        "<th role=\"columnheader\" scope=\"col\">when</th>"
        "<th role=\"columnheader\" scope=\"col\">at fault</th>"
        "<th role=\"columnheader\" scope=\"col\">status</th>"
        "<th role=\"columnheader\" scope=\"col\" class=\"target\">request</th>"
        "<th role=\"columnheader\" scope=\"col\" class=\"wide\">what happened, what to do</th>"
        "</tr></thead><tbody role=\"rowgroup\">\n");
    for (size_t i = 0; i < c->failures->count; i++)
        entry(o, c->status, &c->failures->entry[i]);
    html_put(o, "</tbody></table></section>\n");
}

/* Number of requests that ended so, of both classes of methods. */
static uint64_t outcome(const struct metrics_sum *sum, size_t status_class, size_t stage)
{
    uint64_t n = 0;

    for (size_t method = 0; method < METRICS_METHOD_COUNT; method++)
        n += sum->requests[method][status_class][stage];
    return n;
}

static void outcome_row(struct html *o, const struct metrics_sum *sum, size_t stage,
                        const char *name)
{
    static const char *const classes[] = { "none", "1xx", "2xx", "3xx", "4xx", "5xx" };
    uint64_t all = 0;

    html_putf(o, "<tr><th scope=\"row\">%s</th>", name);
    for (size_t i = 2; i < 6 + 1; i++) { /* no answer comes last; 1xx is not an end */
        size_t status_class = i % 6;
        char metric[128];
        uint64_t n = outcome(sum, status_class, stage);

        (void)snprintf(metric, sizeof metric,
                       "oneshot_proxy_requests_total{status=\"%s\",stage=\"%s\"}",
                       classes[status_class],
                       stage == STAGE_COUNT ? "none" : failure_stage_name((enum stage)stage));
        html_putf(o, "<td class=\"number%s\">", n == 0 ? " zero" : "");
        html_count(o, n, metric);
        html_put(o, "</td>");
        all += n;
    }
    html_putf(o, "<td class=\"number%s\">", all == 0 ? " zero" : "");
    html_count(o, all, NULL);
    html_put(o, "</td></tr>\n");
}

static void outcomes(struct html *o, const struct metrics_sum *sum)
{
    static const char *const names[] = {
        [STAGE_REQUEST] = "the callers&#39; fault",
        [STAGE_TOKEN] = "the token&#39;s",
        [STAGE_UPSTREAM] = "the upstream&#39;s",
        [STAGE_PROXY] = "this proxy&#39;s",
    };

    html_put(o, "<div class=\"scroll\" role=\"region\" tabindex=\"0\" id=\"outcomes\" "
                "aria-labelledby=\"totals-h\"><table><thead><tr><th scope=\"col\">answer</th>"
                "<th scope=\"col\" class=\"number\">2xx</th>"
                "<th scope=\"col\" class=\"number\">3xx</th>"
                "<th scope=\"col\" class=\"number\">4xx</th>"
                "<th scope=\"col\" class=\"number\">5xx</th>"
                "<th scope=\"col\" class=\"number\">none</th>"
                "<th scope=\"col\" class=\"number\">all</th></tr></thead><tbody>\n");
    outcome_row(o, sum, STAGE_COUNT, "passed through");
    for (size_t stage = 0; stage < STAGE_COUNT; stage++)
        outcome_row(o, sum, stage, names[stage]);
    html_put(o, "</tbody></table></div>");
}

static void open_total(struct html *o, const char *name)
{
    html_putf(o, "<div><dt>%s</dt><dd>", name);
}

void failures_totals(struct html *o, const struct content *c)
{
    const struct status *s = c->status;
    const uint64_t *counter = s->sum.counter;

    html_put(o, "<section id=\"totals\" aria-labelledby=\"totals-h\"><h2 id=\"totals-h\">"
                "Since the start</h2>");
    outcomes(o, &s->sum);
    html_put(o, "<h3>Connections and bytes</h3><dl class=\"facts\">");
    open_total(o, "Callers connected");
    html_count(o, (uint64_t)s->connections, "oneshot_proxy_connections");
    html_put(o, " <small>of ");
    html_count(o, counter[M_connections_opened], "oneshot_proxy_connections_accepted_total");
    html_put(o, "</small></dd></div>");
    open_total(o, "Upstream connections");
    html_count(o, (uint64_t)s->upstream_connections, "oneshot_proxy_upstream_connections");
    html_put(o, " <small>of ");
    html_count(o, counter[M_upstream_connections_opened],
               "oneshot_proxy_upstream_connections_opened_total");
    html_put(o, "</small></dd></div>");
    open_total(o, "Repeated after a 401");
    html_count(o, counter[M_replays], "oneshot_proxy_request_repeats_total");
    html_put(o, "</dd></div>");
    open_total(o, "Tokens obtained");
    html_count(o, s->token.stats->obtained,
               "oneshot_proxy_token_fetches_total{result=\"obtained\"}");
    html_put(o, " <small>");
    html_count(o, s->token.stats->failed, NULL);
    html_put(o, " failed</small></dd></div>");
    open_total(o, "Bytes from callers");
    html_bytes(o, counter[M_request_body_bytes], "oneshot_proxy_request_body_bytes_total");
    html_put(o, "</dd></div>");
    open_total(o, "Bytes to callers");
    html_bytes(o, counter[M_response_body_bytes], "oneshot_proxy_response_body_bytes_total");
    html_put(o, "</dd></div></dl></section>\n");
}

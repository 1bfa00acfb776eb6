/* The sections of the status page about the state of the program: health, refused reload,
 * facts of the last minute, token, traffic, certificates, settings. */
#include "admin/page/sections.h"

#include <string.h>

#include "admin/page/chart.h"
#include "config/docs.h"

void sections_health(struct html *o, const struct content *c)
{
    const struct health *h = c->health;
    const struct status *s = c->status;

    html_putf(o,
              "<section id=\"health\" class=\"%s\" aria-labelledby=\"health-h\">"
              "<h2 id=\"health-h\">",
              health_level_name(h->level));
    html_text(o, h->headline);
    html_put(o, "</h2><p>");
    html_text(o, h->detail);
    html_put(o, "</p><dl><div><dt>Since</dt><dd>");
    html_time(o, c->since->wall_s, s->now_wall_s);
    html_put(o, " UTC");
    html_put(o, " <span class=\"soft small\">(");
    html_span(o, s->now_ms - c->since->ms);
    html_put(o, ")</span></dd></div><div><dt>At fault</dt><dd>");
    html_text(o, h->fault == NULL ? "nobody" : h->fault);
    html_put(o, "</dd></div><div><dt>Running since</dt><dd>");
    html_time(o, s->started_wall_s, s->now_wall_s);
    html_put(o, " UTC");
    html_put(o, " <span class=\"soft small\">(");
    html_span(o, s->uptime_ms);
    html_put(o, ")</span></dd></div></dl></section>\n");
}

void sections_reload(struct html *o, const struct content *c)
{
    const struct status *s = c->status;

    if (s->reload_trouble == NULL || c->health->kind == HEALTH_RELOAD_REFUSED)
        return;
    html_put(o, "<section id=\"reload\" class=\"warn\" aria-labelledby=\"reload-h\">"
                "<h2 id=\"reload-h\">The last reload was refused</h2><p>The settings from "
                "before it are still in force. At ");
    html_time(o, s->reload_wall_s, s->now_wall_s);
    html_put(o, " UTC: ");
    html_text(o, s->reload_trouble);
    html_put(o, "</p></section>\n");
}

/* Limit for the printed settings; more is cut. */
#define SETTINGS_BYTES (48 * 1024)

static void open_fact(struct html *o, const char *name)
{
    html_putf(o, "<div><dt>%s</dt><dd>", name);
}

void sections_facts(struct html *o, const struct content *c)
{
    const struct status *s = c->status;
    struct history_step last = history_sum(c->history, c->totals, s->now_ms, HEALTH_STEPS);
    uint64_t refused = last.failed[STAGE_REQUEST], failed = history_failed(&last) - refused;

    html_put(o, "<section id=\"facts\" aria-labelledby=\"facts-h\"><h2 id=\"facts-h\">"
                "The last minute</h2><dl class=\"facts\">");
    open_fact(o, "Requests");
    html_rate(o, history_rate(&last));
    html_put(o, " <small>a second</small></dd></div>");
    open_fact(o, "Failed");
    html_count(o, failed, NULL);
    html_put(o, " <small>of ");
    html_count(o, last.requests, NULL);
    html_put(o, "</small></dd></div>");
    open_fact(o, "Callers&#39; errors");
    html_count(o, refused, NULL);
    html_put(o, "</dd></div>");
    open_fact(o, "Half answered within");
    html_latency(o, history_quantile_us(&last, 0.5));
    html_put(o, "</dd></div>");
    open_fact(o, "99 % within");
    html_latency(o, history_quantile_us(&last, 0.99));
    html_put(o, "</dd></div>");
    open_fact(o, "Under way now");
    html_count(o, (uint64_t)s->in_flight, "oneshot_proxy_requests_in_flight");
    html_put(o, " <small>of ");
    html_count(o, (uint64_t)s->config->upstream.max_in_flight,
               "oneshot_proxy_requests_in_flight_limit");
    html_put(o, "</small></dd></div></dl></section>\n");
}

/* The token: how much of its life is left, and when it is renewed. */
static void life(struct html *o, const struct status *s)
{
    const struct status_token *t = &s->token;
    double whole = (double)base_max(t->lifetime_ms, 1);
    double gone = 100 * (double)t->age_ms / whole;
    bool renews = t->next_fetch_ms >= 0 && t->next_fetch_ms <= t->expires_in_ms;

    html_put(o, "<p class=\"big\">");
    html_span(o, t->expires_in_ms);
    html_put(o, " left</p>");
    html_putf(
        o,
        "<svg class=\"life%s\" width=\"100%%\" height=\"14\" role=\"img\" "
        "aria-label=\"%.0f %% of its life is left\"><rect class=\"whole\" width=\"100%%\" "
        "height=\"14\"/><rect class=\"left\" x=\"%.2f%%\" width=\"%.2f%%\" height=\"14\"/>",
        t->stats->consecutive_failures > 0 ? " warn" : "", 100 - gone, gone, 100 - gone);
    if (renews && !t->backing_off)
        html_putf(o, "<line class=\"renewal\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"0\" y2=\"14\"/>",
                  100 * (double)(t->age_ms + t->next_fetch_ms) / whole,
                  100 * (double)(t->age_ms + t->next_fetch_ms) / whole);
    html_put(o, "</svg><p class=\"ends\"><span>obtained ");
    html_time(o, t->stats->last_success_wall_s, s->now_wall_s);
    html_put(o, " (");
    html_ago(o, t->age_ms);
    html_put(o, ")</span>");
    if (renews && !t->backing_off) {
        html_put(o, "<span>renewed in ");
        html_span(o, t->next_fetch_ms);
        html_put(o, "</span>");
    }
    html_put(o, "<span>expires ");
    html_time(o, s->now_wall_s + t->expires_in_ms / 1000, s->now_wall_s);
    html_put(o, "</span></p>");
}

/* What is being done to get a token. */
static void fetching(struct html *o, const struct status_token *t)
{
    if (t->fetching) {
        html_put(o, "<p>One is being fetched, for ");
        html_span(o, t->fetching_for_ms);
        html_put(o, " so far.</p>");
    } else if (t->backing_off && t->next_fetch_ms >= 0) {
        html_put(o, "<p>The last fetch failed; the next one comes in ");
        html_span(o, t->next_fetch_ms);
        html_put(o, ".</p>");
    }
}

static void what_happened(struct html *o, const struct token_manager_event *e)
{
    switch (e->what) {
    case TOKEN_MANAGER_OBTAINED:
        html_putf(o, "number %llu, lives for ", (unsigned long long)e->generation);
        html_span(o, e->lifetime_ms);
        break;
    case TOKEN_MANAGER_FAILED:
        html_text(o, e->failure.detail);
        html_put(o, " <span class=\"soft\">Next try after ");
        html_span(o, e->retry_ms);
        html_put(o, ".</span>");
        break;
    case TOKEN_MANAGER_SUSPECT:
        html_putf(o, "number %llu: the upstream refused it; it serves until a new one is here",
                  (unsigned long long)e->generation);
        break;
    case TOKEN_MANAGER_EXPIRED:
        html_putf(o, "number %llu: no new one had come by then",
                  (unsigned long long)e->generation);
        break;
    }
}

static void event_row(struct html *o, const struct status *s,
                      const struct token_manager_event *e)
{
    static const struct {
        const char *class, *text;
    } names[] = { [TOKEN_MANAGER_OBTAINED] = { "good", "obtained" },
                  [TOKEN_MANAGER_FAILED] = { "bad", "failed" },
                  [TOKEN_MANAGER_SUSPECT] = { "warn", "refused" },
                  [TOKEN_MANAGER_EXPIRED] = { "warn", "expired" } };

    html_put(o, "<tr role=\"row\">");
    html_when(o, s->now_ms - e->at_ms, e->wall_s, s->now_wall_s);
    html_putf(o,
              "<td role=\"cell\"><span class=\"stage %s\">%s</span></td>"
              "<td role=\"cell\" class=\"number\" data-label=\"took\">",
              names[e->what].class, names[e->what].text);
    if (e->what == TOKEN_MANAGER_OBTAINED || e->what == TOKEN_MANAGER_FAILED)
        html_span(o, e->took_ms);
    html_put(o, "</td><td role=\"cell\" class=\"what\">");
    what_happened(o, e);
    html_put(o, "</td></tr>\n");
}

/* The events from the from-th newest to the to-th. */
static void event_rows(struct html *o, const struct status *s, size_t from, size_t to)
{
    const struct token_manager_stats *t = s->token.stats;

    html_put(o, "<table class=\"rows\" role=\"table\" aria-labelledby=\"fetches-h\">"
                "<thead role=\"rowgroup\"><tr role=\"row\">"
                "<th role=\"columnheader\" scope=\"col\">when</th>"
                "<th role=\"columnheader\" scope=\"col\">result</th>"
                "<th role=\"columnheader\" scope=\"col\" class=\"number\">took</th>"
                "<th role=\"columnheader\" scope=\"col\" class=\"wide\">token</th>"
                "</tr></thead><tbody role=\"rowgroup\">\n");
    for (size_t i = from; i < to; i++)
        event_row(o, s, &t->event[(t->events - 1 - i) % TOKEN_MANAGER_EVENTS]);
    html_put(o, "</tbody></table>");
}

static void events(struct html *o, const struct status *s)
{
    enum { OPEN = 4 }; /* the older ones are folded */
    size_t shown = (size_t)base_min((int64_t)s->token.stats->events, TOKEN_MANAGER_EVENTS);

    if (shown == 0)
        return;
    html_put(o, "<h3 id=\"fetches-h\">The last fetches</h3>");
    event_rows(o, s, 0, (size_t)base_min((int64_t)shown, OPEN));
    if (shown <= OPEN)
        return;
    html_putf(o,
              "<details id=\"earlier\" class=\"plain\"><summary id=\"earlier-s\">%zu "
              "earlier</summary>",
              shown - OPEN);
    event_rows(o, s, OPEN, shown);
    html_put(o, "</details>");
}

void sections_token(struct html *o, const struct content *c)
{
    const struct status *s = c->status;

    html_put(o, "<section id=\"token\" aria-labelledby=\"token-h\"><h2 id=\"token-h\">"
                "The token</h2>");
    if (s->token.held)
        life(o, s);
    else
        html_put(o, "<p class=\"big\">None is held</p>");
    fetching(o, &s->token);
    events(o, s);
    html_put(o, "</section>\n");
}

static void legend(struct html *o, const char *class, const char *text)
{
    html_putf(o,
              "<li><svg class=\"key\" width=\"12\" height=\"12\" aria-hidden=\"true\">%s</svg>"
              "%s</li>",
              class, text);
}

void sections_traffic(struct html *o, const struct content *c)
{
    const struct chart chart = { .history = c->history,
                                 .totals = c->totals,
                                 .now_ms = c->status->now_ms };

    html_put(o,
             "<section id=\"traffic\" aria-labelledby=\"traffic-h\"><h2 id=\"traffic-h\">"
             "The last 15 minutes</h2><div class=\"charts\"><div><h3>Requests a second</h3>");
    chart_rate(o, &chart);
    html_put(o, "<ul class=\"legend\">");
    legend(o, "<rect class=\"good\" width=\"12\" height=\"12\"/>", "answered");
    legend(o, "<rect class=\"refused\" width=\"12\" height=\"12\"/>", "callers&#39; errors");
    legend(o, "<rect class=\"failed\" width=\"12\" height=\"12\"/>", "failed");
    html_put(o, "</ul></div><div><h3>Duration</h3>");
    chart_latency(o, &chart);
    html_put(o, "<ul class=\"legend\">");
    legend(o, "<path class=\"p50\" d=\"M0 6H12\"/>", "half within");
    legend(o, "<path class=\"p99\" d=\"M0 6H12\"/>", "99 % within");
    html_put(o, "</ul></div></div></section>\n");
}

static void certificate_row(struct html *o, const struct status *s,
                            const struct config_certificate *c)
{
    int64_t left_s = c->end_s - s->now_wall_s;
    const char *level = left_s <= 0                          ? "bad"
                        : left_s < CONFIG_CERTIFICATE_SOON_S ? "warn"
                                                             : "good";

    html_putf(o, "<tr><th scope=\"row\">%s</th><td class=\"what\">", c->key);
    html_text(o, c->path);
    html_putf(o, "</td><td class=\"number\"><span class=\"stage %s\">%s", level,
              left_s <= 0 ? "ended" : "in ");
    if (left_s > 0)
        html_span(o, left_s * 1000);
    html_put(o, "</span></td><td class=\"number\">");
    html_time(o, c->end_s, s->now_wall_s);
    html_put(o, "</td></tr>\n");
}

void sections_certificates(struct html *o, const struct content *c)
{
    const struct status *s = c->status;

    if (s->certificates == 0)
        return;
    html_put(o, "<section id=\"certificates\" aria-labelledby=\"certificates-h\">"
                "<h2 id=\"certificates-h\">Certificates</h2>");
    if (s->certificate_trouble != NULL) {
        html_put(o, "<p>A new one is not taken up: ");
        html_text(o, s->certificate_trouble);
        html_put(o, "</p>");
    }
    html_put(o, "<div class=\"scroll\" role=\"region\" tabindex=\"0\" id=\"by-file\" "
                "aria-labelledby=\"certificates-h\"><table><thead><tr>"
                "<th scope=\"col\">setting</th><th scope=\"col\">file</th>"
                "<th scope=\"col\" class=\"number\">ends</th>"
                "<th scope=\"col\" class=\"number\">on</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < s->certificates; i++)
        certificate_row(o, s, &s->certificate[i]);
    html_put(o, "</tbody></table></div></section>\n");
}

/* Lines that are commented out are shown in a weaker colour. */
static void settings(struct html *o, const char *text)
{
    size_t shown = 0;

    html_put(o, "<pre>");
    while (*text != '\0' && shown < SETTINGS_BYTES) {
        size_t line = strcspn(text, "\n"), fits = (size_t)base_min((int64_t)line, 2048);
        bool aside = *text == '#';

        html_put(o, aside ? "<span class=\"soft\">" : "");
        html_textn(o, text, fits);
        html_put(o, fits < line ? " ... (cut)" : "");
        html_put(o, aside ? "</span>\n" : "\n");
        shown += fits;
        text += line + (text[line] == '\n');
    }
    html_put(o, *text == '\0' ? "</pre>" : "... (cut; --print-config shows all)\n</pre>");
}

void sections_settings(struct html *o, const struct content *c)
{
    struct buf text;

    buf_init(&text, 4 << 20);
    html_put(o, "<details id=\"config\"><summary id=\"config-s\"><h2>Settings in force</h2> "
                "<span class=\"soft small\">secrets are hidden</span></summary>"
                "<p class=\"small soft\">Listens on ");
    html_text(o, c->listen);
    html_putf(o, " with %u worker%s. ", c->status->worker_count,
              c->status->worker_count == 1 ? "" : "s");
    if (c->status->config->file != NULL) {
        html_put(o, "Read from <code>");
        html_text(o, c->status->config->file);
        html_put(o, "</code>.");
    }
    html_put(o, "</p>");
    int err = config_print(c->status->config, &text);

    if (err == 0)
        settings(o, buf_text(&text));
    else if (o->err == 0)
        o->err = err;
    buf_done(&text);
    html_put(o, "</details>\n");
}

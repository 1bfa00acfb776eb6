/* The sections that tell how it is: verdict, facts, token, traffic, settings. */
#include "admin/page/sections.h"

#include <string.h>

#include "admin/page/chart.h"
#include "config/docs.h"

void page_part_when(struct page_out *o, const struct status *s, int64_t at_ms, int64_t wall_s)
{
    page_put(o, "<td role=\"cell\" class=\"when\">");
    page_ago(o, s->now_ms - at_ms);
    page_put(o, " <span class=\"soft small\">");
    page_time(o, wall_s, s->now_wall_s);
    page_put(o, "</span></td>");
}

void page_part_verdict(struct page_out *o, const struct page *p)
{
    const struct health *v = p->verdict;
    const struct status *s = p->status;

    page_putf(o,
              "<section id=\"verdict\" class=\"%s\" aria-labelledby=\"verdict-h\">"
              "<h2 id=\"verdict-h\">",
              health_level_name(v->level));
    page_text(o, v->headline);
    page_put(o, "</h2><p>");
    page_text(o, v->detail);
    page_put(o, "</p><dl><div><dt>Since</dt><dd>");
    page_time(o, p->since->wall_s, s->now_wall_s);
    page_put(o, " UTC");
    page_put(o, " <span class=\"soft small\">(");
    page_span(o, s->now_ms - p->since->ms);
    page_put(o, ")</span></dd></div><div><dt>At fault</dt><dd>");
    page_text(o, v->fault == NULL ? "nobody" : v->fault);
    page_put(o, "</dd></div><div><dt>Running since</dt><dd>");
    page_time(o, s->started_wall_s, s->now_wall_s);
    page_put(o, " UTC");
    page_put(o, " <span class=\"soft small\">(");
    page_span(o, s->uptime_ms);
    page_put(o, ")</span></dd></div></dl></section>\n");
}

static void open_fact(struct page_out *o, const char *name)
{
    page_putf(o, "<div><dt>%s</dt><dd>", name);
}

void page_part_facts(struct page_out *o, const struct page *p)
{
    const struct status *s = p->status;
    struct history_step last = history_sum(p->history, p->totals, s->now_ms, HEALTH_STEPS);
    uint64_t refused = last.failed[STAGE_REQUEST], failed = history_failed(&last) - refused;

    page_put(o, "<section id=\"facts\" aria-labelledby=\"facts-h\"><h2 id=\"facts-h\">"
                "The last minute</h2><dl class=\"facts\">");
    open_fact(o, "Requests");
    page_rate(o, history_rate(&last));
    page_put(o, " <small>a second</small></dd></div>");
    open_fact(o, "Failed");
    page_count(o, failed, NULL);
    page_put(o, " <small>of ");
    page_count(o, last.requests, NULL);
    page_put(o, "</small></dd></div>");
    open_fact(o, "Callers&#39; errors");
    page_count(o, refused, NULL);
    page_put(o, "</dd></div>");
    open_fact(o, "Half answered within");
    page_latency(o, history_quantile_us(&last, 0.5));
    page_put(o, "</dd></div>");
    open_fact(o, "99 % within");
    page_latency(o, history_quantile_us(&last, 0.99));
    page_put(o, "</dd></div>");
    open_fact(o, "Under way now");
    page_count(o, (uint64_t)s->in_flight, "oneshot_proxy_requests_in_flight");
    page_put(o, " <small>of ");
    page_count(o, (uint64_t)s->config->upstream.max_in_flight,
               "oneshot_proxy_requests_in_flight_limit");
    page_put(o, "</small></dd></div></dl></section>\n");
}

/* A token that is held: how much of its life is left, and when it is renewed. */
static void life(struct page_out *o, const struct status *s)
{
    const struct status_token *t = &s->token;
    double whole = (double)base_max(t->lifetime_ms, 1);
    double gone = 100 * (double)t->age_ms / whole;
    bool renews = t->next_fetch_ms >= 0 && t->next_fetch_ms <= t->expires_in_ms;

    page_put(o, "<p class=\"big\">");
    page_span(o, t->expires_in_ms);
    page_put(o, " left</p>");
    page_putf(
        o,
        "<svg class=\"life%s\" width=\"100%%\" height=\"14\" role=\"img\" "
        "aria-label=\"%.0f %% of its life is left\"><rect class=\"whole\" width=\"100%%\" "
        "height=\"14\"/><rect class=\"left\" x=\"%.2f%%\" width=\"%.2f%%\" height=\"14\"/>",
        t->stats->consecutive_failures > 0 ? " warn" : "", 100 - gone, gone, 100 - gone);
    if (renews && !t->backing_off)
        page_putf(o, "<line class=\"renewal\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"0\" y2=\"14\"/>",
                  100 * (double)(t->age_ms + t->next_fetch_ms) / whole,
                  100 * (double)(t->age_ms + t->next_fetch_ms) / whole);
    page_put(o, "</svg><p class=\"ends\"><span>obtained ");
    page_time(o, t->stats->last_success_wall_s, s->now_wall_s);
    page_put(o, " (");
    page_ago(o, t->age_ms);
    page_put(o, ")</span>");
    if (renews && !t->backing_off) {
        page_put(o, "<span>renewed in ");
        page_span(o, t->next_fetch_ms);
        page_put(o, "</span>");
    }
    page_put(o, "<span>expires ");
    page_time(o, s->now_wall_s + t->expires_in_ms / 1000, s->now_wall_s);
    page_put(o, "</span></p>");
}

/* What is being done about it. */
static void fetching(struct page_out *o, const struct status_token *t)
{
    if (t->fetching) {
        page_put(o, "<p>One is being fetched, for ");
        page_span(o, t->fetching_for_ms);
        page_put(o, " so far.</p>");
    } else if (t->backing_off && t->next_fetch_ms >= 0) {
        page_put(o, "<p>The last fetch failed; the next one comes in ");
        page_span(o, t->next_fetch_ms);
        page_put(o, ".</p>");
    }
}

static void what_happened(struct page_out *o, const struct token_manager_event *e)
{
    switch (e->what) {
    case TOKEN_MANAGER_OBTAINED:
        page_putf(o, "number %llu, lives for ", (unsigned long long)e->generation);
        page_span(o, e->lifetime_ms);
        break;
    case TOKEN_MANAGER_FAILED:
        page_text(o, e->failure.detail);
        page_put(o, " <span class=\"soft\">Next try after ");
        page_span(o, e->retry_ms);
        page_put(o, ".</span>");
        break;
    case TOKEN_MANAGER_DROPPED:
        page_putf(o, "number %llu: the upstream refused it", (unsigned long long)e->generation);
        break;
    case TOKEN_MANAGER_EXPIRED:
        page_putf(o, "number %llu: no new one had come by then",
                  (unsigned long long)e->generation);
        break;
    }
}

static void event_row(struct page_out *o, const struct status *s,
                      const struct token_manager_event *e)
{
    static const struct {
        const char *class, *text;
    } names[] = { [TOKEN_MANAGER_OBTAINED] = { "good", "obtained" },
                  [TOKEN_MANAGER_FAILED] = { "bad", "failed" },
                  [TOKEN_MANAGER_DROPPED] = { "warn", "dropped" },
                  [TOKEN_MANAGER_EXPIRED] = { "warn", "expired" } };

    page_put(o, "<tr role=\"row\">");
    page_part_when(o, s, e->at_ms, e->wall_s);
    page_putf(o,
              "<td role=\"cell\"><span class=\"stage %s\">%s</span></td>"
              "<td role=\"cell\" class=\"number\" data-label=\"took\">",
              names[e->what].class, names[e->what].text);
    if (e->what == TOKEN_MANAGER_OBTAINED || e->what == TOKEN_MANAGER_FAILED)
        page_span(o, e->took_ms);
    page_put(o, "</td><td role=\"cell\" class=\"what\">");
    what_happened(o, e);
    page_put(o, "</td></tr>\n");
}

/* The from-th newest up to the to-th. */
static void event_rows(struct page_out *o, const struct status *s, size_t from, size_t to)
{
    const struct token_manager_stats *t = s->token.stats;

    page_put(o, "<table class=\"rows\" role=\"table\" aria-labelledby=\"fetches-h\">"
                "<thead role=\"rowgroup\"><tr role=\"row\">"
                "<th role=\"columnheader\" scope=\"col\">when</th>"
                "<th role=\"columnheader\" scope=\"col\">result</th>"
                "<th role=\"columnheader\" scope=\"col\" class=\"number\">took</th>"
                "<th role=\"columnheader\" scope=\"col\" class=\"wide\">token</th>"
                "</tr></thead><tbody role=\"rowgroup\">\n");
    for (size_t i = from; i < to; i++)
        event_row(o, s, &t->event[(t->events - 1 - i) % TOKEN_MANAGER_EVENTS]);
    page_put(o, "</tbody></table>");
}

static void events(struct page_out *o, const struct status *s)
{
    enum { OPEN = 4 }; /* the older ones can be unfolded */
    size_t shown = (size_t)base_min((int64_t)s->token.stats->events, TOKEN_MANAGER_EVENTS);

    if (shown == 0)
        return;
    page_put(o, "<h3 id=\"fetches-h\">The last fetches</h3>");
    event_rows(o, s, 0, (size_t)base_min((int64_t)shown, OPEN));
    if (shown <= OPEN)
        return;
    page_putf(o,
              "<details id=\"earlier\" class=\"plain\"><summary id=\"earlier-s\">%zu "
              "earlier</summary>",
              shown - OPEN);
    event_rows(o, s, OPEN, shown);
    page_put(o, "</details>");
}

void page_part_token(struct page_out *o, const struct page *p)
{
    const struct status *s = p->status;

    page_put(o, "<section id=\"token\" aria-labelledby=\"token-h\"><h2 id=\"token-h\">"
                "The token</h2>");
    if (s->token.held)
        life(o, s);
    else
        page_put(o, "<p class=\"big\">None is held</p>");
    fetching(o, &s->token);
    events(o, s);
    page_put(o, "</section>\n");
}

static void legend(struct page_out *o, const char *class, const char *text)
{
    page_putf(o,
              "<li><svg class=\"key\" width=\"12\" height=\"12\" aria-hidden=\"true\">%s</svg>"
              "%s</li>",
              class, text);
}

void page_part_traffic(struct page_out *o, const struct page *p)
{
    const struct page_chart c = { .history = p->history,
                                  .totals = p->totals,
                                  .now_ms = p->status->now_ms };

    page_put(o,
             "<section id=\"traffic\" aria-labelledby=\"traffic-h\"><h2 id=\"traffic-h\">"
             "The last 15 minutes</h2><div class=\"charts\"><div><h3>Requests a second</h3>");
    page_chart_rate(o, &c);
    page_put(o, "<ul class=\"legend\">");
    legend(o, "<rect class=\"good\" width=\"12\" height=\"12\"/>", "answered");
    legend(o, "<rect class=\"refused\" width=\"12\" height=\"12\"/>", "callers&#39; errors");
    legend(o, "<rect class=\"failed\" width=\"12\" height=\"12\"/>", "failed");
    page_put(o, "</ul></div><div><h3>Duration</h3>");
    page_chart_latency(o, &c);
    page_put(o, "<ul class=\"legend\">");
    legend(o, "<path class=\"p50\" d=\"M0 6H12\"/>", "half within");
    legend(o, "<path class=\"p99\" d=\"M0 6H12\"/>", "99 % within");
    page_put(o, "</ul></div></div></section>\n");
}

/* Lines that are commented out stand back. */
static void settings(struct page_out *o, const char *text)
{
    size_t shown = 0;

    page_put(o, "<pre>");
    while (*text != '\0' && shown < PAGE_CONFIG_BYTES) {
        size_t line = strcspn(text, "\n"), fits = (size_t)base_min((int64_t)line, 2048);
        bool aside = *text == '#';

        page_put(o, aside ? "<span class=\"soft\">" : "");
        page_textn(o, text, fits);
        page_put(o, fits < line ? " ... (cut)" : "");
        page_put(o, aside ? "</span>\n" : "\n");
        shown += fits;
        text += line + (text[line] == '\n');
    }
    page_put(o, *text == '\0' ? "</pre>" : "... (cut; --print-config shows all)\n</pre>");
}

void page_part_config(struct page_out *o, const struct page *p)
{
    struct buf text;

    buf_init(&text, 4 << 20);
    page_put(o, "<details id=\"config\"><summary id=\"config-s\"><h2>Settings in force</h2> "
                "<span class=\"soft small\">secrets are hidden</span></summary>"
                "<p class=\"small soft\">Listens on ");
    page_text(o, p->listen);
    page_putf(o, " with %u worker%s. ", p->status->worker_count,
              p->status->worker_count == 1 ? "" : "s");
    if (p->status->config->file != NULL) {
        page_put(o, "Read from <code>");
        page_text(o, p->status->config->file);
        page_put(o, "</code>.");
    }
    page_put(o, "</p>");
    int err = config_print(p->status->config, &text);

    if (err == 0)
        settings(o, buf_text(&text));
    else if (o->err == 0)
        o->err = err;
    buf_done(&text);
    page_put(o, "</details>\n");
}

/* Writes HTML in such a way that text from peers stays text. */
#include "admin/page/html.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NARROW_SPACE "\xe2\x80\xaf" /* U+202F: no line break inside numbers */

void html_put(struct html *o, const char *html)
{
    if (o->err == 0)
        o->err = buf_add_str(o->buf, html);
}

void html_putf(struct html *o, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    assert(n >= 0 && n < (int)sizeof text);
    html_put(o, text);
}

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void html_textn(struct html *o, const char *text, size_t n)
{
    size_t plain = 0; /* start of the part that can be copied unchanged */

    for (size_t i = 0; i < n && o->err == 0; i++) {
        const char *escaped = entity(text[i]);
        char hex[5];

        if (escaped == NULL && ((text[i] >= ' ' && text[i] < 0x7f) || text[i] == '\n'))
            continue;
        if (escaped == NULL) {
            (void)snprintf(hex, sizeof hex, "\\x%02x", (unsigned char)text[i]);
            escaped = hex;
        }
        o->err = buf_add(o->buf, text + plain, i - plain);
        html_put(o, escaped);
        plain = i + 1;
    }
    if (o->err == 0 && n > plain)
        o->err = buf_add(o->buf, text + plain, n - plain);
}

void html_text(struct html *o, const char *text)
{
    html_textn(o, text, strlen(text));
}

void html_sentence(struct html *o, const char *text)
{
    char first = *text >= 'a' && *text <= 'z' ? (char)(*text - 'a' + 'A') : *text;

    html_textn(o, &first, *text == '\0' ? 0 : 1);
    html_text(o, *text == '\0' ? text : text + 1);
}

/* The larger unit, and the smaller one unless it is 0. */
static void two_units(struct html *o, long long large, const char *unit, long long small,
                      const char *small_unit)
{
    html_putf(o, "%lld %s", large, unit);
    if (small != 0)
        html_putf(o, " %lld %s", small, small_unit);
}

void html_span(struct html *o, int64_t ms)
{
    long long s = base_max(ms, 0) / 1000;

    if (ms < 1000)
        html_putf(o, "%lld ms", (long long)base_max(ms, 0));
    else if (s < 60)
        html_putf(o, "%lld s", s);
    else if (s < 3600)
        two_units(o, s / 60, "min", s % 60, "s");
    else if (s < 86400)
        two_units(o, s / 3600, "h", s / 60 % 60, "min");
    else
        two_units(o, s / 86400, "d", s / 3600 % 24, "h");
}

void html_ago(struct html *o, int64_t ms)
{
    if (ms < 1000) {
        html_put(o, "just now");
        return;
    }
    html_span(o, ms);
    html_put(o, " ago");
}

void html_latency(struct html *o, double us)
{
    if (us < 0)
        html_put(o, "&ndash;");
    else if (us < 10000)
        html_putf(o, us < 1000 ? "%.2f ms" : "%.1f ms", us / 1000);
    else if (us < 1000000)
        html_putf(o, "%.0f ms", us / 1000);
    else
        html_putf(o, us < 10000000 ? "%.1f s" : "%.0f s", us / 1000000);
}

void html_time(struct html *o, int64_t wall_s, int64_t now_s)
{
    time_t t = (time_t)wall_s;
    struct tm tm;
    char iso[32];

    if (gmtime_r(&t, &tm) == NULL || /* outside the range of the calendar */
        strftime(iso, sizeof iso, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        return;
    html_putf(o, "<time datetime=\"%s\">", iso);
    if (wall_s / 86400 != now_s / 86400)
        html_putf(o, "%.10s ", iso);
    html_putf(o, "%.8s</time>", iso + 11);
}

void html_when(struct html *o, int64_t ago_ms, int64_t wall_s, int64_t now_s)
{
    html_put(o, "<td role=\"cell\" class=\"when\">");
    html_ago(o, ago_ms);
    html_put(o, " <span class=\"soft small\">");
    html_time(o, wall_s, now_s);
    html_put(o, "</span></td>");
}

static void grouped(struct html *o, uint64_t n)
{
    if (n >= 1000) {
        grouped(o, n / 1000);
        html_putf(o, NARROW_SPACE "%03llu", (unsigned long long)(n % 1000));
    } else {
        html_putf(o, "%llu", (unsigned long long)n);
    }
}

static void open_data(struct html *o, uint64_t n, const char *metric)
{
    html_putf(o, "<data value=\"%llu\"", (unsigned long long)n);
    if (metric != NULL) {
        html_put(o, " data-metric=\"");
        html_text(o, metric);
        html_put(o, "\"");
    }
    html_put(o, ">");
}

void html_count(struct html *o, uint64_t n, const char *metric)
{
    open_data(o, n, metric);
    grouped(o, n);
    html_put(o, "</data>");
}

void html_rate(struct html *o, double per_s)
{
    if (per_s > 0 && per_s < 0.01)
        html_put(o, "&lt; 0.01");
    else if (per_s < 1)
        html_putf(o, per_s > 0 ? "%.2f" : "%.0f", per_s);
    else if (per_s < 10)
        html_putf(o, "%.1f", per_s);
    else
        grouped(o, (uint64_t)(per_s + 0.5));
}

void html_bytes(struct html *o, uint64_t n, const char *metric)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
    double value = (double)n;
    size_t unit = 0;

    while (value >= 999.5 && unit + 1 < ARRAY_LEN(units)) {
        value /= 1000;
        unit++;
    }
    open_data(o, n, metric);
    html_putf(o, unit > 0 && value < 9.95 ? "%.1f" : "%.0f", value);
    html_putf(o, NARROW_SPACE "%s</data>", units[unit]);
}

/* Two charts with the same time axis:
 *
 *     12 +--------------------------------+   a column for each step of the history, the oldest
 *        |            ||                  |   on the left, and a last one for what has happened
 *      6 +-----------||||-----------------+   since the last sample
 *        |  || || ||||||||| || || || || |.|
 *      0 +--------------------------------+
 *     -15 min      -10 min      -5 min   now
 *
 * Horizontal positions are fractions of the width, so that the charts fit a screen of any width
 * while letters keep their size; curves are drawn in an inner svg that is stretched. */
#include "admin/page/chart.h"

#include <float.h>

#define COLUMNS (HISTORY_STEPS + 1)
#define TOP 8     /* above the highest line: half its label */
#define PLOT 140  /* height of the plot */
#define BOTTOM 24 /* below it, for the times */
#define HEIGHT (TOP + PLOT + BOTTOM)

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* The decimal logarithm of a number above 1, else 0; computed bit by bit, accurate to a
 * millionth. The mathematical library would add a megabyte to the container image for this
 * one function. */
static double log10_of(double x)
{
    double log = 0;

    for (; x >= 10; log++)
        x /= 10;
    for (double bit = 0.5; x > 1 && bit > 1e-7; bit /= 2) {
        x *= x;
        if (x >= 10) {
            x /= 10;
            log += bit;
        }
    }
    return log;
}

/* The step for a column; empty where nothing is known. */
static struct history_step column(const struct chart *c, size_t at)
{
    static const struct history_step nothing;

    if (at == COLUMNS - 1)
        return history_rest(c->history, c->totals, c->now_ms);

    const struct history_step *s = history_step(c->history, COLUMNS - 2 - at);
    return s == NULL ? nothing : *s;
}

/* A rate. The last step has only begun and is not extrapolated to a whole one. */
static double per_second(const struct history_step *s, uint64_t n)
{
    return (double)n * 1000 / (double)base_max(s->span_ms, HISTORY_STEP_MS);
}

static double left_of(size_t at)
{
    return (double)at * 100 / COLUMNS;
}

static void open_chart(struct html *o, const char *id, const char *title)
{
    html_putf(o,
              "<svg class=\"chart\" width=\"100%%\" height=\"%d\" role=\"img\" "
              "aria-labelledby=\"%s-title %s-desc\"><title id=\"%s-title\">%s</title>"
              "<desc id=\"%s-desc\">",
              HEIGHT, id, id, id, title, id);
}

static void grid_line(struct html *o, double y, bool is_base)
{
    html_putf(o, "<line class=\"%s\" x1=\"0\" x2=\"100%%\" y1=\"%.1f\" y2=\"%.1f\"/>",
              is_base ? "base" : "grid", y, y);
}

static void open_label(struct html *o, double y)
{
    html_putf(o, "<text class=\"axis\" x=\"-8\" y=\"%.1f\" text-anchor=\"end\">", y + 4);
}

static void time_axis(struct html *o)
{
    static const struct {
        double x;
        const char *anchor, *text;
    } mark[] = { { 0, "start", "15 min" },
                 { 100.0 / 3, "middle", "10 min" },
                 { 200.0 / 3, "middle", "5 min" },
                 { 100, "end", "now" } };

    for (size_t i = 0; i < ARRAY_LEN(mark); i++)
        html_putf(o,
                  "<line class=\"tick\" x1=\"%.3f%%\" x2=\"%.3f%%\" y1=\"%d\" y2=\"%d\"/>"
                  "<text class=\"axis\" x=\"%.3f%%\" y=\"%d\" text-anchor=\"%s\">%s</text>",
                  mark[i].x, mark[i].x, TOP + PLOT, TOP + PLOT + 4, mark[i].x, HEIGHT - 4,
                  mark[i].anchor, mark[i].text);
}

/* Invisible columns over the whole height; pointing at one shows its text. */
static void hints(struct html *o, const struct chart *c)
{
    for (size_t at = 0; at < COLUMNS; at++) {
        struct history_step s = column(c, at);

        if (s.span_ms == 0)
            continue;
        int64_t ago_ms = (int64_t)(COLUMNS - 1 - at) * HISTORY_STEP_MS;

        html_putf(o,
                  "<rect class=\"hint\" x=\"%.3f%%\" y=\"0\" width=\"%.3f%%\" height=\"%d\">"
                  "<title>",
                  left_of(at), 100.0 / COLUMNS, TOP + PLOT);
        html_span(o, ago_ms);
        html_put(o, at == COLUMNS - 1 ? " (now): " : " ago: ");
        html_rate(o, history_rate(&s));
        html_putf(o, " requests/s, %llu failed", (unsigned long long)history_failed(&s));
        if (s.requests > 0) {
            html_put(o, ", half within ");
            html_latency(o, history_quantile_us(&s, 0.5));
            html_put(o, ", 99 % within ");
            html_latency(o, history_quantile_us(&s, 0.99));
        }
        html_put(o, "</title></rect>");
    }
}

/* A round number, not below the value, of which the half is round as well. */
static double round_up(double value)
{
    static const double steps[] = { 1, 1.2, 1.6, 2, 3, 4, 5, 6, 8 };
    double unit = 1;

    for (;; unit *= 10)
        for (size_t i = 0; i < ARRAY_LEN(steps); i++)
            if (value <= steps[i] * unit)
                return steps[i] * unit;
}

static void bar(struct html *o, const char *class, size_t at, double from, double height)
{
    if (height <= 0)
        return;
    html_putf(o,
              "<rect class=\"%s\" x=\"%.3f%%\" y=\"%.1f\" width=\"%.3f%%\" height=\"%.1f\"/>",
              class, left_of(at), TOP + PLOT - from - height, 82.0 / COLUMNS, height);
}

/* At the bottom answered requests, then callers' mistakes, then failures. */
static void stack(struct html *o, const struct chart *c, size_t at, double top)
{
    struct history_step s = column(c, at);
    uint64_t refused = s.failed[STAGE_REQUEST], failed = history_failed(&s) - refused;
    uint64_t bad = refused + failed, good = s.requests > bad ? s.requests - bad : 0;
    double scale = PLOT / top, y = 0, height;

    if (s.requests == 0)
        return;
    height = per_second(&s, good) * scale;
    bar(o, "good", at, y, height);
    y += height;
    height = per_second(&s, refused) * scale;
    /* One among many must still be visible. */
    height = refused > 0 ? larger(height, 2) : 0;
    bar(o, "refused", at, y, height);
    y += height;
    height = per_second(&s, failed) * scale;
    bar(o, "failed", at, y, failed > 0 ? larger(height, 2) : 0);
}

void chart_rate(struct html *o, const struct chart *c)
{
    struct history_step all = history_sum(c->history, c->totals, c->now_ms, HISTORY_STEPS);
    double most = 0;

    for (size_t at = 0; at < COLUMNS; at++) {
        struct history_step s = column(c, at);

        most = larger(most, per_second(&s, s.requests));
    }
    double top = round_up(most);

    open_chart(o, "rate", "Requests a second over the last 15 minutes");
    html_put(o, "At most ");
    html_rate(o, most);
    html_putf(o, " a second; %llu in all, %llu of them failed or were refused.</desc>",
              (unsigned long long)all.requests, (unsigned long long)history_failed(&all));
    grid_line(o, TOP, false);
    grid_line(o, TOP + PLOT / 2.0, false);
    for (size_t at = 0; at < COLUMNS; at++)
        stack(o, c, at, top);
    grid_line(o, TOP + PLOT, true);
    open_label(o, TOP);
    html_rate(o, top);
    html_put(o, "</text>");
    open_label(o, TOP + PLOT / 2.0);
    html_rate(o, top / 2);
    html_put(o, "</text>");
    open_label(o, TOP + PLOT);
    html_put(o, "0</text>");
    time_axis(o);
    hints(o, c);
    html_put(o, "</svg>");
}

/* A range in powers of ten of a microsecond. */
struct decades {
    int low, high;
};

static double height_of(const struct decades *d, double us)
{
    double share = (log10_of(us) - d->low) / (d->high - d->low);

    return PLOT * smaller(larger(share, 0), 1);
}

/* At least two powers, and enough for everything that is drawn. */
static struct decades decades_of(const struct chart *c)
{
    double low = DBL_MAX, high = 0;

    for (size_t at = 0; at < COLUMNS; at++) {
        struct history_step s = column(c, at);

        if (s.requests == 0 || history_quantile_us(&s, 0.5) < 0)
            continue;
        low = smaller(low, history_quantile_us(&s, 0.5));
        high = larger(high, history_quantile_us(&s, 0.99));
    }
    if (high == 0)
        return (struct decades){ 3, 6 };

    double end = log10_of(larger(high, 10));
    struct decades d = { (int)log10_of(low), (int)end + (end > (int)end ? 1 : 0) };
    if (d.high - d.low < 2)
        d.low = d.high - 2;
    return d;
}

/* A line segment for each column; a gap where there were no requests. */
static void curve(struct html *o, const struct chart *c, const struct decades *d,
                  const char *class, double q)
{
    bool inside = false;

    html_putf(o, "<path class=\"%s\" d=\"", class);
    for (size_t at = 0; at < COLUMNS; at++) {
        struct history_step s = column(c, at);
        double us = history_quantile_us(&s, q);

        if (us < 0) {
            inside = false;
            continue;
        }
        double y = PLOT - height_of(d, us);

        if (inside)
            html_putf(o, "V%.1fH%zu", y, at + 1);
        else
            html_putf(o, "M%zu %.1fH%zu", at, y, at + 1);
        inside = true;
    }
    html_put(o, "\"/>");
}

/* The area between the two curves. */
static void band(struct html *o, const struct chart *c, const struct decades *d)
{
    for (size_t at = 0; at < COLUMNS; at++) {
        struct history_step s = column(c, at);
        double half = history_quantile_us(&s, 0.5);

        if (half < 0)
            continue;
        double low = height_of(d, half), high = height_of(d, history_quantile_us(&s, 0.99));

        html_putf(o, "<rect class=\"band\" x=\"%zu\" y=\"%.1f\" width=\"1\" height=\"%.1f\"/>",
                  at, PLOT - high, larger(high - low, 0));
    }
}

static void decade_label(struct html *o, int decade)
{
    static const char *const names[] = { "1 &micro;s", "10 &micro;s", "0.1 ms", "1 ms", "10 ms",
                                         "0.1 s",      "1 s",         "10 s",   "100 s" };

    html_put(o, names[base_max(0, base_min(decade, (int64_t)ARRAY_LEN(names) - 1))]);
}

void chart_latency(struct html *o, const struct chart *c)
{
    struct history_step all = history_sum(c->history, c->totals, c->now_ms, HISTORY_STEPS);
    struct decades d = decades_of(c);

    open_chart(o, "latency", "Duration of requests over the last 15 minutes");
    if (all.requests == 0) {
        html_put(o, "No requests.</desc>");
    } else {
        html_put(o, "Half of all within ");
        html_latency(o, history_quantile_us(&all, 0.5));
        html_put(o, ", 99 % within ");
        html_latency(o, history_quantile_us(&all, 0.99));
        html_put(o, "; logarithmic scale.</desc>");
    }
    for (int i = d.low + 1; i <= d.high; i++)
        grid_line(o, TOP + PLOT - (double)PLOT * (i - d.low) / (d.high - d.low), false);
    html_putf(o,
              "<svg x=\"0\" y=\"%d\" width=\"100%%\" height=\"%d\" viewBox=\"0 0 %d %d\" "
              "preserveAspectRatio=\"none\">",
              TOP, PLOT, COLUMNS, PLOT);
    band(o, c, &d);
    curve(o, c, &d, "p99", 0.99);
    curve(o, c, &d, "p50", 0.5);
    html_put(o, "</svg>");
    grid_line(o, TOP + PLOT, true);
    for (int i = d.low; i <= d.high; i++) {
        open_label(o, TOP + PLOT - (double)PLOT * (i - d.low) / (d.high - d.low));
        decade_label(o, i);
        html_put(o, "</text>");
    }
    time_axis(o);
    hints(o, c);
    html_put(o, "</svg>");
}

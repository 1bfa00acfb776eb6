#pragma once
/* Draws the last 15 minutes as two inline SVG charts. Thread: control. */
#include "admin/page/html.h"
#include "stats/history.h"

struct chart {
    const struct history *history;
    const struct history_totals *totals;
    int64_t now_ms;
};

/* Requests per second, stacked by how they ended. */
void chart_rate(struct html *o, const struct chart *c);

/* Their duration on a logarithmic scale: the median and the 99th percentile. */
void chart_latency(struct html *o, const struct chart *c);

#pragma once
/* The last quarter of an hour as two inline SVG charts. For page.c. Thread: control. */
#include "admin/page/html.h"
#include "stats/history.h"

struct page_chart {
    const struct history *history;
    const struct history_totals *totals;
    int64_t now_ms;
};

/* Requests a second, stacked by how they ended. */
void page_chart_rate(struct page_out *o, const struct page_chart *c);

/* Their duration: the median and the slowest hundredth, on a logarithmic scale. */
void page_chart_latency(struct page_out *o, const struct page_chart *c);

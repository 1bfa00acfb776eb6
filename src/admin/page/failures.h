#pragma once
/* The two sections of the status page that tell of requests: those that failed last, each with
 * what to do about it, and the totals since the start. Each appends its HTML. Thread: control. */
#include "admin/page/content.h"
#include "admin/page/html.h"

void failures_list(struct html *o, const struct content *c);
void failures_totals(struct html *o, const struct content *c);

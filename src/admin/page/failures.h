#pragma once
/* Two sections of the status page: the last failed requests, each with what to do about it,
 * and the totals since the start. Each function appends its HTML. Thread: control. */
#include "admin/page/content.h"
#include "admin/page/html.h"

void failures_list(struct html *o, const struct content *c);
void failures_totals(struct html *o, const struct content *c);

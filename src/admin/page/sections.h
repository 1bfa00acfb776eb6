#pragma once
/* The sections of the status page, from top to bottom, except those of failures.h, ledger.h
 * and rights.h. Each function appends its HTML. Thread: control. */
#include "admin/page/content.h"
#include "admin/page/html.h"

void sections_health(struct html *o, const struct content *c);
/* Why the last reload was refused, where the health is about something else. */
void sections_reload(struct html *o, const struct content *c);
void sections_facts(struct html *o, const struct content *c);
void sections_token(struct html *o, const struct content *c);
void sections_traffic(struct html *o, const struct content *c);
void sections_certificates(struct html *o, const struct content *c);
void sections_settings(struct html *o, const struct content *c);

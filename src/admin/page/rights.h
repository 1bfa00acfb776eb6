#pragma once
/* What the status page shows about callers and request classes. For page.c. Thread: control. */
#include "admin/page/html.h"
#include "admin/status.h"

/* Whether requests are frozen, why and since when; nothing if they are not. */
void rights_freeze(struct html *o, const struct status *s);
/* A section; nothing without [caller NAME]. */
void rights_callers(struct html *o, const struct status *s);
/* A section; nothing if classes.table is off. */
void rights_classes(struct html *o, const struct status *s);

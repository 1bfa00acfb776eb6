#pragma once
/* What the status page says of request classes. For page.c. Thread: control. */
#include "admin/page/html.h"
#include "admin/status.h"

/* A section; nothing where classes.table is off. */
void rights_classes(struct html *o, const struct status *s);

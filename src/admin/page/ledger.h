#pragma once
/* What the status page shows about the ledger. For page.c. Thread: control. */
#include "admin/page/html.h"
#include "admin/status.h"

/* A section of one line: whether requests can be recorded, and which entries are open;
 * nothing if there is no ledger. */
void ledger_section(struct html *o, const struct status *s);

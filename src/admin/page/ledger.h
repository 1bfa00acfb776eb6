#pragma once
/* What the status page says of the ledger. For page.c. Thread: control. */
#include "admin/page/html.h"
#include "admin/status.h"

/* A section of one line: whether requests can be recorded, and what is open; nothing where there is no
 * ledger. */
void ledger_section(struct html *o, const struct status *s);

#pragma once
/* What goes beyond one value in [ledger]. */
#include "config/report.h"

/* Reports what is wrong or doubtful in [ledger], and takes ledger.keys apart. */
void config_check_ledger(struct config *c, struct config_report *report);

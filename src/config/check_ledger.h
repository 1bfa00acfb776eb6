#pragma once
/* The checks of [ledger] beyond a single value. */
#include "config/report.h"

/* Reports what is wrong or doubtful in [ledger], and parses ledger.keys. */
void config_check_ledger(struct config *c, struct config_report *report);

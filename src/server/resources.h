#pragma once
/* How much of the machine this process may use. */
#include "base/base.h"
#include "config/config.h"
#include "config/report.h"

/* The number of worker threads that these settings make here. Thread: any. */
unsigned resources_workers(const struct config *c);

/* Warns of settings that do not fit this number of workers. Thread: any. */
void resources_check(const struct config *c, unsigned workers, struct config_report *report);

/* Raises the limit on descriptors to what the settings may need; logs it when that fails.
 * Thread: control, before the others start. */
void resources_raise_descriptors(const struct config *c);

#pragma once
/* Checks the settings about classes, callers and the freeze, and makes the rules from them. */
#include "config/report.h"

/* Reports what is wrong. Sets c->rules if the settings distinguish any requests. */
void config_check_rights(struct config *c, struct config_report *report);
/* Reads the secrets of the callers in c->rules. */
void config_check_caller_files(struct config *c, struct config_report *report);
/* Warns when it cannot be seen whether freeze.file is there, which counts as frozen. */
void config_check_freeze_file(const struct config *c, struct config_report *report);

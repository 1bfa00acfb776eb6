#pragma once
/* The settings about classes, callers and the freeze: the checks that they need, and the rules
 * that is made of them. */
#include "config/report.h"

/* Reports what is wrong, and sets c->rules where there is something to tell apart. */
void config_check_rights(struct config *c, struct config_report *report);
/* Reads the secrets of the callers, of which c->rules knows already. */
void config_check_caller_files(struct config *c, struct config_report *report);

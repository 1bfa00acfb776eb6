#pragma once
/* Checks beyond a single value: hosts, URLs, files, pairs of keys. */
#include "config/report.h"

/* Reports whatever is wrong with the config as read, and fills in what follows from other
 * settings (origin, base path, token.url, allowed hosts, the contents of the files). Without
 * with_files no file is looked at, nor are the variables for an outbound proxy, and the
 * credentials may be missing. */
void config_check(struct config *c, struct config_report *report, bool with_files);

/* Warns about text that is allowed but hardly ever intended: a comment after the value,
 * quotes around it, the placeholder of an example, a blank at an end. */
void config_check_text(struct config_report *r, const struct config_key *key, const char *text);

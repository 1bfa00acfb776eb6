#pragma once
/* Reading the ini file into the settings. What is wrong goes into the report. */
#include "config/report.h"

#define CONFIG_FILE_MAX (1 << 20)

/* Sets in `c` what the file, or its text, says. */
void config_ini_read(struct config *c, struct config_report *report, const char *path);
void config_ini_parse(struct config *c, struct config_report *report, const char *text,
                      size_t len);

#pragma once
/* Reads the ini file into the settings. Faults go into the report. */
#include "config/report.h"

#define CONFIG_FILE_MAX (1 << 20)

/* Sets the values of the file, or of its text, in `c`. */
void config_ini_read(struct config *c, struct config_report *report, const char *path);
void config_ini_parse(struct config *c, struct config_report *report, const char *text,
                      size_t len);

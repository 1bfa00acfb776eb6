#pragma once
/* `oneshot-proxy doctor`: tries for real what the gateway will do, step by step, and for
 * each failure says what it means and what to change. It never prints a token or a secret. */
#include "config/config.h"

/* Time limit of the whole run. */
#define DOCTOR_TIMEOUT_MS 25000

/* Loads the settings as the gateway does, tries them, and prints one line for each step to
 * standard output. Returns whether everything is fine. */
bool doctor_run(const char *file, const struct config_env *env);

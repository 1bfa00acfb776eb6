#pragma once
/* `oneshot-proxy doctor`: tries for real what the gateway will do, step by step, and says of
 * each failure what it means and what to change. Nothing it prints holds a token or a secret.
 */
#include "config/config.h"

/* The whole of it takes no longer. */
#define DOCTOR_TIMEOUT_MS 25000

/* Loads the settings as the gateway would, tries them, prints one line for each step to
 * standard output. Returns whether all is well. */
bool doctor_run(const char *file, const struct config_env *env);

#pragma once
/* The program while it serves. */
#include "base.h"
#include "config.h"

/* Serves until told to stop; `file` (NULL: none) and `env` are for reading the settings again
 * on SIGHUP. Takes over the reference to c; env stays the caller's. Returns the exit code.
 * Thread: control. */
int server_run(struct config *c, const char *file, const struct config_env *env);

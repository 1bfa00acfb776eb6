#pragma once
/* The whole running program: listeners, workers, token, signals, the end. */
#include "config/config.h"

/* Runs until SIGTERM or SIGINT. Takes over the reference to c; SIGHUP reads its file again
 * and applies env. Returns the exit code. Thread: control (main). */
int server_run(struct config *c, struct config_env *env);

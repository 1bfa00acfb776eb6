#pragma once
/* The whole running program: listeners, workers, the token's life, signals, the end. */
#include "config/config.h"

/* Runs until SIGTERM or SIGINT have been carried out. Takes over the reference to c; its file
 * and env are what SIGHUP reads again. Returns the exit code. Thread: control (main). */
int server_run(struct config *c, struct config_env *env);

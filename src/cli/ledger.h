#pragma once
/* The operator's commands for the ledger: create it, look into it, decide the outcome of an
 * entry, check it. */
#include "config/env.h"

/* `oneshot-proxy ledger ...`: the whole command line, in which "ledger" is the first
 * argument that is not an option. Returns an exit code. */
int ledger_command(int argc, char **argv, const struct config_env *env);

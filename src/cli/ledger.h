#pragma once
/* The operator's commands about the ledger: make it, look into it, decide what became of an
 * entry, check it. */
#include "config/env.h"

/* `oneshot-proxy ledger ...`: all of the command line, of which "ledger" is the first word that
 * is no option. Returns an exit code. */
int ledger_command(int argc, char **argv, const struct config_env *env);

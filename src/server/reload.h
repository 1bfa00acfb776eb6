#pragma once
/* SIGHUP: the settings are read again, and what came of it is said. Thread: control. */
#include "config/config.h"

/* Reads running's file again. Logs every error, every warning, the keys that changed and those
 * that wait for a restart. Returns the settings to go on with, with one reference, or NULL: the
 * file is not good and nothing changes. */
struct config *reload_read(const struct config *running,
                           const struct config_env *env) MUST_CHECK;

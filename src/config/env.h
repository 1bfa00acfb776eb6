#pragma once
/* The settings that come from the environment: ONESHOT_PROXY_<SECTION>_<KEY>. */
#include "config/report.h"

/* The variables as they were at start. They win over the file at each load; what is secret
 * among them lives in struct secret. */
struct config_env;

/* Copies the variables that are ours out of an `environ` style array (NULL: none), overwrites
 * the values that may be secret in place, and removes these variables from the array, so that
 * neither /proc nor a child shows them. Thread: control, before others start. Owns: the caller
 * frees with config_env_free, which takes NULL. */
struct config_env *config_env_take(char **environment) MUST_CHECK;
void config_env_free(struct config_env *env);

/* Sets what they say in `c`, over what the file said. `env` may be NULL; it must live as long
 * as the report. */
void config_env_apply(const struct config_env *env, struct config *c, struct config_report *r);

#pragma once
/* The settings that come from the environment: ONESHOT_PROXY_<SECTION>_<KEY>. */
#include "config/report.h"

/* The variables as they were at the start. They override the file at each load; secrets
 * among them are kept in struct secret. */
struct config_env;

/* Copies our variables from an array like `environ` (NULL: none), wipes values that may be
 * secret in place, and removes our variables from the array, so that neither /proc nor a
 * child process shows them. Thread: control, before others start. The caller frees the
 * result with config_env_free, which takes NULL. */
struct config_env *config_env_take(char **environment) MUST_CHECK;
void config_env_free(struct config_env *env);

/* Sets the values of the variables in `c`, overriding the file. `env` may be NULL; it must
 * live as long as the report. */
void config_env_apply(const struct config_env *env, struct config *c, struct config_report *r);

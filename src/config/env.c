/* The environment variables that are settings. They are removed from the environment once,
 * at the start; a reload reads the file again and applies the same variables over it. */
#include "config/env.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/check.h"
#include "config/value.h"

#define PREFIX_LEN (sizeof CONFIG_ENV_PREFIX - 1)

struct variable {
    char *name;
    char *value;           /* NULL: it is in `secret`, or was too large for one */
    struct secret *secret; /* NULL: it is in `value` */
};

struct config_env {
    struct variable *variable;
    size_t count;
};

/* Any name that is not a known, harmless key may be a misspelt secret. */
static bool may_be_secret(const struct config_key *key)
{
    return key == NULL || key->type == TYPE_SECRET || key->type == TYPE_HEADER ||
           key->type == TYPE_PROXY || key->type == TYPE_FORM;
}

static bool is_digits(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)text[i]))
            return false;
    }
    return len > 0;
}

/* For a Service with our name, Kubernetes sets ONESHOT_PROXY_SERVICE_HOST,
 * ONESHOT_PROXY_PORT=tcp://..., ONESHOT_PROXY_PORT_8080_TCP and the like in each pod. These
 * are not settings. */
static bool is_service_link(const char *variable, const char *value)
{
    const char *service = strstr(variable, "_SERVICE_HOST");
    const char *port = strstr(variable, "_PORT_");
    size_t len = strlen(variable);

    if (service != NULL && strcmp(service, "_SERVICE_HOST") == 0)
        return true;
    if (strstr(variable, "_SERVICE_PORT") != NULL)
        return true;
    if (len > 5 && strcmp(variable + len - 5, "_PORT") == 0)
        return strstr(value, "://") != NULL;
    if (port == NULL)
        return false;
    port += strlen("_PORT_");
    size_t digits = strcspn(port, "_");
    return is_digits(port, digits) &&
           (strncmp(port + digits, "_TCP", 4) == 0 || strncmp(port + digits, "_UDP", 4) == 0 ||
            strncmp(port + digits, "_SCTP", 5) == 0);
}

static void take(struct config_env *env, char *entry, char *equals)
{
    struct variable *more = realloc(env->variable, (env->count + 1) * sizeof *env->variable);
    char *value = equals + 1;

    if (more == NULL)
        abort();
    env->variable = more;

    struct variable *v = &more[env->count++];
    *v = (struct variable){ .name = NULL };
    config_string_set(&v->name, "%.*s", (int)(equals - entry), entry);
    if (may_be_secret(config_find_variable(v->name))) {
        v->secret = secret_new(value, strlen(value));
        secret_wipe(value, strlen(value));
        return;
    }
    config_string_set(&v->value, "%s", value);
}

struct config_env *config_env_take(char **environment)
{
    struct config_env *env = base_alloc(sizeof *env);
    char **keep = environment;

    for (char **entry = environment; entry != NULL && *entry != NULL; entry++) {
        char *equals = strchr(*entry, '=');

        if (equals == NULL || strncmp(*entry, CONFIG_ENV_PREFIX, PREFIX_LEN) != 0) {
            *keep++ = *entry;
            continue;
        }
        *equals = '\0';
        bool link = is_service_link(*entry, equals + 1);
        *equals = '=';
        if (!link)
            take(env, *entry, equals);
    }
    if (keep != NULL)
        *keep = NULL;
    return env;
}

void config_env_free(struct config_env *env)
{
    for (size_t i = 0; env != NULL && i < env->count; i++) {
        free(env->variable[i].name);
        free(env->variable[i].value);
        secret_free(env->variable[i].secret);
    }
    if (env != NULL)
        free(env->variable);
    free(env);
}

/* ONESHOT_PROXY_CALLER_<NAME>_<KEY>, whose section need not be in the file. NULL: it is no
 * such name. */
static const struct config_key *named_key(struct config *c, const char *variable)
{
    static const char prefix[] = CONFIG_ENV_PREFIX "CALLER_";
    char name[CALLER_NAME_MAX + 1], known[CONFIG_ENV_NAME_MAX];

    if (strncmp(variable, prefix, sizeof prefix - 1) != 0)
        return NULL;
    const char *rest = variable + sizeof prefix - 1;

    for (size_t i = config_single_count(); i < config_key_count; i++) {
        size_t key_len = strlen(config_keys[i].name) + 1, len = strlen(rest), n = 0;

        if (len <= key_len || len - key_len > CALLER_NAME_MAX ||
            strcasecmp(rest + len - key_len + 1, config_keys[i].name) != 0 ||
            rest[len - key_len] != '_')
            continue;
        for (; n < len - key_len; n++)
            name[n] = rest[n] == '_' ? '-' : (char)tolower((unsigned char)rest[n]);
        name[n] = '\0';
        if (!config_name_is_good(name) || !config_add_named(c, name))
            return NULL;
        for (size_t j = 0; j < c->named_count; j++) {
            config_variable(&c->named[j], known);
            if (strcmp(known, variable) == 0)
                return &c->named[j];
        }
    }
    return NULL;
}

static void apply(const struct variable *v, struct config *c, struct config_report *r)
{
    const struct config_key *key = config_find_variable(v->name);
    char why[CONFIG_WHY_MAX];

    if (key == NULL)
        key = named_key(c, v->name);

    if (key == NULL) {
        config_suggest_variable(v->name, why, sizeof why);
        config_fail_variable(r, v->name, "unknown variable; %s", why);
        return;
    }

    struct config_source *source = config_source(r, key);
    if (source->variable != NULL) {
        config_fail_variable(r, v->name, "is in the environment twice");
        return;
    }
    source->variable = v->name;
    source->wrong = false; /* an error in the file's value no longer matters */

    const char *value = v->secret != NULL ? secret_text(v->secret) : v->value;
    if (value == NULL)
        config_fail(r, key, "is too long; at most 64k");
    else if (config_value_set(c, key, value, why) != 0)
        config_fail(r, key, "%s", why);
    else
        config_check_text(r, key, value);
}

void config_env_apply(const struct config_env *env, struct config *c, struct config_report *r)
{
    for (size_t i = 0; env != NULL && i < env->count; i++)
        apply(&env->variable[i], c, r);
}

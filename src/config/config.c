/* The life of the settings, from loading to the last reference.
 *
 *     defaults -> file -> environment -> checks -> struct config, or every error
 */
#include "config/config.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "config/certificates.h"
#include "config/check.h"
#include "config/check_ledger.h"
#include "config/files.h"
#include "config/ini.h"
#include "config/outbound.h"
#include "config/store_url.h"
#include "config/url.h"
#include "config/value.h"
#include "net/trust_store.h"

static struct config *with_defaults(void)
{
    struct config *c = base_alloc(sizeof *c);
    char why[CONFIG_WHY_MAX];

    atomic_init(&c->refs, 1);
    for (size_t i = 0; i < config_single_count(); i++) {
        int rc = config_keys[i].fallback == NULL
                     ? 0
                     : config_value_set(c, &config_keys[i], config_keys[i].fallback, why);
        assert(rc == 0);
    }
    return c;
}

static bool has_tls(const struct config *c)
{
    return c->listen.tls_certificate != NULL;
}

/* A certificate can be replaced while running, but whether a listener uses TLS cannot
 * change. */
static bool needs_restart(const struct config_key *key, bool tls_differs)
{
    return key->applies == RESTART || (tls_differs && strncmp(key->name, "tls_", 4) == 0);
}

/* The same key in other settings, where a named section may be at another place. NULL: there
 * is no such section. */
static const struct config_key *same_key(const struct config *c, const struct config_key *key)
{
    return key->instance == 0 ? key : config_find_named(c, key->section, key->name);
}

/* Copies the values of keys that need a restart from `running` to c. */
static void keep_values(struct config *c, const struct config *running,
                        struct config_report *report)
{
    bool tls_differs = has_tls(running) != has_tls(c);

    for (size_t i = 0; i < config_keys_of(c); i++) {
        const struct config_key *key = config_key_at(c, i), *was = same_key(running, key);
        char why[CONFIG_WHY_MAX];
        struct buf text;

        if (!needs_restart(key, tls_differs) || was == NULL)
            continue;
        buf_init(&text, 1 << 20);
        int rc = config_value_print(running, was, &text);
        if (rc == 0)
            rc = config_value_set(c, key, buf_text(&text), why);
        else if (rc == -ENODATA)
            config_value_clear(c, key);
        if (rc != 0 && rc != -ENODATA)
            config_fail(report, key, "cannot be kept as it is");
        buf_done(&text);
    }
}

static struct config *if_sound(struct config *c, const struct config_report *report)
{
    if (report->errors == 0)
        return c;
    config_unref(c);
    return NULL;
}

/* Completes the settings as read. Returns NULL, with the reasons in the report, if they are
 * faulty. */
static struct config *finish(struct config *c, const struct config_env *env,
                             const struct config *keep, struct config_report *report)
{
    config_env_apply(env, c, report);
    if (keep != NULL)
        keep_values(c, keep, report);
    config_check(c, report, true);
    return if_sound(c, report);
}

/* Sockets are opened only once, at the start. */
static void keep_owners(struct config *c, const struct config *running)
{
    c->has_owners = running->has_owners;
    for (size_t i = 0; i < running->owners.count; i++)
        config_list_add(&c->owners, running->owners.item[i], strlen(running->owners.item[i]));
}

/* running: NULL at the start. keep: for keys that need a restart take the values of
 * `running`. */
static struct config *load_file(const char *file, const struct config_env *env,
                                const struct config *running, bool keep,
                                struct config_report *report)
{
    struct config *c = with_defaults();

    if (running != NULL)
        keep_owners(c, running);
    c->kept = keep;

    report->file = file;
    if (file != NULL) {
        config_string_set(&c->file, "%s", file);
        config_ini_read(c, report, file);
    }
    return finish(c, env, keep ? running : NULL, report);
}

struct config *config_load(const char *file, const struct config_env *env,
                           struct config_report *report)
{
    return load_file(file, env, NULL, false, report);
}

/* The settings as they are written, each value checked on its own only. */
static struct config *as_written(const char *file, const struct config_env *env,
                                 struct config_report *report)
{
    struct config *c = with_defaults();

    report->file = file;
    if (file != NULL) {
        config_string_set(&c->file, "%s", file);
        config_ini_read(c, report, file);
    }
    config_env_apply(env, c, report);
    return c;
}

struct config *config_load_rules(const char *file, const struct config_env *env,
                                 struct config_report *report)
{
    struct config *c = as_written(file, env, report);

    config_check(c, report, false);
    return if_sound(c, report);
}

struct config *config_load_text(const char *name, const char *text, size_t len,
                                struct config_report *report)
{
    struct config *c = with_defaults();

    report->file = name;
    config_ini_parse(c, report, text, len);
    return finish(c, NULL, NULL, report);
}

/* First reads the file as it stands, because it must also be good for the next start. If a
 * change needs a restart, reads it again and keeps the present values of those keys. */
struct config *config_reload(const struct config *running, const struct config_env *env,
                             struct config_reload_report *reload)
{
    struct config *c = load_file(running->file, env, running, false, &reload->report);

    if (c == NULL)
        return NULL;
    if (config_needs_restart(running, c, &reload->restart) == 0 &&
        buf_unread(&reload->restart) > 0) {
        struct config_report again;

        config_report_init(&again);
        config_unref(c);
        c = load_file(running->file, env, running, true, &again);
        /* the file has changed in between; its warnings were reported already */
        if (c == NULL) {
            config_report_done(&reload->report);
            reload->report = again;
        } else {
            config_report_done(&again);
        }
    }
    if (c != NULL) {
        rules_keep_counts(c->rules, running->rules);
        config_trust_since(c, running);
    }
    if (c != NULL && config_changes(running, c, &reload->changed) != 0)
        buf_clear(&reload->changed);
    return c;
}

/* A copy of the settings with its own certificates. */
static struct config *derive(struct config *running)
{
    struct config *c = base_alloc(sizeof *c);

    memcpy(c, running, offsetof(struct config, refs));
    atomic_init(&c->refs, 1);
    c->base = config_ref(running->base != NULL ? running->base : running);
    config_own_certificates(c);
    return c;
}

struct config *config_renew(struct config *running, struct config_reload_report *reload)
{
    struct config *c = derive(running);

    reload->report.file = running->file;
    config_load_certificates(c, &reload->report);
    config_trust_since(c, running);
    if (config_changes(running, c, &reload->changed) == 0 && buf_unread(&reload->changed) > 0)
        return c;
    config_unref(c);
    return NULL;
}

void config_reload_report_init(struct config_reload_report *r)
{
    config_report_init(&r->report);
    buf_init(&r->restart, 1 << 13);
    buf_init(&r->changed, 1 << 13);
}

void config_reload_report_done(struct config_reload_report *r)
{
    config_report_done(&r->report);
    buf_done(&r->restart);
    buf_done(&r->changed);
}

static char *copy_of(const char *text)
{
    char *copy = text == NULL ? NULL : strdup(text);

    if (text != NULL && copy == NULL)
        abort();
    return copy;
}

/* One string of the settings, whatever is wrong elsewhere. */
static char *only(const char *file, const struct config_env *env, const struct config_key *key,
                  struct config_report *report)
{
    struct config *c = as_written(file, env, report);
    char *text = NULL;

    if (!report->unread && config_sound(report, key))
        text = copy_of(*(char *const *)(const void *)((const char *)c + key->offset));
    config_unref(c);
    return text;
}

char *config_admin_address(const char *file, const struct config_env *env,
                           struct config_report *report)
{
    return only(file, env, config_find("admin", "address"), report);
}

/* For a command that can do nothing without that key. Often the settings of the proxy are in
 * a file that the command was not told of. */
static void fail_unset(struct config_report *report, const struct config_key *key)
{
    char variable[CONFIG_ENV_NAME_MAX];

    config_variable(key, variable);
    if (report->file == NULL)
        config_fail(report, key,
                    "is not set: no settings file was read, and there is no %s; name the file "
                    "of the proxy with --config FILE",
                    variable);
    else
        config_fail(report, key,
                    "is not set in %s, and there is no %s; if the proxy reads another file, "
                    "name that one with --config FILE",
                    report->file, variable);
}

char *config_freeze_file(const char *file, const struct config_env *env,
                         struct config_report *report)
{
    const struct config_key *key = config_find("freeze", "file");
    char *path = only(file, env, key, report);

    if (path == NULL && !report->unread && config_sound(report, key))
        fail_unset(report, key);
    return path;
}

static bool ledger_is_sound(const struct config *c, struct config_report *report)
{
    for (size_t i = 0; i < config_keys_of(c); i++) {
        const struct config_key *key = config_key_at(c, i);

        if (strcmp(key->section, "ledger") == 0 && !config_sound(report, key))
            return false;
    }
    return !report->unread;
}

struct config *config_load_ledger(const char *file, const struct config_env *env,
                                  struct config_report *report)
{
    struct config *c = as_written(file, env, report);

    if (ledger_is_sound(c, report)) {
        config_check_ledger(c, report);
        if (c->ledger.store == NULL)
            fail_unset(report, config_find("ledger", "store"));
        if (ledger_is_sound(c, report))
            return c;
    }
    config_unref(c);
    return NULL;
}

struct config *config_ref(struct config *c)
{
    (void)atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void config_unref(struct config *c)
{
    if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;

    config_clear_certificates(c);
    if (c->base != NULL) {
        config_unref(c->base);
        free(c);
        return;
    }
    for (size_t i = 0; i < config_keys_of(c); i++)
        config_value_clear(c, config_key_at(c, i));
    config_free_named(c);
    config_list_clear(&c->owners);
    rules_free(c->rules);
    config_list_clear(&c->listen.bound_hosts);
    free(c->upstream.scheme);
    free(c->upstream.authority);
    free(c->upstream.origin);
    free(c->upstream.base_path);
    free(c->file);
    free(c);
}

int64_t config_lease_ms(const struct config *c)
{
    return 2 * (c->upstream.connect_timeout_ms + c->upstream.response_timeout_ms) + 60000;
}

/* Appends ", section.key". */
static int name_key(struct buf *out, size_t before, const struct config_key *key)
{
    return buf_addf(out, "%s%s.%s", buf_unread(out) > before ? ", " : "", key->section,
                    key->name);
}

/* Compares what is not printed, and the contents of files if asked for. */
static bool hidden_differs(const struct config *a, const struct config *b,
                           const struct config_key *key, bool contents)
{
    if (key->instance != 0)
        return false;

    const void *x = (const char *)a + key->offset, *y = (const char *)b + key->offset;

    if (key->type == TYPE_SECRET)
        return !secret_equal(*(struct secret *const *)x, *(struct secret *const *)y);
    if (key->type == TYPE_PROXY || key->type == TYPE_FORM)
        return !base_same_text(*(char *const *)x, *(char *const *)y);
    if (key->type == TYPE_HEADER)
        return !base_same_text(a->listen.require_header_value, b->listen.require_header_value);
    return contents && config_contents_differ(a, b, key);
}

/* If only one of them has a named section, it differs in the keys that are set there. */
static bool differs(const struct config *a, const struct config *b,
                    const struct config_key *key, bool contents, int *rc)
{
    struct buf texts[2];
    bool differ;

    for (size_t i = 0; i < 2; i++) {
        const struct config *c = i == 0 ? a : b;
        const struct config_key *mine = same_key(c, key);

        buf_init(&texts[i], 1 << 20);
        int printed = mine == NULL ? -ENODATA : config_value_print(c, mine, &texts[i]);
        if (printed != 0 && printed != -ENODATA)
            *rc = printed;
    }
    differ = strcmp(buf_text(&texts[0]), buf_text(&texts[1])) != 0;
    buf_done(&texts[0]);
    buf_done(&texts[1]);
    return differ || hidden_differs(a, b, key, contents);
}

/* Appends the names of keys that differ: those of b, then those of sections that b no longer
 * has. The content of a file never needs a restart. */
static int name_differing(const struct config *a, const struct config *b, bool only_restart,
                          struct buf *out)
{
    size_t before = buf_unread(out);
    bool tls_differs = has_tls(a) != has_tls(b);
    int rc = 0;

    for (size_t i = 0; i < config_keys_of(b) + a->named_count && rc == 0; i++) {
        bool is_gone = i >= config_keys_of(b);
        const struct config_key *key =
            is_gone ? &a->named[i - config_keys_of(b)] : config_key_at(b, i);

        if (is_gone && same_key(b, key) != NULL)
            continue;
        if ((!only_restart || needs_restart(key, tls_differs)) &&
            differs(a, b, key, !only_restart, &rc) && rc == 0)
            rc = name_key(out, before, key);
    }
    return rc;
}

int config_needs_restart(const struct config *a, const struct config *b, struct buf *out)
{
    return name_differing(a, b, true, out);
}

int config_changes(const struct config *a, const struct config *b, struct buf *out)
{
    size_t before = buf_unread(out);
    int rc = name_differing(a, b, false, out);

    if (rc == 0 && config_trust_differs(a, b))
        rc = buf_addf(out, "%sthe system's trust store", buf_unread(out) > before ? ", " : "");
    return rc;
}

/* --- files and connections that these settings need --- */

void config_each_file(const struct config *c, void (*visit)(const char *path, void *arg),
                      void *arg)
{
    if (c->file != NULL)
        visit(c->file, arg);
    for (size_t i = 0; i < config_keys_of(c); i++) {
        const struct config_key *key = config_key_at(c, i);
        char *path;

        if (key->type != TYPE_PATH && key->type != TYPE_KEY_FILE)
            continue;
        memcpy(&path, (const char *)c + key->offset, sizeof path);
        if (path != NULL)
            visit(path, arg);
    }
    if (c->freeze.file != NULL)
        visit(c->freeze.file, arg);
}

void config_each_watched(const struct config *c, void (*visit)(const char *path, void *arg),
                         void *arg)
{
    const char *file, *directory;

    for (size_t i = 0; i < config_keys_of(c); i++) {
        const struct config_key *key = config_key_at(c, i);
        const char *path;

        if (key->instance != 0 || (key->type != TYPE_PATH && key->type != TYPE_KEY_FILE))
            continue;
        memcpy(&path, (const char *)c + key->offset, sizeof path);
        if (path != NULL)
            visit(path, arg);
    }
    trust_store_find(&file, &directory);
    if (file != NULL)
        visit(file, arg);
    else if (directory != NULL)
        visit(directory, arg);
}

typedef void visit_port(const char *key, int port, void *arg);

static void each_proxy_port(const char *key, const char *proxy, visit_port *visit, void *arg)
{
    if (strcmp(proxy, "none") == 0)
        return;
    if (strcmp(proxy, "env") != 0) {
        visit(key, config_proxy_port(proxy, NULL), arg);
        return;
    }
    /* Which of these variables counts is decided by libcurl. */
    for (size_t i = 0; i < CONFIG_PROXY_VARIABLES; i++) {
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): the environment does not change any more */
        const char *value = getenv(config_proxy_variables[i].name);

        if (value != NULL && *value != '\0')
            visit(key, config_proxy_port(value, NULL), arg);
    }
}

static void each_url_port(const char *key, const char *text, visit_port *visit, void *arg)
{
    struct config_url url;

    if (config_url_split(text, &url) == NULL)
        visit(key, url.port, arg);
}

static void each_store_port(const char *key, const char *text,
                            void (*visit)(const char *key, int port, void *arg), void *arg)
{
    struct config_store_url url;

    if (config_store_url_split(text == NULL ? "" : text, &url) != NULL)
        return;
    for (size_t i = 0; i < url.hosts; i++)
        if (url.host[i].name[0] != '/')
            visit(key, url.host[i].port, arg);
}

void config_each_port(const struct config *c,
                      void (*visit)(const char *key, int port, void *arg), void *arg)
{
    each_url_port("upstream.base_url", c->upstream.base_url, visit, arg);
    each_url_port(c->token.url_key, c->token.url, visit, arg);
    each_proxy_port("upstream.proxy", c->upstream.proxy, visit, arg);
    each_proxy_port(c->token.proxy_key, c->token.proxy, visit, arg);
    each_store_port("ledger.store", c->ledger.store, visit, arg);
}

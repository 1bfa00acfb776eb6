/* One snapshot of the settings: its life, from loading to the last reference.
 *
 *     defaults -> file -> environment -> checks -> struct config, or every error
 */
#include "config/config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "config/check.h"
#include "config/ini.h"
#include "config/value.h"

#define MESSAGE_MAX 2048

/* A full buffer loses the line; the error is counted all the same. */
static void say(struct buf *out, const char *where, int line, const struct config_key *key,
                const char *message)
{
    char number[16] = "", name[64] = "";

    if (line > 0)
        (void)snprintf(number, sizeof number, ":%d", line);
    if (key != NULL)
        (void)snprintf(name, sizeof name, "%s.%s: ", key->section, key->name);
    if (buf_addf(out, "%s%s: %s%s\n", where, number, name, message) != 0)
        return;
}

static void say_key(struct config_load *load, struct buf *out, const struct config_key *key,
                    const char *message)
{
    const struct config_source *source = config_source(load, key);

    if (source->variable != NULL)
        say(out, source->variable, 0, key, message);
    else
        say(out, load->file != NULL ? load->file : "configuration", source->line, key, message);
}

#define FORMAT(message, fmt)                                 \
    do {                                                     \
        va_list args;                                        \
        va_start(args, fmt);                                 \
        (void)vsnprintf(message, sizeof message, fmt, args); \
        va_end(args);                                        \
    } while (0)

void config_fail(struct config_load *load, const struct config_key *key, const char *fmt, ...)
{
    char message[MESSAGE_MAX];

    FORMAT(message, fmt);
    config_source(load, key)->wrong = true;
    load->error_count++;
    say_key(load, load->errors, key, message);
}

void config_warn(struct config_load *load, const struct config_key *key, const char *fmt, ...)
{
    char message[MESSAGE_MAX];

    FORMAT(message, fmt);
    say_key(load, load->warnings, key, message);
}

void config_fail_line(struct config_load *load, int line, const char *fmt, ...)
{
    char message[MESSAGE_MAX];

    FORMAT(message, fmt);
    load->error_count++;
    say(load->errors, load->file, line, NULL, message);
}

void config_fail_variable(struct config_load *load, const char *variable, const char *fmt, ...)
{
    char message[MESSAGE_MAX];

    FORMAT(message, fmt);
    load->error_count++;
    say(load->errors, variable, 0, NULL, message);
}

struct config_source *config_source(struct config_load *load, const struct config_key *key)
{
    return &load->source[key - config_keys];
}

bool config_given(struct config_load *load, const struct config_key *key)
{
    const struct config_source *source = config_source(load, key);

    return source->line != 0 || source->variable != NULL;
}

bool config_sound(struct config_load *load, const struct config_key *key)
{
    return !config_source(load, key)->wrong;
}

static struct config *with_defaults(void)
{
    struct config *c = base_alloc(sizeof *c);
    char why[CONFIG_WHY_MAX];

    atomic_init(&c->refs, 1);
    for (size_t i = 0; i < config_key_count; i++) {
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

/* A certificate can be exchanged while running, but a listener is born with TLS or without. */
static bool needs_restart(const struct config_key *key, bool tls_differs)
{
    return key->applies == RESTART || (tls_differs && strncmp(key->name, "tls_", 4) == 0);
}

static void keep_values(struct config_load *load)
{
    bool tls_differs = has_tls(load->keep) != has_tls(load->config);

    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        char why[CONFIG_WHY_MAX];
        struct buf text;

        if (!needs_restart(key, tls_differs))
            continue;
        buf_init(&text, 1 << 20);
        int rc = config_value_print(load->keep, key, &text);
        if (rc == 0)
            rc = config_value_set(load->config, key, buf_text(&text), why);
        else if (rc == -ENODATA)
            config_value_clear(load->config, key);
        if (rc != 0 && rc != -ENODATA)
            config_fail(load, key, "cannot be kept as it is");
        buf_done(&text);
    }
}

static struct config *finish(struct config_load *load, const struct config_env *env)
{
    config_env_apply(load, env);
    if (load->keep != NULL)
        keep_values(load);
    config_check(load);
    if (load->error_count > 0) {
        config_unref(load->config);
        return NULL;
    }
    return load->config;
}

static struct config *load_file(const char *file, const struct config_env *env,
                                const struct config *keep, struct buf *errors,
                                struct buf *warnings)
{
    struct config_load load = { .config = with_defaults(),
                                .file = file,
                                .errors = errors,
                                .warnings = warnings,
                                .keep = keep };

    if (file != NULL) {
        config_string_set(&load.config->file, "%s", file);
        config_file_read(&load);
    }
    return finish(&load, env);
}

struct config *config_load(const char *file, const struct config_env *env, struct buf *errors,
                           struct buf *warnings)
{
    return load_file(file, env, NULL, errors, warnings);
}

/* First as the file stands, since it must be good for the next start too; then, when something
 * in it has to wait for that, once more with those values as they are. */
struct config *config_reload(const struct config *running, const struct config_env *env,
                             struct config_reload_report *report)
{
    struct config *c = load_file(running->file, env, NULL, &report->errors, &report->warnings);

    if (c == NULL)
        return NULL;
    if (config_needs_restart(running, c, &report->restart) == 0 &&
        buf_unread(&report->restart) > 0) {
        struct buf said;

        buf_init(&said, 1 << 16);
        config_unref(c);
        c = load_file(running->file, env, running, &report->errors, &said);
        buf_done(&said);
    }
    if (c != NULL && config_changes(running, c, &report->changed) != 0)
        buf_clear(&report->changed);
    return c;
}

void config_reload_report_init(struct config_reload_report *r)
{
    buf_init(&r->errors, 1 << 16);
    buf_init(&r->warnings, 1 << 16);
    buf_init(&r->restart, 1 << 13);
    buf_init(&r->changed, 1 << 13);
}

void config_reload_report_done(struct config_reload_report *r)
{
    buf_done(&r->errors);
    buf_done(&r->warnings);
    buf_done(&r->restart);
    buf_done(&r->changed);
}

char *config_admin_address(const char *file, const struct config_env *env, struct buf *errors)
{
    struct buf warnings;
    char *address = NULL;

    buf_init(&warnings, 1 << 16);
    struct config_load load = {
        .config = with_defaults(), .file = file, .errors = errors, .warnings = &warnings
    };
    if (file != NULL)
        config_file_read(&load);
    config_env_apply(&load, env);
    if (!load.unread && config_sound(&load, config_find("admin", "address")))
        address = strdup(load.config->admin.address);
    config_unref(load.config);
    buf_done(&warnings);
    return address;
}

struct config *config_load_text(const char *name, const char *text, size_t len,
                                struct buf *errors, struct buf *warnings)
{
    struct config_load load = {
        .config = with_defaults(), .file = name, .errors = errors, .warnings = warnings
    };

    config_file_parse(&load, text, len);
    return finish(&load, NULL);
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

    for (size_t i = 0; i < config_key_count; i++)
        config_value_clear(c, &config_keys[i]);
    config_pem_clear(c);
    tls_unref(c->listen.tls);
    free(c->upstream.scheme);
    free(c->upstream.authority);
    free(c->upstream.origin);
    free(c->upstream.base_path);
    free(c->file);
    free(c);
}

/* Appends ", section.key". */
static int name_key(struct buf *out, size_t before, const struct config_key *key)
{
    return buf_addf(out, "%s%s.%s", buf_unread(out) > before ? ", " : "", key->section,
                    key->name);
}

static bool text_differs(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a != b : strcmp(a, b) != 0;
}

/* What is not printed is compared as it is. */
static bool hidden_differs(const struct config *a, const struct config *b,
                           const struct config_key *key)
{
    const void *x = (const char *)a + key->offset, *y = (const char *)b + key->offset;

    if (key->type == TYPE_SECRET)
        return !secret_equal(*(struct secret *const *)x, *(struct secret *const *)y);
    if (key->type == TYPE_PROXY)
        return text_differs(*(char *const *)x, *(char *const *)y);
    if (key->type == TYPE_HEADER)
        return text_differs(a->listen.require_header_value, b->listen.require_header_value);
    return config_tls_differs(a, b, key) || config_pem_differs(a, b, key);
}

static bool differs(const struct config *a, const struct config *b,
                    const struct config_key *key, int *rc)
{
    struct buf texts[2];
    bool differ;

    for (size_t i = 0; i < 2; i++) {
        buf_init(&texts[i], 1 << 20);
        int printed = config_value_print(i == 0 ? a : b, key, &texts[i]);
        if (printed != 0 && printed != -ENODATA)
            *rc = printed;
    }
    differ = strcmp(buf_text(&texts[0]), buf_text(&texts[1])) != 0;
    buf_done(&texts[0]);
    buf_done(&texts[1]);
    return differ || hidden_differs(a, b, key);
}

int config_needs_restart(const struct config *a, const struct config *b, struct buf *out)
{
    size_t before = buf_unread(out);
    int rc = 0;

    for (size_t i = 0; i < config_key_count && rc == 0; i++) {
        const struct config_key *key = &config_keys[i];

        if (needs_restart(key, has_tls(a) != has_tls(b)) && differs(a, b, key, &rc) && rc == 0)
            rc = name_key(out, before, key);
    }
    return rc;
}

int config_changes(const struct config *a, const struct config *b, struct buf *out)
{
    size_t before = buf_unread(out);
    int rc = 0;

    for (size_t i = 0; i < config_key_count && rc == 0; i++) {
        const struct config_key *key = &config_keys[i];
        if (differs(a, b, key, &rc) && rc == 0)
            rc = name_key(out, before, key);
    }
    return rc;
}

struct secret *config_read_secret_file(const char *path, struct buf *errors)
{
    char why[256] = "";
    size_t len = 0;
    struct secret *s = NULL;
    /* the line end does not count */
    char *text = config_slurp(path, (64 << 10) + 2, &len, why, sizeof why);
    size_t n = len;

    if (n > 0 && text != NULL && text[n - 1] == '\n')
        n -= n > 1 && text[n - 2] == '\r' ? 2 : 1;
    if (text != NULL && n == 0)
        (void)snprintf(why, sizeof why, "is empty");
    else if (text != NULL && memchr(text, '\0', n) != NULL)
        (void)snprintf(why, sizeof why, "has a NUL byte; it must be plain text (UTF-8)");
    else if (text != NULL && (s = secret_new(text, n)) == NULL)
        (void)snprintf(why, sizeof why, "is too large; at most 64 KiB");
    config_slurp_free(text, len);
    if (s == NULL && buf_addf(errors, "%s: %s", path, why) != 0)
        return NULL;
    return s;
}

int config_credentials(const struct config *c, char **id, struct secret **secret,
                       struct buf *errors)
{
    struct secret *new_id = NULL, *new_secret = NULL;
    int rc = 0;

    if (c->token.client_id_file != NULL)
        new_id = config_read_secret_file(c->token.client_id_file, errors);
    if (c->token.client_secret_file != NULL)
        new_secret = config_read_secret_file(c->token.client_secret_file, errors);
    if ((c->token.client_id_file != NULL && new_id == NULL) ||
        (c->token.client_secret_file != NULL && new_secret == NULL)) {
        /* one new and one old would be refused */
        secret_free(new_id);
        secret_free(new_secret);
        new_id = new_secret = NULL;
        rc = -EIO;
    }
    *id = strdup(new_id != NULL ? secret_text(new_id) : c->token.client_id);
    secret_free(new_id);
    *secret = new_secret != NULL ? new_secret
                                 : secret_new(secret_text(c->token.client_secret),
                                              secret_len(c->token.client_secret));
    if (*id == NULL || *secret == NULL)
        abort();
    return rc;
}

/* The checks of [ledger]: the store's URL, where keys are found, statuses, and times that
 * must fit together. Whether the store itself works is checked when it is opened. */
#include "config/check_ledger.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "config/store_url.h"
#include "config/value.h"

struct check {
    struct config *config;
    struct config_report *report;
};

#define KEY(name) config_find("ledger", #name)

/* With ".sock" added, the path must fit into the address of a unix socket. */
#define PATH_MAX_BYTES 102

static const char sqlite[] = "sqlite:", body[] = "body:";

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static void check_sqlite(struct check *k, const char *path)
{
    size_t len = strlen(path);
    struct stat st;

    if (path[0] != '/' || path[len - 1] == '/') {
        config_fail(k->report, KEY(store),
                    "has no absolute path of a file; allowed: sqlite:/path/to/file");
        return;
    }
    if (len > PATH_MAX_BYTES) {
        config_fail(
            k->report, KEY(store),
            "has a path of %zu bytes; allowed: up to %d, since the socket beside it has "
            "a longer name",
            len, PATH_MAX_BYTES);
        return;
    }
    if (stat(path, &st) != 0)
        config_warn(k->report, KEY(store),
                    "%s cannot be seen (%s), and is never made by itself: oneshot-proxy ledger "
                    "init makes it",
                    path, strerrordesc_np(errno));
}

/* Messages repeat nothing of the URL: it may contain a password. */
static void check_postgresql(struct check *k, const char *text)
{
    static const char form[] = "postgresql://user@host[:port][,host]/database";
    struct config_store_url url;
    const char *wrong = config_store_url_split(text, &url);

    if (wrong != NULL) {
        config_fail(k->report, KEY(store), "%s; allowed: %s", wrong, form);
        return;
    }
    for (size_t i = 0; i < url.hosts; i++)
        if (url.host[i].name[0] == '/' && k->config->process.sandbox != SANDBOX_OFF)
            config_fail(k->report, KEY(store),
                        "leads to a unix socket, which the sandbox forbids; allowed: a host, "
                        "or process.sandbox = off");
}

static void check_store(struct check *k)
{
    const struct config *c = k->config;
    const char *store = c->ledger.store;

    if (begins(store, sqlite))
        check_sqlite(k, store + strlen(sqlite));
    else if (config_store_url_is(store))
        check_postgresql(k, store);
    else
        config_fail(k->report, KEY(store),
                    "is no store; allowed: sqlite:/path, or postgresql://user@host/database");
    if (config_store_url_is(store))
        return;
    if (c->ledger.store_password_file != NULL)
        config_fail(k->report, KEY(store_password_file), "is for postgresql:// only");
    if (c->ledger.store_ca_file != NULL)
        config_fail(k->report, KEY(store_ca_file), "is for postgresql:// only");
}

/* RFC 6901 section 3: each part begins with a slash, and ~ appears only as ~0 or ~1. */
static bool is_pointer(const char *text)
{
    if (text[0] != '/' || text[1] == '\0')
        return false;
    for (const char *p = text; *p != '\0'; p++)
        if (*p == '~' && p[1] != '0' && p[1] != '1')
            return false;
    return true;
}

static void check_keys(struct check *k)
{
    struct config *c = k->config;
    char quoted[64];

    for (size_t i = 0; i < c->ledger.keys.count; i++) {
        const char *text = c->ledger.keys.item[i];

        if (strcmp(text, "header") == 0 && !c->ledger.key_in_header)
            c->ledger.key_in_header = true;
        else if (begins(text, body) && is_pointer(text + strlen(body)) &&
                 c->ledger.key_pointer == NULL)
            c->ledger.key_pointer = text + strlen(body);
        else
            config_fail(k->report, KEY(keys),
                        "%s is not allowed; allowed: header, and one body:/pointer",
                        config_quote(text, quoted));
    }
    if (strchr(c->ledger.body_key_prefix, ' ') != NULL)
        config_fail(k->report, KEY(body_key_prefix),
                    "has a blank, which ends a key; allowed: a prefix without blanks");
}

static void check_statuses(struct check *k)
{
    const struct config_statuses *s = &k->config->ledger.release_statuses;

    for (size_t i = 0; i < s->count; i++)
        if (s->item[i] == 408 || s->item[i] == 409 || (s->item[i] >= 500 && s->item[i] != 503))
            config_fail(k->report, KEY(release_statuses),
                        "%d does not prove that nothing was carried out; allowed: 4xx but 407, "
                        "408 and 409, and 503",
                        (int)s->item[i]);
    for (size_t i = 0; i < s->count; i++)
        if (s->item[i] == 503)
            config_warn(k->report, KEY(release_statuses),
                        "has 503: make sure that the upstream never says so of a request that "
                        "it has begun to carry out");
}

static void check_times(struct check *k)
{
    const struct config *c = k->config;

    if (config_sound(k->report, KEY(keep_keys)) && config_sound(k->report, KEY(keep_answers)) &&
        c->ledger.keep_keys_ms < c->ledger.keep_answers_ms)
        config_fail(k->report, KEY(keep_keys),
                    "is shorter than ledger.keep_answers; allowed: at least as long");
}

/* A setting that demands records is an error without a store to keep them. */
static void check_without_store(struct check *k)
{
    const struct config *c = k->config;

    if (c->ledger.require_key != WHICH_NONE)
        config_fail(k->report, KEY(require_key), "needs ledger.store as well");
    if (c->ledger.journal != WHICH_NONE)
        config_fail(k->report, KEY(journal), "needs ledger.store as well");
    for (size_t i = 0; i < config_keys_of(c); i++) {
        const struct config_key *key = config_key_at(c, i);

        if (strcmp(key->section, "ledger") == 0 && key != KEY(store) &&
            config_given(k->report, key) && config_sound(k->report, key)) {
            config_warn(k->report, key, "does nothing without ledger.store");
            return;
        }
    }
}

void config_check_ledger(struct config *c, struct config_report *report)
{
    struct check k = { .config = c, .report = report };

    check_keys(&k);
    check_statuses(&k);
    check_times(&k);
    if (c->ledger.store != NULL)
        classes_init(&c->ledger.classes, CLASS_TABLE_1SHOT);
    if (c->ledger.store != NULL)
        check_store(&k);
    else
        check_without_store(&k);
}

/* The checks that need more than one value, or a look outside the file. */
#include "config/check.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config/url.h"
#include "config/value.h"

static void lower(char *text)
{
    for (; *text != '\0'; text++)
        *text = (char)tolower((unsigned char)*text);
}

/* --- listen and admin --- */

#define ADDRESS_ALLOWED                                                                    \
    "allowed: host:port, [v6]:port, or unix:/path of at most 107 bytes; a host is a name " \
    "or an address, such as 127.0.0.1 or 0.0.0.0"

static bool same_address(const struct config_address *a, const struct config_address *b)
{
    if (a->unix_path != NULL || b->unix_path != NULL)
        return a->unix_path != NULL && b->unix_path != NULL &&
               strcmp(a->unix_path, b->unix_path) == 0;
    /* port 0 takes another free port each time */
    return a->port != 0 && a->port == b->port && strcmp(a->host, b->host) == 0;
}

static bool is_open(const struct config_address *a)
{
    return a->unix_path == NULL && !config_is_loopback(a->host);
}

static void add_allowed_host(struct config *c, const struct config_address *a)
{
    char host[260];

    if (a->unix_path != NULL || strcmp(a->host, "0.0.0.0") == 0 || strcmp(a->host, "::") == 0)
        return;
    (void)snprintf(host, sizeof host, a->v6 ? "[%s]" : "%s", a->host);
    for (size_t i = 0; i < c->listen.allowed_hosts.count; i++) {
        if (strcmp(c->listen.allowed_hosts.item[i], host) == 0)
            return;
    }
    config_list_add(&c->listen.allowed_hosts, host, strlen(host));
}

static void check_listen_address(struct config_load *load)
{
    const struct config_key *key = KEY(listen, address);
    const struct config_list *list = &load->config->listen.address;
    struct config_address a, b;
    char quoted[64];
    const char *open = NULL;

    for (size_t i = 0; i < list->count; i++) {
        if (!config_address_split(list->item[i], &a)) {
            config_fail(load, key, "%s is not an address; " ADDRESS_ALLOWED,
                        config_quote(list->item[i], quoted));
            continue;
        }
        for (size_t j = 0; j < i; j++) {
            if (config_address_split(list->item[j], &b) && same_address(&a, &b))
                config_fail(load, key, "%s is there twice",
                            config_quote(list->item[i], quoted));
        }
        add_allowed_host(load->config, &a);
        if (is_open(&a) && open == NULL)
            open = list->item[i];
    }
    if (open != NULL)
        config_warn(
            load, key,
            "%s is not a loopback address: whoever reaches it acts with the credentials",
            config_quote(open, quoted));
}

static void check_admin_address(struct config_load *load)
{
    const struct config_key *key = KEY(admin, address);
    const char *text = load->config->admin.address;
    const struct config_list *list = &load->config->listen.address;
    struct config_address a, b;
    char quoted[64];

    if (strcmp(text, "off") == 0)
        return;
    if (!config_address_split(text, &a)) {
        config_fail(load, key, "%s is not an address; " ADDRESS_ALLOWED "; or off",
                    config_quote(text, quoted));
        return;
    }
    for (size_t i = 0; i < list->count; i++) {
        if (config_address_split(list->item[i], &b) && same_address(&a, &b))
            config_fail(load, key, "%s is in listen.address as well; it needs one of its own",
                        config_quote(text, quoted));
    }
    if (is_open(&a))
        config_warn(load, key,
                    "%s is not a loopback address: whoever reaches it sees status and metrics",
                    config_quote(text, quoted));
}

/* "*", or a host, with a port or ":*" behind it. */
static bool is_allowed_host(const char *text)
{
    struct config_address a;
    size_t len = strlen(text);

    if (strcmp(text, "*") == 0 || config_is_host(text, len))
        return true;
    if (len > 2 && strcmp(text + len - 2, ":*") == 0)
        return config_is_host(text, len - 2);
    return strncmp(text, "unix:", 5) != 0 && config_address_split(text, &a);
}

static bool is_origin(const char *text)
{
    const char *rest = strstr(text, "://");

    if (strcmp(text, "*") == 0 || strcmp(text, "null") == 0)
        return true;
    return rest != NULL && config_is_token(text, (size_t)(rest - text)) && rest[3] != '\0' &&
           strpbrk(rest + 3, "/?#@\\ \t") == NULL;
}

static void check_items(struct config_load *load, const struct config_key *key,
                        struct config_list *list, bool (*is_right)(const char *),
                        const char *allowed)
{
    char quoted[64];

    for (size_t i = 0; i < list->count; i++) {
        lower(list->item[i]);
        if (!is_right(list->item[i]))
            config_fail(load, key, "%s is not allowed; allowed: %s",
                        config_quote(list->item[i], quoted), allowed);
    }
}

static void check_client_key(struct config_load *load)
{
    struct config *c = load->config;

    if (c->upstream.client_key != NULL && c->upstream.client_certificate == NULL)
        config_fail(load, KEY(upstream, client_key),
                    "needs upstream.client_certificate as well");
}

static void check_required_header(struct config_load *load)
{
    static const char *const never[] = { "Host", "Connection", "Content-Length",
                                         "Transfer-Encoding" };
    const char *name = load->config->listen.require_header_name;

    for (size_t i = 0; name != NULL && i < ARRAY_LEN(never); i++) {
        if (strcasecmp(name, never[i]) == 0)
            config_fail(load, KEY(listen, require_header),
                        "%s belongs to HTTP itself; use a header of your own, such as "
                        "X-Proxy-Key",
                        never[i]);
    }
}

/* --- files and credentials --- */

static void check_files(struct config_load *load)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        unsigned mode = 0;

        if ((key->type != TYPE_PATH && key->type != TYPE_KEY_FILE) ||
            !config_given(load, key) || !config_sound(load, key))
            continue;

        char *path;
        memcpy(&path, (char *)load->config + key->offset, sizeof path);
        if (path == NULL)
            continue;
        int rc = config_file_mode(path, &mode);
        if (rc != 0)
            config_fail(load, key, "%s: cannot be read: %s", path, config_file_reason(-rc));
        else if (key->type == TYPE_KEY_FILE && (mode & 0007) != 0)
            config_warn(load, key,
                        "%s can be read by every user of this machine (mode %04o); 0600 or "
                        "0640 is enough",
                        path, mode);
    }
}

static void fail_missing(struct config_load *load, const struct config_key *key,
                         const struct config_key *file_key)
{
    char variable[CONFIG_ENV_NAME_MAX];

    config_variable(key, variable);
    if (!load->unread)
        config_fail(load, key, "is required; allowed: it or %s.%s, in the file or as %s",
                    file_key->section, file_key->name, variable);
}

/* Of a pair of which one is allowed: the environment wins over the file, else it is an error.
 */
static void check_pair(struct config_load *load, const struct config_key *key,
                       const struct config_key *file_key)
{
    bool by_env = config_source(load, key)->variable != NULL;
    bool file_by_env = config_source(load, file_key)->variable != NULL;

    if (!config_given(load, key) && !config_given(load, file_key))
        fail_missing(load, key, file_key);
    if (!config_given(load, key) || !config_given(load, file_key))
        return;
    if (by_env == file_by_env)
        config_fail(load, key, "is given as well as %s.%s; only one of them is allowed",
                    file_key->section, file_key->name);
    else
        config_value_clear(load->config, by_env ? file_key : key);
}

static struct secret *read_credential(struct config_load *load, const struct config_key *key,
                                      const char *path)
{
    struct buf why;

    buf_init(&why, 1024);
    struct secret *s = config_read_secret_file(path, &why);
    if (s == NULL)
        config_fail(load, key, "%s", buf_text(&why));
    buf_done(&why);
    return s;
}

static void check_credentials(struct config_load *load)
{
    struct config *c = load->config;
    const struct config_key *id_file = KEY(token, client_id_file);
    const struct config_key *secret_file = KEY(token, client_secret_file);

    check_pair(load, KEY(token, client_id), id_file);
    check_pair(load, KEY(token, client_secret), secret_file);
    if (c->token.client_id_file != NULL && config_sound(load, id_file)) {
        struct secret *s = read_credential(load, id_file, c->token.client_id_file);
        if (s != NULL)
            config_string_set(&c->token.client_id, "%s", secret_text(s));
        secret_free(s);
    }
    if (c->token.client_secret_file != NULL && config_sound(load, secret_file)) {
        secret_free(c->token.client_secret);
        c->token.client_secret =
            read_credential(load, secret_file, c->token.client_secret_file);
    }
}

static void check_retries(struct config_load *load)
{
    const struct config_key *least = KEY(token, retry_min), *most = KEY(token, retry_max);

    if (config_sound(load, least) && config_sound(load, most) &&
        load->config->token.retry_min_ms > load->config->token.retry_max_ms)
        config_fail(load, config_given(load, least) ? least : most,
                    "token.retry_min is longer than token.retry_max (%" PRId64 "ms, %" PRId64
                    "ms); allowed: at most as long",
                    load->config->token.retry_min_ms, load->config->token.retry_max_ms);
}

static void check_drain(struct config_load *load)
{
    const struct config_key *delay = KEY(process, drain_delay);
    const struct config_key *timeout = KEY(process, drain_timeout);

    if (config_sound(load, delay) && config_sound(load, timeout) &&
        load->config->process.drain_delay_ms > load->config->process.drain_timeout_ms)
        config_fail(
            load, config_given(load, delay) ? delay : timeout,
            "process.drain_delay is longer than process.drain_timeout, which counts from "
            "the signal too (%" PRId64 "ms, %" PRId64 "ms); allowed: at most as long",
            load->config->process.drain_delay_ms, load->config->process.drain_timeout_ms);
}

void config_check(struct config_load *load)
{
    struct config *c = load->config;

    if (config_sound(load, KEY(listen, allowed_hosts)))
        check_items(load, KEY(listen, allowed_hosts), &c->listen.allowed_hosts, is_allowed_host,
                    "name, name:port, name:*, [v6]:port or *");
    check_items(load, KEY(listen, allowed_origins), &c->listen.allowed_origins, is_origin,
                "scheme://host[:port] with nothing behind it, null or *");
    if (config_sound(load, KEY(listen, address)))
        check_listen_address(load);
    if (config_sound(load, KEY(admin, address)))
        check_admin_address(load);
    check_client_key(load);
    check_required_header(load);
    config_check_urls(load);
    check_files(load);
    config_check_pem(load);
    config_check_tls(load);
    check_credentials(load);
    check_retries(load);
    check_drain(load);
}

/* The checks that need more than one value, or look at files. They also fill in what follows
 * from other settings: origin, base path, token.url, allowed hosts, the contents of files. */
#include "config/check.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "config/certificates.h"
#include "config/check_ledger.h"
#include "config/check_rights.h"
#include "config/files.h"
#include "config/outbound.h"
#include "config/url.h"
#include "config/value.h"

struct check {
    struct config *config;
    struct config_report *report;
};

#define KEY(section, name) config_find(#section, #name)

/* --- the text of one value --- */

static bool begins_with_placeholder(const char *text)
{
    static const char *const words[] = { "change-me",   "change_me",   "changeme",
                                         "replace-me",  "replace_me",  "your-client",
                                         "your_client", "your-secret", "your_secret" };

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strncasecmp(text, words[i], strlen(words[i])) == 0)
            return true;
    return false;
}

/* Texts in examples that people forget to replace. They begin a word: "exchange-merchant" has
 * none. */
static bool is_placeholder(const char *text)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++) {
        bool begins_word =
            i == 0 || !(ascii_is_alpha(text[i - 1]) || ascii_is_digit(text[i - 1]));

        if (begins_word && begins_with_placeholder(text + i))
            return true;
    }
    return len > 2 && text[0] == '<' && text[len - 1] == '>';
}

static void check_credential_text(struct config_report *r, const struct config_key *key,
                                  const char *text)
{
    size_t len = strlen(text);

    if (is_placeholder(text))
        config_warn(r, key, "looks like the placeholder of an example; put the real value in");
    if (text[0] == ' ' || (len > 0 && text[len - 1] == ' '))
        config_warn(r, key, "has a blank at its %s, which is taken as part of it",
                    text[0] == ' ' ? "beginning" : "end");
}

void config_check_text(struct config_report *r, const struct config_key *key, const char *text)
{
    size_t len = strlen(text);

    if (len >= 2 && (text[0] == '"' || text[0] == '\'') && text[len - 1] == text[0])
        config_warn(r, key, "the quotes around it are taken as part of the value");
    if (strstr(text, " #") != NULL || strstr(text, " ;") != NULL)
        config_warn(
            r, key,
            "\" %c\" and what follows are taken as part of the value; comments stand on "
            "lines of their own",
            strstr(text, " #") != NULL ? '#' : ';');
    if (key->type == TYPE_SECRET || key->type == TYPE_STRING || key->type == TYPE_HEADER ||
        key->type == TYPE_FORM)
        check_credential_text(r, key, text);
}

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
    /* port 0 is a different free port each time */
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

static void check_listen_address(struct check *k)
{
    const struct config_key *key = KEY(listen, address);
    const struct config_list *list = &k->config->listen.address;
    struct config_address a, b;
    char quoted[64];
    const char *open = NULL;

    for (size_t i = 0; i < list->count; i++) {
        if (!config_address_split(list->item[i], &a)) {
            config_fail(k->report, key, "%s is not an address; " ADDRESS_ALLOWED,
                        config_quote(list->item[i], quoted));
            continue;
        }
        for (size_t j = 0; j < i; j++) {
            if (config_address_split(list->item[j], &b) && same_address(&a, &b))
                config_fail(k->report, key, "%s is there twice",
                            config_quote(list->item[i], quoted));
        }
        add_allowed_host(k->config, &a);
        if (is_open(&a) && open == NULL)
            open = list->item[i];
    }
    if (open != NULL)
        config_warn(
            k->report, key,
            "%s is not a loopback address: whoever reaches it acts with the credentials",
            config_quote(open, quoted));
}

static void check_admin_address(struct check *k)
{
    const struct config_key *key = KEY(admin, address);
    const char *text = k->config->admin.address;
    const struct config_list *list = &k->config->listen.address;
    struct config_address a, b;
    char quoted[64];

    if (strcmp(text, "off") == 0)
        return;
    if (!config_address_split(text, &a)) {
        config_fail(k->report, key, "%s is not an address; " ADDRESS_ALLOWED "; or off",
                    config_quote(text, quoted));
        return;
    }
    for (size_t i = 0; i < list->count; i++) {
        if (config_address_split(list->item[i], &b) && same_address(&a, &b))
            config_fail(k->report, key,
                        "%s is in listen.address as well; it needs one of its own",
                        config_quote(text, quoted));
    }
    if (is_open(&a))
        config_warn(k->report, key,
                    "%s is not a loopback address: whoever reaches it sees status and metrics",
                    config_quote(text, quoted));
}

/* "*", or a host that may be followed by a port or ":*". */
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
    return rest != NULL && ascii_is_token(text, (size_t)(rest - text)) && rest[3] != '\0' &&
           strpbrk(rest + 3, "/?#@\\ \t") == NULL;
}

static void check_items(struct check *k, const struct config_key *key, struct config_list *list,
                        bool (*is_right)(const char *), const char *allowed)
{
    char quoted[64];

    for (size_t i = 0; i < list->count; i++) {
        lower(list->item[i]);
        if (!is_right(list->item[i]))
            config_fail(k->report, key, "%s is not allowed; allowed: %s",
                        config_quote(list->item[i], quoted), allowed);
    }
}

static void check_required_header(struct check *k)
{
    static const struct {
        const char *name, *why;
    } never[] = {
        { "Host", "belongs to HTTP itself" },
        { "Connection", "belongs to HTTP itself" },
        { "Content-Length", "belongs to HTTP itself" },
        { "Transfer-Encoding", "belongs to HTTP itself" },
        { "X-Request-Id", "is logged and given back" },
        { "traceparent", "is logged in part" },
        { "Idempotency-Key", "is kept by the ledger" },
    };
    const char *name = k->config->listen.require_header_name;

    for (size_t i = 0; name != NULL && i < ARRAY_LEN(never); i++) {
        if (strcasecmp(name, never[i].name) == 0)
            config_fail(k->report, KEY(listen, require_header),
                        "%s %s; use a header of your own, such as X-Proxy-Key", never[i].name,
                        never[i].why);
    }
}

/* --- URLs: the token and the secret are sent there, so nothing in them is guessed --- */

#define URL_ALLOWED "allowed: https://host[:port]/path"

static bool check_url(struct check *k, const struct config_key *key, const char *text,
                      struct config_url *url)
{
    const char *wrong = config_url_split(text, url);

    if (wrong == NULL && strcmp(url->scheme, "https") != 0 && strcmp(url->scheme, "http") != 0)
        wrong = "is neither https:// nor http://";
    if (wrong == NULL && url->query && key != KEY(token, url))
        wrong = "has a query";
    if (wrong != NULL) {
        config_fail(k->report, key, "%s; " URL_ALLOWED, wrong);
        return false;
    }
    if (strcmp(url->scheme, "http") == 0 && !config_is_loopback(url->host) &&
        !k->config->upstream.allow_plaintext) {
        config_fail(k->report, key,
                    "http:// would send token or secret over the network unprotected; "
                    "allowed: https://, or http:// to a loopback address, or "
                    "upstream.allow_plaintext = yes");
        return false;
    }
    return true;
}

static void check_base_url(struct check *k)
{
    struct config *c = k->config;
    struct config_url url;
    size_t len = strlen(c->upstream.base_url);

    while (len > 0 && c->upstream.base_url[len - 1] == '/')
        c->upstream.base_url[--len] = '\0';
    if (!check_url(k, KEY(upstream, base_url), c->upstream.base_url, &url))
        return;

    config_string_set(&c->upstream.scheme, "%s", url.scheme);
    config_string_set(&c->upstream.authority, "%s", url.authority);
    config_string_set(&c->upstream.origin, "%s://%s", url.scheme, url.authority);
    config_string_set(&c->upstream.base_path, "%s", url.path);
    config_string_set(&c->upstream.base_url, "%s%s", c->upstream.origin, c->upstream.base_path);
}

static void check_token_url(struct check *k)
{
    static const char variable[] = "{base_url}";
    struct config *c = k->config;
    struct config_url url;
    const struct config_key *key = KEY(token, url);

    /* a fault in what follows from base_url is reported for base_url */
    if (!config_given(k->report, key))
        key = KEY(upstream, base_url);
    c->token.url_key =
        config_given(k->report, KEY(token, url)) ? "token.url" : "upstream.base_url";
    if (strncmp(c->token.url, variable, sizeof variable - 1) == 0) {
        if (!config_sound(k->report, KEY(upstream, base_url)))
            return;
        config_string_set(&c->token.url, "%s%s", c->upstream.base_url,
                          c->token.url + sizeof variable - 1);
    }
    if (!check_url(k, key, c->token.url, &url))
        return;
    /* The scheme and the host, which may be in any case; base_url has them so already. */
    for (char *p = c->token.url; p != url.path; p++)
        *p = ascii_lower(*p);
}

/* libcurl ends the credentials at the first of these characters, and takes what follows for
 * the host, a path or a query. */
static bool has_open_credentials(const char *text)
{
    const char *rest = strstr(text, "://"), *at = strrchr(text, '@');

    for (const char *p = rest == NULL ? text : rest + 3; at != NULL && p < at; p++)
        if (strchr("/?#@ ", *p) != NULL || (unsigned char)*p < 0x20 || *p == 0x7f)
            return true;
    return false;
}

static const char open_credentials[] =
    "has a character in its user name or password that must be percent-encoded: / as %2F, "
    "? as %3F, # as %23, @ as %40, a blank as %20";

static const char *proxy_fault(const char *text)
{
    static const char *const schemes[] = { "http",    "https",  "socks4",
                                           "socks4a", "socks5", "socks5h" };
    struct config_url url;
    const char *rest = strstr(text, "://"), *at = strrchr(text, '@');
    char *without = NULL;

    if (strcmp(text, "env") == 0 || strcmp(text, "none") == 0)
        return NULL;
    if (rest == NULL)
        return "is neither env nor none nor a URL";
    if (has_open_credentials(text))
        return open_credentials;
    /* without its credentials, which config_url_split refuses */
    if (at == NULL || at < rest)
        at = rest + 2;
    config_string_set(&without, "%.*s://%s", (int)(rest - text), text, at + 1);

    const char *wrong = config_url_split(without, &url);
    if (wrong == NULL && url.path[0] != '\0' && strcmp(url.path, "/") != 0)
        wrong = "has a path or a query";
    free(without);
    for (size_t i = 0; wrong == NULL && i < ARRAY_LEN(schemes); i++) {
        if (strcmp(url.scheme, schemes[i]) == 0)
            return NULL;
    }
    return wrong != NULL ? wrong : "has an unknown scheme";
}

static void check_proxy(struct check *k, const struct config_key *key, const char *text)
{
    const char *wrong = text == NULL ? NULL : proxy_fault(text);

    if (wrong != NULL)
        config_fail(k->report, key,
                    "%s; allowed: env, none, or http, https, socks4, socks4a, socks5 or "
                    "socks5h://[user:password@]host:port",
                    wrong);
}

/* The variable that counts for a URL of that scheme, where the environment says which proxy
 * to use. Where NO_PROXY names hosts, it may be that none of ours goes through the proxy. */
static void check_proxy_variable(struct check *k, const struct config_key *key, bool https)
{
    const char *value = NULL, *name = config_proxy_variable(https, &value);

    if (name == NULL || !config_sound(k->report, key) || !has_open_credentials(value))
        return;
    if (config_has_proxy_exceptions())
        config_warn(k->report, key,
                    "is env, and %s %s, unless NO_PROXY exempts every host here", name,
                    open_credentials);
    else
        config_fail(k->report, key, "is env, and %s %s", name, open_credentials);
}

static void check_proxy_variables(struct check *k)
{
    const struct config *c = k->config;
    const struct config_key *token = KEY(token, proxy);

    if (c->upstream.scheme == NULL) /* base_url is wrong */
        return;
    if (!config_given(k->report, token))
        token = KEY(upstream, proxy);
    if (strcmp(c->upstream.proxy, "env") == 0)
        check_proxy_variable(k, KEY(upstream, proxy), strcmp(c->upstream.scheme, "https") == 0);
    if (strcmp(c->token.proxy, "env") == 0)
        check_proxy_variable(k, token, strncmp(c->token.url, "https:", 6) == 0);
}

static void check_urls(struct check *k)
{
    struct config *c = k->config;

    if (config_sound(k->report, KEY(upstream, base_url)))
        check_base_url(k);
    if (config_sound(k->report, KEY(token, url)))
        check_token_url(k);
    check_proxy(k, KEY(upstream, proxy), c->upstream.proxy);
    check_proxy(k, KEY(token, proxy), c->token.proxy);
    /* the token endpoint is reached in the same way as the upstream, unless set otherwise */
    c->token.proxy_key = c->token.proxy != NULL ? "token.proxy" : "upstream.proxy";
    if (c->token.proxy == NULL)
        config_string_set(&c->token.proxy, "%s", c->upstream.proxy);
}

/* --- files --- */

static void check_files(struct check *k)
{
    for (size_t i = 0; i < config_keys_of(k->config); i++) {
        const struct config_key *key = config_key_at(k->config, i);
        unsigned mode = 0;

        if ((key->type != TYPE_PATH && key->type != TYPE_KEY_FILE) ||
            !config_given(k->report, key) || !config_sound(k->report, key))
            continue;

        char *path;
        memcpy(&path, (char *)k->config + key->offset, sizeof path);
        if (path == NULL)
            continue;
        int rc = config_file_mode(path, &mode);
        if (rc != 0)
            config_fail(k->report, key, "%s: cannot be read: %s", path,
                        config_file_reason(-rc));
        else if (key->type == TYPE_KEY_FILE && (mode & 0007) != 0)
            config_warn(k->report, key,
                        "%s can be read by every user of this machine (mode %04o); 0600 or "
                        "0640 is enough",
                        path, mode);
    }
}

/* A secret in the settings file itself. */
static void check_file_mode(struct check *k)
{
    const struct config_key *key = KEY(token, client_secret);
    unsigned mode = 0;

    if (config_source(k->report, key)->line != 0 && k->report->file != NULL &&
        config_file_mode(k->report->file, &mode) == 0 && (mode & 0007) != 0)
        config_warn(k->report, key,
                    "is in a file that can be read by every user of this machine (mode %04o); "
                    "0600 or 0640 is enough, or use token.client_secret_file",
                    mode);
}

/* --- credentials --- */

static void fail_missing(struct check *k, const struct config_key *key,
                         const struct config_key *file_key)
{
    char variable[CONFIG_ENV_NAME_MAX];

    config_variable(key, variable);
    if (!k->report->unread)
        config_fail(k->report, key, "is required; allowed: it or %s.%s, in the file or as %s",
                    file_key->section, file_key->name, variable);
}

/* Only one of the two may be set. The environment wins over the file; otherwise both is an
 * error. */
static void check_pair(struct check *k, const struct config_key *key,
                       const struct config_key *file_key)
{
    bool by_env = config_source(k->report, key)->variable != NULL;
    bool file_by_env = config_source(k->report, file_key)->variable != NULL;

    if (!config_given(k->report, key) && !config_given(k->report, file_key))
        fail_missing(k, key, file_key);
    if (!config_given(k->report, key) || !config_given(k->report, file_key))
        return;
    if (by_env == file_by_env)
        config_fail(k->report, key, "is given as well as %s.%s; only one of them is allowed",
                    file_key->section, file_key->name);
    else
        config_value_clear(k->config, by_env ? file_key : key);
}

static struct secret *read_credential(struct check *k, const struct config_key *key,
                                      const char *path)
{
    struct buf why;

    buf_init(&why, 1024);
    struct secret *s = config_read_secret_file(path, &why);
    if (s == NULL)
        config_fail(k->report, key, "%s", buf_text(&why));
    else
        check_credential_text(k->report, key, secret_text(s));
    buf_done(&why);
    return s;
}

static void check_credentials(struct check *k)
{
    struct config *c = k->config;
    const struct config_key *id_file = KEY(token, client_id_file);
    const struct config_key *secret_file = KEY(token, client_secret_file);

    check_pair(k, KEY(token, client_id), id_file);
    check_pair(k, KEY(token, client_secret), secret_file);
    c->token.client_id_key =
        c->token.client_id_file != NULL ? "token.client_id_file" : "token.client_id";
    c->token.client_secret_key = c->token.client_secret_file != NULL
                                     ? "token.client_secret_file"
                                     : "token.client_secret";
    if (c->token.client_id_file != NULL && config_sound(k->report, id_file)) {
        struct secret *s = read_credential(k, id_file, c->token.client_id_file);
        if (s != NULL)
            config_string_set(&c->token.client_id, "%s", secret_text(s));
        secret_free(s);
    }
    if (c->token.client_secret_file != NULL && config_sound(k->report, secret_file)) {
        secret_free(c->token.client_secret);
        c->token.client_secret = read_credential(k, secret_file, c->token.client_secret_file);
    }
}

/* --- pairs of values --- */

static void check_retries(struct check *k)
{
    const struct config_key *least = KEY(token, retry_min), *most = KEY(token, retry_max);

    if (config_sound(k->report, least) && config_sound(k->report, most) &&
        k->config->token.retry_min_ms > k->config->token.retry_max_ms)
        config_fail(k->report, config_given(k->report, least) ? least : most,
                    "token.retry_min is longer than token.retry_max (%" PRId64 "ms, %" PRId64
                    "ms); allowed: at most as long",
                    k->config->token.retry_min_ms, k->config->token.retry_max_ms);
}

static void check_drain(struct check *k)
{
    const struct config_key *delay = KEY(process, drain_delay);
    const struct config_key *timeout = KEY(process, drain_timeout);

    if (config_sound(k->report, delay) && config_sound(k->report, timeout) &&
        k->config->process.drain_delay_ms > k->config->process.drain_timeout_ms)
        config_fail(
            k->report, config_given(k->report, delay) ? delay : timeout,
            "process.drain_delay is longer than process.drain_timeout, which counts from "
            "the signal too (%" PRId64 "ms, %" PRId64 "ms); allowed: at most as long",
            k->config->process.drain_delay_ms, k->config->process.drain_timeout_ms);
}

/* Fields of token.extra that would contradict the fields that the program itself sends. */
static void check_extra(struct check *k)
{
    const struct config *c = k->config;
    const struct {
        const char *name;
        bool taken;
    } fields[] = {
        { "grant_type", true },
        { "client_id", true },
        { "client_secret", true },
        { "scope", c->token.scope != NULL },
        { "audience", c->token.audience != NULL },
    };

    for (const char *p = c->token.extra; p != NULL && *p != '\0';
         p += strcspn(p, "&"), p += *p == '&') {
        size_t len = strcspn(p, "=");

        for (size_t i = 0; i < ARRAY_LEN(fields); i++)
            if (fields[i].taken && strlen(fields[i].name) == len &&
                memcmp(p, fields[i].name, len) == 0)
                config_fail(k->report, KEY(token, extra),
                            "has %s, which is in the form already; allowed: other fields",
                            fields[i].name);
    }
}

static void check_target_size(struct check *k)
{
    const struct config_key *target = KEY(listen, max_target_size);
    const struct config_key *head = KEY(listen, max_header_size);

    if (config_given(k->report, target) && config_sound(k->report, target) &&
        config_sound(k->report, head) &&
        k->config->listen.max_target_size_bytes > k->config->listen.max_header_size_bytes)
        config_warn(k->report, target,
                    "is larger than listen.max_header_size, which the target must fit too");
}

void config_check(struct config *c, struct config_report *report, bool with_files)
{
    struct check k = { .config = c, .report = report };

    if (config_sound(report, KEY(listen, allowed_hosts)))
        check_items(&k, KEY(listen, allowed_hosts), &c->listen.allowed_hosts, is_allowed_host,
                    "name, name:port, name:*, [v6]:port or *");
    check_items(&k, KEY(listen, allowed_origins), &c->listen.allowed_origins, is_origin,
                "scheme://host[:port] with nothing behind it, null or *");
    if (config_sound(report, KEY(listen, address)))
        check_listen_address(&k);
    if (config_sound(report, KEY(admin, address)))
        check_admin_address(&k);
    check_required_header(&k);
    check_target_size(&k);
    check_urls(&k);
    if (with_files) {
        check_proxy_variables(&k);
        check_files(&k);
        check_file_mode(&k);
        config_check_certificates(c, report);
        check_credentials(&k);
    }
    check_extra(&k);
    check_retries(&k);
    check_drain(&k);
    config_check_rights(c, report);
    if (with_files) {
        config_check_caller_files(c, report);
        config_check_freeze_file(c, report);
    }
    config_check_ledger(c, report);
}

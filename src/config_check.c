/* The checks that need more than one value, or a look outside the file. */
#include "config_check.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config_url.h"
#include "config_value.h"

#define KEY(section, name) config_find(#section, #name)

static bool given(struct config_load *load, const struct config_key *key)
{
    const struct config_source *source = config_source(load, key);

    return source->line != 0 || source->variable != NULL;
}

static bool sound(struct config_load *load, const struct config_key *key)
{
    return !config_source(load, key)->wrong;
}

static void replace(char **field, char *text)
{
    free(*field);
    *field = text;
}

static char *copy(const char *text)
{
    char *p = strdup(text);

    if (p == NULL)
        abort();
    return p;
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

static void check_tls(struct config_load *load)
{
    struct config *c = load->config;

    if (c->listen.tls_certificate != NULL && c->listen.tls_key == NULL)
        config_fail(load, KEY(listen, tls_certificate), "needs listen.tls_key as well");
    if (c->listen.tls_key != NULL && c->listen.tls_certificate == NULL)
        config_fail(load, KEY(listen, tls_key), "needs listen.tls_certificate as well");
    if (c->listen.tls_client_ca != NULL && c->listen.tls_certificate == NULL)
        config_fail(load, KEY(listen, tls_client_ca),
                    "needs listen.tls_certificate and listen.tls_key as well");
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

/* --- URLs --- */

#define URL_ALLOWED "allowed: https://host[:port]/path"

static bool check_url(struct config_load *load, const struct config_key *key, const char *text,
                      struct config_url *url)
{
    const char *wrong = config_url_split(text, url);

    if (wrong == NULL && strcmp(url->scheme, "https") != 0 && strcmp(url->scheme, "http") != 0)
        wrong = "is neither https:// nor http://";
    if (wrong != NULL) {
        config_fail(load, key, "%s; " URL_ALLOWED, wrong);
        return false;
    }
    if (strcmp(url->scheme, "http") == 0 && !config_is_loopback(url->host) &&
        !load->config->upstream.allow_plaintext) {
        config_fail(load, key,
                    "http:// would send token or secret over the network unprotected; "
                    "allowed: https://, or http:// to a loopback address, or "
                    "upstream.allow_plaintext = yes");
        return false;
    }
    return true;
}

static void check_base_url(struct config_load *load)
{
    struct config *c = load->config;
    struct config_url url;
    size_t len = strlen(c->upstream.base_url);

    while (len > 0 && c->upstream.base_url[len - 1] == '/')
        c->upstream.base_url[--len] = '\0';
    if (!check_url(load, KEY(upstream, base_url), c->upstream.base_url, &url))
        return;

    char *origin = NULL, *base_url = NULL;
    if (asprintf(&origin, "%s://%s", url.scheme, url.authority) < 0 ||
        asprintf(&base_url, "%s%s", origin, url.path) < 0)
        abort();
    replace(&c->upstream.scheme, copy(url.scheme));
    replace(&c->upstream.authority, copy(url.authority));
    replace(&c->upstream.base_path, copy(url.path));
    replace(&c->upstream.origin, origin);
    replace(&c->upstream.base_url, base_url);
}

static void check_token_url(struct config_load *load)
{
    static const char variable[] = "{base_url}";
    struct config *c = load->config;
    struct config_url url;

    if (strncmp(c->token.url, variable, sizeof variable - 1) == 0) {
        char *text = NULL;

        if (!sound(load, KEY(upstream, base_url)))
            return;
        if (asprintf(&text, "%s%s", c->upstream.base_url, c->token.url + sizeof variable - 1) <
            0)
            abort();
        replace(&c->token.url, text);
    }
    (void)check_url(load, KEY(token, url), c->token.url, &url);
}

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
    /* without its credentials, which the splitter refuses */
    if (at == NULL || at < rest)
        at = rest + 2;
    if (asprintf(&without, "%.*s://%s", (int)(rest - text), text, at + 1) < 0)
        abort();

    const char *wrong = config_url_split(without, &url);
    if (wrong == NULL && url.path[0] != '\0' && strcmp(url.path, "/") != 0)
        wrong = "has a path";
    free(without);
    for (size_t i = 0; wrong == NULL && i < ARRAY_LEN(schemes); i++) {
        if (strcmp(url.scheme, schemes[i]) == 0)
            return NULL;
    }
    return wrong != NULL ? wrong : "has an unknown scheme";
}

static void check_proxy(struct config_load *load, const struct config_key *key,
                        const char *text)
{
    const char *wrong = text == NULL ? NULL : proxy_fault(text);

    if (wrong != NULL)
        config_fail(load, key,
                    "%s; allowed: env, none, or http, https, socks4, socks4a, socks5 or "
                    "socks5h://[user:password@]host:port",
                    wrong);
}

static void check_upstream(struct config_load *load)
{
    struct config *c = load->config;

    if (sound(load, KEY(upstream, base_url)))
        check_base_url(load);
    if (sound(load, KEY(token, url)))
        check_token_url(load);
    check_proxy(load, KEY(upstream, proxy), c->upstream.proxy);
    check_proxy(load, KEY(token, proxy), c->token.proxy);
    /* the token endpoint is reached as the upstream is, unless said otherwise */
    if (c->token.proxy == NULL)
        c->token.proxy = copy(c->upstream.proxy);
    if (c->token.ca_file == NULL && c->upstream.ca_file != NULL)
        c->token.ca_file = copy(c->upstream.ca_file);
}

/* --- files and credentials --- */

static void check_files(struct config_load *load)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        unsigned mode = 0;

        if ((key->type != TYPE_PATH && key->type != TYPE_KEY_FILE) || !given(load, key) ||
            !sound(load, key))
            continue;

        char *path;
        memcpy(&path, (char *)load->config + key->offset, sizeof path);
        if (path == NULL)
            continue;
        int rc = config_file_mode(path, &mode);
        if (rc != 0)
            config_fail(load, key, "%s: cannot be read: %s", path,
                        rc == -ENOTSUP ? "it is not a regular file" : strerror(-rc));
        else if (key->type == TYPE_KEY_FILE && (mode & 0007) != 0)
            config_warn(load, key,
                        "%s can be read by every user of this machine (mode %04o); 0600 or "
                        "0640 is enough",
                        path, mode);
    }
}

/* Of a pair of which one is allowed: the environment wins over the file, else it is an error.
 */
static void check_pair(struct config_load *load, const struct config_key *key,
                       const struct config_key *file_key)
{
    bool by_env = config_source(load, key)->variable != NULL;
    bool file_by_env = config_source(load, file_key)->variable != NULL;

    if (!given(load, key) && !given(load, file_key))
        config_fail(load, key, "is required; give it, or %s.%s", file_key->section,
                    file_key->name);
    if (!given(load, key) || !given(load, file_key))
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
    if (c->token.client_id_file != NULL && sound(load, id_file)) {
        struct secret *s = read_credential(load, id_file, c->token.client_id_file);
        replace(&c->token.client_id, s == NULL ? NULL : copy(secret_text(s)));
        secret_free(s);
    }
    if (c->token.client_secret_file != NULL && sound(load, secret_file)) {
        secret_free(c->token.client_secret);
        c->token.client_secret =
            read_credential(load, secret_file, c->token.client_secret_file);
    }
}

void config_check(struct config_load *load)
{
    struct config *c = load->config;

    if (sound(load, KEY(listen, allowed_hosts)))
        check_items(load, KEY(listen, allowed_hosts), &c->listen.allowed_hosts, is_allowed_host,
                    "name, name:port, name:*, [v6]:port or *");
    check_items(load, KEY(listen, allowed_origins), &c->listen.allowed_origins, is_origin,
                "scheme://host[:port] with nothing behind it, null or *");
    if (sound(load, KEY(listen, address)))
        check_listen_address(load);
    if (sound(load, KEY(admin, address)))
        check_admin_address(load);
    check_tls(load);
    check_required_header(load);
    check_upstream(load);
    check_files(load);
    check_credentials(load);
    if (sound(load, KEY(token, retry_min)) && sound(load, KEY(token, retry_max)) &&
        c->token.retry_min_ms > c->token.retry_max_ms)
        config_fail(load,
                    given(load, KEY(token, retry_min)) ? KEY(token, retry_min)
                                                       : KEY(token, retry_max),
                    "retry_min is longer than retry_max (%" PRId64 "ms, %" PRId64
                    "ms); allowed: at most as long",
                    c->token.retry_min_ms, c->token.retry_max_ms);
}

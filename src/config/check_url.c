/* The checks of the URLs: where token and secret are sent, so nothing in them is guessed at. */
#include <stdio.h>
#include <string.h>

#include "config/check.h"
#include "config/url.h"
#include "config/value.h"
#include "sandbox/landlock.h"

#define URL_ALLOWED "allowed: https://host[:port]/path"

/* After a reload: connections to ports that were not named at start are cut off by then. */
static bool check_port(struct config_load *load, const struct config_key *key, int port)
{
    if (!sandbox_bars(port))
        return true;
    config_fail(load, key,
                "the sandbox lets this process connect to the ports of its start only, and %d "
                "was not among them; restart to use it",
                port);
    return false;
}

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
    return check_port(load, key, url->port);
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

    config_string_set(&c->upstream.scheme, "%s", url.scheme);
    config_string_set(&c->upstream.authority, "%s", url.authority);
    config_string_set(&c->upstream.origin, "%s://%s", url.scheme, url.authority);
    config_string_set(&c->upstream.base_path, "%s", url.path);
    config_string_set(&c->upstream.base_url, "%s%s", c->upstream.origin, c->upstream.base_path);
}

static void check_token_url(struct config_load *load)
{
    static const char variable[] = "{base_url}";
    struct config *c = load->config;
    struct config_url url;

    if (strncmp(c->token.url, variable, sizeof variable - 1) == 0) {
        if (!config_sound(load, KEY(upstream, base_url)))
            return;
        config_string_set(&c->token.url, "%s%s", c->upstream.base_url,
                          c->token.url + sizeof variable - 1);
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
    config_string_set(&without, "%.*s://%s", (int)(rest - text), text, at + 1);

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
    else if (text != NULL && strcmp(text, "env") != 0 && strcmp(text, "none") != 0)
        (void)check_port(load, key, config_proxy_port(text, NULL));
}

void config_check_urls(struct config_load *load)
{
    struct config *c = load->config;

    if (config_sound(load, KEY(upstream, base_url)))
        check_base_url(load);
    if (config_sound(load, KEY(token, url)))
        check_token_url(load);
    check_proxy(load, KEY(upstream, proxy), c->upstream.proxy);
    check_proxy(load, KEY(token, proxy), c->token.proxy);
    /* the token endpoint is reached as the upstream is, unless said otherwise */
    if (c->token.proxy == NULL)
        config_string_set(&c->token.proxy, "%s", c->upstream.proxy);
    if (c->token.ca_file == NULL && c->upstream.ca_file != NULL)
        config_string_set(&c->token.ca_file, "%s", c->upstream.ca_file);
}

/* What lies outside the program and is needed with these settings: files and ports. */
#include <stdio.h>
#include <string.h>

#include "config/schema.h"
#include "config/url.h"
#include "config/value.h"

void config_each_file(const struct config *c, void (*visit)(const char *path, void *arg),
                      void *arg)
{
    if (c->file != NULL)
        visit(c->file, arg);
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        char *path;

        if (key->type != TYPE_PATH && key->type != TYPE_KEY_FILE)
            continue;
        memcpy(&path, (const char *)c + key->offset, sizeof path);
        if (path != NULL)
            visit(path, arg);
    }
}

/* curl's own defaults. */
static int default_proxy_port(const char *scheme)
{
    return strcmp(scheme, "https") == 0 ? 443 : 1080;
}

int config_url_port(const char *text, char host[256])
{
    struct config_url url;

    if (config_url_split(text, &url) != NULL)
        return -1;
    memcpy(host, url.host, sizeof url.host);
    return url.port;
}

int config_proxy_port(const char *text, char host[256])
{
    struct config_url url;
    const char *rest = strstr(text, "://"), *at = strrchr(text, '@');
    char *without = NULL;

    rest = rest == NULL ? text : rest + 3;
    if (at != NULL && at >= rest)
        at++;
    else
        at = rest;
    config_string_set(&without, "proxy://%.*s", (int)strcspn(at, "/?#"), at);
    const char *wrong = config_url_split(without, &url);
    free(without);
    if (wrong != NULL)
        return -1;
    if (host != NULL)
        memcpy(host, url.host, sizeof url.host);
    if (url.port > 0)
        return url.port;
    return default_proxy_port(strncmp(text, "https://", 8) == 0 ? "https" : "http");
}

/* The variables that curl looks at; its rules on which of them counts are its own business. */
static const char *const proxy_variables[] = { "https_proxy", "HTTPS_PROXY", "http_proxy",
                                               "all_proxy", "ALL_PROXY" };

static void each_proxy_port(const char *proxy, void (*visit)(int port, void *arg), void *arg)
{
    if (strcmp(proxy, "none") == 0)
        return;
    if (strcmp(proxy, "env") != 0) {
        visit(config_proxy_port(proxy, NULL), arg);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(proxy_variables); i++) {
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): the environment does not change any more */
        const char *value = getenv(proxy_variables[i]);

        if (value != NULL && *value != '\0')
            visit(config_proxy_port(value, NULL), arg);
    }
}

static void each_url_port(const char *text, void (*visit)(int port, void *arg), void *arg)
{
    struct config_url url;

    if (config_url_split(text, &url) == NULL)
        visit(url.port, arg);
}

void config_each_port(const struct config *c, void (*visit)(int port, void *arg), void *arg)
{
    each_url_port(c->upstream.base_url, visit, arg);
    each_url_port(c->token.url, visit, arg);
    each_proxy_port(c->upstream.proxy, visit, arg);
    each_proxy_port(c->token.proxy, visit, arg);
}

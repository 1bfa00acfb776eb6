/* Translates the settings of outbound connections into those of curl_host. */
#include "config/outbound.h"

#include <string.h>

#include "config/url.h"
#include "net/trust_store.h"

const struct config_proxy_variable config_proxy_variables[CONFIG_PROXY_VARIABLES] = {
    { "https_proxy", true, false }, { "HTTPS_PROXY", true, false },
    { "http_proxy", false, true },  { "all_proxy", true, true },
    { "ALL_PROXY", true, true },
};

const char *config_proxy_variable(bool https, const char **value)
{
    for (size_t i = 0; i < CONFIG_PROXY_VARIABLES; i++) {
        const struct config_proxy_variable *v = &config_proxy_variables[i];

        /* NOLINTNEXTLINE(concurrency-mt-unsafe): the environment does not change any more */
        *value = getenv(v->name);
        if (*value != NULL && **value != '\0' && (https ? v->for_https : v->for_http))
            return v->name;
    }
    *value = NULL;
    return NULL;
}

bool config_has_proxy_exceptions(void)
{
    static const char *const names[] = { "no_proxy", "NO_PROXY" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): the environment does not change any more */
        const char *value = getenv(names[i]);

        if (value != NULL && *value != '\0')
            return true;
    }
    return false;
}

/* For the token endpoint: HTTP/1.1 or 2, as TLS negotiates; without TLS 1.1. */
static long token_http_version(const struct config *c)
{
    return strncmp(c->token.url, "https:", 6) == 0 ? CURL_HTTP_VERSION_2TLS
                                                   : CURL_HTTP_VERSION_1_1;
}

static long http_version(const struct config *c)
{
    bool plain = strcmp(c->upstream.scheme, "http") == 0;

    if (c->upstream.http_version == HTTP_VERSION_1_1)
        return CURL_HTTP_VERSION_1_1;
    /* Not CURL_HTTP_VERSION_2_0: without TLS that would ask for an upgrade. */
    if (!plain)
        return CURL_HTTP_VERSION_2TLS;
    return c->upstream.http_version == HTTP_VERSION_2 ? CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE
                                                      : CURL_HTTP_VERSION_1_1;
}

static struct curl_host_pem pem(const struct config_pem *p)
{
    return (struct curl_host_pem){ .data = p->data, .len = p->len };
}

struct curl_host_settings config_outbound(const struct config *c, enum leg leg)
{
    bool token = leg == LEG_TOKEN;
    char host[256];

    return (struct curl_host_settings){
        .ca = pem(token ? &c->token.ca : &c->upstream.ca),
        .certificate = pem(&c->upstream.certificate),
        .key = pem(&c->upstream.key),
        .trust_file = trust_store_path(c->trust.store),
        .trust_changed_ms = c->trust.changed_ms,
        .proxy = token && c->token.proxy != NULL ? c->token.proxy : c->upstream.proxy,
        .connect_timeout_ms = c->upstream.connect_timeout_ms,
        .keepalive_ms = c->upstream.keepalive_ms,
        .http_version = token ? token_http_version(c) : http_version(c),
        .port = config_url_port(token ? c->token.url : c->upstream.base_url, host),
    };
}

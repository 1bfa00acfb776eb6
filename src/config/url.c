/* Parses hosts, addresses and URLs of the settings. These are few and simple, so anything
 * unusual is refused: another program might understand it differently. */
#include "config/url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "base/ascii.h"

static bool is_alnum(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c);
}

static bool is_v6(const char *text, size_t len)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (len >= sizeof copy)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return inet_pton(AF_INET6, copy, &address) == 1;
}

/* A name of digits and dots only must be a full IPv4 address: resolvers read 127.1 and
 * 2130706433 in different ways. */
static bool is_name(const char *text, size_t len)
{
    char copy[254];
    struct in_addr address;
    bool numeric = true;

    if (len == 0 || len >= sizeof copy || text[0] == '.' || text[0] == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_alnum(text[i]) && text[i] != '-' && text[i] != '.' && text[i] != '_')
            return false;
        if (text[i] == '.' && i + 1 < len && text[i + 1] == '.')
            return false;
        numeric = numeric && (ascii_is_digit(text[i]) || text[i] == '.');
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    return !numeric || inet_pton(AF_INET, copy, &address) == 1;
}

bool config_is_host(const char *text, size_t len)
{
    if (len > 2 && text[0] == '[' && text[len - 1] == ']')
        return is_v6(text + 1, len - 2);
    return is_name(text, len);
}

bool config_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (strcasecmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* Reads digits only, 0..65535; -1: not a port. */
static int read_port(const char *text, size_t len)
{
    int port = 0;

    if (len == 0 || len > 5)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (!ascii_is_digit(text[i]))
            return -1;
        port = port * 10 + (text[i] - '0');
    }
    return port <= 65535 ? port : -1;
}

/* The length of the host at the start of text[0 .. len), up to the colon of the port. */
static size_t host_length(const char *text, size_t len)
{
    const char *end = NULL;

    if (len > 0 && text[0] == '[') {
        end = memchr(text, ']', len);
        return end == NULL ? len : (size_t)(end - text) + 1;
    }
    end = memchr(text, ':', len);
    return end == NULL ? len : (size_t)(end - text);
}

/* Copies a host in lower case, without brackets. */
static void copy_host(const char *text, size_t len, char *out, size_t size)
{
    bool brackets = text[0] == '[';

    (void)snprintf(out, size, "%.*s", (int)(brackets ? len - 2 : len),
                   brackets ? text + 1 : text);
    for (char *p = out; *p != '\0'; p++)
        *p = ascii_lower(*p);
}

bool config_address_split(const char *text, struct config_address *out)
{
    *out = (struct config_address){ .port = -1 };
    if (strncmp(text, "unix:", 5) == 0) {
        out->unix_path = text + 5;
        return out->unix_path[0] == '/' &&
               strlen(out->unix_path) < sizeof((struct sockaddr_un *)0)->sun_path;
    }

    size_t len = strlen(text), host = host_length(text, len);

    if (text[host] != ':' || !config_is_host(text, host))
        return false;
    out->port = read_port(text + host + 1, len - host - 1);
    out->v6 = text[0] == '[';
    copy_host(text, host, out->host, sizeof out->host);
    return out->port >= 0;
}

static bool is_dot_segment(const char *segment, size_t len)
{
    return (len == 1 && segment[0] == '.') || (len == 2 && memcmp(segment, "..", 2) == 0);
}

/* RFC 3986 section 3.3, without empty segments and dot segments, which servers treat
 * differently. */
static const char *check_path(const char *path)
{
    for (const char *p = path; *p != '\0'; p++) {
        if (*p == '%' && (!ascii_is_hex(p[1]) || !ascii_is_hex(p[2])))
            return "has a % that begins no escape";
        if (!is_alnum(*p) && strchr("/-._~!$&'()*+,;=:@%?", *p) == NULL)
            return "has a character in its path that must be escaped";
    }
    for (const char *p = path; *p == '/';) {
        size_t len = strcspn(p + 1, "/?");

        if (is_dot_segment(p + 1, len) || (len == 0 && p[1] == '/'))
            return "has an empty, . or .. segment in its path";
        p += len + 1;
    }
    return NULL;
}

static int default_port(const char *scheme)
{
    return strcmp(scheme, "https") == 0 ? 443 : strcmp(scheme, "http") == 0 ? 80 : -1;
}

const char *config_url_split(const char *text, struct config_url *out)
{
    const char *colon = strstr(text, "://");
    size_t scheme = colon == NULL ? 0 : (size_t)(colon - text);

    *out = (struct config_url){ .path = "" };
    if (scheme == 0 || scheme >= sizeof out->scheme || !ascii_is_token(text, scheme))
        return "does not begin with a scheme such as https://";
    copy_host(text, scheme, out->scheme, sizeof out->scheme);

    const char *authority = colon + 3;
    size_t len = strcspn(authority, "/?#");
    size_t host = host_length(authority, len);
    int port = -1;

    if (memchr(authority, '@', len) != NULL)
        return "has a user name in it";
    if (strchr(authority, '#') != NULL)
        return "has a fragment";
    if (!config_is_host(authority, host))
        return "has no valid host";
    if (host < len) {
        port = authority[host] == ':' ? read_port(authority + host + 1, len - host - 1) : -1;
        if (port <= 0)
            return "has no valid port";
    }
    copy_host(authority, host, out->host, sizeof out->host);
    out->path = authority + len;
    out->query = strchr(out->path, '?') != NULL;
    out->port = port > 0 ? port : default_port(out->scheme);

    bool v6 = authority[0] == '[';
    int n = snprintf(out->authority, sizeof out->authority, "%s%s%s", v6 ? "[" : "", out->host,
                     v6 ? "]" : "");
    if (port > 0 && port != default_port(out->scheme))
        (void)snprintf(out->authority + n, sizeof out->authority - (size_t)n, ":%d", port);
    return check_path(out->path);
}

/* The defaults of libcurl. */
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
    auto_free char *without = NULL;

    rest = rest == NULL ? text : rest + 3;
    if (at != NULL && at >= rest)
        at++;
    else
        at = rest;
    if (asprintf(&without, "proxy://%.*s", (int)strcspn(at, "/?#"), at) < 0)
        abort();
    if (config_url_split(without, &url) != NULL)
        return -1;
    if (host != NULL)
        memcpy(host, url.host, sizeof url.host);
    if (url.port > 0)
        return url.port;
    return default_proxy_port(strncasecmp(text, "https://", 8) == 0 ? "https" : "http");
}

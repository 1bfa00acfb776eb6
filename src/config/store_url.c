/* Parses the URL of a PostgreSQL store. Options (?sslmode=...) are refused: the program
 * decides what they could change, and some of them would weaken it. */
#include "config/store_url.h"

#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "config/url.h"

static const char scheme[] = "postgresql://";

static int hex_value(char c)
{
    return ascii_is_digit(c) ? c - '0' : ascii_lower(c) - 'a' + 10;
}

/* Decodes %XX. False: it does not fit, is empty, or has an invalid escape or a control
 * character. */
static bool decode(const char *text, size_t len, char *out, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        int c = (unsigned char)text[i];

        if (c == '%') {
            if (i + 2 >= len || !ascii_is_hex(text[i + 1]) || !ascii_is_hex(text[i + 2]))
                return false;
            c = hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]);
            i += 2;
        }
        if (c < ' ' || c == 0x7f || n + 1 >= size)
            return false;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return n > 0;
}

static bool read_port(const char *text, size_t len, int *port)
{
    int n = 0;

    if (len == 0 || len > 5)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!ascii_is_digit(text[i]))
            return false;
        n = n * 10 + (text[i] - '0');
    }
    *port = n;
    return n > 0 && n <= 65535;
}

static const char *split_host(const char *text, size_t len, struct config_store_host *out)
{
    const char *end = len > 0 && text[0] == '[' ? memchr(text, ']', len) : NULL;
    const char *from = end == NULL ? text : end;
    const char *colon = memchr(from, ':', len - (size_t)(from - text));
    size_t host = colon == NULL ? len : (size_t)(colon - text);
    bool brackets = end != NULL;

    out->port = CONFIG_STORE_PORT;
    if (colon != NULL && !read_port(colon + 1, len - host - 1, &out->port))
        return "has no valid port";
    if (host > 0 && text[0] == '%') {
        if (!decode(text, host, out->name, sizeof out->name) || out->name[0] != '/')
            return "has no valid host";
        return NULL;
    }
    if (!config_is_host(text, host) || host >= sizeof out->name)
        return "has no valid host";
    (void)snprintf(out->name, sizeof out->name, "%.*s", (int)(brackets ? host - 2 : host),
                   brackets ? text + 1 : text);
    return NULL;
}

static const char *split_hosts(const char *text, size_t len, struct config_store_url *out)
{
    for (size_t at = 0; at <= len;) {
        const char *comma = memchr(text + at, ',', len - at);
        size_t end = comma == NULL ? len : (size_t)(comma - text);

        if (out->hosts == CONFIG_STORE_HOSTS_MAX)
            return "has more than 8 hosts";
        const char *wrong = split_host(text + at, end - at, &out->host[out->hosts++]);
        if (wrong != NULL)
            return wrong;
        at = end + 1;
    }
    return NULL;
}

bool config_store_url_is(const char *text)
{
    return text != NULL && strncmp(text, scheme, sizeof scheme - 1) == 0;
}

const char *config_store_url_split(const char *text, struct config_store_url *out)
{
    *out = (struct config_store_url){ .hosts = 0 };
    if (!config_store_url_is(text))
        return "does not begin with postgresql://";

    const char *authority = text + sizeof scheme - 1;
    size_t len = strcspn(authority, "/?#");
    const char *path = authority + len;
    const char *at = memchr(authority, '@', len);

    if (at == NULL)
        return "names no user";
    if (memchr(authority, ':', (size_t)(at - authority)) != NULL)
        return "has a password, which belongs into ledger.store_password_file";
    if (strpbrk(path, "?#") != NULL)
        return "has options";
    if (!decode(authority, (size_t)(at - authority), out->user, sizeof out->user))
        return "has no valid user";
    if (*path != '/' || path[1] == '\0')
        return "names no database";
    if (strchr(path + 1, '/') != NULL ||
        !decode(path + 1, strlen(path + 1), out->database, sizeof out->database))
        return "has no valid database";
    return split_hosts(at + 1, (size_t)(path - at) - 1, out);
}

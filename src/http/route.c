/* Finds the upstream target of a request.
 *
 *     http://localhost:8080//chains?page=2
 *     |---- authority ----||  |
 *      checked, removed    |  base path "/v0" is prepended, unless the path is below it already
 *                          slashes collapse
 *
 * Nothing is decoded or rewritten; what another parser might read differently is refused.
 */
#include "http/route.h"

#include <string.h>
#include <strings.h>

#include "base/ascii.h"
#include "http/access.h"
#include "http/host.h"

static struct route refuse(enum failure_kind kind, const char *why)
{
    return (struct route){ .kind = ROUTE_REFUSED, .failure = kind, .why = why };
}

/* --- the bytes ----------------------------------------------------------------------- */

/* The byte at s, decoded if it is percent-encoded; *taken is its length in the text. The
 * escapes have been checked before. */
static char decoded(const char *s, size_t *taken)
{
    if (*s != '%') {
        *taken = 1;
        return *s;
    }
    *taken = 3;
    return (char)(ascii_hex(s[1]) * 16 + ascii_hex(s[2]));
}

/* NULL, or why a byte of the path is refused. */
static const char *path_bytes(const char *path, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!ascii_is_visible(path[i]) || strchr("#\\\"<>^`{|}", path[i]) != NULL)
            return "the path holds a byte that must be percent-encoded";
        if (path[i] != '%')
            continue;
        if (len - i < 3 || !ascii_is_hex(path[i + 1]) || !ascii_is_hex(path[i + 2]))
            return "the path holds a % without two hexadecimal digits";
        size_t taken = 0;
        char c = decoded(path + i, &taken);
        if (c == '/' || c == '\\' || c == '\0')
            return "the path holds an encoded slash, backslash or NUL";
    }
    return NULL;
}

/* Whether some server may read the segment as `.` or `..`: plain or encoded, alone or before
 * a `;`. */
static bool is_dots(const char *segment, size_t len)
{
    size_t dots = 0, taken = 0;

    for (size_t i = 0; i < len; i += taken) {
        char c = decoded(segment + i, &taken);
        if (c == ';')
            break;
        if (c != '.' || ++dots > 2)
            return false;
    }
    return dots > 0;
}

static bool has_dots(const char *path, size_t len)
{
    size_t start = 0;

    for (size_t i = 0; i <= len; i++) {
        if (i < len && path[i] != '/')
            continue;
        if (is_dots(path + start, i - start))
            return true;
        start = i + 1;
    }
    return false;
}

static const char *query_bytes(const char *query)
{
    for (; *query != '\0'; query++)
        if (!ascii_is_visible(*query) || *query == '#')
            return "the query holds a byte that must be percent-encoded";
    return NULL;
}

/* --- the forms ----------------------------------------------------------------------- */

static bool is_upstream(const struct config *c, const struct host *h)
{
    int standard = strcmp(c->upstream.scheme, "https") == 0 ? 443 : 80;
    struct host up;

    if (!host_split(c->upstream.authority, strlen(c->upstream.authority), &up))
        return false;
    return ascii_equal(h->name, h->name_len, up.name, up.name_len) &&
           (h->port < 0 ? standard : h->port) == (up.port < 0 ? standard : up.port);
}

/* The authority of a target in absolute-form; NULL: it has another form. */
static const char *authority_of(const char *target)
{
    if (strncasecmp(target, "http://", 7) == 0)
        return target + 7;
    if (strncasecmp(target, "https://", 8) == 0)
        return target + 8;
    return NULL;
}

/* Removes scheme and authority from a target in absolute-form. */
static struct route absolute_form(const struct config *c, const char *authority)
{
    size_t len = strcspn(authority, "/?#");
    struct host host;

    if (!host_split(authority, len, &host))
        return refuse(FAIL_BAD_TARGET, "the authority of the request target is not a host "
                                       "and a port");
    if (!access_host_allowed(c, authority, len) && !is_upstream(c, &host))
        return refuse(FAIL_HOST_DENIED, "the authority of the request target is not on "
                                        "listen.allowed_hosts");
    if (authority[len] == '\0')
        return (struct route){ .path = "/", .absolute = true };
    if (authority[len] != '/')
        return refuse(FAIL_BAD_TARGET, "the request target has no path");
    return (struct route){ .path = authority + len, .absolute = true };
}

static struct route path_of(const struct config *c, const char *target)
{
    const char *authority = authority_of(target);

    if (authority != NULL)
        return absolute_form(c, authority);
    if (target[0] != '/')
        return refuse(FAIL_BAD_TARGET, "the request target does not begin with a slash");
    return (struct route){ .path = target };
}

/* --- the decision -------------------------------------------------------------------- */

/* The rest of a path that equals `base` or is below it; otherwise NULL. */
static const char *below(const char *path, size_t len, const char *base)
{
    size_t base_len = strlen(base);

    if (len < base_len || strncmp(path, base, base_len) != 0 ||
        (len > base_len && path[base_len] != '/'))
        return NULL;
    return path + base_len;
}

static bool is_token_endpoint(const struct config *c, const char *method, const char *path,
                              size_t len, const char *rest)
{
    static const char token[] = "/token";
    const size_t token_len = sizeof token - 1;

    if (!c->token.local_endpoint || strcmp(method, "POST") != 0)
        return false;
    if (len == token_len && memcmp(path, token, token_len) == 0)
        return true;
    return rest != NULL && (size_t)(path + len - rest) == token_len &&
           memcmp(rest, token, token_len) == 0;
}

struct route route_find(const struct config *c, const char *method, const char *target)
{
    /* Some servers ignore the case of methods, so this check does too. */
    if (strcasecmp(method, "CONNECT") == 0 || strcasecmp(method, "TRACE") == 0)
        return refuse(FAIL_METHOD_DENIED, "CONNECT and TRACE are not passed on");

    if (strcmp(target, "*") == 0 && strcmp(method, "OPTIONS") == 0)
        return (struct route){ .kind = ROUTE_OPTIONS,
                               .prefix = "",
                               .path = target,
                               .path_len = 1,
                               .api_path = target };
    struct route r = path_of(c, target);
    if (r.kind == ROUTE_REFUSED)
        return r;
    while (r.path[1] == '/')
        r.path++;
    r.path_len = strcspn(r.path, "?");

    const char *why = path_bytes(r.path, r.path_len);
    if (why == NULL)
        why = query_bytes(r.path + r.path_len);
    if (why == NULL && has_dots(r.path, r.path_len))
        why = "the path holds a . or .. segment";
    if (why != NULL)
        return refuse(FAIL_BAD_TARGET, why);

    const char *rest = below(r.path, r.path_len, c->upstream.base_path);
    r.prefix = rest != NULL ? "" : c->upstream.base_path;
    r.api_path = rest != NULL ? rest : r.path;
    r.kind = is_token_endpoint(c, method, r.path, r.path_len, rest) ? ROUTE_TOKEN_ENDPOINT
                                                                    : ROUTE_FORWARD;
    return r;
}

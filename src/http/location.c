/* Rewrites a Location of the upstream for the caller.
 *
 *     on the upstream's origin, below the base path    -> a path, which works here too
 *     on the upstream's origin, outside the base path  -> an absolute URL: to a path, this proxy
 *                                                         would add the base path
 *     anywhere else                                    -> unchanged
 *
 * A relative reference is resolved against the upstream's target (RFC 3986 section 5.2). */
#include "http/location.h"

#include <string.h>

#include "base/ascii.h"
#include "http/header.h"

/* The number of dots that the segment consists of, plain or encoded; 0: not a dot segment. */
static unsigned dots_of(const char *s, size_t len)
{
    unsigned dots = 0;

    while (len > 0 && dots < 3) {
        size_t n = *s == '.'                                                            ? 1
                   : len >= 3 && s[0] == '%' && s[1] == '2' && ascii_lower(s[2]) == 'e' ? 3
                                                                                        : 0;
        if (n == 0)
            return 0;
        dots++;
        s += n;
        len -= n;
    }
    return dots <= 2 ? dots : 0;
}

/* Removes the dot segments, in place. The path begins with a slash; its query is kept. */
static void resolve_dots(char *path)
{
    size_t len = strcspn(path, "?#"), out = 0, next;
    char *rest = path + len;

    for (size_t i = 0; i < len; i = next) {
        next = i + 1;
        while (next < len && path[next] != '/')
            next++;
        unsigned dots = dots_of(path + i + 1, next - i - 1);

        if (dots == 2) /* removes the segment before it, too */
            while (out > 0 && path[--out] != '/')
                ;
        if (dots == 0) {
            memmove(path + out, path + i, next - i);
            out += next - i;
        } else if (next == len) {
            path[out++] = '/';
        }
    }
    if (out == 0)
        path[out++] = '/';
    memmove(path + out, rest, strlen(rest) + 1);
}

static bool is_below(const char *path, const char *base)
{
    size_t len = strlen(base);

    return strncmp(path, base, len) == 0 &&
           (path[len] == '\0' || strchr("/?#", path[len]) != NULL || len == 0);
}

static const char *join(struct arena *arena, const char *a, size_t a_len, const char *b)
{
    size_t b_len = strlen(b);
    char *both = arena_alloc(arena, a_len + b_len + 2);

    if (both == NULL)
        return NULL;
    memcpy(both, a, a_len);
    memcpy(both + a_len, b, b_len + 1);
    return both;
}

/* Prepends the directory of the request's path to a relative path. */
static const char *merged(struct arena *arena, const struct location_base *base,
                          const char *value)
{
    const char *target = join(arena, base->prefix, strlen(base->prefix), base->path);

    if (target == NULL)
        return NULL;
    size_t len = strlen(base->prefix) + base->path_len;

    while (len > 0 && target[len - 1] != '/')
        len--;
    return len == 0 ? join(arena, "/", 1, value) : join(arena, target, len, value);
}

/* Whether the caller, resolving a relative reference itself, gets the same target: it
 * resolves against its own path, to which this proxy may have added the base path. */
static bool leads_there(struct arena *arena, const struct location_base *base,
                        const char *value, const char *resolved)
{
    const struct location_base as_asked = { .prefix = "",
                                            .path = base->path,
                                            .path_len = base->path_len };
    const char *path = merged(arena, &as_asked, value);
    char *theirs = path == NULL ? NULL : arena_copy(arena, path, strlen(path));
    size_t prefix_len = strlen(base->prefix);

    if (theirs == NULL)
        return false;
    resolve_dots(theirs);
    return strncmp(resolved, base->prefix, prefix_len) == 0 &&
           strcmp(resolved + prefix_len, theirs) == 0 &&
           (prefix_len == 0 || !is_below(theirs, base->base_path));
}

const char *location_rewrite(struct arena *arena, const struct location_base *base,
                             const char *value)
{
    size_t to_path = strcspn(value, "/?#");
    bool has_scheme = memchr(value, ':', to_path) != NULL;
    bool has_host = has_scheme || strncmp(value, "//", 2) == 0;
    const char *path = value;

    if (value[0] == '\0' || value[0] == '?' || value[0] == '#' ||
        strpbrk(value, "\\\t ") != NULL)
        return NULL;
    if (has_host)
        path = header_local_location(value, base->origin);
    else if (value[0] != '/')
        path = merged(arena, base, value);
    if (path == NULL)
        return NULL;
    char *resolved = arena_copy(arena, path, strlen(path));

    if (resolved == NULL)
        return NULL;
    resolve_dots(resolved);
    if (is_below(resolved, base->base_path) && strncmp(resolved, "//", 2) != 0)
        return strcmp(resolved, value) == 0 || (!has_host && value[0] != '/' &&
                                                leads_there(arena, base, value, resolved))
                   ? NULL
                   : resolved;
    return has_scheme ? NULL : join(arena, base->origin, strlen(base->origin), resolved);
}

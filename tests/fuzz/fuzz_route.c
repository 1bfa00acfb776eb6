/* route_find on "METHOD target": what is forwarded begins with one slash, lies below the base
 * path and has no dot segment, however often a reader decodes `%2e`. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "http/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Decodes the path into a copy and looks for dot segments there: another way than route.c's. */
static bool climbs(const char *path, size_t len)
{
    char *plain = malloc(len + 1);
    size_t n = 0;
    bool found = false;

    require(plain != NULL);
    for (size_t i = 0; i < len; i++) {
        if (path[i] != '%') {
            plain[n++] = path[i];
            continue;
        }
        require(i + 2 < len);
        plain[n++] = (char)(ascii_hex(path[i + 1]) * 16 + ascii_hex(path[i + 2]));
        i += 2;
    }
    plain[n] = '\0';
    require(strlen(plain) == n && strchr(plain, '\\') == NULL);
    for (char *s = plain; s != NULL; s = strchr(s, '/')) {
        s += *s == '/' ? 1 : 0;
        size_t segment = strcspn(s, "/;");
        found |= (segment == 1 && s[0] == '.') || (segment == 2 && strncmp(s, "..", 2) == 0);
    }
    free(plain);
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *hosts[] = { "localhost", "[::1]" };
    struct config c = { .listen.allowed_hosts = { .item = hosts, .count = 2 },
                        .upstream = { .scheme = "https",
                                      .authority = "api.1shotapi.dev",
                                      .base_path = size % 2 == 0 ? "/v0" : "" },
                        .token.local_endpoint = true };
    char *text = malloc(size + 1);

    require(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    char *target = strchr(text, ' ');
    if (target != NULL) {
        *target++ = '\0';
        struct route r = route_find(&c, text, target);
        if (r.kind == ROUTE_REFUSED) {
            require(r.failure != FAIL_NONE && r.why != NULL);
        } else if (r.kind == ROUTE_OPTIONS) {
            require(strcmp(text, "OPTIONS") == 0 && strcmp(target, "*") == 0);
        } else {
            require(r.path[0] == '/' && r.path[1] != '/');
            require(strcmp(r.prefix, "") == 0 || strcmp(r.prefix, "/v0") == 0);
            require(r.path_len <= strlen(r.path) && !climbs(r.path, r.path_len));
            if (r.prefix[0] == '\0')
                require(strncmp(r.path, c.upstream.base_path, strlen(c.upstream.base_path)) ==
                        0);
            for (const char *s = r.path; *s != '\0'; s++)
                require(ascii_is_visible(*s) && *s != '#');
        }
        require(r.kind != ROUTE_TOKEN_ENDPOINT || strcmp(text, "POST") == 0);
    }
    free(text);
    return 0;
}

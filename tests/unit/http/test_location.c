/* location.c: where a rewritten Location leads the caller. */
#include <string.h>

#include "http/location.h"
#include "unit.h"

#define UP "https://api.1shotapi.dev"

static const struct {
    const char *value, *given; /* NULL: as it is */
    const char *path;          /* what the caller asked for; NULL: /v0/chains/1 */
} cases[] = {
    /* below the base path */
    { "/v0/x?y=1#z", NULL, NULL },
    { "/v0", NULL, NULL },
    { "/v0?a", NULL, NULL },
    { UP "/v0/x?y=1#z", "/v0/x?y=1#z", NULL },
    { UP ":443/v0/x", "/v0/x", NULL },
    { "HTTPS://API.1shotapi.DEV/v0/x", "/v0/x", NULL },
    { "http://api.1shotapi.dev/v0/x", "/v0/x", NULL },
    { "http://api.1shotapi.dev:80/v0/x", "/v0/x", NULL },
    { "http://api.1shotapi.dev:443/v0/x", "/v0/x", NULL },
    { "//api.1shotapi.dev/v0/x", "/v0/x", NULL },
    { UP "/v0/a/../b", "/v0/b", NULL },
    { "/v0/./b/%2E%2e/c", "/v0/c", NULL },
    { "2", NULL, NULL },
    { "./2?x=/../y", NULL, NULL },
    { "../wallets", NULL, NULL },
    { "?page=2", NULL, NULL },
    { "#top", NULL, NULL },
    { "", NULL, NULL },
    /* outside it, on the same origin */
    { "/other/x", UP "/other/x", NULL },
    { "/", UP "/", NULL },
    { "/v01/x", UP "/v01/x", NULL },
    { "/v0/../x", UP "/x", NULL },
    { "/v0/%2e%2e/x", UP "/x", NULL },
    { "../../x", UP "/x", NULL },
    { "../../../../x/", UP "/x/", NULL },
    { "x", UP "/x", "/v0" },
    { "//api.1shotapi.dev/other", UP "/other", NULL },
    { UP "/other/x", NULL, NULL },
    { UP, NULL, NULL },
    { "http://api.1shotapi.dev/other/x", NULL, NULL },
    /* elsewhere */
    { "https://elsewhere.example/v0/x", NULL, NULL },
    { "http://api.1shotapi.dev:8080/v0/x", NULL, NULL },
    { UP ":8443/v0/x", NULL, NULL },
    { "https://user@api.1shotapi.dev/v0/x", NULL, NULL },
    { "https://api.1shotapi.dev.evil/v0/x", NULL, NULL },
    { "//elsewhere.example/v0/x", NULL, NULL },
    { "mailto:x@example.com", NULL, NULL },
    { "javascript:alert(1)", NULL, NULL },
    { "/\\evil/v0", NULL, NULL },
    { "/v0/\tx", NULL, NULL },
};

static void it_leads_where_the_upstream_meant(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena;
        const char *path = cases[i].path == NULL ? "/v0/chains/1" : cases[i].path;
        const struct location_base base = { .origin = UP,
                                            .base_path = "/v0",
                                            .prefix = "",
                                            .path = path,
                                            .path_len = strlen(path) };
        arena_init(&arena, 65536);
        const char *given = location_rewrite(&arena, &base, cases[i].value);
        if (cases[i].given == NULL ? given != NULL
                                   : given == NULL || strcmp(given, cases[i].given) != 0)
            fail_msg("%s became %s, not %s", cases[i].value,
                     given == NULL ? "(as it is)" : given,
                     cases[i].given == NULL ? "(as it is)" : cases[i].given);
        arena_done(&arena);
    }
}

/* Of a request for /chains/1?q, to which the base path was added; and without a base path. */
static void the_request_that_is_resolved_against_is_the_upstreams(void **state)
{
    (void)state;
    struct arena arena;
    struct location_base base = { .origin = "http://[::1]:8080",
                                  .base_path = "/v0",
                                  .prefix = "/v0",
                                  .path = "/chains/1?a=/b/c",
                                  .path_len = 9 };
    arena_init(&arena, 65536);
    assert_null(location_rewrite(&arena, &base, "2"));
    base.path = "/chains";
    base.path_len = 7;
    assert_null(location_rewrite(&arena, &base, "x"));
    assert_string_equal(location_rewrite(&arena, &base, "v0/x"), "/v0/v0/x");
    assert_string_equal(location_rewrite(&arena, &base, "../v0/x"), "/v0/x");
    base.path = "/chains/1?a=/b/c";
    base.path_len = 9;
    assert_string_equal(location_rewrite(&arena, &base, "../../x"), "http://[::1]:8080/x");
    assert_null(location_rewrite(&arena, &base, "https://[::1]:8080/v0/x"));
    base.base_path = base.prefix = "";
    assert_string_equal(location_rewrite(&arena, &base, "http://[::1]:8080/x"), "/x");
    assert_null(location_rewrite(&arena, &base, "/x"));
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_leads_where_the_upstream_meant),
        cmocka_unit_test(the_request_that_is_resolved_against_is_the_upstreams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

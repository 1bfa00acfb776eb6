/* route.c: the upstream target of a request, and which targets are refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/request_check.h"
#include "http/route.h"
#include "unit.h"

static struct config *settings(void)
{
    static char *hosts[] = { "localhost", "127.0.0.1", "[::1]" };
    static struct config c;

    c = (struct config){
        .listen.allowed_hosts = { .item = hosts, .count = 3 },
        .upstream = { .scheme = "https", .authority = "api.1shotapi.dev", .base_path = "/v0" },
        .token.local_endpoint = true,
    };
    return &c;
}

static struct route find(const char *method, const char *target)
{
    return route_find(settings(), method, target);
}

/* What the upstream would be asked for. */
static void assert_goes(const struct route *r, const char *target)
{
    char whole[1024];

    assert_int_equal(r->kind, ROUTE_FORWARD);
    (void)snprintf(whole, sizeof whole, "%s%s", r->prefix, r->path);
    assert_string_equal(whole, target);
    assert_int_equal(r->path_len, strcspn(r->path, "?"));
}

#define goes(from, to)                       \
    do {                                     \
        struct route r_ = find("GET", from); \
        assert_goes(&r_, to);                \
    } while (0)

static void assert_refused(const char *method, const char *target, enum failure_kind kind)
{
    struct route r = find(method, target);

    if (r.kind != ROUTE_REFUSED || r.failure != kind)
        print_error("%s %s\n", method, target);
    assert_int_equal(r.kind, ROUTE_REFUSED);
    assert_int_equal(r.failure, kind);
    assert_non_null(r.why);
}

static void bad(const char *target)
{
    assert_refused("GET", target, FAIL_BAD_TARGET);
}

static void a_path_below_the_base_path_passes_as_it_is(void **state)
{
    (void)state;
    goes("/v0/chains", "/v0/chains");
    goes("/v0", "/v0");
    goes("/v0/", "/v0/");
    goes("/v0?x", "/v0?x");
    goes("/v0/a//b/", "/v0/a//b/");
}

static void any_other_path_gets_the_base_path_in_front(void **state)
{
    (void)state;
    goes("/chains", "/v0/chains");
    goes("/", "/v0/");
    goes("/?x=1", "/v0/?x=1");
    goes("/v01", "/v0/v01");
    goes("/V0/x", "/v0/V0/x");
    goes("/v0;x", "/v0/v0;x");
    goes("/v", "/v0/v");
    goes("/%760/x", "/v0/%760/x");
    goes("/chains?back=/v0/x", "/v0/chains?back=/v0/x");
}

static void without_a_base_path_nothing_is_put_in_front(void **state)
{
    struct config *c = settings();

    (void)state;
    c->upstream.base_path = "";
    struct route r = route_find(c, "GET", "/chains?x");
    assert_goes(&r, "/chains?x");
    r = route_find(c, "POST", "/token");
    assert_int_equal(r.kind, ROUTE_TOKEN_ENDPOINT);
}

static void leading_slashes_collapse_and_no_others(void **state)
{
    (void)state;
    goes("//chains", "/v0/chains");
    goes("////v0//chains", "/v0//chains");
    goes("//", "/v0/");
    goes("//evil.example/v0", "/v0/evil.example/v0");
}

static void path_and_query_arrive_byte_for_byte(void **state)
{
    (void)state;
    goes("/v0/a%20b%C3%A9%7e:@!$&'()*+,;=-._~[x]", "/v0/a%20b%C3%A9%7e:@!$&'()*+,;=-._~[x]");
    goes("/v0/x?a=%zz&b=%&c={\"d\":[<1|2^3>]}`\\&e=?/../",
         "/v0/x?a=%zz&b=%&c={\"d\":[<1|2^3>]}`"
         "\\&e=?/../");
    goes("/v0/x?", "/v0/x?");
    goes("/v0/%252e%252e/x", "/v0/%252e%252e/x");
}

static void names_with_dots_are_no_dot_segments(void **state)
{
    (void)state;
    goes("/v0/...", "/v0/...");
    goes("/v0/.well-known", "/v0/.well-known");
    goes("/v0/a..b/..c/d..", "/v0/a..b/..c/d..");
    goes("/v0/;x", "/v0/;x");
    goes("/v0/%2e%2e%2e", "/v0/%2e%2e%2e");
    goes("/v0/x?/../y", "/v0/x?/../y");
}

static void dot_segments_are_refused_however_written(void **state)
{
    static const char *const targets[] = {
        "/.",          "/..",          "/v0/../x",    "/v0/./x",      "/v0/x/..",
        "/v0/%2e%2e/", "/v0/%2E%2e/x", "/v0/.%2e/x",  "/v0/%2E./x",   "/v0/%2e",
        "/v0/..;/x",   "/v0/..;a=b/x", "/v0/.;",      "/v0/..%3bx/y", "/v0/%2e%2e;x/y",
        "//..",        "/../v0/x",     "/v0/x/../?y", "/v0/..?x",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(targets); i++)
        bad(targets[i]);
}

static void encoded_slashes_backslashes_and_nul_are_refused_in_the_path(void **state)
{
    (void)state;
    bad("/v0/a%2fb");
    bad("/v0/a%2Fb");
    bad("/v0/a%5cb");
    bad("/v0/a%5Cb");
    bad("/v0%00");
    goes("/v0/x?y=%2f%5c%00", "/v0/x?y=%2f%5c%00");
}

static void bad_escapes_are_refused_in_the_path(void **state)
{
    (void)state;
    bad("/v0/%");
    bad("/v0/%2");
    bad("/v0/%zz");
    bad("/v0/%2g");
    bad("/v0/%?20");
}

static void only_the_right_bytes_pass(void **state)
{
    (void)state;
    for (int c = 1; c < 256; c++) {
        char target[] = "/v0/a?b";
        bool visible = c > ' ' && c < 0x7f;

        if (c == '?' || c == '%' || c == '/')
            continue;
        target[4] = (char)c;
        target[5] = 'a';
        bool path_ok = visible && strchr("#\\\"<>^`{|}", c) == NULL;
        if (c != '.') /* "/v0/.ab" would do as well */
            assert_int_equal(find("GET", target).kind, path_ok ? ROUTE_FORWARD : ROUTE_REFUSED);
        target[4] = 'a';
        target[5] = '?';
        target[6] = (char)c;
        bool query_ok = visible && c != '#';
        assert_int_equal(find("GET", target).kind, query_ok ? ROUTE_FORWARD : ROUTE_REFUSED);
    }
}

static void other_forms_are_refused(void **state)
{
    (void)state;
    bad("*");
    assert_refused("options", "*", FAIL_BAD_TARGET);
    assert_int_equal(find("OPTIONS", "*").kind, ROUTE_OPTIONS);
    bad("");
    bad("chains");
    bad("example.com:443");
    bad("@evil/");
    bad("!");
    bad("\\evil");
    bad("ftp://localhost/");
    bad("http:/localhost/");
    bad("http:localhost/");
    bad("?x");
}

static void connect_and_trace_are_refused_in_any_case(void **state)
{
    (void)state;
    assert_refused("CONNECT", "example.com:443", FAIL_METHOD_DENIED);
    assert_refused("TRACE", "/v0/x", FAIL_METHOD_DENIED);
    assert_refused("trace", "/v0/x", FAIL_METHOD_DENIED);
    assert_int_equal(find("PROPFIND", "/v0/x").kind, ROUTE_FORWARD);
    assert_int_equal(find("get", "/v0/x").kind, ROUTE_FORWARD);
}

static void an_absolute_target_of_ours_or_the_upstreams_loses_its_authority(void **state)
{
    (void)state;
    goes("http://localhost:8080/v0/x?y", "/v0/x?y");
    goes("HTTP://LocalHost/chains", "/v0/chains");
    goes("https://127.0.0.1//chains", "/v0/chains");
    goes("http://[::1]:8080", "/v0/");
    goes("https://api.1shotapi.dev/v0/x", "/v0/x");
    goes("https://API.1shotapi.dev:443/x", "/v0/x");
    goes("http://api.1shotapi.dev/x", "/v0/x");
    assert_true(find("GET", "http://localhost/x").absolute);
    assert_false(find("GET", "/x").absolute);
}

static void an_absolute_target_of_others_is_refused(void **state)
{
    (void)state;
    assert_refused("GET", "http://evil.example/", FAIL_HOST_DENIED);
    assert_refused("GET", "https://api.1shotapi.dev:8443/", FAIL_HOST_DENIED);
    assert_refused("GET", "https://api.1shotapi.dev.evil/", FAIL_HOST_DENIED);
    bad("http://localhost@evil/");
    bad("http://user:pw@localhost/");
    bad("http:///x");
    bad("http://");
    bad("http://localhost\\@evil/");
    bad("http://localhost?x");
    bad("http://localhost#x");
    bad("http://localhost:8080/v0/../x");
}

static void the_token_endpoint_is_answered_here(void **state)
{
    (void)state;
    assert_int_equal(find("POST", "/token").kind, ROUTE_TOKEN_ENDPOINT);
    assert_int_equal(find("POST", "/v0/token").kind, ROUTE_TOKEN_ENDPOINT);
    assert_int_equal(find("POST", "//token").kind, ROUTE_TOKEN_ENDPOINT);
    assert_int_equal(find("POST", "/v0/token?x=y").kind, ROUTE_TOKEN_ENDPOINT);
    assert_int_equal(find("POST", "http://localhost/token").kind, ROUTE_TOKEN_ENDPOINT);
    assert_int_equal(find("GET", "/token").kind, ROUTE_FORWARD);
    assert_int_equal(find("post", "/token").kind, ROUTE_FORWARD);
    assert_int_equal(find("POST", "/token/").kind, ROUTE_FORWARD);
    assert_int_equal(find("POST", "/tokens").kind, ROUTE_FORWARD);
    assert_int_equal(find("POST", "/v0/v0/token").kind, ROUTE_FORWARD);
    assert_int_equal(find("POST", "/v0//token").kind, ROUTE_FORWARD);
    assert_int_equal(find("POST", "/v0token").kind, ROUTE_FORWARD);
}

static void without_a_local_endpoint_the_token_call_goes_on(void **state)
{
    struct config *c = settings();

    (void)state;
    c->token.local_endpoint = false;
    struct route r = route_find(c, "POST", "/token");
    assert_goes(&r, "/v0/token");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_below_the_base_path_passes_as_it_is),
        cmocka_unit_test(any_other_path_gets_the_base_path_in_front),
        cmocka_unit_test(without_a_base_path_nothing_is_put_in_front),
        cmocka_unit_test(leading_slashes_collapse_and_no_others),
        cmocka_unit_test(path_and_query_arrive_byte_for_byte),
        cmocka_unit_test(names_with_dots_are_no_dot_segments),
        cmocka_unit_test(dot_segments_are_refused_however_written),
        cmocka_unit_test(encoded_slashes_backslashes_and_nul_are_refused_in_the_path),
        cmocka_unit_test(bad_escapes_are_refused_in_the_path),
        cmocka_unit_test(only_the_right_bytes_pass),
        cmocka_unit_test(other_forms_are_refused),
        cmocka_unit_test(connect_and_trace_are_refused_in_any_case),
        cmocka_unit_test(an_absolute_target_of_ours_or_the_upstreams_loses_its_authority),
        cmocka_unit_test(an_absolute_target_of_others_is_refused),
        cmocka_unit_test(the_token_endpoint_is_answered_here),
        cmocka_unit_test(without_a_local_endpoint_the_token_call_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* access.c: which requests may use the port. */
#include <string.h>

#include "http/access.h"
#include "unit.h"

#define LIST(...)                                                                          \
    (struct config_list)                                                                   \
    {                                                                                      \
        .item = (char *[]){ __VA_ARGS__ }, .count = ARRAY_LEN(((char *[]){ __VA_ARGS__ })) \
    }

#define F(n, v)                                                                  \
    (struct header_field)                                                        \
    {                                                                            \
        .name = (n), .name_len = strlen(n), .value = (v), .value_len = strlen(v) \
    }

static char *default_hosts[] = { "localhost", "127.0.0.1", "[::1]" };

/* A configuration with the defaults that matter here, for the running test. */
#define SETTINGS()                                                      \
    (&(struct config){ .listen.allowed_hosts = { .item = default_hosts, \
                                                 .count = ARRAY_LEN(default_hosts) } })

static bool allowed(const struct config *c, const char *host)
{
    return access_host_allowed(c, host, strlen(host));
}

static enum failure_kind check_fields(const struct config *c, const struct header_field *fields,
                                      size_t count)
{
    struct header_field all[16] = { F("Host", "localhost:8080") };
    struct access_check in = { .config = c, .fields = all };

    assert_true(count < ARRAY_LEN(all));
    for (in.count = 1; in.count <= count; in.count++)
        all[in.count] = fields[in.count - 1];
    return access_check(&in).kind;
}

#define check(c, ...)                                               \
    check_fields((c), (const struct header_field[]){ __VA_ARGS__ }, \
                 ARRAY_LEN(((const struct header_field[]){ __VA_ARGS__ })))

static void the_local_names_are_allowed_with_any_port(void **state)
{
    const struct config *c = SETTINGS();

    (void)state;
    assert_true(allowed(c, "localhost"));
    assert_true(allowed(c, "LOCALHOST:8080"));
    assert_true(allowed(c, "127.0.0.1:8080"));
    assert_true(allowed(c, "127.0.0.1:9000")); /* behind a port mapping */
    assert_true(allowed(c, "[::1]:8080"));
    assert_true(allowed(c, "[::1]"));
    assert_true(allowed(c, "localhost:"));
    assert_false(allowed(c, "localhost:80a"));
    assert_false(allowed(c, "localhost:65536"));
}

static void other_names_are_not_allowed(void **state)
{
    const struct config *c = SETTINGS();

    (void)state;
    assert_false(allowed(c, "evil.example"));
    assert_false(allowed(c, "localhost.evil"));
    assert_false(allowed(c, "evil.localhost"));
    assert_false(allowed(c, "localhost."));
    assert_false(allowed(c, "localhost.:8080"));
    assert_false(allowed(c, "[0:0:0:0:0:0:0:1]"));
    assert_false(allowed(c, "[::ffff:127.0.0.1]"));
    assert_false(allowed(c, "2130706433"));
    assert_false(allowed(c, "127.1"));
    assert_false(allowed(c, "0x7f.0.0.1"));
    assert_false(allowed(c, "127.0.0.1.nip.io:8080"));
    assert_false(allowed(c, "127.0.0.2"));
    assert_false(allowed(c, "[::2]"));
    assert_false(allowed(c, "::1"));
    assert_false(allowed(c, ""));
    assert_false(allowed(c, "a@localhost"));
    assert_false(allowed(c, "localhost/"));
}

static void an_entry_may_name_its_port_or_any(void **state)
{
    struct config *c = SETTINGS();

    (void)state;
    c->listen.allowed_hosts = LIST("one:81", "any:*", "[::1]:82", "[::2]:*", "std:443");
    assert_true(allowed(c, "one:81"));
    assert_false(allowed(c, "one"));
    assert_false(allowed(c, "one:8080"));
    assert_true(allowed(c, "any:5"));
    assert_true(allowed(c, "any"));
    assert_true(allowed(c, "[::1]:82"));
    assert_false(allowed(c, "[::1]:8080"));
    assert_true(allowed(c, "[::2]:9"));
    assert_true(allowed(c, "std:443"));
    assert_true(allowed(c, "std"));
    assert_false(allowed(c, "std:8443"));
}

static void a_star_allows_every_sound_host(void **state)
{
    struct config *c = SETTINGS();

    (void)state;
    c->listen.allowed_hosts = LIST("localhost", "*");
    assert_true(allowed(c, "whatever.example:1"));
    assert_false(allowed(c, "a b"));
}

static void an_entry_that_is_no_host_allows_nothing(void **state)
{
    struct config *c = SETTINGS();

    (void)state;
    c->listen.allowed_hosts = LIST("[::1", "", "x:y");
    assert_false(allowed(c, "[::1]"));
    assert_false(allowed(c, "x"));
    assert_false(allowed(c, "x:8080"));
}

static void a_request_from_a_program_passes(void **state)
{
    (void)state;
    assert_int_equal(check(SETTINGS(), F("Accept", "*/*")), FAIL_NONE);
    /* what Node's fetch sends */
    assert_int_equal(check(SETTINGS(), F("sec-fetch-mode", "cors")), FAIL_NONE);
    assert_int_equal(check(SETTINGS(), F("Sec-Fetch-Site", "none")), FAIL_NONE);
    assert_int_equal(check(SETTINGS(), F("Sec-Fetch-Site", "same-origin")), FAIL_NONE);
}

static void a_host_that_is_not_listed_is_denied_and_the_detail_names_the_key(void **state)
{
    const struct header_field f = F("HOST", " evil.example ");
    struct access_check in = { .config = SETTINGS(), .fields = &f, .count = 1 };

    (void)state;
    struct failure why = access_check(&in);
    assert_int_equal(why.kind, FAIL_HOST_DENIED);
    assert_non_null(strstr(why.detail, "listen.allowed_hosts"));
    assert_null(strstr(why.detail, "evil"));
    in.count = 0; /* none at all */
    assert_int_equal(access_check(&in).kind, FAIL_HOST_DENIED);
}

static void the_host_of_an_absolute_form_request_does_not_count(void **state)
{
    const struct header_field f = F("Host", "api.1shotapi.dev");
    struct access_check in = { .config = SETTINGS(), .fields = &f, .count = 1 };

    (void)state;
    assert_int_equal(access_check(&in).kind, FAIL_HOST_DENIED);
    in.absolute_form = true;
    assert_int_equal(access_check(&in).kind, FAIL_NONE);
}

/* There are no patterns: a star is everything, or a letter of a name that nobody has. */
static void a_star_counts_only_by_itself(void **state)
{
    struct config c = { .listen.allowed_hosts = LIST("*.example.com", "*:80", "**") };

    (void)state;
    assert_false(allowed(&c, "evil"));
    assert_false(allowed(&c, "a.example.com"));
    assert_false(allowed(&c, "evil:80"));
    c.listen.allowed_hosts = LIST("localhost", "*");
    assert_true(allowed(&c, "evil"));
    c.listen.allowed_origins = LIST("https://*", "**");
    assert_int_equal(check(&c, F("Origin", "https://evil.example")), FAIL_ORIGIN_DENIED);
}

static void a_web_page_is_denied(void **state)
{
    const struct config *c = SETTINGS();

    (void)state;
    assert_int_equal(check(c, F("Origin", "http://evil.example")), FAIL_ORIGIN_DENIED);
    assert_int_equal(check(c, F("Origin", "null")), FAIL_ORIGIN_DENIED);
    assert_int_equal(check(c, F("Origin", "")), FAIL_ORIGIN_DENIED);
    assert_int_equal(check(c, F("ORIGIN", "http://localhost:8080")), FAIL_ORIGIN_DENIED);
    assert_int_equal(check(c, F("Sec-Fetch-Site", "cross-site")), FAIL_ORIGIN_DENIED);
    assert_int_equal(check(c, F("sec-fetch-site", " Same-Site ")), FAIL_ORIGIN_DENIED);
    assert_int_equal(check(c, F("Sec-Fetch-Site", "cross-site"), F("Sec-Fetch-Site", "none")),
                     FAIL_ORIGIN_DENIED);
    assert_int_equal(check(c, F("Sec-Fetch-Site", "none"), F("Sec-Fetch-Site", "cross-site")),
                     FAIL_ORIGIN_DENIED);
}

static void a_listed_origin_passes_also_across_sites(void **state)
{
    struct config *c = SETTINGS();

    (void)state;
    c->listen.allowed_origins = LIST("https://app.example", "null");
    assert_int_equal(check(c, F("Origin", "https://app.example")), FAIL_NONE);
    assert_int_equal(check(c, F("Origin", " HTTPS://App.example ")), FAIL_NONE);
    assert_int_equal(check(c, F("Origin", "null")), FAIL_NONE);
    assert_int_equal(
        check(c, F("Sec-Fetch-Site", "cross-site"), F("Origin", "https://app.example")),
        FAIL_NONE);
    assert_int_equal(check(c, F("Origin", "https://app.example:8443")), FAIL_ORIGIN_DENIED);
    assert_int_equal(check(c, F("Origin", "https://app.example.evil")), FAIL_ORIGIN_DENIED);
    assert_int_equal(check(c, F("Origin", "https://app.example https://evil")),
                     FAIL_ORIGIN_DENIED);
    assert_int_equal(check(c, F("Origin", "https://app.example"), F("Origin", "https://evil")),
                     FAIL_ORIGIN_DENIED);
    assert_int_equal(check(c, F("Sec-Fetch-Site", "cross-site")), FAIL_ORIGIN_DENIED);
}

static void a_star_allows_every_origin(void **state)
{
    struct config *c = SETTINGS();

    (void)state;
    c->listen.allowed_origins = LIST("*");
    assert_int_equal(check(c, F("Origin", "http://evil.example")), FAIL_NONE);
    assert_int_equal(check(c, F("Sec-Fetch-Site", "cross-site")), FAIL_NONE);
}

static void the_required_header_must_be_there_once_and_exact(void **state)
{
    struct config *c = SETTINGS();

    (void)state;
    c->listen.require_header_name = "X-Local-Key";
    c->listen.require_header_value = "open sesame";
    assert_int_equal(check(c, F("x-local-key", "open sesame")), FAIL_NONE);
    assert_int_equal(check(c, F("X-Local-Key", " open sesame\t")), FAIL_NONE);
    assert_int_equal(check(c, F("X-Local-Key", "Open sesame")), FAIL_HEADER_MISSING);
    assert_int_equal(check(c, F("X-Local-Key", "open sesam")), FAIL_HEADER_MISSING);
    assert_int_equal(check(c, F("X-Local-Key", "open sesame!")), FAIL_HEADER_MISSING);
    assert_int_equal(check(c, F("X-Local-Key", "")), FAIL_HEADER_MISSING);
    assert_int_equal(check(c, F("X-Local-Keys", "open sesame")), FAIL_HEADER_MISSING);
    assert_int_equal(check(c, F("X_Local_Key", "open sesame")), FAIL_HEADER_MISSING);
    assert_int_equal(check(c, F("X-Local-Key", "open sesame"), F("x-local-key", "open sesame")),
                     FAIL_HEADER_MISSING);
    assert_int_equal(check(c, F("X-Local-Key", "no"), F("x-local-key", "open sesame")),
                     FAIL_HEADER_MISSING);
    assert_int_equal(check(c, F("Accept", "a")), FAIL_HEADER_MISSING);
}

static void the_detail_of_a_missing_header_does_not_give_it_away(void **state)
{
    struct config *c = SETTINGS();
    const struct header_field f = F("Host", "localhost");

    (void)state;
    c->listen.require_header_name = "X-Local-Key";
    c->listen.require_header_value = "open sesame";
    struct access_check in = { .config = c, .fields = &f, .count = 1 };
    struct failure why = access_check(&in);
    assert_int_equal(why.kind, FAIL_HEADER_MISSING);
    assert_non_null(strstr(why.detail, "listen.require_header"));
    assert_null(strstr(why.detail, "sesame"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_local_names_are_allowed_with_any_port),
        cmocka_unit_test(other_names_are_not_allowed),
        cmocka_unit_test(an_entry_may_name_its_port_or_any),
        cmocka_unit_test(a_star_allows_every_sound_host),
        cmocka_unit_test(an_entry_that_is_no_host_allows_nothing),
        cmocka_unit_test(a_request_from_a_program_passes),
        cmocka_unit_test(a_host_that_is_not_listed_is_denied_and_the_detail_names_the_key),
        cmocka_unit_test(the_host_of_an_absolute_form_request_does_not_count),
        cmocka_unit_test(a_star_counts_only_by_itself),
        cmocka_unit_test(a_web_page_is_denied),
        cmocka_unit_test(a_listed_origin_passes_also_across_sites),
        cmocka_unit_test(a_star_allows_every_origin),
        cmocka_unit_test(the_required_header_must_be_there_once_and_exact),
        cmocka_unit_test(the_detail_of_a_missing_header_does_not_give_it_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

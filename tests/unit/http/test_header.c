/* header.c: which fields are forwarded, dropped and set. */
#include <stdio.h>
#include <string.h>

#include "http/header.h"
#include "unit.h"

#define TOKEN_LINE "Authorization: Bearer our-token"

#define F(n, v)                                                                          \
    {                                                                                    \
        .name = (n), .name_len = sizeof(n) - 1, .value = (v), .value_len = sizeof(v) - 1 \
    }

static struct header_forward ordinary(const struct header_field *fields, size_t count)
{
    return (struct header_forward){ .fields = fields,
                                    .count = count,
                                    .host = "api.1shotapi.dev",
                                    .authorization = TOKEN_LINE };
}

static void assert_written(const struct header_forward *in, const char *expected)
{
    struct buf out;

    buf_init(&out, 65536);
    assert_true(header_write(&out, in));
    assert_string_equal(buf_text(&out), expected);
    buf_done(&out);
}

#define HOST "Host: api.1shotapi.dev\r\n"
#define TAIL "Via: 1.1 oneshot-proxy\r\n" TOKEN_LINE "\r\n"
#define END "\r\n"

#define assert_forwards(expected, ...)                                     \
    do {                                                                   \
        const struct header_field fields_[] = { __VA_ARGS__ };             \
        struct header_forward in_ = ordinary(fields_, ARRAY_LEN(fields_)); \
        assert_written(&in_, expected END);                                \
    } while (0)

static void a_request_without_fields_gets_ours_only(void **state)
{
    (void)state;
    struct header_forward in = ordinary(NULL, 0);
    assert_written(&in, HOST TAIL END);
}

static void fields_pass_in_order_and_repeated(void **state)
{
    (void)state;
    assert_forwards(HOST "Cookie: a=b\r\nX-A: 1\r\nCookie: c=d\r\nuser-agent: x\r\n" TAIL,
                    F("Cookie", "a=b"), F("X-A", "1"), F("Cookie", "c=d"),
                    F("user-agent", "x"));
}

static void the_accept_of_the_caller_passes(void **state)
{
    (void)state;
    assert_forwards(HOST "ACCEPT: a/b\r\n" TAIL, F("ACCEPT", "a/b"));
    assert_forwards(HOST "Accept: \r\n" TAIL, F("Accept", ""));
}

static void an_empty_value_stays_empty(void **state)
{
    (void)state;
    assert_forwards(HOST "X-Empty: \r\nX-Blank: \r\nX-Tab: \r\nX-Semi: ;\r\n" TAIL,
                    F("X-Empty", ""), F("X-Blank", "   "), F("X-Tab", "\t"), F("X-Semi", ";"));
}

static void blanks_around_a_value_are_trimmed(void **state)
{
    (void)state;
    assert_forwards(HOST "X-A: a \t b\r\nX-B: \xc3\xa9\r\n" TAIL, F("X-A", " \ta \t b \t"),
                    F("X-B", "\xc3\xa9 "));
}

static void the_value_need_not_end_in_nul(void **state)
{
    (void)state;
    const struct header_field f = {
        .name = "X-Along", .name_len = 3, .value = "vwx", .value_len = 1
    };
    struct header_forward in = ordinary(&f, 1);
    assert_written(&in, HOST "X-A: v\r\n" TAIL END);
}

static void hop_by_hop_fields_end_here(void **state)
{
    (void)state;
    assert_forwards(HOST "X-A: 1\r\n" TAIL, F("Connection", "close"),
                    F("Keep-Alive", "timeout=5"), F("proxy-connection", "keep-alive"),
                    F("TE", "trailers"), F("Trailer", "X"), F("Transfer-Encoding", "chunked"),
                    F("UPGRADE", "h2c"), F("HTTP2-Settings", "AAA"),
                    F("Proxy-Authorization", "Basic x"), F("X-A", "1"));
}

static void what_is_set_here_is_never_taken_over(void **state)
{
    (void)state;
    assert_forwards(HOST TAIL, F("Host", "localhost"), F("Expect", "100-continue"),
                    F("Authorization", "Bearer theirs"), F("AUTHORIZATION", "Basic x"),
                    F("authorization", ""));
}

static void underscore_twins_are_dropped_too(void **state)
{
    (void)state;
    assert_forwards(HOST "X_A: 1\r\n_: 2\r\n" TAIL, F("Proxy_Authorization", "x"),
                    F("KEEP_ALIVE", "x"), F("transfer_encoding", "chunked"),
                    F("Proxy_Connection", "x"), F("http2_settings", "x"), F("X_A", "1"),
                    F("authorization_", "2"), F("Host__", "x"), F("_", "2"));
}

static void a_nominated_field_is_dropped_and_so_is_its_twin(void **state)
{
    (void)state;
    assert_forwards(HOST "X-C: 3\r\n" TAIL, F("X-A", "1"), F("x_a", "1"),
                    F("Connection", ",, close , x-A"), F("X-B", "2"), F("connection", "x-b,"),
                    F("X-C", "3"));
}

static void nominating_our_fields_does_not_take_them_off(void **state)
{
    (void)state;
    const struct header_field f[] = { F("Connection",
                                        "authorization, via, host, x-request-id, connection"),
                                      F("Via", "1.0 fred") };
    struct header_forward in = ordinary(f, ARRAY_LEN(f));
    in.request_id = "id-1";
    assert_written(&in, HOST "Via: 1.1 oneshot-proxy\r\nX-Request-Id: id-1\r\n" TOKEN_LINE
                             "\r\n" END);
}

static void a_via_is_kept_and_ours_comes_behind_it(void **state)
{
    (void)state;
    assert_forwards(HOST "Via: 1.0 fred\r\n" TAIL, F("Via", "1.0 fred"));
}

static void the_required_header_stays_here(void **state)
{
    (void)state;
    const struct header_field f[] = { F("x-local-KEY", "secret"), F("X_Local_Key", "secret"),
                                      F("X-A", "1") };
    struct header_forward in = ordinary(f, ARRAY_LEN(f));
    in.require_name = "X-Local-Key";
    assert_written(&in, HOST "X-A: 1\r\n" TAIL END);
}

static void an_answer_that_is_kept_for_others_is_asked_for_without_coding(void **state)
{
    (void)state;
    const struct header_field f[] = { F("Accept-Encoding", "gzip"), F("accept-encoding", "br"),
                                      F("X-A", "1") };
    struct header_forward in = ordinary(f, ARRAY_LEN(f));
    in.identity = true;
    assert_written(&in, HOST "X-A: 1\r\nAccept-Encoding: identity\r\n" TAIL END);
    in.identity = false;
    assert_written(&in,
                   HOST "Accept-Encoding: gzip\r\naccept-encoding: br\r\nX-A: 1\r\n" TAIL END);
}

static void a_key_passes_unless_it_is_told_not_to(void **state)
{
    (void)state;
    const struct header_field f[] = { F("idempotency-KEY", "k"), F("X-A", "1") };
    struct header_forward in = ordinary(f, ARRAY_LEN(f));
    assert_written(&in, HOST "idempotency-KEY: k\r\nX-A: 1\r\n" TAIL END);
    in.drop_key = true;
    assert_written(&in, HOST "X-A: 1\r\n" TAIL END);
}

static void a_written_head_ends_in_one_empty_line(void **state)
{
    (void)state;
    struct header_forward in = ordinary(NULL, 0);
    assert_written(&in, HOST TAIL "\r\n");
}

static void an_empty_value_is_written_as_one(void **state)
{
    (void)state;
    const struct header_field f[] = { F("X-Empty", ""), F("X-Blank", " \t"), F("Accept", "") };
    struct header_forward in = ordinary(f, ARRAY_LEN(f));
    assert_written(&in, HOST "X-Empty: \r\nX-Blank: \r\nAccept: \r\n" TAIL "\r\n");
}

static void a_body_in_chunks_is_said_once(void **state)
{
    (void)state;
    const struct header_field f[] = { F("Transfer-Encoding", "chunked"),
                                      F("transfer_encoding", "chunked"),
                                      F("Connection", "transfer-encoding"), F("X-A", "1") };
    struct header_forward in = ordinary(f, ARRAY_LEN(f));
    in.body_bytes = -1;
    assert_written(&in, HOST "X-A: 1\r\n" TAIL "Transfer-Encoding: chunked\r\n\r\n");
}

static void a_content_length_passes_only_when_it_is_zero_and_there_is_no_body(void **state)
{
    (void)state;
    const struct header_field f[] = { F("Content-Length", "5"), F("content-length", "00") };
    struct header_forward in = ordinary(f, ARRAY_LEN(f));
    assert_written(&in, HOST "content-length: 00\r\n" TAIL END);
    in.body_bytes = 7;
    assert_written(&in, HOST TAIL "Content-Length: 7\r\n" END);
}

/* Else the body would be the next request on the connection. */
static void a_length_that_the_caller_takes_for_an_option_is_written(void **state)
{
    (void)state;
    const struct header_field f[] = { F("Connection", "close, Content_Length, content-length"),
                                      F("Content-Length", "5") };
    struct header_forward in = ordinary(f, ARRAY_LEN(f));
    in.body_bytes = 5;
    assert_written(&in, HOST TAIL "Content-Length: 5\r\n" END);
}

static void a_head_is_written_behind_what_is_there(void **state)
{
    (void)state;
    struct header_forward in = ordinary(NULL, 0);
    struct buf out;

    buf_init(&out, 4096);
    assert_int_equal(buf_add_str(&out, "GET / HTTP/1.1\r\n"), 0);
    assert_true(header_write(&out, &in));
    assert_string_equal(buf_text(&out), "GET / HTTP/1.1\r\n" HOST TAIL "\r\n");
    buf_done(&out);
}

static void a_head_above_the_limit_is_not_written(void **state)
{
    (void)state;
    const struct header_field f[] = { F("X-A", "1"), F("X-Empty", "") };
    struct header_forward in = ordinary(f, ARRAY_LEN(f));
    in.request_id = "id";
    in.body_bytes = -1;
    size_t size = strlen(HOST "X-A: 1\r\nX-Empty: \r\nX-Request-Id: id\r\n" TAIL
                              "Transfer-Encoding: chunked\r\n\r\n");

    for (size_t limit = 0; limit < size + 2; limit++) {
        struct buf out;
        buf_init(&out, limit);
        assert_true(header_write(&out, &in) == (limit >= size));
        assert_true(buf_unread(&out) <= limit);
        buf_done(&out);
    }
}

/* --- back to the caller -------------------------------------------------------------- */

static void assert_left(struct header_field *f, size_t count, const char *expected)
{
    char text[1024] = "";

    count = header_filter_response(f, count);
    for (size_t i = 0; i < count; i++) {
        strncat(text, f[i].name, f[i].name_len);
        strncat(text, " ", 2);
    }
    assert_string_equal(text, expected);
}

static void an_answer_loses_its_hop_by_hop_fields_and_framing(void **state)
{
    (void)state;
    struct header_field f[] = { F("Date", "x"),           F("Connection", "close"),
                                F("Set-Cookie", "a"),     F("Keep-Alive", "timeout=5"),
                                F("Set-Cookie", "b"),     F("Transfer-Encoding", "chunked"),
                                F("content-length", "5"), F("Upgrade", "h2c"),
                                F("Trailer", "x"),        F("Proxy-Connection", "x"),
                                F("Date", "y"),           F("Content-Encoding", "gzip") };
    assert_left(f, ARRAY_LEN(f), "Date Set-Cookie Set-Cookie Date Content-Encoding ");
}

static void an_answer_loses_what_its_connection_names(void **state)
{
    (void)state;
    struct header_field f[] = { F("A", "1"),          F("Connection", "x-secret, close"),
                                F("B", "2"),          F("C", "3"),
                                F("X-Secret", "4"),   F("X_Secret", "5"),
                                F("Connection", "c"), F("D", "6") };
    assert_left(f, ARRAY_LEN(f), "A B X_Secret D ");
    struct header_field self[] = { F("Connection", "connection, a"), F("A", "1"), F("B", "2"),
                                   F("connection", "b") };
    assert_left(self, ARRAY_LEN(self), "");
    assert_int_equal(header_filter_response(self, 0), 0);
}

/* --- values -------------------------------------------------------------------------- */

static void a_name_is_compared_without_case(void **state)
{
    (void)state;
    const struct header_field f = F("X-rEquest-ID", "");
    assert_true(header_is(&f, "x-request-id"));
    assert_false(header_is(&f, "x-request-i"));
    assert_false(header_is(&f, "x-request-id2"));
}

#define has(list, token) header_has_token((list), sizeof(list) - 1, (token))

static void a_token_is_found_in_a_list(void **state)
{
    (void)state;
    assert_true(has("close", "close"));
    assert_true(has("a, CLOSE ,b", "close"));
    assert_true(has(",,\tclose", "close"));
    assert_false(has("closed", "close"));
    assert_false(has("close d", "close"));
    assert_false(has("", "close"));
    assert_false(has(", ,", "close"));
}

static bool ours(const char *via)
{
    const struct header_field f[] = {
        F("X", "1.1 oneshot-proxy"),
        { .name = "vIa", .name_len = 3, .value = via, .value_len = strlen(via) },
    };
    return header_via_is_ours(f, ARRAY_LEN(f));
}

static void a_loop_is_seen_in_any_via_element(void **state)
{
    (void)state;
    assert_true(ours("1.1 oneshot-proxy"));
    assert_true(ours("1.0 fred, 1.1 OneShot-Proxy"));
    assert_true(ours("1.1 oneshot-proxy:8080 (a comment)"));
    assert_true(ours("HTTP/1.1\toneshot-proxy, 1.1 other"));
    assert_true(ours("1.1 x (a, \\) (b), c), 1.1 oneshot-proxy"));
    assert_false(ours("1.1 fred"));
    assert_false(ours("1.1 oneshot-proxy-2"));
    assert_false(ours("1.1 my.oneshot-proxy"));
    assert_false(ours("1.1 x (behind, 1.1 oneshot-proxy)"));
    assert_false(ours("oneshot-proxy"));
    assert_false(ours(""));
    assert_false(ours("(\\"));
    assert_false(header_via_is_ours(NULL, 0));
}

static void a_request_id_is_1_to_128_visible_bytes(void **state)
{
    char long_id[129];

    (void)state;
    memset(long_id, 'x', sizeof long_id);
    assert_true(header_request_id_ok("a", 1));
    assert_true(header_request_id_ok("4bf92f35-77b3/=+_", 17));
    assert_true(header_request_id_ok(long_id, 128));
    assert_false(header_request_id_ok(long_id, 129));
    assert_false(header_request_id_ok("", 0));
    assert_false(header_request_id_ok("a b", 3));
    assert_false(header_request_id_ok("a\tb", 3));
    assert_false(header_request_id_ok("a\x7f", 2));
    assert_false(header_request_id_ok("\xc3\xa9", 2));
}

#define ORIGIN "https://api.1shotapi.dev"

static void a_location_on_the_upstream_becomes_a_path(void **state)
{
    (void)state;
    assert_string_equal(header_local_location(ORIGIN "/v0/x?y=1#z", ORIGIN), "/v0/x?y=1#z");
    assert_string_equal(header_local_location("HTTPS://API.1ShotAPI.dev/v0", ORIGIN), "/v0");
    assert_string_equal(header_local_location(ORIGIN ":443/a", ORIGIN), "/a");
    assert_string_equal(header_local_location(ORIGIN ":/a", ORIGIN), "/a");
    assert_string_equal(header_local_location(ORIGIN "/a", ORIGIN ":443"), "/a");
    assert_string_equal(header_local_location(ORIGIN, ORIGIN), "/");
    assert_string_equal(header_local_location(ORIGIN "/", ORIGIN), "/");
    assert_string_equal(header_local_location("//api.1shotapi.dev/a", ORIGIN), "/a");
    assert_string_equal(header_local_location("http://[::1]:8080/a", "http://[::1]:8080"),
                        "/a");
    assert_string_equal(header_local_location("http://h:80/a", "http://h"), "/a");
}

static void a_location_elsewhere_passes_as_it_is(void **state)
{
    static const char *const elsewhere[] = {
        "https://evil.example/v0",
        "https://api.1shotapi.dev.evil/v0",
        "https://api.1shotapi.dev@evil/",
        "https://user@api.1shotapi.dev/",
        "https://api.1shotapi.dev:8443/",
        "http://api.1shotapi.dev:8080/",
        "//evil/a",
        "///api.1shotapi.dev/a",
        "/v0/x",
        "x",
        "",
        "?a",
        "#a",
        "https:/v0",
        "https:",
        "https://",
        "mailto:a@b",
        ORIGIN "?x=1",
        ORIGIN "#x",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++) {
        if (header_local_location(elsewhere[i], ORIGIN) != NULL)
            print_error("%s\n", elsewhere[i]);
        assert_null(header_local_location(elsewhere[i], ORIGIN));
    }
}

static void a_local_location_never_names_another_host(void **state)
{
    (void)state;
    assert_string_equal(header_local_location(ORIGIN "//evil/x", ORIGIN), "/evil/x");
    assert_string_equal(header_local_location(ORIGIN "////evil//x", ORIGIN), "/evil//x");
    assert_null(header_local_location(ORIGIN "/\\evil", ORIGIN));
    assert_null(header_local_location(ORIGIN "/\t/evil", ORIGIN));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_without_fields_gets_ours_only),
        cmocka_unit_test(fields_pass_in_order_and_repeated),
        cmocka_unit_test(the_accept_of_the_caller_passes),
        cmocka_unit_test(an_empty_value_stays_empty),
        cmocka_unit_test(blanks_around_a_value_are_trimmed),
        cmocka_unit_test(the_value_need_not_end_in_nul),
        cmocka_unit_test(hop_by_hop_fields_end_here),
        cmocka_unit_test(what_is_set_here_is_never_taken_over),
        cmocka_unit_test(underscore_twins_are_dropped_too),
        cmocka_unit_test(a_nominated_field_is_dropped_and_so_is_its_twin),
        cmocka_unit_test(nominating_our_fields_does_not_take_them_off),
        cmocka_unit_test(a_via_is_kept_and_ours_comes_behind_it),
        cmocka_unit_test(the_required_header_stays_here),
        cmocka_unit_test(an_answer_that_is_kept_for_others_is_asked_for_without_coding),
        cmocka_unit_test(a_key_passes_unless_it_is_told_not_to),
        cmocka_unit_test(a_content_length_passes_only_when_it_is_zero_and_there_is_no_body),
        cmocka_unit_test(a_written_head_ends_in_one_empty_line),
        cmocka_unit_test(an_empty_value_is_written_as_one),
        cmocka_unit_test(a_body_in_chunks_is_said_once),
        cmocka_unit_test(a_length_that_the_caller_takes_for_an_option_is_written),
        cmocka_unit_test(a_head_is_written_behind_what_is_there),
        cmocka_unit_test(a_head_above_the_limit_is_not_written),
        cmocka_unit_test(an_answer_loses_its_hop_by_hop_fields_and_framing),
        cmocka_unit_test(an_answer_loses_what_its_connection_names),
        cmocka_unit_test(a_name_is_compared_without_case),
        cmocka_unit_test(a_token_is_found_in_a_list),
        cmocka_unit_test(a_loop_is_seen_in_any_via_element),
        cmocka_unit_test(a_request_id_is_1_to_128_visible_bytes),
        cmocka_unit_test(a_location_on_the_upstream_becomes_a_path),
        cmocka_unit_test(a_location_elsewhere_passes_as_it_is),
        cmocka_unit_test(a_local_location_never_names_another_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

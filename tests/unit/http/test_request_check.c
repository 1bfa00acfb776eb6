/* request_check.c: request heads as libmicrohttpd delivers them, and what must be refused. */
#include <stdio.h>
#include <string.h>

#include "http/request_check.h"
#include "inplace.h"
#include "unit.h"

/* What comes of checking a head; HEAD_UNPARSED when libmicrohttpd would have refused it
 * itself. */
#define HEAD_UNPARSED (-1)

static int judge(const char *input, size_t size, int64_t *body_bytes)
{
    struct inplace p;

    inplace_parse(&p, input, size);
    struct request_check_result v = { .kind = FAIL_NONE };
    if (p.parsed)
        v = request_check(&p.head);
    int kind = p.parsed ? (int)v.kind : HEAD_UNPARSED;
    if (p.parsed)
        assert_true((v.kind == FAIL_NONE) == (v.why == NULL));
    if (body_bytes != NULL)
        *body_bytes = v.body_bytes;
    inplace_done(&p);
    return kind;
}

/* For literals, which may hold NUL. */
#define expect_kind(kind, literal) \
    expect_kind_of((kind), (literal), sizeof(literal) - 1, __FILE__, __LINE__)

static void expect_kind_of(int kind, const char *input, size_t size, const char *file, int line)
{
    int got = judge(input, size, NULL);

    if (got != kind)
        print_error("%s:%d: expected %d, got %d\n", file, line, kind, got);
    _assert_int_equal((LargestIntegralType)got, (LargestIntegralType)kind, file, line);
}

/* One field in an otherwise sound head. */
#define expect_field(kind, field) \
    expect_kind(kind, "POST /v0/x HTTP/1.1\r\nHost: localhost\r\n" field "\r\n\r\n")

#define accepted(literal) expect_kind(FAIL_NONE, literal)
#define refused(literal) expect_kind(FAIL_BAD_REQUEST, literal)

static void what_ordinary_clients_send_is_accepted(void **state)
{
    (void)state;
    accepted("GET /v0/chains HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: curl/7.88.1\r\n"
             "Accept: */*\r\n\r\n");
    accepted("POST /v0/methods/1/execute HTTP/1.1\r\nhost: 127.0.0.1\r\n"
             "connection: keep-alive\r\ncontent-type: application/json\r\naccept: */*\r\n"
             "accept-language: *\r\nsec-fetch-mode: cors\r\nuser-agent: node\r\n"
             "accept-encoding: gzip, deflate\r\ncontent-length: 2\r\n\r\n");
    accepted("GET / HTTP/1.0\r\nHost: [::1]:8080\r\n\r\n");
}

static void a_query_and_escapes_that_libmicrohttpd_rewrites_in_place_are_accepted(void **state)
{
    (void)state;
    accepted("GET /v0/a%20b/%41?x=%7B%22a%22%3A1%7D&y=1+2&z HTTP/1.1\r\nHost: a\r\n\r\n");
    accepted("GET /?a=b?c=d&&= HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void blanks_around_a_value_are_no_reason_to_refuse(void **state)
{
    (void)state;
    expect_field(FAIL_NONE, "X-A:no-blank");
    expect_field(FAIL_NONE, "X-A:   \t three");
    expect_field(FAIL_NONE, "X-A: behind \t ");
    expect_field(FAIL_NONE, "X-A:");
    expect_field(FAIL_NONE, "X-A:    ");
    expect_field(FAIL_NONE, "X-A: with\ttab and  blanks");
    accepted("GET / HTTP/1.1\r\nHost:a\r\n\r\n");
    accepted("GET / HTTP/1.1\r\nHost: a \r\n\r\n");
}

static void eight_bit_bytes_are_allowed_in_values(void **state)
{
    (void)state;
    expect_field(FAIL_NONE, "X-A: caf\xc3\xa9 \x80\xff");
}

static void empty_lines_before_the_request_are_not_its_head(void **state)
{
    (void)state;
    accepted("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void what_follows_the_head_is_not_looked_at(void **state)
{
    (void)state;
    accepted("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n\n\n\n");
}

static void a_bare_line_feed_is_refused_wherever_it_stands(void **state)
{
    (void)state;
    refused("GET / HTTP/1.1\nHost: a\r\n\r\n");
    refused("GET / HTTP/1.1\r\nHost: a\n\r\n");
    refused("GET / HTTP/1.1\r\nHost: a\r\n\n");
    refused("GET / HTTP/1.1\r\nHost: a\r\nX: b\nY: c\r\n\r\n");
    refused("GET / HTTP/1.1\nHost: a\n\n");
    refused("GET / HTTP/1.1\r\nX:\nHost: a\r\n\r\n");
}

static void a_bare_carriage_return_is_refused(void **state)
{
    (void)state;
    expect_field(FAIL_BAD_REQUEST, "X: a\rb");
    expect_field(FAIL_BAD_REQUEST, "X: a\r");
    expect_field(FAIL_BAD_REQUEST, "X\r: a");
    expect_kind(HEAD_UNPARSED, "GET / HTTP/1.1\r\nHost: a\r\n\rX\r\n\r\n");
    expect_kind(FAIL_BAD_TARGET, "GET /\ra HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void a_folded_field_is_refused(void **state)
{
    (void)state;
    expect_field(FAIL_BAD_REQUEST, "X-Test: value\r\n continued");
    expect_field(FAIL_BAD_REQUEST, "X-Test: value\r\n\tcontinued\r\n again");
    expect_field(FAIL_BAD_REQUEST, "X-Test: value\r\n ");
    expect_field(FAIL_BAD_REQUEST, "Transfer-Encoding:\r\n chunked");
    expect_field(FAIL_BAD_REQUEST, "X:v\n \nY: z");
    refused("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n");
    expect_kind(FAIL_BAD_REQUEST, "GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n");
}

static void a_nul_is_refused_wherever_it_stands(void **state)
{
    (void)state;
    refused("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n");
    refused("G\0T / HTTP/1.1\r\nHost: a\r\n\r\n");
    refused("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n");
    refused("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n");
    refused("GET / HTTP/1.1\r\nHost: a\r\nX:\0 b\r\n\r\n");
    refused("GET / HTTP/1.1\r\nHost: a\r\n\0\r\n\r\n");
    refused("GET / HTTP/1.1\r\nHost: a\r\n\0X: y\r\n\r\n");
    expect_kind(HEAD_UNPARSED, "GET / HTTP/1.1\r\nHost: a\r\nX\0Y: b\r\n\r\n");
}

static void doubled_blanks_in_the_request_line_are_refused(void **state)
{
    (void)state;
    refused("GET  / HTTP/1.1\r\nHost: a\r\n\r\n");
    refused("GET     / HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_kind(HEAD_UNPARSED, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n");
    expect_kind(HEAD_UNPARSED, " GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_kind(FAIL_BAD_TARGET, "GET /\t HTTP/1.1\r\nHost: a\r\n\r\n");
    refused("GET\t / HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void a_head_without_fields_is_accounted_for_too(void **state)
{
    (void)state;
    /* refused for its Host, not for its bytes: the why tells */
    const char *heads[] = { "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\n" };
    const char *whys[] = { "Host", "bare line end" };

    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        struct inplace p;
        inplace_parse(&p, heads[i], strlen(heads[i]));
        assert_true(p.parsed);
        struct request_check_result v = request_check(&p.head);
        assert_int_equal(v.kind, FAIL_BAD_REQUEST);
        assert_non_null(strstr(v.why, whys[i]));
        inplace_done(&p);
    }
}

static void without_a_size_the_bytes_are_not_accounted_for(void **state)
{
    struct inplace p;
    static const char head[] = "GET / HTTP/1.1\nHost: a\n\n";

    (void)state;
    inplace_parse(&p, head, sizeof head - 1);
    p.head.account = false;
    assert_int_equal(request_check(&p.head).kind, FAIL_NONE);
    inplace_done(&p);
}

static void a_value_must_lie_behind_its_name_and_colon(void **state)
{
    static const char head[] = "GET / HTTP/1.1\r\nHost: a\r\nX:v\r\n\r\n";
    struct inplace p;

    (void)state;
    inplace_parse(&p, head, sizeof head - 1);
    p.head.account = true;
    assert_int_equal(request_check(&p.head).kind, FAIL_NONE);
    p.fields[1].value--; /* where the colon was: the end stays the same */
    p.fields[1].value_len++;
    struct request_check_result v = request_check(&p.head);
    assert_int_equal(v.kind, FAIL_BAD_REQUEST);
    assert_non_null(strstr(v.why, "bare line end"));
    inplace_done(&p);
}

static void a_field_that_vanished_is_noticed(void **state)
{
    static const char head[] = "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nY: 2\r\nZ: 3\r\n\r\n";

    (void)state;
    for (size_t gone = 1; gone < 4; gone++) {
        struct inplace p;
        inplace_parse(&p, head, sizeof head - 1);
        assert_int_equal(request_check(&p.head).kind, FAIL_NONE);
        memmove(&p.fields[gone], &p.fields[gone + 1],
                (p.head.count - gone - 1) * sizeof p.fields[0]);
        p.head.count--;
        assert_int_equal(request_check(&p.head).kind, FAIL_BAD_REQUEST);
        inplace_done(&p);
    }
}

static void every_single_byte_changed_to_a_line_end_or_nul_is_refused(void **state)
{
    static const char head[] = "GET /v0/chains?page=2 HTTP/1.1\r\nHost: localhost\r\n"
                               "X-A:  some value\r\nX-B:\r\n\r\n";
    static const char bytes[] = { '\n', '\0', '\r' };

    (void)state;
    assert_int_equal(judge(head, sizeof head - 1, NULL), FAIL_NONE);
    for (size_t b = 0; b < sizeof bytes; b++) {
        for (size_t i = 1; i < sizeof head - 1; i++) { /* byte 0: an empty line before */
            char changed[sizeof head];
            memcpy(changed, head, sizeof head);
            if (changed[i] == bytes[b])
                continue;
            /* NUL LF ends a line like CR LF: nothing can tell them apart afterwards */
            if (bytes[b] == '\0' && changed[i] == '\r')
                continue;
            changed[i] = bytes[b];
            int kind = judge(changed, sizeof head - 1, NULL);
            if (kind == FAIL_NONE)
                print_error("byte %zu as 0x%02x got through\n", i, (unsigned)bytes[b]);
            assert_int_not_equal(kind, FAIL_NONE);
        }
    }
}

static void a_version_other_than_1_0_and_1_1_gets_505(void **state)
{
    (void)state;
    expect_kind(FAIL_VERSION_UNKNOWN, "GET / HTTP/1.2\r\nHost: a\r\n\r\n");
    expect_kind(FAIL_VERSION_UNKNOWN, "GET / HTTP/1.9\r\nHost: a\r\n\r\n");
    struct request_check_head head = { .method = "GET", .target = "/", .max_target_bytes = 1 };
    static const char *const other[] = { "HTTP/2.0", "HTTP/9.9", "HTTP/0.9" };
    static const char *const wrong[] = { "",         "http/1.1",  "HTTP/1",   "HTTP/11",
                                         "HTTP/1,1", "HTTP/1.10", "HTTP/a.1", "HTCPCP/1.0" };
    for (size_t i = 0; i < ARRAY_LEN(other); i++) {
        head.version = other[i];
        assert_int_equal(request_check(&head).kind, FAIL_VERSION_UNKNOWN);
    }
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        head.version = wrong[i];
        assert_int_equal(request_check(&head).kind, FAIL_BAD_REQUEST);
    }
}

static void a_method_is_a_token_of_at_most_32_bytes(void **state)
{
    (void)state;
    accepted("PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n");
    accepted("get / HTTP/1.1\r\nHost: a\r\n\r\n");
    accepted("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1\r\nHost: a\r\n\r\n");
    refused("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\nHost: a\r\n\r\n");
    refused("G=\"x\" / HTTP/1.1\r\nHost: a\r\n\r\n");
    refused("GET: / HTTP/1.1\r\nHost: a\r\n\r\n");
    refused("G\xc3\x89T / HTTP/1.1\r\nHost: a\r\n\r\n");
    refused("\x16\x03\x01 / HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void a_target_holds_visible_ascii_only(void **state)
{
    (void)state;
    expect_kind(FAIL_BAD_TARGET, "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_kind(FAIL_BAD_TARGET, "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_kind(FAIL_BAD_TARGET, "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n");
    accepted("GET /a|b?{\"x\":[1]} HTTP/1.1\r\nHost: a\r\n\r\n"); /* route_find decides */
}

static void exactly_one_host_is_required(void **state)
{
    (void)state;
    refused("GET / HTTP/1.1\r\nX: a\r\n\r\n");
    refused("GET / HTTP/1.0\r\nX: a\r\n\r\n");
    refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
    refused("GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n");
    accepted("GET / HTTP/1.1\r\nhOsT: a\r\n\r\n");
}

#define expect_host(kind, value) expect_kind(kind, "GET / HTTP/1.1\r\nHost: " value "\r\n\r\n")

static void a_host_is_a_name_or_address_and_perhaps_a_port(void **state)
{
    (void)state;
    expect_host(FAIL_NONE, "localhost");
    expect_host(FAIL_NONE, "LOCALHOST:8080");
    expect_host(FAIL_NONE, "one_shot-proxy.internal.:1");
    expect_host(FAIL_NONE, "127.0.0.1:65535");
    expect_host(FAIL_NONE, "[::1]");
    expect_host(FAIL_NONE, "[fe80::1]:80");
    expect_host(FAIL_NONE, "[::ffff:127.0.0.1]:80");
    expect_host(FAIL_NONE, "a:");
    expect_host(FAIL_BAD_REQUEST, "");
    expect_host(FAIL_BAD_REQUEST, ":80");
    expect_host(FAIL_BAD_REQUEST, "a, b");
    expect_host(FAIL_BAD_REQUEST, "a,b");
    expect_host(FAIL_BAD_REQUEST, "a b");
    expect_host(FAIL_BAD_REQUEST, "u@a");
    expect_host(FAIL_BAD_REQUEST, "a/b");
    expect_host(FAIL_BAD_REQUEST, "a\\b");
    expect_host(FAIL_BAD_REQUEST, "a?b");
    expect_host(FAIL_BAD_REQUEST, "a#b");
    expect_host(FAIL_BAD_REQUEST, "a:b");
    expect_host(FAIL_BAD_REQUEST, "a:1:2");
    expect_host(FAIL_BAD_REQUEST, "a:-1");
    expect_host(FAIL_BAD_REQUEST, "a:65536");
    expect_host(FAIL_BAD_REQUEST, "a:00000000000000000080");
    expect_host(FAIL_BAD_REQUEST, "a%zz");
    expect_host(FAIL_BAD_REQUEST, "a%4");
    expect_host(FAIL_BAD_REQUEST, "[::1");
    expect_host(FAIL_BAD_REQUEST, "[]");
    expect_host(FAIL_BAD_REQUEST, "[localhost]");
    expect_host(FAIL_BAD_REQUEST, "[::1]a");
    expect_host(FAIL_BAD_REQUEST, "[::1]:x");
    expect_host(FAIL_BAD_REQUEST, "::1");
    expect_host(FAIL_BAD_REQUEST, "\xc3\xa9");
}

static void a_field_name_is_a_token(void **state)
{
    (void)state;
    expect_field(FAIL_NONE, "x!#$%&'*+-.^_`|~09AZ: v");
    expect_field(FAIL_BAD_REQUEST, "Name : v");
    expect_field(FAIL_BAD_REQUEST, "Na me: v");
    expect_field(FAIL_BAD_REQUEST, "Name\t: v");
    expect_field(FAIL_BAD_REQUEST, "Na[me: v");
    expect_field(FAIL_BAD_REQUEST, "N(a): v");
    expect_field(FAIL_BAD_REQUEST, "Na;me: v");
    expect_field(FAIL_BAD_REQUEST, "N\xc3\xa4me: v");
    expect_field(FAIL_BAD_REQUEST, ": v");
    expect_kind(HEAD_UNPARSED, "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n");
}

static void a_value_holds_no_control_characters(void **state)
{
    (void)state;
    for (int c = 1; c < 256; c++) {
        char head[128];
        int n = snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: a\r\nX: a%cb\r\n\r\n", c);
        int wanted = (c < ' ' && c != '\t') || c == 0x7f ? FAIL_BAD_REQUEST : FAIL_NONE;

        if (c == '\n')
            wanted = HEAD_UNPARSED; /* "b" has no colon */
        assert_int_equal(judge(head, (size_t)n, NULL), wanted);
    }
}

static void a_content_length_is_one_number(void **state)
{
    int64_t body = 0;
    static const char head[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1234\r\n\r\n";

    (void)state;
    assert_int_equal(judge(head, sizeof head - 1, &body), FAIL_NONE);
    assert_int_equal(body, 1234);
    expect_field(FAIL_NONE, "Content-Length: 0");
    expect_field(FAIL_NONE, "Content-Length: 0005");
    expect_field(FAIL_NONE, "Content-Length: 9223372036854775807");
    expect_field(FAIL_BAD_REQUEST, "Content-Length: 9223372036854775808");
    expect_field(FAIL_BAD_REQUEST, "Content-Length: 00000000000000000005");
    expect_field(FAIL_BAD_REQUEST, "Content-Length: 99999999999999999999999");
    expect_field(FAIL_BAD_REQUEST, "Content-Length: 5, 5");
    expect_field(FAIL_BAD_REQUEST, "Content-Length: +5");
    expect_field(FAIL_BAD_REQUEST, "Content-Length: -0");
    expect_field(FAIL_BAD_REQUEST, "Content-Length: 0x5");
    expect_field(FAIL_BAD_REQUEST, "Content-Length: 5a");
    expect_field(FAIL_BAD_REQUEST, "Content-Length: 5 ");
    expect_field(FAIL_BAD_REQUEST, "Content-Length: 5.0");
    expect_field(FAIL_BAD_REQUEST, "Content-Length:");
    expect_field(FAIL_BAD_REQUEST, "Content-Length:  ");
    expect_field(FAIL_BAD_REQUEST, "Content-Length: 5\r\nContent-Length: 5");
    expect_field(FAIL_BAD_REQUEST, "Content-Length: 5\r\ncontent-length: 6");
}

static void a_body_above_the_limit_gets_413(void **state)
{
    static const char head[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n";
    struct inplace p;

    (void)state;
    inplace_parse(&p, head, sizeof head - 1);
    p.head.max_body_bytes = 11;
    assert_int_equal(request_check(&p.head).kind, FAIL_NONE);
    p.head.max_body_bytes = 10;
    assert_int_equal(request_check(&p.head).kind, FAIL_BODY_TOO_LARGE);
    inplace_done(&p);
}

static void the_only_transfer_encoding_is_chunked(void **state)
{
    int64_t body = 0;
    static const char head[] =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n";

    (void)state;
    assert_int_equal(judge(head, sizeof head - 1, &body), FAIL_NONE);
    assert_int_equal(body, -1);
    expect_field(FAIL_CODING_UNKNOWN, "Transfer-Encoding: xchunked");
    expect_field(FAIL_CODING_UNKNOWN, "Transfer-Encoding: gzip");
    expect_field(FAIL_CODING_UNKNOWN, "Transfer-Encoding: identity");
    expect_field(FAIL_CODING_UNKNOWN, "Transfer-Encoding: chunked, chunked");
    expect_field(FAIL_CODING_UNKNOWN, "Transfer-Encoding: gzip, chunked");
    expect_field(FAIL_CODING_UNKNOWN, "Transfer-Encoding: chunked;x=1");
    expect_field(FAIL_CODING_UNKNOWN, "Transfer-Encoding: ,chunked");
    expect_field(FAIL_CODING_UNKNOWN, "Transfer-Encoding:");
    expect_field(FAIL_BAD_REQUEST, "Transfer-Encoding: chunked ");
    expect_field(FAIL_BAD_REQUEST, "Transfer-Encoding: chunked\t");
    expect_field(FAIL_BAD_REQUEST, "Transfer-Encoding: \x0b"
                                   "chunked");
    expect_field(FAIL_BAD_REQUEST, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked");
}

static void a_message_has_one_framing_only(void **state)
{
    (void)state;
    expect_field(FAIL_BAD_REQUEST, "Content-Length: 5\r\nTransfer-Encoding: chunked");
    expect_field(FAIL_BAD_REQUEST, "transfer-encoding: chunked\r\ncontent-length: 0");
    expect_field(FAIL_BAD_REQUEST, "Transfer-Encoding: gzip\r\nContent-Length: 0");
    refused("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
}

static void the_only_expectation_is_100_continue(void **state)
{
    (void)state;
    expect_field(FAIL_NONE, "Expect: 100-continue");
    expect_field(FAIL_NONE, "EXPECT: 100-Continue");
    expect_field(FAIL_EXPECTATION, "Expect: 200-ok");
    expect_field(FAIL_EXPECTATION, "Expect:");
    expect_field(FAIL_EXPECTATION, "Expect: 100-continue, x");
    expect_field(FAIL_EXPECTATION, "Expect: x\r\nExpect: 100-continue");
}

static void too_many_fields_get_431(void **state)
{
    char head[8192];
    size_t n = (size_t)snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: a\r\n");

    (void)state;
    for (size_t i = 1; i < 100; i++)
        n += (size_t)snprintf(head + n, sizeof head - n, "X-%zu: y\r\n", i);
    memcpy(head + n, "\r\n", 3);
    assert_int_equal(judge(head, n + 2, NULL), FAIL_NONE);
    memcpy(head + n, "X: y\r\n\r\n", 9);
    assert_int_equal(judge(head, n + 8, NULL), FAIL_HEAD_TOO_LARGE);
}

static void past_the_field_limit_the_fields_are_not_looked_at(void **state)
{
    struct request_check_head head = { .method = "GET",
                                       .target = "/",
                                       .version = "HTTP/1.1",
                                       .max_fields = 100,
                                       .max_target_bytes = 100,
                                       .count = 101,
                                       .fields = NULL,
                                       .head_bytes = 1000,
                                       .max_head_bytes = 1000 };

    (void)state;
    assert_int_equal(request_check(&head).kind, FAIL_HEAD_TOO_LARGE);
}

static void a_head_above_its_limit_gets_431(void **state)
{
    static const char head[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    struct inplace p;

    (void)state;
    inplace_parse(&p, head, sizeof head - 1);
    p.head.max_head_bytes = sizeof head - 1;
    assert_int_equal(request_check(&p.head).kind, FAIL_NONE);
    p.head.max_head_bytes--;
    assert_int_equal(request_check(&p.head).kind, FAIL_HEAD_TOO_LARGE);
    inplace_done(&p);
}

static void a_target_above_its_limit_gets_414(void **state)
{
    static char head[16384 + 64];

    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        size_t n = (size_t)snprintf(head, sizeof head, "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n",
                                    16384 - 1 + (int)extra, 0);
        assert_int_equal(judge(head, n, NULL), extra == 0 ? FAIL_NONE : FAIL_TARGET_TOO_LONG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_ordinary_clients_send_is_accepted),
        cmocka_unit_test(a_query_and_escapes_that_libmicrohttpd_rewrites_in_place_are_accepted),
        cmocka_unit_test(blanks_around_a_value_are_no_reason_to_refuse),
        cmocka_unit_test(eight_bit_bytes_are_allowed_in_values),
        cmocka_unit_test(empty_lines_before_the_request_are_not_its_head),
        cmocka_unit_test(what_follows_the_head_is_not_looked_at),
        cmocka_unit_test(a_bare_line_feed_is_refused_wherever_it_stands),
        cmocka_unit_test(a_bare_carriage_return_is_refused),
        cmocka_unit_test(a_folded_field_is_refused),
        cmocka_unit_test(a_nul_is_refused_wherever_it_stands),
        cmocka_unit_test(doubled_blanks_in_the_request_line_are_refused),
        cmocka_unit_test(a_head_without_fields_is_accounted_for_too),
        cmocka_unit_test(without_a_size_the_bytes_are_not_accounted_for),
        cmocka_unit_test(a_value_must_lie_behind_its_name_and_colon),
        cmocka_unit_test(a_field_that_vanished_is_noticed),
        cmocka_unit_test(every_single_byte_changed_to_a_line_end_or_nul_is_refused),
        cmocka_unit_test(a_version_other_than_1_0_and_1_1_gets_505),
        cmocka_unit_test(a_method_is_a_token_of_at_most_32_bytes),
        cmocka_unit_test(a_target_holds_visible_ascii_only),
        cmocka_unit_test(exactly_one_host_is_required),
        cmocka_unit_test(a_host_is_a_name_or_address_and_perhaps_a_port),
        cmocka_unit_test(a_field_name_is_a_token),
        cmocka_unit_test(a_value_holds_no_control_characters),
        cmocka_unit_test(a_content_length_is_one_number),
        cmocka_unit_test(a_body_above_the_limit_gets_413),
        cmocka_unit_test(the_only_transfer_encoding_is_chunked),
        cmocka_unit_test(a_message_has_one_framing_only),
        cmocka_unit_test(the_only_expectation_is_100_continue),
        cmocka_unit_test(too_many_fields_get_431),
        cmocka_unit_test(past_the_field_limit_the_fields_are_not_looked_at),
        cmocka_unit_test(a_head_above_its_limit_gets_431),
        cmocka_unit_test(a_target_above_its_limit_gets_414),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

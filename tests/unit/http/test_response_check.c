/* response_check.c: answer heads line by line, including those that libcurl should refuse
 * but does not. */
#include <string.h>

#include "http/response_check.h"
#include "unit.h"

/* Feeds the lines of a whole text; false as soon as a line is refused. */
static bool feed(struct response_check *g, const char *text, size_t size)
{
    while (size > 0) {
        const char *lf = memchr(text, '\n', size);
        size_t n = lf != NULL ? (size_t)(lf - text) + 1 : size;

        if (!response_check_line(g, text, n))
            return false;
        text += n;
        size -= n;
    }
    return true;
}

#define judge(literal) judge_of((literal), sizeof(literal) - 1)

static struct response_check judge_of(const char *text, size_t size)
{
    struct response_check g;

    response_check_init(&g);
    bool sound = feed(&g, text, size);
    assert_true(sound == (g.kind == FAIL_NONE));
    assert_true(sound == (g.why == NULL));
    if (!sound) { /* and it stays refused */
        assert_false(response_check_line(&g, "X: y\r\n", 6));
        assert_false(response_check_line(&g, "HTTP/1.1 200 OK\r\n", 17));
    }
    return g;
}

#define accepted(literal) assert_int_equal(judge(literal).kind, FAIL_NONE)
#define refused(literal) assert_int_equal(judge(literal).kind, FAIL_UPSTREAM_PROTOCOL)
#define field_accepted(f) accepted("HTTP/1.1 200 OK\r\n" f "\r\n\r\n")
#define field_refused(f) refused("HTTP/1.1 200 OK\r\n" f "\r\n\r\n")

static void an_ordinary_head_is_read(void **state)
{
    (void)state;
    struct response_check g =
        judge("HTTP/1.1 404 Not Found\r\nContent-Length: 12\r\nX:\r\n\r\n");
    assert_int_equal(g.kind, FAIL_NONE);
    assert_int_equal(g.status, 404);
    assert_int_equal(g.http_major, 1);
    assert_int_equal(g.content_length, 12);
    assert_int_equal(g.fields, 2);
    assert_int_equal(g.bytes, 50);
    assert_true(g.complete);
    assert_false(g.chunked);
    assert_false(g.trailer);
}

static void an_http_2_head_as_libcurl_writes_it_is_read(void **state)
{
    (void)state;
    struct response_check g = judge("HTTP/2 204 \r\ncontent-type: a/b\r\n\r\n");
    assert_int_equal(g.status, 204);
    assert_int_equal(g.http_major, 2);
    assert_int_equal(g.content_length, -1);
    assert_true(g.complete);
}

static void a_head_cut_short_is_not_complete(void **state)
{
    (void)state;
    struct response_check g = judge("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n");
    assert_int_equal(g.kind, FAIL_NONE);
    assert_false(g.complete);
    refused("HTTP/1.1 200 OK\r\nContent-Le");
    refused("HTTP/1.1 200 OK");
}

static void a_missing_reason_and_bare_line_feeds_are_tolerated(void **state)
{
    (void)state;
    accepted("HTTP/1.1 200\r\n\r\n");
    accepted("HTTP/1.1 200 \r\n\r\n");
    accepted("HTTP/1.0 200 caf\xc3\xa9\tau lait\nX: y\n\n");
}

static void a_status_line_that_is_none_is_refused(void **state)
{
    (void)state;
    refused("HTTP/1.1 abc OK\r\n\r\n");
    refused("HTTP/1.1 99 OK\r\n\r\n");
    refused("HTTP/1.1 099 OK\r\n\r\n");
    refused("HTTP/1.1 000 OK\r\n\r\n");
    refused("HTTP/1.1 600 OK\r\n\r\n");
    refused("HTTP/1.1 999 OK\r\n\r\n");
    refused("HTTP/1.1 1000 OK\r\n\r\n");
    refused("HTTP/1.1 2000\r\n\r\n");
    refused("HTTP/1.1 20\r\n\r\n");
    refused("HTTP/1.1 +20 OK\r\n\r\n");
    refused("HTTP/1.1 -20 OK\r\n\r\n");
    refused("HTTP/1.1 200OK\r\n\r\n");
    refused("HTTP/1.1 200\tOK\r\n\r\n");
    refused("HTTP/1.1  200 OK\r\n\r\n");
    refused("HTTP/1.1\r\n\r\n");
    refused("HTTP/1.1 \r\n\r\n");
    refused("HTTP/1.2 200 OK\r\n\r\n");
    refused("HTTP/0.9 200 OK\r\n\r\n");
    refused("HTTP/3.1 200 OK\r\n\r\n");
    refused("HTTP/3 200 \r\n\r\n");
    refused("HTTP/2.0 200 OK\r\n\r\n");
    refused("HTTP/11 200 OK\r\n\r\n");
    refused("http/1.1 200 OK\r\n\r\n");
    refused(" HTTP/1.1 200 OK\r\n\r\n");
    refused("hello\r\n");
    refused("\r\n");
    refused("X: y\r\n");
    refused("HTTP/1.1 200 O\0K\r\n\r\n");
    refused("HTTP/1.1 200 O\rK\r\n\r\n");
    refused("HTTP/1.1 200 OK\r\r\n\r\n");
    refused("HTTP/1.1 200 \x7f\r\n\r\n");
}

static void unasked_101_and_any_407_are_refused(void **state)
{
    (void)state;
    refused("HTTP/1.1 101 Switching Protocols\r\n");
    refused("HTTP/1.1 407 Proxy Authentication Required\r\n");
    refused("HTTP/2 407 \r\n");
    refused("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 101 Switching\r\n");
}

static void interim_heads_leave_nothing_behind(void **state)
{
    (void)state;
    struct response_check g = judge("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
                                    "HTTP/1.1 100 Continue\r\n\r\n"
                                    "HTTP/1.1 200 OK\r\nX: y\r\n\r\n");
    assert_int_equal(g.kind, FAIL_NONE);
    assert_int_equal(g.status, 200);
    assert_int_equal(g.interim, 2);
    assert_int_equal(g.fields, 1);
    assert_int_equal(g.bytes, 25);
    g = judge("HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\n");
    assert_int_equal(g.content_length, -1);
    assert_false(g.complete);
}

static void an_interim_head_must_end_before_the_next_begins(void **state)
{
    (void)state;
    refused("HTTP/1.1 103 Early Hints\r\nHTTP/1.1 200 OK\r\n\r\n");
}

static void endless_interim_heads_are_refused(void **state)
{
    static const char interim[] = "HTTP/1.1 103 Early Hints\r\n\r\n";
    struct response_check g;

    (void)state;
    response_check_init(&g);
    for (int i = 0; i < RESPONSE_CHECK_INTERIM_MAX; i++)
        assert_true(feed(&g, interim, sizeof interim - 1));
    struct response_check last = g;
    assert_true(feed(&last, "HTTP/1.1 200 OK\r\n", 17));
    assert_false(feed(&g, interim, sizeof interim - 1));
    assert_int_equal(g.kind, FAIL_UPSTREAM_PROTOCOL);
}

static void malformed_fields_are_refused(void **state)
{
    (void)state;
    field_accepted("X-A:b");
    field_accepted("X-A: caf\xc3\xa9 \t");
    field_refused("X: a\r\n b");
    field_refused("X: a\r\n\tb");
    field_refused("no colon");
    field_refused(": nameless");
    field_refused("X : blank");
    field_refused("X\t: blank");
    field_refused("X Y: blank");
    field_refused("X\xe9: name");
    field_refused("X: a\0b");
    field_refused("X\0: a");
    field_refused("X: a\rb");
    field_refused("X: a\r");
    field_refused("X: a\x01");
    field_refused("X: a\x0b");
    field_refused("X: a\x7f");
    field_refused("\r");
}

static void a_content_length_is_one_number(void **state)
{
    (void)state;
    assert_int_equal(judge("HTTP/1.1 200 OK\r\ncontent-length:  7 \r\n\r\n").content_length, 7);
    field_accepted("Content-Length: 0");
    field_accepted("Content-Length: 2\r\nContent-Length: 2");
    field_refused("Content-Length: 2\r\nContent-Length: 3");
    field_refused("Content-Length: 2, 2");
    field_refused("Content-Length: 2, 4");
    field_refused("Content-Length: +2");
    field_refused("Content-Length: -2");
    field_refused("Content-Length: 0x2");
    field_refused("Content-Length: two");
    field_refused("Content-Length:");
    field_refused("Content-Length: 9223372036854775808");
    field_refused("Content-Length: 99999999999999999999999999");
}

static void the_only_transfer_encoding_is_chunked(void **state)
{
    (void)state;
    struct response_check g = judge("HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n");
    assert_true(g.chunked);
    assert_int_equal(g.content_length, -1);
    field_refused("Transfer-Encoding: gzip");
    field_refused("Transfer-Encoding: gzip, chunked");
    field_refused("Transfer-Encoding: chunked, chunked");
    field_refused("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked");
    field_refused("Transfer-Encoding: chunked;q=1");
    field_refused("Transfer-Encoding: identity");
    field_refused("Transfer-Encoding:");
    field_refused("Transfer-Encoding: chunked\r\nContent-Length: 2");
    field_refused("Content-Length: 2\r\nTransfer-Encoding: chunked");
    refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    refused("HTTP/2 200 \r\ntransfer-encoding: chunked\r\n\r\n");
}

static void too_many_fields_are_refused(void **state)
{
    struct response_check g;

    (void)state;
    response_check_init(&g);
    assert_true(response_check_line(&g, "HTTP/1.1 200 OK\r\n", 17));
    for (int i = 0; i < RESPONSE_CHECK_FIELDS_MAX; i++)
        assert_true(response_check_line(&g, "X: y\r\n", 6));
    assert_false(response_check_line(&g, "X: y\r\n", 6));
    assert_int_equal(g.kind, FAIL_UPSTREAM_HEAD_SIZE);
}

static void a_head_above_64_kib_is_refused(void **state)
{
    static char line[RESPONSE_CHECK_BYTES_MAX];
    struct response_check g;

    (void)state;
    memset(line, 'a', sizeof line);
    memcpy(line + 17, "X: ", 3); /* with the status line it fills the 64 KiB exactly */
    line[sizeof line - 1] = '\n';
    response_check_init(&g);
    assert_true(response_check_line(&g, "HTTP/1.1 200 OK\r\n", 17));
    assert_true(response_check_line(&g, line + 17, sizeof line - 17));
    assert_int_equal(g.bytes, RESPONSE_CHECK_BYTES_MAX);
    assert_false(response_check_line(&g, "\r\n", 2));
    assert_int_equal(g.kind, FAIL_UPSTREAM_HEAD_SIZE);
}

static void trailers_are_checked_and_change_nothing(void **state)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    struct response_check g;

    (void)state;
    response_check_init(&g);
    assert_true(feed(&g, head, sizeof head - 1));
    size_t bytes = g.bytes;
    assert_true(response_check_line(&g, "Content-Length: 7\r\n", 19));
    assert_true(g.trailer);
    assert_true(response_check_line(&g, "Authorization: x\r\n", 18));
    assert_true(response_check_line(&g, "\r\n", 2));
    assert_int_equal(g.content_length, -1);
    assert_int_equal(g.bytes, bytes);
    assert_int_equal(g.fields, 1);
    assert_int_equal(g.trailer_fields, 2);
    assert_true(g.complete);
    assert_int_equal(g.status, 200);

    struct response_check bad = g;
    assert_false(response_check_line(&bad, "X: a\rb\r\n", 8));
    bad = g;
    assert_false(response_check_line(&bad, "HTTP/1.1 200 OK\r\n", 17));
    bad = g;
    for (int i = 2; i < RESPONSE_CHECK_FIELDS_MAX; i++)
        assert_true(response_check_line(&bad, "X: y\r\n", 6));
    assert_false(response_check_line(&bad, "X: y\r\n", 6));
    assert_int_equal(bad.kind, FAIL_UPSTREAM_HEAD_SIZE);
}

static void a_line_is_split_into_name_and_trimmed_value(void **state)
{
    (void)state;
    struct header_field f = response_check_split("X-A: \t some: value \t\r\n", 22);
    assert_int_equal(f.name_len, 3);
    assert_memory_equal(f.name, "X-A", 3);
    assert_int_equal(f.value_len, 11);
    assert_memory_equal(f.value, "some: value", 11);
    f = response_check_split("X:\n", 3);
    assert_int_equal(f.name_len, 1);
    assert_int_equal(f.value_len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ordinary_head_is_read),
        cmocka_unit_test(an_http_2_head_as_libcurl_writes_it_is_read),
        cmocka_unit_test(a_head_cut_short_is_not_complete),
        cmocka_unit_test(a_missing_reason_and_bare_line_feeds_are_tolerated),
        cmocka_unit_test(a_status_line_that_is_none_is_refused),
        cmocka_unit_test(unasked_101_and_any_407_are_refused),
        cmocka_unit_test(interim_heads_leave_nothing_behind),
        cmocka_unit_test(an_interim_head_must_end_before_the_next_begins),
        cmocka_unit_test(endless_interim_heads_are_refused),
        cmocka_unit_test(malformed_fields_are_refused),
        cmocka_unit_test(a_content_length_is_one_number),
        cmocka_unit_test(the_only_transfer_encoding_is_chunked),
        cmocka_unit_test(too_many_fields_are_refused),
        cmocka_unit_test(a_head_above_64_kib_is_refused),
        cmocka_unit_test(trailers_are_checked_and_change_nothing),
        cmocka_unit_test(a_line_is_split_into_name_and_trimmed_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

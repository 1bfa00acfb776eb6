/* Message heads that RFC 9110 and 9112 forbid never reach the upstream: framing that can be
 * read in two ways, fields that hide others, heads that are too large. Rows:
 * tests/hostile/README.md. */
#include <signal.h>
#include <sys/socket.h>

#include "harness.h"

#define LURE "GET /lure HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define H "Host: localhost\r\n"

struct bad {
    const char *bytes;
    size_t len;        /* 0: a string */
    int status, other; /* other: as right as the first, 0: none */
};

/* A refusal may come from the library's own parser and has no problem body then; but where it
 * has one, it must be sound. */
static void assert_bad(struct world *w, const struct bad *x)
{
    struct client c;
    struct answer a = { 0 };
    client_open(&c, w->port);
    client_send(&c, x->bytes, x->len ? x->len : strlen(x->bytes));
    (void)client_try_send(&c, LURE, sizeof LURE - 1, 100);
    client_read(&c, &a, false, SOON_MS);
    if (a.end == ANSWER_LATE || (a.status != x->status && (!x->other || a.status != x->other)))
        fail_msg("expected %d, got %d (end %d) for:\n%s", x->status, a.status, (int)a.end,
                 x->bytes);
    if (strcmp(answer_header(&a, "Content-Type"), "application/problem+json") == 0) {
        assert_problem(&a, a.status, "request", "http_request_error");
        assert_true(a.body.len <= 1024);
    }
    assert_true(client_closed(&c, SOON_MS));
    if (peer_count(w->api, "") != 0)
        fail_msg("reached the upstream: %s", x->bytes);
    client_close(&c);
    answer_free(&a);
}

static void assert_all_bad(const struct bad *x, size_t n)
{
    WORLD(w);
    world_start(&w, &(struct world_options){ 0 });
    for (size_t i = 0; i < n; i++)
        assert_bad(&w, &x[i]);
}
#define ALL_BAD(table) assert_all_bad(table, sizeof(table) / sizeof *(table))

#define POST(fields) "POST /x HTTP/1.1\r\n" H fields "\r\n"

/* Content-Length together with Transfer-Encoding, or twice, or in a form that is no length:
 * 400, and nothing goes upstream. (rows 1, 2) */
static void a_body_that_could_be_measured_twice_is_400(void **state)
{
    (void)state;
    static const struct bad table[] = {
        { .bytes = POST("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n",
          .status = 400 },
        { .bytes = POST("transfer-encoding: Chunked\r\ncontent-length: 0\r\n") "0\r\n\r\n",
          .status = 400 },
        { .bytes = POST("Content-Length: 5\r\nContent-Length: 10\r\n") "hello", .status = 400 },
        { .bytes = POST("Content-Length: 5\r\nContent-Length: 5\r\n") "hello", .status = 400 },
        { .bytes = POST("Content-Length: 5, 5\r\n") "hello", .status = 400 },
        { .bytes = POST("Content-Length: +5\r\n") "hello", .status = 400 },
        { .bytes = POST("Content-Length: 0x5\r\n") "hello", .status = 400 },
        { .bytes = POST("Content-Length: -0\r\n"), .status = 400 },
        { .bytes = POST("Content-Length: 5 5\r\n") "hello", .status = 400 },
        { .bytes = POST("Content-Length: \r\n"), .status = 400 },
        { .bytes = POST("Content-Length: 99999999999999999999999\r\n"),
          .status = 400,
          .other = 413 },
    };
    ALL_BAD(table);
}

/* A Transfer-Encoding other than exactly `chunked`, one of HTTP/1.0, and a folded one: refused
 * at once instead of waiting for the end. (rows 3, 4, 6) */
static void an_unknown_transfer_coding_is_501_or_400_at_once(void **state)
{
    (void)state;
    static const struct bad table[] = {
        { .bytes = POST("Transfer-Encoding: xchunked\r\n"), .status = 501, .other = 400 },
        { .bytes = POST("Transfer-Encoding: gzip\r\n"), .status = 501, .other = 400 },
        { .bytes = POST("Transfer-Encoding: gzip, chunked\r\n"), .status = 501, .other = 400 },
        { .bytes = POST("Transfer-Encoding: identity\r\n"), .status = 501, .other = 400 },
        { .bytes = POST("Transfer-Encoding: chunked, chunked\r\n"),
          .status = 501,
          .other = 400 },
        { .bytes = POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
          .status = 501,
          .other = 400 },
        { .bytes = POST("Transfer-Encoding: chunked;x=1\r\n"), .status = 501, .other = 400 },
        { .bytes = POST("Transfer-Encoding: ,chunked\r\n"), .status = 501, .other = 400 },
        { .bytes = POST("Transfer-Encoding:\r\n"), .status = 501, .other = 400 },
        { .bytes = POST("Transfer-Encoding: \x0b"
                        "chunked\r\n"),
          .status = 501,
          .other = 400 },
        { .bytes = POST("Transfer-Encoding:\r\n chunked\r\n"), .status = 501, .other = 400 },
        { .bytes = "POST /x HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          .status = 400 },
    };
    ALL_BAD(table);
}

/* Blanks or forbidden bytes in a field's name, folded fields, control characters, lines without
 * CRLF: 400. (rows 5, 6, 7, 8) */
static void names_and_values_that_hide_something_are_400(void **state)
{
    (void)state;
    static const struct bad table[] = {
        { .bytes = POST("X-A : 1\r\n"), .status = 400 },
        { .bytes = POST("X A: 1\r\n"), .status = 400 },
        { .bytes = POST("X[A]: 1\r\n"), .status = 400 },
        { .bytes = POST("X\xe9: 1\r\n"), .status = 400 },
        { .bytes = POST(": 1\r\n"), .status = 400 },
        { .bytes = POST("no colon\r\n"), .status = 400 },
        { .bytes = POST("X-A: 1\r\n folded\r\n"), .status = 400 },
        { .bytes = POST("X-A: 1\r\n\tfolded: 2\r\n"), .status = 400 },
        { .bytes = POST("X-A: a\rb\r\n"), .status = 400 },
        { .bytes = POST("X-A: a\x01"
                        "b\r\n"),
          .status = 400 },
        { .bytes = POST("X-A: a\x7f\r\n"), .status = 400 },
        { .bytes = "GET /x HTTP/1.1\r\n" H "X-A: a\0b\r\n\r\n",
          .len = sizeof "GET /x HTTP/1.1\r\n" H "X-A: a\0b\r\n\r\n" - 1,
          .status = 400 },
        { .bytes = "GET /x\0y HTTP/1.1\r\n" H "\r\n",
          .len = sizeof "GET /x\0y HTTP/1.1\r\n" H "\r\n" - 1,
          .status = 400 },
        { .bytes = "GET /x HTTP/1.1\r\n" H "X-A\0: b\r\n\r\n",
          .len = sizeof "GET /x HTTP/1.1\r\n" H "X-A\0: b\r\n\r\n" - 1,
          .status = 400 },
        { .bytes = " GET /x HTTP/1.1\r\n" H "\r\n", .status = 400 },
        { .bytes = "GET  /x HTTP/1.1\r\n" H "\r\n", .status = 400 },
        { .bytes = "GET /x  HTTP/1.1\r\n" H "\r\n", .status = 400 },
        { .bytes = "GET /x HTTP/1.1\n" H "\r\n", .status = 400 },
        { .bytes = "GET /x HTTP/1.1\r\nHost: localhost\nX-A: 1\r\n\r\n", .status = 400 },
        { .bytes = "G\"T /x HTTP/1.1\r\n" H "\r\n", .status = 400, .other = 501 },
    };
    ALL_BAD(table);
}

/* No Host, two of them, a list, or one with a user or a path: 400. (row 12) */
static void exactly_one_sound_host_is_needed(void **state)
{
    (void)state;
    static const struct bad table[] = {
        { .bytes = "GET /x HTTP/1.1\r\n\r\n", .status = 400 },
        { .bytes = "GET /x HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
          .status = 400 },
        { .bytes = "GET /x HTTP/1.1\r\nHost:\r\n\r\n", .status = 400, .other = 421 },
        { .bytes = "GET /x HTTP/1.1\r\nHost: localhost, other\r\n\r\n",
          .status = 400,
          .other = 421 },
        { .bytes = "GET /x HTTP/1.1\r\nHost: u@localhost\r\n\r\n",
          .status = 400,
          .other = 421 },
        { .bytes = "GET /x HTTP/1.1\r\nHost: localhost/x\r\n\r\n",
          .status = 400,
          .other = 421 },
        { .bytes = "GET /x HTTP/1.1\r\nHost: localhost:x\r\n\r\n",
          .status = 400,
          .other = 421 },
        { .bytes = "GET /x HTTP/1.0\r\n\r\n", .status = 400 },
    };
    WORLD(w);
    world_start(&w, &(struct world_options){ 0 });
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct answer a = { 0 };
        http_raw(w.port, table[i].bytes, &a);
        if (a.status != table[i].status && (!table[i].other || a.status != table[i].other))
            fail_msg("got %d for %s", a.status, table[i].bytes);
        answer_free(&a);
    }
    assert_int_equal(peer_count(w.api, ""), 0);
}

/* Versions of HTTP other than 1.0 and 1.1: 505 or 400. (row 13) */
static void other_versions_are_505_or_400(void **state)
{
    (void)state;
    static const struct bad table[] = {
        { .bytes = "GET /x HTTP/1.2\r\n" H "\r\n", .status = 505, .other = 400 },
        { .bytes = "GET /x HTTP/2.0\r\n" H "\r\n", .status = 505, .other = 400 },
        { .bytes = "GET /x HTTP/9.9\r\n" H "\r\n", .status = 505, .other = 400 },
        { .bytes = "GET /x http/1.1\r\n" H "\r\n", .status = 505, .other = 400 },
        { .bytes = "GET /x HTTP/1.1x\r\n" H "\r\n", .status = 505, .other = 400 },
        { .bytes = "GET /x HTTP/01.1\r\n" H "\r\n", .status = 505, .other = 400 },
        { .bytes = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .status = 505, .other = 400 },
    };
    ALL_BAD(table);
}

/* TLS, SSH or JSON in place of a request: the connection is closed, and nothing is forwarded.
 * (row 13) */
static void noise_is_answered_or_closed_but_never_forwarded(void **state)
{
    (void)state;
    static const struct bad table[] = {
        { .bytes = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", .len = 15 },
        { .bytes = "SSH-2.0-OpenSSH_9.2\r\n\r\n" },
        { .bytes = "{\"jsonrpc\":\"2.0\"}\r\n\r\n" },
    };
    WORLD(w);
    world_start(&w, &(struct world_options){ .settings = "listen.header_timeout = 1s\n" });
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct client c;
        client_open(&c, w.port);
        client_send(&c, table[i].bytes, table[i].len ? table[i].len : strlen(table[i].bytes));
        assert_true(client_closed(&c, SOON_MS));
        client_close(&c);
    }
    assert_int_equal(peer_count(w.api, ""), 0);
}

/* What libmicrohttpd closes because it could not read it is not said to be malformed. */
static void a_request_that_cannot_be_read_is_closed_without_a_400(void **state)
{
    (void)state;
    static const char *const env[] = { "LD_PRELOAD=" FIRST_SEND, NULL };
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .env = env });
    for (int half_closed = 0; half_closed <= 1; half_closed++) {
        client_open(&c, w.port);
        /* it must not close before we have said all of it */
        proxy_signal(w.proxy, SIGSTOP);
        client_puts(&c, "GET /unread HTTP/1.1\r\n" H "\r\n");
        if (half_closed)
            (void)shutdown(c.fd, SHUT_WR);
        proxy_signal(w.proxy, SIGCONT);
        client_read(&c, &a, true, SOON_MS);
        assert_int_equal(a.end, ANSWER_NONE);
        client_close(&c);
    }
    http_raw(w.port, "SSH-2.0-OpenSSH_9.2\r\n\r\n", &a);
    assert_int_equal(a.status, 400);
    answer_free(&a);
    assert_int_equal(peer_count(w.api, ""), 0);
}

/* Too many fields or too long ones: 431; a target that is too long: 414. (row 25) */
static void too_much_head_is_431_and_a_long_target_414(void **state)
{
    (void)state;
    WORLD(w);
    struct bytes request = { 0 };
    world_start(&w, &(struct world_options){ .settings = "listen.max_header_size = 8k\n"
                                                         "listen.max_headers = 20\n" });
    bytes_add_str(&request, "GET /");
    bytes_fill(&request, 'x', 9000);
    bytes_add_str(&request, " HTTP/1.1\r\n" H "\r\n");
    assert_bad(&w, &(struct bad){ .bytes = request.data, .len = request.len, .status = 414 });
    bytes_clear(&request);
    bytes_add_str(&request, "GET /x HTTP/1.1\r\n" H "X-A: ");
    bytes_fill(&request, 'x', 9000);
    bytes_add_str(&request, "\r\n\r\n");
    assert_bad(&w, &(struct bad){ .bytes = request.data, .len = request.len, .status = 431 });
    bytes_clear(&request);
    bytes_add_str(&request, "GET /x HTTP/1.1\r\n" H);
    for (int i = 0; i < 20; i++)
        bytes_addf(&request, "X-%d: 1\r\n", i);
    bytes_add_str(&request, "\r\n");
    assert_bad(&w, &(struct bad){ .bytes = request.data, .len = request.len, .status = 431 });
    bytes_free(&request);
}

/* A head of just the size that the limits allow is served. (row 25) */
static void heads_at_the_limits_pass(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    struct bytes request = { 0 };
    world_start(&w, &(struct world_options){ .settings = "listen.max_headers = 20\n" });
    bytes_add_str(&request, "GET /x HTTP/1.1\r\n" H "Connection: close\r\n");
    for (int i = 0; i < 18; i++)
        bytes_addf(&request, "X-%d: 1\r\n", i);
    bytes_add_str(&request, "\r\n");
    http_raw(w.port, bytes_text(&request), &a);
    assert_int_equal(a.status, 200);
    bytes_clear(&request);
    bytes_add_str(&request, "GET /x HTTP/1.1\r\n" H "Connection: close\r\nX-A: ");
    bytes_fill(&request, 'x', 30000);
    bytes_add_str(&request, "\r\n\r\n");
    http_raw(w.port, bytes_text(&request), &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(peer_count(w.api, ""), 2);
    bytes_free(&request);
    answer_free(&a);
}

/* A body with broken chunks ends the caller's connection and the transfer with the upstream.
 * (row 9) */
static void broken_chunks_end_the_upload_and_the_connection(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "3\r\nabc\r\nzz\r\n",
        "3\r\nabc\r\n-5\r\nabcde\r\n",
        "3\r\nabcdef\r\n0\r\n\r\n",
        "3\r\nabc\r\nFFFFFFFFFFFFFFFFF\r\nx",
        "3\r\nabc\r\n0x3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n5_0\r\n",
    };
    WORLD(w);
    world_start(&w, &(struct world_options){ 0 });
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct client c;
        client_open(&c, w.port);
        client_puts(&c, "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n");
        client_puts(&c, bodies[i]);
        if (!client_closed(&c, SOON_MS))
            fail_msg("still open after %s", bodies[i]);
        client_close(&c);
    }
    assert_true(peer_wait_closed_to(w.api, 0, SOON_MS));
    assert_false(peer_wait_complete(w.api, "", 1, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_body_that_could_be_measured_twice_is_400),
        TEST(an_unknown_transfer_coding_is_501_or_400_at_once),
        TEST(names_and_values_that_hide_something_are_400),
        TEST(exactly_one_sound_host_is_needed),
        TEST(other_versions_are_505_or_400),
        TEST(noise_is_answered_or_closed_but_never_forwarded),
        TEST(a_request_that_cannot_be_read_is_closed_without_a_400),
        TEST(too_much_head_is_431_and_a_long_target_414),
        TEST(heads_at_the_limits_pass),
        TEST(broken_chunks_end_the_upload_and_the_connection),
    };
    return RUN_TESTS(tests);
}

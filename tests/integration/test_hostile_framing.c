/* Callers that send malicious framing, beyond the tables of test_refusals_head.c. Rows:
 * tests/hostile/README.md. */
#include "harness.h"

#define H "Host: localhost\r\n"
#define LURE "GET /lure HTTP/1.1\r\n" H "\r\n"
#define CHUNKED "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"

/* Sends it with a second request behind it; what comes back must be a refusal. Nothing may
 * reach the upstream. */
static void assert_refused(struct world *w, const struct bytes *request)
{
    struct client c;
    struct answer a = { 0 };
    client_open(&c, w->port);
    client_send(&c, request->data, request->len);
    (void)client_try_send(&c, LURE, sizeof LURE - 1, 100);
    client_read(&c, &a, false, SOON_MS);
    if (a.end != ANSWER_WHOLE || (a.status != 400 && a.status != 501))
        fail_msg("status %d, end %d for:\n%s", a.status, (int)a.end, request->data);
    assert_true(client_closed(&c, SOON_MS));
    if (peer_count(w->api, "") != 0)
        fail_msg("reached the upstream: %s", request->data);
    client_close(&c);
    answer_free(&a);
}

/* NUL, CR and the other control characters in a value or a target: 400, and nothing goes
 * upstream. (row 7) */
static void every_control_character_in_a_value_or_a_target_is_refused(void **state)
{
    (void)state;
    WORLD(w);
    world_start(&w, &(struct world_options){ 0 });
    for (int byte = 0; byte < 128; byte++) {
        struct bytes value = { 0 }, target = { 0 }, name = { 0 };
        if (byte >= 0x20 && byte != 0x7f)
            continue;
        bytes_add_str(&value, "GET /x HTTP/1.1\r\n" H "X-A: a");
        bytes_fill(&value, (char)byte, 1);
        bytes_add_str(&value, "b\r\n\r\n");
        if (byte != '\t')
            assert_refused(&w, &value);
        bytes_add_str(&target, "GET /a");
        bytes_fill(&target, (char)byte, 1);
        bytes_add_str(&target, "b HTTP/1.1\r\n" H "\r\n");
        assert_refused(&w, &target);
        bytes_add_str(&name, "GET /x HTTP/1.1\r\n" H "X");
        bytes_fill(&name, (char)byte, 1);
        bytes_add_str(&name, "A: b\r\n\r\n");
        assert_refused(&w, &name);
        bytes_free(&value);
        bytes_free(&target);
        bytes_free(&name);
    }
}

/* Lines that end with LF or CR alone, and doubled blanks in the request line: 400. (row 8) */
static void line_ends_that_are_none_are_refused(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "GET /x HTTP/1.1\r\n" H "\rX",
        "GET /x HTTP/1.1\r\n" H "\r\r\n",
        "GET /x HTTP/1.1\r\n" H "\n",
        "GET /x HTTP/1.1\r\n" H "X-A: 1\r\r\n\r\n",
        "GET /x HTTP/1.1\r\n" H "X-A: 1\rX-B: 2\r\n\r\n",
        "GET /x HTTP/1.1\r" H "\r\n",
        "GET /x HTTP/1.1 \r\n" H "\r\n",
        "GET /x\tHTTP/1.1\r\n" H "\r\n",
        "GET\t/x HTTP/1.1\r\n" H "\r\n",
        "GET /x HTTP/1.1\r\n Host: localhost\r\n\r\n",
        "GET /x HTTP/1.1\r\n" H " \r\n\r\n",
    };
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        struct bytes request = { 0 };
        bytes_add_str(&request, requests[i]);
        assert_refused(&w, &request);
        bytes_free(&request);
    }
    /* RFC 9112 section 2.2: one empty line in front may be there */
    http_raw(w.port, "\r\nGET /x HTTP/1.1\r\n" H "Connection: close\r\n\r\n", &a);
    assert_int_equal(a.status, 200);
    answer_free(&a);
}

/* A chunk size that is no number, or a chunk of another length: refused, and the transfer with
 * the upstream is aborted. (row 9) */
static void chunks_with_a_wrong_measure_never_end_upstream(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "5_0\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "\t5\r\nhello\r\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";a=b\r\nhello\r\n0\r\n\r\n",
        "11111111111111115\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "5,5\r\nhello\r\n0\r\n\r\n",
        "5g\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-A : 1\r\n folded\rX\r\n",
    };
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = "listen.body_timeout = 2s\n" });
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        for (int late = 0; late < 2; late++) {
            struct client c;
            client_open(&c, w.port);
            client_puts(&c, CHUNKED);
            if (late) { /* the upstream has begun to hear it */
                client_puts(&c, "3\r\nabc\r\n");
                assert_true(peer_wait(w.api, "", 1, SOON_MS));
            }
            (void)client_try_send(&c, bodies[i], strlen(bodies[i]), 100);
            (void)client_try_send(&c, LURE, sizeof LURE - 1, 100);
            client_read(&c, &a, false, SOON_MS);
            if (a.status != 400 && a.status != 408 && a.status != 413 && a.end != ANSWER_NONE)
                fail_msg("status %d, end %d for %s", a.status, (int)a.end, bodies[i]);
            assert_true(client_closed(&c, SOON_MS));
            client_close(&c);
            assert_true(peer_wait_closed_to(w.api, 0, SOON_MS));
            if (peer_wait_complete(w.api, "", 1, 0))
                fail_msg("ended upstream: %s", bodies[i]);
        }
    }
    assert_int_equal(peer_count(w.api, " /v0/lure"), 0);
    /* each has come to its end, and holds nothing any more */
    assert_true(
        proxy_log_wait(w.proxy, "event=access", 2 * (sizeof bodies / sizeof *bodies), SOON_MS));
    answer_free(&a);
}

/* What libmicrohttpd says of a broken body by itself is logged as it was said, as the caller's
 * fault; and as one whose outcome is unknown, since a part of the payment was sent. */
static void a_broken_body_is_logged_with_the_status_that_its_caller_got(void **state)
{
    (void)state;
    static const struct {
        const char *begin, *fill;
        size_t fills;
    } cases[] = {
        { "this is no chunk\r\n\r\n", "", 0 },
        { "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n", "", 0 },
        { "0\r\n", "a: 1\r\n", 15000 },
        { "5;x=", "y", 200000 },
    };
    enum { CASES = sizeof cases / sizeof *cases };
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = "classes.table = 1shot\n"
                                                         "admin.address = 127.0.0.1:0\n" });
    for (size_t i = 0; i < CASES; i++) {
        struct client c;
        struct bytes body = { 0 };
        char logged[128];
        bytes_add_str(&body, cases[i].begin);
        for (size_t n = 0; n < cases[i].fills; n++)
            bytes_add_str(&body, cases[i].fill);
        client_open(&c, w.port);
        client_puts(&c,
                    "POST /methods/6f1c0de0-aaaa-4bbb-8ccc-dddddddddddd/execute HTTP/1.1\r\n" H
                    "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        assert_true(peer_wait(w.api, "", i + 1, SOON_MS));
        (void)client_try_send(&c, body.data, body.len, SOON_MS);
        client_read(&c, &a, false, SOON_MS);
        (void)snprintf(logged, sizeof logged, "event=access status=%d stage=request", a.status);
        if (a.status < 400 || !proxy_log_wait(w.proxy, "event=access", i + 1, SOON_MS) ||
            !proxy_log_field(w.proxy, logged, 0, "error", logged, sizeof logged))
            fail_msg("case %zu: status %d, end %d", i, a.status, (int)a.end);
        client_close(&c);
        bytes_free(&body);
    }
    assert_int_equal(proxy_log_count(w.proxy, "event=access stage=request"), CASES);
    assert_int_equal(proxy_log_count(w.proxy, "event=access aborted=caller"), 0);
    http_get(proxy_admin_port(w.proxy), "/metrics", &a);
    assert_contains(bytes_text(&a.body),
                    "oneshot_proxy_outcome_unknown_total{class=\"money\"} 4\n");
    answer_free(&a);
}

/* A chunk extension of 64 KiB, or 100,000 chunks of one byte: refused, or the right body; never
 * a 500. (row 10) */
static void chunk_extensions_and_tiny_chunks_are_no_attack(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    struct bytes request = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    bytes_add_str(&request, CHUNKED "5;x=");
    bytes_fill(&request, 'y', 65536);
    bytes_add_str(&request, "\r\nhello\r\n0\r\n\r\n");
    client_open(&c, w.port);
    (void)client_try_send(&c, request.data, request.len, SOON_MS);
    client_read(&c, &a, false, SOON_MS);
    if (a.status != 400 && a.status != 413 && a.status != 431 &&
        !(a.status == 200 && strcmp(bytes_text(&a.body), "hello") == 0))
        fail_msg("status %d: %s", a.status, bytes_text(&a.body));
    client_close(&c);
    bytes_clear(&request);
    const size_t tiny = sanitized() ? 20000 : 100000;
    bytes_add_str(&request, CHUNKED);
    for (size_t i = 0; i < tiny; i++)
        bytes_add_str(&request, "1\r\nx\r\n");
    bytes_add_str(&request, "0\r\n\r\n");
    client_open(&c, w.port);
    client_send(&c, request.data, request.len);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body.len, tiny);
    client_close(&c);
    bytes_free(&request);
    answer_free(&a);
}

/* A chunk extension longer than the buffer: libmicrohttpd stops reading where the line of a
 * size does not fit, and does not say so. (row 10) */
static void a_size_of_a_chunk_that_fits_nowhere_is_refused_soon(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    struct bytes request = { 0 };
    /* before any of the deadlines that would end it as well */
    world_start(&w, &(struct world_options){ .settings = "listen.body_timeout = 60s\n" });
    bytes_add_str(&request, CHUNKED "3\r\nabc\r\n5;x=");
    bytes_fill(&request, 'y', 200000);
    bytes_add_str(&request, "\r\nhello\r\n0\r\n\r\n");
    client_open(&c, w.port);
    (void)client_try_send(&c, request.data, request.len, 100);
    client_read(&c, &a, false, SOON_MS);
    if (a.status != 413) /* libmicrohttpd 1.0 says so itself */
        assert_problem(&a, 400, "request", "http_request_error");
    assert_true(client_closed(&c, SOON_MS));
    client_close(&c);
    assert_true(peer_wait_closed_to(w.api, 0, SOON_MS));
    assert_false(peer_wait_complete(w.api, " /v0/x", 1, 0));
    /* and its place among the requests is free again */
    assert_true(proxy_log_wait(w.proxy, "event=access", 1, SOON_MS));
    http_get(w.port, "/next", &a);
    assert_int_equal(a.status, 200);
    bytes_free(&request);
    answer_free(&a);
}

/* ... and who is merely slow is not taken for that: twice as long as it takes to be sure. */
static void a_slow_chunked_body_is_waited_for(void **state)
{
    (void)state;
    static const char body[] = "6\r\nabcdef\r\n";
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    client_open(&c, w.port);
    client_puts(&c, CHUNKED);
    for (size_t i = 0; i < 7; i++) {
        client_send(&c, body + i, 1);
        assert_int_equal(client_fill(&c, 300), -1); /* nothing is said meanwhile */
    }
    client_puts(&c, "ef\r\n0\r\n\r\n");
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), "abcdef");
    client_close(&c);
    answer_free(&a);
}

/* Trailers that carry framing or credentials are dropped; the body is forwarded. (row 11) */
static void trailers_change_nothing(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    char value[64];
    world_start(&w, &(struct world_options){ 0 });
    client_open(&c, w.port);
    client_puts(&c, CHUNKED "5\r\nhello\r\n0\r\nAuthorization: Bearer theirs\r\n"
                            "Content-Length: 3\r\nHost: evil.example\r\n"
                            "Transfer-Encoding: gzip\r\nX-T: 1\r\n\r\n");
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), "hello");
    const char *head = bytes_text(&peer_request(w.api, "", 0)->head);
    assert_int_equal(head_count(head, "Authorization"), 1);
    assert_int_equal(head_count(head, "Content-Length"), 0);
    assert_int_equal(head_count(head, "X-T"), 0);
    assert_true(head_value(head, "Host", 0, value, sizeof value));
    assert_string_equal(value, peer_url(w.api) + strlen("http://"));
    client_call(&c, "GET", "/next", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    client_close(&c);
    answer_free(&a);
}

/* Other versions of HTTP, TLS and random bytes are answered or closed, never forwarded. The
 * seed is fixed, so that what fails can be seen again. (row 13) */
static void noise_and_old_versions_never_reach_the_upstream(void **state)
{
    (void)state;
    WORLD(w);
    uint32_t seed = 20240613;
    world_start(&w, &(struct world_options){ .settings = "listen.header_timeout = 300ms\n" });
    static const char *const old[] = { "GET /x\r\n\r\n",
                                       "GET /x\r\n" H "\r\n",
                                       "GET /x \r\n" H "\r\n",
                                       "GET /x HTTP/0.9\r\n" H "\r\n",
                                       "GET /x HTTP/1\r\n" H "\r\n",
                                       "GET /x HTTP/1.\r\n" H "\r\n",
                                       "GET /x HTTP /1.1\r\n" H "\r\n",
                                       "GET /x HTTP/1.10\r\n" H "\r\n",
                                       "GET /x FTP/1.1\r\n" H "\r\n" };
    for (size_t i = 0; i < 40 + sizeof old / sizeof *old; i++) {
        struct client c;
        client_open(&c, w.port);
        if (i >= 40) {
            client_puts(&c, old[i - 40]);
        } else {
            unsigned char noise[260];
            for (size_t n = 0; n < 256; n++) {
                seed = seed * 1664525 + 1013904223;
                noise[n] = (unsigned char)(seed >> 24);
            }
            memcpy(noise + 256, "\r\n\r\n", 4);
            client_send(&c, noise, sizeof noise);
        }
        (void)client_try_send(&c, LURE, sizeof LURE - 1, 100);
        assert_true(client_closed(&c, SOON_MS));
        client_close(&c);
    }
    assert_int_equal(peer_count(w.api, ""), 0);
}

/* A request cut at any byte is waited for, and then served. (row 14) */
static void the_rest_of_a_request_is_waited_for_wherever_it_was_cut(void **state)
{
    (void)state;
    static const char request[] = "POST /p HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
                                  "3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n";
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    for (size_t cut = 1; cut < sizeof request - 1; cut++) {
        struct client c, other;
        client_open(&c, w.port);
        client_send(&c, request, cut);
        /* somebody else has been served: the first part has been looked at */
        client_open(&other, w.port);
        client_call(&other, "GET", "/other", NULL, NULL, &a);
        client_close(&other);
        assert_int_equal(client_fill(&c, 0), -1);
        client_send(&c, request + cut, sizeof request - 1 - cut);
        client_read(&c, &a, false, SOON_MS);
        if (a.status != 200 || strcmp(bytes_text(&a.body), "abc") != 0)
            fail_msg("cut at %zu: %d %s", cut, a.status, bytes_text(&a.body));
        client_close(&c);
    }
    assert_int_equal(peer_count(w.api, " /v0/p"), sizeof request - 2);
    answer_free(&a);
}

/* The body of a GET, HEAD, OPTIONS or DELETE is forwarded or refused, and is never read as the
 * next request. (row 15) */
static void a_body_where_none_is_usual_is_no_second_request(void **state)
{
    (void)state;
    static const char *const methods[] = { "GET", "HEAD", "OPTIONS", "DELETE" };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        WORLD(w);
        struct client c;
        struct answer a = { 0 };
        char request[256];
        world_start(&w, &(struct world_options){ 0 });
        (void)snprintf(request, sizeof request,
                       "%s /first HTTP/1.1\r\n" H "Content-Length: %zu\r\n\r\n" LURE
                       "GET /second HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
                       methods[i], sizeof LURE - 1);
        client_open(&c, w.port);
        client_puts(&c, request);
        client_read(&c, &a, strcmp(methods[i], "HEAD") == 0, SOON_MS);
        if (a.status == 200) {
            client_read(&c, &a, false, SOON_MS);
            assert_int_equal(a.status, 200);
            assert_int_equal(peer_count(w.api, " /v0/first"), 1);
            assert_string_equal(bytes_text(&peer_request(w.api, " /v0/first", 0)->body), LURE);
            assert_int_equal(peer_count(w.api, " /v0/second"), 1);
            assert_int_equal(peer_count(w.api, ""), 2);
        } else {
            assert_int_equal(a.status, 400);
            assert_true(client_closed(&c, SOON_MS));
            assert_int_equal(peer_count(w.api, ""), 0);
        }
        client_close(&c);
        answer_free(&a);
    }
}

/* `Connection: content-length` must not remove the length: an upstream that is told of no body
 * would take the body for a request of its own, and the answer to that would go to the next
 * caller. (row 18) */
static void a_measure_that_is_called_hop_by_hop_still_measures(void **state)
{
    (void)state;
    static const char *const names[] = { "content-length", "Content_Length",
                                         "X-A,content-length, Content_Length" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        WORLD(w);
        struct answer a = { 0 };
        char fields[128];
        (void)snprintf(fields, sizeof fields, "Connection: %s\r\n", names[i]);
        world_start(&w, &(struct world_options){ 0 });
        http_get(w.port, "/prime", &a);
        http_call(w.port, "POST", "/first", fields, LURE, &a);
        assert_int_equal(a.status, 200);
        assert_string_equal(bytes_text(&a.body), LURE);
        http_call(w.port, "POST", "/next", NULL, "mine", &a);
        assert_int_equal(a.status, 200);
        assert_string_equal(bytes_text(&a.body), "mine");
        assert_int_equal(peer_count(w.api, ""), 3);
        assert_int_equal(peer_connections(w.api), 1); /* it was the same one */
        const struct peer_request *r = peer_request(w.api, " /v0/first", 0);
        assert_int_equal(r->content_length, sizeof LURE - 1);
        assert_int_equal(head_count(bytes_text(&r->head), "Content-Length"), 1);
        answer_free(&a);
    }
}

static void answer_held(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    if (strcmp(r->target, "/v0/p/50") != 0 || gate_pass(arg, c))
        (void)peer_answer(c, 200, NULL, r->target);
}

/* Pipelined requests are answered in order, though one of them is slow. (row 16) */
static void pipelined_requests_wait_for_a_slow_one_among_them(void **state)
{
    (void)state;
    WORLD(w);
    static struct gate gate;
    struct client c;
    struct answer a = { 0 };
    struct bytes all = { 0 };
    gate_init(&gate);
    world_start(&w, &(struct world_options){ .answer = answer_held, .arg = &gate });
    for (int i = 0; i < 100; i++)
        bytes_addf(&all, "GET /p/%d HTTP/1.1\r\n" H "\r\n", i);
    client_open(&c, w.port);
    client_send(&c, all.data, all.len);
    for (int i = 0; i < 100; i++) {
        char wanted[32];
        (void)snprintf(wanted, sizeof wanted, "/v0/p/%d", i);
        if (i == 50) {
            assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
            gate_open(&gate);
        }
        client_read(&c, &a, false, SOON_MS);
        assert_int_equal(a.status, 200);
        assert_string_equal(bytes_text(&a.body), wanted);
    }
    assert_int_equal(peer_count(w.api, ""), 100);
    client_close(&c);
    bytes_free(&all);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_control_character_in_a_value_or_a_target_is_refused),
        TEST(line_ends_that_are_none_are_refused),
        TEST(chunks_with_a_wrong_measure_never_end_upstream),
        TEST(a_broken_body_is_logged_with_the_status_that_its_caller_got),
        TEST(chunk_extensions_and_tiny_chunks_are_no_attack),
        TEST(a_size_of_a_chunk_that_fits_nowhere_is_refused_soon),
        TEST(a_slow_chunked_body_is_waited_for),
        TEST(trailers_change_nothing),
        TEST(noise_and_old_versions_never_reach_the_upstream),
        TEST(the_rest_of_a_request_is_waited_for_wherever_it_was_cut),
        TEST(a_body_where_none_is_usual_is_no_second_request),
        TEST(a_measure_that_is_called_hop_by_hop_still_measures),
        TEST(pipelined_requests_wait_for_a_slow_one_among_them),
    };
    return RUN_TESTS(tests);
}

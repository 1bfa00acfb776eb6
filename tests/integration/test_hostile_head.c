/* Request heads that try to smuggle something past the gateway, or to reach what they should
 * not. Rows: tests/hostile/README.md. */
#include "harness.h"

#define H "Host: localhost\r\n"
#define CLOSE "Connection: close\r\n"

static const char *head_of(struct world *w, size_t index)
{
    const struct peer_request *r = peer_request(w->api, "", index);
    assert_non_null(r);
    return bytes_text(&r->head);
}

/* Answers whatever its target names: "/v0/NUMBER" with that status before it reads a body. */
static void serve_at_once(struct peer_conn *c, void *arg)
{
    struct peer_request *r;
    (void)arg;
    while ((r = peer_read_head(c)) != NULL) {
        int status = (int)strtol(r->target + strlen("/v0/"), NULL, 10);
        (void)peer_answer(c, status, NULL, "at once");
        if (!peer_read_body(c, r))
            return;
    }
}

/* Expect: 100-continue: a final status instead of the 100, or after it; never both out of
 * order. (row 21) */
static void an_expectation_ends_in_one_final_answer(void **state)
{
    (void)state;
    static const int statuses[] = { 401, 417, 200 };
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    char request[256];
    world_start(&w, &(struct world_options){ .serve = serve_at_once,
                                             .settings = "upstream.replay = none\n" });
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        client_open(&c, w.port);
        (void)snprintf(request, sizeof request,
                       "POST /%d HTTP/1.1\r\n" H "Expect: 100-continue\r\n"
                       "Content-Length: 5\r\n\r\n",
                       statuses[i]);
        client_puts(&c, request);
        assert_int_equal(client_fill(&c, SOON_MS), 1);
        if (strncmp(bytes_text(&c.in), "HTTP/1.1 100", 12) == 0)
            (void)client_try_send(&c, "hello", 5, 100);
        client_read(&c, &a, false, SOON_MS);
        assert_int_equal(a.status, statuses[i]);
        assert_int_equal(a.end, ANSWER_WHOLE);
        assert_string_equal(bytes_text(&a.body), "at once");
        assert_int_equal(c.in.len, 0);
        client_close(&c);
    }
    answer_free(&a);
}

/* Expect: 100-continue without a body, or from a caller of HTTP/1.0. libmicrohttpd gives a 100
 * to whoever asks for it, without a body too. (row 21) */
static void an_expectation_without_a_body_or_of_old_callers_is_served(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "GET /x HTTP/1.1\r\n" H CLOSE "Expect: 100-continue\r\n\r\n",
        "POST /x HTTP/1.1\r\n" H CLOSE "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        "POST /x HTTP/1.0\r\n" H "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
        /* the body is there already: RFC 9110 section 10.1.1 lets the 100 be left out */
        "POST /x HTTP/1.1\r\n" H CLOSE "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\nok",
    };
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        http_raw(w.port, requests[i], &a);
        assert_int_equal(a.status, 200);
        if (a.interim.len != 0 &&
            (i == 2 || head_length(a.interim.data, a.interim.len) != a.interim.len))
            fail_msg("%s behind %s", bytes_text(&a.interim), requests[i]);
        assert_int_equal(head_count(head_of(&w, i), "Expect"), 0);
    }
    answer_free(&a);
}

/* A request that asks for an upgrade (websocket, h2c) is served as plain HTTP. (row 23) */
static void a_wish_to_change_the_protocol_is_not_passed_on(void **state)
{
    (void)state;
    static const char *const fields[] = {
        ("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        "Upgrade: websocket\r\n",
        "Connection: upgrade\r\nUpgrade: TLS/1.0, HTTP/1.1\r\n",
    };
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    client_open(&c, w.port);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        client_call(&c, "GET", "/x", fields[i], NULL, &a);
        assert_int_equal(a.status, 200);
        assert_int_equal(head_count(head_of(&w, i), "Upgrade"), 0);
        assert_int_equal(head_count(head_of(&w, i), "HTTP2-Settings"), 0);
        assert_int_equal(head_count(head_of(&w, i), "Connection"), 0);
    }
    client_close(&c);
    answer_free(&a);
}

/* X-Forwarded-* and the like are passed on, and decide nothing here. (row 24) */
static void what_a_caller_says_about_its_way_changes_nothing(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char value[64];
    world_start(&w, &(struct world_options){ 0 });
    http_call(w.port, "GET", "/x",
              "X-Forwarded-Host: evil.example\r\nX-Forwarded-For: 10.0.0.1\r\n"
              "X-Forwarded-Proto: gopher\r\nForwarded: for=10.0.0.1;host=evil.example\r\n"
              "X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\n"
              "X-HTTP-Method-Override: DELETE\r\n",
              NULL, &a);
    assert_int_equal(a.status, 200);
    const struct peer_request *r = peer_request(w.api, "", 0);
    assert_string_equal(r->method, "GET");
    assert_string_equal(r->target, "/v0/x");
    assert_true(head_value(head_of(&w, 0), "Host", 0, value, sizeof value));
    assert_string_equal(value, peer_url(w.api) + strlen("http://"));
    assert_true(head_value(head_of(&w, 0), "X-Forwarded-Host", 0, value, sizeof value));
    assert_string_equal(value, "evil.example");
    assert_int_equal(head_count(head_of(&w, 0), "Via"), 1);
    answer_free(&a);
}

/* Sends it whatever the other side does meanwhile. */
static int status_of(struct world *w, const struct bytes *request)
{
    struct client c;
    struct answer a = { 0 };
    client_open(&c, w->port);
    (void)client_try_send(&c, request->data, request->len, SOON_MS);
    client_read(&c, &a, false, SOON_MS);
    if (a.end != ANSWER_WHOLE)
        fail_msg("end %d instead of an answer", (int)a.end);
    if (a.status != 200) {
        /* what does not even fit libmicrohttpd's buffer is answered by itself, in its own words
         */
        if (answer_header_count(&a, "Proxy-Status") != 0)
            assert_problem(&a, a.status, "request", "http_request_error");
        assert_true(a.body.len <= 1024);
        assert_true(client_closed(&c, SOON_MS));
    }
    int status = a.status;
    client_close(&c);
    answer_free(&a);
    return status;
}

/* Too many fields or too long ones: 431; a target that is too long: 414. With the default
 * limits. (row 25) */
static void heads_of_every_size_get_the_answer_for_their_size(void **state)
{
    (void)state;
    static const struct {
        size_t fields, field_bytes, target_bytes;
        int status;
    } cases[] = {
        { 97, 1, 1, 200 },        { 99, 1, 1, 431 },        { 100, 1, 1, 431 },
        { 5000, 1, 1, 431 },      { 1, 31 << 10, 1, 200 },  { 1, 33 << 10, 1, 431 },
        { 1, 100 << 10, 1, 431 }, { 1, 1, 8 << 10, 200 },   { 1, 1, 9 << 10, 200 },
        { 1, 1, 17 << 10, 414 },  { 1, 1, 100 << 10, 414 }, { 1, 2 << 20, 1, 431 },
    };
    WORLD(w);
    struct bytes request = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes_clear(&request);
        bytes_add_str(&request, "GET /");
        bytes_fill(&request, 't', cases[i].target_bytes);
        bytes_add_str(&request, " HTTP/1.1\r\n" H CLOSE);
        for (size_t f = 0; f < cases[i].fields; f++) {
            bytes_addf(&request, "X-%zu: ", f);
            bytes_fill(&request, 'v', cases[i].field_bytes);
            bytes_add_str(&request, "\r\n");
        }
        bytes_add_str(&request, "\r\n");
        int status = status_of(&w, &request);
        if (status != cases[i].status)
            fail_msg("%zu fields of %zu bytes, target of %zu: %d", cases[i].fields,
                     cases[i].field_bytes, cases[i].target_bytes, status);
    }
    assert_int_equal(peer_count(w.api, ""), 4);
    bytes_free(&request);
}

/* An absolute target is accepted for our own host and the upstream's; any other gets 400 or
 * 421. (row 30) */
static void a_target_that_names_another_host_goes_nowhere(void **state)
{
    (void)state;
    static const char *const targets[] = {
        "http://evil.example/x",
        "https://evil.example/v0/x",
        "http://localhost@evil.example/x",
        "http://u:p@localhost/x",
        "http://localhost:99999/x",
        "ftp://localhost/x",
        "http:///x",
        "http://localhost.evil.example/x",
        "http:/x",
        "example:443",
        "localhost:443",
        "*",
        "@evil.example/",
        "//@evil.example\\x",
        "http://[::1/x",
        "http://localhost/../x",
        "HTTP://LOCALHOST\\evil/x",
    };
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        for (int options = 0; options < 2; options++) {
            char request[256];
            (void)snprintf(request, sizeof request, "%s %s HTTP/1.1\r\n" H CLOSE "\r\n",
                           options ? "OPTIONS" : "GET", targets[i]);
            http_raw(w.port, request, &a);
            if (options && strcmp(targets[i], "*") == 0) /* the proxy itself */
                assert_int_equal(a.status, 200);
            else if (a.status != 400 && a.status != 421 && a.status != 405)
                fail_msg("%d for %s", a.status, request);
        }
    }
    assert_int_equal(peer_count(w.api, ""), 0);
    answer_free(&a);
}

/* CONNECT and TRACE get 405 with Allow, what is no token gets 400; any other method is passed
 * on in the case that it was written in. (row 31) */
static void methods_are_refused_by_name_and_otherwise_passed_as_written(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int status;
    } cases[] = {
        { "CONNECT localhost:443", 405 },
        { "CONNECT /x", 405 },
        { "TRACE /x", 405 },
        { "TRACE *", 405 },
        { "G=T /x", 400 },
        { "G,T /x", 400 },
        { "THIS-METHOD-HAS-MORE-THAN-32-BYTES-IN-ITS-NAME /x", 400 },
        { "get /x", 200 },
        { "TRACK /x", 200 },
        { "Post /x", 200 },
        { "M-SEARCH /x", 200 },
    };
    WORLD(w);
    struct answer a = { 0 };
    size_t passed = 0;
    world_start(&w, &(struct world_options){ 0 });
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char request[256];
        (void)snprintf(request, sizeof request, "%s HTTP/1.1\r\n" H CLOSE "\r\n",
                       cases[i].line);
        http_raw(w.port, request, &a);
        if (a.status != cases[i].status)
            fail_msg("%d for %s", a.status, request);
        assert_int_equal(answer_header_count(&a, "Allow"), a.status == 405);
        if (a.status != 200)
            continue;
        const struct peer_request *r = peer_request(w.api, "", passed++);
        assert_non_null(r);
        assert_int_equal(strncmp(r->method, cases[i].line, strlen(r->method)), 0);
        assert_int_equal(cases[i].line[strlen(r->method)], ' ');
    }
    assert_int_equal(peer_count(w.api, ""), passed);
    answer_free(&a);
}

static void answer_fields(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)arg;
    if (strcmp(r->target, "/v0/205") == 0)
        (void)peer_puts(c, "HTTP/1.1 205 Reset Content\r\nContent-Length: 4\r\n\r\nbody");
    else if (strcmp(r->target, "/v0/hop") == 0)
        (void)peer_puts(c, "HTTP/1.1 200 OK\r\nTE: trailers\r\nProxy-Connection: close\r\n"
                           "Connection: x-one,, X-Two , close\r\nX-One: 1\r\nX-Two: 2\r\n"
                           "Keep-Alive: 5\r\nUpgrade: x\r\nTrailer: a\r\nX-Kept: 1\r\n"
                           "Proxy-Authorization: Basic eDp5\r\nContent-Length: 2\r\n\r\nok");
    else
        (void)peer_answer(c, 200, NULL, "next");
}

/* Hop-by-hop fields of an answer, and those that its Connection field names, are removed.
 * (rows 19, 28) */
static void hop_by_hop_fields_of_an_answer_stay_here(void **state)
{
    (void)state;
    static const char *const gone[] = { "TE",      "Proxy-Connection",   "X-One",
                                        "X-Two",   "Keep-Alive",         "Upgrade",
                                        "Trailer", "Proxy-Authorization" };
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .answer = answer_fields });
    client_open(&c, w.port);
    client_call(&c, "GET", "/hop", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        if (answer_header_count(&a, gone[i]) != 0)
            fail_msg("%s came through", gone[i]);
    assert_int_equal(answer_header_count(&a, "X-Kept"), 1);
    assert_string_not_equal(answer_header(&a, "Connection"),
                            "close"); /* that was their side's */
    client_call(&c, "GET", "/next", NULL, NULL, &a);
    assert_string_equal(bytes_text(&a.body), "next");
    client_close(&c);
    answer_free(&a);
}

/* A 205 may have no body (RFC 9110, section 15.3.6). An upstream that sends one all the same
 * frames it too, so the next answer is still found. (row 27) */
static void a_205_with_a_body_keeps_the_framing(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .answer = answer_fields });
    client_open(&c, w.port);
    client_call(&c, "GET", "/205", NULL, NULL, &a);
    assert_int_equal(a.status, 205);
    assert_string_equal(bytes_text(&a.body), "body");
    client_call(&c, "GET", "/next", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), "next");
    client_close(&c);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_expectation_ends_in_one_final_answer),
        TEST(an_expectation_without_a_body_or_of_old_callers_is_served),
        TEST(a_wish_to_change_the_protocol_is_not_passed_on),
        TEST(what_a_caller_says_about_its_way_changes_nothing),
        TEST(heads_of_every_size_get_the_answer_for_their_size),
        TEST(a_target_that_names_another_host_goes_nowhere),
        TEST(methods_are_refused_by_name_and_otherwise_passed_as_written),
        TEST(hop_by_hop_fields_of_an_answer_stay_here),
        TEST(a_205_with_a_body_keeps_the_framing),
    };
    return RUN_TESTS(tests);
}

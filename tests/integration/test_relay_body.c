/* Request bodies, connections kept alive, and the local token endpoint. Rows:
 * tests/hostile/README.md. */
#include "harness.h"

#define PLACEHOLDER                                                              \
    "{\"access_token\":\"oneshot-proxy-placeholder\",\"token_type\":\"Bearer\"," \
    "\"expires_in\":3600,\"scope\":\"read:api write:api\"}"

static void a_body_with_a_length_arrives_byte_for_byte(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    struct bytes body = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    for (int i = 0; i < 300000; i++)
        bytes_addf(&body, "%c", i % 256);
    struct bytes head = { 0 };
    bytes_addf(&head, "POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n",
               body.len);
    client_open(&c, w.port);
    client_send(&c, head.data, head.len);
    client_send(&c, body.data, body.len);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    const struct peer_request *r = peer_request(w.api, "POST /v0/up", 0);
    assert_non_null(r);
    assert_false(r->chunked);
    assert_int_equal(r->content_length, (int64_t)body.len);
    assert_int_equal(r->body.len, body.len);
    assert_memory_equal(r->body.data, body.data, body.len);
    client_close(&c);
    bytes_free(&head);
    bytes_free(&body);
    answer_free(&a);
}

/* Trailers of an upload are dropped, and its body arrives whole. (row 11) */
static void a_chunked_body_arrives_whole_without_its_trailers(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    client_open(&c, w.port);
    client_puts(&c, "PUT /up HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
                    "Trailer: X-T\r\n\r\n5\r\nhello\r\n1\r\n \r\n00A\r\n0123456789\r\n"
                    "0\r\nX-T: 1\r\nAuthorization: Basic eDp5\r\n\r\n");
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), "hello 0123456789");
    const struct peer_request *r = peer_request(w.api, "PUT /v0/up", 0);
    assert_non_null(r);
    assert_int_equal(head_count(bytes_text(&r->head), "Trailer"), 0);
    assert_int_equal(head_count(bytes_text(&r->head), "X-T"), 0);
    client_call(&c, "GET", "/next", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    client_close(&c);
    answer_free(&a);
}

/* A chunk extension is not passed on. (row 10) */
static void a_chunk_extension_is_dropped_or_refused(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    client_open(&c, w.port);
    client_puts(&c, "PUT /up HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
                    "\r\n5;a=b\r\nhello\r\n0\r\n\r\n");
    client_read(&c, &a, false, SOON_MS);
    if (a.status == 200)
        assert_string_equal(bytes_text(&a.body), "hello");
    else
        assert_int_equal(a.status, 400); /* what libmicrohttpd 1.0 makes of it */
    client_close(&c);
    answer_free(&a);
}

/* A body with any method is forwarded, and an empty one is told apart from none. (row 15) */
static void bodies_and_lengths_of_nothing_keep_their_form(void **state)
{
    (void)state;
    static const struct {
        const char *method, *body;
        int64_t length;
    } cases[] = { { "POST", "", 0 },       { "PUT", "", 0 },      { "DELETE", "", 0 },
                  { "DELETE", "why", 3 },  { "GET", "query", 5 }, { "PATCH", "{}", 2 },
                  { "OPTIONS", "opt", 3 }, { "GET", NULL, -1 },   { "DELETE", NULL, -1 } };
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    client_open(&c, w.port);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        client_call(&c, cases[i].method, "/b", NULL, cases[i].body, &a);
        assert_int_equal(a.status, 200);
        const struct peer_request *r = peer_request(w.api, "", i);
        assert_string_equal(r->method, cases[i].method);
        assert_false(r->chunked);
        assert_int_equal(r->content_length, cases[i].length);
        assert_string_equal(bytes_text(&r->body), cases[i].body ? cases[i].body : "");
    }
    client_close(&c);
    answer_free(&a);
}

/* Expect: 100-continue with a body that is wanted: 100, then the answer. (row 21) */
static void a_caller_that_expects_100_gets_it_before_the_body(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    client_open(&c, w.port);
    client_puts(&c, "POST /e HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
                    "Expect: 100-continue\r\n\r\n");
    while (head_length(c.in.data, c.in.len) == 0)
        assert_int_equal(client_fill(&c, SOON_MS), 1);
    assert_memory_equal(c.in.data, "HTTP/1.1 100 ", 13);
    client_puts(&c, "body");
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), "body");
    assert_int_equal(peer_count(w.api, "POST /v0/e"), 1);
    client_close(&c);
    answer_free(&a);
}

/* A request that comes in single bytes is served. (row 14) */
static void a_request_in_single_bytes_is_waited_for(void **state)
{
    (void)state;
    static const char request[] = "POST /slow HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\n"
                                  "Content-Length: 3\r\n\r\nabc";
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    client_open(&c, w.port);
    for (size_t i = 0; request[i] != '\0'; i++)
        client_send(&c, request + i, 1);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), "abc");
    client_close(&c);
    answer_free(&a);
}

/* A hundred requests in one write are answered in order, each by its own answer. (row 16) */
static void a_hundred_pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    struct bytes all = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    for (int i = 0; i < 100; i++)
        bytes_addf(&all,
                   "POST /p/%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n%03d", i,
                   i);
    client_open(&c, w.port);
    client_send(&c, all.data, all.len);
    for (int i = 0; i < 100; i++) {
        char wanted[16];
        (void)snprintf(wanted, sizeof wanted, "%03d", i);
        client_read(&c, &a, false, SOON_MS);
        assert_int_equal(a.end, ANSWER_WHOLE);
        assert_int_equal(a.status, 200);
        assert_string_equal(bytes_text(&a.body), wanted);
    }
    assert_int_equal(peer_count(w.api, ""), 100);
    client_close(&c);
    bytes_free(&all);
    answer_free(&a);
}

static void connections_are_kept_on_both_sides(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    client_open(&c, w.port);
    for (int i = 0; i < 20; i++) {
        client_call(&c, i % 2 ? "POST" : "GET", "/k", NULL, i % 2 ? "x" : NULL, &a);
        assert_int_equal(a.status, 200);
        assert_string_not_equal(answer_header(&a, "Connection"), "close");
    }
    assert_int_equal(peer_connections(w.api), 1);
    client_call(&c, "GET", "/k", "Connection: close\r\n", NULL, &a);
    assert_int_equal(a.status, 200);
    assert_true(client_closed(&c, SOON_MS));
    client_close(&c);
    answer_free(&a);
}

static void
an_upstream_connection_that_lay_idle_longer_than_keepalive_is_not_used_again(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = "upstream.keepalive = 1s\n" });
    client_open(&c, w.port);
    int64_t began_ms = now_ms();
    client_call(&c, "POST", "/k", NULL, "x", &a);
    client_call(&c, "POST", "/k", NULL, "x", &a);
    size_t opened = peer_connections(w.api);
    if (now_ms() - began_ms < 1000)
        assert_int_equal(opened, 1);
    /* libcurl counts in whole seconds and wants more than one; the caller's stays meanwhile. */
    assert_false(client_closed(&c, 2100));
    client_call(&c, "POST", "/k", NULL, "x", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(peer_connections(w.api), opened + 1);
    assert_int_equal(peer_count(w.api, "POST /v0/k"), 3);
    client_close(&c);
    answer_free(&a);
}

static void an_old_caller_is_served_and_closed(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    client_open(&c, w.port);
    client_puts(&c, "POST /old HTTP/1.0\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nold");
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), "old");
    assert_true(client_closed(&c, SOON_MS));
    assert_memory_equal(bytes_text(&peer_request(w.api, "POST /v0/old", 0)->head),
                        "POST /v0/old HTTP/1.1\r\n", 23);
    client_close(&c);
    answer_free(&a);
}

static void the_callers_own_token_call_is_answered_here(void **state)
{
    (void)state;
    static const char *const targets[] = { "/token", "/v0/token", "//token" };
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    client_open(&c, w.port);
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        client_call(
            &c, "POST", targets[i], "Content-Type: application/x-www-form-urlencoded\r\n",
            "grant_type=client_credentials&client_id=x&client_secret=" CANARY "-caller", &a);
        assert_int_equal(a.status, 200);
        assert_string_equal(answer_header(&a, "Content-Type"), "application/json");
        assert_string_equal(answer_header(&a, "Cache-Control"), "no-store");
        assert_string_equal(bytes_text(&a.body), PLACEHOLDER);
    }
    client_puts(&c, "POST /token HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
                    "\r\n2\r\n{}\r\n0\r\n\r\n");
    client_read(&c, &a, false, SOON_MS);
    assert_string_equal(bytes_text(&a.body), PLACEHOLDER);
    client_call(&c, "POST", "/token", NULL, NULL, &a);
    assert_string_equal(bytes_text(&a.body), PLACEHOLDER);
    assert_int_equal(peer_count(w.api, ""), 0);
    client_call(&c, "GET", "/token", NULL, NULL, &a);
    assert_int_equal(peer_count(w.api, "GET /v0/token"), 1);
    assert_false(proxy_log_contains(w.proxy, CANARY));
    client_close(&c);
    answer_free(&a);
}

/* Its body is waited for, so that the connection can go on. */
static void the_callers_own_token_call_leaves_the_connection(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    client_open(&c, w.port);
    client_puts(&c, "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\npart");
    assert_int_equal(client_fill(&c, 100), -1);
    client_puts(&c, "rest");
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_int_equal(answer_header_count(&a, "Connection"), 0);
    client_call(&c, "GET", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    client_close(&c);
    answer_free(&a);
}

static void the_token_call_is_answered_even_while_no_token_is_there(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .hold_tokens = true });
    http_call(w.port, "POST", "/token", NULL, "x=1", &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), PLACEHOLDER);
    answer_free(&a);
}

static void the_token_call_is_forwarded_where_that_is_wanted(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = "token.local_endpoint = no\n" });
    http_call(w.port, "POST", "/token", NULL, "x=1", &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), "x=1");
    assert_int_equal(peer_count(w.api, "POST /v0/token"), 1);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_body_with_a_length_arrives_byte_for_byte),
        TEST(a_chunked_body_arrives_whole_without_its_trailers),
        TEST(a_chunk_extension_is_dropped_or_refused),
        TEST(bodies_and_lengths_of_nothing_keep_their_form),
        TEST(a_caller_that_expects_100_gets_it_before_the_body),
        TEST(a_request_in_single_bytes_is_waited_for),
        TEST(a_hundred_pipelined_requests_are_answered_in_order),
        TEST(connections_are_kept_on_both_sides),
        TEST(an_upstream_connection_that_lay_idle_longer_than_keepalive_is_not_used_again),
        TEST(an_old_caller_is_served_and_closed),
        TEST(the_callers_own_token_call_is_answered_here),
        TEST(the_callers_own_token_call_leaves_the_connection),
        TEST(the_token_call_is_answered_even_while_no_token_is_there),
        TEST(the_token_call_is_forwarded_where_that_is_wanted),
    };
    return RUN_TESTS(tests);
}

/* An answer that comes before the request's body is complete: it is given at once, whatever
 * it is, and never replaced because of what the caller does later. The rest of the body is
 * still forwarded if the upstream wants it. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "harness.h"
#include "later.h"

#define MIB (1024 * 1024)

/* What the upstream says as soon as it has the head, by the target. */
static const struct {
    const char *target, *text;
    int status;
} early[] = {
    { "/429",
      "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nwait",
      429 },
    { "/401", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno", 401 },
    { "/201", "HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\npaid", 201 },
    { "/last", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbye", 200 },
    { "/503",
      "HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: "
      "chunked\r\n\r\n2\r\nup\r\n0\r\n\r\n",
      503 },
};

static void serve_early(struct peer_conn *c, void *arg)
{
    (void)arg;
    const struct peer_request *r = peer_read_head(c);
    if (r == NULL)
        return;
    for (size_t i = 0; i < sizeof early / sizeof *early; i++)
        if (strcmp(r->target + strlen("/v0"), early[i].target) == 0)
            (void)peer_puts(c, early[i].text);
    peer_read_eof(c);
}

/* Sends all of it, whether or not the other side has said that it sends no more; returns how
 * much was taken. */
static size_t send_all(const struct client *c, size_t bytes)
{
    static const char piece[65536];
    struct pollfd p = { .fd = c->fd, .events = POLLOUT };
    size_t sent = 0;
    while (sent < bytes && poll(&p, 1, SOON_MS) > 0) {
        size_t n = bytes - sent < sizeof piece ? bytes - sent : sizeof piece;
        ssize_t taken = send(c->fd, piece, n, MSG_NOSIGNAL);
        if (taken < 0 && errno == EAGAIN)
            continue;
        if (taken < 0)
            break;
        sent += (size_t)taken;
    }
    return sent;
}

static void begin_upload(struct client *c, int port, const char *target, const char *framing)
{
    char head[256];
    client_open(c, port);
    (void)snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", target,
                   framing);
    client_puts(c, head);
}

static void an_early_answer_comes_at_once_untouched_and_ends_the_connection(void **state)
{
    (void)state;
    WORLD(w);
    world_start(&w, &(struct world_options){ .serve = serve_early,
                                             .settings = "upstream.replay = none\n" });
    for (size_t i = 0; i < sizeof early / sizeof *early; i++) {
        struct client c;
        struct answer a = { 0 };
        const char *body = strrchr(early[i].text, '\n');
        begin_upload(&c, w.port, early[i].target, "Content-Length: 20971520\r\n");
        client_puts(&c, "the first of it");
        client_read(&c, &a, false, SOON_MS);
        assert_int_equal(a.status, early[i].status);
        assert_int_equal(a.end, ANSWER_WHOLE);
        assert_string_equal(answer_header(&a, "Connection"), "close");
        assert_int_equal(answer_header_count(&a, "X-Request-Id"), 1);
        if (early[i].status == 429)
            assert_string_equal(answer_header(&a, "Retry-After"), "7");
        if (early[i].status == 503)
            body = "\nup";
        assert_string_equal(bytes_text(&a.body), body + 1);
        client_close(&c);
        answer_free(&a);
    }
    assert_true(proxy_log_wait(w.proxy, "event=access", sizeof early / sizeof *early, SOON_MS));
    assert_int_equal(proxy_log_count(w.proxy, "event=access aborted=caller"), 0);
    for (size_t i = 0; i < sizeof early / sizeof *early; i++) {
        char line[64];
        (void)snprintf(line, sizeof line, "event=access status=%d", early[i].status);
        assert_int_equal(proxy_log_count(w.proxy, line), 1);
    }
}

/* The rest is read, so that the close is no reset that overtakes the answer; but not for
 * ever. */
static void
what_is_left_of_an_upload_that_nobody_wants_is_thrown_away_within_a_bound(void **state)
{
    (void)state;
    static const struct {
        size_t bytes;
        bool whole;
    } cases[] = { { 8 * MIB, true }, { 64 * MIB, false } };
    WORLD(w);
    world_start(&w, &(struct world_options){ .serve = serve_early });
    for (size_t i = 0; i < 2; i++) {
        struct client c;
        struct answer a = { 0 };
        char length[64];
        (void)snprintf(length, sizeof length, "Content-Length: %zu\r\n", cases[i].bytes);
        begin_upload(&c, w.port, "/429", length);
        size_t sent = send_all(&c, cases[i].bytes);
        if ((sent == cases[i].bytes) != cases[i].whole)
            fail_msg("%zu of %zu bytes were taken: %s", sent, cases[i].bytes, strerror(errno));
        client_read(&c, &a, false, SOON_MS);
        assert_int_equal(a.status, 429);
        assert_int_equal(a.end, ANSWER_WHOLE);
        assert_true(client_closed(&c, SOON_MS));
        client_close(&c);
        answer_free(&a);
    }
    assert_true(proxy_log_wait(w.proxy, "event=access status=429", 2, SOON_MS));
    assert_int_equal(proxy_log_count(w.proxy, "event=access stage=request"), 0);
}

/* "/stream": a part of the answer, then the body is read, then the rest. "/whole": all of
 * it, and then the body is read. */
static void serve_upload(struct peer_conn *c, void *arg)
{
    (void)arg;
    for (struct peer_request *r; (r = peer_read_head(c)) != NULL;) {
        bool whole = strcmp(r->target, "/v0/whole") == 0;
        (void)peer_puts(c, whole ? "HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nearly"
                                 : "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                   "5\r\nfirst\r\n");
        if (!peer_read_body(c, r))
            return;
        if (!whole)
            (void)peer_puts(c, "4\r\nlast\r\n0\r\n\r\n");
    }
}

static void an_upload_goes_on_behind_an_answer_below_400(void **state)
{
    (void)state;
    static const char *const targets[] = { "/stream", "/whole" };
    WORLD(w);
    world_start(&w, &(struct world_options){ .serve = serve_upload,
                                             .settings = "upstream.idle_timeout = 20s\n" });
    for (int chunked = 0; chunked < 2; chunked++) {
        for (size_t i = 0; i < 2; i++) {
            struct client c;
            struct answer a = { 0 };
            bool stream = i == 0;
            begin_upload(&c, w.port, targets[i],
                         chunked ? "Transfer-Encoding: chunked\r\n" : "Content-Length: 10\r\n");
            client_puts(&c, chunked ? "5\r\nhello\r\n" : "hello");
            while (!bytes_contain(&c.in, stream ? "first" : "early"))
                assert_int_equal(client_fill(&c, SOON_MS), 1);
            client_puts(&c, chunked ? "5\r\nworld\r\n0\r\n\r\n" : "world");
            client_read(&c, &a, false, SOON_MS);
            assert_int_equal(a.status, stream ? 200 : 202);
            assert_int_equal(a.end, ANSWER_WHOLE);
            assert_string_equal(bytes_text(&a.body), stream ? "firstlast" : "early");
            assert_true(client_closed(&c, SOON_MS));
            client_close(&c);
            answer_free(&a);
        }
        assert_true(peer_wait_complete(w.api, "", 2 * (size_t)(chunked + 1), SOON_MS));
    }
    for (size_t i = 0; i < 4; i++) {
        const struct peer_request *r = peer_request(w.api, "", i);
        assert_memory_equal(r->body.data, "helloworld", 10);
        assert_int_equal(r->body.len, 10);
    }
    assert_true(proxy_log_wait(w.proxy, "event=access", 4, SOON_MS));
    assert_int_equal(proxy_log_count(w.proxy, "event=access aborted=caller"), 0);
}

/* One that is never whole must not look whole to the upstream. */
static void an_upload_that_stalls_behind_an_answer_ends_within_body_timeout(void **state)
{
    (void)state;
    LATER(later);
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .serve = serve_upload,
                                             .env = later.env,
                                             .settings = "listen.body_timeout = 5m\n" });
    begin_upload(&c, w.port, "/whole", "Transfer-Encoding: chunked\r\n");
    client_puts(&c, "5\r\nhello\r\n");
    client_read(&c, &a, false, SOON_MS);
    assert_string_equal(bytes_text(&a.body), "early");
    assert_true(later_until_heard(&later, &c, 301000));
    assert_true(client_closed(&c, 0));
    assert_true(peer_wait_closed_to(w.api, 0, SOON_MS));
    assert_false(peer_request(w.api, "", 0)->complete);
    assert_true(proxy_log_wait(w.proxy, "event=access status=202", 1, SOON_MS));
    assert_int_equal(proxy_log_count(w.proxy, "event=access aborted=caller"), 0);
    client_close(&c);
    answer_free(&a);
}

/* --- answers of the proxy's own, before the body is whole --------------------------------- */

static void a_body_that_stalls_is_told_and_logged_as_what_it_is(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = "listen.body_timeout = 1s\n" });
    begin_upload(&c, w.port, "/x", "Content-Length: 10\r\n");
    client_puts(&c, "hello");
    client_read(&c, &a, false, SOON_MS);
    assert_problem(&a, 408, "request", "http_request_error");
    assert_int_equal(answer_header_count(&a, "X-Request-Id"), 1);
    assert_true(client_closed(&c, SOON_MS));
    assert_true(proxy_log_wait(w.proxy, "event=access status=408 stage=request", 1, SOON_MS));
    assert_int_equal(proxy_log_count(w.proxy, "event=access aborted=caller"), 0);
    client_close(&c);
    answer_free(&a);
}

static void the_body_of_what_is_answered_here_has_a_deadline_too(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n",
        ("OPTIONS /x HTTP/1.1\r\nHost: localhost\r\nMax-Forwards: 0\r\n"
         "Transfer-Encoding: chunked\r\n\r\n"),
        "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n",
    };
    WORLD(w);
    world_start(&w, &(struct world_options){ .settings = "listen.body_timeout = 1s\n" });
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct client c;
        struct answer a = { 0 };
        client_open(&c, w.port);
        client_puts(&c, heads[i]);
        client_read(&c, &a, false, SOON_MS);
        assert_problem(&a, 408, "request", "http_request_error");
        assert_true(client_closed(&c, SOON_MS));
        client_close(&c);
        answer_free(&a);
    }
}

/* Reads what comes and answers nothing: who knows what it has done. */
static void serve_silence(struct peer_conn *c, void *arg)
{
    (void)arg;
    if (peer_read_head(c) != NULL)
        peer_read_eof(c);
}

/* An upstream may act on a body whose end it has not seen. */
static void a_part_that_was_sent_is_never_told_as_retryable(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        const char *retryable;
    } cases[] = {
        { "POST /pay HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
          "7\r\n{\"a\":1}\r\n",
          "\"retryable\":false" },
        { "PUT /pay HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{\"a\":1}",
          "\"retryable\":false" },
        { "GET /chains HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{\"a\":1}",
          "\"retryable\":true" },
        { "GET /wallets/0b2f8c1e-7a44-4a53-9d5e-1f0a3c5b7d10/signature/erc3009 HTTP/1.1\r\n"
          "Host: localhost\r\nContent-Length: 99\r\n\r\n{\"a\":1}",
          "\"retryable\":false" },
    };
    LATER(later);
    WORLD(w);
    world_start(&w, &(struct world_options){ .serve = serve_silence,
                                             .env = later.env,
                                             .settings = "listen.body_timeout = 5m\n"
                                                         "upstream.response_timeout = 24h\n"
                                                         "classes.table = 1shot\n" });
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c;
        struct answer a = { 0 };
        bool retryable = strstr(cases[i].retryable, "true") != NULL;
        client_open(&c, w.port);
        client_puts(&c, cases[i].head);
        assert_true(peer_wait(w.api, "", i + 1, SOON_MS));
        assert_true(later_until_heard(&later, &c, 301000));
        client_read(&c, &a, false, SOON_MS);
        assert_problem(&a, 408, "request", "http_request_error");
        if (strstr(bytes_text(&a.body), cases[i].retryable) == NULL)
            fail_msg("%s", bytes_text(&a.body));
        if (!retryable)
            assert_problem_detail(&a, "outcome unknown");
        answer_free(&a);
        client_close(&c);
    }
}

static void a_head_that_is_never_whole_gets_a_name_too(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    char id[64];
    world_start(&w, &(struct world_options){ .settings = "listen.header_timeout = 1s\n" });
    client_open(&c, w.port);
    client_puts(&c, "GET /x HTTP/1.1\r\nHost: local");
    client_read(&c, &a, false, SOON_MS);
    assert_problem(&a, 408, "request", "http_request_error");
    assert_int_equal(strlen(answer_header(&a, "X-Request-Id")), 32);
    assert_true(proxy_log_wait(w.proxy, "event=access status=408", 1, SOON_MS));
    assert_true(proxy_log_field(w.proxy, "event=access", 0, "request_id", id, sizeof id));
    assert_string_equal(id, answer_header(&a, "X-Request-Id"));
    client_close(&c);
    answer_free(&a);
}

static void a_refusal_before_the_body_is_whole_has_all_its_fields(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .hold_tokens = true });
    begin_upload(&c, w.port, "/x", "Content-Length: 10\r\n");
    client_puts(&c, "hello");
    assert_true(tokens_wait(w.tokens, 1, SOON_MS));
    tokens_always(w.tokens, (struct token_answer){ .status = 401,
                                                   .body = "{\"error\":\"invalid_client\"}" });
    tokens_release(w.tokens);
    client_read(&c, &a, false, SOON_MS);
    assert_problem(&a, 401, "token", "proxy_configuration_error");
    assert_string_equal(answer_header(&a, "WWW-Authenticate"),
                        "Bearer realm=\"oneshot-proxy\"");
    assert_int_equal(answer_header_count(&a, "X-Request-Id"), 1);
    client_close(&c);
    answer_free(&a);
}

/* What is too much for the local token call is the caller's fault, and counted as such. */
static void a_body_that_is_too_large_to_throw_away_is_counted_as_the_callers(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    begin_upload(&c, w.port, "/token", "Content-Length: 33554432\r\n");
    (void)send_all(&c, 32 * MIB);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 413);
    assert_true(proxy_log_wait(w.proxy, "event=access status=413 stage=request", 1, SOON_MS));
    client_close(&c);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_early_answer_comes_at_once_untouched_and_ends_the_connection),
        TEST(what_is_left_of_an_upload_that_nobody_wants_is_thrown_away_within_a_bound),
        TEST(an_upload_goes_on_behind_an_answer_below_400),
        TEST(an_upload_that_stalls_behind_an_answer_ends_within_body_timeout),
        TEST(a_body_that_stalls_is_told_and_logged_as_what_it_is),
        TEST(the_body_of_what_is_answered_here_has_a_deadline_too),
        TEST(a_part_that_was_sent_is_never_told_as_retryable),
        TEST(a_head_that_is_never_whole_gets_a_name_too),
        TEST(a_refusal_before_the_body_is_whole_has_all_its_fields),
        TEST(a_body_that_is_too_large_to_throw_away_is_counted_as_the_callers),
    };
    return RUN_TESTS(tests);
}

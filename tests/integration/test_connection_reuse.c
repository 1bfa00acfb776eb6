/* Which connections to the upstream are reused, and how often a request is sent on those
 * that turn out to be dead. */
#include <stdatomic.h>

#include "harness.h"
#include "later.h"

/* Answers with the bytes that belong to the target, and serves on. */
static const struct reply {
    const char *target, *bytes;
    bool used_again;
} replies[] = {
    { "/v0/plain", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true },
    { "/v0/chunked",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", true },
    { "/v0/204", "HTTP/1.1 204 No Content\r\n\r\n", true },
    { "/v0/204/zero", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", true },
    { "/v0/304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", true },
    { "/v0/keep", "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
      true },
    { "/v0/1.0/keep",
      "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", true },
    { "/v0/keep/60",
      "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=60, max=100\r\nContent-Length: 2\r\n\r\nok",
      true },
    { "/v0/keep/0",
      "HTTP/1.1 200 OK\r\nKeep-Alive: max=100 , TIMEOUT = \"0\"\r\nContent-Length: 2\r\n\r\nok",
      false },
    { "/v0/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false },
    { "/v0/close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
      false },
    { "/v0/close/list",
      "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok", false },
    /* whose bodies, if they come, would be taken for the next answer */
    { "/v0/204/length", "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\n", false },
    { "/v0/204/chunked", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
      false },
    { "/v0/204/body", "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\npoison", false },
    { "/v0/surplus", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok.", false },
    { "/v0/surplus/chunked",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\r\n", false },
    { "/v0/surplus/304", "HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\n", false },
    { "/v0/two",
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
      "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
      false },
};

static void answer_reply(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)arg;
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++)
        if (strcmp(r->target, replies[i].target) == 0)
            (void)peer_puts(c, replies[i].bytes);
    if (strcmp(r->target, "/v0/next") == 0)
        (void)peer_answer(c, 200, NULL, "clean");
}

static void
only_a_whole_answer_with_nothing_behind_it_leaves_a_connection_for_the_next(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        WORLD(w);
        struct answer a = { 0 };
        world_start(&w, &(struct world_options){ .answer = answer_reply });
        http_get(w.port, replies[i].target + strlen("/v0"), &a);
        assert_int_equal(a.end, ANSWER_WHOLE);
        if (a.body.len > 0)
            assert_string_equal(bytes_text(&a.body), "ok");
        http_get(w.port, "/next", &a);
        assert_int_equal(a.status, 200);
        assert_string_equal(bytes_text(&a.body), "clean");
        const struct peer_request *next = peer_request(w.api, "GET /v0/next", 0);
        assert_non_null(next);
        if ((next->connection == 1) != replies[i].used_again)
            fail_msg("after %s the next request came on connection %zu", replies[i].target,
                     next->connection);
        answer_free(&a);
    }
}

#define LARGE 100000

/* A body that is read where it belongs, and more behind it: as much is asked of the connection
 * as the body has, and what follows stays unread. */
static void answer_large_and_more(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)arg;
    if (strcmp(r->target, "/v0/next") == 0) {
        (void)peer_answer(c, 200, NULL, "clean");
        return;
    }
    struct bytes out = { 0 };
    bytes_addf(&out, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", LARGE);
    bytes_fill(&out, 'x', LARGE);
    bytes_add_str(&out, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    (void)peer_write(c, out.data, out.len);
    bytes_free(&out);
}

static void what_lies_unread_behind_a_large_answer_is_never_the_next_answer(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        WORLD(w);
        struct client c;
        struct answer a = { 0 };
        world_start(&w, &(struct world_options){ .answer = answer_large_and_more });
        client_open(&c, w.port);
        /* the next one is there at once, so that no time passes in between */
        client_puts(&c, "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"
                        "POST /next HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        client_read(&c, &a, false, SOON_MS);
        assert_int_equal(a.body.len, LARGE);
        client_read(&c, &a, false, SOON_MS);
        assert_int_equal(a.status, 200);
        assert_string_equal(bytes_text(&a.body), "clean");
        client_close(&c);
        answer_free(&a);
    }
}

/* Answers before the body is here, and reads what else comes. */
static void serve_early(struct peer_conn *c, void *arg)
{
    struct peer_request *r = peer_read_head(c);

    (void)arg;
    if (r == NULL)
        return;
    if (strcmp(r->target, "/v0/early") != 0)
        (void)peer_answer(c, 200, NULL, "clean");
    else
        (void)peer_puts(c, "HTTP/1.1 409 Conflict\r\nContent-Length: 5\r\n\r\nearly");
    peer_read_eof(c);
}

static void a_connection_whose_request_was_not_all_sent_is_not_used_again(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .serve = serve_early });
    client_open(&c, w.port);
    client_puts(&c, "POST /early HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\npart");
    assert_true(peer_wait(w.api, "POST", 1, SOON_MS));
    assert_true(peer_wait_closed_to(w.api, 0, SOON_MS)); /* the answer is here, not the body */
    client_puts(&c, "rest");
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 409);
    http_get(w.port, "/next", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(peer_request(w.api, "GET /v0/next", 0)->connection, 2);
    client_close(&c);
    answer_free(&a);
}

static struct gate gate;

/* Answers /prime once all have come; everything else is read whole, and the connection ends. */
static void serve_prime_and_die(struct peer_conn *c, void *arg)
{
    const struct peer_request *r;

    (void)arg;
    while ((r = peer_read_request(c)) != NULL && strncmp(r->target, "/v0/prime", 9) == 0 &&
           gate_pass(&gate, c))
        (void)peer_answer(c, 200, NULL, "fine");
}

static void prime(struct world *w, size_t n)
{
    gate_shut(&gate);
    gate.arrived = 0;
    struct crowd *crowd = crowd_start(
        w->port, n, "GET /prime HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_true(gate_wait_arrived(&gate, n, SOON_MS));
    gate_open(&gate);
    assert_true(crowd_finish(crowd, SOON_MS));
    assert_int_equal(crowd_count(crowd, 200), n);
    crowd_free(crowd);
}

/* However many kept connections are dead: a safe request goes out twice at most, an unsafe one
 * once; by our own HTTP/1.1, and by libcurl, which would try them all. */
static void dead_connections_cost_a_request_no_third_sending(void **state)
{
    (void)state;
    static const char *const ways[] = { "upstream.http_version = 1.1\n",
                                        "upstream.http_version = auto\n" };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        WORLD(w);
        struct answer a = { 0 };
        gate_init(&gate);
        world_start(&w, &(struct world_options){ .serve = serve_prime_and_die,
                                                 .cert = CERT_VALID,
                                                 .settings = ways[i] });
        prime(&w, 5);
        http_get(w.port, "/lost", &a);
        assert_problem(&a, 502, "upstream", "connection_terminated");
        assert_int_equal(peer_count(w.api, "GET /v0/lost"), 2);
        prime(&w, 5);
        http_call(w.port, "POST", "/lost", NULL, "money", &a);
        assert_problem(&a, 502, "upstream", "connection_terminated");
        assert_int_equal(peer_count(w.api, "POST /v0/lost"), 1);
        answer_free(&a);
    }
}

/* A GET may be repeated, but not when its body is no longer kept: half of it would go out. */
static void a_body_that_is_no_longer_kept_is_not_sent_again(void **state)
{
    (void)state;
    static const struct {
        size_t length, sendings;
    } cases[] = { { 1024, 2 }, { 1025, 1 }, { 3000, 1 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WORLD(w);
        struct answer a = { 0 };
        struct bytes body = { 0 };
        gate_init(&gate);
        world_start(&w, &(struct world_options){ .serve = serve_prime_and_die,
                                                 .settings = "upstream.replay_limit = 1k\n" });
        prime(&w, 1);
        bytes_fill(&body, 'x', cases[i].length);
        http_call(w.port, "GET", "/lost", NULL, bytes_text(&body), &a);
        assert_problem(&a, 502, "upstream", "connection_terminated");
        assert_int_equal(peer_count(w.api, "GET /v0/lost"), cases[i].sendings);
        bytes_free(&body);
        answer_free(&a);
    }
}

/* One line of a head after the other, each well before the deadline, until the other side
 * ends it. arg: an open gate, which tells when the answer has begun. */
static void serve_lines(struct peer_conn *c, void *arg)
{
    if (peer_read_request(c) == NULL)
        return;
    (void)peer_puts(c, "HTTP/1.1 200 OK\r\n");
    (void)gate_pass(arg, c);
    int64_t deadline_ms = now_ms() + SOON_MS;
    for (int i = 0; ask_again(deadline_ms); i++) {
        char line[32];
        (void)snprintf(line, sizeof line, "X-%d: y\r\n", i % 90);
        if (i % 20 == 0 && !peer_puts(c, line))
            return;
    }
}

static void a_head_that_comes_line_by_line_has_one_deadline(void **state)
{
    (void)state;
    static const char *const ways[] = { "upstream.http_version = 1.1\n",
                                        "upstream.http_version = auto\n" };
    static struct gate begun;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        LATER(later);
        WORLD(w);
        struct client c;
        struct answer a = { 0 };
        char settings[128];
        gate_init(&begun);
        gate_open(&begun);
        (void)snprintf(settings, sizeof settings, "%supstream.response_timeout = 5m\n",
                       ways[i]);
        world_start(&w, &(struct world_options){ .serve = serve_lines,
                                                 .arg = &begun,
                                                 .cert = CERT_VALID,
                                                 .env = later.env,
                                                 .settings = settings });
        client_open(&c, w.port);
        client_puts(&c, "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
        assert_true(gate_wait_arrived(&begun, 1, SOON_MS));
        for (int turns = 0; turns < 2; turns++) { /* the one worker sees what was sent */
            http_call(w.port, "TRACE", "/x", NULL, NULL, &a);
            assert_int_equal(a.status, 405);
        }
        later_by(&later, 301 * 1000); /* the next line wakes the worker */
        client_read(&c, &a, false, SOON_MS);
        assert_problem(&a, 504, "upstream", "connection_read_timeout");
        client_close(&c);
        answer_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_a_whole_answer_with_nothing_behind_it_leaves_a_connection_for_the_next),
        TEST(what_lies_unread_behind_a_large_answer_is_never_the_next_answer),
        TEST(a_connection_whose_request_was_not_all_sent_is_not_used_again),
        TEST(dead_connections_cost_a_request_no_third_sending),
        TEST(a_body_that_is_no_longer_kept_is_not_sent_again),
        TEST(a_head_that_comes_line_by_line_has_one_deadline),
    };
    return RUN_TESTS(tests);
}

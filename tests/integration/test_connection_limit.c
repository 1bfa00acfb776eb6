/* upstream.max_connections limits the open connections of the whole process. Above it
 * requests wait for a connection, first come first served, up to connect_timeout. */
#include "harness.h"
#include "later.h"

static struct gate gate;

/* Counts those that arrive, and answers once the gate is open. */
static void answer_at_the_gate(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)r;
    (void)arg;
    if (gate_pass(&gate, c))
        (void)peer_answer(c, 200, NULL, "ok");
}

static void ask(struct client *c, int port, const char *target)
{
    char request[256];

    client_open(c, port);
    (void)snprintf(request, sizeof request,
                   "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
                   target);
    client_puts(c, request);
}

static void expect(struct client *c, int status)
{
    struct answer a = { 0 };

    client_read(c, &a, false, SOON_MS);
    assert_int_equal(a.status, status);
    answer_free(&a);
    client_close(c);
}

static void no_more_are_open_than_is_said(void **state)
{
    enum { CALLERS = 40 };
    static const char *const settings[] = {
        "process.workers = 1\nupstream.max_connections = 1\nupstream.connect_timeout = 30s\n",
        "process.workers = 1\nupstream.max_connections = 3\nupstream.connect_timeout = 30s\n",
        "process.workers = 4\nupstream.max_connections = 2\nupstream.connect_timeout = 30s\n",
        "process.workers = 4\nupstream.max_connections = 7\nupstream.connect_timeout = 30s\n",
    };
    static const size_t limits[] = { 1, 3, 2, 7 };
    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        WORLD(w);
        struct client c[CALLERS];
        gate_init(&gate);
        world_start(&w, &(struct world_options){ .answer = answer_at_the_gate,
                                                 .settings = settings[i] });
        for (size_t k = 0; k < CALLERS; k++)
            ask(&c[k], w.port, "/x");
        assert_true(gate_wait_arrived(&gate, limits[i], SOON_MS));
        /* The peer notices a moment later that one was closed; those at the gate stay. */
        assert_true(peer_wait_closed_to(w.api, limits[i], SOON_MS));
        assert_true(peer_count(w.api, "") <= limits[i]);
        gate_open(&gate);
        for (size_t k = 0; k < CALLERS; k++)
            expect(&c[k], 200);
        assert_int_equal(peer_count(w.api, ""), CALLERS);
        assert_true(peer_wait_closed_to(w.api, limits[i], SOON_MS));
    }
}

static void the_first_that_waits_is_the_first_that_is_served(void **state)
{
    enum { CALLERS = 12 };
    (void)state;
    for (int workers = 1; workers <= 3; workers += 2) {
        WORLD(w);
        struct client c[CALLERS + 1];
        char settings[160], target[32];
        (void)snprintf(settings, sizeof settings,
                       "process.workers = %d\nupstream.max_connections = 1\n"
                       "upstream.connect_timeout = 30s\nadmin.address = 127.0.0.1:0\n",
                       workers);
        gate_init(&gate);
        world_start(
            &w, &(struct world_options){ .answer = answer_at_the_gate, .settings = settings });
        ask(&c[0], w.port, "/0");
        assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
        for (int k = 1; k <= CALLERS; k++) {
            struct answer a = { 0 };
            char seen[64];
            (void)snprintf(target, sizeof target, "/%d", k);
            ask(&c[k], w.port, target);
            (void)snprintf(seen, sizeof seen, "oneshot_proxy_requests_in_flight %d\n", k + 1);
            for (int64_t until_ms = now_ms() + SOON_MS;;) { /* it is in the queue */
                http_get(proxy_admin_port(w.proxy), "/metrics", &a);
                if (strstr(bytes_text(&a.body), seen) != NULL)
                    break;
                assert_true(now_ms() < until_ms);
            }
            answer_free(&a);
        }
        gate_open(&gate);
        for (int k = 0; k <= CALLERS; k++)
            expect(&c[k], 200);
        for (int k = 0; k <= CALLERS; k++) {
            (void)snprintf(target, sizeof target, "/v0/%d", k);
            assert_string_equal(peer_request(w.api, "", (size_t)k)->target, target);
        }
    }
}

/* Asks for a second answer, and has the token expire once the worker has the request. */
static void wait_for_expiry(struct world *w, struct later *later, struct client *second,
                            bool renewed)
{
    struct answer a = { 0 };

    ask(second, w->port, "/second");
    http_call(w->port, "POST", "/token", NULL, "{}", &a); /* by the worker, after that */
    answer_free(&a);
    if (!renewed)
        tokens_always(w->tokens, (struct token_answer){ .status = 403 });
    later_by(later, 601 * 1000);
    assert_true(proxy_log_wait(
        w->proxy, renewed ? "event=token_obtained generation=2" : "event=token_fetch_failed", 1,
        SOON_MS));
}

/* The token that it was to be sent with expires meanwhile: it is sent with the next one, or, while
 * there is none, not at all. */
static void who_waits_is_not_sent_with_a_token_that_has_expired(void **state)
{
    static const char settings[] = "upstream.max_connections = 1\n"
                                   "upstream.connect_timeout = 1h\n"
                                   "upstream.response_timeout = 24h\n"
                                   "token.wait_timeout = 1h\n"
                                   "process.workers = 1\n";
    (void)state;
    for (int renewed = 0; renewed <= 1; renewed++) {
        LATER(later);
        WORLD(w);
        struct client first, second;
        struct answer a = { 0 };
        gate_init(&gate);
        world_start(&w, &(struct world_options){ .answer = answer_at_the_gate,
                                                 .env = later.env,
                                                 .settings = settings,
                                                 .hold_tokens = true });
        tokens_lifetime(w.tokens, 600);
        tokens_release(w.tokens);
        assert_true(proxy_log_wait(w.proxy, "event=token_obtained generation=1", 1, SOON_MS));
        ask(&first, w.port, "/first");
        assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
        wait_for_expiry(&w, &later, &second, renewed);
        gate_open(&gate);
        expect(&first, 200);
        expect(&second, renewed ? 200 : 403);
        assert_int_equal(peer_count(w.api, "POST /v0/second"), renewed);
        if (renewed)
            assert_int_equal(api_token_of(peer_request(w.api, "POST /v0/second", 0)), 2);
        answer_free(&a);
    }
}

/* One stream at a time on each connection. The first request shows that; the second waits at the
 * gate. */
static void serve_one_by_one(struct peer_conn *c, void *arg)
{
    static const uint8_t one_stream[] = { 0, 3, 0, 0, 0, 1 };
    _Atomic int *requests = arg;
    uint32_t stream;

    if (!h2_begin(c) || !h2_write_frame(c, H2_SETTINGS, 0, 0, one_stream, sizeof one_stream))
        return;
    while ((stream = h2_read_request(c, NULL)) != 0) {
        if (++*requests == 2 && !gate_pass(&gate, c))
            return;
        if (!h2_answer(c, stream, 200, "ok"))
            return;
    }
}

/* As above, over HTTP/2: it gets a stream that has become free. */
static void who_waits_for_a_stream_is_not_sent_with_such_a_token_either(void **state)
{
    (void)state;
    for (int renewed = 0; renewed <= 1; renewed++) {
        LATER(later);
        WORLD(w);
        struct client first, second;
        struct answer a = { 0 };
        _Atomic int requests = 0;
        gate_init(&gate);
        world_start(&w, &(struct world_options){ .serve = serve_one_by_one,
                                                 .arg = &requests,
                                                 .cert = CERT_VALID,
                                                 .h2 = true,
                                                 .env = later.env,
                                                 .settings = "upstream.http_version = 2\n"
                                                             "upstream.max_connections = 1\n"
                                                             "upstream.connect_timeout = 1h\n"
                                                             "upstream.response_timeout = 24h\n"
                                                             "token.wait_timeout = 1h\n"
                                                             "process.workers = 1\n",
                                                 .hold_tokens = true });
        tokens_lifetime(w.tokens, 600);
        tokens_release(w.tokens);
        assert_true(proxy_log_wait(w.proxy, "event=token_obtained generation=1", 1, SOON_MS));
        http_get(w.port, "/settings", &a);
        assert_int_equal(a.status, 200);
        ask(&first, w.port, "/first");
        assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
        wait_for_expiry(&w, &later, &second, renewed);
        gate_open(&gate);
        expect(&first, 200);
        expect(&second, renewed ? 200 : 403);
        assert_int_equal(requests, 2 + renewed);
        answer_free(&a);
    }
}

static void who_waits_too_long_is_told_the_truth(void **state)
{
    (void)state;
    LATER(later);
    WORLD(w);
    struct client first, second;
    struct answer a = { 0 };
    gate_init(&gate);
    world_start(&w, &(struct world_options){ .answer = answer_at_the_gate,
                                             .env = later.env,
                                             .settings = "upstream.max_connections = 1\n"
                                                         "upstream.connect_timeout = 5m\n"
                                                         "upstream.response_timeout = 24h\n" });
    ask(&first, w.port, "/first");
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    ask(&second, w.port, "/second");
    assert_int_equal(client_fill(&second, 200), -1); /* not at once */
    assert_true(later_until_heard(&later, &second, 301000));
    client_read(&second, &a, false, SOON_MS);
    client_close(&second);
    assert_problem(&a, 503, "proxy", "connection_limit_reached");
    assert_problem_detail(&a, "upstream.max_connections");
    assert_string_equal(answer_header(&a, "Retry-After"), "1");
    assert_int_equal(peer_count(w.api, ""), 1);
    gate_open(&gate);
    expect(&first, 200);
    http_call(w.port, "POST", "/third", NULL, "{}", &a);
    assert_int_equal(a.status, 200);
    answer_free(&a);
}

static void who_leaves_the_queue_keeps_nobody_waiting(void **state)
{
    enum { CALLERS = 10 };
    (void)state;
    WORLD(w);
    struct client c[CALLERS];
    gate_init(&gate);
    world_start(&w, &(struct world_options){ .answer = answer_at_the_gate,
                                             .settings = "process.workers = 2\n"
                                                         "upstream.max_connections = 1\n"
                                                         "upstream.connect_timeout = 30s\n" });
    for (size_t i = 0; i < CALLERS; i++)
        ask(&c[i], w.port, "/x");
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    for (size_t i = 0; i < CALLERS; i += 2)
        client_reset(&c[i]); /* the one that is served perhaps among them */
    gate_open(&gate);
    for (size_t i = 1; i < CALLERS; i += 2)
        expect(&c[i], 200);
    struct answer a = { 0 };
    http_get(w.port, "/last", &a);
    assert_int_equal(a.status, 200);
    answer_free(&a);
}

/* A connection that cannot be made, or dies, leaves its place to others. */
static void what_fails_gives_its_place_back(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    gate_init(&gate);
    gate_open(&gate);
    world_start(&w, &(struct world_options){ .answer = answer_at_the_gate,
                                             .drop_first = 6,
                                             .settings = "process.workers = 2\n"
                                                         "upstream.max_connections = 1\n" });
    for (int i = 0; i < 20; i++)
        http_call(w.port, "POST", "/x", NULL, "{}", &a);
    assert_int_equal(a.status, 200);
    answer_free(&a);
}

/* Streams are not connections: as many go at once as one connection takes. */
static void http2_shares_the_one_connection(void **state)
{
    enum { CALLERS = 20 };
    (void)state;
    WORLD(w);
    struct client c[CALLERS];
    world_start(&w, &(struct world_options){ .cert = CERT_VALID,
                                             .h2 = true,
                                             .settings = "upstream.http_version = 2\n"
                                                         "upstream.max_connections = 1\n" });
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < CALLERS; i++)
            ask(&c[i], w.port, "/x");
        for (size_t i = 0; i < CALLERS; i++)
            expect(&c[i], 200);
    }
    assert_int_equal(peer_connections(w.api), 1);
}

/* A worker's connection is its own: with one for four of them, each has its turn, also while the
 * others have theirs. */
static void http2_workers_take_turns_with_the_one_connection(void **state)
{
    enum { CALLERS = 20 };
    (void)state;
    WORLD(w);
    struct client c[CALLERS];
    world_start(&w, &(struct world_options){ .cert = CERT_VALID,
                                             .h2 = true,
                                             .settings = "upstream.http_version = 2\n"
                                                         "upstream.max_connections = 1\n"
                                                         "upstream.connect_timeout = 1h\n"
                                                         "upstream.keepalive = 1h\n"
                                                         "process.workers = 4\n" });
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < CALLERS; i++)
            ask(&c[i], w.port, "/x");
        for (size_t i = 0; i < CALLERS; i++)
            expect(&c[i], 200);
    }
    assert_true(peer_wait_closed_to(w.api, 1, SOON_MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_more_are_open_than_is_said),
        TEST(the_first_that_waits_is_the_first_that_is_served),
        TEST(who_waits_is_not_sent_with_a_token_that_has_expired),
        TEST(who_waits_for_a_stream_is_not_sent_with_such_a_token_either),
        TEST(who_waits_too_long_is_told_the_truth),
        TEST(who_leaves_the_queue_keeps_nobody_waiting),
        TEST(what_fails_gives_its_place_back),
        TEST(http2_shares_the_one_connection),
        TEST(http2_workers_take_turns_with_the_one_connection),
    };
    return RUN_TESTS(tests);
}

/* SIGTERM while something does not come: a token, an answer, the rest of an answer, the rest
 * of a body. Rows: tests/hostile/README.md. */
#include <signal.h>

#include "harness.h"

#define PATIENT "token.wait_timeout = 60s\ntoken.timeout = 60s\n"

static void park(struct world *w, struct client *c)
{
    struct answer a = { 0 };
    client_open(c, w->port);
    client_puts(c, "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    assert_true(tokens_wait(w->tokens, 1, SOON_MS));
    /* a refused one shows that the first was taken up before the signal */
    http_call(w->port, "TRACE", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 405);
    answer_free(&a);
}

static void terminate(struct world *w)
{
    proxy_signal(w->proxy, SIGTERM);
    assert_true(proxy_log_wait(w->proxy, "event=draining", 1, SOON_MS));
}

/* SIGTERM while a token is being fetched: the request that waits for it is finished.
 * (row 75) */
static void a_request_that_waits_for_a_token_gets_it_and_is_finished(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .hold_tokens = true, .settings = PATIENT });
    park(&w, &c);
    terminate(&w);
    assert_int_equal(proxy_wait_exit(w.proxy, 100), -1);
    tokens_release(w.tokens);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), "{}");
    assert_string_equal(answer_header(&a, "Connection"), "close");
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    client_close(&c);
    answer_free(&a);
}

/* SIGTERM while a token is being fetched that never comes: the caller is told. (row 75) */
static void when_no_token_comes_it_is_told_that_nothing_was_sent(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w,
                &(struct world_options){ .hold_tokens = true,
                                         .settings = PATIENT "process.drain_timeout = 1s\n" });
    park(&w, &c);
    terminate(&w);
    client_read(&c, &a, false, SOON_MS);
    assert_problem(&a, 503, "proxy", "destination_unavailable");
    assert_problem_detail(&a, "not carried out");
    assert_string_equal(answer_header(&a, "Retry-After"), "1");
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    assert_int_equal(peer_count(w.api, ""), 0);
    client_close(&c);
    answer_free(&a);
}

static void a_hanging_token_endpoint_does_not_hold_it_up(void **state)
{
    (void)state;
    WORLD(w);
    world_start(&w, &(struct world_options){ .hold_tokens = true, .settings = PATIENT });
    assert_true(tokens_wait(w.tokens, 1, SOON_MS));
    terminate(&w);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
}

static void a_second_signal_ends_it_while_requests_wait_for_a_token(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    world_start(&w, &(struct world_options){ .hold_tokens = true, .settings = PATIENT });
    park(&w, &c);
    terminate(&w);
    proxy_signal(w.proxy, SIGTERM);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 1);
    assert_true(client_closed(&c, SOON_MS));
    assert_int_equal(peer_count(w.api, ""), 0);
    client_close(&c);
    proxy_free(w.proxy);
    w.proxy = NULL;
}

/* The head and half of the body, then nothing. */
static void serve_half(struct peer_conn *c, void *arg)
{
    (void)arg;
    if (peer_read_request(c) == NULL)
        return;
    (void)peer_puts(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.");
    peer_read_eof(c);
}

static void an_answer_that_stalls_is_cut_and_never_ended_cleanly(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .serve = serve_half,
                                             .settings = "process.drain_timeout = 1s\n" });
    client_open(&c, w.port);
    client_puts(&c, "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read_head(&c, &a, SOON_MS);
    assert_int_equal(a.status, 200);
    terminate(&w);
    int got;
    while ((got = client_fill(&c, SOON_MS)) > 0)
        ;
    assert_int_equal(got, 0);
    assert_string_equal(bytes_text(&c.in), "half."); /* of the ten that were promised */
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    client_close(&c);
    answer_free(&a);
}

/* Takes the request, never answers. */
static void serve_nothing(struct peer_conn *c, void *arg)
{
    (void)arg;
    if (peer_read_head(c) != NULL)
        peer_read_eof(c);
}

static void a_body_that_stalls_is_told_about_all_the_same(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .serve = serve_nothing,
                                             .settings = "process.drain_timeout = 1s\n" });
    client_open(&c, w.port);
    client_puts(&c, "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\npart");
    assert_true(peer_wait(w.api, "", 1, SOON_MS));
    terminate(&w);
    client_read(&c, &a, false, SOON_MS);
    assert_problem(&a, 502, "upstream", "connection_terminated");
    assert_problem_detail(&a, "outcome unknown");
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    client_close(&c);
    answer_free(&a);
}

/* A connection without a request, one with half a head, many idle ones: nobody is waited for
 * longer than drain_timeout. */
static void connections_without_a_request_do_not_hold_it_up(void **state)
{
    (void)state;
    WORLD(w);
    struct client silent, half, idle[20];
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = "process.drain_timeout = 10s\n"
                                                         "process.workers = 2\n" });
    client_open(&silent, w.port);
    client_open(&half, w.port);
    client_puts(&half, "GET /x HTTP/1.1\r\nHost: loc");
    for (size_t i = 0; i < 20; i++) {
        client_open(&idle[i], w.port);
        client_call(&idle[i], "GET", "/x", NULL, NULL, &a);
        assert_int_equal(a.status, 200);
    }
    terminate(&w);
    assert_true(client_closed(&silent, SOON_MS));
    for (size_t i = 0; i < 20; i++)
        assert_true(client_closed(&idle[i], SOON_MS));
    client_puts(&half, "alhost\r\n\r\n"); /* it had begun, so it may finish */
    client_read(&half, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    client_close(&silent);
    client_close(&half);
    for (size_t i = 0; i < 20; i++)
        client_close(&idle[i]);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_request_that_waits_for_a_token_gets_it_and_is_finished),
        TEST(when_no_token_comes_it_is_told_that_nothing_was_sent),
        TEST(a_hanging_token_endpoint_does_not_hold_it_up),
        TEST(a_second_signal_ends_it_while_requests_wait_for_a_token),
        TEST(an_answer_that_stalls_is_cut_and_never_ended_cleanly),
        TEST(a_body_that_stalls_is_told_about_all_the_same),
        TEST(connections_without_a_request_do_not_hold_it_up),
    };
    return RUN_TESTS(tests);
}

/* SIGTERM: what runs is finished, then it leaves with 0. */
#include <signal.h>

#include "harness.h"

#define N 20

static void answer_held(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    if (strncmp(r->target, "/v0/held", 8) != 0 || gate_pass(arg, c))
        api_echo(c, r, NULL);
}

static void start(struct world *w, struct gate *gate, const char *settings)
{
    world_start(
        w, &(struct world_options){ .answer = answer_held, .arg = gate, .settings = settings });
}

/* Waits until nobody takes a connection there any more. */
static bool nobody_listens(int port)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    bool gone;
    do
        gone = client_refused(port);
    while (!gone && now_ms() < deadline_ms);
    return gone;
}

static void running_requests_are_finished_and_it_leaves_with_0(void **state)
{
    (void)state;
    struct world w;
    static struct gate gate;
    struct client c[N], idle;
    struct answer a = { 0 };
    gate_init(&gate);
    start(&w, &gate, "process.workers = 2\n");
    client_open(&idle, w.port);
    client_call(&idle, "GET", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    for (size_t i = 0; i < N; i++) {
        client_open(&c[i], w.port);
        client_puts(&c[i],
                    "POST /held HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nok");
    }
    assert_true(gate_wait_arrived(&gate, N, SOON_MS));
    proxy_signal(w.proxy, SIGTERM);
    assert_true(proxy_log_wait(w.proxy, "event=draining", 1, SOON_MS));
    assert_true(nobody_listens(w.port));
    assert_true(client_closed(&idle, SOON_MS));
    assert_int_equal(proxy_wait_exit(w.proxy, 200), -1);
    gate_open(&gate);
    for (size_t i = 0; i < N; i++) {
        client_read(&c[i], &a, false, SOON_MS);
        assert_int_equal(a.end, ANSWER_WHOLE);
        assert_int_equal(a.status, 200);
        assert_string_equal(bytes_text(&a.body), "ok");
        assert_string_equal(answer_header(&a, "Connection"), "close");
        client_close(&c[i]);
    }
    client_close(&idle);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    assert_int_equal(proxy_log_count(w.proxy, "event=stopped"), 1);
    assert_int_equal(proxy_log_count(w.proxy, "event=access status=200"), N + 1);
    answer_free(&a);
    world_end(&w);
}

static void without_requests_it_leaves_at_once(void **state)
{
    (void)state;
    struct world w;
    static struct gate gate;
    struct client idle;
    struct answer a = { 0 };
    gate_init(&gate);
    start(&w, &gate, NULL);
    client_open(&idle, w.port);
    client_call(&idle, "GET", "/x", NULL, NULL, &a);
    int64_t began_ms = now_ms();
    proxy_signal(w.proxy, SIGTERM);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    assert_true(now_ms() - began_ms < 10000);
    client_close(&idle);
    answer_free(&a);
    world_end(&w);
}

static void a_download_under_way_is_finished(void **state)
{
    (void)state;
    struct world w;
    static struct gate gate;
    struct client c;
    struct answer a = { 0 };
    struct bytes body = { 0 };
    bytes_fill(&body, 'd', 8 << 20);
    gate_init(&gate);
    start(&w, &gate, NULL);
    client_open(&c, w.port);
    char head[128];
    (void)snprintf(head, sizeof head,
                   "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n",
                   body.len);
    client_puts(&c, head);
    client_send(&c, body.data, body.len);
    client_read_head(&c, &a, SOON_MS);
    assert_int_equal(a.status, 200);
    proxy_signal(w.proxy, SIGTERM);
    assert_true(proxy_log_wait(w.proxy, "event=draining", 1, SOON_MS));
    int64_t deadline_ms = now_ms() + SOON_MS;
    while (c.in.len < body.len && now_ms() < deadline_ms)
        if (client_fill(&c, SOON_MS) <= 0)
            break;
    assert_int_equal(c.in.len, body.len);
    assert_memory_equal(c.in.data, body.data, body.len);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    client_close(&c);
    bytes_free(&body);
    answer_free(&a);
    world_end(&w);
}

static void drain_timeout_ends_what_does_not_finish(void **state)
{
    (void)state;
    struct world w;
    static struct gate gate;
    struct client c;
    struct answer a = { 0 };
    gate_init(&gate);
    start(&w, &gate, "process.drain_timeout = 500ms\n");
    client_open(&c, w.port);
    client_puts(&c, "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    int64_t began_ms = now_ms();
    proxy_signal(w.proxy, SIGTERM);
    client_read(&c, &a, false, SOON_MS);
    assert_problem(&a, 502, "upstream", "connection_terminated");
    assert_problem_detail(&a, "outcome unknown");
    assert_string_equal(answer_header(&a, "Connection"), "close");
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    assert_true(now_ms() - began_ms < 10000); /* not the 180 s of response_timeout */
    client_close(&c);
    answer_free(&a);
    world_end(&w);
}

static void a_second_sigterm_ends_it_at_once(void **state)
{
    (void)state;
    struct world w;
    static struct gate gate;
    struct client c;
    gate_init(&gate);
    start(&w, &gate, NULL);
    client_open(&c, w.port);
    client_puts(&c, "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    proxy_signal(w.proxy, SIGTERM);
    assert_true(proxy_log_wait(w.proxy, "event=draining", 1, SOON_MS));
    proxy_signal(w.proxy, SIGTERM);
    assert_true(proxy_wait_exit(w.proxy, 10000) >= 0);
    client_close(&c);
    proxy_free(w.proxy);
    w.proxy = NULL;
    world_end(&w);
}

static void requests_that_wait_for_a_token_are_told(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .hold_tokens = true,
                                             .settings = "token.wait_timeout = 30s\n"
                                                         "token.timeout = 30s\n"
                                                         "process.drain_timeout = 2s\n" });
    client_open(&c, w.port);
    client_puts(&c, "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    assert_true(tokens_wait(w.tokens, 1, SOON_MS));
    /* a refused one shows that the first was taken up before the signal */
    http_call(w.port, "TRACE", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 405);
    proxy_signal(w.proxy, SIGTERM);
    client_read(&c, &a, false, SOON_MS);
    assert_true(a.end == ANSWER_NONE || a.status == 503 || a.status == 504);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    assert_int_equal(peer_count(w.api, ""), 0);
    client_close(&c);
    answer_free(&a);
    world_end(&w);
}

static void during_drain_delay_new_callers_are_still_served(void **state)
{
    (void)state;
    struct world w;
    static struct gate gate;
    struct answer a = { 0 };
    gate_init(&gate);
    start(&w, &gate, "process.drain_delay = 2s\n");
    int64_t began_ms = now_ms();
    proxy_signal(w.proxy, SIGTERM);
    assert_true(proxy_log_wait(w.proxy, "event=draining", 1, SOON_MS));
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    assert_true(now_ms() - began_ms >= 1900);
    answer_free(&a);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(running_requests_are_finished_and_it_leaves_with_0),
        TEST(without_requests_it_leaves_at_once),
        TEST(a_download_under_way_is_finished),
        TEST(drain_timeout_ends_what_does_not_finish),
        TEST(a_second_sigterm_ends_it_at_once),
        TEST(requests_that_wait_for_a_token_are_told),
        TEST(during_drain_delay_new_callers_are_still_served),
    };
    return RUN_TESTS(tests);
}

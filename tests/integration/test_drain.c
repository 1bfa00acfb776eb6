/* SIGTERM: requests in progress are finished, then the program exits with 0. Rows:
 * tests/hostile/README.md. */
#include <signal.h>

#include "harness.h"
#include "later.h"

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

/* SIGTERM under load: what runs is finished, and the program leaves with 0. (row 74) */
static void running_requests_are_finished_and_it_leaves_with_0(void **state)
{
    (void)state;
    WORLD(w);
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
}

static void without_requests_it_leaves_at_once(void **state)
{
    (void)state;
    WORLD(w);
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
}

static void a_download_under_way_is_finished(void **state)
{
    (void)state;
    WORLD(w);
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
}

/* After SIGTERM, requests that do not finish are ended when drain_timeout is over. (row 74) */
static void drain_timeout_ends_what_does_not_finish(void **state)
{
    (void)state;
    WORLD(w);
    static struct gate gate;
    struct client c;
    struct answer a = { 0 };
    gate_init(&gate);
    start(&w, &gate, "process.drain_timeout = 1s\n");
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
}

/* A second SIGTERM does not wait for anything. (row 74) */
static void a_second_sigterm_ends_it_at_once(void **state)
{
    (void)state;
    WORLD(w);
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
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 1); /* not in 30 s of drain_timeout */
    client_close(&c);
    proxy_free(w.proxy);
    w.proxy = NULL;
}

/* More connections wait in the queue than are accepted in one turn; the signal comes first. */
static void who_is_connected_when_it_stops_listening_is_served(void **state)
{
    (void)state;
    enum { CALLERS = 300 };
    WORLD(w);
    world_start(&w, &(struct world_options){ .answer = NULL });
    proxy_signal(w.proxy, SIGSTOP);
    struct crowd *crowd = crowd_start(w.port, CALLERS,
                                      "GET /x HTTP/1.1\r\nHost: localhost\r\n"
                                      "Connection: close\r\n\r\n");
    proxy_signal(w.proxy, SIGTERM);
    proxy_signal(w.proxy, SIGCONT);
    assert_true(crowd_finish(crowd, SOON_MS));
    assert_int_equal(crowd_count(crowd, 200), CALLERS);
    crowd_free(crowd);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
}

static void sigint_drains_too(void **state)
{
    (void)state;
    WORLD(w);
    static struct gate gate;
    struct client c;
    struct answer a = { 0 };
    gate_init(&gate);
    start(&w, &gate, NULL);
    client_open(&c, w.port);
    client_puts(&c, "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    proxy_signal(w.proxy, SIGINT);
    assert_true(proxy_log_wait(w.proxy, "event=draining", 1, SOON_MS));
    gate_open(&gate);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    client_close(&c);
    answer_free(&a);
}

static void await_status(int port, const char *target, int status, struct answer *a)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    do
        http_get(port, target, a);
    while (a->status != status && now_ms() < deadline_ms);
    assert_int_equal(a->status, status);
}

/* Not ready first, while callers are still served and sent away; then nobody listens, while
 * what runs goes on; then it leaves. */
static void readiness_goes_first_then_the_listeners_then_what_runs(void **state)
{
    (void)state;
    LATER(later);
    WORLD(w);
    static struct gate gate;
    struct client held, idle;
    struct answer a = { 0 };
    char value[64];
    gate_init(&gate);
    world_start(&w, &(struct world_options){ .answer = answer_held,
                                             .arg = &gate,
                                             .env = later.env,
                                             .settings = "admin.address = 127.0.0.1:0\n"
                                                         "listen.idle_timeout = 24h\n"
                                                         "upstream.response_timeout = 24h\n"
                                                         "process.drain_delay = 5m\n"
                                                         "process.drain_timeout = 1h\n" });
    int admin = proxy_admin_port(w.proxy);
    await_status(admin, "/readyz", 200, &a);
    client_open(&held, w.port);
    client_puts(&held, "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    client_open(&idle, w.port);
    client_call(&idle, "GET", "/x", NULL, NULL, &a);
    assert_string_equal(answer_header(&a, "Connection"), "");
    proxy_signal(w.proxy, SIGTERM);
    assert_true(proxy_log_wait(w.proxy, "event=draining", 1, SOON_MS));
    http_get(admin, "/readyz", &a);
    assert_int_equal(a.status, 503);
    json_member(&a.body, "reason", value, sizeof value);
    assert_string_equal(value, "draining");
    int64_t until_ms = now_ms() + SOON_MS;
    do { /* still served, and sent away as soon as the worker knows */
        assert_true(now_ms() < until_ms);
        client_call(&idle, "GET", "/x", NULL, NULL, &a);
        assert_int_equal(a.status, 200);
    } while (strcmp(answer_header(&a, "Connection"), "close") != 0);
    assert_true(client_closed(&idle, SOON_MS));
    later_by(&later, 301000);
    assert_true(nobody_listens(w.port));
    http_get(admin, "/readyz", &a);
    assert_int_equal(a.status, 503);
    http_get(admin, "/healthz", &a);
    assert_int_equal(a.status, 200);
    gate_open(&gate);
    client_read(&held, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    client_close(&held);
    client_close(&idle);
    answer_free(&a);
}

/* What is in the kernel's hands when it stops listening: a request on an idle connection, and
 * one on a connection that was not accepted yet. */
static void a_request_that_has_arrived_is_served_before_it_leaves(void **state)
{
    (void)state;
    WORLD(w);
    static struct gate gate;
    struct client kept, fresh;
    struct answer a = { 0 };
    gate_init(&gate);
    for (int i = 0; i < 5; i++) {
        start(&w, &gate, NULL);
        client_open(&kept, w.port);
        client_call(&kept, "GET", "/x", NULL, NULL, &a);
        assert_int_equal(a.status, 200);
        proxy_signal(w.proxy, SIGSTOP);
        client_puts(&kept,
                    "POST /y HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nok");
        client_open(&fresh, w.port);
        client_puts(&fresh,
                    "POST /z HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nok");
        proxy_signal(w.proxy, SIGTERM);
        proxy_signal(w.proxy, SIGCONT);
        /* with or without `Connection: close`: it may be answered before the signal is heard of
         */
        client_read(&kept, &a, false, SOON_MS);
        assert_int_equal(a.status, 200);
        assert_true(client_closed(&kept, SOON_MS));
        client_read(&fresh, &a, false, SOON_MS);
        assert_int_equal(a.status, 200);
        assert_true(client_closed(&fresh, SOON_MS));
        assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
        client_close(&kept);
        client_close(&fresh);
        world_end(&w);
    }
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(running_requests_are_finished_and_it_leaves_with_0),
        TEST(without_requests_it_leaves_at_once),
        TEST(a_download_under_way_is_finished),
        TEST(drain_timeout_ends_what_does_not_finish),
        TEST(a_second_sigterm_ends_it_at_once),
        TEST(who_is_connected_when_it_stops_listening_is_served),
        TEST(sigint_drains_too),
        TEST(readiness_goes_first_then_the_listeners_then_what_runs),
        TEST(a_request_that_has_arrived_is_served_before_it_leaves),
    };
    return RUN_TESTS(tests);
}

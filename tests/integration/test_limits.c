/* Limits for callers: connections, requests in progress, time, sizes. Those above a limit
 * get an answer that says so. Rows: tests/hostile/README.md. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "harness.h"
#include "later.h"

#define N 8

static void assert_busy(const struct answer *a)
{
    assert_problem(a, 503, "proxy", "connection_limit_reached");
    const char *value = answer_header(a, "Retry-After");
    assert_true(strtol(value, NULL, 10) >= 1);
}

/* Callers above the limit of connections get 503 with Retry-After, and are closed. (row 68) */
static void connections_above_the_limit_get_503_and_are_closed(void **state)
{
    (void)state;
    WORLD(w);
    struct client in[N], out;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = "listen.max_connections = 8\n" });
    for (size_t i = 0; i < N; i++) {
        client_open(&in[i], w.port);
        client_call(&in[i], "GET", "/x", NULL, NULL, &a);
        assert_int_equal(a.status, 200);
    }
    for (int i = 0; i < 5; i++) {
        client_open(&out, w.port);
        client_call(&out, "GET", "/x", NULL, NULL, &a);
        assert_busy(&a);
        assert_true(client_closed(&out, SOON_MS));
        client_close(&out);
    }
    /* those inside are served all the while, and one that leaves makes room */
    client_call(&in[0], "GET", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    client_close(&in[0]);
    int64_t deadline_ms = now_ms() + SOON_MS;
    do
        http_get(w.port, "/x", &a);
    while (a.status == 503 && now_ms() < deadline_ms);
    assert_int_equal(a.status, 200);
    for (size_t i = 1; i < N; i++)
        client_close(&in[i]);
    answer_free(&a);
}

static void answer_held(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    if (strncmp(r->target, "/v0/held", 8) != 0 || gate_pass(arg, c))
        api_echo(c, r, NULL);
}

/* Requests above the limit of those in flight get 503 at once. (row 70) */
static void requests_above_max_in_flight_get_503_at_once(void **state)
{
    (void)state;
    WORLD(w);
    static struct gate gate;
    struct client in[2];
    struct answer a = { 0 };
    gate_init(&gate);
    world_start(&w, &(struct world_options){
                        .answer = answer_held,
                        .arg = &gate,
                        .settings = "upstream.max_in_flight = 2\nprocess.workers = 2\n" });
    for (size_t i = 0; i < 2; i++) {
        client_open(&in[i], w.port);
        client_puts(&in[i], "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    assert_true(gate_wait_arrived(&gate, 2, SOON_MS));
    for (int i = 0; i < 10; i++) {
        int64_t began_ms = now_ms();
        http_call(w.port, i % 2 ? "POST" : "GET", "/x", NULL, i % 2 ? "{}" : NULL, &a);
        assert_busy(&a);
        assert_true(now_ms() - began_ms < SOON_MS / 2);
    }
    gate_open(&gate);
    for (size_t i = 0; i < 2; i++) {
        client_read(&in[i], &a, false, SOON_MS);
        assert_int_equal(a.status, 200);
        client_close(&in[i]);
    }
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(peer_count(w.api, ""), 3);
    answer_free(&a);
}

static void the_callers_token_call_counts_as_no_request_under_way(void **state)
{
    (void)state;
    WORLD(w);
    static struct gate gate;
    struct client in;
    struct answer a = { 0 };
    gate_init(&gate);
    world_start(&w, &(struct world_options){ .answer = answer_held,
                                             .arg = &gate,
                                             .settings = "upstream.max_in_flight = 1\n" });
    client_open(&in, w.port);
    client_puts(&in, "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    for (int i = 0; i < 3; i++) {
        http_call(w.port, "POST", "/token", NULL, "x", &a);
        assert_int_equal(a.status, 200);
    }
    http_get(w.port, "/y", &a); /* nor does it leave room for one more */
    assert_problem(&a, 503, "proxy", "connection_limit_reached");
    client_close(&in);
    answer_free(&a);
}

static void only_so_many_upstream_connections_are_kept(void **state)
{
    (void)state;
    WORLD(w);
    static struct gate gate;
    gate_init(&gate);
    world_start(&w, &(struct world_options){ .answer = answer_held,
                                             .arg = &gate,
                                             .settings = "upstream.max_connections = 2\n" });
    struct crowd *crowd = crowd_start(
        w.port, 10, "GET /held HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_true(gate_wait_arrived(&gate, 2, SOON_MS));
    gate_open(&gate);
    assert_true(crowd_finish(crowd, SOON_MS));
    assert_int_equal(crowd_count(crowd, 200), 10);
    assert_true(peer_wait_closed_to(w.api, 2, SOON_MS));
    crowd_free(crowd);
}

/* The program has one worker, which has seen what was sent before this is over. */
static void let_it_look(int port)
{
    struct answer a = { 0 };
    for (int turns = 0; turns < 2; turns++) {
        http_call(port, "TRACE", "/x", NULL, NULL, &a);
        assert_int_equal(a.status, 405);
    }
    answer_free(&a);
}

/* Sends a byte a minute until there is an answer or an end. */
static void drip(int port, struct later *later, struct client *c, struct answer *a)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    int got = -1;
    while (got < 0 && now_ms() < deadline_ms) {
        (void)client_try_send(c, "x", 1, 0);
        let_it_look(port);
        later_by(later, 60000);
        let_it_look(port);
        got = client_fill(c, 0);
    }
    client_read(c, a, false, SOON_MS);
}

/* A caller that sends its head byte by byte gets 408 at the deadline, which is for the head as
 * a whole. (row 37) */
static void a_head_that_takes_too_long_gets_408_however_it_drips(void **state)
{
    (void)state;
    LATER(later);
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .env = later.env,
                                             .settings = "listen.header_timeout = 5m\n"
                                                         "listen.idle_timeout = 24h\n" });
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    client_open(&c, w.port);
    client_puts(&c, "GET /x HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
    drip(w.port, &later, &c, &a);
    assert_problem(&a, 408, "request", "http_request_error");
    assert_true(client_closed(&c, SOON_MS));
    client_close(&c);
    /* the second request of a connection is under the same rule */
    client_open(&c, w.port);
    client_call(&c, "GET", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    client_puts(&c, "GET /x HTTP/1.1\r\nX-Slow: ");
    drip(w.port, &later, &c, &a);
    assert_problem(&a, 408, "request", "http_request_error");
    client_close(&c);
    assert_int_equal(peer_count(w.api, ""), 1);
    answer_free(&a);
}

/* A caller that stops in the middle of its body gets 408 at the deadline. (row 37) */
static void a_body_that_stands_still_gets_408(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\npart",
        ("POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: "
         "chunked\r\n\r\n4\r\npart\r\n"),
        "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n",
    };
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = "listen.body_timeout = 300ms\n" });
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct client c;
        client_open(&c, w.port);
        client_puts(&c, heads[i]);
        client_read(&c, &a, false, SOON_MS);
        assert_problem(&a, 408, "request", "http_request_error");
        assert_true(client_closed(&c, SOON_MS));
        client_close(&c);
    }
    assert_true(peer_wait_closed_to(w.api, 0, SOON_MS));
    assert_false(peer_wait_complete(w.api, "", 1, 0));
    answer_free(&a);
}

static void a_body_that_goes_on_slowly_is_no_timeout(void **state)
{
    (void)state;
    LATER(later);
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .env = later.env,
                                             .settings = "listen.body_timeout = 5m\n" });
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    client_open(&c, w.port);
    client_puts(&c, "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15\r\n\r\n");
    for (int i = 0; i < 15; i++) {
        client_puts(&c, "x");
        let_it_look(w.port);
        assert_int_equal(client_fill(&c, i < 14 ? 0 : SOON_MS), i < 14 ? -1 : 1);
        if (i < 14)
            later_by(&later, 60 * 1000);
    }
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body.len, 15);
    client_close(&c);
    answer_free(&a);
}

/* Reads nothing of a body until the gate is open. */
static void serve_slowly(struct peer_conn *c, void *arg)
{
    struct peer_request *r = peer_read_head(c);
    if (r != NULL && gate_pass(arg, c) && peer_read_body(c, r))
        (void)peer_answer(c, 200, NULL, "fine");
}

/* Sends until there is room for nothing more though the program looks again and again. */
static size_t send_until_held_back(int port, struct client *c, const struct bytes *data)
{
    size_t sent = 0;
    for (int still = 0; still < 5 && sent < data->len; still++) {
        size_t n = client_try_send(c, data->data + sent, data->len - sent, 300);
        sent += n;
        if (n > 0)
            still = -1;
        let_it_look(port);
    }
    return sent;
}

/* Who may not send does not stand still by his own fault. */
static void a_caller_that_a_slow_upstream_holds_back_gets_no_408(void **state)
{
    (void)state;
    enum { BODY = 24 * 1024 * 1024 };
    LATER(later);
    WORLD(w);
    static struct gate gate;
    struct client c;
    struct answer a = { 0 };
    struct bytes request = { 0 };
    gate_init(&gate);
    world_start(&w, &(struct world_options){ .serve = serve_slowly,
                                             .arg = &gate,
                                             .receive_buffer = 65536,
                                             .env = later.env,
                                             .settings = "listen.body_timeout = 5m\n"
                                                         "upstream.response_timeout = 24h\n"
                                                         "upstream.idle_timeout = 24h\n" });
    bytes_addf(&request, "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n",
               BODY);
    bytes_fill(&request, 'x', BODY);
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    client_open(&c, w.port);
    size_t sent = send_until_held_back(w.port, &c, &request);
    assert_true(sent < request.len); /* it was held back */
    later_by(&later, 301000);
    let_it_look(w.port);
    assert_int_equal(client_fill(&c, 0), -1);
    gate_open(&gate);
    client_send(&c, request.data + sent, request.len - sent);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_int_equal(peer_request(w.api, "", 0)->body.len, BODY);
    client_close(&c);
    bytes_free(&request);
    answer_free(&a);
}

static void a_connection_that_is_idle_for_long_is_closed(void **state)
{
    (void)state;
    LATER(later);
    WORLD(w);
    struct client used, fresh;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .env = later.env,
                                             .settings = "listen.idle_timeout = 5m\n"
                                                         "listen.header_timeout = 10m\n" });
    client_open(&used, w.port);
    client_call(&used, "GET", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    client_open(&fresh, w.port);
    assert_true(later_until_heard(&later, &used, 301000));
    assert_true(later_until_heard(&later, &fresh, 301000));
    assert_true(client_closed(&used, 0));
    assert_true(client_closed(&fresh, 0));
    client_close(&used);
    client_close(&fresh);
    answer_free(&a);
}

/* ... and one whose caller has said that nothing more comes, together with its last request,
 * sooner than that. */
static void a_connection_of_a_caller_that_is_done_is_closed_soon(void **state)
{
    (void)state;
    LATER(later);
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .env = later.env,
                                             .settings = "listen.idle_timeout = 24h\n"
                                                         "listen.header_timeout = 5m\n" });
    client_open(&c, w.port);
    const int one = 1; /* in one segment, which is one event */
    assert_int_equal(setsockopt(c.fd, IPPROTO_TCP, TCP_CORK, &one, sizeof one), 0);
    client_puts(&c, "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_true(later_until_heard(&later, &c, 301000));
    assert_true(client_closed(&c, 0));
    client_close(&c);
    answer_free(&a);
}

/* What it has received before does not count as the beginning of a next head. */
static void a_connection_between_requests_is_under_no_header_timeout(void **state)
{
    (void)state;
    LATER(later);
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .env = later.env,
                                             .settings = "listen.header_timeout = 5m\n"
                                                         "listen.idle_timeout = 24h\n" });
    client_open(&c, w.port);
    for (int i = 0; i < 2; i++) {
        client_call(&c, "GET", "/x", NULL, NULL, &a);
        assert_int_equal(a.status, 200);
        for (int k = 0; k < 3; k++) {
            later_by(&later, 301000);
            let_it_look(w.port);
            assert_int_equal(client_fill(&c, 0), -1);
        }
    }
    client_close(&c);
    answer_free(&a);
}

static void a_slow_upstream_is_no_idle_caller(void **state)
{
    (void)state;
    LATER(later);
    WORLD(w);
    static struct gate gate;
    struct client c;
    struct answer a = { 0 };
    gate_init(&gate);
    world_start(&w, &(struct world_options){ .answer = answer_held,
                                             .arg = &gate,
                                             .env = later.env,
                                             .settings = "listen.idle_timeout = 1m\n"
                                                         "listen.header_timeout = 1m\n"
                                                         "listen.body_timeout = 1m\n"
                                                         "upstream.response_timeout = 1h\n" });
    client_open(&c, w.port);
    client_puts(&c, "POST /held HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    for (int i = 0; i < 5; i++) {
        later_by(&later, 61000);
        let_it_look(w.port);
        assert_int_equal(client_fill(&c, 0), -1);
    }
    gate_open(&gate);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    client_close(&c);
    answer_free(&a);
}

static void a_body_above_the_limit_is_413(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    struct bytes body = { 0 }, request = { 0 };
    world_start(&w, &(struct world_options){ .settings = "listen.max_body_size = 1k\n" });
    bytes_fill(&body, 'x', 1024);
    http_call(w.port, "POST", "/x", NULL, bytes_text(&body), &a);
    assert_int_equal(a.status, 200);
    bytes_addf(&request,
               "POST /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
               "Transfer-Encoding: chunked\r\n\r\n400\r\n%s\r\n0\r\n\r\n",
               bytes_text(&body));
    http_raw(w.port, bytes_text(&request), &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(peer_count(w.api, ""), 2);
    bytes_fill(&body, 'x', 1);
    http_call(w.port, "POST", "/x", NULL, bytes_text(&body), &a);
    assert_problem(&a, 413, "request", "http_request_error");
    assert_int_equal(peer_count(w.api, ""), 2);
    bytes_clear(&request);
    bytes_addf(&request,
               "POST /x HTTP/1.1\r\nHost: localhost\r\n"
               "Transfer-Encoding: chunked\r\n\r\n401\r\n%s\r\n0\r\n\r\n",
               bytes_text(&body));
    http_raw(w.port, bytes_text(&request), &a);
    assert_problem(&a, 413, "request", "http_request_error");
    assert_false(peer_wait_complete(w.api, "", 3, 300)); /* whatever went up was cut off */
    bytes_free(&body);
    bytes_free(&request);
    answer_free(&a);
}

/* The status of a GET whose target is `len` bytes long. */
static int status_of_target(struct world *w, size_t len)
{
    struct answer a = { 0 };
    char *target = malloc(len + 1);
    assert_non_null(target);
    memset(target, 'a', len);
    target[0] = '/';
    target[len] = '\0';
    http_get(w->port, target, &a);
    if (a.status == 414) {
        assert_problem(&a, 414, "request", "http_request_error");
        assert_contains(bytes_text(&a.body), "listen.max_target_size");
    }
    int status = a.status;
    answer_free(&a);
    free(target);
    return status;
}

static void the_longest_target_is_a_setting(void **state)
{
    (void)state;
    WORLD(small);
    world_start(&small, &(struct world_options){ .settings = "listen.max_target_size = 1k\n" });
    assert_int_equal(status_of_target(&small, 1024), 200);
    assert_int_equal(status_of_target(&small, 1025), 414);
    WORLD(large);
    world_start(&large,
                &(struct world_options){ .settings = "listen.max_target_size = 24k\n"
                                                     "listen.max_header_size = 64k\n" });
    assert_int_equal(status_of_target(&large, 24 << 10), 200);
    assert_int_equal(status_of_target(&large, (24 << 10) + 1), 414);
}

/* Whether the size is the target's or that of many fields, and whatever speaks to the API. */
static void the_largest_head_that_may_be_set_passes(void **state)
{
    enum { FIELDS = 993 };
    (void)state;
    for (int h2 = 0; h2 < 2; h2++) {
        WORLD(w);
        struct answer a = { 0 };
        struct bytes fields = { 0 };
        char settings[256];
        (void)snprintf(settings, sizeof settings,
                       "listen.max_header_size = 256k\nlisten.max_target_size = 256k\n"
                       "listen.max_headers = 1000\nupstream.http_version = %s\n",
                       h2 ? "2" : "1.1");
        world_start(&w, &(struct world_options){ .cert = h2 ? CERT_VALID : CERT_NONE,
                                                 .h2 = h2,
                                                 .settings = settings });
        assert_int_equal(status_of_target(&w, (256 << 10) - 200), 200);
        for (int i = 0; i < FIELDS; i++)
            bytes_addf(&fields, "X-Field-%03d: %0248d\r\n", i, i);
        assert_in_range(fields.len, 255 << 10, (256 << 10) - 200);
        http_call(w.port, "GET", "/x", bytes_text(&fields), NULL, &a);
        assert_int_equal(a.status, 200);
        bytes_free(&fields);
        answer_free(&a);
    }
}

static void a_waiting_crowd_does_not_hold_up_a_live_caller(void **state)
{
    (void)state;
    WORLD(w);
    static struct gate gate;
    struct answer a = { 0 };
    gate_init(&gate);
    world_start(&w, &(struct world_options){ .answer = answer_held, .arg = &gate });
    struct crowd *crowd = crowd_start(
        w.port, 100, "GET /held HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_true(gate_wait_arrived(&gate, 100, SOON_MS));
    int64_t began_ms = now_ms();
    for (int i = 0; i < 50; i++) {
        http_get(w.port, "/live", &a);
        assert_int_equal(a.status, 200);
    }
    assert_true(now_ms() - began_ms < SOON_MS);
    gate_open(&gate);
    assert_true(crowd_finish(crowd, SOON_MS));
    assert_int_equal(crowd_count(crowd, 200), 100);
    crowd_free(crowd);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(connections_above_the_limit_get_503_and_are_closed),
        TEST(requests_above_max_in_flight_get_503_at_once),
        TEST(the_callers_token_call_counts_as_no_request_under_way),
        TEST(only_so_many_upstream_connections_are_kept),
        TEST(a_head_that_takes_too_long_gets_408_however_it_drips),
        TEST(a_body_that_stands_still_gets_408),
        TEST(a_body_that_goes_on_slowly_is_no_timeout),
        TEST(a_caller_that_a_slow_upstream_holds_back_gets_no_408),
        TEST(a_connection_that_is_idle_for_long_is_closed),
        TEST(a_connection_of_a_caller_that_is_done_is_closed_soon),
        TEST(a_connection_between_requests_is_under_no_header_timeout),
        TEST(a_slow_upstream_is_no_idle_caller),
        TEST(a_body_above_the_limit_is_413),
        TEST(the_longest_target_is_a_setting),
        TEST(the_largest_head_that_may_be_set_passes),
        TEST(a_waiting_crowd_does_not_hold_up_a_live_caller),
    };
    return RUN_TESTS(tests);
}

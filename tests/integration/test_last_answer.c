/* The last answer on a connection arrives, even if the caller has sent something that nobody
 * read: the connection ends in order, since a reset may overtake the answer and destroy it.
 * Also the last answers before the program exits. */
#include <signal.h>
#include <sys/socket.h>

#include "harness.h"

/* Reads to the end of the connection: true when it ended in order. A reset behind the end is
 * seen only by asking for it, once the proxy, which has one worker, has done with the
 * connection. */
static bool ends_in_order(struct world *w, struct client *c)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    struct answer other = { 0 };
    int got, error = 0;
    socklen_t len = sizeof error;
    while ((got = client_fill(c, left_ms(deadline_ms))) > 0)
        ;
    assert_true(proxy_log_wait(w->proxy, "event=access", 1, SOON_MS));
    for (int i = 0; i < 2; i++)
        http_call(w->port, "TRACE", "/x", NULL, NULL, &other);
    assert_int_equal(getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
    answer_free(&other);
    return got == 0 && !c->reset && error == 0;
}

/* libmicrohttpd stops reading at a line of a chunk's size that does not fit into its buffer:
 * what follows stays unread when the answer is written past it. */
static void unread_bytes_of_a_broken_body_do_not_reset_the_connection(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    struct bytes request = { 0 };
    world_start(&w, &(struct world_options){ .settings = "listen.body_timeout = 60s\n"
                                                         "listen.max_header_size = 4k\n" });
    bytes_add_str(&request, "POST /x HTTP/1.1\r\nHost: localhost\r\n"
                            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5;x=");
    bytes_fill(&request, 'y', 60000);
    client_open(&c, w.port);
    assert_int_equal(client_try_send(&c, request.data, request.len, SOON_MS), request.len);
    client_read(&c, &a, false, SOON_MS);
    assert_true(a.status == 400 || a.status == 413); /* libmicrohttpd 1.0 says 413 by itself */
    if (a.status == 400)
        assert_true(ends_in_order(&w, &c));
    client_close(&c);
    bytes_free(&request);
    answer_free(&a);
}

static struct gate gate;

/* A head that is too large for libmicrohttpd's pool, once the gate is open. */
static void answer_large(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    static char field[30001];
    (void)r;
    (void)arg;
    if (!gate_pass(&gate, c))
        return;
    memset(field, 'x', sizeof field - 1);
    (void)peer_puts(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Large: ");
    (void)peer_puts(c, field);
    (void)peer_puts(c, "\r\n\r\nhello");
}

static void an_unread_next_request_does_not_reset_the_answer_with_a_large_head(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    gate_init(&gate);
    world_start(&w, &(struct world_options){ .answer = answer_large });
    client_open(&c, w.port);
    client_puts(&c, "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    /* while the first one waits nobody reads */
    for (int i = 0; i < 500; i++)
        client_puts(&c,
                    "GET /next HTTP/1.1\r\nHost: localhost\r\nX-More: abcdefghijkl\r\n\r\n");
    gate_open(&gate);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_true(a.head.len > 30000);
    assert_string_equal(bytes_text(&a.body), "hello");
    assert_string_equal(answer_header(&a, "Connection"), "close");
    assert_true(ends_in_order(&w, &c));
    assert_int_equal(peer_count(w.api, ""), 1);
    client_close(&c);
    answer_free(&a);
}

/* Nobody but the write itself tells that the caller is gone: it left while the program stood
 * still, and so did the answer. */
static void a_caller_that_left_before_a_large_head_is_written_is_told_in_the_log(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    gate_init(&gate);
    world_start(&w, &(struct world_options){ .answer = answer_large });
    client_open(&c, w.port);
    client_puts(&c, "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    proxy_signal(w.proxy, SIGSTOP);
    gate_open(&gate);
    client_reset(&c);
    proxy_signal(w.proxy, SIGCONT);
    assert_true(proxy_log_wait(w.proxy, "event=access aborted=caller", 1, SOON_MS));
    http_get(w.port, "/next", &a);
    assert_int_equal(a.status, 200);
    client_close(&c);
    answer_free(&a);
}

#define MIB (1024 * 1024)

/* A body that nobody wants is read, so that its caller comes to the answer; but not without
 * end. */
static void a_body_that_is_thrown_away_is_read_up_to_a_bound(void **state)
{
    (void)state;
    static char piece[MIB];
    static const struct {
        size_t mib;
        bool whole;
    } cases[] = { { 15, true }, { 64, false } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WORLD(w);
        struct client c;
        struct answer a = { 0 };
        size_t sent = 0, n = MIB;
        char head[128];
        world_start(&w, &(struct world_options){ 0 });
        client_open(&c, w.port);
        (void)snprintf(head, sizeof head,
                       "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n",
                       cases[i].mib * MIB);
        client_puts(&c, head);
        memset(piece, 'x', sizeof piece);
        for (size_t k = 0; k < cases[i].mib && n == MIB; k++) {
            n = client_try_send(&c, piece, MIB, SOON_MS);
            sent += n;
        }
        client_read(&c, &a, false, SOON_MS);
        if (cases[i].whole) {
            assert_int_equal(sent, cases[i].mib * MIB);
            assert_int_equal(a.status, 200);
        } else {
            assert_true(sent >= 15 * (size_t)MIB && sent < 40 * (size_t)MIB);
            assert_problem(&a, 413, "request", "http_request_error");
            assert_true(client_closed(&c, SOON_MS));
        }
        client_close(&c);
        answer_free(&a);
    }
}

/* The head and half of the body, then nothing: a request that nothing can end but the end. */
static void serve_half(struct peer_conn *c, void *arg)
{
    const struct peer_request *r;
    (void)arg;
    while ((r = peer_read_request(c)) != NULL) {
        if (strcmp(r->target, "/v0/half") == 0) {
            (void)peer_puts(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.");
            peer_read_eof(c);
            return;
        }
        (void)peer_answer(c, 200, NULL, "fine");
    }
}

/* Whether one of many whose heads become whole shortly before drain_timeout is told that it
 * comes too late. False: the program has left before one of them was sent, since this side was
 * slow. */
static bool is_told_when_too_late(void)
{
    static const char rest[] = "Host: localhost\r\nContent-Length: 0\r\n\r\n";
    enum { HEADS = 60 };
    WORLD(w);
    struct client stalled, half[HEADS];
    struct answer a = { 0 };
    char pattern[32];
    int i;
    world_start(&w, &(struct world_options){ .serve = serve_half,
                                             .settings = "process.drain_timeout = 1s\n" });
    client_open(&stalled, w.port);
    client_puts(&stalled, "GET /half HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read_head(&stalled, &a, SOON_MS);
    for (i = 0; i < HEADS; i++) {
        char line[32];
        client_open(&half[i], w.port);
        (void)snprintf(line, sizeof line, "POST /%d HTTP/1.1\r\n", i);
        client_puts(&half[i], line);
    }
    proxy_signal(w.proxy, SIGTERM);
    assert_true(proxy_log_wait(w.proxy, "event=drain_timeout", 1, SOON_MS));
    for (i = 0; i < HEADS; i++) {
        (void)client_try_send(&half[i], rest, sizeof rest - 1, SOON_MS);
        client_read(&half[i], &a, false, SOON_MS);
        if (a.status == 503) /* before that: those that were still in time */
            break;
    }
    bool told = i < HEADS;
    if (told) {
        assert_problem(&a, 503, "proxy", "destination_unavailable");
        assert_problem_detail(&a, "being stopped");
        assert_string_equal(answer_header(&a, "Retry-After"), "1");
        (void)snprintf(pattern, sizeof pattern, "POST /v0/%d", i);
        assert_int_equal(peer_count(w.api, pattern), 0);
    }
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    for (i = 0; i < HEADS; i++)
        client_close(&half[i]);
    client_close(&stalled);
    answer_free(&a);
    return told;
}

/* Shortly before drain_timeout requests that still wait are told so. One whose head becomes
 * whole only then must not begin any more: its answer could not come in time. */
static void a_request_that_comes_whole_too_late_is_not_begun(void **state)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    (void)state;
    while (!is_told_when_too_late())
        assert_true(now_ms() < deadline_ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(unread_bytes_of_a_broken_body_do_not_reset_the_connection),
        TEST(an_unread_next_request_does_not_reset_the_answer_with_a_large_head),
        TEST(a_caller_that_left_before_a_large_head_is_written_is_told_in_the_log),
        TEST(a_body_that_is_thrown_away_is_read_up_to_a_bound),
        TEST(a_request_that_comes_whole_too_late_is_not_begun),
    };
    return RUN_TESTS(tests);
}

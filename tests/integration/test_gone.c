/* Peers that leave early: callers that hang up, upstreams that answer before they have read
 * the request. Rows: tests/hostile/README.md. */
#include <stdatomic.h>

#include "hammer.h"
#include "harness.h"

/* The program notices within a second. One that did not would go on for these times at
 * least: between the two lies room for a loaded machine. */
#define LONG "listen.body_timeout = 1h\nupstream.response_timeout = 1h\n"
#define WITHIN_MS SOON_MS

/* Reads a request and waits for the other side to end, telling when that was. */
struct watch {
    struct gate seen;   /* passed by the peer when it has read the request's head */
    atomic_bool stream; /* answer without end meanwhile */
    atomic_bool whole;  /* the request's body came whole */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ended;
};

static void watch_init(struct watch *x)
{
    *x = (struct watch){ .lock = PTHREAD_MUTEX_INITIALIZER,
                         .changed = PTHREAD_COND_INITIALIZER };
    gate_init(&x->seen);
    x->seen.open = true;
}

static void serve_watching(struct peer_conn *c, void *arg)
{
    struct watch *x = arg;
    static const char piece[65536];
    struct peer_request *r = peer_read_head(c);
    if (r == NULL)
        return;
    (void)gate_pass(&x->seen, c);
    if (peer_read_body(c, r)) {
        x->whole = true;
        if (x->stream) {
            (void)peer_puts(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
            while (peer_write(c, piece, sizeof piece)) {
            }
        } else {
            peer_read_eof(c);
        }
    }
    (void)pthread_mutex_lock(&x->lock);
    x->ended = true;
    (void)pthread_cond_broadcast(&x->changed);
    (void)pthread_mutex_unlock(&x->lock);
}

static bool ended_within(struct watch *x, int ms)
{
    struct timespec until = deadline_spec(now_ms() + ms);
    (void)pthread_mutex_lock(&x->lock);
    while (!x->ended &&
           pthread_cond_clockwait(&x->changed, &x->lock, CLOCK_MONOTONIC, &until) == 0) {
    }
    bool answer = x->ended;
    (void)pthread_mutex_unlock(&x->lock);
    return answer;
}

/* When the caller goes away, the transfer with the upstream ends within a second, and its
 * connection is not used again. (row 39) */
static void a_caller_that_leaves_while_waiting_ends_the_upstream_transfer(void **state)
{
    (void)state;
    for (int reset = 0; reset < 2; reset++) {
        for (int body = 0; body < 2; body++) {
            WORLD(w);
            struct client c;
            static struct watch x;
            watch_init(&x);
            world_start(&w, &(struct world_options){
                                .serve = serve_watching, .arg = &x, .settings = LONG });
            client_open(&c, w.port);
            client_puts(&c, body
                                ? "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
                                  "\r\n{}"
                                : "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_true(peer_wait_complete(w.api, "", 1, SOON_MS));
            if (reset)
                client_reset(&c);
            else
                client_close(&c);
            if (!ended_within(&x, WITHIN_MS))
                fail_msg("still open (reset %d, body %d)", reset, body);
            assert_true(proxy_log_wait(w.proxy, "event=access", 1, SOON_MS));
        }
    }
}

static void a_caller_that_leaves_while_streaming_ends_the_upstream_transfer(void **state)
{
    (void)state;
    for (int reset = 0; reset < 2; reset++) {
        WORLD(w);
        struct client c;
        struct answer a = { 0 };
        static struct watch x;
        watch_init(&x);
        x.stream = true;
        world_start(&w, &(struct world_options){
                            .serve = serve_watching, .arg = &x, .settings = LONG });
        client_open(&c, w.port);
        client_puts(&c, "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client_read_head(&c, &a, SOON_MS);
        assert_int_equal(a.status, 200);
        assert_int_equal(client_fill(&c, SOON_MS), 1);
        if (reset)
            client_reset(&c);
        else
            client_close(&c);
        assert_true(ended_within(&x, WITHIN_MS));
        answer_free(&a);
    }
}

static void a_caller_that_leaves_while_its_download_stands_still_is_noticed(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    static struct watch x;
    watch_init(&x);
    x.stream = true;
    world_start(
        &w, &(struct world_options){ .serve = serve_watching, .arg = &x, .settings = LONG });
    client_open(&c, w.port);
    client_puts(&c, "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read_head(&c, &a, SOON_MS);
    assert_false(ended_within(&x, 500)); /* all buffers are full by then */
    client_reset(&c);
    assert_true(ended_within(&x, WITHIN_MS));
    answer_free(&a);
}

/* When the caller dies in the middle of its upload, the upstream must not see a complete
 * request. (row 38) */
static void an_upload_that_breaks_off_is_never_complete_upstream(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf of it",
        "POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: "
        "chunked\r\n\r\n4\r\nhalf\r\n",
    };
    for (size_t i = 0; i < 2; i++) {
        for (int reset = 0; reset < 2; reset++) {
            WORLD(w);
            struct client c;
            struct answer a = { 0 };
            static struct watch x;
            watch_init(&x);
            world_start(&w, &(struct world_options){
                                .serve = serve_watching, .arg = &x, .settings = LONG });
            client_open(&c, w.port);
            client_puts(&c, heads[i]);
            assert_true(peer_wait(w.api, "POST /v0/x", 1, SOON_MS));
            if (reset)
                client_reset(&c);
            else
                client_close(&c);
            assert_true(ended_within(&x, WITHIN_MS));
            assert_false(x.whole);
            assert_int_equal(peer_count(w.api, ""), 1);
            answer_free(&a);
        }
    }
}

static void a_caller_that_leaves_while_parked_costs_nothing(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .hold_tokens = true,
                                             .settings = "token.wait_timeout = 30s\n"
                                                         "token.timeout = 30s\n" });
    client_open(&c, w.port);
    client_puts(&c, "POST /gone HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    http_call(w.port, "TRACE", "/", NULL, NULL, &a); /* the one before it has been read, too */
    assert_int_equal(a.status, 405);
    client_reset(&c);
    assert_true(proxy_log_wait(w.proxy, "event=access method=POST", 1, SOON_MS));
    tokens_release(w.tokens);
    http_get(w.port, "/here", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(peer_count(w.api, "POST /v0/gone"), 0);
    answer_free(&a);
}

enum early { EARLY_READS_ON, EARLY_CLOSES, EARLY_HALF_CLOSES };

static void serve_early(struct peer_conn *c, void *arg)
{
    const enum early *how = arg;
    if (peer_read_head(c) == NULL)
        return;
    (void)peer_puts(c, "HTTP/1.1 413 Content Too Large\r\nContent-Type: application/json\r\n"
                       "Content-Length: 13\r\nConnection: close\r\n\r\n{\"their\":413}");
    if (*how == EARLY_HALF_CLOSES)
        peer_finish_writing(c);
    if (*how != EARLY_CLOSES)
        peer_read_eof(c);
}

/* An upstream that closes with bytes of the body unread resets the connection, and the reset
 * can overtake its answer. Then the caller is told that the outcome is unknown, nothing else.
 */
static bool lost_by_reset(enum early how, size_t size, const struct answer *a)
{
    return how == EARLY_CLOSES && size > 100000 && a->status == 502 &&
           strstr(bytes_text(&a->body), "outcome unknown") != NULL;
}

/* The upstream answers and closes while the upload still runs: the caller gets that answer.
 * (row 40) */
static void an_early_answer_reaches_a_caller_that_is_still_sending(void **state)
{
    (void)state;
    static const enum early ways[] = { EARLY_READS_ON, EARLY_CLOSES, EARLY_HALF_CLOSES };
    static const size_t sizes[] = { 1000, 300000, 8 << 20 };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
            WORLD(w);
            struct client c;
            struct answer a = { 0 };
            struct bytes body = { 0 };
            char head[128];
            enum early how = ways[i];
            world_start(&w, &(struct world_options){ .serve = serve_early, .arg = &how });
            bytes_fill(&body, 'x', sizes[s]);
            (void)snprintf(head, sizeof head,
                           "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n",
                           body.len);
            size_t tries = 0;
            int64_t deadline_ms = now_ms() + SOON_MS;
            do {
                tries++;
                client_open(&c, w.port);
                client_puts(&c, head);
                (void)client_try_send(&c, body.data, body.len, SOON_MS);
                client_read(&c, &a, false, SOON_MS);
                client_close(&c);
            } while (lost_by_reset(how, sizes[s], &a) && ask_again(deadline_ms));
            if (a.status != 413 || a.end != ANSWER_WHOLE)
                fail_msg("size %zu, way %d: end %d, status %d\n%s", sizes[s], (int)how,
                         (int)a.end, a.status, bytes_text(&a.body));
            assert_string_equal(bytes_text(&a.body), "{\"their\":413}");
            assert_int_equal(peer_count(w.api, ""), tries);
            bytes_free(&body);
            answer_free(&a);
        }
    }
}

/* An upstream that is done with a request before it has read its body, and says so kindly. */
static void serve_early_success(struct peer_conn *c, void *arg)
{
    static const char answer[] = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
                                 "Content-Length: 13\r\n\r\n{\"their\":201}";
    const enum early *how = arg;
    if (peer_read_head(c) == NULL)
        return;
    (void)peer_puts(c, answer);
    if (*how == EARLY_HALF_CLOSES)
        peer_finish_writing(c);
    if (*how != EARLY_CLOSES)
        peer_read_eof(c);
}

/* The body in two chunks, the second so large that no socket buffer takes it. */
static void chunked_request(struct bytes *b, size_t size)
{
    bytes_addf(b,
               "POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
               "5\r\nfirst\r\n%zx\r\n",
               size);
    bytes_fill(b, 'x', size);
    bytes_addf(b, "\r\n0\r\n\r\n");
}

static void an_early_success_reaches_a_caller_that_is_still_sending_chunks(void **state)
{
    (void)state;
    static const enum early ways[] = { EARLY_READS_ON, EARLY_CLOSES, EARLY_HALF_CLOSES };
    static const size_t sizes[] = { 1000, 300000, 8 << 20 };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
            WORLD(w);
            struct client c;
            struct answer a = { 0 };
            struct bytes request = { 0 };
            enum early how = ways[i];
            world_start(&w,
                        &(struct world_options){ .serve = serve_early_success, .arg = &how });
            chunked_request(&request, sizes[s]);
            size_t tries = 0;
            int64_t deadline_ms = now_ms() + SOON_MS;
            do {
                tries++;
                client_open(&c, w.port);
                (void)client_try_send(&c, request.data, request.len, SOON_MS);
                client_read(&c, &a, false, SOON_MS);
                client_close(&c);
            } while (lost_by_reset(how, sizes[s], &a) && ask_again(deadline_ms));
            if (a.status != 201 || a.end != ANSWER_WHOLE)
                fail_msg("size %zu, way %d: end %d, status %d\n%s", sizes[s], (int)how,
                         (int)a.end, a.status, bytes_text(&a.body));
            assert_string_equal(bytes_text(&a.body), "{\"their\":201}");
            assert_int_equal(peer_count(w.api, ""), tries);
            bytes_free(&request);
            answer_free(&a);
        }
    }
}

/* Expect: 100-continue with a body that is refused: one final answer, and no 100 before it.
 * (row 21) */
static void an_early_answer_comes_before_the_body_where_100_is_expected(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = "listen.max_body_size = 1k\n" });
    client_open(&c, w.port);
    client_puts(&c, "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n"
                    "Expect: 100-continue\r\n\r\n");
    client_read(&c, &a, false, SOON_MS);
    assert_problem(&a, 413, "request", "http_request_error");
    assert_int_equal(a.interim.len, 0);
    assert_int_equal(peer_count(w.api, ""), 0);
    client_close(&c);
    answer_free(&a);
}

#define CROWD 8

/* n requests by callers that stay, a hundredth as many by callers that are gone at once. */
static void many(struct world *w, size_t n)
{
    static const char request[] = "POST /x HTTP/1.1\r\nHost: localhost\r\n"
                                  "Content-Length: 5\r\n\r\nhello";
    struct hammer *h = hammer_start(w->port, CROWD, request);
    for (size_t i = 0; i < n / 100; i++) {
        struct client c;
        client_open(&c, w->port);
        client_send(&c, request, i % 3 == 0 ? 20 : sizeof request - 1);
        if (i % 2 == 0)
            client_reset(&c);
        else
            client_close(&c);
        assert_true(hammer_wait(h, i * 100, SOON_MS));
    }
    assert_true(hammer_wait(h, n, 4 * SOON_MS));
    struct hammer_result r = hammer_stop(h);
    if (r.failures != 0)
        fail_msg("%zu failures: %s", r.failures, bytes_text(&r.first));
    bytes_free(&r.first);
}

/* Memory and descriptors are back where they were after many requests, of which some were
 * broken off. (row 72, scaled) */
static void requests_and_broken_off_ones_leave_nothing_behind(void **state)
{
    (void)state;
    WORLD(w);
    size_t n = sanitized() ? 500 : 3000;
    world_start(&w, &(struct world_options){ .settings = "log.access = no\n" });
    many(&w, n);
    long before_kib = proxy_rss_kib(w.proxy);
    int before = proxy_descriptors(w.proxy);
    many(&w, 10 * n);
    long grown_kib = proxy_rss_kib(w.proxy) - before_kib;
    if (!sanitized() && grown_kib > 1024) /* the sanitizers keep what is freed */
        fail_msg("it has grown by %ld KiB", grown_kib);
    if (before < 0) {
        (void)fprintf(stderr, "SKIPPED: its descriptors cannot be counted here\n");
        skip();
    }
    /* More than a pooled connection for each caller that stays is a leak; soon, not at once. */
    int64_t deadline_ms = now_ms() + SOON_MS;
    while (proxy_descriptors(w.proxy) > before + CROWD)
        if (!ask_again(deadline_ms))
            fail_msg("%d descriptors, %d before", proxy_descriptors(w.proxy), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_caller_that_leaves_while_waiting_ends_the_upstream_transfer),
        TEST(a_caller_that_leaves_while_streaming_ends_the_upstream_transfer),
        TEST(a_caller_that_leaves_while_its_download_stands_still_is_noticed),
        TEST(an_upload_that_breaks_off_is_never_complete_upstream),
        TEST(a_caller_that_leaves_while_parked_costs_nothing),
        TEST(an_early_answer_reaches_a_caller_that_is_still_sending),
        TEST(an_early_success_reaches_a_caller_that_is_still_sending_chunks),
        TEST(an_early_answer_comes_before_the_body_where_100_is_expected),
        TEST(requests_and_broken_off_ones_leave_nothing_behind),
    };
    return RUN_TESTS(tests);
}

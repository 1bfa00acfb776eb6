/* Upstreams with malicious answers, beyond test_upstream.c and test_upstream_head.c. Rows:
 * tests/hostile/README.md. */
#include <poll.h>
#include <sys/socket.h>

#include "harness.h"
#include "later.h"

#define OK "HTTP/1.1 200 OK\r\n"

/* The n-th event is sent when the gate has been opened n times, and not before. */
static void answer_events(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    struct gate *gates = arg;
    bool sse = strcmp(r->target, "/v0/sse") == 0;
    (void)peer_puts(c, sse ? OK "Content-Type: text/event-stream\r\n"
                                "Transfer-Encoding: chunked\r\n\r\n"
                           : OK "Content-Length: 300\r\n\r\n");
    for (int i = 0; i < 30; i++) {
        char event[32];
        if (!gate_pass(&gates[i], c))
            return;
        (void)snprintf(event, sizeof event, sse ? "a\r\ndata: %02d\n\n\r\n" : "data: %02d\n\n",
                       i);
        (void)peer_puts(c, event);
    }
    if (sse)
        (void)peer_puts(c, "0\r\n\r\n");
}

/* Events of a stream are passed on at once: each one is here before the next one is sent.
 * (row 41) */
static void an_event_is_passed_on_before_the_next_one_is_sent(void **state)
{
    (void)state;
    static const char *const targets[] = { "/sse", "/measured" };
    static struct gate gates[30];
    for (size_t t = 0; t < 2; t++) {
        WORLD(w);
        struct client c;
        struct answer a = { 0 };
        char request[128], wanted[32];
        for (int i = 0; i < 30; i++)
            gate_init(&gates[i]);
        world_start(&w, &(struct world_options){ .answer = answer_events, .arg = gates });
        client_open(&c, w.port);
        (void)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
                       targets[t]);
        client_puts(&c, request);
        client_read_head(&c, &a, SOON_MS);
        assert_int_equal(a.status, 200);
        for (int i = 0; i < 30; i++) {
            gate_open(&gates[i]);
            (void)snprintf(wanted, sizeof wanted, "data: %02d\n\n", i);
            while (!bytes_contain(&c.in, wanted))
                assert_int_equal(client_fill(&c, SOON_MS), 1);
        }
        client_close(&c);
        answer_free(&a);
    }
}

struct reply {
    const char *bytes;
    bool reset;
};

static void answer_and_end(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    const struct reply *reply = (const struct reply *)arg + strtoul(r->target + 4, NULL, 10);
    (void)peer_puts(c, reply->bytes);
    if (reply->reset)
        peer_reset(c);
    else
        peer_close(c);
}

/* Either it is said, or what was begun is cut; never a clean end. */
static void assert_failed(const struct answer *a, const char *what)
{
    bool told = a->end == ANSWER_WHOLE && a->status == 502;
    if (!told && a->end != ANSWER_CUT && a->end != ANSWER_NONE)
        fail_msg("status %d, end %d, %s for:\n%.200s", a->status, (int)a->end,
                 bytes_text(&a->body), what);
}

/* An answer that is cut in its head or its body, is not HTTP, or contradicts itself about its
 * length: 502, or aborted, but never passed on as a whole answer. (rows 44, 45, 46, 47) */
static void an_answer_that_breaks_anywhere_is_no_whole_one(void **state)
{
    (void)state;
    static const struct reply replies[] = {
        { "", false },
        { "", true },
        { "H", false },
        { "HTTP/1.1 200 OK\r\nContent-Le", true },
        { OK "Content-Length: 5\r\n", true },
        { OK "Content-Length: 5\r\n\r\nab", true },
        { OK "Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n", false },
        { OK "Transfer-Encoding: chunked\r\n\r\n\r\n", false },
        { OK "Transfer-Encoding: chunked\r\n\r\n-2\r\nab\r\n0\r\n\r\n", false },
        { OK "Transfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n", false },
        { OK "Transfer-Encoding: chunked\r\n\r\n+2\r\nab\r\n0\r\n\r\n", false },
        { OK "Transfer-Encoding: chunked\r\n\r\n 2\r\nab\r\n0\r\n\r\n", false },
        { OK "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nab\r\n0\r\n\r\n", false },
        { OK "Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n", false },
        { OK "Transfer-Encoding: chunked\r\n\r\n2\r\nab0\r\n\r\n", false },
        { OK "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", false },
        { OK "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-T: a", false },
        { OK "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nno colon\r\n\r\n", false },
        { OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          false },
        { "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", false },
        { "HTTP/1.1 204 No Content\r\nTransfer-Encoding: gzip\r\n\r\n", false },
        { "HTTP/1.1 200\tOK\r\nContent-Length: 0\r\n\r\n", false },
        { "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", false },
        { "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", false },
        { "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", false },
        { "HTTP/1.1 -200 OK\r\nContent-Length: 0\r\n\r\n", false },
        { "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false },
        { "HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n", false },
        { "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n", false },
        { "HTTP/11 200 OK\r\nContent-Length: 0\r\n\r\n", false },
        { "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false },
        { "xHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false },
        { OK "Content-Length: 0\r\rX: 1\r\n\r\n", false },
        { "HTTP/1.1 100 Continue\r\n\r\n", false },
        { "HTTP/1.1 103 Early Hints\r\nX: 1\r\n\r\nHTTP/1.1 20", false },
        { "HTTP/1.1 103 Early Hints\r\nno colon\r\n\r\n" OK "Content-Length: 0\r\n\r\n",
          false },
    };
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .answer = answer_and_end,
                                             .arg = (void *)(uintptr_t)replies });
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        char target[32];
        (void)snprintf(target, sizeof target, "/%zu", i);
        http_call(w.port, "POST", target, NULL, "{}", &a);
        assert_failed(&a, replies[i].bytes);
        assert_int_equal(peer_count(w.api, ""), i + 1); /* nothing was sent again */
    }
    answer_free(&a);
}

/* The API behind a proxy on the way, on one connection. The first speaks before it is asked,
 * with the same packet that says that the way is open; the others do as they should. */
static void serve_unasked(struct peer_conn *c, void *arg)
{
    static const char open[] = "HTTP/1.1 200 Connected\r\n\r\n";
    const struct peer_request *r;
    (void)arg;
    if (peer_read_request(c) == NULL)
        return;
    (void)peer_puts(c, c->number > 1 ? open
                                     : "HTTP/1.1 200 Connected\r\n\r\n" OK
                                       "Content-Length: 9\r\n\r\npremature");
    while ((r = peer_read_request(c)) != NULL)
        (void)peer_answer(c, 200, NULL, r->target);
}

/* Bytes that the upstream sends before it was asked anything: nobody knows whose answer that
 * is. (row 50) */
static void an_answer_before_the_question_is_nobodys(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char settings[96];
    if (by_handshake("the proxy on the way speaks in plain text"))
        skip();
    world_start(&w, &(struct world_options){ .serve = serve_unasked, .no_proxy = true });
    (void)snprintf(settings, sizeof settings, "token.proxy = none\nupstream.proxy = %s\n",
                   peer_url(w.api));
    world_proxy(&w, &(struct world_options){ .settings = settings });
    http_call(w.port, "POST", "/first", NULL, "{}", &a);
    assert_problem(&a, 502, "upstream", "http_protocol_error");
    assert_problem_detail(&a, "was not sent");
    assert_true(peer_wait_closed_to(w.api, 0, SOON_MS));
    assert_int_equal(peer_count(w.api, "POST"), 0);
    http_get(w.port, "/second", &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), "/v0/second");
    assert_int_equal(peer_request(w.api, "GET", 0)->connection, 2);
    answer_free(&a);
}

/* All that goes at once, without waiting; false: nothing more went for so long. */
static bool goes_on(struct peer_conn *c, int ms)
{
    static const char piece[65536];
    struct pollfd p = { .fd = c->fd, .events = POLLOUT };
    return poll(&p, 1, ms) > 0 && send(c->fd, piece, sizeof piece, MSG_DONTWAIT) > 0;
}

/* Reads nothing but the head, answers until nobody takes more, and resets when told to. */
static void serve_and_reset(struct peer_conn *c, void *arg)
{
    struct gate *gates = arg;
    const struct peer_request *r = peer_read_head(c);
    if (r == NULL)
        return;
    if (strcmp(r->target, "/v0/up") != 0) {
        do
            (void)peer_answer(c, 200, NULL, "fine");
        while (peer_read_request(c) != NULL);
        return;
    }
    if (!gate_pass(&gates[0], c))
        return;
    (void)peer_puts(c, OK "X-A: 1\r\n\r\n");
    while (goes_on(c, 300)) {
    }
    if (gate_pass(&gates[1], c))
        peer_reset(c);
}

/* Once the answer is here, what has not come of the body is not sent on: until all of it is in
 * its memory, which grows no more then. */
static void wait_until_taken(struct proxy *p)
{
    long before_kib = 0;
    for (int64_t until_ms = now_ms() + 300; now_ms() < until_ms; (void)poll(NULL, 0, 10)) {
        long kib = proxy_rss_kib(p);
        if (kib != before_kib)
            until_ms = now_ms() + 300;
        before_kib = kib;
    }
}

/* A reset in the body of an answer is a cut, not an end. The kernel tells of a reset once: the
 * write of the upload is told of it here, and what is read after that ends as if in order.
 * (row 45) */
static void an_answer_until_close_that_is_reset_under_an_upload_is_cut(void **state)
{
    (void)state;
    static struct gate gates[2];
    WORLD(w);
    struct client c;
    struct answer a = { 0 }, other = { 0 };
    struct bytes request = { 0 };
    if (by_handshake("the answer is written in plain text"))
        skip();
    gate_init(&gates[0]);
    gate_init(&gates[1]);
    world_start(&w, &(struct world_options){ .serve = serve_and_reset,
                                             .arg = gates,
                                             .receive_buffer = 4096,
                                             .settings = "upstream.replay_limit = 12m\n" });
    bytes_addf(&request, "POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n",
               8 << 20);
    bytes_fill(&request, 'b', 8 << 20);
    client_open(&c, w.port);
    client_send(&c, request.data, request.len);
    wait_until_taken(w.proxy);
    gate_open(&gates[0]);
    assert_true(gate_wait_arrived(&gates[1], 1, SOON_MS));
    gate_open(&gates[1]);
    assert_true(peer_wait_closed_to(w.api, 0, SOON_MS));
    http_get(w.port, "/other", &other); /* it has been told */
    assert_int_equal(other.status, 200);
    client_read(&c, &a, false, SOON_MS);
    assert_failed(&a, "a reset");
    assert_int_equal(a.status, 200);
    client_close(&c);
    bytes_free(&request);
    answer_free(&other);
    answer_free(&a);
}

enum flood { FLOOD_FIELD, FLOOD_FIELDS, FLOOD_LINE, FLOOD_INTERIM, FLOOD_TRAILERS };

/* A head without end, until the other side has enough of it. */
static void serve_flood(struct peer_conn *c, void *arg)
{
    const enum flood *how = arg;
    char piece[4096];
    memset(piece, 'x', sizeof piece);
    if (peer_read_request(c) == NULL)
        return;
    if (*how == FLOOD_LINE)
        (void)peer_puts(c, "HTTP/1.1 200 ");
    else if (*how == FLOOD_TRAILERS)
        (void)peer_puts(c, OK "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n");
    else if (*how != FLOOD_INTERIM)
        (void)peer_puts(c, OK "X-A: ");
    for (int i = 0; i < 100000; i++) {
        bool ok = *how == FLOOD_FIELDS || *how == FLOOD_TRAILERS
                      ? peer_puts(c, "y: 1\r\nX-B: 2\r\nX-")
                  : *how == FLOOD_INTERIM
                      ? peer_puts(c, "HTTP/1.1 102 Processing\r\nX: 1\r\n\r\n")
                      : peer_write(c, piece, sizeof piece);
        if (!ok)
            return;
    }
}

/* Heads of an answer that are too large or do not end: 502, and the memory is bounded.
 * (row 48) */
static void a_head_without_end_costs_little(void **state)
{
    (void)state;
    for (enum flood how = FLOOD_FIELD; how <= FLOOD_TRAILERS; how++) {
        WORLD(w);
        struct answer a = { 0 };
        world_start(&w, &(struct world_options){ .serve = serve_flood, .arg = &how });
        http_get(w.port, "/warm", &a);
        long before_kib = proxy_rss_kib(w.proxy);
        for (int i = 0; i < 8; i++) {
            http_get(w.port, "/flood", &a);
            assert_failed(&a, "a flood");
        }
        long grown = proxy_rss_kib(w.proxy) - before_kib;
        if (grown > (sanitized() ? 65536 : 4096))
            fail_msg("%ld KiB more for flood %d", grown, (int)how);
        answer_free(&a);
    }
}

/* As long as the other side needs to take a byte: far below any deadline here. */
static void wait_a_moment(void)
{
    struct gate never;

    gate_init(&never);
    struct timespec until = deadline_spec(now_ms() + 20);
    (void)pthread_mutex_lock(&never.lock);
    (void)pthread_cond_clockwait(&never.changed, &never.lock, CLOCK_MONOTONIC, &until);
    (void)pthread_mutex_unlock(&never.lock);
}

/* arg: an open gate, which tells when the answer has begun. */
static void serve_dripping(struct peer_conn *c, void *arg)
{
    const struct peer_request *r = peer_read_request(c);
    if (r == NULL)
        return;
    bool in_head = strcmp(r->target, "/v0/head") == 0;
    (void)peer_puts(c, in_head ? OK "X-A: " : "");
    (void)gate_pass(arg, c);
    for (int i = 0; i < 3000; i++) {
        wait_a_moment();
        if (!peer_puts(c, in_head ? "x" : "HTTP/1.1 100 Continue\r\n\r\n"))
            return;
    }
}

/* An upstream that sends its head byte by byte: 504, since the deadline is for the head as a
 * whole. (row 49) */
static void a_head_that_drips_ends_at_the_deadline(void **state)
{
    (void)state;
    static const char *const targets[] = { "/head", "/interim" };
    static struct gate begun;
    for (size_t i = 0; i < 2; i++) {
        LATER(later);
        WORLD(w);
        struct client c;
        struct answer a = { 0 };
        char request[128];
        gate_init(&begun);
        gate_open(&begun);
        world_start(&w,
                    &(struct world_options){ .serve = serve_dripping,
                                             .arg = &begun,
                                             .env = later.env,
                                             .settings = "upstream.idle_timeout = 5m\n"
                                                         "upstream.response_timeout = 5m\n" });
        client_open(&c, w.port);
        (void)snprintf(request, sizeof request,
                       "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
                       targets[i]);
        client_puts(&c, request);
        assert_true(gate_wait_arrived(&begun, 1, SOON_MS));
        for (int turns = 0; turns < 2; turns++) { /* the one worker sees what was sent */
            http_call(w.port, "TRACE", "/x", NULL, NULL, &a);
            assert_int_equal(a.status, 405);
        }
        later_by(&later, 301 * 1000); /* the next byte wakes the worker */
        client_read(&c, &a, false, SOON_MS);
        if (a.status != 504 && a.status != 502)
            fail_msg("%d for %s", a.status, targets[i]);
        if (i == 0)
            assert_problem(&a, 504, "upstream", "connection_read_timeout");
        assert_int_equal(peer_count(w.api, ""), 1);
        assert_true(peer_wait_closed_to(w.api, 0, SOON_MS));
        client_close(&c);
        answer_free(&a);
    }
}

#define INTERIMS 4
static struct gate before_each[INTERIMS + 1];

static void serve_patiently(struct peer_conn *c, void *arg)
{
    (void)arg;
    if (peer_read_request(c) == NULL)
        return;
    for (int i = 0; i < INTERIMS; i++)
        if (!gate_pass(&before_each[i], c) || !peer_puts(c, "HTTP/1.1 102 Processing\r\n\r\n"))
            return;
    if (gate_pass(&before_each[INTERIMS], c))
        (void)peer_puts(c, OK "Content-Length: 4\r\n\r\nfine");
}

/* An upstream that says it is still at work has response_timeout anew, and idle_timeout, which
 * is for the body, does not count yet. */
static void each_interim_answer_starts_the_response_timeout_again(void **state)
{
    (void)state;
    LATER(later);
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    for (int i = 0; i <= INTERIMS; i++)
        gate_init(&before_each[i]);
    world_start(&w, &(struct world_options){ .serve = serve_patiently,
                                             .env = later.env,
                                             .settings = "upstream.idle_timeout = 10ms\n"
                                                         "upstream.response_timeout = 5m\n" });
    client_open(&c, w.port);
    client_puts(&c, "POST /slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    for (int i = 0; i <= INTERIMS; i++) {
        assert_true(gate_wait_arrived(&before_each[i], 1, SOON_MS));
        for (int turns = 0; turns < 2;
             turns++) { /* there is one worker, which sees what was sent */
            http_call(w.port, "TRACE", "/x", NULL, NULL, &a);
            assert_int_equal(a.status, 405);
        }
        later_by(&later, 4 * 60 * 1000);
        gate_open(&before_each[i]);
    }
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), "fine");
    assert_int_equal(peer_count(w.api, ""), 1);
    client_close(&c);
    answer_free(&a);
}

static void answer_folded(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)arg;
    if (strcmp(r->target, "/v0/folded") == 0)
        (void)peer_puts(c, OK " folded: value\r\n\tand more\r\nContent-Length: 0\r\n\r\n");
    else
        (void)peer_answer(c, 200, "X-Field: a value that is long enough to be seen\r\n",
                          "fine");
    if (strcmp(r->target, "/v0/folded") == 0)
        peer_close(c);
}

/* An answer that begins with a folded line. libcurl before 8.1 writes what such a line holds
 * after the last field of the answer before it, which it has freed. (row 46) */
static void a_first_field_that_is_folded_finds_nothing_of_an_older_answer(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .answer = answer_folded });
    for (int i = 0; i < 100; i++) {
        http_get(w.port, "/fine", &a);
        assert_int_equal(a.status, 200);
        assert_string_equal(bytes_text(&a.body), "fine");
        http_get(w.port, "/folded", &a);
        assert_failed(&a, "a folded first field");
    }
    answer_free(&a);
}

/* The secret goes to the token endpoint alone, the token to the upstream alone. (row 67) */
static void secret_and_token_keep_to_their_places(void **state)
{
    (void)state;
    static const char *const styles[] = { "token.auth_style = body\n",
                                          "token.auth_style = basic\n" };
    for (size_t i = 0; i < 2; i++) {
        WORLD(w);
        struct answer a = { 0 };
        static const struct reply replies[] = {
            { "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n"
              "Content-Length: 4\r\n\r\npage",
              false },
        };
        world_start(&w, &(struct world_options){ .answer = answer_and_end,
                                                 .arg = (void *)(uintptr_t)replies,
                                                 .settings = styles[i] });
        http_get(w.port, "/0", &a);
        assert_int_equal(a.status, 401);
        assert_string_equal(answer_header(&a, "WWW-Authenticate"), "Basic realm=\"x\"");
        for (size_t k = 0; k < peer_count(w.api, ""); k++) {
            const char *head = bytes_text(&peer_request(w.api, "", k)->head);
            assert_contains(head, "Authorization: Bearer " CANARY "-token-");
            assert_lacks(head, "Basic");
            assert_lacks(head, CLIENT_SECRET);
        }
        for (size_t k = 0; k < tokens_fetches(w.tokens); k++)
            assert_lacks(bytes_text(&peer_request(tokens_peer(w.tokens), "", k)->head),
                         "Bearer");
        answer_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_event_is_passed_on_before_the_next_one_is_sent),
        TEST(an_answer_that_breaks_anywhere_is_no_whole_one),
        TEST(an_answer_until_close_that_is_reset_under_an_upload_is_cut),
        TEST(an_answer_before_the_question_is_nobodys),
        TEST(a_head_without_end_costs_little),
        TEST(a_first_field_that_is_folded_finds_nothing_of_an_older_answer),
        TEST(a_head_that_drips_ends_at_the_deadline),
        TEST(each_interim_answer_starts_the_response_timeout_again),
        TEST(secret_and_token_keep_to_their_places),
    };
    return RUN_TESTS(tests);
}

/* Answers whose heads are too large for libmicrohttpd's pool: src/downstream/response.c
 * writes them itself, and the connection ends with them. Connection: close shows that this
 * way was used. */
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>

#include "harness.h"

#define FIELDS 150
#define MIB (1024 * 1024)
#define TOTAL (64 * MIB)

/* About 60 KB of fields. */
static char large[64000];

static void make_large(void)
{
    size_t n = 0;
    for (int i = 0; i < FIELDS; i++)
        n += (size_t)snprintf(large + n, sizeof large - n, "X-%d: %0390d\r\n", i, i);
}

static bool put_head(struct peer_conn *c, const char *status, const char *framing)
{
    return peer_puts(c, "HTTP/1.1 ") && peer_puts(c, status) && peer_puts(c, "\r\n") &&
           peer_puts(c, large) && peer_puts(c, framing) && peer_puts(c, "\r\n");
}

/* How many bytes of the long body have gone, and a MiB of it. */
static atomic_long moved;
static char piece[MIB];

static void put_long_body(struct peer_conn *c)
{
    for (int i = 0; i < TOTAL / MIB; i++) {
        piece[0] = (char)('0' + i);
        if (!peer_puts(c, "100000\r\n") || !peer_write(c, piece, MIB) || !peer_puts(c, "\r\n"))
            return;
        moved += MIB;
    }
    (void)peer_puts(c, "0\r\n\r\n");
}

/* Those that are cut wait here: an end that is known in time would be told with a 502. */
static struct gate cut;

static void answer_large(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    const char *what = r->target + strlen("/v0/");
    (void)arg;
    if (strcmp(what, "length") == 0 && put_head(c, "200 OK", "Content-Length: 5\r\n"))
        (void)peer_puts(c, "hello");
    else if (strcmp(what, "empty") == 0)
        (void)put_head(c, "404 Not Found", "Content-Length: 0\r\n");
    else if (strcmp(what, "head") == 0)
        (void)put_head(c, "200 OK", "Content-Length: 1234\r\n");
    else if (strcmp(what, "204") == 0)
        (void)put_head(c, "204 No Content", "");
    else if (strcmp(what, "304") == 0)
        (void)put_head(c, "304 Not Modified", "");
    else if (strcmp(what, "401") == 0)
        (void)put_head(c, "401 Unauthorized", "Content-Length: 0\r\n");
    else if (strcmp(what, "long") == 0 &&
             put_head(c, "200 OK", "Transfer-Encoding: chunked\r\n"))
        put_long_body(c);
    else if (strcmp(what, "small") == 0)
        (void)peer_answer(c, 200, NULL, "small");
    else if (strcmp(what, "cut") == 0 && put_head(c, "200 OK", "Content-Length: 9\r\n"))
        (void)peer_puts(c, "part");
    else if (strcmp(what, "cut/chunked") == 0 &&
             put_head(c, "200 OK", "Transfer-Encoding: chunked\r\n"))
        (void)peer_puts(c, "4\r\npart\r\n");
    if (strncmp(what, "cut", 3) == 0 && gate_pass(&cut, c))
        peer_close(c);
}

/* A caller that would go on with its connection, plain or by TLS. */
static void ask(struct world *w, bool tls, struct client *c, const char *line)
{
    char request[128];
    if (tls)
        assert_true(client_open_tls(c, w->port, NULL));
    else
        client_open(c, w->port);
    (void)snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: localhost\r\n\r\n", line);
    client_puts(c, request);
}

static void assert_large(const struct answer *a, int status)
{
    assert_int_equal(a->status, status);
    for (int i = 0; i < FIELDS; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "X-%d", i);
        assert_int_equal(strlen(answer_header(a, name)), 390);
    }
    assert_int_equal(answer_header_count(a, "X-Request-Id"), 1);
    assert_int_equal(answer_header_count(a, "Date"), 1);
    assert_true(answer_header_count(a, "Transfer-Encoding") +
                    answer_header_count(a, "Content-Length") <=
                1);
    assert_string_equal(answer_header(a, "Connection"), "close");
}

/* For callers in plain text, or by TLS. */
static void start(struct world *w, bool tls, const char *more)
{
    static struct cert_files files;
    char settings[512];
    moved = 0;
    if (tls)
        certs_write(&files, CERT_VALID);
    (void)snprintf(settings, sizeof settings, "%s%s%s%s%s%s",
                   tls ? "listen.tls_certificate = " : "", tls ? files.certificate : "",
                   tls ? "\nlisten.tls_key = " : "", tls ? files.key : "", tls ? "\n" : "",
                   more);
    world_start(w, &(struct world_options){ .answer = answer_large, .settings = settings });
}

static void an_answer_with_a_large_head_comes_whole_and_ends_the_connection(void **state)
{
    (void)state;
    static const struct {
        const char *line, *body;
        int status, length; /* -1: none is told */
    } cases[] = {
        { "GET /length", "hello", 200, 5 }, { "GET /empty", "", 404, 0 },
        { "HEAD /head", "", 200, 1234 },    { "GET /204", "", 204, -1 },
        { "GET /304", "", 304, -1 },
    };
    for (int tls = 0; tls < 2; tls++) {
        WORLD(w);
        start(&w, tls, "");
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct client c;
            struct answer a = { 0 };
            char line[64];
            ask(&w, tls, &c, cases[i].line);
            client_read(&c, &a, cases[i].line[0] == 'H', SOON_MS);
            assert_int_equal(a.end, ANSWER_WHOLE);
            assert_large(&a, cases[i].status);
            assert_int_equal(a.content_length, cases[i].length);
            assert_string_equal(bytes_text(&a.body), cases[i].body);
            /* nothing behind it, and an orderly end */
            assert_int_equal(c.in.len, 0);
            assert_int_equal(client_fill(&c, SOON_MS), 0);
            assert_false(c.reset);
            client_close(&c);
            (void)snprintf(line, sizeof line, "event=access status=%d bytes_out=%zu",
                           cases[i].status, strlen(cases[i].body));
            if (!proxy_log_wait(w.proxy, line, 1, SOON_MS))
                fail_msg("not logged: %s", line);
            ask(&w, tls, &c, "GET /small"); /* on the same connection upstream */
            client_read(&c, &a, false, SOON_MS);
            assert_string_equal(bytes_text(&a.body), "small");
            client_close(&c);
            answer_free(&a);
        }
        assert_int_equal(peer_connections(w.api), 1);
        assert_int_equal(proxy_log_count(w.proxy, "event=access aborted=caller"), 0);
    }
}

static void a_refusal_with_a_large_head_is_marked_as_the_upstreams(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    start(&w, false, "");
    http_get(w.port, "/401", &a);
    assert_large(&a, 401);
    assert_string_equal(answer_header(&a, "Proxy-Status"),
                        "oneshot-proxy; received-status=401");
    assert_int_equal(peer_count(w.api, ""), 2); /* once more with another token */
    answer_free(&a);
}

static void an_answer_cut_behind_a_large_head_is_cut_here_too(void **state)
{
    (void)state;
    static const char *const lines[] = { "GET /cut", "GET /cut/chunked" };
    gate_init(&cut);
    for (int tls = 0; tls < 2; tls++) {
        WORLD(w);
        start(&w, tls, "");
        for (size_t i = 0; i < 2; i++) {
            struct client c;
            struct answer a = { 0 };
            gate_shut(&cut);
            ask(&w, tls, &c, lines[i]);
            client_read_head(&c, &a, SOON_MS);
            assert_large(&a, 200);
            while (!bytes_contain(&c.in, "part"))
                assert_int_equal(client_fill(&c, SOON_MS), 1);
            gate_open(&cut);
            assert_int_equal(client_fill(&c, SOON_MS), 0);
            assert_false(bytes_contain(&c.in, "\r\n0\r\n")); /* the last chunk */
            assert_true(c.reset);
            assert_true(
                proxy_log_wait(w.proxy, "event=access aborted=upstream", i + 1, SOON_MS));
            client_close(&c);
            answer_free(&a);
        }
    }
}

static void an_answer_that_a_stop_cuts_behind_a_large_head_has_no_end(void **state)
{
    (void)state;
    gate_init(&cut);
    for (int tls = 0; tls < 2; tls++) {
        WORLD(w);
        struct client c;
        struct answer a = { 0 };
        gate_shut(&cut);
        start(&w, tls, "process.drain_timeout = 1s\n");
        ask(&w, tls, &c, "GET /cut/chunked");
        client_read_head(&c, &a, SOON_MS);
        while (!bytes_contain(&c.in, "part"))
            assert_int_equal(client_fill(&c, SOON_MS), 1);
        proxy_signal(w.proxy, SIGTERM);
        assert_int_equal(client_fill(&c, SOON_MS), 0);
        assert_true(c.reset);
        assert_false(bytes_contain(&c.in, "\r\n0\r\n")); /* the last chunk */
        gate_open(&cut);
        client_close(&c);
        answer_free(&a);
    }
}

/* Until the upstream gets rid of nothing more: all buffers in between are full. */
static void wait_for_standstill(void)
{
    int64_t deadline_ms = now_ms() + SOON_MS, quiet_ms = 0;
    for (long before = -1; now_ms() < deadline_ms && (quiet_ms == 0 || now_ms() < quiet_ms);) {
        if (moved != before)
            quiet_ms = now_ms() + 300;
        before = moved;
        (void)poll(NULL, 0, 10);
    }
}

static void a_long_body_behind_a_large_head_waits_for_a_slow_reader(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        WORLD(w);
        struct client c;
        struct answer a = { 0 };
        start(&w, tls, "");
        ask(&w, tls, &c, "GET /long");
        wait_for_standstill();
        assert_true(moved < TOTAL); /* the rest waits at the upstream */
        client_read(&c, &a, false, 2 * SOON_MS);
        assert_large(&a, 200);
        assert_int_equal(a.end, ANSWER_WHOLE);
        assert_true(a.chunked);
        assert_int_equal(a.body.len, TOTAL);
        for (int i = 0; i < TOTAL / MIB; i++) {
            assert_int_equal(a.body.data[(size_t)i * MIB], '0' + i);
            assert_memory_equal(a.body.data + (size_t)i * MIB + 1, piece + 1, MIB - 1);
        }
        assert_true(client_closed(&c, SOON_MS));
        assert_false(c.reset);
        client_close(&c);
        answer_free(&a);
    }
}

/* A caller of HTTP/1.0 knows no chunks: what it gets ends with the connection, and a cut
 * must be a reset. */
static void a_caller_of_http_1_0_gets_no_chunks_and_sees_a_cut_as_a_reset(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    gate_init(&cut);
    start(&w, false, "");
    client_open(&c, w.port);
    client_puts(&c, "GET /long HTTP/1.0\r\nHost: localhost\r\n\r\n");
    client_read(&c, &a, false, 2 * SOON_MS);
    assert_large(&a, 200);
    assert_int_equal(a.end, ANSWER_WHOLE);
    assert_int_equal(answer_header_count(&a, "Transfer-Encoding"), 0);
    assert_int_equal(a.body.len, TOTAL);
    client_close(&c);
    client_open(&c, w.port);
    client_puts(&c, "GET /cut/chunked HTTP/1.0\r\nHost: localhost\r\n\r\n");
    client_read_head(&c, &a, SOON_MS);
    while (!bytes_contain(&c.in, "part"))
        assert_int_equal(client_fill(&c, SOON_MS), 1);
    gate_open(&cut);
    assert_int_equal(client_fill(&c, SOON_MS), 0);
    assert_int_equal(c.in.len, strlen("part"));
    assert_true(c.reset);
    client_close(&c);
    answer_free(&a);
}

static void a_caller_that_leaves_behind_a_large_head_is_noticed(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        for (int orderly = 0; orderly < 2; orderly++) {
            WORLD(w);
            struct client c;
            struct answer a = { 0 };
            start(&w, tls, "");
            ask(&w, tls, &c, "GET /long");
            client_read_head(&c, &a, SOON_MS);
            assert_int_equal(a.status, 200);
            wait_for_standstill();
            if (orderly)
                client_close(&c);
            else
                client_reset(&c);
            assert_true(peer_wait_closed_to(w.api, 0, SOON_MS));
            assert_true(
                proxy_log_wait(w.proxy, "event=access status=200 aborted=caller", 1, SOON_MS));
            answer_free(&a);
        }
    }
}

int main(void)
{
    make_large();
    memset(piece, 'x', sizeof piece);
    const struct CMUnitTest tests[] = {
        TEST(an_answer_with_a_large_head_comes_whole_and_ends_the_connection),
        TEST(a_refusal_with_a_large_head_is_marked_as_the_upstreams),
        TEST(an_answer_cut_behind_a_large_head_is_cut_here_too),
        TEST(an_answer_that_a_stop_cuts_behind_a_large_head_has_no_end),
        TEST(a_long_body_behind_a_large_head_waits_for_a_slow_reader),
        TEST(a_caller_of_http_1_0_gets_no_chunks_and_sees_a_cut_as_a_reset),
        TEST(a_caller_that_leaves_behind_a_large_head_is_noticed),
    };
    return RUN_TESTS(tests);
}

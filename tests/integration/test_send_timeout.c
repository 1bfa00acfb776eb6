/* Callers that accept their answer slowly, or not at all (listen.send_timeout), for each way
 * in which an answer is given: through libmicrohttpd or, with a large head, without it; over
 * TCP, TLS and a unix socket; to HTTP/1.1 and to HTTP/1.0, where only the end of the
 * connection shows whether an answer is complete.
 *
 * The kernel's buffers on both sides of a caller's connection are small and of fixed size,
 * so that a small and constant amount fills them. */
#include <stdlib.h>
#include <unistd.h>

#include "harness.h"
#include "later.h"

#define KIB 1024L
/* Bytes: SO_SNDBUF there and SO_RCVBUF here, of which the kernel makes twice as much. */
#define BUFFER "8192"
#define TOTAL (2048 * KIB) /* far more than what lies between upstream and caller */

enum transport { BY_TCP, BY_TLS, BY_UNIX };

struct way {
    enum transport transport;
    bool raw, http_1_0;
};

/* The callers of a world, one for each way. By TCP a proxy has TLS or has not: two worlds. */
#define CALLERS_MAX 8
struct callers {
    struct way way[CALLERS_MAX];
    struct client client[CALLERS_MAX];
    size_t count;
};

static char large[40000], piece[64 * KIB];
static struct gate gate;

static void answer(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)arg;
    if (strcmp(r->target, "/v0/held") == 0) {
        (void)!(gate_pass(&gate, c) && peer_answer(c, 200, NULL, ""));
        return;
    }
    if (strncmp(r->target, "/v0/size/", 9) == 0) {
        long n = strtol(r->target + 9, NULL, 10);
        char head[96];

        (void)snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %ld\r\n\r\n", n);
        for (bool ok = peer_puts(c, head); ok && n > 0; n -= (long)sizeof piece)
            ok = peer_write(c, piece, n < (long)sizeof piece ? (size_t)n : sizeof piece);
        return;
    }
    if (strstr(r->target, "/long") == NULL) {
        (void)peer_answer(c, 200, NULL, "short");
        return;
    }
    bool raw = strstr(r->target, "raw") != NULL;

    if (!peer_puts(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n") ||
        (raw && !peer_puts(c, large)) || !peer_puts(c, "\r\n"))
        return;
    for (long sent = 0; sent < TOTAL; sent += (long)sizeof piece)
        if (!peer_puts(c, "10000\r\n") || !peer_write(c, piece, sizeof piece) ||
            !peer_puts(c, "\r\n"))
            return;
    (void)peer_puts(c, "0\r\n\r\n");
}

static char place[128];

/* `env`: of the program, NULL for the small buffers alone. */
static void start(struct world *w, bool tls, const char *more, const char *const *env)
{
    static const char *const small[] = { "LD_PRELOAD=" SEND_BUFFER, "SEND_BUFFER=" BUFFER,
                                         NULL };
    static struct cert_files files;
    char settings[1024], certificate[512] = "";

    if (tls) {
        certs_write(&files, CERT_VALID);
        (void)snprintf(certificate, sizeof certificate,
                       "listen.tls_certificate = %s\nlisten.tls_key = %s\n", files.certificate,
                       files.key);
    }
    gate_init(&gate);
    (void)snprintf(settings, sizeof settings,
                   "listen.address = 127.0.0.1:0, unix:%s\nadmin.address = 127.0.0.1:0\n%s%s",
                   place, certificate, more);
    world_start(w, &(struct world_options){ .answer = answer,
                                            .settings = settings,
                                            .env = env != NULL ? env : small });
}

/* A proxy whose clock the test puts ahead, see later.h; `env` is what lives as long as the
 * world. */
static void start_later(struct world *w, bool tls, const char *more, struct later *later)
{
    later_preload(later, SEND_BUFFER);
    later->env[2] = "SEND_BUFFER=" BUFFER;
    start(w, tls, more, later->env);
}

/* Sends the request of a caller that reads nothing yet. */
static void ask(const struct world *w, struct client *c, const struct way *way)
{
    char request[160];

    if (way->transport == BY_UNIX)
        client_open_unix(c, place);
    else if (way->transport == BY_TLS)
        assert_true(client_open_tls(c, w->port, NULL));
    else
        client_open(c, w->port);
    (void)snprintf(request, sizeof request,
                   "GET /long%s HTTP/1.%d\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                   way->raw ? "/raw" : "", way->http_1_0 ? 0 : 1);
    client_puts(c, request);
}

/* In each way of such a world. */
static void ask_all(const struct world *w, bool tls, struct callers *all)
{
    *all = (struct callers){ .count = tls ? 4 : 8 };
    for (size_t i = 0; i < all->count; i++) {
        all->way[i] = (struct way){ .transport = tls     ? BY_TLS
                                                 : i < 4 ? BY_TCP
                                                         : BY_UNIX,
                                    .raw = (i & 1) != 0,
                                    .http_1_0 = (i & 2) != 0 };
        ask(w, &all->client[i], &all->way[i]);
    }
}

static void close_all(struct callers *all)
{
    for (size_t i = 0; i < all->count; i++)
        client_close(&all->client[i]);
}

static void fail_way(const char *what, const struct way *way)
{
    fail_msg("%s: transport %d, raw %d, HTTP/1.%d", what, (int)way->transport, way->raw,
             !way->http_1_0);
}

/* Reads to the end; returns how much. `tail` gets the last bytes. */
static long read_rest(struct client *c, char tail[8])
{
    long n = 0;

    memset(tail, 0, 8);
    for (int rc; (rc = client_fill(c, SOON_MS)) != 0; bytes_clear(&c->in)) {
        assert_int_equal(rc, 1);
        n += (long)c->in.len;
        if (c->in.len >= 5)
            memcpy(tail, c->in.data + c->in.len - 5, 5);
    }
    return n;
}

/* Reads at least so much; returns how much. */
static long read_some(struct client *c, const struct way *way, long bytes)
{
    long n = 0;

    for (; n < bytes; bytes_clear(&c->in)) {
        if (client_fill(c, SOON_MS) != 1)
            fail_way("cut", way);
        n += (long)c->in.len;
    }
    return n;
}

/* So much later for the program, which notices it since it is asked something. */
static void pass(struct later *later, int ms)
{
    struct client c;
    struct answer a = { 0 };

    later_by(later, ms);
    client_open_unix(&c, place);
    client_call(&c, "GET", "/short", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    client_close(&c);
    answer_free(&a);
}

static void pauses(bool tls)
{
    WORLD(w);
    struct callers all;
    struct client held;
    char tail[8];

    start(&w, tls, "listen.idle_timeout = 3s\n", NULL);
    ask_all(&w, tls, &all);
    client_open_unix(&held, place);
    client_puts(&held, "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for (size_t i = 0; i < all.count; i++)
        assert_int_equal(client_fill(&all.client[i], SOON_MS), 1);
    /* libmicrohttpd counts in seconds, by a clock of its own; nobody answers this one */
    assert_int_equal(client_fill(&held, 5500), -1);
    assert_int_equal(proxy_log_count(w.proxy, "event=access"), 0);
    for (size_t i = 0; i < all.count; i++) {
        if (read_rest(&all.client[i], tail) < TOTAL || all.client[i].reset)
            fail_way("cut", &all.way[i]);
        if (!all.way[i].http_1_0)
            assert_memory_equal(tail + 3, "\r\n", 2);
    }
    assert_int_equal(proxy_log_count(w.proxy, "aborted=send_timeout"), 0);
    gate_open(&gate);
    close_all(&all);
    client_close(&held);
}

static void a_caller_that_pauses_for_longer_than_idle_timeout_gets_all_of_it(void **state)
{
    (void)state;
    pauses(false);
    pauses(true);
}

static void stalls(bool tls)
{
    WORLD(w);
    struct callers all;
    struct answer a = { 0 };
    char tail[8], counted[64];

    start(&w, tls, "listen.send_timeout = 400ms\n", NULL);
    ask_all(&w, tls, &all);
    if (!proxy_log_wait(w.proxy, "event=access status=200 aborted=send_timeout", all.count,
                        SOON_MS))
        fail_msg("not all are cut");
    assert_true(peer_wait_closed_to(w.api, 0, SOON_MS));
    for (size_t i = 0; i < all.count; i++) {
        bool whole = read_rest(&all.client[i], tail) >= TOTAL;

        if (whole || (all.way[i].transport != BY_UNIX && !all.client[i].reset))
            fail_way("not cut by a reset", &all.way[i]);
    }
    http_get(proxy_admin_port(w.proxy), "/metrics", &a);
    (void)snprintf(counted, sizeof counted, "\noneshot_proxy_send_timeouts_total %zu\n",
                   all.count);
    assert_contains(bytes_text(&a.body), counted);
    close_all(&all);
    answer_free(&a);
}

static void a_caller_that_takes_nothing_is_cut_by_a_reset(void **state)
{
    (void)state;
    stalls(false);
    stalls(true);
}

static void takes_little(bool tls)
{
    LATER(later);
    WORLD(w);
    struct callers all;

    start_later(&w, tls, "listen.send_timeout = 60s\nlisten.idle_timeout = 10s\n", &later);
    ask_all(&w, tls, &all);
    for (int passed_s = 0; passed_s < 150; passed_s += 15) {
        for (size_t i = 0; i < all.count; i++)
            (void)read_some(&all.client[i], &all.way[i], 64 * KIB);
        pass(&later, 15000);
    }
    assert_int_equal(proxy_log_count(w.proxy, "event=access aborted=send_timeout"), 0);
    close_all(&all);
}

static void a_caller_that_takes_a_little_each_time_is_not_cut(void **state)
{
    (void)state;
    takes_little(false);
    takes_little(true);
}

/* An answer of which the last bytes lie in the bridge between TLS and libmicrohttpd when
 * libmicrohttpd has done its part: it fills the buffers of the caller's connection, which
 * take at most 16 KiB each and the rest of a record of 16 KiB, and fits into the pair of
 * sockets behind them, which holds more than 128 KiB. */
static void the_end_of_an_answer_that_nobody_takes_is_cut_behind_tls_too(void **state)
{
    (void)state;
    const long size = 96 * KIB;
    const struct way way = { .transport = BY_TLS };
    LATER(later);
    WORLD(w);
    struct client idle, slow;
    char request[128], tail[8];
    long taken = 0;

    start_later(&w, true, "listen.send_timeout = 60s\n", &later);
    (void)snprintf(request, sizeof request,
                   "GET /size/%ld HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                   size);
    assert_true(client_open_tls(&idle, w.port, NULL));
    client_puts(&idle, request);
    assert_true(client_open_tls(&slow, w.port, NULL));
    client_puts(&slow, request);
    assert_true(
        proxy_log_wait(w.proxy, "event=access status=200 path=/size/98304", 2, SOON_MS));
    for (int passed_s = 0; passed_s < 150; passed_s += 25) {
        taken += read_some(&slow, &way, 4 * KIB);
        pass(&later, 25000);
    }
    assert_true(taken + read_rest(&slow, tail) > size);
    assert_false(slow.reset);
    /* What it took last may be acknowledged later than this gets here. */
    for (int64_t until_ms = now_ms() + SOON_MS;
         proxy_log_count(w.proxy, "event=send_timeout") == 0;) {
        assert_true(now_ms() < until_ms);
        pass(&later, 25000);
    }
    assert_true(read_rest(&idle, tail) < size);
    assert_true(idle.reset);
    assert_int_equal(proxy_log_count(w.proxy, "event=send_timeout"), 1);
    assert_int_equal(proxy_log_count(w.proxy, "aborted=send_timeout"), 0);
    client_close(&idle);
    client_close(&slow);
}

/* Between requests nothing is owed, and idle_timeout counts. */
static void a_caller_without_a_request_is_not_under_send_timeout(void **state)
{
    (void)state;
    LATER(later);
    WORLD(w);
    struct client c;
    struct answer a = { 0 };

    start_later(&w, false, "listen.send_timeout = 1s\nlisten.idle_timeout = 10m\n", &later);
    client_open(&c, w.port);
    for (int i = 0; i < 3; i++) {
        client_call(&c, "GET", "/short", NULL, NULL, &a);
        assert_int_equal(a.status, 200);
        pass(&later, 20000);
    }
    client_puts(&c, "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(peer_wait(w.api, "GET /v0/held", 1, SOON_MS));
    pass(&later, 20000); /* nor while it waits for us */
    gate_open(&gate);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    client_close(&c);
    answer_free(&a);
}

/* Answers of the proxy's own are answers, too: one after the other, none of them is read. */
static void who_asks_on_and_on_and_reads_nothing_is_cut(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    static char many[1024 * KIB];
    static const char call[] =
        "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    size_t n = 0;

    start(&w, false, "listen.send_timeout = 400ms\n", NULL);
    while (n + sizeof call < sizeof many) {
        memcpy(many + n, call, sizeof call - 1);
        n += sizeof call - 1;
    }
    client_open(&c, w.port);
    for (int i = 0; i < 64 && client_try_send(&c, many, n, 3000) == n; i++)
        ;
    assert_true(proxy_log_wait(w.proxy, "event=access aborted=send_timeout", 1, SOON_MS));
    client_close(&c);
}

int main(void)
{
    size_t n = 0;

    for (int i = 0; i < 90; i++)
        n += (size_t)snprintf(large + n, sizeof large - n, "X-%d: %0390d\r\n", i, i);
    memset(piece, 'x', sizeof piece);
    client_receive_buffer = (int)strtol(BUFFER, NULL, 10);
    (void)snprintf(place, sizeof place, "/tmp/send-timeout-%d.sock", (int)getpid());
    const struct CMUnitTest tests[] = {
        TEST(a_caller_that_pauses_for_longer_than_idle_timeout_gets_all_of_it),
        TEST(a_caller_that_takes_nothing_is_cut_by_a_reset),
        TEST(a_caller_that_takes_a_little_each_time_is_not_cut),
        TEST(the_end_of_an_answer_that_nobody_takes_is_cut_behind_tls_too),
        TEST(a_caller_without_a_request_is_not_under_send_timeout),
        TEST(who_asks_on_and_on_and_reads_nothing_is_cut),
    };
    return RUN_TESTS(tests);
}

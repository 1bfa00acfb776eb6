/* Callers who take their answer slowly, or not at all (listen.send_timeout), in each way that an
 * answer is given: through libmicrohttpd or, behind a large head, past it; by TCP, TLS and a unix
 * socket; to HTTP/1.1 and to HTTP/1.0, where nothing but the end of the connection says whether an
 * answer is whole. */
#include <stdlib.h>
#include <unistd.h>

#include "harness.h"

#define MIB (1024 * 1024)
#define TOTAL (48L * MIB) /* more than the kernel's buffers hold */

enum transport { BY_TCP, BY_TLS, BY_UNIX, TRANSPORTS };

struct way {
    enum transport transport;
    bool raw, http_1_0;
};

static char large[40000], piece[MIB];
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
        for (bool ok = peer_puts(c, head); ok && n > 0; n -= MIB)
            ok = peer_write(c, piece, n < MIB ? (size_t)n : MIB);
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
    for (long sent = 0; sent < TOTAL; sent += MIB)
        if (!peer_puts(c, "100000\r\n") || !peer_write(c, piece, MIB) || !peer_puts(c, "\r\n"))
            return;
    (void)peer_puts(c, "0\r\n\r\n");
}

static char place[128];

static void start(struct world *w, const char *more)
{
    static struct cert_files files;
    char settings[1024];

    certs_write(&files, CERT_VALID);
    gate_init(&gate);
    (void)snprintf(settings, sizeof settings,
                   "listen.address = 127.0.0.1:0, unix:%s\nlisten.tls_certificate = %s\n"
                   "listen.tls_key = %s\n%s",
                   place, files.certificate, files.key, more);
    world_start(w, &(struct world_options){ .answer = answer, .settings = settings });
}

static void start_plain(struct world *w, const char *more)
{
    gate_init(&gate);
    world_start(w, &(struct world_options){ .answer = answer, .settings = more });
}

/* Asks for the long answer and reads nothing. */
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

static void begin(struct world *w, const struct way *way, const char *settings)
{
    if (way->transport == BY_TCP)
        start_plain(w, settings);
    else
        start(w, settings);
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

static void each_way(void (*test)(const struct way *way))
{
    for (int transport = 0; transport < TRANSPORTS; transport++)
        for (int i = 0; i < 4; i++)
            test(&(struct way){ .transport = (enum transport)transport,
                                .raw = (i & 1) != 0,
                                .http_1_0 = (i & 2) != 0 });
}

/* Waits, without touching the connection under test: nobody answers this one. */
static void let_pass(struct client *held, int ms)
{
    assert_int_equal(client_fill(held, ms), -1);
}

static void hold(struct world *w, struct client *held, const struct way *way)
{
    if (way->transport == BY_TCP)
        client_open(held, w->port);
    else
        client_open_unix(held, place);
    client_puts(held, "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(peer_wait(w->api, "GET /v0/held", 1, SOON_MS));
}

static void pauses(const struct way *way)
{
    WORLD(w);
    struct client c, held;
    char tail[8];

    begin(&w, way, "listen.idle_timeout = 300ms\n");
    ask(&w, &c, way);
    hold(&w, &held, way);
    assert_int_equal(client_fill(&c, SOON_MS), 1);
    let_pass(&held, 2500);
    assert_int_equal(proxy_log_count(w.proxy, "event=access"), 0);
    if (read_rest(&c, tail) < TOTAL || c.reset)
        fail_msg("cut: transport %d, raw %d, HTTP/1.%d", (int)way->transport, way->raw,
                 !way->http_1_0);
    if (!way->http_1_0)
        assert_memory_equal(tail + 3, "\r\n", 2);
    assert_int_equal(proxy_log_count(w.proxy, "aborted=send_timeout"), 0);
    gate_open(&gate);
    client_close(&c);
    client_close(&held);
}

static void a_caller_that_pauses_for_longer_than_idle_timeout_gets_all_of_it(void **state)
{
    (void)state;
    each_way(pauses);
}

static void stalls(const struct way *way)
{
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    char tail[8];

    begin(&w, way, "listen.send_timeout = 400ms\nadmin.address = 127.0.0.1:0\n");
    ask(&w, &c, way);
    if (!proxy_log_wait(w.proxy, "event=access status=200 aborted=send_timeout", 1, SOON_MS))
        fail_msg("not cut: transport %d, raw %d, HTTP/1.%d", (int)way->transport, way->raw,
                 !way->http_1_0);
    assert_true(peer_wait_closed_to(w.api, 0, SOON_MS));
    assert_true(read_rest(&c, tail) < TOTAL);
    if (way->transport != BY_UNIX)
        assert_true(c.reset);
    http_get(proxy_admin_port(w.proxy), "/metrics", &a);
    assert_contains(bytes_text(&a.body), "\noneshot_proxy_send_timeouts_total 1\n");
    client_close(&c);
    answer_free(&a);
}

static void a_caller_that_takes_nothing_is_cut_by_a_reset(void **state)
{
    (void)state;
    each_way(stalls);
}

static void takes_little(const struct way *way)
{
    WORLD(w);
    struct client c, held;

    begin(&w, way, "listen.send_timeout = 1s\nlisten.idle_timeout = 300ms\n");
    ask(&w, &c, way);
    hold(&w, &held, way);
    for (int i = 0; i < 16; i++) {
        for (long n = 0; n < MIB; bytes_clear(&c.in)) {
            if (client_fill(&c, SOON_MS) != 1)
                fail_msg("cut: transport %d, raw %d, HTTP/1.%d", (int)way->transport, way->raw,
                         !way->http_1_0);
            n += (long)c.in.len;
        }
        let_pass(&held, 100);
    }
    assert_int_equal(proxy_log_count(w.proxy, "event=access"), 0);
    gate_open(&gate);
    client_close(&c);
    client_close(&held);
}

static void a_caller_that_takes_a_little_each_time_is_not_cut(void **state)
{
    (void)state;
    each_way(takes_little);
}

/* Asks for that much by TLS, reads nothing until the request is over and somebody was cut, and
 * returns whether it was over before. *taken: what was written on the way to the caller. */
static bool cut_behind_its_end(long size, long *taken)
{
    WORLD(w);
    struct client c;
    char request[128], text[32], tail[8];

    start(&w, "listen.send_timeout = 300ms\n");
    assert_true(client_open_tls(&c, w.port, NULL));
    (void)snprintf(request, sizeof request,
                   "GET /size/%ld HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                   size);
    client_puts(&c, request);
    assert_true(proxy_log_wait(w.proxy, "event=access status=200", 1, SOON_MS));
    bool whole = proxy_log_count(w.proxy, "aborted=send_timeout") == 0;
    bool cut = whole && proxy_log_wait(w.proxy, "event=send_timeout", 1, 1500);

    assert_true(proxy_log_field(w.proxy, "event=access", 0, "bytes_out", text, sizeof text));
    *taken = strtol(text, NULL, 10);
    long n = read_rest(&c, tail);

    assert_int_equal(c.reset, !whole || cut);
    if (!c.reset)
        assert_true(n > size);
    client_close(&c);
    return cut;
}

/* The last bytes of an answer by TLS lie in the bridge when libmicrohttpd has done its part. */
static void the_end_of_an_answer_that_nobody_takes_is_cut_behind_tls_too(void **state)
{
    (void)state;
    long most = 0, taken;
    bool found = cut_behind_its_end(TOTAL, &most);

    assert_false(found);
    for (int i = 0; i < 24 && !found; i++)
        found = cut_behind_its_end(most - i * 40000L, &taken);
    assert_true(found);
}

/* Between requests nothing is owed, and idle_timeout counts. */
static void a_caller_without_a_request_is_not_under_send_timeout(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };

    start_plain(&w, "listen.send_timeout = 200ms\nlisten.idle_timeout = 60s\n");
    client_open(&c, w.port);
    for (int i = 0; i < 3; i++) {
        client_call(&c, "GET", "/short", NULL, NULL, &a);
        assert_int_equal(a.status, 200);
        assert_int_equal(client_fill(&c, 900), -1);
    }
    client_puts(
        &c, "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n"); /* nor while it waits for us */
    assert_int_equal(client_fill(&c, 900), -1);
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
    static char many[MIB];
    static const char call[] =
        "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    size_t n = 0;

    start_plain(&w, "listen.send_timeout = 400ms\nadmin.address = 127.0.0.1:0\n");
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

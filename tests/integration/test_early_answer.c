/* An answer that comes before the request's body is complete: it is given at once, whatever
 * it is, and never replaced because of what the caller does later. The rest of the body is
 * still forwarded if the upstream wants it. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"
#include "later.h"
#include "store.h"

#define MIB (1024 * 1024)

/* What the upstream says as soon as it has the head, by the target. */
static const struct {
    const char *target, *text;
    int status;
} early[] = {
    { "/429",
      "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nwait",
      429 },
    { "/401", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno", 401 },
    { "/201", "HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\npaid", 201 },
    { "/last", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbye", 200 },
    { "/503",
      "HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: "
      "chunked\r\n\r\n2\r\nup\r\n0\r\n\r\n",
      503 },
};

static void serve_early(struct peer_conn *c, void *arg)
{
    (void)arg;
    const struct peer_request *r = peer_read_head(c);
    if (r == NULL)
        return;
    for (size_t i = 0; i < sizeof early / sizeof *early; i++)
        if (strcmp(r->target + strlen("/v0"), early[i].target) == 0)
            (void)peer_puts(c, early[i].text);
    peer_read_eof(c);
}

/* Sends all of it, whether or not the other side has said that it sends no more; returns how
 * much was taken. */
static size_t send_all(const struct client *c, size_t bytes)
{
    static const char piece[65536];
    struct pollfd p = { .fd = c->fd, .events = POLLOUT };
    size_t sent = 0;
    while (sent < bytes && poll(&p, 1, SOON_MS) > 0) {
        size_t n = bytes - sent < sizeof piece ? bytes - sent : sizeof piece;
        ssize_t taken = send(c->fd, piece, n, MSG_NOSIGNAL);
        if (taken < 0 && errno == EAGAIN)
            continue;
        if (taken < 0)
            break;
        sent += (size_t)taken;
    }
    return sent;
}

static void put_head(struct client *c, const char *target, const char *framing)
{
    char head[256];
    (void)snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", target,
                   framing);
    client_puts(c, head);
}

static void begin_upload(struct client *c, int port, const char *target, const char *framing)
{
    client_open(c, port);
    put_head(c, target, framing);
}

static void an_early_answer_comes_at_once_untouched_and_ends_the_connection(void **state)
{
    (void)state;
    WORLD(w);
    world_start(&w, &(struct world_options){ .serve = serve_early,
                                             .settings = "upstream.replay = none\n" });
    for (size_t i = 0; i < sizeof early / sizeof *early; i++) {
        struct client c;
        struct answer a = { 0 };
        const char *body = strrchr(early[i].text, '\n');
        begin_upload(&c, w.port, early[i].target, "Content-Length: 20971520\r\n");
        client_puts(&c, "the first of it");
        client_read(&c, &a, false, SOON_MS);
        assert_int_equal(a.status, early[i].status);
        assert_int_equal(a.end, ANSWER_WHOLE);
        assert_string_equal(answer_header(&a, "Connection"), "close");
        assert_int_equal(answer_header_count(&a, "X-Request-Id"), 1);
        if (early[i].status == 429)
            assert_string_equal(answer_header(&a, "Retry-After"), "7");
        if (early[i].status == 503)
            body = "\nup";
        assert_string_equal(bytes_text(&a.body), body + 1);
        client_close(&c);
        answer_free(&a);
    }
    assert_true(proxy_log_wait(w.proxy, "event=access", sizeof early / sizeof *early, SOON_MS));
    assert_int_equal(proxy_log_count(w.proxy, "event=access aborted=caller"), 0);
    for (size_t i = 0; i < sizeof early / sizeof *early; i++) {
        char line[64];
        (void)snprintf(line, sizeof line, "event=access status=%d", early[i].status);
        assert_int_equal(proxy_log_count(w.proxy, line), 1);
    }
}

/* The rest is read, so that the close is no reset that overtakes the answer; but not for
 * ever. */
static void
what_is_left_of_an_upload_that_nobody_wants_is_thrown_away_within_a_bound(void **state)
{
    (void)state;
    static const struct {
        size_t bytes;
        bool whole;
    } cases[] = { { 8 * MIB, true }, { 64 * MIB, false } };
    WORLD(w);
    world_start(&w, &(struct world_options){ .serve = serve_early });
    for (size_t i = 0; i < 2; i++) {
        struct client c;
        struct answer a = { 0 };
        char length[64];
        (void)snprintf(length, sizeof length, "Content-Length: %zu\r\n", cases[i].bytes);
        begin_upload(&c, w.port, "/429", length);
        size_t sent = send_all(&c, cases[i].bytes);
        if ((sent == cases[i].bytes) != cases[i].whole)
            fail_msg("%zu of %zu bytes were taken: %s", sent, cases[i].bytes, strerror(errno));
        client_read(&c, &a, false, SOON_MS);
        assert_int_equal(a.status, 429);
        assert_int_equal(a.end, ANSWER_WHOLE);
        assert_true(client_closed(&c, SOON_MS));
        client_close(&c);
        answer_free(&a);
    }
    assert_true(proxy_log_wait(w.proxy, "event=access status=429", 2, SOON_MS));
    assert_int_equal(proxy_log_count(w.proxy, "event=access stage=request"), 0);
}

static const char *error_of(int status)
{
    return status == 403 ? "http_request_denied" : "http_request_error";
}

/* The same for a refusal that is known from the head alone. */
static void
what_is_left_of_an_upload_that_is_refused_by_its_head_is_thrown_away_too(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        bool whole;
        int status;
    } cases[] = {
        { "Content-Length: 8388608\r\n", true, 413 },
        { "Content-Length: 67108864\r\n", false, 413 },
        { "Transfer-Encoding: chunked\r\nOrigin: http://other.example\r\n", true, 403 },
        { "Transfer-Encoding: chunked\r\nOrigin: http://other.example\r\n", false, 403 },
    };
    WORLD(w);
    world_start(&w, &(struct world_options){ .settings = "listen.max_body_size = 1k\n" });
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c;
        struct answer a = { 0 };
        size_t bytes = (cases[i].whole ? 8 : 64) * (size_t)MIB;
        begin_upload(&c, w.port, "/x", cases[i].fields);
        assert_int_equal(client_fill(&c, SOON_MS), 1); /* it is refused already */
        if (cases[i].status == 403)
            client_puts(&c, cases[i].whole ? "800000\r\n" : "4000000\r\n");
        size_t sent = send_all(&c, bytes);
        if ((sent == bytes) != cases[i].whole)
            fail_msg("%zu of %zu bytes were taken: %s", sent, bytes, strerror(errno));
        if (cases[i].status == 403 && cases[i].whole)
            client_puts(&c, "\r\n0\r\n\r\n");
        client_read(&c, &a, false, SOON_MS);
        assert_problem(&a, cases[i].status, "request", error_of(cases[i].status));
        assert_string_equal(answer_header(&a, "Connection"), "close");
        assert_true(client_closed(&c, SOON_MS));
        if (cases[i].whole)
            assert_false(c.reset);
        assert_true(proxy_log_wait(w.proxy, "event=access stage=request", i + 1, SOON_MS));
        client_close(&c);
        answer_free(&a);
    }
    assert_int_equal(proxy_log_count(w.proxy, "event=access aborted=caller"), 0);
    assert_int_equal(peer_count(w.api, ""), 0);
}

/* Nobody waits for what has come already, or will never come: the connections have ended
 * although their callers keep them open. */
static void a_refusal_waits_for_no_body_that_will_not_come(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *body;
        int status;
    } cases[] = {
        { "Expect: 100-continue\r\nContent-Length: 8388608\r\n", "", 413 },
        { "Expect: 100-continue\r\nOrigin: http://other.example\r\n"
          "Transfer-Encoding: chunked\r\n",
          "", 403 },
        { "Origin: http://other.example\r\nContent-Length: 5\r\n", "hello", 403 },
        { "Origin: http://other.example\r\nTransfer-Encoding: chunked\r\n",
          "5\r\nhello\r\n0\r\n\r\n", 403 },
    };
    WORLD(w);
    world_start(&w, &(struct world_options){ .settings = "listen.max_body_size = 1k\n"
                                                         "listen.body_timeout = 1h\n" });
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c;
        struct answer a = { 0 };
        struct bytes request = { 0 };
        bytes_addf(&request, "POST /x HTTP/1.1\r\nHost: localhost\r\n%s\r\n%s", cases[i].fields,
                   cases[i].body);
        client_open(&c, w.port);
        client_send(&c, request.data, request.len);
        client_read(&c, &a, false, SOON_MS);
        assert_problem(&a, cases[i].status, "request", error_of(cases[i].status));
        assert_int_equal(a.interim.len, 0); /* it was not asked for its body */
        assert_string_equal(answer_header(&a, "Connection"), "close");
        assert_true(client_closed(&c, SOON_MS));
        assert_true(proxy_log_wait(w.proxy, "event=access", i + 1, SOON_MS));
        client_close(&c);
        answer_free(&a);
        bytes_free(&request);
    }
}

/* They must not use up the descriptors: of those beyond a number nothing more is read. */
static void only_so_many_refused_uploads_are_waited_for(void **state)
{
    (void)state;
    enum { MOST = 64 }; /* in one worker */
    WORLD(w);
    struct client c[MOST + 1];
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = "process.workers = 1\n"
                                                         "listen.max_body_size = 1k\n"
                                                         "listen.body_timeout = 1h\n" });
    for (size_t i = 0; i <= MOST; i++) {
        begin_upload(&c[i], w.port, "/x", "Content-Length: 9999\r\n");
        client_read(&c[i], &a, false, SOON_MS);
        assert_int_equal(a.status, 413);
        if (i < MOST)
            assert_int_equal(proxy_log_count(w.proxy, "event=access"), 0);
    }
    assert_true(proxy_log_wait(w.proxy, "event=access", 1, SOON_MS));
    client_close(&c[MOST]);
    for (size_t i = 0; i < MOST;
         i++) { /* one by one: lines that come all at once are dropped */
        client_close(&c[i]);
        assert_true(proxy_log_wait(w.proxy, "event=access status=413", i + 2, SOON_MS));
    }
    begin_upload(&c[0], w.port, "/x", "Content-Length: 9999\r\n"); /* there is room again */
    client_read(&c[0], &a, false, SOON_MS);
    assert_int_equal(send_all(&c[0], 9999), 9999);
    assert_true(client_closed(&c[0], SOON_MS));
    assert_false(c[0].reset);
    client_close(&c[0]);
    answer_free(&a);
}

/* A body that is broken, or that a HEAD has, changes nothing of the refusal. */
static void a_refused_body_may_be_anything(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    client_open(&c, w.port);
    client_puts(&c, "POST /x HTTP/1.1\r\nHost: localhost\r\nOrigin: http://other.example\r\n"
                    "Transfer-Encoding: chunked\r\n\r\nthis is no chunk\r\n\r\n");
    client_read(&c, &a, false, SOON_MS);
    assert_problem(&a, 403, "request", error_of(403));
    assert_true(client_closed(&c, SOON_MS));
    client_close(&c);
    assert_true(proxy_log_wait(w.proxy, "event=access status=403", 1, SOON_MS));
    client_open(&c, w.port);
    client_puts(&c, "HEAD /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n");
    client_read(&c, &a, true, SOON_MS);
    assert_int_equal(a.status, 400);
    while (client_fill(&c, SOON_MS) == 1)
        ;
    assert_int_equal(c.in.len, 0);
    client_close(&c);
    answer_free(&a);
}

/* "/stream": a part of the answer, then the body is read, then the rest. "/whole": all of
 * it, and then the body is read. */
static void serve_upload(struct peer_conn *c, void *arg)
{
    (void)arg;
    for (struct peer_request *r; (r = peer_read_head(c)) != NULL;) {
        bool whole = strcmp(r->target, "/v0/whole") == 0;
        (void)peer_puts(c, whole ? "HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nearly"
                                 : "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                   "5\r\nfirst\r\n");
        if (!peer_read_body(c, r))
            return;
        if (!whole)
            (void)peer_puts(c, "4\r\nlast\r\n0\r\n\r\n");
    }
}

static void an_upload_goes_on_behind_an_answer_below_400(void **state)
{
    (void)state;
    static const char *const targets[] = { "/stream", "/whole" };
    WORLD(w);
    world_start(&w, &(struct world_options){ .serve = serve_upload,
                                             .settings = "upstream.idle_timeout = 20s\n" });
    for (int chunked = 0; chunked < 2; chunked++) {
        for (size_t i = 0; i < 2; i++) {
            struct client c;
            struct answer a = { 0 };
            bool stream = i == 0;
            begin_upload(&c, w.port, targets[i],
                         chunked ? "Transfer-Encoding: chunked\r\n" : "Content-Length: 10\r\n");
            client_puts(&c, chunked ? "5\r\nhello\r\n" : "hello");
            while (!bytes_contain(&c.in, stream ? "first" : "early"))
                assert_int_equal(client_fill(&c, SOON_MS), 1);
            client_puts(&c, chunked ? "5\r\nworld\r\n0\r\n\r\n" : "world");
            client_read(&c, &a, false, SOON_MS);
            assert_int_equal(a.status, stream ? 200 : 202);
            assert_int_equal(a.end, ANSWER_WHOLE);
            assert_string_equal(bytes_text(&a.body), stream ? "firstlast" : "early");
            assert_true(client_closed(&c, SOON_MS));
            client_close(&c);
            answer_free(&a);
        }
        assert_true(peer_wait_complete(w.api, "", 2 * (size_t)(chunked + 1), SOON_MS));
    }
    for (size_t i = 0; i < 4; i++) {
        const struct peer_request *r = peer_request(w.api, "", i);
        assert_memory_equal(r->body.data, "helloworld", 10);
        assert_int_equal(r->body.len, 10);
    }
    assert_true(proxy_log_wait(w.proxy, "event=access", 4, SOON_MS));
    assert_int_equal(proxy_log_count(w.proxy, "event=access aborted=caller"), 0);
}

/* A world that callers reach in all these ways. */
struct place {
    struct world w;
    char dir[64], path[96], settings[1024];
};

enum way { BY_TCP, BY_UNIX, BY_TLS, WAYS };
static const char *const way_names[] = { "TCP", "a unix socket", "TLS" };

static void place_open(struct place *p, enum way way, const struct world_options *options)
{
    struct world_options o = *options;
    struct cert_files files = { .serial = 0 };
    *p = (struct place){ .dir = "/tmp/oneshot-early-XXXXXX" };
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->path, sizeof p->path, "%s/proxy.sock", p->dir);
    int n = snprintf(p->settings, sizeof p->settings, "listen.address = 127.0.0.1:0, unix:%s\n",
                     p->path);
    if (way == BY_TLS) {
        certs_write(&files, CERT_VALID);
        (void)snprintf(p->settings + n, sizeof p->settings - (size_t)n,
                       "listen.tls_certificate = %s\nlisten.tls_key = %s\n", files.certificate,
                       files.key);
    }
    o.settings = p->settings;
    world_start(&p->w, &o);
}

static void place_close(struct place *p)
{
    world_end(&p->w);
    (void)unlink(p->path);
    assert_int_equal(rmdir(p->dir), 0);
}

static void open_to(struct client *c, const struct place *p, enum way way)
{
    if (way == BY_TLS)
        assert_true(client_open_tls(c, p->w.port, NULL));
    else if (way == BY_UNIX)
        client_open_unix(c, p->path);
    else
        client_open(c, p->w.port);
}

/* An upload of which the first five bytes are sent and the early answer is read. */
static void begin_behind_answer(struct client *c, const struct place *p, enum way way,
                                size_t bytes)
{
    char length[64];
    struct answer a = { 0 };
    (void)snprintf(length, sizeof length, "Content-Length: %zu\r\n", bytes);
    open_to(c, p, way);
    put_head(c, "/whole", length);
    client_puts(c, "hello");
    client_read(c, &a, false, SOON_MS);
    assert_int_equal(a.status, 202);
    assert_int_equal(a.end, ANSWER_WHOLE);
    answer_free(&a);
}

static void assert_upload_whole(struct place *p, enum way way, size_t bytes)
{
    if (!peer_wait_complete(p->w.api, "", 1, SOON_MS))
        fail_msg("by %s: the upload was cut", way_names[way]);
    assert_int_equal(peer_request(p->w.api, "", 0)->body.len, bytes);
    assert_true(proxy_log_wait(p->w.proxy, "event=access status=202", 1, SOON_MS));
    assert_int_equal(proxy_log_count(p->w.proxy, "event=access aborted=caller"), 0);
}

/* It has its answer and has sent everything: so it may close. The end of the connection is
 * there in the same moment as the last bytes. */
static void an_upload_is_whole_although_its_caller_closes_after_its_last_byte(void **state)
{
    (void)state;
    static const char rest[65536];
    for (enum way way = BY_TCP; way < WAYS; way++) {
        struct place p;
        struct client c;
        place_open(&p, way, &(struct world_options){ .serve = serve_upload });
        begin_behind_answer(&c, &p, way, 5 + sizeof rest);
        proxy_signal(p.w.proxy, SIGSTOP);
        client_send(&c, rest, sizeof rest);
        client_close(&c);
        proxy_signal(p.w.proxy, SIGCONT);
        assert_upload_whole(&p, way, 5 + sizeof rest);
        place_close(&p);
    }
}

static struct gate reading;

/* Answers, and reads the body only when the test says so. */
static void serve_slow_reader(struct peer_conn *c, void *arg)
{
    (void)arg;
    struct peer_request *r = peer_read_head(c);
    if (r != NULL && peer_puts(c, "HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nearly") &&
        gate_pass(&reading, c))
        (void)peer_read_body(c, r);
}

/* ... and then much of it may still be on its way: it is more than all buffers hold. */
static void what_a_closed_caller_has_sent_reaches_a_slow_upstream(void **state)
{
    (void)state;
    static const char rest[24 * MIB];
    for (enum way way = BY_TCP; way < WAYS; way++) {
        struct place p;
        struct client c;
        gate_init(&reading);
        place_open(&p, way, &(struct world_options){ .serve = serve_slow_reader });
        begin_behind_answer(&c, &p, way, 5 + sizeof rest);
        size_t sent = client_try_send(&c, rest, sizeof rest, 200); /* fills all buffers */
        gate_open(&reading);
        client_send(&c, rest + sent, sizeof rest - sent);
        client_close(&c);
        assert_upload_whole(&p, way, 5 + sizeof rest);
        place_close(&p);
    }
}

/* So small that an upload of 40 kB is in the proxy when it is complete. */
#define SMALL_BUFFER 4096
#define TOLD(n) #n
#define TEXT_OF(n) TOLD(n)

/* ... and the proxy sends it, although it has nothing to do for the caller any more. */
static void the_end_of_an_upload_is_sent_when_its_caller_is_served(void **state)
{
    (void)state;
    static const char *const small[] = { "LD_PRELOAD=" SEND_BUFFER,
                                         "CONNECT_BUFFER=" TEXT_OF(SMALL_BUFFER), NULL };
    static const char rest[40000];
    for (int at_once = 0; at_once < 2; at_once++) {
        struct place p;
        struct client c;
        struct answer a = { 0 };
        gate_init(&reading);
        place_open(&p, BY_TCP,
                   &(struct world_options){ .serve = serve_slow_reader,
                                            .env = small,
                                            .receive_buffer = SMALL_BUFFER });
        if (at_once) {
            begin_upload(&c, p.w.port, "/whole", "Content-Length: 40005\r\n");
            client_puts(&c, "hello");
            client_send(&c, rest, sizeof rest);
            client_read(&c, &a, false, SOON_MS);
            assert_int_equal(a.status, 202);
        } else {
            begin_behind_answer(&c, &p, BY_TCP, 5 + sizeof rest);
            client_send(&c, rest, sizeof rest);
            assert_true(client_closed(&c, SOON_MS));
        }
        client_close(&c);
        gate_open(&reading);
        assert_upload_whole(&p, BY_TCP, 5 + sizeof rest);
        place_close(&p);
        answer_free(&a);
    }
}

static struct gate answering;

static void serve_late_slow_reader(struct peer_conn *c, void *arg)
{
    (void)arg;
    struct peer_request *r = peer_read_head(c);
    if (r != NULL && gate_pass(&answering, c) &&
        peer_puts(c, "HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nearly") &&
        gate_pass(&reading, c))
        (void)peer_read_body(c, r);
}

static void wait_for_metric(const struct world *w, const char *line)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    struct answer a = { 0 };
    do
        http_get(proxy_admin_port(w->proxy), "/metrics", &a);
    while (strstr(bytes_text(&a.body), line) == NULL && ask_again(deadline_ms));
    assert_contains(bytes_text(&a.body), line);
    answer_free(&a);
}

/* Its retry is told of this answer, so what it was for has to arrive. */
static void the_end_of_an_upload_is_sent_when_its_caller_has_left_with_a_key(void **state)
{
    (void)state;
    static const char *const small[] = { "LD_PRELOAD=" SEND_BUFFER,
                                         "CONNECT_BUFFER=" TEXT_OF(SMALL_BUFFER), NULL };
    static const char rest[40000];
    for (int seen = 0; seen < 2; seen++) { /* that it has left, before the answer comes */
        STORE(store);
        WORLD(w);
        struct client c;
        gate_init(&answering);
        gate_init(&reading);
        store_make(&store, "admin.address = 127.0.0.1:0\n");
        world_start(&w, &(struct world_options){ .serve = serve_late_slow_reader,
                                                 .env = small,
                                                 .settings = store.settings,
                                                 .receive_buffer = SMALL_BUFFER });
        begin_upload(&c, w.port, PATH, KEY "Content-Length: 40005\r\n");
        client_puts(&c, "hello");
        client_send(&c, rest, sizeof rest);
        assert_true(gate_wait_arrived(&answering, 1, SOON_MS));
        client_close(&c);
        if (seen)
            wait_for_metric(&w, "oneshot_proxy_connections 0\n");
        gate_open(&answering);
        wait_for_metric(&w, "oneshot_proxy_ledger_outcomes_total{outcome=\"answered\"} 1\n");
        gate_open(&reading);
        if (!peer_wait_complete(w.api, "", 1, SOON_MS))
            fail_msg("the upload was cut");
        assert_int_equal(peer_request(w.api, "", 0)->body.len, 5 + sizeof rest);
        const char *line = seen ? "event=access status=499 aborted=caller outcome=answered"
                                : "event=access outcome=answered";
        assert_true(proxy_log_wait(w.proxy, line, 1, SOON_MS));
    }
}

static void serve_piece_by_piece(struct peer_conn *c, void *arg)
{
    (void)arg;
    char byte;
    if (peer_read_head(c) == NULL ||
        !peer_puts(c, "HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nearly"))
        return;
    while (peer_read(c, &byte, 1) == 1 && gate_pass(&reading, c))
        ;
}

static void an_upload_behind_an_answer_may_take_longer_than_body_timeout(void **state)
{
    (void)state;
    enum { PIECES = 8 };
    LATER(later);
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    gate_init(&reading);
    gate_open(&reading);
    world_start(&w, &(struct world_options){ .serve = serve_piece_by_piece,
                                             .env = later.env,
                                             .settings = "listen.body_timeout = 5m\n" });
    begin_upload(&c, w.port, "/x", "Content-Length: 8\r\n");
    for (size_t i = 1; i <= PIECES; i++) {
        client_puts(&c, "x");
        if (!gate_wait_arrived(&reading, i, SOON_MS))
            fail_msg("piece %zu did not arrive", i);
        if (i == 1)
            client_read(&c, &a, false, SOON_MS);
        later_by(&later, 120000);
    }
    assert_int_equal(a.status, 202);
    assert_true(client_closed(&c, SOON_MS));
    assert_true(proxy_log_wait(w.proxy, "event=access status=202 bytes_in=8", 1, SOON_MS));
    client_close(&c);
    answer_free(&a);
}

/* One that is never whole must not look whole to the upstream. */
static void an_upload_that_stalls_behind_an_answer_ends_within_body_timeout(void **state)
{
    (void)state;
    LATER(later);
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .serve = serve_upload,
                                             .env = later.env,
                                             .settings = "listen.body_timeout = 5m\n" });
    begin_upload(&c, w.port, "/whole", "Transfer-Encoding: chunked\r\n");
    client_puts(&c, "5\r\nhello\r\n");
    client_read(&c, &a, false, SOON_MS);
    assert_string_equal(bytes_text(&a.body), "early");
    assert_true(later_until_heard(&later, &c, 301000));
    assert_true(client_closed(&c, 0));
    assert_true(peer_wait_closed_to(w.api, 0, SOON_MS));
    assert_false(peer_request(w.api, "", 0)->complete);
    assert_true(proxy_log_wait(w.proxy, "event=access status=202", 1, SOON_MS));
    assert_int_equal(proxy_log_count(w.proxy, "event=access aborted=caller"), 0);
    client_close(&c);
    answer_free(&a);
}

/* --- answers of the proxy's own, before the body is whole --------------------------------- */

static void a_body_that_stalls_is_told_and_logged_as_what_it_is(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = "listen.body_timeout = 1s\n" });
    begin_upload(&c, w.port, "/x", "Content-Length: 10\r\n");
    client_puts(&c, "hello");
    client_read(&c, &a, false, SOON_MS);
    assert_problem(&a, 408, "request", "http_request_error");
    assert_int_equal(answer_header_count(&a, "X-Request-Id"), 1);
    assert_true(client_closed(&c, SOON_MS));
    assert_true(proxy_log_wait(w.proxy, "event=access status=408 stage=request", 1, SOON_MS));
    assert_int_equal(proxy_log_count(w.proxy, "event=access aborted=caller"), 0);
    client_close(&c);
    answer_free(&a);
}

static void the_body_of_what_is_answered_here_has_a_deadline_too(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n",
        ("OPTIONS /x HTTP/1.1\r\nHost: localhost\r\nMax-Forwards: 0\r\n"
         "Transfer-Encoding: chunked\r\n\r\n"),
        "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n",
    };
    WORLD(w);
    world_start(&w, &(struct world_options){ .settings = "listen.body_timeout = 1s\n" });
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct client c;
        struct answer a = { 0 };
        client_open(&c, w.port);
        client_puts(&c, heads[i]);
        client_read(&c, &a, false, SOON_MS);
        assert_problem(&a, 408, "request", "http_request_error");
        assert_true(client_closed(&c, SOON_MS));
        client_close(&c);
        answer_free(&a);
    }
}

/* Reads what comes and answers nothing: who knows what it has done. */
static void serve_silence(struct peer_conn *c, void *arg)
{
    (void)arg;
    if (peer_read_head(c) != NULL)
        peer_read_eof(c);
}

/* An upstream may act on a body whose end it has not seen. */
static void a_part_that_was_sent_is_never_told_as_retryable(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        const char *retryable;
    } cases[] = {
        { "POST /pay HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
          "7\r\n{\"a\":1}\r\n",
          "\"retryable\":false" },
        { "PUT /pay HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{\"a\":1}",
          "\"retryable\":false" },
        { "GET /chains HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{\"a\":1}",
          "\"retryable\":true" },
        { "GET /wallets/0b2f8c1e-7a44-4a53-9d5e-1f0a3c5b7d10/signature/erc3009 HTTP/1.1\r\n"
          "Host: localhost\r\nContent-Length: 99\r\n\r\n{\"a\":1}",
          "\"retryable\":false" },
    };
    LATER(later);
    WORLD(w);
    world_start(&w, &(struct world_options){ .serve = serve_silence,
                                             .env = later.env,
                                             .settings = "listen.body_timeout = 5m\n"
                                                         "upstream.response_timeout = 24h\n"
                                                         "classes.table = 1shot\n" });
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c;
        struct answer a = { 0 };
        bool retryable = strstr(cases[i].retryable, "true") != NULL;
        client_open(&c, w.port);
        client_puts(&c, cases[i].head);
        assert_true(peer_wait(w.api, "", i + 1, SOON_MS));
        assert_true(later_until_heard(&later, &c, 301000));
        client_read(&c, &a, false, SOON_MS);
        assert_problem(&a, 408, "request", "http_request_error");
        if (strstr(bytes_text(&a.body), cases[i].retryable) == NULL)
            fail_msg("%s", bytes_text(&a.body));
        if (!retryable)
            assert_problem_detail(&a, "outcome unknown");
        answer_free(&a);
        client_close(&c);
    }
}

static void a_head_that_is_never_whole_gets_a_name_too(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    char id[64];
    world_start(&w, &(struct world_options){ .settings = "listen.header_timeout = 1s\n" });
    client_open(&c, w.port);
    client_puts(&c, "GET /x HTTP/1.1\r\nHost: local");
    client_read(&c, &a, false, SOON_MS);
    assert_problem(&a, 408, "request", "http_request_error");
    assert_int_equal(strlen(answer_header(&a, "X-Request-Id")), 32);
    assert_true(proxy_log_wait(w.proxy, "event=access status=408", 1, SOON_MS));
    assert_true(proxy_log_field(w.proxy, "event=access", 0, "request_id", id, sizeof id));
    assert_string_equal(id, answer_header(&a, "X-Request-Id"));
    client_close(&c);
    answer_free(&a);
}

static void a_refusal_before_the_body_is_whole_has_all_its_fields(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .hold_tokens = true });
    begin_upload(&c, w.port, "/x", "Content-Length: 10\r\n");
    client_puts(&c, "hello");
    assert_true(tokens_wait(w.tokens, 1, SOON_MS));
    tokens_always(w.tokens, (struct token_answer){ .status = 401,
                                                   .body = "{\"error\":\"invalid_client\"}" });
    tokens_release(w.tokens);
    client_read(&c, &a, false, SOON_MS);
    assert_problem(&a, 401, "token", "proxy_configuration_error");
    assert_string_equal(answer_header(&a, "WWW-Authenticate"),
                        "Bearer realm=\"oneshot-proxy\"");
    assert_int_equal(answer_header_count(&a, "X-Request-Id"), 1);
    client_close(&c);
    answer_free(&a);
}

/* What is too much for the local token call is the caller's fault, and counted as such. */
static void a_body_that_is_too_large_to_throw_away_is_counted_as_the_callers(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    begin_upload(&c, w.port, "/token", "Content-Length: 33554432\r\n");
    (void)send_all(&c, 32 * MIB);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 413);
    assert_true(proxy_log_wait(w.proxy, "event=access status=413 stage=request", 1, SOON_MS));
    client_close(&c);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_early_answer_comes_at_once_untouched_and_ends_the_connection),
        TEST(what_is_left_of_an_upload_that_nobody_wants_is_thrown_away_within_a_bound),
        TEST(what_is_left_of_an_upload_that_is_refused_by_its_head_is_thrown_away_too),
        TEST(a_refusal_waits_for_no_body_that_will_not_come),
        TEST(only_so_many_refused_uploads_are_waited_for),
        TEST(a_refused_body_may_be_anything),
        TEST(an_upload_goes_on_behind_an_answer_below_400),
        TEST(an_upload_is_whole_although_its_caller_closes_after_its_last_byte),
        TEST(what_a_closed_caller_has_sent_reaches_a_slow_upstream),
        TEST(the_end_of_an_upload_is_sent_when_its_caller_is_served),
        TEST(the_end_of_an_upload_is_sent_when_its_caller_has_left_with_a_key),
        TEST(an_upload_behind_an_answer_may_take_longer_than_body_timeout),
        TEST(an_upload_that_stalls_behind_an_answer_ends_within_body_timeout),
        TEST(a_body_that_stalls_is_told_and_logged_as_what_it_is),
        TEST(the_body_of_what_is_answered_here_has_a_deadline_too),
        TEST(a_part_that_was_sent_is_never_told_as_retryable),
        TEST(a_head_that_is_never_whole_gets_a_name_too),
        TEST(a_refusal_before_the_body_is_whole_has_all_its_fields),
        TEST(a_body_that_is_too_large_to_throw_away_is_counted_as_the_callers),
    };
    return RUN_TESTS(tests);
}

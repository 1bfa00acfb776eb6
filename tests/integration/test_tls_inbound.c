/* Callers by TLS: every way of using it, right and wrong. */
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"
#include "later.h"

/* Settings for a certificate of that kind, and what a test adds. */
static const char *tls_settings(const char *more)
{
    static struct cert_files files;
    static char settings[1024];
    certs_write(&files, CERT_VALID);
    (void)snprintf(settings, sizeof settings,
                   "listen.tls_certificate = %s\nlisten.tls_key = %s\n%s", files.certificate,
                   files.key, more);
    return settings;
}

static void assert_served(int port)
{
    struct client c;
    struct answer a = { 0 };
    assert_true(client_open_tls(&c, port, NULL));
    client_call(&c, "GET", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    client_close(&c);
    answer_free(&a);
}

static void tls_1_2_and_1_3_are_spoken_and_nothing_older(void **state)
{
    (void)state;
    static const struct {
        struct client_tls options;
        bool spoken;
    } cases[] = {
        { { .version = TLS1_2_VERSION, .alpn = "http/1.1" }, true },
        { { .version = TLS1_3_VERSION, .alpn = "http/1.1" }, true },
        { { .version = TLS1_3_VERSION }, true },
        { { .alpn = "http/1.0" }, true },
        { { .alpn = "h2" }, false }, /* and told so, not answered in HTTP/1.1 */
        { { .version = TLS1_1_VERSION }, false },
        { { .version = TLS1_VERSION }, false },
    };
    WORLD(w);
    world_start(&w, &(struct world_options){ .settings = tls_settings("") });
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c;
        struct answer a = { 0 };
        if (client_open_tls(&c, w.port, &cases[i].options) != cases[i].spoken)
            fail_msg("case %zu: %s", i, cases[i].spoken ? "not spoken" : "spoken");
        if (cases[i].spoken) {
            const unsigned char *chosen = NULL;
            unsigned len = 0;
            SSL_get0_alpn_selected(c.ssl, &chosen, &len);
            size_t offered = cases[i].options.alpn ? strlen(cases[i].options.alpn) : 0;
            assert_int_equal(len, offered);
            for (int k = 0; k < 3; k++) {
                client_call(&c, "POST", "/x", NULL, "hello", &a);
                assert_int_equal(a.status, 200);
                assert_string_equal(bytes_text(&a.body), "hello");
            }
            assert_false(SSL_session_reused(c.ssl));
        }
        client_close(&c);
        answer_free(&a);
    }
    assert_true(proxy_log_wait(w.proxy, "event=tls_handshake_failed", 3, SOON_MS));
}

static void large_bodies_go_both_ways_on_many_connections(void **state)
{
    (void)state;
    enum { CLIENTS = 8 };
    WORLD(w);
    struct client c[CLIENTS];
    struct answer a = { 0 };
    struct bytes body = { 0 };
    world_start(&w,
                &(struct world_options){ .settings = tls_settings("process.workers = 2\n") });
    for (int i = 0; i < 100000; i++)
        bytes_addf(&body, "line %05d,", i); /* more than a megabyte, of no even size */
    for (size_t i = 0; i < CLIENTS; i++)
        assert_true(client_open_tls(&c[i], w.port, NULL));
    for (size_t i = 0; i < CLIENTS; i++) {
        client_call(&c[i], "POST", "/x", NULL, bytes_text(&body), &a);
        assert_int_equal(a.status, 200);
        assert_int_equal(a.body.len, body.len);
        assert_memory_equal(a.body.data, body.data, body.len);
    }
    /* a hundred requests in one go */
    for (int i = 0; i < 100; i++)
        client_puts(&c[0], "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for (int i = 0; i < 100; i++) {
        client_read(&c[0], &a, false, SOON_MS);
        assert_int_equal(a.status, 200);
    }
    for (size_t i = 0; i < CLIENTS; i++)
        client_close(&c[i]);
    bytes_free(&body);
    answer_free(&a);
}

static void run_client(const char *command, const char *expected)
{
    char line[128] = "";
    FILE *client = popen(command, "r");
    assert_non_null(client);
    bool spoke = fgets(line, sizeof line, client) != NULL;
    if (pclose(client) != 0 || !spoke || strcmp(line, expected) != 0)
        fail_msg("\"%s\" instead of \"%s\" from: %s", line, expected, command);
}

static void curl_and_node_are_served(void **state)
{
    (void)state;
    WORLD(w);
    char command[1024];
    world_start(&w, &(struct world_options){ .settings = tls_settings("") });
    (void)snprintf(command, sizeof command,
                   "curl -q -sS --noproxy '*' --cacert '%s' -d hello -w ' %%{http_code}' "
                   "https://localhost:%d/x",
                   certs_ca_file(), w.port);
    run_client(command, "hello 200");
    if (system("command -v node >/dev/null") != 0) {
        (void)fprintf(stderr, "SKIPPED the part with node: not installed\n");
    } else {
        (void)snprintf(command, sizeof command,
                       "node -e 'const r = require(\"https\").request({host: \"127.0.0.1\", "
                       "port: %d, path: \"/x\", method: \"POST\", family: 4, "
                       "ca: require(\"fs\").readFileSync(\"%s\")}, "
                       "a => a.on(\"data\", d => process.stdout.write(d + \" \" + "
                       "a.statusCode))); r.end(\"hello\")'",
                       w.port, certs_ca_file());
        run_client(command, "hello 200");
    }
}

static void who_does_not_speak_tls_is_closed_without_harm(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = tls_settings("") });
    /* plain HTTP can at least be told what is wrong */
    client_open(&c, w.port);
    client_puts(&c, "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read(&c, &a, false, SOON_MS);
    assert_problem(&a, 400, "request", "http_request_error");
    assert_problem_detail(&a, "https://");
    assert_true(client_closed(&c, SOON_MS));
    client_close(&c);
    static const char *const rubbish[] = { "\x16\x03\x01\xff\xff rubbish",
                                           "\x80\x80\x01\x03\x01",
                                           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "SSH-2.0-x\r\n",
                                           "\r\n\r\n\r\n\r\n" };
    for (size_t i = 0; i < sizeof rubbish / sizeof *rubbish; i++) {
        client_open(&c, w.port);
        client_puts(&c, rubbish[i]);
        (void)shutdown(c.fd, SHUT_WR);
        assert_true(client_closed(&c, SOON_MS));
        client_close(&c);
    }
    client_open(&c, w.port);
    client_reset(&c);
    assert_int_equal(peer_count(w.api, ""), 0);
    assert_served(w.port);
    answer_free(&a);
}

/* Ticks of CPU that a process has used. */
static long cpu_ticks(const struct proxy *p)
{
    char path[64], text[1024] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)proxy_pid(p));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    (void)close(fd);
    unsigned long user = 0, kernel = 0;
    const char *at = strrchr(text, ')');
    assert_non_null(at);
    assert_int_equal(
        sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel),
        2);
    return (long)(user + kernel);
}

static void a_handshake_has_a_deadline_and_costs_nothing_while_it_waits(void **state)
{
    (void)state;
    WORLD(w);
    struct client silent, dripping;
    struct world_options options = { .settings = tls_settings("listen.header_timeout = 1s\n") };
    world_start(&w, &options);
    long before = cpu_ticks(w.proxy);
    client_open(&silent, w.port);
    client_open(&dripping, w.port);
    client_puts(&dripping, "\x16\x03\x01\x01\x00\x01");
    int64_t until_ms = now_ms() + SOON_MS;
    while (client_fill(&dripping, 50) < 0) {
        assert_true(now_ms() < until_ms);
        (void)client_try_send(&dripping, "", 1, 10);
    }
    assert_true(client_closed(&dripping, SOON_MS));
    assert_true(client_closed(&silent, SOON_MS));
    /* a loop that never sleeps would have used up a second */
    assert_true(cpu_ticks(w.proxy) - before < sysconf(_SC_CLK_TCK) / 2);
    assert_true(proxy_log_wait(w.proxy, "event=tls_handshake_failed", 2, SOON_MS));
    assert_true(proxy_log_contains(w.proxy, "the handshake took too long"));
    client_close(&silent);
    client_close(&dripping);
    options.settings = tls_settings("listen.header_timeout = 1m\n");
    world_reload(&w, &options, "reloaded");
    assert_served(w.port);
}

static void what_is_too_slow_behind_the_handshake_is_told_so(void **state)
{
    (void)state;
    LATER(later);
    WORLD(w);
    struct client fresh, used, body, silent;
    struct answer a = { 0 };
    world_start(
        &w, &(struct world_options){ .env = later.env,
                                     .settings = tls_settings("listen.header_timeout = 1m\n"
                                                              "listen.body_timeout = 1m\n"
                                                              "listen.idle_timeout = 24h\n") });
    assert_true(client_open_tls(&silent, w.port, NULL));
    assert_true(client_open_tls(&body, w.port, NULL));
    client_puts(&body, "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx");
    assert_true(peer_wait(w.api, "POST", 1, SOON_MS)); /* all handshakes so far are over */
    assert_served(w.port);
    assert_true(later_until_heard(&later, &body, 61000));
    client_read(&body, &a, false, SOON_MS);
    assert_problem(&a, 408, "request", "http_request_error");
    assert_true(client_closed(&body, SOON_MS));
    assert_false(body.reset); /* an end, with close_notify */
    struct client *const dripping[] = { &fresh, &used };
    for (size_t i = 0; i < 2; i++) {
        assert_true(client_open_tls(dripping[i], w.port, NULL));
        for (int turns = 0; turns < 2; turns++)
            assert_served(w.port); /* so its handshake is over */
        if (dripping[i] == &used) {
            client_call(&used, "GET", "/x", NULL, NULL, &a);
            assert_int_equal(a.status, 200);
        }
        client_puts(dripping[i], "GE");
        int64_t until_ms = now_ms() + SOON_MS;
        while (client_fill(dripping[i], 50) < 0) {
            assert_true(now_ms() < until_ms);
            (void)client_try_send(dripping[i], "T", 1, 10);
            later_by(&later, 10000);
        }
        client_read(dripping[i], &a, false, SOON_MS);
        assert_problem(&a, 408, "request", "http_request_error");
        assert_true(client_closed(dripping[i], SOON_MS));
        assert_false(dripping[i]->reset);
        client_close(dripping[i]);
    }
    /* nothing at all is an idle connection, and no error */
    assert_true(later_until_heard(&later, &silent, 25 * 3600 * 1000));
    client_read(&silent, &a, false, SOON_MS);
    assert_int_equal(a.end, ANSWER_NONE);
    assert_false(silent.reset);
    client_close(&silent);
    client_close(&body);
    answer_free(&a);
}

static void the_limits_on_head_and_connections_hold(void **state)
{
    (void)state;
    WORLD(w);
    struct client in[4], out;
    struct answer a = { 0 };
    struct bytes field = { 0 };
    world_start(&w, &(struct world_options){
                        .settings = tls_settings("listen.max_connections = 4\n"
                                                 "listen.max_header_size = 4k\n") });
    for (size_t i = 0; i < 4; i++) {
        assert_true(client_open_tls(&in[i], w.port, NULL));
        client_call(&in[i], "GET", "/x", NULL, NULL, &a);
        assert_int_equal(a.status, 200);
    }
    for (int i = 0; i < 3; i++) {
        assert_true(client_open_tls(&out, w.port, NULL));
        client_call(&out, "GET", "/x", NULL, NULL, &a);
        assert_problem(&a, 503, "proxy", "connection_limit_reached");
        assert_true(client_closed(&out, SOON_MS));
        client_close(&out);
    }
    /* handshakes count: those that never end take places too, until they are closed */
    client_close(&in[0]);
    client_open(&in[0], w.port);
    int64_t deadline_ms = now_ms() + SOON_MS;
    assert_true(client_open_tls(&out, w.port, NULL));
    client_call(&out, "GET", "/x", NULL, NULL, &a);
    while (a.status == 200 && now_ms() < deadline_ms) { /* accepted after it, by and by */
        client_close(&out);
        assert_true(client_open_tls(&out, w.port, NULL));
        client_call(&out, "GET", "/x", NULL, NULL, &a);
    }
    assert_problem(&a, 503, "proxy", "connection_limit_reached");
    client_close(&out);
    client_close(&in[0]);
    bytes_add_str(&field, "X-Long: ");
    bytes_fill(&field, 'x', 5000);
    bytes_add_str(&field, "\r\n");
    client_call(&in[1], "GET", "/x", bytes_text(&field), NULL, &a);
    assert_problem(&a, 431, "request", "http_request_error");
    client_puts(&in[2], "GET /x HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n"); /* accounting */
    client_read(&in[2], &a, false, SOON_MS);
    assert_int_equal(a.status, 400);
    for (size_t i = 1; i < 4; i++)
        client_close(&in[i]);
    bytes_free(&field);
    answer_free(&a);
}

/* An answer without a length: only the end of the connection tells that it was whole. */
static void serve_unframed(struct peer_conn *c, void *arg)
{
    const struct peer_request *r = peer_read_request(c);
    if (r == NULL)
        return;
    if (strstr(r->target, "cut") == NULL) {
        (void)peer_puts(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello");
        return;
    }
    (void)peer_puts(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    (void)gate_pass(arg, c);
    peer_reset(c);
}

static void only_a_whole_answer_ends_with_close_notify(void **state)
{
    (void)state;
    static struct gate gate;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    gate_init(&gate);
    world_start(&w, &(struct world_options){
                        .serve = serve_unframed, .arg = &gate, .settings = tls_settings("") });
    assert_true(client_open_tls(&c, w.port, NULL));
    client_puts(&c, "GET /whole HTTP/1.0\r\nHost: localhost\r\n\r\n");
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.end, ANSWER_WHOLE);
    assert_string_equal(bytes_text(&a.body), "hello");
    assert_true(client_closed(&c, SOON_MS));
    assert_false(c.reset);
    client_close(&c);
    assert_true(client_open_tls(&c, w.port, NULL));
    client_puts(&c, "GET /cut HTTP/1.0\r\nHost: localhost\r\n\r\n");
    client_read_head(&c, &a, SOON_MS);
    assert_int_equal(a.status, 200);
    while (!bytes_contain(&c.in, "hello"))
        assert_int_equal(client_fill(&c, SOON_MS), 1);
    gate_open(&gate);
    assert_true(client_closed(&c, SOON_MS));
    assert_true(c.reset);
    client_close(&c);
    answer_free(&a);
}

/* OpenSSL handles a KeyUpdate and goes on to the next record by itself. */
static void key_updates_without_end_are_not_read(void **state)
{
    (void)state;
    WORLD(w);
    struct client flood, other;
    struct answer a = { 0 };
    world_start(&w,
                &(struct world_options){ .settings = tls_settings("process.workers = 1\n") });
    assert_true(client_open_tls(&flood, w.port, NULL));
    client_call(&flood, "GET", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    assert_true(client_open_tls(&other, w.port, NULL));
    client_call(&other, "GET", "/x", NULL, NULL, &a);
    proxy_signal(w.proxy, SIGSTOP); /* so all of it is there before it is looked at */
    for (int i = 0; i < 2000; i++)
        if (SSL_key_update(flood.ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1 ||
            SSL_do_handshake(flood.ssl) != 1)
            break; /* the socket is full */
    client_puts(&other, "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    proxy_signal(w.proxy, SIGCONT);
    client_read(&other, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_true(client_closed(&flood, SOON_MS));
    assert_true(flood.reset);
    assert_true(proxy_log_wait(w.proxy, "event=tls_broken", 1, SOON_MS));
    assert_true(proxy_log_contains(w.proxy, "too many records in a row without data"));
    client_close(&flood);
    client_close(&other);
    answer_free(&a);
}

/* Answers before it has read the body; "/wanted": with a success, and then reads it. */
static void serve_early(struct peer_conn *c, void *arg)
{
    (void)arg;
    struct peer_request *r = peer_read_head(c);
    if (r == NULL)
        return;
    bool wanted = strcmp(r->target, "/v0/wanted") == 0;
    (void)peer_puts(c, wanted ? "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n"
                                "5\r\nearly\r\n0\r\n\r\n"
                              : "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 5\r\n\r\n"
                                "early");
    if (wanted)
        (void)peer_read_body(c, r);
    peer_read_eof(c);
}

/* The caller is told by close_notify that there will be no more, and may send on, for as long as
 * over plain TCP. */
static void an_upload_goes_on_behind_the_end_of_an_early_answer(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        size_t bytes;
        int status;
    } cases[] = {
        { "POST /429 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4194304\r\n\r\n", 4194304,
          429 },
        { "POST /wanted HTTP/1.0\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n", 100000,
          202 },
    };
    static const char rest[4194304];
    LATER(later);
    WORLD(w);
    world_start(
        &w, &(struct world_options){ .serve = serve_early,
                                     .env = later.env,
                                     .settings = tls_settings("listen.body_timeout = 5m\n") });
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c;
        struct answer a = { 0 };
        assert_true(client_open_tls(&c, w.port, NULL));
        client_puts(&c, cases[i].head);
        client_send(&c, rest, 1000);
        client_read(&c, &a, false, SOON_MS);
        assert_int_equal(a.status, cases[i].status);
        assert_int_equal(a.end, ANSWER_WHOLE);
        assert_string_equal(bytes_text(&a.body), "early");
        assert_true(client_closed(&c, SOON_MS));
        assert_false(c.reset);
        later_by(&later, 20000);
        assert_int_equal(client_try_send(&c, rest, cases[i].bytes - 1000, SOON_MS),
                         cases[i].bytes - 1000);
        assert_true(proxy_log_wait(w.proxy, "event=access", i + 1, SOON_MS));
        client_close(&c);
        answer_free(&a);
    }
    assert_true(peer_wait_complete(w.api, " /v0/wanted", 1, SOON_MS));
    assert_int_equal(peer_request(w.api, " /v0/wanted", 0)->body.len, 100000);
    assert_int_equal(proxy_log_count(w.proxy, "event=access aborted=caller"), 0);
    assert_int_equal(proxy_log_count(w.proxy, "event=tls_broken"), 0);
}

static void serve_held(struct peer_conn *c, void *arg)
{
    struct gate *gate = arg;
    while (peer_read_request(c) != NULL)
        if (!gate_pass(gate, c) || !peer_answer(c, 200, NULL, "{}"))
            return;
}

static void a_caller_that_leaves_ends_its_request(void **state)
{
    (void)state;
    static struct gate gate;
    for (int reset = 0; reset < 2; reset++) {
        WORLD(w);
        struct client c;
        gate_init(&gate);
        world_start(&w, &(struct world_options){
                            .serve = serve_held, .arg = &gate, .settings = tls_settings("") });
        assert_true(client_open_tls(&c, w.port, NULL));
        client_puts(&c, "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
        assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
        if (reset)
            client_reset(&c);
        else
            client_close(&c);
        assert_true(proxy_log_wait(w.proxy, "event=access path=/x", 1, SOON_MS));
        gate_open(&gate);
        assert_served(w.port);
    }
}

static void a_drain_finishes_what_runs(void **state)
{
    (void)state;
    static struct gate gate;
    WORLD(w);
    struct client busy, idle, shaking;
    struct answer a = { 0 };
    gate_init(&gate);
    world_start(&w, &(struct world_options){
                        .serve = serve_held, .arg = &gate, .settings = tls_settings("") });
    assert_true(client_open_tls(&busy, w.port, NULL));
    client_puts(&busy, "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    assert_true(client_open_tls(&idle, w.port, NULL));
    client_open(&shaking, w.port);
    proxy_signal(w.proxy, SIGTERM);
    assert_true(client_closed(&idle, SOON_MS));
    assert_false(idle.reset);
    assert_true(client_closed(&shaking, SOON_MS)); /* it has not begun */
    client_close(&shaking);
    gate_open(&gate);
    client_read(&busy, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_header(&a, "Connection"), "close");
    assert_true(client_closed(&busy, SOON_MS));
    assert_false(busy.reset);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    client_close(&busy);
    client_close(&idle);
    answer_free(&a);
}

static void a_unix_socket_beside_it_stays_plain(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    char path[64], settings[512];
    (void)snprintf(path, sizeof path, "/tmp/oneshot-tls-%d.sock", (int)getpid());
    (void)snprintf(settings, sizeof settings, "listen.address = 127.0.0.1:0, unix:%s\n", path);
    world_start(&w, &(struct world_options){ .settings = tls_settings(settings) });
    client_open_unix(&c, path);
    client_call(&c, "GET", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    client_close(&c);
    assert_served(w.port);
    answer_free(&a);
}

static bool is_in_memory(const struct proxy *p, const char *needle, bool *readable)
{
    char path[64], line[512];
    (void)snprintf(path, sizeof path, "/proc/%d/maps", (int)proxy_pid(p));
    FILE *maps = fopen(path, "re");
    (void)snprintf(path, sizeof path, "/proc/%d/mem", (int)proxy_pid(p));
    int mem = open(path, O_RDONLY | O_CLOEXEC);
    bool found = false;
    *readable = false;
    while (maps != NULL && mem >= 0 && fgets(line, sizeof line, maps) != NULL) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx rw", &from, &to) != 2 || strstr(line, " rw") == NULL ||
            to - from > 256UL << 20)
            continue;
        char *copy = malloc(to - from);
        assert_non_null(copy);
        ssize_t n = pread(mem, copy, to - from, (off_t)from);
        *readable |= n > 0;
        found |= n > 0 && memmem(copy, (size_t)n, needle, strlen(needle)) != NULL;
        free(copy);
    }
    if (maps != NULL)
        (void)fclose(maps);
    if (mem >= 0)
        (void)close(mem);
    return found;
}

static void the_key_file_is_not_left_in_memory(void **state)
{
    (void)state;
    WORLD(w);
    struct cert_files f = { .serial = 0 };
    char settings[512], line[128] = "";
    bool readable = false;
    certs_write(&f, CERT_VALID);
    (void)snprintf(settings, sizeof settings,
                   "listen.tls_certificate = %s\nlisten.tls_key = %s\n", f.certificate, f.key);
    world_start(&w, &(struct world_options){ .settings = settings });
    assert_served(w.port);
    world_reload(&w, &(struct world_options){ .settings = settings }, "reloaded");
    FILE *key = fopen(f.key, "re");
    assert_non_null(key);
    assert_non_null(fgets(line, sizeof line, key)); /* -----BEGIN */
    assert_non_null(fgets(line, sizeof line, key));
    (void)fclose(key);
    line[strcspn(line, "\n")] = '\0';
    assert_true(strlen(line) > 40);
    bool found = is_in_memory(w.proxy, line, &readable);
    if (!readable)
        (void)fprintf(stderr, "SKIPPED: the memory cannot be read here\n");
    assert_false(found);
}

static void session_keys_are_not_written_out(void **state)
{
    (void)state;
    WORLD(w);
    char path[64], variable[96];
    (void)snprintf(path, sizeof path, "/tmp/oneshot-keys-%d", (int)getpid());
    (void)snprintf(variable, sizeof variable, "SSLKEYLOGFILE=%s", path);
    const char *env[] = { variable, NULL };
    world_start(&w, &(struct world_options){ .settings = tls_settings(""), .env = env });
    assert_served(w.port);
    world_end(&w);
    assert_int_not_equal(access(path, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tls_1_2_and_1_3_are_spoken_and_nothing_older),
        TEST(large_bodies_go_both_ways_on_many_connections),
        TEST(curl_and_node_are_served),
        TEST(who_does_not_speak_tls_is_closed_without_harm),
        TEST(a_handshake_has_a_deadline_and_costs_nothing_while_it_waits),
        TEST(what_is_too_slow_behind_the_handshake_is_told_so),
        TEST(the_limits_on_head_and_connections_hold),
        TEST(only_a_whole_answer_ends_with_close_notify),
        TEST(key_updates_without_end_are_not_read),
        TEST(an_upload_goes_on_behind_the_end_of_an_early_answer),
        TEST(a_caller_that_leaves_ends_its_request),
        TEST(a_drain_finishes_what_runs),
        TEST(a_unix_socket_beside_it_stays_plain),
        TEST(the_key_file_is_not_left_in_memory),
        TEST(session_keys_are_not_written_out),
    };
    return RUN_TESTS(tests);
}

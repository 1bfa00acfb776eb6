/* The admin listener: what probes get, who may ask, and that nobody can block it. Rows:
 * tests/hostile/README.md. */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "harness.h"
#include "hold.h"
#include "later.h"

#define ADMIN "admin.address = 127.0.0.1:0\n"

static void start(struct world *w, const char *settings)
{
    world_start(w, &(struct world_options){ .settings = settings });
}

static int status_of(int port, const char *path)
{
    struct answer a = { 0 };
    http_get(port, path, &a);
    int status = a.status;
    answer_free(&a);
    return status;
}

/* Asks until that status comes; the answer is the last one. */
static void await_status(int port, const char *path, int status, struct answer *a)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    do
        http_get(port, path, a);
    while (a->status != status && now_ms() < deadline_ms);
    if (a->status != status)
        fail_msg("%s stays %d: %s", path, a->status, bytes_text(&a->body));
}

static void it_says_where_it_listens_and_that_all_is_well(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char value[64];
    start(&w, ADMIN "process.workers = 2\n");
    int admin = proxy_admin_port(w.proxy);
    assert_true(admin > 0 && admin != w.port);
    http_get(admin, "/healthz", &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_header(&a, "Content-Type"), "application/json");
    assert_string_equal(answer_header(&a, "Cache-Control"), "no-store");
    assert_contains(bytes_text(&a.body),
                    "\"status\":\"ok\",\"workers\":2,\"stuck_workers\":[]");
    await_status(admin, "/readyz?verbose", 200, &a);
    json_member(&a.body, "reason", value, sizeof value);
    assert_string_equal(value, "ready");
    json_member(&a.body, "expires_in_seconds", value, sizeof value);
    assert_true(strtol(value, NULL, 10) > 3500 && strtol(value, NULL, 10) <= 3600);
    assert_lacks(bytes_text(&a.body), CANARY);
    answer_free(&a);
}

/* While there is no token yet the program runs, is alive, and says that it is not ready; with
 * the token it is ready. (row 79) */
static void it_is_not_ready_before_the_first_token(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = ADMIN, .hold_tokens = true });
    int admin = proxy_admin_port(w.proxy);
    http_get(admin, "/readyz", &a);
    assert_int_equal(a.status, 503);
    assert_contains(bytes_text(&a.body),
                    "\"status\":\"not_ready\",\"reason\":\"token_pending\"");
    assert_contains(bytes_text(&a.body), "\"expires_in_seconds\":null");
    assert_int_equal(status_of(admin, "/healthz"), 200);
    tokens_release(w.tokens);
    await_status(admin, "/readyz", 200, &a);
    answer_free(&a);
}

static void a_refused_secret_is_told_with_its_stage(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char value[64];
    world_start(&w, &(struct world_options){ .settings = ADMIN, .no_proxy = true });
    tokens_always(w.tokens, (struct token_answer){ .status = 401, .body = CANARY });
    world_proxy(&w, &(struct world_options){ .settings = ADMIN, .hold_tokens = true });
    assert_true(proxy_log_wait(w.proxy, "event=token_fetch_failed", 1, SOON_MS));
    http_get(proxy_admin_port(w.proxy), "/readyz", &a);
    assert_int_equal(a.status, 503);
    static const char *const members[][2] = { { "reason", "token_failing" },
                                              { "stage", "token" },
                                              { "error", "token-refused" },
                                              { "received_status", "401" },
                                              { "consecutive_failures", "1" } };
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        json_member(&a.body, members[i][0], value, sizeof value);
        assert_string_equal(value, members[i][1]);
    }
    assert_contains(bytes_text(&a.body), "check token.client_id");
    assert_lacks(bytes_text(&a.body), CANARY);
    answer_free(&a);
}

/* Asks until the answer holds this; it is the last one. */
static void await_words(int port, const char *path, const char *words, struct answer *a)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    do
        http_get(port, path, a);
    while (!bytes_contain(&a->body, words) && now_ms() < deadline_ms);
    assert_contains(bytes_text(&a->body), words);
}

static void a_token_that_ran_out_makes_it_not_ready_and_the_next_one_ready(void **state)
{
    (void)state;
    LATER(later);
    WORLD(w);
    struct answer a = { 0 };
    const char *settings = ADMIN "token.retry_min = 50ms\ntoken.retry_max = 100ms\n";
    world_start(&w, &(struct world_options){ .settings = settings, .env = later.env });
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained generation=1", 1, SOON_MS));
    tokens_always(w.tokens, (struct token_answer){ .status = 503 });
    int admin = proxy_admin_port(w.proxy);
    await_status(admin, "/readyz", 200, &a);
    later_by(&later, 3600 * 1000);
    await_words(admin, "/readyz", "\"error\":\"token-unavailable\"", &a);
    assert_int_equal(a.status, 503);
    assert_true(proxy_log_wait(w.proxy, "event=token_expired generation=1", 1, SOON_MS));
    tokens_always(w.tokens, (struct token_answer){ 0 });
    await_status(admin, "/readyz", 200, &a);
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained generation=2", 1, SOON_MS));
    answer_free(&a);
}

static void answer_held(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    if (strncmp(r->target, "/v0/held", 8) != 0 || gate_pass(arg, c))
        api_echo(c, r, NULL);
}

static void draining_it_is_alive_and_not_ready(void **state)
{
    (void)state;
    WORLD(w);
    static struct gate gate;
    struct client c;
    struct answer a = { 0 };
    gate_init(&gate);
    world_start(
        &w, &(struct world_options){ .answer = answer_held, .arg = &gate, .settings = ADMIN });
    int admin = proxy_admin_port(w.proxy);
    client_open(&c, w.port);
    client_puts(&c, "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    assert_int_equal(status_of(admin, "/readyz"), 200);
    proxy_signal(w.proxy, SIGTERM);
    assert_true(proxy_log_wait(w.proxy, "event=draining", 1, SOON_MS));
    http_get(admin, "/readyz", &a);
    assert_int_equal(a.status, 503);
    assert_contains(bytes_text(&a.body), "\"reason\":\"draining\"");
    assert_int_equal(status_of(admin, "/healthz"), 200);
    gate_open(&gate);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    client_close(&c);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    answer_free(&a);
}

static double age_of(const struct answer *metrics, int worker)
{
    char line[96];
    (void)snprintf(line, sizeof line, "oneshot_proxy_worker_turn_age_seconds{worker=\"%d\"} ",
                   worker);
    const char *at = strstr(bytes_text(&metrics->body), line);
    assert_non_null(at);
    return strtod(at + strlen(line), NULL);
}

/* The control thread wakes up with the request, the workers when their wait is over. */
static void after_a_suspend_no_worker_is_taken_for_stuck(void **state)
{
    (void)state;
    LATER(later);
    WORLD(w);
    world_start(&w, &(struct world_options){ .settings = ADMIN "process.workers = 4\n",
                                             .env = later.env });
    int admin = proxy_admin_port(w.proxy);
    for (int i = 0; i < 10; i++) {
        later_by(&later, 10000);
        assert_int_equal(status_of(admin, "/healthz"), 200);
    }
}

/* The worker really hangs, in the kernel, while it accepts a caller. */
static void a_stuck_worker_is_named_while_control_answers(void **state)
{
    (void)state;
    WORLD(w);
    struct client c, silent, slow;
    struct answer a = { 0 };
    char expected[128];
    const char *why = "", *seconds;
    bool can = hold_begin(&why);
    start(&w, ADMIN "process.workers = 2\n");
    if (!can || !hold_attach(&why)) {
        world_end(&w);
        print_message("no thread can be held here: %s\n", why);
        skip();
    }
    int admin = proxy_admin_port(w.proxy);
    await_status(admin, "/readyz", 200, &a);

    /* Meanwhile two who would keep a connection for good: both must be rid of. */
    client_open(&silent, admin);
    client_open(&slow, admin);
    client_puts(&slow, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");

    hold_next();
    client_open(&c, w.port);
    client_puts(&c, "GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    int worker = hold_worker(SOON_MS);
    assert_true(worker == 0 || worker == 1);
    int64_t deadline_ms = now_ms() + SOON_MS;
    do {
        (void)client_try_send(&slow, "x", 1, 0);
        http_get(admin, "/healthz", &a);
    } while (a.status == 200 && now_ms() < deadline_ms);
    assert_int_equal(a.status, 503);
    (void)snprintf(
        expected, sizeof expected,
        "{\"status\":\"stuck\",\"workers\":2,\"stuck_workers\":[{\"worker\":%d,\"seconds\":",
        worker);
    assert_contains(bytes_text(&a.body), expected);
    seconds = strstr(bytes_text(&a.body), expected) + strlen(expected);
    assert_in_range(strtol(seconds, NULL, 10), 5, SOON_MS / 1000);
    assert_contains(seconds, "}]");
    assert_int_equal(status_of(admin, "/readyz"), 200);
    http_get(admin, "/metrics", &a);
    assert_contains(bytes_text(&a.body), "\noneshot_proxy_workers_stuck 1\n");
    assert_true(age_of(&a, worker) > 5);
    assert_true(age_of(&a, 1 - worker) < age_of(&a, worker));
    assert_true(client_closed(&silent, SOON_MS));
    assert_true(client_closed(&slow, SOON_MS));

    hold_release();
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    await_status(admin, "/healthz", 200, &a);
    client_close(&c);
    client_close(&silent);
    client_close(&slow);
    answer_free(&a);
    world_end(&w);
    hold_end();
}

static void it_is_asked_by_get_and_head_only(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    start(&w, ADMIN);
    int admin = proxy_admin_port(w.proxy);
    static const char *const methods[] = {
        "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"
    };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        http_call(admin, methods[i], "/metrics", NULL, i == 0 ? "x=" CANARY : NULL, &a);
        assert_int_equal(a.status, 405);
        assert_string_equal(answer_header(&a, "Allow"), "GET, HEAD");
        assert_string_equal(answer_header(&a, "Content-Type"), "application/problem+json");
        assert_lacks(bytes_text(&a.body), CANARY);
    }
    http_get(admin, "/healthz", &a);
    int64_t length = a.content_length;
    struct client c;
    client_open(&c, admin);
    client_puts(&c, "HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read(&c, &a, true, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.content_length, length);
    assert_true(client_closed(&c, SOON_MS));
    assert_int_equal(c.in.len, 0);
    client_close(&c);
    answer_free(&a);
}

static void an_unknown_path_is_404_and_repeats_nothing(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    start(&w, ADMIN);
    int admin = proxy_admin_port(w.proxy);
    static const char *const paths[] = {
        "/" CANARY,           "/metrics/",  "//metrics", "/readyz/../metrics",
        "/healthz%00" CANARY, "/%68ealthz", "*",         "http://localhost/metrics"
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        http_call(admin, "GET", paths[i], "X-Secret: " CANARY "\r\n", NULL, &a);
        if (a.status != 404 && a.status != 400)
            fail_msg("%s: %d", paths[i], a.status);
        assert_lacks(bytes_text(&a.head), CANARY);
        assert_lacks(bytes_text(&a.body), CANARY);
    }
    http_get(admin, "/nothing", &a);
    assert_int_equal(a.status, 404);
    assert_string_equal(answer_header(&a, "Content-Type"), "application/problem+json");
    assert_contains(bytes_text(&a.body), "urn:oneshot-proxy:not-found");
    assert_contains(bytes_text(&a.body), "/healthz /readyz /metrics");
    assert_false(proxy_log_contains(w.proxy, CANARY));
    answer_free(&a);
}

static int status_with_host(int port, const char *host)
{
    char request[256];
    struct answer a = { 0 };
    (void)snprintf(request, sizeof request,
                   "GET /metrics HTTP/1.1\r\n%s%s%sConnection: close\r\n\r\n",
                   host ? "Host: " : "", host ? host : "", host ? "\r\n" : "");
    http_raw(port, request, &a);
    int status = a.status;
    answer_free(&a);
    return status;
}

static void write_ini(struct world *w, const char *settings)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/oneshot-proxy.ini", proxy_dir(w->proxy));
    char base[128], token[128];
    (void)snprintf(base, sizeof base, "%s/v0", peer_url(w->api));
    (void)snprintf(token, sizeof token, "%s/v0/token", peer_url(tokens_peer(w->tokens)));
    struct bytes ini = world_ini(base, token, settings);
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_int_equal(write(fd, bytes_text(&ini), ini.len), (ssize_t)ini.len);
    (void)close(fd);
    bytes_free(&ini);
}

static void a_rebound_name_gets_nothing(void **state)
{
    (void)state;
    WORLD(w);
    static const char *const env[] = { "LD_PRELOAD=" NAMES, NULL };
    world_start(&w,
                &(struct world_options){ .env = env,
                                         .settings = "admin.address = localhost:0\n"
                                                     "listen.allowed_hosts = gateway.example, "
                                                     "other:81\n" });
    int admin = proxy_admin_port(w.proxy);
    static const char *const fine[] = {
        "localhost",    "LOCALHOST:1234",       "127.0.0.1",  "127.0.0.1:9090",
        "[::1]:9090",   "10.42.0.17",           "10.1.2.3:9", "[fd00::1234]:9090",
        "192.168.0.10", "gateway.example:9090",
    };
    static const char *const bad[] = {
        "evil.example",           "evil.example:9090", "127.0.0.1.evil.example",
        "localhost.evil.example", "2130706433",        "0x7f.1",
        "gateway.example.",       "user@localhost",    "localhost:9090@evil",
        "127.0.0.1, evil",        "xn--localhost",
    };
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        if (status_with_host(admin, fine[i]) != 200)
            fail_msg("%s: %d", fine[i], status_with_host(admin, fine[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (status_with_host(admin, bad[i]) != 421)
            fail_msg("%s: %d", bad[i], status_with_host(admin, bad[i]));
    assert_int_not_equal(status_with_host(admin, ""), 200);
    assert_int_equal(status_with_host(admin, NULL), 400);
    assert_int_equal(status_with_host(admin, "localhost\r\nHost: localhost"), 400);
    struct answer a = { 0 };
    http_raw(admin, "GET /healthz HTTP/1.0\r\n\r\n", &a);
    assert_int_equal(a.status, 200);
    answer_free(&a);
}

static void a_reload_changes_its_hosts_and_not_its_address(void **state)
{
    (void)state;
    WORLD(w);
    char keys[128];
    start(&w, ADMIN);
    int admin = proxy_admin_port(w.proxy);
    assert_int_equal(status_with_host(admin, "gateway.example"), 421);
    write_ini(&w, "admin.address = off\nlisten.allowed_hosts = gateway.example\n");
    proxy_signal(w.proxy, SIGHUP);
    assert_true(proxy_log_wait(w.proxy, "event=reloaded", 1, SOON_MS));
    assert_true(proxy_log_field(w.proxy, "event=restart_needed", 0, "keys", keys, sizeof keys));
    assert_string_equal(keys, "admin.address");
    assert_int_equal(status_with_host(admin, "gateway.example"), 200);
}

/* Callers above the limit of connections leave the health probes answered. (row 68) */
static void connections_held_open_keep_no_probe_out(void **state)
{
    (void)state;
    enum { HELD = 300 };
    WORLD(w);
    static struct client c[HELD];
    size_t closed = 0;
    start(&w, ADMIN);
    int admin = proxy_admin_port(w.proxy);
    for (size_t i = 0; i < HELD; i++) {
        client_open(&c[i], admin);
        if (i % 3 == 1)
            client_puts(&c[i], "GET /metr");
        if (i % 3 == 2)
            client_puts(&c[i], "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99");
        if (i % 50 == 49)
            assert_int_equal(status_of(admin, "/healthz"), 200);
    }
    for (size_t i = 0; i < HELD - 65; i++)
        closed += client_closed(&c[i], SOON_MS);
    assert_int_equal(closed, HELD - 65);
    for (size_t i = 0; i < HELD; i++)
        client_close(&c[i]);
    assert_int_equal(status_of(admin, "/healthz"), 200);
}

static void what_is_too_large_or_nonsense_ends_the_connection_only(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    start(&w, ADMIN);
    int admin = proxy_admin_port(w.proxy);
    struct bytes head = { 0 };
    bytes_add_str(&head, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Large: ");
    bytes_fill(&head, 'x', 1 << 20);
    static const char garbage[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n\r\n";
    struct {
        const char *bytes;
        size_t len;
    } sent[] = {
        { bytes_text(&head), head.len },
        { garbage, sizeof garbage - 1 },
        { "GET\r\n\r\n", 7 },
        { "\r\n\r\n\r\n\r\n", 8 },
        { "GET /metrics HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffff",
          75 },
    };
    for (size_t i = 0; i < sizeof sent / sizeof *sent; i++) {
        client_open(&c, admin);
        (void)client_try_send(&c, sent[i].bytes, sent[i].len, SOON_MS);
        if (i == 3)
            client_puts(&c, "\r\n:\r\n\r\n");
        assert_true(client_closed(&c, SOON_MS));
        client_close(&c);
        assert_int_equal(status_of(admin, "/healthz"), 200);
    }
    /* Two requests in one go: one answer, then the end. */
    struct answer a = { 0 };
    client_open(&c, admin);
    client_puts(&c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
                    "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_header(&a, "Connection"), "close");
    assert_true(client_closed(&c, SOON_MS));
    assert_int_equal(c.in.len, 0);
    client_close(&c);
    answer_free(&a);
    bytes_free(&head);
}

static void callers_go_on_while_it_is_hammered(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    start(&w, ADMIN);
    struct crowd *crowd =
        crowd_start(proxy_admin_port(w.proxy), 60,
                    "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    for (int i = 0; i < 20; i++) {
        http_get(w.port, "/x", &a);
        assert_int_equal(a.status, 200);
    }
    assert_true(crowd_finish(crowd, SOON_MS));
    assert_int_equal(crowd_count(crowd, 200), 60);
    assert_int_equal(crowd_containing(crowd, "oneshot_proxy_reloads_total"), 60);
    crowd_free(crowd);
    answer_free(&a);
}

static void off_is_off(void **state)
{
    (void)state;
    WORLD(w);
    char admin[32];
    start(&w, NULL);
    assert_true(proxy_log_field(w.proxy, "event=ready", 0, "admin", admin, sizeof admin));
    assert_string_equal(admin, "off");
}

static void an_address_that_is_taken_ends_the_start_with_its_key(void **state)
{
    (void)state;
    WORLD(w);
    char settings[64], detail[256];
    world_start(&w, &(struct world_options){ .no_proxy = true });
    (void)snprintf(settings, sizeof settings, "admin.address = 127.0.0.1:%d\n",
                   peer_port(w.api));
    struct bytes ini = world_ini("http://127.0.0.1:1/v0", "http://127.0.0.1:1/t", settings);
    struct proxy *p = proxy_start(bytes_text(&ini), &(struct proxy_options){ .no_wait = true });
    assert_int_equal(proxy_wait_exit(p, SOON_MS), 1);
    assert_true(proxy_log_field(p, "event=start_failed", 0, "detail", detail, sizeof detail));
    assert_contains(detail, "admin.address: ");
    assert_contains(detail, "Address already in use");
    bytes_free(&ini);
    proxy_free(p);
}

static void an_open_address_is_warned_of_once(void **state)
{
    (void)state;
    WORLD(w);
    char detail[256];
    start(&w, "admin.address = 0.0.0.0:0\n");
    assert_int_equal(proxy_log_count(w.proxy, "event=config_warning"), 1);
    assert_true(
        proxy_log_field(w.proxy, "event=config_warning", 0, "detail", detail, sizeof detail));
    assert_contains(detail, "admin.address");
    assert_int_equal(status_with_host(proxy_admin_port(w.proxy), "10.0.0.7:9090"), 200);
}

int main(int argc, char **argv)
{
    hold_main(argc, argv);
    const struct CMUnitTest tests[] = {
        TEST(it_says_where_it_listens_and_that_all_is_well),
        TEST(it_is_not_ready_before_the_first_token),
        TEST(a_refused_secret_is_told_with_its_stage),
        TEST(a_token_that_ran_out_makes_it_not_ready_and_the_next_one_ready),
        TEST(draining_it_is_alive_and_not_ready),
        TEST(after_a_suspend_no_worker_is_taken_for_stuck),
        TEST(a_stuck_worker_is_named_while_control_answers),
        TEST(it_is_asked_by_get_and_head_only),
        TEST(an_unknown_path_is_404_and_repeats_nothing),
        TEST(a_rebound_name_gets_nothing),
        TEST(a_reload_changes_its_hosts_and_not_its_address),
        TEST(connections_held_open_keep_no_probe_out),
        TEST(what_is_too_large_or_nonsense_ends_the_connection_only),
        TEST(callers_go_on_while_it_is_hammered),
        TEST(off_is_off),
        TEST(an_address_that_is_taken_ends_the_start_with_its_key),
        TEST(an_open_address_is_warned_of_once),
    };
    return RUN_TESTS(tests);
}

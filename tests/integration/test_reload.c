/* SIGHUP: good settings apply to new requests, bad ones change nothing, and both are logged.
 * Rows: tests/hostile/README.md. */
#include <signal.h>
#include <unistd.h>

#include "hammer.h"
#include "harness.h"

/* The other upstream has a port of its own here, which the sandbox would bar. */
#define OTHER_PORTS "process.sandbox = off\n"

static void post(int port, const char *body, struct answer *a)
{
    http_call(port, "POST", "/x", NULL, body, a);
}

/* Returns when the workers have the settings: the control thread has sent them before it reads
 * any again. */
static void reload(struct world *w, const struct world_options *options)
{
    for (int i = 0; i < 2; i++)
        world_reload(w, options, "reloaded");
}

static void good_settings_apply_to_new_requests(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    struct world_options options = { 0 };
    world_start(&w, &options);
    post(w.port, "twelve bytes", &a);
    assert_int_equal(a.status, 200);
    options.settings = "listen.max_body_size = 5\nlog.access = no\n";
    reload(&w, &options);
    assert_true(proxy_log_contains(w.proxy, "changed=\"listen.max_body_size, log.access\""));
    post(w.port, "twelve bytes", &a);
    assert_problem(&a, 413, "request", "http_request_error");
    options.settings = NULL;
    reload(&w, &options);
    post(w.port, "twelve bytes", &a);
    assert_int_equal(a.status, 200);
    assert_true(proxy_log_wait(w.proxy, "event=access status=200", 2, SOON_MS));
    assert_int_equal(proxy_log_count(w.proxy, "event=access"), 2); /* not the 413 */
    assert_int_equal(tokens_fetches(w.tokens), 1);
    answer_free(&a);
}

/* SIGHUP with a settings file that is wrong: the old settings stay, and every error is told.
 * (row 76) */
static void a_bad_file_changes_nothing_and_says_every_error_with_its_line(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    struct world_options options = { 0 };
    char path[160];
    world_start(&w, &options);
    (void)snprintf(path, sizeof path, "%s/oneshot-proxy.ini", proxy_dir(w.proxy));
    write_file(path, "[listen]\nmax_body_size = 5\nmax_headres = 9\n[token]\nclient_id = x\n"
                     "client_secret = " CANARY "-other\n[log]\nlevel = loud\n");
    proxy_signal(w.proxy, SIGHUP);
    assert_true(proxy_log_wait(w.proxy, "event=reload_refused level=error", 2, SOON_MS));
    char line[200];
    (void)snprintf(line, sizeof line, "detail=\"%s:3: unknown key \\\"max_headres\\\"", path);
    assert_true(proxy_log_contains(w.proxy, line));
    assert_true(proxy_log_contains(w.proxy, "did you mean max_headers?"));
    (void)snprintf(line, sizeof line, "detail=\"%s:8: log.level: ", path);
    assert_true(proxy_log_contains(w.proxy, line));
    assert_false(proxy_log_contains(w.proxy, CANARY));
    post(w.port, "twelve bytes", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(unlink(path), 0);
    proxy_signal(w.proxy, SIGHUP);
    assert_true(proxy_log_wait(w.proxy, "event=reload_refused level=error", 3, SOON_MS));
    post(w.port, "twelve bytes", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(tokens_fetches(w.tokens), 1);
    assert_int_equal(proxy_log_count(w.proxy, "event=reloaded"), 0);
    world_reload(&w, &options, "reloaded"); /* mended */
    answer_free(&a);
}

/* SIGHUP with an empty secret, or a CA file that cannot be read: the old settings stay.
 * (row 76) */
static void files_that_are_not_fit_refuse_a_reload(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char path[160];
    struct bytes settings = { 0 };
    struct world_options options = { 0 };
    world_start(&w, &options);
    (void)snprintf(path, sizeof path, "%s/secret", proxy_dir(w.proxy));
    write_file(path, "");
    bytes_addf(&settings, "-token.client_secret\ntoken.client_secret_file = %s\n", path);
    options.settings = bytes_text(&settings);
    world_reload(&w, &options, "reload_refused");
    assert_true(proxy_log_contains(w.proxy, "/secret: is empty"));
    options.settings = "upstream.ca_file = /nonexistent/ca.pem\n";
    world_reload(&w, &options, "reload_refused");
    assert_true(proxy_log_contains(w.proxy, "/nonexistent/ca.pem: cannot be read"));
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(tokens_fetches(w.tokens), 1);
    bytes_free(&settings);
    answer_free(&a);
}

static void keys_that_need_a_restart_are_named_each_time_while_others_apply(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    struct bytes field = { 0 };
    struct world_options options = { 0 };
    world_start(&w, &options);
    bytes_add_str(&field, "X-Long: ");
    bytes_fill(&field, 'x', 40000);
    bytes_add_str(&field, "\r\n");
    options.settings = "listen.max_header_size = 64k\nlisten.max_body_size = 5\n"
                       "process.workers = 3\nlisten.address = 127.0.0.2:0\n";
    for (size_t i = 1; i <= 2; i++) {
        world_reload(&w, &options, "reloaded");
        assert_int_equal(proxy_log_count(w.proxy, "event=restart_needed level=warn"), i);
    }
    assert_true(proxy_log_contains(
        w.proxy, "keys=\"listen.address, listen.max_header_size, process.workers\""));
    http_call(w.port, "GET", "/x", bytes_text(&field), NULL, &a);
    assert_int_equal(a.status, 431);
    post(w.port, "twelve bytes", &a);
    assert_int_equal(a.status, 413);
    http_raw(w.port, "GET /x HTTP/1.1\r\nHost: 127.0.0.2\r\nConnection: close\r\n\r\n", &a);
    assert_int_equal(a.status, 421);
    bytes_free(&field);
    answer_free(&a);
}

/* A hundred SIGHUPs while a token is being fetched start no second fetch. (row 78) */
static void a_hundred_hangups_during_a_fetch_cost_no_other(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    struct client c;
    world_start(&w, &(struct world_options){ .hold_tokens = true,
                                             .settings = "token.wait_timeout = 60s\n"
                                                         "token.timeout = 60s\n" });
    assert_true(tokens_wait(w.tokens, 1, SOON_MS));
    client_open(&c, w.port);
    client_puts(&c, "GET /parked HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for (int i = 0; i < 100; i++)
        proxy_signal(w.proxy, SIGHUP);
    assert_true(proxy_log_wait(w.proxy, "event=reloaded changed=nothing", 1, SOON_MS));
    tokens_release(w.tokens);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    for (int i = 0; i < 100; i++)
        proxy_signal(w.proxy, SIGHUP);
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(tokens_fetches(w.tokens), 1);
    client_close(&c);
    answer_free(&a);
}

static void answer_held(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    if (strncmp(r->target, "/v0/held", 8) != 0 || gate_pass(arg, c))
        api_echo(c, r, NULL);
}

/* SIGHUPs after SIGTERM change nothing. (row 78) */
static void hangups_during_a_drain_are_ignored(void **state)
{
    (void)state;
    WORLD(w);
    static struct gate gate;
    struct client c;
    struct answer a = { 0 };
    gate_init(&gate);
    world_start(&w, &(struct world_options){ .answer = answer_held, .arg = &gate });
    client_open(&c, w.port);
    client_puts(&c, "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    proxy_signal(w.proxy, SIGTERM);
    assert_true(proxy_log_wait(w.proxy, "event=draining", 1, SOON_MS));
    for (int i = 0; i < 100; i++)
        proxy_signal(w.proxy, SIGHUP);
    assert_true(proxy_log_wait(w.proxy, "event=reload_ignored", 1, SOON_MS));
    gate_open(&gate);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    assert_int_equal(proxy_log_count(w.proxy, "event=reloaded"), 0);
    client_close(&c);
    answer_free(&a);
}

/* Each upstream sees only tokens that were obtained while it was the upstream. */
static void a_token_never_goes_to_another_upstream(void **state)
{
    (void)state;
    WORLD(w);
    static struct gate gate;
    struct client running, parked;
    struct answer a = { 0 };
    struct bytes settings = { 0 };
    gate_init(&gate);
    struct world_options options = { .answer = answer_held,
                                     .arg = &gate,
                                     .settings = "token.wait_timeout = 60s\n" OTHER_PORTS };
    world_start(&w, &options);
    struct peer *other = api_start(&(struct api_options){ 0 });
    client_open(&running, w.port);
    client_puts(&running, "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    tokens_hold(w.tokens);
    bytes_addf(&settings, "upstream.base_url = %s/v0\ntoken.wait_timeout = 60s\n" OTHER_PORTS,
               peer_url(other));
    options.settings = bytes_text(&settings);
    world_reload(&w, &options, "reloaded");
    assert_true(tokens_wait(w.tokens, 2, SOON_MS));
    client_open(&parked, w.port);
    client_puts(&parked, "GET /new HTTP/1.1\r\nHost: localhost\r\n\r\n");
    gate_open(&gate); /* what was on its way ends where it began */
    client_read(&running, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_int_equal(peer_count(other, ""), 0);
    tokens_release(w.tokens);
    client_read(&parked, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_int_equal(peer_count(w.api, ""), 1);
    assert_int_equal(api_token_of(peer_request(w.api, "", 0)), 1);
    assert_int_equal(peer_count(other, ""), 1);
    assert_int_equal(api_token_of(peer_request(other, "", 0)), 2);
    client_close(&running);
    client_close(&parked);
    bytes_free(&settings);
    answer_free(&a);
    world_end(&w);
    peer_stop(other);
}

#define THEIR_401 "{\"type\":\"UnauthenticatedError\",\"message\":\"m\",\"retryable\":false}"

/* Refuses what is held, with any token. */
static void refuse_held(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    if (strcmp(r->target, "/v0/held") != 0)
        api_echo(c, r, NULL);
    else if (gate_pass(arg, c))
        (void)peer_answer(c, 401, NULL, THEIR_401);
}

/* The other upstream's token is newer, and would be tried if it were for the same one. */
static void a_refusal_by_the_old_upstream_is_not_answered_with_the_new_ones_token(void **state)
{
    (void)state;
    WORLD(w);
    static struct gate gate;
    struct client running;
    struct answer a = { 0 };
    struct bytes settings = { 0 };
    gate_init(&gate);
    struct world_options options = { .answer = refuse_held,
                                     .arg = &gate,
                                     .settings = "token.wait_timeout = 60s\n" OTHER_PORTS };
    world_start(&w, &options);
    struct peer *other = api_start(&(struct api_options){ 0 });
    client_open(&running, w.port);
    client_puts(&running, "POST /held HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
                          "\r\n{}");
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    bytes_addf(&settings, "upstream.base_url = %s/v0\ntoken.wait_timeout = 60s\n" OTHER_PORTS,
               peer_url(other));
    options.settings = bytes_text(&settings);
    world_reload(&w, &options, "reloaded");
    http_get(w.port, "/new", &a); /* so the one worker has that token */
    assert_int_equal(a.status, 200);
    gate_open(&gate);
    client_read(&running, &a, false, SOON_MS);
    assert_int_equal(a.status, 401);
    assert_string_equal(bytes_text(&a.body), THEIR_401);
    assert_int_equal(peer_count(w.api, ""), 1);
    assert_int_equal(api_token_of(peer_request(w.api, "", 0)), 1);
    assert_int_equal(peer_count(other, ""), 1);
    assert_int_equal(api_token_of(peer_request(other, "", 0)), 2);
    client_close(&running);
    bytes_free(&settings);
    answer_free(&a);
    world_end(&w);
    peer_stop(other);
}

static void a_request_that_waited_for_the_old_upstream_is_told(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    struct bytes settings = { 0 };
    struct world_options options = { .hold_tokens = true,
                                     .settings = "token.wait_timeout = 60s\n" OTHER_PORTS };
    world_start(&w, &options);
    struct peer *other = api_start(&(struct api_options){ 0 });
    client_open(&c, w.port);
    client_puts(&c, "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    http_call(w.port, "TRACE", "/x", NULL, NULL, &a); /* the one before is taken up */
    bytes_addf(&settings, "upstream.base_url = %s/v0\ntoken.wait_timeout = 60s\n" OTHER_PORTS,
               peer_url(other));
    options.settings = bytes_text(&settings);
    world_reload(&w, &options, "reloaded");
    client_read(&c, &a, false, SOON_MS);
    assert_problem(&a, 504, "token", "connection_read_timeout");
    assert_problem_detail(&a, "upstream.base_url was changed");
    assert_string_equal(answer_header(&a, "Retry-After"), "1");
    tokens_release(w.tokens);
    http_get(w.port, "/y", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(peer_count(w.api, ""), 0);
    assert_int_equal(peer_count(other, ""), 1);
    client_close(&c);
    bytes_free(&settings);
    answer_free(&a);
    world_end(&w);
    peer_stop(other);
}

static void copy_file(const char *from, const char *to)
{
    char text[8192];
    FILE *file = fopen(from, "re");
    assert_non_null(file);
    size_t n = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[n] = '\0';
    write_file(to, text);
}

static void a_replaced_ca_counts_from_the_reload_on(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char path[] = "/tmp/oneshot-ca-file-XXXXXX";
    struct bytes settings = { 0 };
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    copy_file(certs_ca_file(), path);
    bytes_addf(&settings, "upstream.ca_file = %s\n", path);
    struct world_options options = { .cert = CERT_VALID, .settings = bytes_text(&settings) };
    world_start(&w, &options);
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    copy_file(certs_other_ca_file(), path);
    reload(&w, &options);
    http_get(w.port, "/x", &a);
    assert_problem(&a, 502, "upstream", "tls_certificate_error");
    /* named once, though it counts for both legs; by who has noticed it first */
    assert_true(proxy_log_contains(w.proxy, "changed=upstream.ca_file"));
    copy_file(certs_ca_file(), path);
    reload(&w, &options);
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    world_end(&w);
    (void)unlink(path);
    bytes_free(&settings);
    answer_free(&a);
}

static void no_request_is_dropped_while_settings_change(void **state)
{
    (void)state;
    WORLD(w);
    struct world_options options = { .settings = "process.workers = 2\nlog.access = no\n" };
    world_start(&w, &options);
    struct hammer *h = hammer_start(
        w.port, 16, "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nok");
    for (int i = 0; i < 20; i++) {
        size_t before = hammer_answers(h);
        options.settings = i % 2 == 0 ? "process.workers = 2\nlog.access = no\n"
                                        "upstream.keepalive = 2s\nlisten.max_headers = 50\n"
                                      : "process.workers = 2\nlog.access = no\n";
        world_reload(&w, &options, "reloaded");
        assert_true(hammer_wait(h, before + 50, SOON_MS));
    }
    struct hammer_result r = hammer_stop(h);
    if (r.failures != 0)
        fail_msg("%zu of %zu failed: %s", r.failures, r.answers, bytes_text(&r.first));
    assert_int_equal(tokens_fetches(w.tokens), 1);
    bytes_free(&r.first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(good_settings_apply_to_new_requests),
        TEST(a_bad_file_changes_nothing_and_says_every_error_with_its_line),
        TEST(files_that_are_not_fit_refuse_a_reload),
        TEST(keys_that_need_a_restart_are_named_each_time_while_others_apply),
        TEST(a_hundred_hangups_during_a_fetch_cost_no_other),
        TEST(hangups_during_a_drain_are_ignored),
        TEST(a_token_never_goes_to_another_upstream),
        TEST(a_refusal_by_the_old_upstream_is_not_answered_with_the_new_ones_token),
        TEST(a_request_that_waited_for_the_old_upstream_is_told),
        TEST(a_replaced_ca_counts_from_the_reload_on),
        TEST(no_request_is_dropped_while_settings_change),
    };
    return RUN_TESTS(tests);
}

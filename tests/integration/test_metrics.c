/* /metrics after traffic that is known exactly; also checked with Prometheus's own tool. */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#define SETTINGS "admin.address = 127.0.0.1:0\n"

static struct answer scraped;

static void scrape(struct world *w)
{
    http_get(proxy_admin_port(w->proxy), "/metrics", &scraped);
    assert_int_equal(scraped.status, 200);
    assert_string_equal(answer_header(&scraped, "Content-Type"),
                        "text/plain; version=0.0.4; charset=utf-8");
}

/* The value of a series in what was scraped last; it must be there. */
static double value_of(const char *series)
{
    char line[256];
    (void)snprintf(line, sizeof line, "\noneshot_proxy_%s ", series);
    const char *at = strstr(bytes_text(&scraped.body), line);
    if (at == NULL)
        fail_msg("%s is not in:\n%s", series, bytes_text(&scraped.body));
    return strtod(at + strlen(line), NULL);
}

static void assert_value(const char *series, double wanted)
{
    double value = value_of(series);
    if (value < wanted || value > wanted)
        fail_msg("%s is %g, not %g", series, value, wanted);
}

/* Scrapes until it is so: a request is counted when its answer has gone out, a moment after
 * the caller has it. */
static void await_value(struct world *w, const char *series, double wanted)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    do
        scrape(w);
    while ((value_of(series) < wanted || value_of(series) > wanted) && now_ms() < deadline_ms);
    assert_value(series, wanted);
}

/* All series of a metric added up. */
static double sum_of(const char *metric)
{
    char line[128];
    double sum = 0;
    (void)snprintf(line, sizeof line, "\noneshot_proxy_%s{", metric);
    for (const char *at = bytes_text(&scraped.body); (at = strstr(at, line)) != NULL; at++)
        sum += strtod(strchr(at, '}') + 1, NULL);
    return sum;
}

/* By the target: what the test needs. */
static void answer_as_asked(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    if (strcmp(r->target, "/v0/500") == 0)
        (void)peer_answer(c, 500, NULL, "oops");
    else if (strcmp(r->target, "/v0/404") == 0)
        (void)peer_answer(c, 404, NULL, "no");
    else if (strcmp(r->target, "/v0/302") == 0)
        (void)peer_answer(c, 302, "Location: /x\r\n", "");
    else if (strcmp(r->target, "/v0/reset") == 0)
        peer_reset(c);
    else if (strcmp(r->target, "/v0/revoked") == 0 && api_token_of(r) == 1)
        (void)peer_answer(c, 401, NULL, "");
    else if (strcmp(r->target, "/v0/held") != 0 || gate_pass(arg, c))
        api_echo(c, r, NULL);
}

static void known_traffic_gives_exact_numbers(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .answer = answer_as_asked, .settings = SETTINGS });
    static const struct {
        const char *method, *target, *headers, *body;
        int status;
    } calls[] = {
        { "GET", "/a", NULL, NULL, 200 },
        { "HEAD", "/a", NULL, NULL, 200 },
        { "POST", "/a", NULL, "hello", 200 },
        { "PUT", "/a", NULL, "hello, world", 200 },
        { "GET", "/302", NULL, NULL, 302 },
        { "GET", "/404", NULL, NULL, 404 },
        { "DELETE", "/500", NULL, NULL, 500 },
        { "POST", "/token", NULL, "client_secret=x", 200 }, /* answered here */
        { "POST", "/revoked", NULL, "again", 200 },         /* 401, new token, 200 */
        { "GET", "/a/../b", NULL, NULL, 400 },
        { "GET", "/a", "Origin: https://evil.example\r\n", NULL, 403 },
        { "POST", "/reset", NULL, NULL, 502 },
    };
    const size_t n = sizeof calls / sizeof *calls;
    for (size_t i = 0; i < n; i++) {
        /* a connection each but for the first four, which share one */
        if (i == 0 || i > 3)
            client_open(&c, w.port);
        client_puts(&c, calls[i].method);
        struct bytes rest = { 0 };
        bytes_addf(&rest, " %s HTTP/1.1\r\nHost: localhost\r\n%s", calls[i].target,
                   calls[i].headers ? calls[i].headers : "");
        if (calls[i].body)
            bytes_addf(&rest, "Content-Length: %zu\r\n", strlen(calls[i].body));
        bytes_addf(&rest, "\r\n%s", calls[i].body ? calls[i].body : "");
        client_puts(&c, bytes_text(&rest));
        bytes_free(&rest);
        client_read(&c, &a, strcmp(calls[i].method, "HEAD") == 0, SOON_MS);
        if (a.status != calls[i].status)
            fail_msg("%s %s: %d", calls[i].method, calls[i].target, a.status);
        if (i >= 3)
            client_close(&c);
    }
    await_value(&w, "request_duration_seconds_count", (double)n);
    await_value(&w, "connections", 0);
    static const struct {
        const char *series;
        double value;
    } wanted[] = {
        { "requests_total{method=\"safe\",status=\"2xx\",stage=\"none\"}", 2 },
        { "requests_total{method=\"unsafe\",status=\"2xx\",stage=\"none\"}", 4 },
        { "requests_total{method=\"safe\",status=\"3xx\",stage=\"none\"}", 1 },
        { "requests_total{method=\"safe\",status=\"4xx\",stage=\"none\"}", 1 },
        { "requests_total{method=\"unsafe\",status=\"5xx\",stage=\"none\"}", 1 },
        { "requests_total{method=\"safe\",status=\"4xx\",stage=\"request\"}", 2 },
        { "requests_total{method=\"unsafe\",status=\"5xx\",stage=\"upstream\"}", 1 },
        { "request_duration_seconds_bucket{le=\"+Inf\"}", 12 },
        { "token_wait_seconds_count", 9 },          /* those that were to be forwarded */
        { "upstream_first_byte_seconds_count", 8 }, /* those that got an answer's head */
        { "request_body_bytes_total", 5 + 12 + 5 },
        { "request_repeats_total", 1 },
        { "upstream_requests_total", 10 },
        { "connections_accepted_total", 9 },
        { "connections_refused_total", 0 },
        { "requests_in_flight", 0 },
        { "requests_in_flight_limit", 1024 },
        { "connections_limit", 4096 },
        { "token_fetches_total{result=\"obtained\"}", 2 },
        { "token_consecutive_failures", 0 },
        { "tokens_dropped_total", 1 },
        { "token_held", 1 },
        { "ready", 1 },
        { "draining", 0 },
        { "workers", 1 },
        { "workers_stuck", 0 },
        { "log_lines_dropped_total", 0 },
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        assert_value(wanted[i].series, wanted[i].value);
    assert_true(sum_of("requests_total") >= (double)n && sum_of("requests_total") <= (double)n);
    /* One connection for all: the last request on it is the POST that lost it. */
    assert_int_equal(peer_connections(w.api), 1);
    assert_value("upstream_connections_opened_total", 1);
    assert_value("upstream_connections_reused_total", 9);
    assert_true(peer_wait_closed_to(w.api, 0, SOON_MS));
    assert_value("upstream_connections", 0);
    assert_value("upstream_requests_total", (double)peer_count(w.api, ""));
    assert_true(value_of("token_expires_in_seconds") > 3500);
    assert_true(value_of("token_expires_in_seconds") + value_of("token_age_seconds") < 3600.01);
    assert_true(value_of("token_last_success_timestamp_seconds") >=
                value_of("start_timestamp_seconds"));
    assert_true(value_of("memory_peak_bytes") > 1e6);
    assert_true(value_of("cpu_seconds_total") > 0);
    assert_lacks(bytes_text(&scraped.body), CANARY);
    answer_free(&a);
}

/* Bodies of the proxy's own answers count too, to the caller they are bytes like any other. */
static void bytes_to_callers_are_counted(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .answer = answer_as_asked, .settings = SETTINGS });
    static const char *const targets[] = { "/500", "/a/../b", "/404" };
    double bytes = 0;
    for (size_t i = 0; i < 3; i++) {
        http_get(w.port, targets[i], &a);
        bytes += (double)a.body.len;
    }
    struct bytes body = { 0 };
    bytes_fill(&body, 'b', 300000);
    http_call(w.port, "POST", "/a", NULL, bytes_text(&body), &a);
    assert_int_equal(a.body.len, 300000);
    await_value(&w, "request_duration_seconds_count", 4);
    assert_value("response_body_bytes_total", bytes + 300000);
    assert_value("request_body_bytes_total", 300000);
    bytes_free(&body);
    answer_free(&a);
}

static void what_is_under_way_shows(void **state)
{
    (void)state;
    WORLD(w);
    static struct gate gate;
    struct client c[3];
    struct answer a = { 0 };
    gate_init(&gate);
    world_start(&w,
                &(struct world_options){ .answer = answer_as_asked,
                                         .arg = &gate,
                                         .settings = SETTINGS "upstream.max_in_flight = 3\n" });
    for (size_t i = 0; i < 3; i++) {
        client_open(&c[i], w.port);
        client_puts(&c[i], "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    assert_true(gate_wait_arrived(&gate, 3, SOON_MS));
    scrape(&w);
    assert_value("requests_in_flight", 3);
    assert_value("requests_in_flight_limit", 3);
    assert_value("connections", 3);
    assert_value("request_duration_seconds_count", 0);
    http_get(w.port, "/one-too-many", &a);
    assert_int_equal(a.status, 503);
    await_value(&w, "requests_total{method=\"safe\",status=\"5xx\",stage=\"proxy\"}", 1);
    gate_open(&gate);
    for (size_t i = 0; i < 2; i++) {
        client_read(&c[i], &a, false, SOON_MS);
        assert_int_equal(a.status, 200);
    }
    await_value(&w, "requests_in_flight", 0);
    for (size_t i = 0; i < 3; i++)
        client_close(&c[i]);
    await_value(&w, "connections", 0);
    answer_free(&a);
}

/* It ends like a request, so it has to begin like one: the difference of both is shown. */
static void what_is_no_request_does_not_hide_one_that_is_under_way(void **state)
{
    (void)state;
    WORLD(w);
    static struct gate gate;
    struct client c;
    struct answer a = { 0 };
    gate_init(&gate);
    world_start(&w, &(struct world_options){
                        .answer = answer_as_asked, .arg = &gate, .settings = SETTINGS });
    for (size_t i = 0; i < 3; i++) {
        client_open(&c, w.port);
        client_puts(&c, "nonsense\r\n\r\n");
        client_read(&c, &a, false, SOON_MS);
        assert_int_equal(a.status, 400);
        client_close(&c);
    }
    await_value(&w, "requests_total{method=\"unsafe\",status=\"4xx\",stage=\"request\"}", 3);
    client_open(&c, w.port);
    client_puts(&c, "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    scrape(&w);
    assert_value("requests_in_flight", 1);
    gate_open(&gate);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    client_close(&c);
    answer_free(&a);
}

/* One that left before its answer is no error of anybody's, and no 4xx. */
static void a_caller_that_left_counts_as_without_an_answer(void **state)
{
    (void)state;
    WORLD(w);
    static struct gate gate;
    struct client c;
    gate_init(&gate);
    world_start(&w, &(struct world_options){
                        .answer = answer_as_asked, .arg = &gate, .settings = SETTINGS });
    client_open(&c, w.port);
    client_puts(&c, "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    client_reset(&c);
    await_value(&w, "requests_total{method=\"safe\",status=\"none\",stage=\"none\"}", 1);
    assert_value("requests_total{method=\"safe\",status=\"4xx\",stage=\"none\"}", 0);
    gate_open(&gate);
}

static void failed_fetches_count_by_what_went_wrong(void **state)
{
    (void)state;
    WORLD(w);
    const char *settings = SETTINGS "token.retry_min = 10ms\ntoken.retry_max = 20ms\n";
    world_start(&w, &(struct world_options){ .no_proxy = true });
    tokens_push(w.tokens, (struct token_answer){ .status = 503 });
    tokens_push(w.tokens, (struct token_answer){ .status = 401 });
    tokens_push(w.tokens, (struct token_answer){ .status = 200, .body = "{}" });
    tokens_push(w.tokens, (struct token_answer){ .status = 503 });
    world_proxy(&w, &(struct world_options){ .settings = settings, .hold_tokens = true });
    await_value(&w, "token_fetches_total{result=\"obtained\"}", 1);
    assert_value("token_fetches_total{result=\"token-unavailable\"}", 2);
    assert_value("token_fetches_total{result=\"token-refused\"}", 1);
    assert_value("token_fetches_total{result=\"token-invalid\"}", 1);
    assert_true(sum_of("token_fetches_total") > 4.5 && sum_of("token_fetches_total") < 5.5);
    assert_value("token_consecutive_failures", 0);
    assert_true(value_of("token_last_failure_timestamp_seconds") > 0);
}

static void reloads_count_by_result(void **state)
{
    (void)state;
    WORLD(w);
    char path[128];
    world_start(&w, &(struct world_options){ .settings = SETTINGS });
    (void)snprintf(path, sizeof path, "%s/oneshot-proxy.ini", proxy_dir(w.proxy));
    proxy_signal(w.proxy, SIGHUP);
    await_value(&w, "reloads_total{result=\"applied\"}", 1);
    assert_value("reloads_total{result=\"refused\"}", 0);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "nonsense = 1\n", 13), 13);
    (void)close(fd);
    proxy_signal(w.proxy, SIGHUP);
    await_value(&w, "reloads_total{result=\"refused\"}", 1);
    assert_value("reloads_total{result=\"applied\"}", 1);
}

/* promtool, as ./dev test provides it. */
static void prometheus_finds_nothing_to_say(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    const char *promtool = getenv("ONESHOT_PROXY_PROMTOOL");
    if (promtool == NULL || access(promtool, X_OK) != 0) {
        print_message("no promtool: ./dev test fetches it (tests/promtool.sh)\n");
        skip();
    }
    world_start(&w, &(struct world_options){ .settings = SETTINGS });
    http_get(w.port, "/a", &a);
    await_value(&w, "request_duration_seconds_count", 1);
    char command[512];
    (void)snprintf(command, sizeof command, "%s check metrics 2>&1", promtool);
    char path[96], said[2048] = "";
    (void)snprintf(path, sizeof path, "%s/metrics.txt", proxy_dir(w.proxy));
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, scraped.body.data, scraped.body.len), (ssize_t)scraped.body.len);
    (void)close(fd);
    (void)snprintf(command, sizeof command, "'%s' check metrics 2>&1 < '%s'", promtool, path);
    FILE *run = popen(command, "re");
    assert_non_null(run);
    size_t n = fread(said, 1, sizeof said - 1, run);
    said[n] = '\0';
    int code = pclose(run);
    if (code != 0 || n > 0)
        fail_msg("promtool left with %d: %s", WEXITSTATUS(code), said);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(known_traffic_gives_exact_numbers),
        TEST(bytes_to_callers_are_counted),
        TEST(what_is_under_way_shows),
        TEST(what_is_no_request_does_not_hide_one_that_is_under_way),
        TEST(a_caller_that_left_counts_as_without_an_answer),
        TEST(failed_fetches_count_by_what_went_wrong),
        TEST(reloads_count_by_result),
        TEST(prometheus_finds_nothing_to_say),
    };
    int failed = RUN_TESTS(tests);
    answer_free(&scraped);
    return failed;
}

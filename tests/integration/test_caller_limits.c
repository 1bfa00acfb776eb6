/* Limits of callers: a rate for each class, and requests in progress at the same time. A
 * caller above a limit is told which one and when to try again, and its request is not sent. */
#include <unistd.h>

#include "harness.h"
#include "rights_corpus.h"

#define SETTINGS "admin.address = 127.0.0.1:0\nclasses.table = 1shot\n"
#define EXECUTE "/methods/" U "/execute"

static void call(const struct world *w, const char *method, const char *target,
                 struct answer *a)
{
    http_call(w->port, method, target, NULL, method[0] == 'P' ? "{}" : NULL, a);
}

/* For anybody: [caller other] is the simplest caller there is. */
static void start(struct world *w, const char *settings, const char *limits)
{
    char more[512];

    (void)snprintf(
        more, sizeof more,
        "[caller other]\nallow = read, money, unknown, POST /methods/{uuid}/read\n%s\n",
        limits);
    world_start(w, &(struct world_options){ .settings = settings, .more = more });
}

static void assert_number(const struct answer *a, const char *name, int64_t least, int64_t most)
{
    int64_t n = strtol(answer_header(a, name), NULL, 10);

    if (n < least || n > most)
        fail_msg("%s: %s", name, answer_header(a, name));
}

static void a_rate_lets_so_many_through_and_says_when_to_come_again(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char rule[64];
    start(&w, SETTINGS, "rate = money 2/1h, simulate 1/1s");
    for (int i = 0; i < 2; i++) {
        call(&w, "POST", EXECUTE, &a);
        assert_int_equal(a.status, 200);
    }
    call(&w, "POST", EXECUTE, &a);
    assert_problem(&a, 429, "request", "http_request_denied");
    assert_problem_detail(&a, "other has used up its rate of money requests, 2 in 3600 s");
    assert_contains(bytes_text(&a.body), "\"type\":\"urn:oneshot-proxy:rate-limited\"");
    assert_contains(bytes_text(&a.body), "\"retryable\":true");
    assert_contains(bytes_text(&a.body), "\"caller\":\"other\",\"class\":\"money\","
                                         "\"operation\":\"POST /methods/{uuid}/execute\"");
    assert_contains(bytes_text(&a.body), "\"violated-policies\":[\"other-money\"]");
    assert_string_equal(answer_header(&a, "RateLimit-Policy"), "\"other-money\";q=2;w=3600");
    assert_number(&a, "Retry-After", 1700, 1800);
    char limit[64];
    (void)snprintf(limit, sizeof limit, "\"other-money\";r=0;t=%s",
                   answer_header(&a, "Retry-After"));
    assert_string_equal(answer_header(&a, "RateLimit"), limit);
    assert_contains(answer_header(&a, "Proxy-Status"), "details=\"");
    /* what is in no class is charged to money, what only looks is not limited */
    call(&w, "PATCH", "/new", &a);
    assert_int_equal(a.status, 429);
    assert_string_equal(answer_header(&a, "RateLimit-Policy"), "\"other-money\";q=2;w=3600");
    for (int i = 0; i < 5; i++) {
        call(&w, "GET", "/chains", &a);
        assert_int_equal(a.status, 200);
        assert_int_equal(answer_header_count(&a, "RateLimit"), 0);
    }
    assert_int_equal(peer_count(w.api, ""), 7);
    assert_true(
        proxy_log_wait(w.proxy, "event=access decision=limited status=429", 2, SOON_MS));
    assert_true(proxy_log_field(w.proxy, "event=access decision=limited", 0, "rule", rule,
                                sizeof rule));
    assert_string_equal(rule, "rate money 2/3600s");
    assert_true(proxy_log_wait(w.proxy, "event=access", 9, SOON_MS));
    http_get(proxy_admin_port(w.proxy), "/metrics", &a);
    assert_contains(bytes_text(&a.body), "oneshot_proxy_caller_requests_total{caller=\"other\","
                                         "class=\"money\",decision=\"limited\"} 1\n");
    assert_contains(bytes_text(&a.body),
                    "oneshot_proxy_caller_in_flight{caller=\"other\"} 0\n");
    answer_free(&a);
}

static void nothing_is_charged_for_what_is_refused_elsewhere(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char freeze[64], settings[256];
    (void)snprintf(freeze, sizeof freeze, "/tmp/callers-freeze-%d", (int)getpid());
    (void)snprintf(settings, sizeof settings, SETTINGS "freeze.file = %s\n", freeze);
    write_file(freeze, "incident\n");
    start(&w, settings, "rate = money 1/1h, sign 1/1h");
    for (int i = 0; i < 3; i++) {
        call(&w, "POST", EXECUTE, &a);
        assert_int_equal(a.status, 503);
        call(&w, "GET", "/wallets/" U "/signature/permit2", &a);
        assert_int_equal(a.status, 403);
    }
    (void)unlink(freeze);
    assert_true(proxy_log_wait(w.proxy, "event=thawed", 1, SOON_MS));
    call(&w, "POST", EXECUTE, &a);
    assert_int_equal(a.status, 200);
    call(&w, "POST", EXECUTE, &a);
    assert_int_equal(a.status, 429);
    answer_free(&a);
}

static void answer_held(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    if (strncmp(r->target, "/v0/chains", 10) == 0 || gate_pass(arg, c))
        api_echo(c, r, NULL);
}

static void so_many_requests_of_a_caller_are_under_way_at_one_time(void **state)
{
    (void)state;
    WORLD(w);
    static struct gate gate;
    struct client in[2];
    struct answer a = { 0 };
    gate_init(&gate);
    world_start(&w, &(struct world_options){
                        .answer = answer_held,
                        .arg = &gate,
                        .settings = SETTINGS "process.workers = 2\n",
                        .more = "[caller other]\nallow = read, money\nmax_in_flight = 2\n"
                                "rate = money 3/1h\n" });
    for (size_t i = 0; i < 2; i++) {
        client_open(&in[i], w.port);
        client_puts(&in[i], "POST " EXECUTE " HTTP/1.1\r\nHost: localhost\r\n"
                            "Content-Length: 2\r\n\r\n{}");
    }
    assert_true(gate_wait_arrived(&gate, 2, SOON_MS));
    http_get(proxy_admin_port(w.proxy), "/metrics", &a);
    assert_contains(bytes_text(&a.body),
                    "oneshot_proxy_caller_in_flight{caller=\"other\"} 2\n");
    for (int i = 0; i < 4; i++) { /* of any class, and at the cost of no rate */
        call(&w, i % 2 == 0 ? "GET" : "POST", i % 2 == 0 ? "/chains" : EXECUTE, &a);
        assert_problem(&a, 429, "request", "http_request_denied");
        assert_problem_detail(&a, "2 requests under way, as many as max_in_flight");
        assert_contains(bytes_text(&a.body), "\"violated-policies\":[\"other-in-flight\"]");
        assert_string_equal(answer_header(&a, "RateLimit-Policy"),
                            "\"other-in-flight\";q=2;qu=\"concurrent-requests\"");
        assert_string_equal(answer_header(&a, "RateLimit"), "\"other-in-flight\";r=0");
        assert_string_equal(answer_header(&a, "Retry-After"), "1");
    }
    gate_open(&gate);
    for (size_t i = 0; i < 2; i++) {
        client_read(&in[i], &a, false, SOON_MS);
        assert_int_equal(a.status, 200);
        client_close(&in[i]);
    }
    assert_true(proxy_log_wait(w.proxy, "event=access status=200", 2, SOON_MS));
    call(&w, "POST", EXECUTE, &a);
    assert_int_equal(a.status, 200);
    call(&w, "POST", EXECUTE, &a);
    assert_string_equal(answer_header(&a, "RateLimit-Policy"), "\"other-money\";q=3;w=3600");
    answer_free(&a);
}

static void answer_429(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)r;
    (void)arg;
    (void)peer_answer(c, 429,
                      "RateLimit: \"theirs\";r=0;t=3\r\nRateLimit-Policy: \"theirs\";q=9\r\n"
                      "Retry-After: 3\r\n",
                      "{\"theirs\":1}");
}

/* So that nobody takes it for one of the proxy's. Without callers there is none of those,
 * and it passes as it always did. */
static void the_upstreams_own_429_passes_and_is_told_apart(void **state)
{
    (void)state;
    for (int callers = 0; callers < 2; callers++) {
        WORLD(w);
        struct answer a = { 0 };
        world_start(&w, &(struct world_options){
                            .answer = answer_429,
                            .settings = SETTINGS,
                            .more = callers ? "[caller other]\nallow = read\n" : NULL });
        call(&w, "GET", "/chains", &a);
        assert_int_equal(a.status, 429);
        assert_string_equal(answer_header(&a, "Proxy-Status"),
                            callers ? "oneshot-proxy; received-status=429" : "");
        assert_string_equal(answer_header(&a, "RateLimit"), "\"theirs\";r=0;t=3");
        assert_string_equal(answer_header(&a, "RateLimit-Policy"), "\"theirs\";q=9");
        assert_string_equal(answer_header(&a, "Retry-After"), "3");
        assert_string_equal(bytes_text(&a.body), "{\"theirs\":1}");
        answer_free(&a);
    }
}

static void a_reload_keeps_what_is_in_the_bucket_cut_to_its_new_size(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
#define RATE(rate) "[caller other]\nallow = money\nrate = money " rate "\n"
    world_start(&w, &(struct world_options){ .settings = SETTINGS, .more = RATE("3/1h") });
    call(&w, "POST", EXECUTE, &a);
    assert_int_equal(a.status, 200);
    /* two are left: not more in a larger bucket, and as many as fit into a smaller one */
    static const struct {
        const char *more;
        int left;
    } steps[] = { { RATE("50/24h"), 1 }, { RATE("1/24h"), 1 }, { RATE("9/24h"), 0 } };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        for (int n = 0; n < 2; n++) /* at the second one the workers know the first */
            world_reload(&w,
                         &(struct world_options){ .settings = SETTINGS, .more = steps[i].more },
                         "reloaded");
        for (int n = 0; n < steps[i].left; n++) {
            call(&w, "POST", EXECUTE, &a);
            assert_int_equal(a.status, 200);
        }
        if (i == 0)
            continue;
        call(&w, "POST", EXECUTE, &a);
        assert_int_equal(a.status, 429);
    }
    answer_free(&a);
}

/* What would be above a limit goes on, is told, and takes nothing from those that would not
 * be. */
static void an_observed_caller_is_told_of_its_limits_and_goes_on(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    world_start(
        &w, &(struct world_options){ .settings = SETTINGS,
                                     .more = "[caller other]\nmode = observe\n"
                                             "allow = money\nrate = money 2/1h, read 1/1h\n" });
    call(&w, "GET", "/chains", &a); /* no right: would be refused, and is not charged */
    for (int i = 0; i < 4; i++) {
        call(&w, "POST", EXECUTE, &a);
        assert_int_equal(a.status, 200);
        assert_int_equal(answer_header_count(&a, "RateLimit"), 0);
    }
    assert_true(
        proxy_log_wait(w.proxy, "event=access decision=would-limit status=200", 2, SOON_MS));
    assert_int_equal(proxy_log_count(w.proxy, "event=access decision=allowed"), 2);
    assert_int_equal(proxy_log_count(w.proxy, "event=access decision=would-deny"), 1);
    answer_free(&a);
}

static void answer_briefly(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)r;
    (void)arg;
    (void)peer_answer(c, 200, NULL, "{}");
}

/* N at the start and the rate from then on, whatever the number of workers and callers. */
static void under_load_no_more_are_admitted_than_the_rate_allows(void **state)
{
    (void)state;
    enum { N = 40, PER_MS = 10000, FOR_MS = 1200 };
    WORLD(w);
    world_start(&w, &(struct world_options){
                        .answer = answer_briefly,
                        .settings = SETTINGS "process.workers = 3\nlog.access = no\n",
                        .more = "[caller other]\nallow = read\nrate = read 40/10s\n" });
    int64_t began_ms = now_ms(), took_ms = 0;
    size_t asked = 0, sent = 0, refused = 0;
    while (took_ms < FOR_MS || sent <= N || refused == 0) {
        struct crowd *crowd = crowd_start(
            w.port, 60, "GET /chains HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert_true(crowd_finish(crowd, SOON_MS));
        asked += 60;
        sent += crowd_count(crowd, 200);
        refused += crowd_count(crowd, 429);
        crowd_free(crowd);
        took_ms = now_ms() - began_ms;
        if (sent > N + (size_t)(took_ms * N / PER_MS) + 1)
            fail_msg("%zu of %zu in %lld ms", sent, asked, (long long)took_ms);
        assert_true(took_ms < SOON_MS);
    }
    assert_int_equal(sent + refused, asked);
    assert_int_equal(peer_count(w.api, ""), sent);
    assert_true(sent > N && refused > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_rate_lets_so_many_through_and_says_when_to_come_again),
        TEST(nothing_is_charged_for_what_is_refused_elsewhere),
        TEST(so_many_requests_of_a_caller_are_under_way_at_one_time),
        TEST(the_upstreams_own_429_passes_and_is_told_apart),
        TEST(an_observed_caller_is_told_of_its_limits_and_goes_on),
        TEST(a_reload_keeps_what_is_in_the_bucket_cut_to_its_new_size),
        TEST(under_load_no_more_are_admitted_than_the_rate_allows),
    };
    return RUN_TESTS(tests);
}

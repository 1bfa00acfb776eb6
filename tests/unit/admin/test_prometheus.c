/* prometheus.c: the text format of a status that the test makes up. */
#include <errno.h>
#include <string.h>

#include "admin/prometheus.h"
#include "unit.h"

static struct status s;
static struct token_manager_stats stats;
static struct config config;
static struct buf out;

static int setup(void **state)
{
    (void)state;
    memset(&s, 0, sizeof s);
    memset(&stats, 0, sizeof stats);
    s.version = "1.2";
    s.libcurl = "7";
    s.libmicrohttpd = "1";
    s.config = &config;
    s.token.stats = &stats;
    buf_init(&out, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_done(&out);
    return 0;
}

static const char *render(void)
{
    buf_clear(&out);
    assert_int_equal(prometheus_render(&s, &out), 0);
    return buf_text(&out);
}

/* Whether the whole line stands there. */
static void has_line(const char *line)
{
    const char *text = render();
    size_t n = strlen(line);

    for (const char *at = text; (at = strstr(at, line)) != NULL; at++)
        if ((at == text || at[-1] == '\n') && at[n] == '\n')
            return;
    fail_msg("no line \"%s\"", line);
}

static void every_metric_has_help_and_type_before_its_samples(void **state)
{
    (void)state;
    char name[128] = "", type[16] = "";
    size_t samples = 0, metrics = 0;
    s.worker_count = 1;
    const char *line = render();

    assert_true(*line == '#');
    for (; *line != '\0'; line = strchr(line, '\n') + 1) {
        if (sscanf(line, "# HELP %127s", name) == 1) {
            assert_true(metrics == 0 || samples > 0);
            assert_true(strncmp(name, "oneshot_proxy_", 14) == 0);
            metrics++;
            samples = 0;
            continue;
        }
        char typed[128];
        if (sscanf(line, "# TYPE %127s %15s", typed, type) == 2) {
            assert_string_equal(typed, name);
            assert_int_equal(samples, 0);
            /* counters, and nothing else, end in _total */
            size_t n = strlen(name);
            bool total = n > 6 && strcmp(name + n - 6, "_total") == 0;
            assert_int_equal(total, strcmp(type, "counter") == 0);
            continue;
        }
        if (strncmp(line, name, strlen(name)) != 0)
            fail_msg("a sample of another metric below %s: %.80s", name, line);
        samples++;
    }
    assert_true(metrics > 30);
}

static void times_are_seconds(void **state)
{
    (void)state;
    s.token.held = true;
    s.token.expires_in_ms = 1234567;
    s.cpu_us = 12000345;
    s.started_wall_s = 1700000000;
    has_line("oneshot_proxy_token_expires_in_seconds 1234.567");
    has_line("oneshot_proxy_cpu_seconds_total 12.000345");
    has_line("oneshot_proxy_start_timestamp_seconds 1700000000");
    has_line("oneshot_proxy_token_held 1");
    has_line("oneshot_proxy_build_info{version=\"1.2\",libcurl=\"7\",libmicrohttpd=\"1\"} 1");
}

static void buckets_add_up_and_end_with_all(void **state)
{
    (void)state;
    s.sum.bucket[METRICS_TOTAL][0] = 5;
    s.sum.bucket[METRICS_TOTAL][1] = 2;
    s.sum.bucket[METRICS_TOTAL][METRICS_BUCKETS - 1] = 1;
    s.sum.sum_us[METRICS_TOTAL] = 40000000;
    has_line("oneshot_proxy_request_duration_seconds_bucket{le=\"0.0005\"} 5");
    has_line("oneshot_proxy_request_duration_seconds_bucket{le=\"0.001\"} 7");
    has_line("oneshot_proxy_request_duration_seconds_bucket{le=\"30\"} 7");
    has_line("oneshot_proxy_request_duration_seconds_bucket{le=\"+Inf\"} 8");
    has_line("oneshot_proxy_request_duration_seconds_count 8");
    has_line("oneshot_proxy_request_duration_seconds_sum 40.000000");
}

static void requests_are_told_by_method_status_and_stage(void **state)
{
    (void)state;
    s.sum.requests[METRICS_SAFE][2][STAGE_COUNT] = 11;
    s.sum.requests[METRICS_UNSAFE][5][STAGE_UPSTREAM] = 12;
    s.sum.requests[METRICS_UNSAFE][0][STAGE_PROXY] = 13;
    has_line("oneshot_proxy_requests_total{method=\"safe\",status=\"2xx\",stage=\"none\"} 11");
    has_line(
        "oneshot_proxy_requests_total{method=\"unsafe\",status=\"5xx\",stage=\"upstream\"} 12");
    has_line(
        "oneshot_proxy_requests_total{method=\"unsafe\",status=\"none\",stage=\"proxy\"} 13");
}

static void fetches_are_told_by_result(void **state)
{
    (void)state;
    stats.obtained = 3;
    stats.failed_of[FAIL_TOKEN_TLS] = 2;
    has_line("oneshot_proxy_token_fetches_total{result=\"obtained\"} 3");
    has_line("oneshot_proxy_token_fetches_total{result=\"token-tls\"} 2");
    has_line("oneshot_proxy_token_fetches_total{result=\"token-dns\"} 0");
}

static void each_worker_has_its_age(void **state)
{
    (void)state;
    s.worker_count = 2;
    s.worker[1].turn_age_ms = 5001;
    has_line("oneshot_proxy_worker_turn_age_seconds{worker=\"0\"} 0.000");
    has_line("oneshot_proxy_worker_turn_age_seconds{worker=\"1\"} 5.001");
}

static void large_counts_keep_every_digit(void **state)
{
    (void)state;
    s.sum.counter[M_request_body_bytes] = UINT64_MAX;
    has_line("oneshot_proxy_request_body_bytes_total 18446744073709551615");
}

static void the_path_of_a_certificate_is_escaped(void **state)
{
    (void)state;
    assert_null(strstr(render(), "certificate_expiry"));
    s.certificates = 1;
    s.certificate[0] = (struct config_certificate){ .key = "listen.tls_certificate",
                                                    .path = "/a \"b\"\\c\nd.pem",
                                                    .end_s = 1800000000 };
    has_line("oneshot_proxy_certificate_expiry_timestamp_seconds"
             "{file=\"/a \\\"b\\\"\\\\c\\nd.pem\"} 1800000000");
}

static void the_ledger_has_metrics_where_there_is_one(void **state)
{
    (void)state;
    assert_null(strstr(render(), "oneshot_proxy_ledger"));
    s.now_wall_s = 1800000100;
    s.ledger = (struct ledger_status){ .on = true,
                                       .up = true,
                                       .in_flight = 3,
                                       .unknown = 1,
                                       .unknown_oldest_ms = 1800000000500,
                                       .outcomes_waiting = 2,
                                       .contradictions = 4,
                                       .store_bytes = 8192,
                                       .outcomes = { 0, 7, 1, 2 },
                                       .claim_bucket = { [3] = 5 },
                                       .claim_sum_us = 20000 };
    s.sum.ledger[1] = 10;
    s.sum.ledger[9] = 6;
    has_line("oneshot_proxy_ledger_up 1");
    has_line("oneshot_proxy_ledger_requests_total{result=\"claimed\"} 10");
    has_line("oneshot_proxy_ledger_requests_total{result=\"in_flight\"} 0");
    has_line("oneshot_proxy_ledger_requests_total{result=\"down\"} 6");
    has_line("oneshot_proxy_ledger_outcomes_total{outcome=\"answered\"} 7");
    has_line("oneshot_proxy_ledger_outcomes_total{outcome=\"unknown\"} 1");
    has_line("oneshot_proxy_ledger_outcomes_total{outcome=\"released\"} 2");
    has_line("oneshot_proxy_ledger_entries{state=\"in_flight\"} 3");
    has_line("oneshot_proxy_ledger_entries{state=\"unknown\"} 1");
    has_line("oneshot_proxy_ledger_unknown_oldest_seconds 100");
    has_line("oneshot_proxy_ledger_claim_seconds_bucket{le=\"0.0025\"} 0");
    has_line("oneshot_proxy_ledger_claim_seconds_bucket{le=\"0.005\"} 5");
    has_line("oneshot_proxy_ledger_claim_seconds_sum 0.020000");
    has_line("oneshot_proxy_ledger_claim_seconds_count 5");
    has_line("oneshot_proxy_ledger_outcomes_waiting 2");
    has_line("oneshot_proxy_ledger_contradictions_total 4");
    has_line("oneshot_proxy_ledger_store_bytes 8192");
}

static void a_full_buffer_is_an_error(void **state)
{
    (void)state;
    struct buf small;

    buf_init(&small, 2000);
    assert_int_equal(prometheus_render(&s, &small), -EMSGSIZE);
    buf_done(&small);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(every_metric_has_help_and_type_before_its_samples),
        T(times_are_seconds),
        T(buckets_add_up_and_end_with_all),
        T(requests_are_told_by_method_status_and_stage),
        T(fetches_are_told_by_result),
        T(each_worker_has_its_age),
        T(large_counts_keep_every_digit),
        T(the_path_of_a_certificate_is_escaped),
        T(the_ledger_has_metrics_where_there_is_one),
        T(a_full_buffer_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

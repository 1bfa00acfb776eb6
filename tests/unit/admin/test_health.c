/* health.c: whether the program is well, and whose fault it is if not. */
#include <string.h>

#include "admin/health.h"
#include "unit.h"

static struct status s;
static struct token_manager_stats stats;
static struct history_step recent;
static struct config config;
static struct health v;

/* All is well: a token, requests that succeed. */
static int setup(void **state)
{
    (void)state;
    memset(&s, 0, sizeof s);
    memset(&stats, 0, sizeof stats);
    s.worker_count = 2;
    s.now_ms = 1000000;
    s.config = &config;
    config.token.retry_max_ms = 60000;
    s.token = (struct status_token){ .held = true,
                                     .expires_in_ms = 1800000,
                                     .lifetime_ms = 3600000,
                                     .age_ms = 1800000,
                                     .generation = 1,
                                     .stats = &stats };
    recent = (struct history_step){ .span_ms = 60000, .requests = 1000 };
    return 0;
}

/* No token, and fetching one failed so often, the last time like this. */
static void fail_token(unsigned times, enum failure_kind kind, const char *detail)
{
    s.token.held = false;
    s.reason = STATUS_TOKEN_FAILING;
    stats.consecutive_failures = times;
    stats.last_failure = failure_make(kind, "%s", detail);
}

static void assert_health(enum health_kind kind, enum health_level level, const char *fault)
{
    v = health_of(&s, &recent);
    assert_int_equal(v.kind, kind);
    assert_int_equal(v.level, level);
    if (fault == NULL)
        assert_null(v.fault);
    else
        assert_string_equal(v.fault, fault);
    assert_true(v.detail[0] != '\0');
    assert_true(v.headline[0] != '\0');
}

static void a_token_and_an_upstream_that_answers_is_well(void **state)
{
    (void)state;
    assert_health(HEALTH_WELL, HEALTH_GOOD, NULL);
    recent.requests = 0;
    assert_health(HEALTH_WELL, HEALTH_GOOD, NULL);
    assert_non_null(strstr(v.detail, "Nobody asked"));
}

static void what_callers_get_wrong_is_mentioned_and_all_is_well(void **state)
{
    (void)state;
    recent.failed[STAGE_REQUEST] = 1000;
    assert_health(HEALTH_WELL, HEALTH_GOOD, NULL);
    assert_non_null(strstr(v.detail, "1000 requests wrong"));
    recent.failed[STAGE_REQUEST] = 1;
    assert_health(HEALTH_WELL, HEALTH_GOOD, NULL);
    assert_non_null(strstr(v.detail, "1 request wrong"));
}

static void before_the_first_token_it_is_starting(void **state)
{
    (void)state;
    s.token = (struct status_token){ .fetching = true, .stats = &stats };
    s.reason = STATUS_TOKEN_PENDING;
    assert_health(HEALTH_STARTING, HEALTH_WARN, NULL);
}

static void refused_credentials_are_the_configurations_fault(void **state)
{
    (void)state;
    static const enum failure_kind kinds[] = { FAIL_TOKEN_REFUSED, FAIL_TOKEN_FORBIDDEN,
                                               FAIL_TOKEN_CONFIG };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        fail_token(1, kinds[i], "Check the secret.");
        assert_health(HEALTH_NO_TOKEN, HEALTH_BAD, "the configuration (client credentials)");
        assert_non_null(strstr(v.detail, "Check the secret."));
    }
}

static void a_fetch_without_memory_or_descriptors_is_this_proxys_fault(void **state)
{
    (void)state;
    static const enum failure_kind kinds[] = { FAIL_OVERLOAD, FAIL_INTERNAL };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        fail_token(1, kinds[i], "No descriptor is left.");
        assert_health(HEALTH_NO_TOKEN, HEALTH_BAD, "this proxy");
        s.token.held = true;
        assert_health(HEALTH_RENEWAL_FAILS, HEALTH_WARN, "this proxy");
    }
}

static void an_unreachable_token_endpoint_is_its_own_fault(void **state)
{
    (void)state;
    fail_token(3, FAIL_TOKEN_DNS, "No such name.");
    assert_health(HEALTH_NO_TOKEN, HEALTH_BAD, "the token endpoint");
}

static void a_token_that_went_is_being_replaced(void **state)
{
    (void)state;
    s.token = (struct status_token){ .fetching = true, .generation = 1, .stats = &stats };
    s.reason = STATUS_TOKEN_PENDING;
    assert_health(HEALTH_RENEWING, HEALTH_WARN, NULL);
}

static void a_renewal_that_fails_while_the_token_serves_is_a_warning(void **state)
{
    (void)state;
    fail_token(1, FAIL_TOKEN_UNAVAILABLE, "It answered 503.");
    s.token.held = true;
    assert_health(HEALTH_RENEWAL_FAILS, HEALTH_WARN, "the token endpoint");
    assert_non_null(strstr(v.detail, "30 more minutes"));
    assert_non_null(strstr(v.detail, "It answered 503."));
}

static void dropped(size_t at, int64_t age_ms)
{
    stats.event[at] = (struct token_manager_event){ .what = TOKEN_MANAGER_SUSPECT,
                                                    .at_ms = s.now_ms - age_ms };
    stats.events = at + 1;
}

static void an_upstream_that_refuses_fresh_tokens_points_to_the_credentials(void **state)
{
    (void)state;
    dropped(0, 50000);
    assert_health(HEALTH_WELL, HEALTH_GOOD, NULL); /* a token that was revoked */
    dropped(1, 1000);
    assert_health(HEALTH_TOKENS_REFUSED, HEALTH_BAD, "the configuration (client credentials)");
    s.token.held = false; /* while the next one is fetched: the same */
    s.reason = STATUS_TOKEN_PENDING;
    assert_health(HEALTH_TOKENS_REFUSED, HEALTH_BAD, "the configuration (client credentials)");
}

static void tokens_refused_long_ago_are_forgotten(void **state)
{
    (void)state;
    dropped(0, 200000);
    dropped(1, 119000);
    assert_health(HEALTH_WELL, HEALTH_GOOD, NULL);
}

static void an_upstream_that_fails_half_of_all_is_down(void **state)
{
    (void)state;
    recent.failed[STAGE_UPSTREAM] = 300;
    recent.upstream_errors = 200;
    assert_health(HEALTH_UPSTREAM_DOWN, HEALTH_BAD, "the upstream");
    assert_non_null(strstr(v.detail, "500 of 1000"));
    recent.upstream_errors = 199;
    assert_health(HEALTH_UPSTREAM_FAILS, HEALTH_WARN, "the upstream");
}

static void two_failures_do_not_make_an_upstream_down(void **state)
{
    (void)state;
    recent.requests = 2;
    recent.upstream_errors = 2;
    assert_health(HEALTH_UPSTREAM_FAILS, HEALTH_WARN, "the upstream");
    recent.requests = recent.upstream_errors = 3;
    assert_health(HEALTH_UPSTREAM_DOWN, HEALTH_BAD, "the upstream");
}

static void one_failure_in_more_than_a_hundred_is_well(void **state)
{
    (void)state;
    recent.upstream_errors = 9;
    assert_health(HEALTH_WELL, HEALTH_GOOD, NULL);
    recent.upstream_errors = 10;
    assert_health(HEALTH_UPSTREAM_FAILS, HEALTH_WARN, "the upstream");
}

static void requests_turned_away_are_this_proxys_fault(void **state)
{
    (void)state;
    recent.failed[STAGE_PROXY] = 20;
    assert_health(HEALTH_LIMIT, HEALTH_WARN, "this proxy");
    assert_non_null(strstr(v.detail, "20 of 1000"));
    assert_non_null(strstr(v.detail, "upstream.max_in_flight"));
    assert_non_null(strstr(v.detail, "upstream.max_connections"));
    assert_non_null(strstr(v.detail, "listen.max_connections"));
}

static void a_ledger_that_is_down_is_told_although_nobody_asked(void **state)
{
    (void)state;
    recent.requests = 0;
    s.ledger = (struct ledger_status){ .on = true, .up = true, .kind = "sqlite" };
    assert_health(HEALTH_WELL, HEALTH_GOOD, NULL);
    s.ledger.up = false;
    s.ledger.down_ms = s.now_ms - 7000;
    s.ledger.why = "the ledger's store cannot be reached";
    assert_health(HEALTH_LEDGER_DOWN, HEALTH_BAD, "the ledger's store");
    assert_non_null(strstr(v.detail, "For 7 s: the ledger's store cannot be reached."));
    assert_non_null(strstr(v.detail, "ledger.store"));
    recent.requests = 10; /* they are refused for that, not by a limit */
    recent.failed[STAGE_PROXY] = 10;
    assert_health(HEALTH_LEDGER_DOWN, HEALTH_BAD, "the ledger's store");
    fail_token(1, FAIL_TOKEN_DNS, "No such name."); /* then everything fails */
    assert_health(HEALTH_NO_TOKEN, HEALTH_BAD, "the token endpoint");
}

static void a_freeze_is_told_although_nobody_asked(void **state)
{
    (void)state;
    struct freeze freeze = { .file = (char[]){ "/etc/oneshot-proxy/freeze" } };
    recent.requests = 0;
    s.freeze = &freeze;
    assert_health(HEALTH_WELL, HEALTH_GOOD, NULL);
    freeze.is_frozen = true;
    (void)snprintf(freeze.reason, sizeof freeze.reason, "incident 7");
    assert_health(HEALTH_FROZEN, HEALTH_WARN, NULL);
    assert_non_null(strstr(v.detail, "incident 7"));
    assert_non_null(strstr(v.detail, "removed: /etc/oneshot-proxy/freeze"));
    recent.requests = 10; /* refused for that, not by a limit */
    recent.failed[STAGE_PROXY] = 4;
    assert_health(HEALTH_FROZEN, HEALTH_WARN, NULL);
    recent.upstream_errors = 6; /* what nobody has wanted comes first */
    assert_health(HEALTH_UPSTREAM_DOWN, HEALTH_BAD, "the upstream");
    recent.upstream_errors = 0;
    fail_token(1, FAIL_TOKEN_TIMEOUT, "late");
    s.token.held = true;
    assert_health(HEALTH_RENEWAL_FAILS, HEALTH_WARN, "the token endpoint");
    s.freeze = NULL;
}

static void a_freeze_file_that_cannot_be_looked_at_is_the_configurations_fault(void **state)
{
    (void)state;
    struct freeze freeze = { .file = (char[]){ "/run/gone/freeze" },
                             .is_frozen = true,
                             .in_doubt = true };
    s.freeze = &freeze;
    (void)snprintf(freeze.reason, sizeof freeze.reason,
                   "the directory of freeze.file is missing");
    assert_health(HEALTH_FREEZE_UNSEEN, HEALTH_BAD, "the configuration (freeze.file)");
    assert_non_null(strstr(v.detail, "directory of freeze.file is missing"));
    assert_non_null(strstr(v.detail, "/run/gone/freeze"));
    s.freeze = NULL;
}

static void a_refused_reload_is_told_until_one_succeeds(void **state)
{
    (void)state;
    s.reload_trouble = "t.ini:3: log.level: is not one of ...";
    assert_health(HEALTH_RELOAD_REFUSED, HEALTH_WARN, "the configuration");
    assert_non_null(strstr(v.detail, "still in force"));
    assert_non_null(strstr(v.detail, "t.ini:3: log.level"));
    recent.upstream_errors = 1000; /* what fails requests now comes first */
    assert_health(HEALTH_UPSTREAM_DOWN, HEALTH_BAD, "the upstream");
    recent.upstream_errors = 0;
    s.reload_trouble = NULL;
    assert_health(HEALTH_WELL, HEALTH_GOOD, NULL);
}

static void after_an_outage_of_the_token_endpoint_it_says_so_for_a_minute(void **state)
{
    (void)state;
    recent.failed[STAGE_TOKEN] = 50;
    assert_health(HEALTH_RECOVERED, HEALTH_WARN, "the token endpoint");
}

static void stopping_comes_before_everything_but_a_stuck_worker(void **state)
{
    (void)state;
    fail_token(1, FAIL_TOKEN_DNS, "No such name.");
    s.draining = true;
    s.reason = STATUS_DRAINING;
    s.in_flight = 3;
    assert_health(HEALTH_STOPPING, HEALTH_WARN, NULL);
    assert_non_null(strstr(v.detail, "3 requests"));
    s.stuck_count = 1;
    s.worker[1] = (struct status_worker){ .turn_age_ms = 12345, .stuck = true };
    assert_health(HEALTH_STUCK, HEALTH_BAD, "this proxy");
    assert_non_null(strstr(v.detail, "worker 1 has not turned for 12 seconds"));
}

static void certificates_that_end_are_told_two_weeks_ahead(void **state)
{
    (void)state;
    s.now_wall_s = 1700000000;
    s.certificates = 2;
    s.certificate[0] = (struct config_certificate){ .key = "listen.tls_certificate",
                                                    .path = "/a.pem",
                                                    .end_s = s.now_wall_s + 90 * 86400 };
    s.certificate[1] = (struct config_certificate){ .key = "upstream.ca_file",
                                                    .path = "/b.pem",
                                                    .end_s = s.now_wall_s + 15 * 86400 };
    assert_health(HEALTH_WELL, HEALTH_GOOD, NULL);
    s.certificate[1].end_s -= 2 * 86400;
    assert_health(HEALTH_CERTIFICATE_ENDS, HEALTH_WARN, "the configuration (certificates)");
    assert_non_null(strstr(v.detail, "/b.pem (upstream.ca_file) ends in 13 days"));
    s.certificate_trouble = "t.ini: listen.tls_key: /k does not fit";
    assert_health(HEALTH_CERTIFICATE_KEPT, HEALTH_WARN, "the configuration (certificates)");
    assert_non_null(strstr(v.detail, "/k does not fit"));
    s.certificate[1].end_s = s.now_wall_s;
    assert_health(HEALTH_CERTIFICATE_ENDED, HEALTH_BAD, "the configuration (certificates)");
    s.token.held = false; /* what fails requests now comes first */
    fail_token(2, FAIL_TOKEN_DNS, "");
    assert_health(HEALTH_NO_TOKEN, HEALTH_BAD, "the token endpoint");
}

static void the_longest_text_is_cut_and_not_overrun(void **state)
{
    (void)state;
    fail_token(2, FAIL_TOKEN_DNS, "");
    stats.last_failure = failure_make(FAIL_TOKEN_DNS, "%0255d", 1);
    s.token.held = true;
    s.token.expires_in_ms = INT64_MAX;
    assert_health(HEALTH_RENEWAL_FAILS, HEALTH_WARN, "the token endpoint");
    assert_true(strlen(v.detail) < sizeof v.detail);
}

static void since_changes_with_the_kind_only(void **state)
{
    (void)state;
    struct health_since since = { .wall_s = 0 };
    v = health_of(&s, &recent);
    health_track(&since, &v, 1000, 11);
    assert_int_equal(since.ms, 1000);
    recent.failed[STAGE_REQUEST] = 5; /* other words, the same health */
    v = health_of(&s, &recent);
    health_track(&since, &v, 5000, 15);
    assert_int_equal(since.ms, 1000);
    s.draining = true;
    v = health_of(&s, &recent);
    health_track(&since, &v, 9000, 19);
    assert_int_equal(since.ms, 9000);
    assert_int_equal(since.wall_s, 19);
    assert_int_equal(since.kind, HEALTH_STOPPING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_token_and_an_upstream_that_answers_is_well, setup),
        cmocka_unit_test_setup(what_callers_get_wrong_is_mentioned_and_all_is_well, setup),
        cmocka_unit_test_setup(before_the_first_token_it_is_starting, setup),
        cmocka_unit_test_setup(refused_credentials_are_the_configurations_fault, setup),
        cmocka_unit_test_setup(a_fetch_without_memory_or_descriptors_is_this_proxys_fault,
                               setup),
        cmocka_unit_test_setup(an_unreachable_token_endpoint_is_its_own_fault, setup),
        cmocka_unit_test_setup(a_token_that_went_is_being_replaced, setup),
        cmocka_unit_test_setup(a_renewal_that_fails_while_the_token_serves_is_a_warning, setup),
        cmocka_unit_test_setup(an_upstream_that_refuses_fresh_tokens_points_to_the_credentials,
                               setup),
        cmocka_unit_test_setup(tokens_refused_long_ago_are_forgotten, setup),
        cmocka_unit_test_setup(an_upstream_that_fails_half_of_all_is_down, setup),
        cmocka_unit_test_setup(two_failures_do_not_make_an_upstream_down, setup),
        cmocka_unit_test_setup(one_failure_in_more_than_a_hundred_is_well, setup),
        cmocka_unit_test_setup(requests_turned_away_are_this_proxys_fault, setup),
        cmocka_unit_test_setup(a_ledger_that_is_down_is_told_although_nobody_asked, setup),
        cmocka_unit_test_setup(a_freeze_is_told_although_nobody_asked, setup),
        cmocka_unit_test_setup(
            a_freeze_file_that_cannot_be_looked_at_is_the_configurations_fault, setup),
        cmocka_unit_test_setup(a_refused_reload_is_told_until_one_succeeds, setup),
        cmocka_unit_test_setup(after_an_outage_of_the_token_endpoint_it_says_so_for_a_minute,
                               setup),
        cmocka_unit_test_setup(stopping_comes_before_everything_but_a_stuck_worker, setup),
        cmocka_unit_test_setup(certificates_that_end_are_told_two_weeks_ahead, setup),
        cmocka_unit_test_setup(the_longest_text_is_cut_and_not_overrun, setup),
        cmocka_unit_test_setup(since_changes_with_the_kind_only, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

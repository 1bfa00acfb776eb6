/* status.c: how the status is collected, and the answers to probes. */
#include <string.h>

#include "admin/status.h"
#include "base/clock.h"
#include "unit.h"

/* The test's time, by link seam. */
static int64_t now_ms = 1000000;

int64_t clock_ms(void)
{
    return now_ms;
}
int64_t clock_us(void)
{
    return now_ms * 1000;
}
int64_t clock_wall_s(void)
{
    return 1700000000 + now_ms / 1000;
}
int64_t clock_wall_ms(void)
{
    return clock_wall_s() * 1000;
}
int64_t clock_wall_ns(void)
{
    return clock_wall_ms() * 1000000;
}

static int64_t turned_ms[3];
static struct metrics shards[3], control;
static struct token_manager tokens;
static struct config config;
static struct token token;
static struct status status;
static bool draining;

static void alive(unsigned worker, int64_t age_ms)
{
    turned_ms[worker] = now_ms - age_ms;
}

static int setup(void **state)
{
    (void)state;
    memset(shards, 0, sizeof shards);
    memset(&tokens, 0, sizeof tokens);
    memset(&control, 0, sizeof control);
    memset(&token, 0, sizeof token);
    draining = false;
    for (unsigned i = 0; i < 3; i++)
        alive(i, 10);
    return 0;
}

static void take(void)
{
    struct status_input in = { .started_ms = now_ms - 90500,
                               .started_wall_s = 1699999000,
                               .draining = draining,
                               .config = &config,
                               .token_manager = &tokens,
                               .worker_count = 3 };

    memcpy(in.turned_ms, turned_ms, sizeof turned_ms);
    for (size_t i = 0; i < ARRAY_LEN(shards); i++)
        metrics_add_shard(&in.sum, &shards[i]);
    metrics_add_shard(&in.sum, &control);
    status_take(&status, &in);
}

/* One that was asked for `age_ms` ago. */
static void hold_token(int64_t age_ms, int64_t life_ms)
{
    token.obtained_ms = now_ms - age_ms;
    token.expires_ms = token.obtained_ms + life_ms;
    token.generation = tokens.generation = 4;
    tokens.current = &token;
    tokens.timer.slot = 1;
    tokens.timer.due_ms = now_ms + 2000;
}

static void fail_fetch(void)
{
    tokens.state = TOKEN_MANAGER_WAITING;
    tokens.timer.slot = 1;
    tokens.timer.due_ms = now_ms + 7400;
    tokens.stats.consecutive_failures = 2;
    tokens.stats.last_failure_wall_s = 1700000000;
    tokens.stats.last_failure = failure_make(FAIL_TOKEN_REFUSED, "It said \"no\".");
    tokens.stats.last_failure.received_status = 401;
}

static const char *health(void)
{
    static struct buf out;

    buf_done(&out);
    buf_init(&out, 4096);
    assert_int_equal(status_health_json(&status, &out), 0);
    return buf_text(&out);
}

static const char *ready(void)
{
    static struct buf out;

    buf_done(&out);
    buf_init(&out, 4096);
    assert_int_equal(status_ready_json(&status, &out), 0);
    return buf_text(&out);
}

static void has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("%s is not in %s", part, text);
}

static void a_held_token_makes_it_ready(void **state)
{
    (void)state;
    hold_token(1000, 3600000);
    take();
    assert_true(status_ready(&status));
    assert_int_equal(status.token.age_ms, 1000);
    assert_int_equal(status.token.expires_in_ms, 3599000);
    assert_int_equal(status.token.lifetime_ms, 3600000);
    assert_int_equal(status.token.next_fetch_ms, 2000);
    assert_int_equal(status.uptime_ms, 90500);
    has(ready(), "{\"status\":\"ready\",\"reason\":\"ready\",");
    has(ready(), "\"expires_in_seconds\":3599,");
    has(ready(), "\"last_failure\":null}");
}

static void a_token_is_not_held_from_its_last_moment_on(void **state)
{
    (void)state;
    hold_token(5000, 5001);
    take();
    assert_true(status_ready(&status));
    hold_token(5000, 5000);
    take();
    assert_false(status_ready(&status));
    assert_int_equal(status.reason, STATUS_TOKEN_PENDING);
    has(ready(), "\"expires_in_seconds\":null");
}

static void before_the_first_token_it_is_pending(void **state)
{
    (void)state;
    tokens.state = TOKEN_MANAGER_FETCHING;
    tokens.sent_ms = now_ms - 300;
    take();
    assert_int_equal(status.reason, STATUS_TOKEN_PENDING);
    assert_true(status.token.fetching);
    assert_int_equal(status.token.fetching_for_ms, 300);
    assert_int_equal(status.token.next_fetch_ms, -1);
    has(ready(), "\"status\":\"not_ready\",\"reason\":\"token_pending\"");
    has(ready(), "\"next_fetch_in_seconds\":null");
    has(ready(), "\"last_success\":null");
}

static void a_failing_token_names_stage_error_and_status(void **state)
{
    (void)state;
    fail_fetch();
    take();
    assert_int_equal(status.reason, STATUS_TOKEN_FAILING);
    has(ready(), "\"reason\":\"token_failing\"");
    has(ready(), "the next one is in 8 s. It said \\\"no\\\".");
    has(ready(), "\"last_failure\":{\"stage\":\"token\",\"error\":\"token-refused\","
                 "\"received_status\":401,\"time\":\"2023-11-14T22:13:20Z\","
                 "\"detail\":\"It said \\\"no\\\".\"}");
}

static void a_failed_renewal_leaves_it_ready(void **state)
{
    (void)state;
    hold_token(3500000, 3600000);
    fail_fetch();
    take();
    assert_true(status_ready(&status));
    assert_true(status.token.backing_off);
    has(ready(), "\"consecutive_failures\":2");
}

static void draining_comes_before_all_else(void **state)
{
    (void)state;
    hold_token(0, 3600000);
    draining = true;
    take();
    assert_int_equal(status.reason, STATUS_DRAINING);
    has(ready(), "\"reason\":\"draining\"");
    has(health(), "\"status\":\"ok\"");
}

static void workers_that_turn_are_well(void **state)
{
    (void)state;
    alive(2, STATUS_STUCK_MS);
    take();
    assert_int_equal(status.stuck_count, 0);
    has(health(), "{\"status\":\"ok\",\"workers\":3,\"stuck_workers\":[],");
}

static void a_worker_past_the_bound_is_named(void **state)
{
    (void)state;
    alive(1, STATUS_STUCK_MS + 1);
    take();
    assert_int_equal(status.stuck_count, 1);
    assert_true(status.worker[1].stuck);
    assert_false(status.worker[2].stuck);
    has(health(), "{\"status\":\"stuck\",\"workers\":3,"
                  "\"stuck_workers\":[{\"worker\":1,\"seconds\":5}],");
    assert_true(status_is_stuck(turned_ms[1], now_ms));
    assert_false(status_is_stuck(turned_ms[2], now_ms));
}

/* A worker reads its clock after control did. */
static void a_turn_in_the_future_has_no_age(void **state)
{
    (void)state;
    alive(0, -3);
    take();
    assert_int_equal(status.worker[0].turn_age_ms, 0);
}

static void the_shards_are_added_up(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        metrics_add(&shards[i], M_requests_started, 10);
        metrics_add(&shards[i], M_connections_opened, 2 + i);
        metrics_request(&shards[i], &(struct metrics_request){ .method = METRICS_UNSAFE,
                                                               .status = 204,
                                                               .stage = STAGE_COUNT,
                                                               .total_us = 700,
                                                               .token_us = 0,
                                                               .upstream_us = -1 });
    }
    metrics_add(&shards[1], M_connections_closed, 4);
    metrics_add(&control, M_reloads_applied, 3);
    take();
    assert_int_equal(status.in_flight, 27);
    assert_int_equal(status.connections, 5);
    assert_int_equal(status.sum.requests[METRICS_UNSAFE][2][STAGE_COUNT], 3);
    assert_int_equal(status.sum.bucket[METRICS_TOTAL][1], 3);
    assert_int_equal(status.sum.sum_us[METRICS_TOTAL], 2100);
    assert_int_equal(status.sum.bucket[METRICS_TOKEN_WAIT][0], 3);
    assert_int_equal(status.sum.bucket[METRICS_UPSTREAM][0], 0);
    assert_int_equal(status.sum.counter[M_reloads_applied], 3);
}

static void readiness_tells_of_the_ledger_and_does_not_turn_on_it(void **state)
{
    (void)state;
    hold_token(1000, 5000);
    take();
    assert_null(strstr(ready(), "\"ledger\""));
    status.ledger = (struct ledger_status){ .on = true, .up = true };
    has(ready(), "\"ledger\":\"up\"");
    status.ledger.up = false;
    has(ready(), "\"ledger\":\"down\"");
    has(ready(), "\"status\":\"ready\"");
}

static void what_is_open_is_never_negative(void **state)
{
    (void)state;
    metrics_add(&shards[0], M_requests_finished, 1);
    take();
    assert_int_equal(status.in_flight, 0);
}

#define T(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_held_token_makes_it_ready),
        T(a_token_is_not_held_from_its_last_moment_on),
        T(before_the_first_token_it_is_pending),
        T(a_failing_token_names_stage_error_and_status),
        T(a_failed_renewal_leaves_it_ready),
        T(draining_comes_before_all_else),
        T(workers_that_turn_are_well),
        T(a_worker_past_the_bound_is_named),
        T(a_turn_in_the_future_has_no_age),
        T(the_shards_are_added_up),
        T(readiness_tells_of_the_ledger_and_does_not_turn_on_it),
        T(what_is_open_is_never_negative),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

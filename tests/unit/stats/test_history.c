/* history.c: the last quarter of an hour, with the test's own clock. */
#include <string.h>

#include "stats/history.h"
#include "unit.h"

static struct history h;
static struct history_totals totals;
static int64_t now_ms;

static int setup(void **state)
{
    (void)state;
    memset(&totals, 0, sizeof totals);
    now_ms = 5000000;
    history_init(&h, &totals, now_ms);
    return 0;
}

/* n requests that took the bucket's time, then `ms` pass, then a sample. */
static void pass(uint64_t n, size_t bucket, int64_t ms)
{
    totals.requests += n;
    totals.bucket[bucket] += n;
    now_ms += ms;
    history_sample(&h, &totals, now_ms);
}

static void at_first_there_is_nothing(void **state)
{
    (void)state;
    assert_null(history_step(&h, 0));
    struct history_step rest = history_rest(&h, &totals, now_ms);
    assert_int_equal(rest.requests, 0);
    assert_int_equal(rest.span_ms, 0);
    assert_true(history_rate(&rest) == 0);
    assert_true(history_quantile_us(&rest, 0.5) < 0);
}

static void what_was_counted_before_the_beginning_is_not_history(void **state)
{
    (void)state;
    totals.requests = 1000;
    history_init(&h, &totals, now_ms);
    pass(3, 0, HISTORY_STEP_MS);
    assert_int_equal(history_step(&h, 0)->requests, 3);
}

static void a_step_is_the_difference_of_two_totals(void **state)
{
    (void)state;
    pass(20, 2, HISTORY_STEP_MS);
    totals.failed[STAGE_TOKEN] += 2;
    totals.failed[STAGE_UPSTREAM] += 1;
    totals.upstream_errors += 4;
    pass(50, 3, HISTORY_STEP_MS);
    const struct history_step *s = history_step(&h, 0);
    assert_int_equal(s->requests, 50);
    assert_int_equal(s->failed[STAGE_TOKEN], 2);
    assert_int_equal(history_failed(s), 7);
    assert_int_equal(s->bucket[2], 0);
    assert_int_equal(s->bucket[3], 50);
    assert_true(history_rate(s) == 5.0);
    assert_int_equal(history_step(&h, 1)->requests, 20);
    assert_null(history_step(&h, 2));
}

static void a_timer_that_comes_late_makes_no_gap(void **state)
{
    (void)state;
    pass(10, 0, HISTORY_STEP_MS);
    pass(10, 0, HISTORY_STEP_MS + 2500);
    assert_int_equal(h.count, 2);
    assert_true(history_rate(history_step(&h, 0)) == 0.8);
}

static void a_call_that_comes_early_changes_nothing(void **state)
{
    (void)state;
    pass(10, 0, HISTORY_STEP_MS / 4);
    assert_int_equal(h.count, 0);
    pass(10, 0, HISTORY_STEP_MS * 3 / 4);
    assert_int_equal(h.count, 1);
    assert_int_equal(history_step(&h, 0)->requests, 20);
}

static void a_suspended_machine_leaves_a_gap(void **state)
{
    (void)state;
    pass(10, 0, HISTORY_STEP_MS);
    pass(30, 0, 4 * HISTORY_STEP_MS);
    assert_int_equal(h.count, 5);
    assert_int_equal(history_step(&h, 0)->requests, 30);
    assert_int_equal(history_step(&h, 0)->span_ms, 4 * HISTORY_STEP_MS);
    assert_true(history_rate(history_step(&h, 0)) == 0.75);
    for (size_t age = 1; age <= 3; age++)
        assert_int_equal(history_step(&h, age)->span_ms, 0);
    assert_int_equal(history_step(&h, 4)->requests, 10);
}

static void a_night_of_suspend_empties_it(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        pass(10, 0, HISTORY_STEP_MS);
    pass(7, 0, 9 * 3600 * 1000LL);
    assert_int_equal(h.count, HISTORY_STEPS);
    assert_int_equal(history_step(&h, 0)->requests, 7);
    for (size_t age = 1; age < HISTORY_STEPS; age++)
        assert_int_equal(history_step(&h, age)->span_ms, 0);
}

static void a_clock_that_stands_still_or_goes_back_changes_nothing(void **state)
{
    (void)state;
    pass(10, 0, HISTORY_STEP_MS);
    pass(10, 0, 0);
    pass(10, 0, -3 * HISTORY_STEP_MS);
    assert_int_equal(h.count, 1);
    assert_int_equal(history_rest(&h, &totals, now_ms).span_ms, 0);
}

static void the_ring_keeps_the_newest_quarter_of_an_hour(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 2 * HISTORY_STEPS + 7; i++)
        pass(i, 0, HISTORY_STEP_MS);
    assert_int_equal(h.count, HISTORY_STEPS);
    for (size_t age = 0; age < HISTORY_STEPS; age++)
        assert_int_equal(history_step(&h, age)->requests, 2 * HISTORY_STEPS + 7 - age);
    assert_null(history_step(&h, HISTORY_STEPS));
}

static void a_sum_goes_from_some_steps_ago_to_now(void **state)
{
    (void)state;
    pass(100, 0, HISTORY_STEP_MS);
    pass(10, 0, HISTORY_STEP_MS);
    pass(20, 0, HISTORY_STEP_MS);
    totals.requests += 5;
    struct history_step sum = history_sum(&h, &totals, now_ms + 5000, 2);
    assert_int_equal(sum.requests, 35);
    assert_int_equal(sum.span_ms, 2 * HISTORY_STEP_MS + 5000);
    sum = history_sum(&h, &totals, now_ms, 1000);
    assert_int_equal(sum.requests, 135);
}

static void a_quantile_is_estimated_inside_its_bucket(void **state)
{
    (void)state;
    struct history_step s = { .bucket = { [2] = 100 } }; /* 1000 to 2500 us */
    assert_true(history_quantile_us(&s, 0.5) == 1750);
    assert_true(history_quantile_us(&s, 1.0) == 2500);
    s.bucket[0] = 100; /* up to 500 us */
    assert_true(history_quantile_us(&s, 0.25) == 250);
    assert_true(history_quantile_us(&s, 0.5) == 500);
    assert_true(history_quantile_us(&s, 0.75) == 1750);
}

static void beyond_the_last_bound_the_estimate_is_that_bound(void **state)
{
    (void)state;
    struct history_step s = { .bucket = { [METRICS_BUCKETS - 1] = 3 } };
    assert_true(history_quantile_us(&s, 0.5) == 30000000);
}

static void the_totals_come_from_what_is_counted(void **state)
{
    (void)state;
    struct metrics_sum sum = { .counter[M_requests_finished] = 100 };
    sum.requests[METRICS_SAFE][2][STAGE_COUNT] = 80;
    sum.requests[METRICS_SAFE][5][STAGE_COUNT] = 3;
    sum.requests[METRICS_UNSAFE][5][STAGE_COUNT] = 4;
    sum.requests[METRICS_SAFE][4][STAGE_COUNT] = 5; /* the upstream's 404s are no failures */
    sum.requests[METRICS_SAFE][4][STAGE_REQUEST] = 6;
    sum.requests[METRICS_UNSAFE][5][STAGE_UPSTREAM] = 1;
    sum.requests[METRICS_UNSAFE][0][STAGE_UPSTREAM] = 1;
    sum.bucket[METRICS_TOTAL][4] = 100;
    sum.bucket[METRICS_UPSTREAM][4] = 7;
    totals = history_totals_of(&sum);
    assert_int_equal(totals.requests, 100);
    assert_int_equal(totals.upstream_errors, 7);
    assert_int_equal(totals.failed[STAGE_REQUEST], 6);
    assert_int_equal(totals.failed[STAGE_UPSTREAM], 2);
    assert_int_equal(totals.failed[STAGE_TOKEN], 0);
    assert_int_equal(totals.bucket[4], 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(at_first_there_is_nothing, setup),
        cmocka_unit_test_setup(what_was_counted_before_the_beginning_is_not_history, setup),
        cmocka_unit_test_setup(a_step_is_the_difference_of_two_totals, setup),
        cmocka_unit_test_setup(a_timer_that_comes_late_makes_no_gap, setup),
        cmocka_unit_test_setup(a_call_that_comes_early_changes_nothing, setup),
        cmocka_unit_test_setup(a_suspended_machine_leaves_a_gap, setup),
        cmocka_unit_test_setup(a_night_of_suspend_empties_it, setup),
        cmocka_unit_test_setup(a_clock_that_stands_still_or_goes_back_changes_nothing, setup),
        cmocka_unit_test_setup(the_ring_keeps_the_newest_quarter_of_an_hour, setup),
        cmocka_unit_test_setup(a_sum_goes_from_some_steps_ago_to_now, setup),
        cmocka_unit_test_setup(a_quantile_is_estimated_inside_its_bucket, setup),
        cmocka_unit_test_setup(the_totals_come_from_what_is_counted, setup),
        cmocka_unit_test_setup(beyond_the_last_bound_the_estimate_is_that_bound, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

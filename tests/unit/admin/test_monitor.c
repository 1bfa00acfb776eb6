/* monitor.c, with the test's own clock: the timers are defined here in place of loop.c, and
 * the status is made up by the test. */
#include <string.h>

#include "admin/monitor.h"
#include "unit.h"

static struct loop loop;
static struct status present;
static struct token_manager_stats tokens;
static struct config *config;
static struct monitor m;
static unsigned looks;

static void take(void *arg, struct status *out)
{
    assert_ptr_equal(arg, &present);
    *out = present;
    looks++;
}

/* As the loop does it. */
static void fire(void)
{
    loop_timer_clear(&loop, &m.timer);
    m.timer.on_due(&m.timer);
}

/* Time passes; the timer fires at its time, or late by so much. */
static void pass(int64_t ms, int64_t late_ms)
{
    int64_t end_ms = present.now_ms + ms;

    while (m.timer.slot != 0 && m.timer.due_ms + late_ms <= end_ms) {
        present.now_wall_s += (m.timer.due_ms + late_ms - present.now_ms) / 1000;
        present.now_ms = m.timer.due_ms + late_ms;
        fire();
    }
    present.now_wall_s += (end_ms - present.now_ms) / 1000;
    present.now_ms = end_ms;
}

static void requests(uint64_t n)
{
    present.sum.counter[M_requests_finished] += n;
    present.sum.bucket[METRICS_TOTAL][3] += n;
}

static int setup(void **state)
{
    (void)state;
    struct config_report ignored;
    config_report_init(&ignored);
    static char env_id[] = "ONESHOT_PROXY_TOKEN_CLIENT_ID=a",
                env_secret[] = "ONESHOT_PROXY_TOKEN_CLIENT_SECRET=b";
    char id[sizeof env_id], secret[sizeof env_secret];
    memcpy(id, env_id, sizeof id);
    memcpy(secret, env_secret, sizeof secret);
    char *environment[] = { id, secret, NULL };
    struct config_env *env = config_env_take(environment);
    config = config_load(NULL, env, &ignored);
    config_env_free(env);
    config_report_done(&ignored);
    assert_non_null(config);
    memset(&present, 0, sizeof present);
    memset(&tokens, 0, sizeof tokens);
    memset(&m, 0, sizeof m);
    present.version = "1";
    present.libcurl = present.libmicrohttpd = "1";
    present.now_ms = 500000;
    present.now_wall_s = 1795521600;
    present.started_wall_s = 1795521600;
    present.worker_count = 1;
    present.config = config;
    present.token = (struct status_token){ .held = true,
                                           .lifetime_ms = 3600000,
                                           .expires_in_ms = 3600000,
                                           .generation = 1,
                                           .next_fetch_ms = 3000000,
                                           .stats = &tokens };
    looks = 0;
    assert_int_equal(loop_init(&loop), 0);
    monitor_init(&m, &loop, "127.0.0.1:8080", take, &present);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    monitor_done(&m);
    assert_int_equal(m.timer.slot, 0);
    monitor_done(&m); /* twice is once */
    loop_done(&loop);
    config_unref(config);
    return 0;
}

static void it_looks_every_ten_seconds_and_does_not_drift(void **state)
{
    (void)state;
    assert_int_equal(looks, 1);
    for (int i = 0; i < 6; i++) {
        requests(10);
        pass(HISTORY_STEP_MS, 7); /* always a little late */
    }
    assert_int_equal(looks, 6);
    pass(10, 7);
    assert_int_equal(looks, 7);
    assert_int_equal(m.history.count, 6);
    assert_int_equal(m.timer.due_ms, 500000 + 7 * HISTORY_STEP_MS);
    assert_int_equal(history_step(&m.history, 3)->requests, 10);
}

static void after_a_sleep_it_does_not_catch_up(void **state)
{
    (void)state;
    pass(HISTORY_STEP_MS, 0);
    requests(5);
    m.timer.due_ms += 3600000; /* the machine slept */
    pass(3600000 + HISTORY_STEP_MS, 0);
    assert_int_equal(looks, 3);
    assert_in_range(m.timer.due_ms - present.now_ms, 1, HISTORY_STEP_MS);
    assert_int_equal(m.history.count, HISTORY_STEPS);
}

static void a_timer_that_was_held_up_fires_once(void **state)
{
    (void)state;
    present.now_ms = m.timer.due_ms + 35000;
    fire();
    assert_int_equal(m.timer.due_ms, present.now_ms + HISTORY_STEP_MS);
    assert_int_equal(m.history.count, 5);
}

static void it_knows_since_when(void **state)
{
    (void)state;
    assert_int_equal(m.since.ms, 500000);
    assert_int_equal(m.since.kind, HEALTH_WELL);
    pass(25000, 0);
    assert_int_equal(m.since.ms, 500000);
    present.token.held = false;
    present.token.backing_off = true;
    present.reason = STATUS_TOKEN_FAILING;
    tokens.consecutive_failures = 1;
    tokens.last_failure = failure_make(FAIL_TOKEN_DNS, "No such name.");
    monitor_look(&m); /* told at once */
    assert_int_equal(m.since.ms, 525000);
    assert_int_equal(m.since.wall_s, 1795521625);
    pass(60000, 0);
    assert_int_equal(m.since.ms, 525000);
    assert_int_equal(m.since.kind, HEALTH_NO_TOKEN);
}

static void the_page_shows_what_has_happened_since_the_last_look(void **state)
{
    (void)state;
    struct buf html;
    requests(4711);
    pass(HISTORY_STEP_MS, 0);
    requests(289);
    pass(2000, 0);
    buf_init(&html, 1 << 20);
    assert_int_equal(monitor_render(&m, &present, &html), 200);
    assert_non_null(strstr(buf_text(&html), ">5\xe2\x80\xaf"
                                            "000</data>"));
    assert_non_null(strstr(buf_text(&html), "127.0.0.1:8080"));
    buf_done(&html);
}

static void a_page_that_does_not_fit_is_an_error(void **state)
{
    (void)state;
    struct buf html;
    buf_init(&html, 1000);
    assert_true(monitor_render(&m, &present, &html) < 0);
    buf_done(&html);
}

static void one_that_is_not_in_use_looks_at_nothing(void **state)
{
    (void)state;
    static struct monitor unused;
    monitor_look(&unused);
    monitor_done(&unused);
    assert_int_equal(looks, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(it_looks_every_ten_seconds_and_does_not_drift),
        T(after_a_sleep_it_does_not_catch_up),
        T(a_timer_that_was_held_up_fires_once),
        T(it_knows_since_when),
        T(the_page_shows_what_has_happened_since_the_last_look),
        T(a_page_that_does_not_fit_is_an_error),
        T(one_that_is_not_in_use_looks_at_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

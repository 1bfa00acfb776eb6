/* clock.c: the clock goes forward, and its units agree. */
#include <time.h>

#include "clock.h"
#include "unit.h"

static void the_clock_never_steps_back(void **state)
{
    int64_t last_us = clock_us();

    (void)state;
    for (int i = 0; i < 1000; i++) {
        int64_t us = clock_us();
        assert_true(us >= last_us);
        last_us = us;
    }
}

static void milliseconds_and_microseconds_are_of_one_clock(void **state)
{
    int64_t before = clock_us() / 1000;
    int64_t ms = clock_ms();
    int64_t after = clock_us() / 1000;

    (void)state;
    assert_true(before <= ms);
    assert_true(ms <= after);
}

static void the_clock_counts_since_boot_with_suspend(void **state)
{
    struct timespec ts;

    (void)state;
    assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &ts), 0);
    int64_t boot_ms = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
    assert_true(clock_ms() >= boot_ms);
    assert_true(clock_ms() - boot_ms < 60000);
}

static void the_wall_clock_is_seconds_since_1970(void **state)
{
    int64_t now = (int64_t)time(NULL);

    (void)state;
    assert_true(clock_wall_s() >= now);
    assert_true(clock_wall_s() - now < 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clock_never_steps_back),
        cmocka_unit_test(milliseconds_and_microseconds_are_of_one_clock),
        cmocka_unit_test(the_clock_counts_since_boot_with_suspend),
        cmocka_unit_test(the_wall_clock_is_seconds_since_1970),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

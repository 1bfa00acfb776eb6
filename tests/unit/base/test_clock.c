/* clock.c: the clock goes forward, and its units agree. Rows: tests/hostile/README.md. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
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

/* Deadlines are measured from the boot, suspend included: neither a change of the wall clock
 * nor a suspend lets a token live for ever, or makes all of them due at once. (row 65) */
static void the_clock_counts_since_boot_with_suspend(void **state)
{
    struct timespec ts;

    (void)state;
    assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &ts), 0);
    int64_t boot_ms = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
    assert_true(clock_ms() >= boot_ms);
    assert_true(clock_ms() - boot_ms < 60000);
}

/* A machine that has slept has its two clocks apart, and a time namespace can be made so: there
 * clock_ms must follow the one that counts the sleep. */
static void after_a_suspend_it_is_ahead_of_the_clock_that_stood_still(void **state)
{
    static const char slept[] = "monotonic 0 0\nboottime 5000 0\n";
    int status = -1;

    (void)state;
    pid_t outer = fork();
    if (outer == 0) {
        int fd = unshare(CLONE_NEWTIME) == 0
                     ? open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC)
                     : -1;
        if (fd < 0 || write(fd, slept, strlen(slept)) != (ssize_t)strlen(slept)) {
            perror("no time namespace (it takes root)");
            _exit(77);
        }
        pid_t inner = fork(); /* only a child is in it */
        if (inner == 0) {
            struct timespec ts;
            (void)clock_gettime(CLOCK_MONOTONIC, &ts);
            int64_t ahead_ms = clock_ms() - ((int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
            _exit(ahead_ms >= 5000000 ? 0 : 1);
        }
        _exit(waitpid(inner, &status, 0) == inner && WIFEXITED(status) ? WEXITSTATUS(status)
                                                                       : 1);
    }
    assert_int_equal(waitpid(outer, &status, 0), outer);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
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
        cmocka_unit_test(after_a_suspend_it_is_ahead_of_the_clock_that_stood_still),
        cmocka_unit_test(the_wall_clock_is_seconds_since_1970),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

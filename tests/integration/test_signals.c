/* Signals that mean nothing to the program, in great number, while it works. */
#include <signal.h>

#include "hammer.h"
#include "harness.h"

/* Signals in great number cost no request, whatever system call they interrupt. (row 78) */
static void a_storm_of_signals_disturbs_nothing(void **state)
{
    (void)state;
    static const int storm[] = { SIGPIPE, SIGCHLD, SIGWINCH, SIGURG,  SIGCONT,
                                 SIGSTOP, SIGCONT, SIGXFSZ,  SIGUSR1, SIGUSR2 };
    WORLD(w);
    world_start(&w, &(struct world_options){ .settings = "process.workers = 2\n" });
    struct hammer *h = hammer_start(w.port, 8,
                                    "POST /x HTTP/1.1\r\nHost: localhost\r\n"
                                    "Content-Length: 5\r\n\r\nhello");
    for (size_t round = 1; round <= 100; round++) {
        for (size_t i = 0; i < sizeof storm / sizeof *storm; i++)
            proxy_signal(w.proxy, storm[i]);
        assert_true(hammer_wait(h, round * 5, SOON_MS));
    }
    struct hammer_result r = hammer_stop(h);
    if (r.failures != 0)
        fail_msg("%zu failures: %s", r.failures, bytes_text(&r.first));
    assert_true(r.answers >= 500);
    assert_int_equal(peer_count(w.api, ""), r.answers); /* and none was sent twice */
    bytes_free(&r.first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_storm_of_signals_disturbs_nothing),
    };
    return RUN_TESTS(tests);
}

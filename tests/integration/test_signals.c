/* Many signals that mean nothing to the program, while it works; and while it starts. Rows:
 * tests/hostile/README.md. */
#include <signal.h>

#include "hammer.h"
#include "harness.h"
#include "store.h"

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

/* The start may wait, here for the process before it to let go of the ledger. A reload that
 * is asked for meanwhile is done afterwards, and what means nothing later means nothing now. */
static void a_signal_during_the_start_does_not_end_it(void **state)
{
    (void)state;
    STORE(s);
    WORLD(w);
    store_make(&s, NULL);
    world_start(&w, &(struct world_options){ .settings = s.settings });
    struct bytes ini = world_ini(peer_url(w.api), peer_url(tokens_peer(w.tokens)), s.settings);
    struct proxy *before = w.proxy;
    w.proxy = proxy_start(bytes_text(&ini), &(struct proxy_options){ .no_wait = true });
    assert_true(proxy_log_wait(w.proxy, "event=ledger_waiting", 1, SOON_MS));
    proxy_signal(w.proxy, SIGHUP);
    proxy_signal(w.proxy, SIGUSR1);
    assert_int_equal(proxy_wait_exit(w.proxy, 100), -1);
    proxy_stop(before);
    assert_true(proxy_log_wait(w.proxy, "event=ready", 1, SOON_MS));
    assert_true(proxy_log_wait(w.proxy, "event=reloaded", 1, SOON_MS));
    bytes_free(&ini);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_storm_of_signals_disturbs_nothing),
        TEST(a_signal_during_the_start_does_not_end_it),
    };
    return RUN_TESTS(tests);
}

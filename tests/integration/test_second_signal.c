/* Two signals to end the program, one after the other: whatever it is doing when the second
 * comes, it exits with 0 or 1, is not killed by a signal that it caused itself, and writes
 * to no descriptor that is not its own (proxy_wait_exit checks its standard input).
 *
 * ONESHOT_TEST_ROUNDS: number of pairs in each test. */
#include <signal.h>
#include <time.h>

#include "harness.h"

#define DISTANCE_MAX_US 5000
#define AGAIN_MS 500

static unsigned long rounds(void)
{
    const char *text = getenv("ONESHOT_TEST_ROUNDS");
    return text != NULL ? strtoul(text, NULL, 10) : sanitized() ? 15 : 50;
}

/* The distance is what is tested; nothing is waited for. */
static void let_pass(long us)
{
    const struct timespec distance = { .tv_nsec = us * 1000 };
    (void)nanosleep(&distance, NULL);
}

static int one_of_two(unsigned *seed)
{
    return rand_r(seed) % 2 == 0 ? SIGINT : SIGTERM;
}

/* The program says which of the two ways it took: in order, with 0, or hurried, with 1. */
static void signal_twice(struct world *w, unsigned *seed)
{
    int first = one_of_two(seed), second = one_of_two(seed);
    long us = rand_r(seed) % DISTANCE_MAX_US;
    proxy_signal(w->proxy, first);
    let_pass(us);
    int64_t deadline_ms = now_ms() + SOON_MS;
    int code;
    /* The kernel keeps one of a kind: two of the same that come before the program has looked
     * are one. Not reaped yet, the pid is still its own. */
    do {
        (void)kill(proxy_pid(w->proxy), second);
        code = proxy_wait_exit(w->proxy, first == second ? AGAIN_MS : SOON_MS);
    } while (code < 0 && now_ms() < deadline_ms);
    bool hurried = proxy_log_count(w->proxy, "event=drain_hurried") > 0;
    if (code != (hurried ? 1 : 0) || proxy_log_count(w->proxy, "event=stopped") != 1 ||
        proxy_log_contains(w->proxy, "Sanitizer")) {
        proxy_kill(w->proxy);
        w->proxy = NULL;
        fail_msg("signals %d and %d, %ld us apart: it left with %d", first, second, us, code);
    }
    proxy_free(w->proxy);
    w->proxy = NULL;
}

static void with_nothing_to_do(void **state)
{
    (void)state;
    WORLD(w);
    const struct world_options options = { .settings = "process.workers = 4\n" };
    unsigned seed = 1;
    world_start(&w, &options);
    for (unsigned long i = rounds(); i > 0; i--) {
        signal_twice(&w, &seed);
        world_proxy(&w, &options);
    }
}

/* Some wait for a token, and are told of the end; the first token comes while they are. */
static void with_requests_that_wait_for_a_token(void **state)
{
    (void)state;
    enum { CALLERS = 8 };
    WORLD(w);
    const struct world_options options = { .hold_tokens = true,
                                           .settings = "process.workers = 4\n"
                                                       "token.wait_timeout = 60s\n" };
    unsigned seed = 2;
    world_start(&w, &options);
    for (unsigned long i = rounds(); i > 0; i--) {
        struct client c[CALLERS];
        struct answer a = { 0 };
        for (size_t k = 0; k < CALLERS; k++) {
            client_open(&c[k], w.port);
            client_puts(&c[k], "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
        }
        http_call(w.port, "TRACE", "/x", NULL, NULL, &a); /* so they are being looked at */
        answer_free(&a);
        if (i % 2 == 0)
            tokens_release(w.tokens);
        signal_twice(&w, &seed);
        for (size_t k = 0; k < CALLERS; k++)
            client_close(&c[k]);
        tokens_hold(w.tokens);
        world_proxy(&w, &options);
    }
}

/* Answers do not come, for as long as the connection is there. */
static void answer_never(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)r;
    (void)arg;
    peer_read_eof(c);
}

static void with_requests_that_wait_for_an_answer(void **state)
{
    (void)state;
    enum { CALLERS = 8 };
    WORLD(w);
    const struct world_options options = { .answer = answer_never,
                                           .settings = "process.workers = 4\n" };
    unsigned seed = 3;
    size_t asked = 0;
    world_start(&w, &options);
    for (unsigned long i = rounds(); i > 0; i--) {
        struct client c[CALLERS];
        for (size_t k = 0; k < CALLERS; k++) {
            client_open(&c[k], w.port);
            client_puts(&c[k], "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
        }
        asked += CALLERS;
        assert_true(peer_wait(w.api, "", asked, SOON_MS));
        signal_twice(&w, &seed);
        for (size_t k = 0; k < CALLERS; k++)
            client_close(&c[k]);
        world_proxy(&w, &options);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(with_nothing_to_do),
        TEST(with_requests_that_wait_for_a_token),
        TEST(with_requests_that_wait_for_an_answer),
    };
    return RUN_TESTS(tests);
}

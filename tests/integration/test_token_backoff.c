/* How long the program waits after a failed fetch: longer if the credentials were refused,
 * since they will hardly be accepted a moment later. */
#include "harness.h"

#define BACK_OFF "token.retry_min = 200ms\ntoken.retry_max = 60s\n"

static long retry_in_ms(struct world *w, const char *pattern)
{
    char value[32];
    assert_true(proxy_log_wait(w->proxy, pattern, 1, SOON_MS));
    assert_true(proxy_log_field(w->proxy, pattern, 0, "retry_in_ms", value, sizeof value));
    return strtol(value, NULL, 10);
}

/* retry_min, doubled, with full jitter above retry_min; eight times that when refused. So the
 * longest first pause after the one is shorter than the shortest after the other. */
static void refused_credentials_back_off_longer_than_a_network_failure(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        WORLD(w);
        struct world_options options = { .no_proxy = true,
                                         .hold_tokens = true,
                                         .settings = BACK_OFF };
        world_start(&w, &options);
        peer_stop_listening(tokens_peer(w.tokens));
        world_proxy(&w, &options);
        long unreachable = retry_in_ms(&w, "event=token_fetch_failed error=token-connect");
        assert_true(unreachable >= 200 && unreachable <= 400);
        world_end(&w);

        world_start(&w, &options);
        tokens_push(w.tokens, (struct token_answer){ .status = 401 });
        world_proxy(&w, &options);
        assert_true(tokens_wait(w.tokens, 1, SOON_MS));
        int64_t refused_ms = now_ms();
        tokens_release(w.tokens);
        long refused =
            retry_in_ms(&w, "event=token_fetch_failed error=token-refused status=401");
        assert_true(refused >= 800 && refused <= 3200);
        /* and it does wait: no fetch before that, however many ask */
        struct answer a = { 0 };
        for (int k = 0; k < 20 && tokens_fetches(w.tokens) == 1; k++) {
            http_get(w.port, "/x", &a);
            if (now_ms() - refused_ms < refused - 1)
                assert_problem(&a, 401, "token", "proxy_configuration_error");
        }
        assert_true(tokens_wait(w.tokens, 2, SOON_MS));
        assert_true(now_ms() - refused_ms >= refused - 1);
        assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
        assert_int_equal(tokens_fetches(w.tokens), 2);
        answer_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(refused_credentials_back_off_longer_than_a_network_failure),
    };
    return RUN_TESTS(tests);
}

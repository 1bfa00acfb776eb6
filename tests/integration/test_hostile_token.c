/* A token endpoint with malicious answers, beyond test_token_faults.c. Rows:
 * tests/hostile/README.md. */
#include "harness.h"

#define QUICK                   \
    "token.retry_min = 100ms\n" \
    "token.retry_max = 300ms\n" \
    "token.wait_timeout = 20s\n"

static void start_with(struct world *w, struct token_answer answer, const char *settings)
{
    struct world_options options = { .no_proxy = true,
                                     .hold_tokens = true,
                                     .settings = settings };
    world_start(w, &options);
    tokens_release(w->tokens);
    tokens_always(w->tokens, answer);
    world_proxy(w, &options);
}

/* A malformed token answer, or a token with bytes that no token has: each is refused, nothing
 * of it goes anywhere, and the next good one is taken. (rows 56, 59) */
static void an_answer_that_only_looks_like_a_token_is_refused(void **state)
{
    (void)state;
    static struct bytes deep, long_token, large, too_many;
    bytes_add_str(&deep, "{\"access_token\":\"" CANARY "\",\"token_type\":\"Bearer\",\"x\":");
    bytes_fill(&deep, '[', 25000);
    bytes_fill(&deep, ']', 25000);
    bytes_add_str(&deep, "}");
    bytes_add_str(&long_token, "{\"token_type\":\"Bearer\",\"access_token\":\"" CANARY);
    bytes_fill(&long_token, 'a', 20000);
    bytes_add_str(&long_token, "\"}");
    bytes_add_str(&large,
                  "{\"token_type\":\"Bearer\",\"access_token\":\"" CANARY "\",\"x\":\"");
    bytes_fill(&large, 'a', 8 << 20);
    bytes_add_str(&large, "\"}");
    bytes_add_str(&too_many, "{\"access_token\":\"" CANARY "\",\"token_type\":\"Bearer\"");
    for (int i = 0; i < 3000; i++)
        bytes_addf(&too_many, ",\"access_token\":\"" CANARY "%d\"", i);
    bytes_add_str(&too_many, "}");
    const struct {
        const char *headers, *body;
    } cases[] = {
        { NULL, "\xef\xbb\xbf{\"access_token\":\"" CANARY "\",\"token_type\":\"Bearer\"}" },
        { NULL, bytes_text(&deep) },
        { NULL, bytes_text(&long_token) },
        { NULL, bytes_text(&large) },
        { NULL, bytes_text(&too_many) },
        { "Content-Encoding: gzip\r\n", "\x1f\x8b\x08\x01\x02\x03\x04\x05 " CANARY },
        { NULL, "{\"access_token\":\"" CANARY "\xc3\xa9\",\"token_type\":\"Bearer\"}" },
        { NULL, "{\"access_token\":\"" CANARY "\\u00e9\",\"token_type\":\"Bearer\"}" },
        { NULL, "{\"access_token\":\"" CANARY "\\n\",\"token_type\":\"Bearer\"}" },
        { NULL, "{\"access_token\":\"" CANARY "\xff\",\"token_type\":\"Bearer\"}" },
        { NULL, "{\"access_token\":[\"" CANARY "\"],\"token_type\":\"Bearer\"}" },
        { NULL, "{\"access_token\":{\"a\":\"" CANARY "\"},\"token_type\":\"Bearer\"}" },
        { NULL, "{\"access_token\":\"=" CANARY "\",\"token_type\":\"Bearer\"}" },
        { NULL,
          "{\"access_token\":\"" CANARY "\",\"token_type\":\"Bearer\",\"expires_in\":NaN}" },
        { NULL, "[{\"access_token\":\"" CANARY "\",\"token_type\":\"Bearer\"}]" },
        { NULL, "{\"Access_Token\":\"" CANARY "\",\"token_type\":\"Bearer\"}" },
    };
    WORLD(w);
    struct answer a = { 0 };
    start_with(&w, (struct token_answer){ .status = 500 }, QUICK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tokens_always(w.tokens, (struct token_answer){ .status = 200,
                                                       .headers = cases[i].headers,
                                                       .body = cases[i].body });
        size_t failed = proxy_log_count(w.proxy, "event=token_fetch_failed");
        if (!proxy_log_wait(w.proxy, "event=token_fetch_failed", failed + 2, SOON_MS))
            fail_msg("not refused: %.100s", cases[i].body);
        http_get(w.port, "/x", &a);
        if (a.status != 503)
            fail_msg("%d for %.100s", a.status, cases[i].body);
        assert_problem(&a, 503, "token", "http_protocol_error");
        assert_true(answer_header_count(&a, "Retry-After") == 1);
    }
    assert_int_equal(proxy_log_count(w.proxy, "event=token_obtained"), 0);
    assert_false(proxy_log_contains(w.proxy, CANARY));
    assert_int_equal(peer_count(w.api, ""), 0);
    tokens_always(w.tokens, (struct token_answer){ 0 });
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    answer_free(&a);
    world_end(&w);
    bytes_free(&deep);
    bytes_free(&long_token);
    bytes_free(&large);
    bytes_free(&too_many);
}

/* An expires_in that is fractional, huge, or no number at all: neither a token for ever nor a
 * fetch in a loop. (row 58) */
static void odd_lifetimes_neither_last_for_ever_nor_stampede(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "3600.7", "3600" },
        { "1e22", "86400" },
        { "1e3", "1000" },
        { "\"86401\"", "86400" },
        { "\"\"", "77" },
        { "\"-5\"", "77" },
        { "[3600]", "77" },
        { "{}", "77" },
        { "0.5", "77" },
        { "-0", "77" },
        { "99999999999999999999999999", "86400" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WORLD(w);
        struct answer a = { 0 };
        char body[200], value[32] = "";
        struct world_options options = { .no_proxy = true,
                                         .settings = "token.default_lifetime = 77s\n" };
        (void)snprintf(body, sizeof body,
                       "{\"access_token\":\"" CANARY "-token-1\",\"token_type\":\"bearer\","
                       "\"expires_in\":%s}",
                       cases[i][0]);
        world_start(&w, &options);
        tokens_push(w.tokens, (struct token_answer){ .status = 200, .body = body });
        world_proxy(&w, &options);
        assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
        assert_true(proxy_log_field(w.proxy, "event=token_obtained", 0, "lifetime_s", value,
                                    sizeof value));
        if (strcmp(value, cases[i][1]) != 0)
            fail_msg("%s became %s", cases[i][0], value);
        http_get(w.port, "/x", &a);
        assert_int_equal(a.status, 200);
        assert_int_equal(tokens_fetches(w.tokens), 1);
        answer_free(&a);
    }
}

/* Retry-After of the token endpoint as seconds, as a date, huge, negative or as junk: honoured
 * up to a limit. (row 62) */
static void a_retry_after_is_honoured_where_it_makes_sense(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        long low_ms, high_ms;
    } cases[] = {
        { "Retry-After: 3\r\n", 2900, 4000 },
        { "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n", 0, 330 },
        { "Retry-After: Fri, 31 Dec 2199 23:59:59 GMT\r\n", 60000, 24 * 3600 * 1000L },
        { "Retry-After: 1000000000\r\n", 60000, 24 * 3600 * 1000L },
        { "Retry-After: 99999999999999999999999999\r\n", 0, 24 * 3600 * 1000L },
        { "Retry-After: -1\r\n", 0, 330 },
        { "Retry-After: soon\r\n", 0, 330 },
        { "Retry-After:\r\n", 0, 330 },
        /* libcurl reads it, and takes the number that it begins with */
        { "Retry-After: 3x\r\n", 0, 4000 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WORLD(w);
        struct answer a = { 0 };
        char value[32];
        start_with(
            &w,
            (struct token_answer){ .status = i % 2 ? 503 : 429, .headers = cases[i].header },
            QUICK);
        assert_true(proxy_log_wait(w.proxy, "event=token_fetch_failed", 1, SOON_MS));
        assert_true(proxy_log_field(w.proxy, "event=token_fetch_failed", 0, "retry_in_ms",
                                    value, sizeof value));
        long ms = strtol(value, NULL, 10);
        if (ms < cases[i].low_ms || ms > cases[i].high_ms)
            fail_msg("%s gave %ld ms", cases[i].header, ms);
        http_get(w.port, "/x", &a);
        assert_problem(&a, 503, "token", "destination_unavailable");
        assert_true(strtol(answer_header(&a, "Retry-After"), NULL, 10) >= 0);
        answer_free(&a);
    }
}

/* A byte at a time, so that each is progress and the whole never comes. */
static void serve_dripping(struct peer_conn *c, void *arg)
{
    static const char head[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"access_token\":\"";
    struct gate never;
    (void)arg;
    if (peer_read_request(c) == NULL)
        return;
    gate_init(&never);
    (void)peer_puts(c, c->number % 2 ? head : "HTTP/1.1 200 OK\r\nX-A: ");
    for (int i = 0; i < 3000 && peer_puts(c, "x"); i++) {
        struct timespec until = deadline_spec(now_ms() + 20);
        (void)pthread_mutex_lock(&never.lock);
        (void)pthread_cond_clockwait(&never.changed, &never.lock, CLOCK_MONOTONIC, &until);
        (void)pthread_mutex_unlock(&never.lock);
    }
}

/* A token answer that comes byte by byte ends at the timeout, which is for the whole fetch.
 * (row 63) */
static void a_token_that_drips_in_ends_at_the_timeout_as_a_whole(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char settings[256];
    struct peer *endpoint = peer_start(&(struct peer_options){ .serve = serve_dripping });
    (void)snprintf(settings, sizeof settings,
                   QUICK "token.timeout = 400ms\ntoken.url = %s/token\n", peer_url(endpoint));
    world_start(&w, &(struct world_options){ .hold_tokens = true, .settings = settings });
    assert_true(proxy_log_wait(w.proxy, "event=token_fetch_failed", 2, SOON_MS));
    http_get(w.port, "/x", &a);
    assert_true(a.status == 502 || a.status == 503 || a.status == 504);
    assert_true(peer_count(endpoint, "") >= 2);
    assert_int_equal(peer_count(w.api, ""), 0);
    answer_free(&a);
    world_end(&w);
    peer_stop(endpoint);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answer_that_only_looks_like_a_token_is_refused),
        TEST(odd_lifetimes_neither_last_for_ever_nor_stampede),
        TEST(a_retry_after_is_honoured_where_it_makes_sense),
        TEST(a_token_that_drips_in_ends_at_the_timeout_as_a_whole),
    };
    return RUN_TESTS(tests);
}

/* The upstream answers 401: one fetch begins, the request is repeated once, and all others
 * go on. Rows: tests/hostile/README.md. */
#include <stdatomic.h>

#include "harness.h"

#define THEIR_401 "{\"type\":\"UnauthenticatedError\",\"message\":\"m\",\"retryable\":false}"

/* An API that takes tokens from a number on and refuses all others. */
struct doorman {
    atomic_size_t lowest; /* token that is let in */
    atomic_int status;    /* of a refusal */
    struct gate gate;     /* in front of requests with a target below /v0/held */
};

static void answer_by_token(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    struct doorman *d = arg;
    bool held = strncmp(r->target, "/v0/held", 8) == 0 && api_token_of(r) == 1;
    if (held && !gate_pass(&d->gate, c))
        return;
    if (api_token_of(r) >= d->lowest)
        api_echo(c, r, NULL);
    else
        (void)peer_answer(c, d->status,
                          "Content-Type: application/json\r\nWWW-Authenticate: Bearer\r\n",
                          THEIR_401);
}

static void start(struct world *w, struct doorman *d, const char *settings)
{
    gate_init(&d->gate);
    d->status = 401;
    d->lowest = 1;
    world_start(w, &(struct world_options){
                       .answer = answer_by_token, .arg = d, .settings = settings });
    assert_true(proxy_log_wait(w->proxy, "event=token_obtained", 1, SOON_MS));
}

static void assert_their_401(const struct answer *a)
{
    assert_int_equal(a->status, 401);
    assert_string_equal(bytes_text(&a->body), THEIR_401);
    assert_string_equal(answer_header(a, "WWW-Authenticate"), "Bearer");
    assert_string_equal(answer_header(a, "Proxy-Status"), "oneshot-proxy; received-status=401");
}

/* The upstream's 401 for a token that should be valid: one fetch, and the request is repeated
 * once. (row 57) */
static void a_refused_token_is_replaced_and_the_request_repeated(void **state)
{
    (void)state;
    static const struct {
        const char *method, *body;
    } cases[] = { { "GET", NULL },        { "POST", "{\"amount\":1}" },
                  { "POST", NULL },       { "PUT", "" },
                  { "DELETE", NULL },     { "PATCH", "p" },
                  { "DELETE", "reason" }, { "HEAD", NULL } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        /* a proxy each: a second refusal within token.retry_min is passed on */
        WORLD(w);
        static struct doorman d;
        struct answer a = { 0 };
        start(&w, &d, NULL);
        d.lowest = 2;
        http_call(w.port, cases[i].method, "/x", NULL, cases[i].body, &a);
        if (a.status != 200)
            fail_msg("%s got %d", cases[i].method, a.status);
        assert_int_equal(peer_count(w.api, ""), 2);
        const struct peer_request *second = peer_request(w.api, "", 1);
        assert_string_equal(second->method, cases[i].method);
        assert_int_equal(api_token_of(second), 2);
        assert_string_equal(bytes_text(&second->body), cases[i].body ? cases[i].body : "");
        assert_int_equal(tokens_fetches(w.tokens), 2);
        assert_int_equal(proxy_log_count(w.proxy, "event=token_suspect"), 1);
        answer_free(&a);
    }
}

/* Many 401s at the same time cost one fetch for all of them. (rows 55, 57) */
static void fifty_parallel_401s_cost_one_fetch_and_fifty_repeats(void **state)
{
    (void)state;
    WORLD(w);
    static struct doorman d;
    start(&w, &d, "process.workers = 2\n");
    d.lowest = 2;
    struct crowd *crowd = crowd_start(w.port, 50,
                                      "POST /held HTTP/1.1\r\nHost: localhost\r\n"
                                      "Connection: close\r\nContent-Length: 2\r\n\r\nok");
    assert_true(gate_wait_arrived(&d.gate, 50, SOON_MS)); /* all with token 1 */
    gate_open(&d.gate);
    assert_true(crowd_finish(crowd, SOON_MS));
    assert_int_equal(crowd_count(crowd, 200), 50);
    assert_int_equal(crowd_containing(crowd, "\r\n\r\nok"), 50);
    assert_int_equal(peer_count(w.api, ""), 100);
    assert_int_equal(tokens_fetches(w.tokens), 2);
    crowd_free(crowd);
}

/* A 401 for a token that is new is passed on as it is. (row 57) */
static void a_second_401_goes_through_as_it_is(void **state)
{
    (void)state;
    WORLD(w);
    static struct doorman d;
    struct answer a = { 0 };
    start(&w, &d, NULL);
    d.lowest = 1000;
    http_call(w.port, "POST", "/x", NULL, "{}", &a);
    assert_their_401(&a);
    assert_int_equal(peer_count(w.api, ""), 2);
    assert_int_equal(tokens_fetches(w.tokens), 2);
    answer_free(&a);
}

/* An upstream that answers 401 to every token is no reason to fetch tokens in a loop.
 * (row 57) */
static void refusals_without_end_cost_few_fetches(void **state)
{
    (void)state;
    WORLD(w);
    static struct doorman d;
    start(&w, &d, "token.retry_min = 500ms\nprocess.workers = 2\n");
    d.lowest = 1000000;
    int64_t began_ms = now_ms();
    size_t theirs = 0;
    for (int round = 0; round < 10; round++) {
        struct crowd *crowd = crowd_start(w.port, 100,
                                          "GET /x HTTP/1.1\r\nHost: localhost\r\n"
                                          "Connection: close\r\n\r\n");
        assert_true(crowd_finish(crowd, SOON_MS));
        assert_int_equal(crowd_count(crowd, 401), 100);
        theirs += crowd_containing(crowd, THEIR_401);
        crowd_free(crowd);
    }
    assert_int_equal(theirs, 1000);
    size_t most = 3 + (size_t)(now_ms() - began_ms) / 500;
    size_t fetches = tokens_fetches(w.tokens);
    if (fetches > most)
        fail_msg("%zu fetches, at most %zu are right", fetches, most);
    /* a request is sent twice at most, and only a new token is worth a second time */
    assert_true(peer_count(w.api, "") <= 2000);
}

static void a_late_401_for_an_older_token_drops_nothing(void **state)
{
    (void)state;
    WORLD(w);
    static struct doorman d;
    struct client late;
    struct answer a = { 0 };
    start(&w, &d, NULL);
    client_open(&late, w.port);
    client_puts(&late, "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(gate_wait_arrived(&d.gate, 1, SOON_MS));
    d.lowest = 2;
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(tokens_fetches(w.tokens), 2);
    gate_open(&d.gate);
    client_read(&late, &a, false, SOON_MS);
    assert_int_equal(a.status, 200); /* repeated with the token that was there already */
    http_get(w.port, "/y", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(api_token_of(peer_request(w.api, "GET /v0/y", 0)), 2);
    assert_int_equal(tokens_fetches(w.tokens), 2);
    assert_int_equal(proxy_log_count(w.proxy, "event=token_suspect"), 1);
    client_close(&late);
    answer_free(&a);
}

static void post_sized(int port, size_t n, bool chunked, struct answer *a)
{
    struct client c;
    struct bytes request = { 0 };
    bytes_add_str(&request, "POST /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    if (chunked)
        bytes_addf(&request, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", n);
    else
        bytes_addf(&request, "Content-Length: %zu\r\n\r\n", n);
    bytes_fill(&request, 'r', n);
    if (chunked)
        bytes_add_str(&request, "\r\n0\r\n\r\n");
    client_open(&c, port);
    client_send(&c, request.data, request.len);
    client_read(&c, a, false, SOON_MS);
    client_close(&c);
    bytes_free(&request);
}

/* After a 401 a request is repeated only when its whole body is still held here. (row 57) */
static void a_body_of_the_replay_limit_is_repeated_and_one_byte_more_is_not(void **state)
{
    (void)state;
    static const char settings[] = "upstream.replay_limit = 64k\n";
    for (int chunked = 0; chunked < 2; chunked++) {
        WORLD(w);
        static struct doorman d;
        struct answer a = { 0 };
        start(&w, &d, settings);
        d.lowest = 2;
        post_sized(w.port, 65536, chunked, &a);
        assert_int_equal(a.status, 200);
        assert_int_equal(a.body.len, 65536);
        assert_int_equal(peer_count(w.api, ""), 2);
        assert_int_equal(tokens_fetches(w.tokens), 2);
        world_end(&w);
        /* anew, since a second refusal within token.retry_min is passed on */
        start(&w, &d, settings);
        d.lowest = 2;
        post_sized(w.port, 65537, chunked, &a);
        assert_their_401(&a);
        assert_int_equal(peer_count(w.api, ""), 1);
        /* the token was dropped all the same: the next call is fine */
        http_call(w.port, "POST", "/x", NULL, "x", &a);
        assert_int_equal(a.status, 200);
        /* at once, or by its own repeat when the new token was not there yet */
        assert_in_range(peer_count(w.api, ""), 2, 3);
        assert_int_equal(tokens_fetches(w.tokens), 2);
        answer_free(&a);
    }
}

static void replay_can_be_narrowed(void **state)
{
    (void)state;
    static const struct {
        const char *settings;
        bool get_repeated;
    } cases[] = { { "upstream.replay = safe\n", true }, { "upstream.replay = none\n", false } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WORLD(w);
        static struct doorman d;
        struct answer a = { 0 };
        start(&w, &d, cases[i].settings);
        d.lowest = 2;
        http_call(w.port, "POST", "/x", NULL, "{}", &a);
        assert_their_401(&a);
        assert_int_equal(peer_count(w.api, ""), 1);
        assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 2, SOON_MS));
        answer_free(&a);
        world_end(&w);
        /* anew, since a second refusal within token.retry_min is passed on */
        start(&w, &d, cases[i].settings);
        d.lowest = 2;
        http_get(w.port, "/x", &a);
        assert_int_equal(a.status, cases[i].get_repeated ? 200 : 401);
        assert_int_equal(peer_count(w.api, "GET /v0/x"), cases[i].get_repeated ? 2 : 1);
        assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 2, SOON_MS));
        answer_free(&a);
    }
}

static void other_statuses_drop_no_token_unless_configured(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *settings;
        size_t fetches;
    } cases[] = { { 403, NULL, 1 },
                  { 400, NULL, 1 },
                  { 403, "upstream.token_refused_statuses = 401, 403\n", 2 },
                  { 498, "upstream.token_refused_statuses = 498\n", 2 },
                  { 401, "upstream.token_refused_statuses = 498\n", 1 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WORLD(w);
        static struct doorman d;
        struct answer a = { 0 };
        start(&w, &d, cases[i].settings);
        d.status = cases[i].status;
        d.lowest = 2;
        http_get(w.port, "/x", &a);
        assert_int_equal(a.status, cases[i].fetches > 1 ? 200 : cases[i].status);
        assert_int_equal(tokens_fetches(w.tokens), cases[i].fetches);
        assert_int_equal(peer_count(w.api, ""), cases[i].fetches);
        answer_free(&a);
    }
}

static void when_no_new_token_can_be_had_nothing_is_sent_again(void **state)
{
    (void)state;
    WORLD(w);
    static struct doorman d;
    struct answer a = { 0 };
    start(&w, &d, NULL);
    d.lowest = 2;
    tokens_always(w.tokens, (struct token_answer){ .status = 503 });
    http_call(w.port, "POST", "/x", NULL, "{}", &a);
    assert_their_401(&a);
    assert_int_equal(peer_count(w.api, ""), 1);
    http_get(w.port, "/x", &a);
    assert_their_401(&a);
    assert_int_equal(peer_count(w.api, ""), 2); /* it is all there is, and may do elsewhere */
    answer_free(&a);
}

/* Refuses all at one path; elsewhere takes what the doorman takes. */
static void refuse_one_path(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    if (strncmp(r->target, "/v0/never", 9) == 0)
        (void)peer_answer(c, 401, "WWW-Authenticate: Bearer\r\n", THEIR_401);
    else
        answer_by_token(c, r, arg);
}

/* Whatever the token endpoint does: the other paths do not notice that one answers 401. */
static void a_path_that_answers_401_stops_no_other(void **state)
{
    (void)state;
    static const struct {
        const char *name, *settings;
        int status; /* of the token endpoint from now on; 0: it says nothing */
    } cases[] = { { "503", NULL, 503 },
                  { "401", NULL, 401 },
                  { "silence", "token.timeout = 1s\ntoken.wait_timeout = 200ms\n", 0 },
                  { "fast", "token.retry_min = 1ms\ntoken.retry_max = 2ms\n", 500 } };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WORLD(w);
        static struct doorman d;
        struct answer a = { 0 };

        gate_init(&d.gate);
        d.status = 401;
        d.lowest = 1;
        world_start(&w, &(struct world_options){ .answer = refuse_one_path,
                                                 .arg = &d,
                                                 .settings = cases[i].settings });
        assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
        if (cases[i].status == 0)
            tokens_hold(w.tokens);
        else
            tokens_always(w.tokens, (struct token_answer){ .status = cases[i].status });
        for (int n = 0; n < 30; n++) {
            if (n % 10 == 0) {
                http_call(w.port, n % 20 == 0 ? "GET" : "POST", "/never", NULL, NULL, &a);
                assert_their_401(&a);
            }
            http_call(w.port, n % 2 == 0 ? "GET" : "POST", "/x", NULL, n % 2 == 0 ? NULL : "{}",
                      &a);
            if (a.status != 200)
                fail_msg("token endpoint: %s: request %d got %d", cases[i].name, n, a.status);
        }
        assert_int_equal(proxy_log_count(w.proxy, "event=token_suspect"), 1);
        tokens_release(w.tokens);
        answer_free(&a);
    }
}

/* Takes each token only some time after it first came to know of it. */
struct slow_doorman {
    atomic_llong known_ms[64];
    long long delay_ms;
    atomic_size_t refused;
};

static void answer_later(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    struct slow_doorman *d = arg;
    size_t n = api_token_of(r) < 64 ? api_token_of(r) : 63;
    long long none = 0;

    (void)atomic_compare_exchange_strong(&d->known_ms[n], &none, now_ms() + d->delay_ms);
    if (n == 1 || now_ms() >= d->known_ms[n]) {
        api_echo(c, r, NULL);
    } else {
        d->refused++;
        (void)peer_answer(c, 401, "WWW-Authenticate: Bearer\r\n", THEIR_401);
    }
}

static void a_new_token_that_is_not_known_yet_shows_to_nobody(void **state)
{
    (void)state;
    WORLD(w);
    static struct slow_doorman d;
    struct answer a = { 0 };

    d.delay_ms = 1500;
    struct world_options options = { .answer = answer_later,
                                     .arg = &d,
                                     .settings = "token.refresh_before = 27s\n"
                                                 "process.workers = 2\n",
                                     .no_proxy = true };
    world_start(&w, &options);
    tokens_lifetime(w.tokens, 30);
    world_proxy(&w, &options);
    int64_t until_ms = now_ms() + SOON_MS;
    for (int n = 0; !proxy_log_wait(w.proxy, "event=token_obtained", 3, 1); n++) {
        assert_true(now_ms() < until_ms);
        http_call(w.port, n % 2 == 0 ? "GET" : "POST", "/x", NULL, n % 2 == 0 ? NULL : "{}",
                  &a);
        if (a.status != 200)
            fail_msg("request %d got %d", n, a.status);
    }
    assert_true(d.refused > 0);
    assert_int_equal(proxy_log_count(w.proxy, "event=token_suspect"), 0);
    assert_true(tokens_fetches(w.tokens) <= 4);
    answer_free(&a);
}

/* A path that refuses every token looks like two tokens that are dead, while the young one
 * rests: a request is sent with both, and the 401 goes through. Once the young one has been
 * tried again, a new one is fetched, and nobody sees a 401 any more. */
static void
when_both_tokens_are_refused_their_401_goes_through_until_a_new_one_is_here(void **state)
{
    (void)state;
    WORLD(w);
    static struct doorman d;
    struct answer a = { 0 };
    size_t calls = 1;
    struct world_options options = { .answer = answer_by_token,
                                     .arg = &d,
                                     .settings = "token.refresh_before = 29s\n",
                                     .no_proxy = true };
    gate_init(&d.gate);
    d.status = 401;
    d.lowest = 1;
    world_start(&w, &options);
    tokens_lifetime(w.tokens, 30);
    world_proxy(&w, &options);
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    tokens_lifetime(w.tokens,
                    3600); /* the third one is asked for because of the refusals only */
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 2, SOON_MS));
    d.lowest = 3;
    http_call(w.port, "POST", "/x", NULL, "{}", &a);
    assert_their_401(&a);
    assert_int_equal(peer_count(w.api, "POST *"), 2);
    for (int64_t until_ms = now_ms() + SOON_MS; a.status != 200; calls++) {
        assert_true(now_ms() < until_ms);
        assert_their_401(&a);
        http_call(w.port, "POST", "/x", NULL, "{}", &a);
    }
    for (int i = 0; i < 5; i++, calls++) {
        http_call(w.port, "POST", "/x", NULL, "{}", &a);
        assert_int_equal(a.status, 200);
    }
    assert_true(peer_count(w.api, "POST *") <= 2 * calls);
    assert_int_equal(tokens_fetches(w.tokens), 3);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_refused_token_is_replaced_and_the_request_repeated),
        TEST(fifty_parallel_401s_cost_one_fetch_and_fifty_repeats),
        TEST(a_second_401_goes_through_as_it_is),
        TEST(refusals_without_end_cost_few_fetches),
        TEST(a_late_401_for_an_older_token_drops_nothing),
        TEST(a_body_of_the_replay_limit_is_repeated_and_one_byte_more_is_not),
        TEST(replay_can_be_narrowed),
        TEST(other_statuses_drop_no_token_unless_configured),
        TEST(when_no_new_token_can_be_had_nothing_is_sent_again),
        TEST(a_path_that_answers_401_stops_no_other),
        TEST(a_new_token_that_is_not_known_yet_shows_to_nobody),
        TEST(when_both_tokens_are_refused_their_401_goes_through_until_a_new_one_is_here),
    };
    return RUN_TESTS(tests);
}

/* The token: fetched once, renewed without anybody noticing, never sent when expired. Rows:
 * tests/hostile/README.md. */
#include <unistd.h>

#include "harness.h"
#include "later.h"

static void the_first_token_is_fetched_at_start(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char value[128];
    world_start(&w, &(struct world_options){ 0 });
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained generation=1", 1, SOON_MS));
    const struct peer_request *r = peer_request(tokens_peer(w.tokens), "POST /v0/token", 0);
    assert_non_null(r);
    const char *head = bytes_text(&r->head);
    assert_true(head_value(head, "Content-Type", 0, value, sizeof value));
    assert_string_equal(value, "application/x-www-form-urlencoded");
    assert_int_equal(head_count(head, "Authorization"), 0);
    tokens_form_field(w.tokens, 0, "grant_type", value, sizeof value);
    assert_string_equal(value, "client_credentials");
    tokens_form_field(w.tokens, 0, "client_id", value, sizeof value);
    assert_string_equal(value, CLIENT_ID);
    tokens_form_field(w.tokens, 0, "client_secret", value, sizeof value);
    assert_string_equal(value, CLIENT_SECRET);
    static const char *const unset[] = { "scope=", "audience=", "resource=" };
    for (size_t i = 0; i < 3; i++)
        assert_lacks(bytes_text(&r->body), unset[i]);
    for (int i = 0; i < 10; i++)
        http_get(w.port, "/x", &a);
    assert_int_equal(tokens_fetches(w.tokens), 1);
    assert_int_equal(api_token_of(peer_request(w.api, "", 9)), 1);
    answer_free(&a);
}

static void scope_audience_and_resource_are_sent_when_set(void **state)
{
    (void)state;
    WORLD(w);
    char value[128];
    world_start(&w, &(struct world_options){ .settings = "token.scope = read:api write:api\n"
                                                         "token.audience = https://a/b?c\n"
                                                         "token.resource = urn:x&y\n" });
    tokens_form_field(w.tokens, 0, "scope", value, sizeof value);
    assert_string_equal(value, "read:api write:api");
    tokens_form_field(w.tokens, 0, "audience", value, sizeof value);
    assert_string_equal(value, "https://a/b?c");
    tokens_form_field(w.tokens, 0, "resource", value, sizeof value);
    assert_string_equal(value, "urn:x&y");
}

static void extra_form_fields_are_sent_as_they_are_written(void **state)
{
    (void)state;
    WORLD(w);
    char path[] = "/tmp/oneshot-extra-XXXXXX";
    world_start(&w, &(struct world_options){
                        .settings =
                            "token.scope = a\n"
                            "token.extra = resource=urn:a%26b&resource=c+d&key=" CANARY "\n" });
    assert_true(tokens_wait(w.tokens, 1, SOON_MS));
    const char *body = bytes_text(&peer_request(tokens_peer(w.tokens), "", 0)->body);
    assert_contains(body, "&scope=a&");
    assert_contains(body, "&resource=urn:a%26b&resource=c+d&key=" CANARY);
    /* what may be a secret is not printed */
    struct bytes ini = world_ini("http://127.0.0.1:1", "http://127.0.0.1:1/token",
                                 "token.extra = a=" CANARY "&b=" CANARY "\n");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    write_file(path, bytes_text(&ini));
    struct run r =
        run_proxy((const char *[]){ "--print-config", "--config", path, NULL }, NULL);
    assert_int_equal(r.code, 0);
    assert_contains(bytes_text(&r.out), "\nextra = a=******&b=******\n");
    assert_lacks(bytes_text(&r.out), CANARY);
    (void)unlink(path);
    run_free(&r);
    bytes_free(&ini);
}

/* A thousand requests that all wait for the first token cost one fetch, and are all served.
 * (row 55) */
static void a_thousand_first_requests_cost_one_fetch(void **state)
{
    (void)state;
    WORLD(w);
    world_start(&w, &(struct world_options){ .hold_tokens = true,
                                             .settings = "token.wait_timeout = 60s\n"
                                                         "token.timeout = 60s\n"
                                                         "process.workers = 2\n"
                                                         "log.level = info\n" });
    struct crowd *crowd =
        crowd_start(w.port, 1000,
                    "POST /v0/many HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                    "Content-Length: 2\r\n\r\nok");
    assert_true(tokens_wait(w.tokens, 1, SOON_MS));
    assert_int_equal(peer_count(w.api, ""), 0); /* nothing is forwarded without a token */
    tokens_release(w.tokens);
    assert_true(crowd_finish(crowd, 60000));
    assert_int_equal(crowd_count(crowd, 200), 1000);
    assert_int_equal(crowd_containing(crowd, "\r\n\r\nok"), 1000);
    assert_int_equal(peer_count(w.api, ""), 1000);
    assert_int_equal(tokens_fetches(w.tokens), 1);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(api_token_of(peer_request(w.api, "", i)), 1);
    crowd_free(crowd);
}

static void a_parked_request_with_a_body_is_kept_whole(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    struct bytes body = { 0 };
    world_start(&w, &(struct world_options){
                        .hold_tokens = true,
                        .settings = "token.wait_timeout = 60s\ntoken.timeout = 60s\n" });
    bytes_fill(&body, 'b', 1 << 20);
    client_open(&c, w.port);
    client_puts(&c, "POST /big HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048576\r\n\r\n");
    size_t sent = client_try_send(&c, body.data, body.len, 300);
    tokens_release(w.tokens);
    client_send(&c, body.data + sent, body.len - sent);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body.len, body.len);
    assert_memory_equal(a.body.data, body.data, body.len);
    client_close(&c);
    bytes_free(&body);
    answer_free(&a);
}

static void a_token_is_renewed_before_it_expires(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    struct world_options options = { .no_proxy = true,
                                     .settings = "token.refresh_before = 29s\n" };
    world_start(&w, &options);
    tokens_lifetime(w.tokens, 30);
    world_proxy(&w, &options);
    assert_true(tokens_wait(w.tokens, 3, SOON_MS)); /* without any request */
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained generation=3", 1, SOON_MS));
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    assert_true(api_token_of(peer_request(w.api, "", 0)) >= 3);
    answer_free(&a);
}

/* A token endpoint that hangs delays no request while there is a valid token. (row 63) */
static void a_renewal_under_way_delays_no_request(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    struct world_options options = { .no_proxy = true,
                                     .settings = "token.refresh_before = 5s\n"
                                                 "token.timeout = 60s\n" };
    world_start(&w, &options);
    tokens_lifetime(w.tokens, 30);
    world_proxy(&w, &options);
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    tokens_hold(w.tokens);
    options.settings = "token.refresh_before = 29s\ntoken.timeout = 60s\n"; /* it is time now */
    world_reload(&w, &options, "reloaded");
    assert_true(tokens_wait(w.tokens, 2, SOON_MS)); /* it waits at the gate now */
    for (int i = 0; i < 20; i++) {
        http_get(w.port, "/x", &a);
        assert_int_equal(a.status, 200);
    }
    assert_int_equal(tokens_given(w.tokens), 1);
    assert_int_equal(api_token_of(peer_request(w.api, "", 19)), 1);
    tokens_release(w.tokens);
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained generation=2", 1, SOON_MS));
    answer_free(&a);
}

/* While the old token is valid, no caller sees that its renewal failed. (rows 62, 64) */
static void a_failed_renewal_is_invisible_while_the_old_token_is_valid(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    struct world_options options = { .no_proxy = true,
                                     .settings = "token.refresh_before = 59s\n"
                                                 "token.retry_min = 100ms\n"
                                                 "token.retry_max = 200ms\n" };
    world_start(&w, &options);
    tokens_lifetime(w.tokens, 60);
    world_proxy(&w, &options);
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    tokens_always(w.tokens, (struct token_answer){ .status = 503 });
    assert_true(proxy_log_wait(w.proxy, "event=token_fetch_failed", 2, SOON_MS));
    for (int i = 0; i < 5; i++) {
        http_get(w.port, "/x", &a);
        assert_int_equal(a.status, 200);
    }
    tokens_always(w.tokens, (struct token_answer){ 0 });
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained generation=2", 1, SOON_MS));
    answer_free(&a);
}

static void an_expired_token_is_never_sent(void **state)
{
    (void)state;
    LATER(later);
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .env = later.env,
                                             .settings = "token.retry_min = 100ms\n"
                                                         "token.retry_max = 200ms\n"
                                                         "token.wait_timeout = 60s\n"
                                                         "token.timeout = 1h\n" });
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained generation=1", 1, SOON_MS));
    tokens_always(w.tokens, (struct token_answer){ .status = 503 });
    later_by(&later, 3600 * 1000 - 2 * SOON_MS); /* nearly its whole life */
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(api_token_of(peer_request(w.api, "", 0)), 1);
    later_by(&later, 2 * SOON_MS); /* a renewal may be under way */
    for (int i = 0; i < 3; i++) {
        http_get(w.port, "/x", &a);
        assert_problem(&a, 503, "token", "destination_unavailable");
    }
    assert_int_equal(peer_count(w.api, ""), 1);
    tokens_always(w.tokens, (struct token_answer){ 0 });
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained generation=2", 1, SOON_MS));
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(api_token_of(peer_request(w.api, "", 1)), 2);
    answer_free(&a);
}

/* An expires_in that is absent or no lifetime is replaced by the default. (row 58) */
static void a_lifetime_that_is_no_lifetime_is_replaced_by_the_default(void **state)
{
    (void)state;
    static const char *const lifetimes[] = { "",
                                             ",\"expires_in\":0",
                                             ",\"expires_in\":-5",
                                             ",\"expires_in\":null",
                                             ",\"expires_in\":\"soon\"",
                                             ",\"expires_in\":true" };
    LATER(later);
    WORLD(w);
    struct answer a = { 0 };
    char value[32];
    struct world_options options = { .no_proxy = true,
                                     .env = later.env,
                                     .settings = "token.default_lifetime = 3577s\n" };
    world_start(&w, &options);
    for (size_t i = 0; i < sizeof lifetimes / sizeof *lifetimes; i++) {
        char body[160];
        (void)snprintf(body, sizeof body,
                       "{\"access_token\":\"" CANARY "-token-1\",\"token_type\":\"bearer\"%s}",
                       lifetimes[i]);
        tokens_push(w.tokens, (struct token_answer){ .status = 200, .body = body });
        if (i == 0)
            world_proxy(&w, &options);
        else
            later_by(&later, 3577 * 1000);
        http_get(w.port, "/x", &a);
        assert_int_equal(a.status, 200);
        assert_int_equal(api_token_of(peer_request(w.api, "", i)), 1);
        assert_true(proxy_log_wait(w.proxy, "event=token_obtained", i + 1, SOON_MS));
        assert_true(proxy_log_field(w.proxy, "event=token_obtained", i, "lifetime_s", value,
                                    sizeof value));
        assert_string_equal(value, "3577");
        assert_int_equal(tokens_fetches(w.tokens), i + 1);
    }
    answer_free(&a);
}

/* An expires_in in a string counts, a day is the most, and token_type may be in any case.
 * (rows 58, 60) */
static void a_lifetime_in_a_string_counts_and_a_day_is_the_most(void **state)
{
    (void)state;
    static const char *const cases[][2] = { { "\"1234\"", "1234" },
                                            { "1234", "1234" },
                                            { "31536000", "86400" } };
    LATER(later);
    WORLD(w);
    struct answer a = { 0 };
    char value[32];
    struct world_options options = { .no_proxy = true, .env = later.env };
    world_start(&w, &options);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[160];
        (void)snprintf(body, sizeof body,
                       "{\"access_token\":\"abc\",\"token_type\":\"BEARER\",\"expires_in\":%s}",
                       cases[i][0]);
        tokens_push(w.tokens, (struct token_answer){ .status = 200, .body = body });
        if (i == 0)
            world_proxy(&w, &options);
        else
            later_by(&later, 1234 * 1000);
        http_get(w.port, "/x", &a);
        assert_int_equal(a.status, 200);
        assert_true(proxy_log_wait(w.proxy, "event=token_obtained", i + 1, SOON_MS));
        assert_true(proxy_log_field(w.proxy, "event=token_obtained", i, "lifetime_s", value,
                                    sizeof value));
        assert_string_equal(value, cases[i][1]);
    }
    answer_free(&a);
}

static void the_token_endpoint_may_be_reached_over_tls(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .cert = CERT_VALID, .token_cert = CERT_VALID });
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(api_token_of(peer_request(w.api, "", 0)), 1);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_token_is_fetched_at_start),
        TEST(scope_audience_and_resource_are_sent_when_set),
        TEST(extra_form_fields_are_sent_as_they_are_written),
        TEST(a_thousand_first_requests_cost_one_fetch),
        TEST(a_parked_request_with_a_body_is_kept_whole),
        TEST(a_token_is_renewed_before_it_expires),
        TEST(a_renewal_under_way_delays_no_request),
        TEST(a_failed_renewal_is_invisible_while_the_old_token_is_valid),
        TEST(an_expired_token_is_never_sent),
        TEST(a_lifetime_that_is_no_lifetime_is_replaced_by_the_default),
        TEST(a_lifetime_in_a_string_counts_and_a_day_is_the_most),
        TEST(the_token_endpoint_may_be_reached_over_tls),
    };
    return RUN_TESTS(tests);
}

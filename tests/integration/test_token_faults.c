/* What callers get while there is no token, for each reason why a fetch can fail; and the
 * back-off. Rows: tests/hostile/README.md. */
#include "harness.h"

#define QUICK                   \
    "token.retry_min = 100ms\n" \
    "token.retry_max = 300ms\n" \
    "token.wait_timeout = 20s\n"

/* A world whose token endpoint gives this answer and no other. */
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

static void assert_retry_after(const struct answer *a)
{
    const char *value = answer_header(a, "Retry-After");
    char *end;
    long seconds = strtol(value, &end, 10);
    if (*value == '\0' || *end != '\0' || seconds < 0 || seconds > 3600)
        fail_msg("Retry-After is \"%s\"", value);
}

/* The token endpoint refuses the credentials: 401 and 403 are passed on as they are or as 502,
 * as the settings say; any other refusal is 502. (row 61) */
static void refused_credentials_are_mirrored_or_502(void **state)
{
    (void)state;
    static const struct {
        int received;
        const char *settings;
        int status;
    } cases[] = {
        { 401, QUICK, 401 },
        { 403, QUICK, 403 },
        { 401, QUICK "token.refused_status = 502\n", 502 },
        { 403, QUICK "token.refused_status = 502\n", 502 },
        { 400, QUICK, 502 },
        { 422, QUICK, 502 },
        { 404, QUICK, 502 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WORLD(w);
        struct answer a = { 0 };
        char wanted[64];
        start_with(&w,
                   (struct token_answer){ .status = cases[i].received,
                                          .headers = "Content-Type: application/json\r\n",
                                          .body = "{\"type\":\"X\",\"message\":\"" CANARY
                                                  "-echo\",\"data\":null}" },
                   cases[i].settings);
        http_get(w.port, "/x", &a);
        assert_problem(&a, cases[i].status, "token", "proxy_configuration_error");
        (void)snprintf(wanted, sizeof wanted, "received-status=%d", cases[i].received);
        assert_contains(answer_header(&a, "Proxy-Status"), wanted);
        assert_int_equal(answer_header_count(&a, "WWW-Authenticate"), cases[i].status == 401);
        assert_int_equal(peer_count(w.api, ""), 0);
        assert_true(proxy_log_wait(w.proxy, "event=token_fetch_failed", 1, SOON_MS));
        assert_false(proxy_log_contains(w.proxy, CANARY));
        answer_free(&a);
    }
}

/* The token endpoint answers 408, 429 or 5xx, or redirects: 503 with Retry-After, and nothing
 * is followed. (rows 62, 63) */
static void an_endpoint_in_trouble_is_503_with_retry_after(void **state)
{
    (void)state;
    static const int statuses[] = { 408, 429, 500, 502, 503, 504, 301 };
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        WORLD(w);
        struct answer a = { 0 };
        start_with(&w,
                   (struct token_answer){ .status = statuses[i],
                                          .headers = "Location: /v0/elsewhere\r\n",
                                          .body = "<html>" CANARY "</html>" },
                   QUICK);
        http_call(w.port, "POST", "/x", NULL, "{}", &a);
        if (statuses[i] == 301) /* not followed; which of the two rows it is in is left open */
            assert_true(a.status == 503 || a.status == 502);
        else
            assert_problem(&a, 503, "token", "destination_unavailable");
        if (a.status == 503)
            assert_retry_after(&a);
        assert_int_equal(peer_count(tokens_peer(w.tokens), " /v0/elsewhere"), 0);
        assert_int_equal(peer_count(w.api, ""), 0);
        assert_false(proxy_log_contains(w.proxy, CANARY));
        answer_free(&a);
    }
}

/* What others take: any 2xx, no token_type (warned of once), seconds with a fraction. */
static void a_sound_token_is_taken_however_it_is_wrapped(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
    } cases[] = {
        { 201, "{\"access_token\":\"" CANARY "-token-1\",\"token_type\":\"bearer\"}" },
        { 202, "{\"access_token\":\"" CANARY "-token-1\"}" },
        { 299, "{\"access_token\":\"" CANARY "-token-1\",\"expires_in\":\"3600.0\"}" }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WORLD(w);
        struct answer a = { 0 };
        start_with(&w,
                   (struct token_answer){ .status = cases[i].status, .body = cases[i].body },
                   QUICK);
        http_get(w.port, "/x", &a);
        assert_int_equal(a.status, 200);
        assert_int_equal(proxy_log_count(w.proxy, "event=token_type_missing"), i > 0);
        answer_free(&a);
    }
}

static void a_200_with_an_error_is_a_refusal_and_tells_its_words(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    start_with(&w,
               (struct token_answer){ .status = 200,
                                      .body = "{\"error\":\"invalid_client\","
                                              "\"error_description\":\"no \\u001b client\"}" },
               QUICK);
    http_get(w.port, "/x", &a);
    assert_problem(&a, 502, "token", "proxy_configuration_error");
    assert_problem_detail(&a, "answered 200 with an error");
    assert_problem_detail(&a, "invalid_client: no ? client");
    answer_free(&a);
}

/* Neither the values of token.extra nor the Basic credentials, which hold the secret. */
static void a_refusal_that_repeats_what_was_sent_is_told_without_it(void **state)
{
    (void)state;
    static const char *const words[] = { "apikey=pass%2Fphrase", "pass/phrase",
                                         "Basic Y2xpZW50LTc6" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        WORLD(w);
        struct answer a = { 0 };
        char body[160], settings[256];
        (void)snprintf(body, sizeof body,
                       "{\"error\":\"invalid_request\",\"error_description\":\"no %s\"}",
                       words[i]);
        (void)snprintf(settings, sizeof settings,
                       QUICK "token.extra = apikey=pass%%2Fphrase\ntoken.auth_style = basic\n");
        start_with(&w, (struct token_answer){ .status = 200, .body = body }, settings);
        http_get(w.port, "/x", &a);
        assert_problem(&a, 502, "token", "proxy_configuration_error");
        assert_problem_detail(&a, "invalid_request");
        assert_lacks(bytes_text(&a.body), words[i]);
        assert_true(proxy_log_wait(w.proxy, "event=token_fetch_failed", 1, SOON_MS));
        assert_false(proxy_log_contains(w.proxy, CANARY));
        answer_free(&a);
    }
}

static void a_token_url_may_have_a_query(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char settings[160];
    struct world_options options = { .no_proxy = true };
    world_start(&w, &options);
    (void)snprintf(settings, sizeof settings,
                   "token.url = http://127.0.0.1:%d/t/oauth?api-version=2&x=%%2F\n",
                   peer_port(tokens_peer(w.tokens)));
    options.settings = settings;
    world_proxy(&w, &options);
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(peer_count(tokens_peer(w.tokens), "POST /t/oauth?api-version=2&x=%2F"), 1);
    answer_free(&a);
}

/* A token answer that is not JSON, holds no token or a bad one, or is of another token_type:
 * 503, and nothing of it is sent upstream. (rows 56, 59, 60) */
static void a_malformed_token_answer_is_503(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "",
        "null",
        "[]",
        "\"abc\"",
        "<html>" CANARY "</html>",
        "{\"access_token\":\"" CANARY "\"",
        "{\"token_type\":\"Bearer\"}",
        "{\"access_token\":null,\"token_type\":\"Bearer\"}",
        "{\"access_token\":\"\",\"token_type\":\"Bearer\"}",
        "{\"access_token\":123,\"token_type\":\"Bearer\"}",
        "{\"access_token\":\"" CANARY "\\r\\nX: y\",\"token_type\":\"Bearer\"}",
        "{\"access_token\":\"" CANARY "\\u0000\",\"token_type\":\"Bearer\"}",
        "{\"access_token\":\"" CANARY " b\",\"token_type\":\"Bearer\"}",
        "{\"access_token\":\"" CANARY "\",\"token_type\":\"mac\"}",
        "{\"access_token\":\"" CANARY "\",\"token_type\":\"Bearer\",}",
        "{\"access_token\":\"" CANARY "\",\"token_type\":\"Bearer\"} x",
        "{'access_token':'" CANARY "','token_type':'Bearer'}",
        "{\"access_token\":\"" CANARY "1\",\"access_token\":\"" CANARY "2\","
        "\"token_type\":\"Bearer\"}",
    };
    WORLD(w);
    struct answer a = { 0 };
    /* the first waits for a token, then each fetch in the back-off brings the next one */
    start_with(&w, (struct token_answer){ .status = 200, .body = bodies[0] },
               QUICK "log.level = debug\n");
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        tokens_always(w.tokens, (struct token_answer){ .status = 200, .body = bodies[i] });
        size_t failed = proxy_log_count(w.proxy, "event=token_fetch_failed");
        /* two more, so that the second was asked for after the change above */
        if (!proxy_log_wait(w.proxy, "event=token_fetch_failed", failed + 2, SOON_MS))
            fail_msg("not refused: %s", bodies[i]);
        http_get(w.port, "/x", &a);
        assert_problem(&a, 503, "token", "http_protocol_error");
        assert_retry_after(&a);
    }
    assert_int_equal(proxy_log_count(w.proxy, "event=token_obtained"), 0);
    assert_false(proxy_log_contains(w.proxy, CANARY));
    assert_int_equal(peer_count(w.api, ""), 0);
    tokens_always(w.tokens, (struct token_answer){ 0 });
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    answer_free(&a);
}

/* A token answer that does not end is read up to 64 KiB. (row 56) */
static void a_token_answer_without_end_is_not_read_to_the_end(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    struct bytes body = { 0 };
    bytes_add_str(&body, "{\"access_token\":\"abc\",\"token_type\":\"Bearer\",\"pad\":\"");
    bytes_fill(&body, 'x', 80000);
    bytes_add_str(&body, "\"}");
    start_with(&w, (struct token_answer){ .status = 200, .body = bytes_text(&body) }, QUICK);
    http_get(w.port, "/x", &a);
    assert_problem(&a, 503, "token", "http_protocol_error");
    world_end(&w);
    bytes_free(&body);
    answer_free(&a);
}

/* As one line that libcurl does not take, and as many lines. It is the endpoint's fault, not
 * a lack of memory here. */
static void a_head_without_end_is_told_as_the_token_endpoints(void **state)
{
    (void)state;
    for (int lines = 1; lines <= 300; lines += 299) {
        WORLD(w);
        struct answer a = { 0 };
        struct bytes head = { 0 };
        for (int i = 0; i < lines; i++) {
            bytes_add_str(&head, "X-Long: ");
            bytes_fill(&head, 'x', lines == 1 ? 400000 : 1000);
            bytes_add_str(&head, "\r\n");
        }
        start_with(
            &w,
            (struct token_answer){ .status = 200, .headers = bytes_text(&head), .body = "{}" },
            QUICK);
        http_get(w.port, "/x", &a);
        assert_problem(&a, 503, "token", "http_response_header_section_size");
        assert_problem_detail(&a, "The head of the token endpoint's answer is larger");
        world_end(&w);
        bytes_free(&head);
        answer_free(&a);
    }
}

/* Of an answer 64 KiB are read, all of them. */
static void a_token_answer_of_64_kib_is_read_and_one_byte_more_is_not(void **state)
{
    (void)state;
    static const char head[] =
        "{\"access_token\":\"" CANARY "-token-1\",\"token_type\":\"Bearer\",\"pad\":\"";
    for (size_t more = 0; more < 2; more++) {
        WORLD(w);
        struct answer a = { 0 };
        struct bytes body = { 0 };
        bytes_add_str(&body, head);
        bytes_fill(&body, 'x', 65536 + more - strlen(head) - strlen("\"}"));
        bytes_add_str(&body, "\"}");
        start_with(&w, (struct token_answer){ .status = 200, .body = bytes_text(&body) },
                   QUICK);
        http_get(w.port, "/x", &a);
        assert_int_equal(a.status, more == 0 ? 200 : 503);
        world_end(&w);
        bytes_free(&body);
        answer_free(&a);
    }
}

static void an_endpoint_that_cannot_be_reached_is_502(void **state)
{
    (void)state;
    static const struct {
        const char *settings, *error;
    } cases[] = {
        { QUICK "token.url = http://127.0.0.1:1/token\n", "connection_refused" },
        { QUICK "token.url = https://no-such-host.invalid/token\n", "dns_error" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WORLD(w);
        struct answer a = { 0 };
        world_start(
            &w, &(struct world_options){ .hold_tokens = true, .settings = cases[i].settings });
        http_get(w.port, "/x", &a);
        assert_problem(&a, 502, "token", cases[i].error);
        answer_free(&a);
    }
}

/* A token endpoint with a wrong certificate gets no secret, and the caller 502. (row 63) */
static void an_endpoint_with_a_wrong_certificate_is_502(void **state)
{
    (void)state;
    static const enum cert_kind kinds[] = { CERT_EXPIRED, CERT_WRONG_NAME, CERT_SELF_SIGNED };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        WORLD(w);
        struct answer a = { 0 };
        world_start(&w, &(struct world_options){
                            .token_cert = kinds[i], .hold_tokens = true, .settings = QUICK });
        http_get(w.port, "/x", &a);
        assert_problem(&a, 502, "token", "tls_certificate_error");
        assert_int_equal(tokens_fetches(w.tokens), 0); /* no secret went to a stranger */
        answer_free(&a);
    }
}

static void a_connection_that_dies_is_a_failure_like_others(void **state)
{
    (void)state;
    static const int deaths[] = { TOKEN_CLOSE, TOKEN_RESET };
    for (size_t i = 0; i < 2; i++) {
        WORLD(w);
        struct answer a = { 0 };
        struct token_answer death = { .times = 1 };
        death.what = deaths[i] == TOKEN_CLOSE ? TOKEN_CLOSE : TOKEN_RESET;
        start_with(&w, death, QUICK);
        http_get(w.port, "/x", &a);
        assert_true(a.status == 502 || a.status == 503);
        char stage[32];
        json_member(&a.body, "stage", stage, sizeof stage);
        assert_string_equal(stage, "token");
        tokens_always(w.tokens, (struct token_answer){ 0 });
        assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
        answer_free(&a);
    }
}

static void a_request_waits_for_a_token_only_so_long(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char waited[32];
    world_start(&w, &(struct world_options){ .hold_tokens = true,
                                             .settings = "token.wait_timeout = 1s\n"
                                                         "token.timeout = 60s\n" });
    http_call(w.port, "POST", "/x", NULL, "{}", &a);
    assert_problem(&a, 504, "token", "connection_read_timeout");
    assert_retry_after(&a);
    /* by the proxy's own clock: not less, and far from token.timeout */
    assert_true(proxy_log_wait(w.proxy, "event=access", 1, SOON_MS));
    assert_true(proxy_log_field(w.proxy, "event=access", 0, "token_ms", waited, sizeof waited));
    assert_in_range((long)strtod(waited, NULL), 998, 20000);
    assert_int_equal(peer_count(w.api, ""), 0);
    answer_free(&a);
}

/* A token endpoint that does not answer is left at the timeout. (row 63) */
static void a_fetch_without_an_answer_ends_by_its_timeout(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    start_with(&w, (struct token_answer){ .what = TOKEN_HANG },
               QUICK "token.timeout = 300ms\n");
    http_get(w.port, "/x", &a);
    assert_true(a.status == 502 || a.status == 503 || a.status == 504);
    assert_true(proxy_log_wait(w.proxy, "event=token_fetch_failed", 2, SOON_MS));
    tokens_always(w.tokens, (struct token_answer){ 0 });
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    answer_free(&a);
}

/* While the next fetch is put off, requests get the failure at once and cost no fetch.
 * (row 62) */
static void while_backing_off_requests_get_the_failure_at_once(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    start_with(&w, (struct token_answer){ .status = 503, .headers = "Retry-After: 60\r\n" },
               "token.wait_timeout = 60s\n");
    assert_true(proxy_log_wait(w.proxy, "event=token_fetch_failed", 1, SOON_MS));
    int64_t began_ms = now_ms();
    for (int i = 0; i < 50; i++) {
        http_get(w.port, "/x", &a);
        assert_problem(&a, 503, "token", "destination_unavailable");
    }
    assert_true(now_ms() - began_ms < 10000);
    assert_int_equal(tokens_fetches(w.tokens), 1);
    char value[32];
    assert_true(proxy_log_field(w.proxy, "event=token_fetch_failed", 0, "retry_in_ms", value,
                                sizeof value));
    long retry_ms = strtol(value, NULL, 10);
    assert_true(retry_ms >= 59000 && retry_ms <= 70000);
    assert_true(strtol(answer_header(&a, "Retry-After"), NULL, 10) >= 40);
    answer_free(&a);
}

static void the_back_off_grows_and_stays_below_its_limit(void **state)
{
    (void)state;
    WORLD(w);
    start_with(&w, (struct token_answer){ .status = 500 }, QUICK);
    assert_true(proxy_log_wait(w.proxy, "event=token_fetch_failed", 8, SOON_MS));
    for (size_t i = 0; i < 8; i++) {
        char value[32];
        assert_true(proxy_log_field(w.proxy, "event=token_fetch_failed", i, "retry_in_ms",
                                    value, sizeof value));
        long ms = strtol(value, NULL, 10);
        if (ms < 0 || ms > 330)
            fail_msg("retry_in_ms is %ld", ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(refused_credentials_are_mirrored_or_502),
        TEST(an_endpoint_in_trouble_is_503_with_retry_after),
        TEST(a_sound_token_is_taken_however_it_is_wrapped),
        TEST(a_200_with_an_error_is_a_refusal_and_tells_its_words),
        TEST(a_refusal_that_repeats_what_was_sent_is_told_without_it),
        TEST(a_token_url_may_have_a_query),
        TEST(a_malformed_token_answer_is_503),
        TEST(a_token_answer_without_end_is_not_read_to_the_end),
        TEST(a_head_without_end_is_told_as_the_token_endpoints),
        TEST(a_token_answer_of_64_kib_is_read_and_one_byte_more_is_not),
        TEST(an_endpoint_that_cannot_be_reached_is_502),
        TEST(an_endpoint_with_a_wrong_certificate_is_502),
        TEST(a_connection_that_dies_is_a_failure_like_others),
        TEST(a_request_waits_for_a_token_only_so_long),
        TEST(a_fetch_without_an_answer_ends_by_its_timeout),
        TEST(while_backing_off_requests_get_the_failure_at_once),
        TEST(the_back_off_grows_and_stays_below_its_limit),
    };
    return RUN_TESTS(tests);
}

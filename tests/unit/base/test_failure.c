/* failure.c: the table is whole, and its rows fit together. */
#include <string.h>

#include "base/failure.h"
#include "unit.h"

static void every_kind_has_a_whole_row(void **state)
{
    (void)state;
    for (int kind = FAIL_NONE + 1; kind < FAILURE_COUNT; kind++) {
        const struct failure_info *info = failure_info((enum failure_kind)kind);
        assert_non_null(info->slug);
        assert_non_null(info->error);
        assert_non_null(info->title);
        assert_true(strlen(info->title) > 0);
        assert_in_range(info->status, 400, 599);
        assert_in_range(info->stage, 0, STAGE_COUNT - 1);
    }
}

static void slugs_are_unique_and_fit_a_urn(void **state)
{
    (void)state;
    for (int a = FAIL_NONE; a < FAILURE_COUNT; a++) {
        const char *slug = failure_info((enum failure_kind)a)->slug;
        assert_int_equal(strspn(slug, "abcdefghijklmnopqrstuvwxyz-"), strlen(slug));
        for (int b = a + 1; b < FAILURE_COUNT; b++)
            assert_string_not_equal(slug, failure_info((enum failure_kind)b)->slug);
    }
}

static void a_request_failure_is_the_callers_and_a_4xx_or_a_refusal(void **state)
{
    (void)state;
    const struct failure_info *denied = failure_info(FAIL_HOST_DENIED);
    assert_int_equal(denied->status, 421);
    assert_int_equal(denied->stage, STAGE_REQUEST);
    assert_string_equal(denied->error, "http_request_denied");
    assert_false(denied->retryable);

    const struct failure_info *lost = failure_info(FAIL_UPSTREAM_LOST);
    assert_int_equal(lost->status, 502);
    assert_int_equal(lost->stage, STAGE_UPSTREAM);
    assert_false(lost->retryable); /* it may have been executed */
}

/* Written out by hand: what each failure tells a caller is a promise, and `retryable` moves
 * money. */
static const struct {
    enum failure_kind kind;
    const char *slug;
    int status;
    const char *stage, *error;
    bool retryable;
} golden[] = {
    /* the caller's request: nothing was asked of the upstream that could be whole */
    { FAIL_BAD_REQUEST, "bad-request", 400, "request", "http_request_error", false },
    { FAIL_BAD_TARGET, "bad-target", 400, "request", "http_request_error", false },
    { FAIL_HOST_DENIED, "host-not-allowed", 421, "request", "http_request_denied", false },
    { FAIL_ORIGIN_DENIED, "origin-not-allowed", 403, "request", "http_request_denied", false },
    { FAIL_HEADER_MISSING, "header-required", 403, "request", "http_request_denied", false },
    { FAIL_CALLER_UNKNOWN, "caller-unknown", 403, "request", "http_request_denied", false },
    { FAIL_NOT_ALLOWED, "not-allowed", 403, "request", "http_request_denied", false },
    { FAIL_NOT_FOUND, "not-found", 404, "request", "http_request_error", false },
    { FAIL_METHOD_DENIED, "method-not-allowed", 405, "request", "http_request_error", false },
    { FAIL_HEAD_TIMEOUT, "head-timeout", 408, "request", "http_request_error", true },
    { FAIL_BODY_TIMEOUT, "body-timeout", 408, "request", "http_request_error", true },
    { FAIL_BODY_TOO_LARGE, "body-too-large", 413, "request", "http_request_error", false },
    { FAIL_KEY_MALFORMED, "idempotency-key-malformed", 400, "request", "http_request_error",
      false },
    { FAIL_KEY_REQUIRED, "idempotency-key-required", 400, "request", "http_request_error",
      false },
    { FAIL_KEY_REUSED, "idempotency-key-reused", 422, "request", "http_request_error", false },
    { FAIL_KEY_IN_FLIGHT, "idempotency-in-flight", 409, "request", "http_request_denied",
      true },
    { FAIL_KEY_NOT_KEPT, "idempotency-answer-not-kept", 409, "request", "http_request_denied",
      false },
    { FAIL_KEY_UNKNOWN, "idempotency-outcome-unknown", 409, "request", "http_request_denied",
      false },
    { FAIL_TARGET_TOO_LONG, "target-too-long", 414, "request", "http_request_error", false },
    { FAIL_EXPECTATION, "expectation-failed", 417, "request", "http_request_error", false },
    { FAIL_RATE_LIMITED, "rate-limited", 429, "request", "http_request_denied", true },
    { FAIL_HEAD_TOO_LARGE, "head-too-large", 431, "request", "http_request_error", false },
    { FAIL_CODING_UNKNOWN, "transfer-coding", 501, "request", "http_request_error", false },
    { FAIL_VERSION_UNKNOWN, "http-version", 505, "request", "http_request_error", false },
    { FAIL_LOOP, "loop", 508, "request", "proxy_loop_detected", false },
    /* the token: the request was never sent */
    { FAIL_TOKEN_REFUSED, "token-refused", 401, "token", "proxy_configuration_error", false },
    { FAIL_TOKEN_FORBIDDEN, "token-forbidden", 403, "token", "proxy_configuration_error",
      false },
    { FAIL_TOKEN_CONFIG, "token-configuration", 502, "token", "proxy_configuration_error",
      false },
    { FAIL_TOKEN_UNAVAILABLE, "token-unavailable", 503, "token", "destination_unavailable",
      true },
    { FAIL_TOKEN_INVALID, "token-invalid", 503, "token", "http_protocol_error", true },
    { FAIL_TOKEN_DNS, "token-dns", 502, "token", "dns_error", true },
    { FAIL_TOKEN_CONNECT, "token-connect", 502, "token", "connection_refused", true },
    { FAIL_TOKEN_TLS, "token-tls", 502, "token", "tls_certificate_error", false },
    { FAIL_TOKEN_TIMEOUT, "token-timeout", 504, "token", "connection_read_timeout", true },
    /* the upstream, before the request was sent */
    { FAIL_UPSTREAM_DNS, "upstream-dns", 502, "upstream", "dns_error", true },
    { FAIL_UPSTREAM_CONNECT, "upstream-connect", 502, "upstream", "connection_refused", true },
    { FAIL_UPSTREAM_CERT, "upstream-certificate", 502, "upstream", "tls_certificate_error",
      false },
    { FAIL_UPSTREAM_TLS, "upstream-tls", 502, "upstream", "tls_protocol_error", true },
    { FAIL_UPSTREAM_CONNECT_TIMEOUT, "upstream-connect-timeout", 504, "upstream",
      "connection_timeout", true },
    /* ... and after it: never retryable, since it may have been carried out */
    { FAIL_UPSTREAM_RESPONSE_TIMEOUT, "upstream-response-timeout", 504, "upstream",
      "http_response_timeout", false },
    { FAIL_UPSTREAM_STALLED, "upstream-stalled", 504, "upstream", "connection_read_timeout",
      false },
    { FAIL_UPSTREAM_LOST, "upstream-lost", 502, "upstream", "connection_terminated", false },
    { FAIL_UPSTREAM_PROTOCOL, "upstream-protocol", 502, "upstream", "http_protocol_error",
      false },
    { FAIL_UPSTREAM_HEAD_SIZE, "upstream-head-too-large", 502, "upstream",
      "http_response_header_section_size", false },
    { FAIL_UPSTREAM_INCOMPLETE, "upstream-incomplete", 502, "upstream",
      "http_response_incomplete", false },
    /* the proxy itself: before anything was sent */
    { FAIL_OVERLOAD, "overload", 503, "proxy", "connection_limit_reached", true },
    { FAIL_FROZEN, "frozen", 503, "proxy", "http_request_denied", true },
    { FAIL_DRAINING, "draining", 503, "proxy", "destination_unavailable", true },
    { FAIL_LEDGER, "ledger-unavailable", 503, "proxy", "proxy_internal_error", true },
    { FAIL_INTERNAL, "internal", 500, "proxy", "proxy_internal_error", true },
};

static void what_each_failure_tells_a_caller_is_as_promised(void **state)
{
    (void)state;
    bool seen[FAILURE_COUNT] = { false };
    assert_int_equal(sizeof golden / sizeof *golden, FAILURE_COUNT - 1);
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        const struct failure_info *info = failure_info(golden[i].kind);
        assert_false(seen[golden[i].kind]);
        seen[golden[i].kind] = true;
        assert_string_equal(info->slug, golden[i].slug);
        assert_string_equal(failure_stage_name(info->stage), golden[i].stage);
        assert_string_equal(info->error, golden[i].error);
        if (info->status != golden[i].status || info->retryable != golden[i].retryable)
            fail_msg("%s: %d, %s", info->slug, info->status,
                     info->retryable ? "retryable" : "not retryable");
    }
}

static void the_status_can_differ_from_the_table(void **state)
{
    struct failure f = failure_make(FAIL_TOKEN_REFUSED, "why");

    (void)state;
    assert_int_equal(failure_status(&f), 401);
    f.status = 502;
    assert_int_equal(failure_status(&f), 502);
}

static void stages_have_the_names_of_the_contract(void **state)
{
    (void)state;
    assert_string_equal(failure_stage_name(STAGE_REQUEST), "request");
    assert_string_equal(failure_stage_name(STAGE_TOKEN), "token");
    assert_string_equal(failure_stage_name(STAGE_UPSTREAM), "upstream");
    assert_string_equal(failure_stage_name(STAGE_PROXY), "proxy");
}

static void a_made_failure_holds_its_detail_and_nothing_else(void **state)
{
    struct failure f = failure_make(FAIL_BODY_TOO_LARGE, "raise %s above %d", "the key", 5);

    (void)state;
    assert_int_equal(f.kind, FAIL_BODY_TOO_LARGE);
    assert_string_equal(f.detail, "raise the key above 5");
    assert_int_equal(f.status, 0);
    assert_int_equal(f.received_status, 0);
    assert_int_equal(f.retry_after_s, 0);
    assert_null(f.error);
}

static void a_detail_too_long_is_cut(void **state)
{
    char text[400];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct failure f = failure_make(FAIL_INTERNAL, "%s", text);
    assert_int_equal(strlen(f.detail), sizeof f.detail - 1);
}

static void a_cut_never_goes_through_a_character(void **state)
{
    char text[400];

    (void)state;
    for (size_t lead = 0; lead < 4; lead++) {
        memset(text, 'x', lead);
        for (size_t i = lead; i + 3 < sizeof text; i += 3)
            memcpy(text + i, "\xe2\x82\xac", 4);
        struct failure f = failure_make(FAIL_INTERNAL, "%s", text);
        assert_int_equal((strlen(f.detail) - lead) % 3, 0);
        assert_true(strlen(f.detail) >= sizeof f.detail - 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_each_failure_tells_a_caller_is_as_promised),
        cmocka_unit_test(every_kind_has_a_whole_row),
        cmocka_unit_test(slugs_are_unique_and_fit_a_urn),
        cmocka_unit_test(a_request_failure_is_the_callers_and_a_4xx_or_a_refusal),
        cmocka_unit_test(the_status_can_differ_from_the_table),
        cmocka_unit_test(stages_have_the_names_of_the_contract),
        cmocka_unit_test(a_made_failure_holds_its_detail_and_nothing_else),
        cmocka_unit_test(a_detail_too_long_is_cut),
        cmocka_unit_test(a_cut_never_goes_through_a_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

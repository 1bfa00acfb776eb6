/* error.c: how a failed exchange is reported, and whether it may be sent again. A request
 * that may have been carried out is never reported as retryable. */
#include <string.h>

#include "unit.h"
#include "upstream/exchange.h"

static struct exchange_body body;

/* A POST without a body that has failed like this. */
static struct exchange failed(bool wrote, bool reused, const char *words)
{
    struct exchange x = { .with.body = &body };

    response_check_init(&x.head);
    x.attempt.wrote = wrote;
    x.attempt.reused = reused;
    (void)strncpy(x.attempt.error_text, words, sizeof x.attempt.error_text - 1);
    return x;
}

static void assert_unknown(const struct failure *f)
{
    assert_false(failure_info(f->kind)->retryable);
    assert_non_null(strstr(f->detail, "outcome unknown"));
}

static void an_alert_after_the_request_was_sent_leaves_its_outcome_unknown(void **state)
{
    (void)state;
    static const struct {
        const char *words;
        bool reused;
    } cases[] = { { "SSL_read: tlsv1 alert internal error", false },
                  { "SSL_read: tlsv1 alert internal error", true },
                  { "SSL_read: tlsv13 alert certificate required", true } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct exchange x = failed(true, cases[i].reused, cases[i].words);
        struct failure f = upstream_error(&x.attempt, &x.head, CURLE_RECV_ERROR);
        assert_unknown(&f);
        assert_string_equal(f.error, "tls_alert_received");
        assert_false(exchange_may_retry(&x, CURLE_RECV_ERROR));
    }
}

static void an_alert_about_our_certificate_comes_before_the_request_is_looked_at(void **state)
{
    (void)state;
    struct exchange x = failed(true, false, "SSL_read: tlsv13 alert certificate required");
    struct failure f = upstream_error(&x.attempt, &x.head, CURLE_RECV_ERROR);
    assert_int_equal(f.kind, FAIL_UPSTREAM_TLS);
    assert_non_null(strstr(f.detail, "upstream.client_certificate"));
}

static void a_want_of_memory_after_the_request_was_sent_leaves_its_outcome_unknown(void **state)
{
    (void)state;
    struct exchange x = failed(false, false, "");
    struct failure f = upstream_error(&x.attempt, &x.head, CURLE_OUT_OF_MEMORY);
    assert_int_equal(f.kind, FAIL_INTERNAL);
    for (int began = 0; began < 2; began++) {
        x = failed(true, false, "");
        x.attempt.began = began;
        f = upstream_error(&x.attempt, &x.head, CURLE_OUT_OF_MEMORY);
        assert_unknown(&f);
    }
}

/* Callers look for these words before they send a payment again. */
static void an_answer_that_is_not_accepted_leaves_the_outcome_unknown(void **state)
{
    (void)state;
    static const enum failure_kind kinds[] = { FAIL_UPSTREAM_PROTOCOL,
                                               FAIL_UPSTREAM_HEAD_SIZE };
    static const CURLcode codes[] = { CURLE_WEIRD_SERVER_REPLY, CURLE_UNSUPPORTED_PROTOCOL,
                                      CURLE_BAD_CONTENT_ENCODING };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct exchange x = failed(true, false, "");
        x.head.kind = kinds[i];
        x.head.why = "its head is wrong";
        struct failure f = upstream_error(&x.attempt, &x.head, CURLE_WEIRD_SERVER_REPLY);
        assert_unknown(&f);
    }
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        struct exchange x = failed(true, false, "");
        struct failure f = upstream_error(&x.attempt, &x.head, codes[i]);
        assert_unknown(&f);
    }
    struct exchange x = failed(false, false, ""); /* it answered before it was asked */
    x.head.kind = FAIL_UPSTREAM_PROTOCOL;
    x.head.why = "it came before anything was asked";
    struct failure f = upstream_error(&x.attempt, &x.head, CURLE_WEIRD_SERVER_REPLY);
    assert_null(strstr(f.detail, "outcome unknown"));
    assert_non_null(strstr(f.detail, "was not sent"));
}

static void only_what_was_not_written_or_is_safe_is_sent_again(void **state)
{
    (void)state;
    struct exchange x = failed(false, true, "");
    assert_true(exchange_may_retry(&x, CURLE_SEND_ERROR));
    x.fresh = true;
    assert_false(exchange_may_retry(&x, CURLE_SEND_ERROR));
    x = failed(true, true, "");
    assert_false(exchange_may_retry(&x, CURLE_GOT_NOTHING));
    x.request.resendable = true;
    assert_true(exchange_may_retry(&x, CURLE_GOT_NOTHING));
    x.attempt.reused = false;
    assert_false(exchange_may_retry(&x, CURLE_GOT_NOTHING));
    x = failed(false, true, "");
    x.attempt.began = true;
    assert_false(exchange_may_retry(&x, CURLE_RECV_ERROR));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_alert_after_the_request_was_sent_leaves_its_outcome_unknown),
        cmocka_unit_test(an_alert_about_our_certificate_comes_before_the_request_is_looked_at),
        cmocka_unit_test(
            a_want_of_memory_after_the_request_was_sent_leaves_its_outcome_unknown),
        cmocka_unit_test(an_answer_that_is_not_accepted_leaves_the_outcome_unknown),
        cmocka_unit_test(only_what_was_not_written_or_is_safe_is_sent_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

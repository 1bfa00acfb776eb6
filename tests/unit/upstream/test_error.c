/* upstream_failure.c: what a failed exchange is told as, and whether it may be sent once more.
 * A request that may have been carried out is never called retryable. */
#include <string.h>

#include "proxy/relay.h"
#include "unit.h"
#include "upstream/upstream_inside.h"

static struct context context;

/* A POST without a body that has failed like this. */
static struct relay failed(bool wrote, bool reused, const char *words)
{
    struct relay r = { .ctx = &context };

    response_check_init(&r.upstream.guard);
    r.upstream.wrote = wrote;
    r.upstream.reused = reused;
    r.upstream.sendings = 1;
    (void)strncpy(r.upstream.error_text, words, sizeof r.upstream.error_text - 1);
    return r;
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
        struct relay r = failed(true, cases[i].reused, cases[i].words);
        struct failure f = upstream_failure(&r, CURLE_RECV_ERROR);
        assert_unknown(&f);
        assert_string_equal(f.error, "tls_alert_received");
        assert_false(upstream_again(&r, CURLE_RECV_ERROR));
    }
}

static void an_alert_about_our_certificate_comes_before_the_request_is_looked_at(void **state)
{
    (void)state;
    struct relay r = failed(true, false, "SSL_read: tlsv13 alert certificate required");
    struct failure f = upstream_failure(&r, CURLE_RECV_ERROR);
    assert_int_equal(f.kind, FAIL_UPSTREAM_TLS);
    assert_non_null(strstr(f.detail, "upstream.client_certificate"));
}

static void a_want_of_memory_after_the_request_was_sent_leaves_its_outcome_unknown(void **state)
{
    (void)state;
    struct relay r = failed(false, false, "");
    struct failure f = upstream_failure(&r, CURLE_OUT_OF_MEMORY);
    assert_int_equal(f.kind, FAIL_INTERNAL);
    for (int began = 0; began < 2; began++) {
        r = failed(true, false, "");
        r.upstream.began = began;
        f = upstream_failure(&r, CURLE_OUT_OF_MEMORY);
        assert_unknown(&f);
    }
}

static void only_what_was_not_written_or_is_safe_is_sent_again(void **state)
{
    (void)state;
    struct relay r = failed(false, true, "");
    assert_true(upstream_again(&r, CURLE_SEND_ERROR));
    r.upstream.retried = true;
    assert_false(upstream_again(&r, CURLE_SEND_ERROR));
    r = failed(true, true, "");
    assert_false(upstream_again(&r, CURLE_GOT_NOTHING));
    r.safe = true;
    assert_true(upstream_again(&r, CURLE_GOT_NOTHING));
    r.upstream.reused = false;
    assert_false(upstream_again(&r, CURLE_GOT_NOTHING));
    r = failed(false, true, "");
    r.upstream.began = true;
    assert_false(upstream_again(&r, CURLE_RECV_ERROR));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_alert_after_the_request_was_sent_leaves_its_outcome_unknown),
        cmocka_unit_test(an_alert_about_our_certificate_comes_before_the_request_is_looked_at),
        cmocka_unit_test(
            a_want_of_memory_after_the_request_was_sent_leaves_its_outcome_unknown),
        cmocka_unit_test(only_what_was_not_written_or_is_safe_is_sent_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

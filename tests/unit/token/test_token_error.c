/* token_error.c: turns a token endpoint's error answer into a sentence that says what to
 * check. */
#include <stdio.h>
#include <string.h>

#include "token/token_error.h"
#include "unit.h"

static const char *reason(const char *body)
{
    return token_error_reason(body, strlen(body));
}

static void assert_says(const char *body, const char *words)
{
    const char *found = reason(body);
    if (found == NULL || strstr(found, words) == NULL)
        fail_msg("%s: %s", body, found == NULL ? "nothing" : found);
}

static void the_errors_of_rfc_6749_are_known(void **state)
{
    (void)state;
    assert_says("{\"error\":\"invalid_scope\"}", "token.scope");
    assert_says("{\"error\":\"unsupported_grant_type\"}", "token.url");
    assert_says("{\"error\":\"unauthorized_client\"}", "may not use");
    assert_null(reason("{\"error\":\"invalid_client\"}")); /* the id or the secret: not told */
    assert_null(reason("{\"error\":\"invalid_request\"}"));
}

static void plain_words_tell_the_id_from_the_secret(void **state)
{
    (void)state;
    assert_says("{\"message\":\"Unknown client\"}", "token.client_id");
    assert_says("client 7 not found", "token.client_id");
    assert_says("API key does not exist: no such client", "token.client_id");
    assert_says(
        "{\"error\":\"invalid_client\",\"error_description\":\"Invalid client secret\"}",
        "token.client_secret");
    assert_says("The secret does not match", "token.client_secret");
    assert_says("client secret EXPIRED", "expired");
}

static void what_is_not_known_or_empty_tells_nothing(void **state)
{
    (void)state;
    char large[9000];
    assert_null(reason(""));
    assert_null(reason("<html>Bad gateway</html>"));
    assert_null(token_error_reason("\0\0\0", 3));
    memset(large, 'x', sizeof large);
    assert_null(token_error_reason(large, sizeof large));
}

static void assert_text(const char *body, const char *expected)
{
    char text[TOKEN_ERROR_TEXT_BYTES];
    struct secret *secret = secret_new("s3cr3t-value", 12);

    assert_int_equal(token_error_text(body, strlen(body), secret, text), expected != NULL);
    if (expected != NULL)
        assert_string_equal(text, expected);
    secret_free(secret);
}

static void the_error_of_an_answer_is_told_cut_and_without_the_secret(void **state)
{
    char body[4096], text[TOKEN_ERROR_TEXT_BYTES];
    struct secret *secret = secret_new("s3cr3t-value", 12);

    (void)state;
    assert_text("{\"error\":\"invalid_client\"}", "invalid_client");
    assert_text("{\"error\":\"invalid_client\",\"error_description\":\"no such client\"}",
                "invalid_client: no such client");
    assert_text("{\"error\":\"x\\u000a\\u001b[31m\",\"error_description\":\"\\u00e9\\u2028\"}",
                "x??[31m: ?????");
    assert_text(
        "{\"error\":\"bad\",\"error_description\":\"the secret s3cr3t-value is wrong\"}",
        "bad");
    assert_text("{\"error\":\"bad\",\"error_description\":\"it begins with cr3t-v\"}", "bad");
    assert_text("{\"error\":\"is 3t-val\",\"error_description\":\"why\"}", ": why");
    assert_text("{\"error\":{\"code\":1}}", NULL);
    assert_text("{\"error\":null}", NULL);
    assert_text("[]", NULL);
    assert_text("", NULL);
    assert_text("{\"access_token\":\"a b\",\"error\":\"x\"}", NULL);
    for (size_t n = 0; n < 3000; n += 7) { /* both of any length */
        static char long_text[3000];

        memset(long_text, 'e', sizeof long_text);
        (void)snprintf(body, sizeof body, "{\"error\":\"%.*s\",\"error_description\":\"%.*s\"}",
                       (int)(n / 3), long_text, (int)n, long_text);
        assert_true(token_error_text(body, strlen(body), secret, text));
        assert_true(strlen(text) < sizeof text);
    }
    secret_free(secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_errors_of_rfc_6749_are_known),
        cmocka_unit_test(plain_words_tell_the_id_from_the_secret),
        cmocka_unit_test(what_is_not_known_or_empty_tells_nothing),
        cmocka_unit_test(the_error_of_an_answer_is_told_cut_and_without_the_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

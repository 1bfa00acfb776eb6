#include <string.h>

#include "token/token_error.h"
#include "unit.h"

static const char *reason(const char *body)
{
    return token_error_reason(body, strlen(body));
}

static void assert_says(const char *body, const char *words)
{
    const char *said = reason(body);
    if (said == NULL || strstr(said, words) == NULL)
        fail_msg("%s: %s", body, said == NULL ? "nothing" : said);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_errors_of_rfc_6749_are_known),
        cmocka_unit_test(plain_words_tell_the_id_from_the_secret),
        cmocka_unit_test(what_is_not_known_or_empty_tells_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

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

static void assert_silent(const char *body)
{
    const char *found = reason(body);

    if (found != NULL)
        fail_msg("%s: %s", body, found);
}

#define SAYS(error, why) "{\"error\":\"" error "\",\"error_description\":\"" why "\"}"

static void the_sentences_of_rfc_6749_say_no_more_than_their_codes(void **state)
{
    (void)state;
    assert_silent(SAYS("invalid_client",
                       "Client authentication failed (e.g., unknown client, no client "
                       "authentication included, or unsupported authentication method)."));
    assert_silent(
        SAYS("invalid_grant",
             "The provided authorization grant (e.g., authorization code, resource owner "
             "credentials) or refresh token is invalid, expired, revoked, does not match the "
             "redirection URI used in the authorization request, or was issued to another "
             "client."));
    assert_silent(SAYS("invalid_request",
                       "The request is missing a required parameter, includes an unsupported "
                       "parameter value (other than grant type), repeats a parameter, includes "
                       "multiple credentials, utilizes more than one mechanism for "
                       "authenticating the client, or is otherwise malformed."));
    assert_says(SAYS("unauthorized_client", "The authenticated client is not authorized to use "
                                            "this authorization grant type."),
                "may not use");
    assert_says(SAYS("invalid_scope",
                     "The requested scope is invalid, unknown, malformed, or exceeds the scope "
                     "granted to the client."),
                "token.scope");
    assert_says(SAYS("unsupported_grant_type", "The authorization grant type is not supported "
                                               "by the authorization server."),
                "token.url");
    /* Ory Hydra adds what is wrong */
    assert_says(SAYS("invalid_client",
                     "Client authentication failed (e.g., unknown client, no client "
                     "authentication included, or unsupported authentication method). The "
                     "requested OAuth 2.0 Client does not exist."),
                "token.client_id");
}

/* `invalid` of the code is not a word about the secret. */
static void a_code_is_not_taken_for_words(void **state)
{
    (void)state;
    assert_says(SAYS("invalid_client", "The client secret has expired."), "expired");
    assert_silent(SAYS("invalid_client", "The secret is missing."));
    assert_says(SAYS("invalid_client", "The client was not found."), "token.client_id");
    /* a longer code is one of the server's own, and says more */
    assert_says(SAYS("invalid_client", "invalid_client_secret"), "token.client_secret");
    assert_says(SAYS("unauthorized_client", "unauthorized_client"), "may not use");
}

static void the_answers_of_known_servers_are_understood(void **state)
{
    static const char id[] = "does not know the client id", secret[] = "secret is wrong",
                      either[] = "whether the id or the secret", grant[] = "may not use";
    static const struct {
        const char *body, *says;
    } cases[] = {
        /* Keycloak */
        { SAYS("unauthorized_client", "Invalid client secret"), secret },
        { SAYS("unauthorized_client", "Invalid client or Invalid client credentials"), either },
        { SAYS("invalid_client", "Invalid client or Invalid client credentials"), either },
        { SAYS("unauthorized_client", "Client not enabled to retrieve service account"),
          grant },
        /* many */
        { "{\"message\":\"Invalid client_id or client_secret\"}", either },
        { "{\"message\":\"ID or secret is invalid\"}", either },
        { "{\"message\":\"Invalid clientId or clientSecret\"}", either },
        { "{\"message\":\"Invalid `client_id` or `client_secret`\"}", either },
        { "{\"message\":\"Invalid API key or secret\"}", either },
        { SAYS("invalid_client", "Unknown client or invalid secret"), either },
        { SAYS("invalid_client", "Invalid client or secret"), either },
        { SAYS("invalid_client", "The client secret is invalid or missing"), secret },
        { SAYS("invalid_client", "Client secret is invalid or expired"),
          "is wrong or has expired" },
        { SAYS("invalid_client", "API key not found or revoked"), NULL },
        { SAYS("invalid_client", "Client not found or disabled"), NULL },
        /* Okta */
        { SAYS("invalid_client",
               "The client secret supplied for a confidential client is invalid."),
          secret },
        { "{\"errorCode\":\"invalid_client\",\"errorSummary\":\"Invalid value for 'client_id' "
          "parameter.\",\"errorLink\":\"invalid_client\",\"errorId\":\"oae\","
          "\"errorCauses\":[]}",
          id },
        { SAYS("unauthorized_client",
               "The client is not authorized to use the provided grant type."),
          grant },
        /* Auth0 */
        { SAYS("access_denied", "Unauthorized"), NULL },
        { SAYS("unauthorized_client",
               "Grant type 'client_credentials' not allowed for the client."),
          grant },
        { SAYS("access_denied", "Client has not been granted scopes: read:api"), NULL },
        /* Microsoft Entra */
        { SAYS("invalid_client",
               "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in "
               "the request is the client secret value, not the client secret ID."),
          secret },
        { SAYS("invalid_client",
               "AADSTS7000222: The provided client secret keys for app 'a' are expired."),
          "has expired" },
        { SAYS("unauthorized_client",
               "AADSTS700016: Application with identifier 'a' was not found in the directory "
               "'b'."),
          id },
        /* Google */
        { SAYS("invalid_client", "The OAuth client was not found."), id },
        { SAYS("invalid_client", "The provided client secret is invalid."), secret },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (cases[i].says == NULL)
            assert_silent(cases[i].body);
        else
            assert_says(cases[i].body, cases[i].says);
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
    const struct token_error_sent sent = { .client_secret = secret };

    assert_int_equal(token_error_text(body, strlen(body), &sent, text), expected != NULL);
    if (expected != NULL)
        assert_string_equal(text, expected);
    secret_free(secret);
}

static void the_error_of_an_answer_is_told_cut_and_without_the_secret(void **state)
{
    char body[4096], text[TOKEN_ERROR_TEXT_BYTES];
    struct secret *secret = secret_new("s3cr3t-value", 12);
    const struct token_error_sent sent = { .client_secret = secret };

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
        assert_true(token_error_text(body, strlen(body), &sent, text));
        assert_true(strlen(text) < sizeof text);
    }
    secret_free(secret);
}

/* Everything secret that was sent, and what an answer says when it repeats `words`. */
static void assert_told(const char *words, bool told)
{
    char body[1024], text[TOKEN_ERROR_TEXT_BYTES];
    struct secret *secret = secret_new("p\"w/ 1+x?y z%", 13);
    struct secret *basic = secret_prefixed("Authorization: Basic ", "aWQ6cyUyMg==", 12);
    const struct token_error_sent sent = {
        .client_secret = secret,
        .authorization = basic,
        .extra = "apikey=an%2fother%20k+y&flag&empty=&pin=17&long=0123456789",
    };

    (void)snprintf(body, sizeof body, "{\"error\":\"bad\",\"error_description\":\"%s\"}",
                   words);
    assert_true(token_error_text(body, strlen(body), &sent, text));
    if (told != (strcmp(text, "bad") != 0))
        fail_msg("%s: %s", words, text);
    secret_free(secret);
    secret_free(basic);
}

static void no_secret_of_the_request_is_told(void **state)
{
    static const char *const hidden[] = {
        /* the client secret, encoded, with hardly two plain bytes beside each other */
        "it is p\\\"w/ 1+x?y",
        "it is p%22w%2F%201%2Bx%3Fy%20z%25",
        "it is p%22w%2f+1%2bx%3fy+z%25",
        /* token.extra, as it was sent, decoded, encoded in another way, a part, a short one */
        "unsupported: apikey=an%2fother%20k+y",
        "unsupported: an/other k y",
        "unsupported: an%2Fother+k%20y",
        "unsupported: ther k",
        "unsupported: pin=17",
        "unsupported: 345678",
        /* the Basic credentials */
        "Basic aWQ6cyUyMg==",
        "Basic aWQ6cyUyMg%3D%3D",
        "cyUyMg",
    };
    static const char *const told[] = { "flag, empty and apikey are unsupported", "no client",
                                        "100% wrong %", "an/ot" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(hidden); i++)
        assert_told(hidden[i], false);
    for (size_t i = 0; i < ARRAY_LEN(told); i++)
        assert_told(told[i], true);
}

/* json-c would leave copies of it in memory. */
static void what_may_hold_a_token_is_not_read_however_it_is_written(void **state)
{
    (void)state;
    assert_text("{\"access\\u005ftoken\":\"a b\",\"error\":\"x\"}", NULL);
    assert_text("{\"\\u0061ccess_toke\\u006E\":\"a b\",\"error\":\"x\"}", NULL);
    assert_text("{\"access\\u005etoken\":\"a b\",\"error\":\"x\"}", "x");
    assert_text("{\"error\":\"x\",\"a\":\"access\\u005", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_errors_of_rfc_6749_are_known),
        cmocka_unit_test(plain_words_tell_the_id_from_the_secret),
        cmocka_unit_test(the_sentences_of_rfc_6749_say_no_more_than_their_codes),
        cmocka_unit_test(a_code_is_not_taken_for_words),
        cmocka_unit_test(the_answers_of_known_servers_are_understood),
        cmocka_unit_test(what_is_not_known_or_empty_tells_nothing),
        cmocka_unit_test(the_error_of_an_answer_is_told_cut_and_without_the_secret),
        cmocka_unit_test(no_secret_of_the_request_is_told),
        cmocka_unit_test(what_may_hold_a_token_is_not_read_however_it_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

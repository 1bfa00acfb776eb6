/* token_request.c: finds the client secret in a form or in JSON, and in nothing else. */
#include <string.h>

#include "http/token_request.h"
#include "unit.h"

static void assert_secret(const char *body, const char *secret)
{
    char out[TOKEN_REQUEST_SECRET_MAX];
    size_t n = token_request_secret(body, strlen(body), out);

    if (n != strlen(secret) || memcmp(out, secret, n) != 0)
        fail_msg("%s: \"%.*s\", not \"%s\"", body, (int)n, out, secret);
}

static void the_secret_of_a_form_is_found_and_decoded(void **state)
{
    (void)state;
    assert_secret("client_secret=abc", "abc");
    assert_secret("grant_type=client_credentials&client_id=x&client_secret=a%2Bb%2f%3D%3d&x=y",
                  "a+b/==");
    assert_secret("client_secret=a+b", "a b");
    assert_secret("client_secret=a%2", "a%2");
    assert_secret("&&client_secret=abc&", "abc");
    assert_secret("client_secret=", "");
    assert_secret("client_secret", "");
    assert_secret("client_secrets=abc", "");
    assert_secret("my_client_secret=abc", "");
    assert_secret("client_secret=a&client_secret=a", "");
    assert_secret("", "");
    assert_secret("=&=&%", "");
}

static void the_secret_of_a_json_object_is_found_and_decoded(void **state)
{
    (void)state;
    assert_secret("{\"client_secret\":\"abc\"}", "abc");
    assert_secret(" {\n \"a\": {\"client_secret\":\"no\",\"b\":[1,{\"c\":\"}\"}]}, "
                  "\"n\": -1.5e3, \"client_secret\" : \"a\\/b\\u003D+\" , \"z\":null }",
                  "a/b=+");
    assert_secret("{\"client_secret\":12}", "");
    assert_secret("{\"client_secret\":{\"client_secret\":\"a\"}}", "");
    assert_secret("{\"a\":{\"client_secret\":\"a\"}}", "");
    assert_secret("{\"client_secret\":\"a\",\"client_secret\":\"a\"}", "");
    assert_secret("[{\"client_secret\":\"a\"}]", "");
    assert_secret("{\"client_secret\":\"a\"", "");
    assert_secret("{\"client_secret\":\"a", "");
    assert_secret("{\"client_secret\":\"a\\", "");
    assert_secret("{\"client_secret\":\"a\\u00", "");
    assert_secret("{\"client_secret\":\"a\\u00e9\"}", "");
    assert_secret("{\"client_secret\":\"a\\n\"}", "");
    assert_secret("{\"a\":\"\\\"client_secret\\\":\\\"a\\\"\"}", "");
    assert_secret("{}", "");
    assert_secret("{", "");
    assert_secret("{\"client_secret\"}", "");
    assert_secret("{\"a\":]]]]", "");
}

static void one_that_is_too_long_is_none(void **state)
{
    (void)state;
    char body[16 + 2 * TOKEN_REQUEST_SECRET_MAX] = "client_secret=", out[256];
    size_t begin = strlen(body);

    memset(body + begin, 'a', sizeof body - begin);
    assert_int_equal(token_request_secret(body, begin + 256, out), 256);
    assert_int_equal(token_request_secret(body, begin + 257, out), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_secret_of_a_form_is_found_and_decoded),
        cmocka_unit_test(the_secret_of_a_json_object_is_found_and_decoded),
        cmocka_unit_test(one_that_is_too_long_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

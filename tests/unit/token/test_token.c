/* token.c: what is accepted as a token, how long it lives, and what is refused for which
 * reason. */
#include <stdio.h>
#include <string.h>

#include "heap.h"
#include "token/token.h"
#include "unit.h"

static const struct token_rules rules = { .default_lifetime_ms = 300000,
                                          .now_ms = 1000000,
                                          .generation = 7 };

/* The end of an answer in which all but the token is fine. */
#define REST ",\"token_type\":\"Bearer\",\"expires_in\":3600,\"scope\":\"read:api\"}"

static void expect_header(const char *json, const char *header)
{
    const char *why = "unset";
    struct token *t = token_parse(json, strlen(json), &rules, &why);

    if (t == NULL)
        print_message("%s: %s\n", json, why);
    assert_non_null(t);
    assert_null(why);
    assert_string_equal(secret_text(t->header), header);
    assert_int_equal(secret_len(t->header), strlen(header));
    token_unref(t);
}

static void expect_refused_bytes(const char *json, size_t len, const char *reason)
{
    const char *why = NULL;
    char *exact = malloc(len + 1); /* so that a sanitizer sees a read past the end */

    assert_non_null(exact);
    memcpy(exact, json, len);
    struct token *t = token_parse(exact, len, &rules, &why);
    free(exact);
    if (t != NULL)
        print_message("accepted: %s\n", json);
    assert_null(t);
    assert_non_null(why);
    if (strstr(why, reason) == NULL)
        print_message("%s: %s\n", json, why);
    assert_non_null(strstr(why, reason));
}

static void expect_refused(const char *json, const char *reason)
{
    expect_refused_bytes(json, strlen(json), reason);
}

static void expect_lifetime(const char *expires_in, int64_t lifetime_ms)
{
    char json[256];
    const char *why = NULL;

    (void)snprintf(json, sizeof json,
                   "{\"access_token\":\"abc\",\"token_type\":\"bearer\"%s%s}",
                   expires_in[0] != '\0' ? ",\"expires_in\":" : "", expires_in);
    struct token *t = token_parse(json, strlen(json), &rules, &why);
    if (t == NULL)
        print_message("%s: %s\n", json, why);
    assert_non_null(t);
    assert_int_equal(t->expires_ms - rules.now_ms, lifetime_ms);
    token_unref(t);
}

static void the_answer_of_the_api_becomes_a_token(void **state)
{
    const char json[] = "{\"access_token\":\"eyJhbGciOi.J9-_~+/x==\"" REST;
    const char *why = "unset";
    struct token *t = token_parse(json, strlen(json), &rules, &why);

    (void)state;
    assert_non_null(t);
    assert_null(why);
    assert_string_equal(secret_text(t->header), "Authorization: Bearer eyJhbGciOi.J9-_~+/x==");
    assert_int_equal(t->generation, 7);
    assert_int_equal(t->obtained_ms, 1000000);
    assert_int_equal(t->expires_ms, 1000000 + 3600000);
    assert_true(token_valid(t, t->expires_ms - 1));
    assert_false(token_valid(t, t->expires_ms));
    assert_false(token_valid(NULL, 0));
    token_unref(t);
}

static void order_blanks_and_unknown_members_do_not_matter(void **state)
{
    (void)state;
    expect_header(" \r\n\t{ \"scope\" : [ 1, { \"access_token\" : \"no\" }, \"]}\\\"\" ] ,\n"
                  "\"token_type\":\"Bearer\" , \"x\":{}, \"y\":[], \"z\":-1.5e3, \"n\":null,"
                  "\"access_token\" : \"abc\" } \r\n",
                  "Authorization: Bearer abc");
}

static void token_type_is_bearer_in_any_case(void **state)
{
    (void)state;
    expect_header("{\"access_token\":\"abc\",\"token_type\":\"bEARER\"}",
                  "Authorization: Bearer abc");
    expect_header("{\"access_token\":\"abc\",\"token_type\":\"\\u0042earer\"}",
                  "Authorization: Bearer abc");
    expect_refused("{\"access_token\":\"abc\",\"token_type\":\"mac\"}", "token_type is not");
    expect_refused("{\"access_token\":\"abc\",\"token_type\":\"Bearer \"}",
                   "token_type is not");
    expect_refused("{\"access_token\":\"abc\",\"token_type\":[\"Bearer\"]}",
                   "token_type is not");
    expect_refused("{\"access_token\":\"abc\",\"token_type\":null}", "token_type is not");
    expect_header("{\"access_token\":\"abc\"}", "Authorization: Bearer abc");
}

static void escapes_in_the_token_are_resolved(void **state)
{
    (void)state;
    expect_header("{\"access_token\":\"a\\/b\\u002Bc\\u002f\"" REST,
                  "Authorization: Bearer a/b+c/");
    expect_header("{\"\\u0061ccess\\u005Ftoken\":\"abc\"" REST, "Authorization: Bearer abc");
}

static void expires_in_is_a_number_or_digits(void **state)
{
    (void)state;
    expect_lifetime("3600", 3600000);
    expect_lifetime("\"3600\"", 3600000);
    expect_lifetime("\"3600.0\"", 3600000);
    expect_lifetime("\"3600.7\"", 3600000);
    expect_lifetime("\"7.000000000000000000000000000000000000000\"", 7000);
    expect_lifetime("3600.7", 3600000);
    expect_lifetime("3.6e3", 3600000);
    expect_lifetime("1", 1000);
}

static void a_useless_expires_in_gives_the_default(void **state)
{
    (void)state;
    expect_lifetime("", 300000);
    expect_lifetime("0", 300000);
    expect_lifetime("-1", 300000);
    expect_lifetime("-1e300", 300000);
    expect_lifetime("-99999999999999999999999", 300000);
    expect_lifetime("0.5", 300000);
    expect_lifetime("-0.0", 300000);
    expect_lifetime("null", 300000);
    expect_lifetime("true", 300000);
    expect_lifetime("[3600]", 300000);
    expect_lifetime("{\"s\":3600}", 300000);
    expect_lifetime("\"\"", 300000);
    expect_lifetime("\"0\"", 300000);
    expect_lifetime("\"-5\"", 300000);
    expect_lifetime("\"NaN\"", 300000);
    expect_lifetime("\"3600.\"", 300000);
    expect_lifetime("\".5\"", 300000);
    expect_lifetime("\"36.0.0\"", 300000);
    expect_lifetime("\"3600.0e1\"", 300000);
    expect_lifetime("\"3600,0\"", 300000);
    expect_lifetime("\" 3600\"", 300000);
    expect_lifetime("\"soon\"", 300000);
}

static void a_lifetime_is_capped_to_a_day(void **state)
{
    (void)state;
    expect_lifetime("86400", TOKEN_LIFETIME_MAX_MS);
    expect_lifetime("86401", TOKEN_LIFETIME_MAX_MS);
    expect_lifetime("1e22", TOKEN_LIFETIME_MAX_MS);
    expect_lifetime("1e308", TOKEN_LIFETIME_MAX_MS);
    expect_lifetime("10000000000000000000000", TOKEN_LIFETIME_MAX_MS);
    expect_lifetime("9223372036854775807", TOKEN_LIFETIME_MAX_MS);
    expect_lifetime("18446744073709551615", TOKEN_LIFETIME_MAX_MS);
    expect_lifetime("\"99999999999999999999999999\"", TOKEN_LIFETIME_MAX_MS);
}

static void what_is_not_one_json_object_is_refused(void **state)
{
    (void)state;
    expect_refused("", "empty");
    expect_refused(" \n", "empty");
    expect_refused("<html>sorry</html>", "not a JSON object");
    expect_refused("[]", "not a JSON object");
    expect_refused("\"abc\"", "not a JSON object");
    expect_refused("null", "not a JSON object");
    expect_refused("\xef\xbb\xbf{\"access_token\":\"abc\"" REST, "not a JSON object");
    expect_refused("{}", "access_token is missing");
    expect_refused("{\"access_token\":\"abc\"" REST "x", "something follows");
    expect_refused("{\"access_token\":\"abc\"" REST "{}", "something follows");
    expect_refused_bytes("{\"access_token\":\"abc\"" REST "\0",
                         sizeof "{\"access_token\":\"abc\"" REST, "not JSON");
}

static void a_list_or_object_out_of_shape_is_refused(void **state)
{
    static const char *const values[] = {
        "[1,]",    "[,1]",         "[1,,2]",    "[1 2]",       "{\"a\":1,}", "{,\"a\":1}",
        "{\"a\"}", "{\"a\":}",     "{\"a\" 1}", "{1:2}",       "[1}",        "{\"a\":1]",
        "[[1, ]]", "{\"a\":[1,]}", "[\"a\":1]", "{\"a\":1:2}", "[:]",        "[1,2",
    };
    char json[128];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        (void)snprintf(json, sizeof json, "{\"x\":%s,\"access_token\":\"abc\"" REST, values[i]);
        expect_refused(json, "not JSON");
    }
    expect_header("{\"x\":\"\xc3\xa4 \xf0\x9f\x98\x80\",\"y\":[\"\xe2\x82\xac\"],"
                  "\"access_token\":\"abc\"" REST,
                  "Authorization: Bearer abc");
}

static void every_truncation_is_refused(void **state)
{
    static const char json[] = "{\"x\":[{\"a\":\"\\u00e4\"}],\"access_token\":\"a\\/c\"" REST;

    (void)state;
    expect_header(json, "Authorization: Bearer a/c");
    for (size_t len = 0; len < sizeof json - 1; len++)
        expect_refused_bytes(json, len, "");
}

static void what_json_c_would_let_pass_is_refused(void **state)
{
    (void)state;
    expect_refused("{'access_token':'abc'" REST, "");
    expect_refused("{\"access_token\":\"abc\",}", "not JSON");
    expect_refused("{,\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":[1,],\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":NaN,\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":Infinity,\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":-Infinity,\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":nan,\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":TRUE,\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":01,\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":1.,\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":.5,\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":+5,\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":1e,\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":-,\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":0x10,\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":1 2,\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":/* hm */1,\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{/**/\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"access_token\":\"abc\"/**/" REST, "not JSON");
    expect_refused("{\"x\":\"\t\",\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":\"\\q\",\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":\"\\u12g4\",\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":\"\xff\",\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":,\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\",\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{x:1,\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":[},\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"x\":\v1,\"access_token\":\"abc\"" REST, "not JSON");
    expect_refused("{\"access_token\":\"abc\"\"def\"" REST, "not JSON");
    expect_refused("{\"access_token\":\"abc\" 1" REST, "not JSON");
    expect_refused("{\"access_token\" \"abc\"" REST, "not JSON");
}

static void a_name_that_stands_twice_is_refused(void **state)
{
    (void)state;
    expect_refused("{\"access_token\":\"abc\",\"access_token\":\"abc\"" REST, "twice");
    expect_refused("{\"access_token\":\"abc\",\"\\u0061ccess_token\":\"def\"" REST, "twice");
    expect_refused("{\"access_token\":\"abc\",\"access_token\":null" REST, "twice");
    expect_refused("{\"access_token\":1,\"access_token\":\"abc\"" REST, "twice");
    expect_refused("{\"access_token\":\"abc\",\"token_type\":\"Bearer\"" REST, "twice");
    expect_refused("{\"access_token\":\"abc\",\"expires_in\":1" REST, "twice");
    expect_refused("{\"access_token\":\"abc\",\"scope\":1" REST, "twice");
}

static void a_nul_in_a_string_is_refused(void **state)
{
    (void)state;
    expect_refused("{\"access_token\":\"abc\\u0000\"" REST, "NUL");
    expect_refused("{\"access_token\\u0000x\":\"abc\"" REST, "NUL");
    expect_refused("{\"access_token\":\"abc\",\"token_type\\u0000\":\"Bearer\"}", "NUL");
    expect_refused_bytes("{\"access_token\":\"a\0c\"" REST,
                         sizeof "{\"access_token\":\"a\0c\"" REST - 1, "not JSON");
    /* a backslash that is escaped itself begins no escape */
    expect_header("{\"x\":\"\\\\u0000\",\"access_token\":\"abc\"" REST,
                  "Authorization: Bearer abc");
}

static void an_access_token_of_another_type_is_refused(void **state)
{
    (void)state;
    expect_refused("{\"access_token\":null" REST, "not a string");
    expect_refused("{\"access_token\":123" REST, "not a string");
    expect_refused("{\"access_token\":true" REST, "not a string");
    expect_refused("{\"access_token\":[\"abc\"]" REST, "not a string");
    expect_refused("{\"access_token\":{\"access_token\":\"abc\"}" REST, "not a string");
    expect_refused("{\"Access_Token\":\"abc\"" REST, "missing");
    expect_refused("{\"x\":{\"access_token\":\"abc\"}" REST, "missing");
}

static void a_token_that_would_break_its_header_is_refused(void **state)
{
    (void)state;
    expect_refused("{\"access_token\":\"\"" REST, "empty");
    expect_refused("{\"access_token\":\"abc\\r\\nHost: evil\"" REST, "not allowed");
    expect_refused("{\"access_token\":\"abc\\u000d\\u000aX\"" REST, "not allowed");
    expect_refused("{\"access_token\":\"a b\"" REST, "not allowed");
    expect_refused("{\"access_token\":\" abc\"" REST, "not allowed");
    expect_refused("{\"access_token\":\"abc\\t\"" REST, "not allowed");
    expect_refused("{\"access_token\":\"\xc3\xa4\"" REST, "not allowed");
    expect_refused("{\"access_token\":\"\\u00e4\"" REST, "not allowed");
    expect_refused("{\"access_token\":\"a\\\"b\"" REST, "not allowed");
    expect_refused("{\"access_token\":\"a\\\\b\"" REST, "not allowed");
    expect_refused("{\"access_token\":\"a,b\"" REST, "not allowed");
    expect_refused("{\"access_token\":\"=\"" REST, "not allowed");
    expect_refused("{\"access_token\":\"a=b\"" REST, "not allowed");
    expect_refused("{\"access_token\":\"\\u00\"" REST, "not allowed");
    expect_refused("{\"access_token\":\"\\u\"" REST, "not allowed");
    expect_refused("{\"access_token\":\"a\\qb\"" REST, "not allowed");
}

static void every_byte_is_judged_as_the_grammar_says(void **state)
{
    (void)state;
    for (int c = 1; c < 256; c++) {
        char json[] = "{\"access_token\":\"a?b\",\"token_type\":\"Bearer\"}";
        const char *why = NULL;
        *strchr(json, '?') = (char)c;
        bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       (c >= '0' && c <= '9') || strchr("-._~+/", c) != NULL;
        struct token *t = token_parse(json, strlen(json), &rules, &why);
        assert_int_equal(t != NULL, allowed);
        token_unref(t);
    }
}

static void a_token_of_16_kib_is_the_longest(void **state)
{
    static char json[2 * TOKEN_LENGTH_MAX];
    static char header[2 * TOKEN_LENGTH_MAX];
    static char token[TOKEN_LENGTH_MAX + 2];

    (void)state;
    memset(token, 'x', TOKEN_LENGTH_MAX);
    (void)snprintf(json, sizeof json, "{\"access_token\":\"%s\"" REST, token);
    (void)snprintf(header, sizeof header, "Authorization: Bearer %s", token);
    expect_header(json, header);

    token[TOKEN_LENGTH_MAX] = 'x';
    (void)snprintf(json, sizeof json, "{\"access_token\":\"%s\"" REST, token);
    expect_refused(json, "access_token is too long");
}

static void an_answer_above_64_kib_is_refused(void **state)
{
    static char json[65537];
    static const char answer[] = "{\"access_token\":\"abc\"" REST;

    (void)state;
    memset(json, ' ', sizeof json);
    memcpy(json, answer, sizeof answer - 1);
    expect_refused_bytes(json, sizeof json, "answer is too long");

    const char *why = NULL;
    struct token *t = token_parse(json, sizeof json - 1, &rules, &why);
    assert_non_null(t);
    token_unref(t);
}

static void deep_nesting_and_many_members_end_soon(void **state)
{
    static char json[65537];
    size_t len = 0;

    (void)state;
    memset(json, '[', sizeof json - 1);
    memcpy(json, "{\"x\":", 5);
    expect_refused(json, "not JSON");

    memset(json, 0, sizeof json);
    for (int i = 0; len < 60000; i++)
        len += (size_t)snprintf(json + len, sizeof json - len, "%c\"%d\":0", i == 0 ? '{' : ',',
                                i);
    (void)snprintf(json + len, sizeof json - len, ",\"access_token\":\"abc\"" REST);
    expect_header(json, "Authorization: Bearer abc");
}

static void a_token_lives_until_its_last_reference(void **state)
{
    const char json[] = "{\"access_token\":\"abc\"" REST;
    const char *why = NULL;
    struct token *t = token_parse(json, strlen(json), &rules, &why);

    (void)state;
    assert_non_null(t);
    assert_ptr_equal(token_ref(t), t);
    token_unref(t);
    assert_string_equal(secret_text(t->header), "Authorization: Bearer abc");
    token_unref(t);
    token_unref(NULL);
}

static void no_copy_of_the_token_is_left_in_the_heap(void **state)
{
    static const char json[] = "{\"x\":\"marker-1-marker-2\",\"access_token\":"
                               "\"0123456789canary\\/9876543210canary\"" REST;
    const char *why = NULL;

    (void)state;
    need_heap();

    for (int i = 0; i < 10; i++)
        token_unref(token_parse(json, sizeof json - 1, &rules, &why));
    assert_int_equal(copies_in_heap("9876543210", "canary"), 0);
    assert_int_equal(copies_in_heap("0123456789", "canary"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_answer_of_the_api_becomes_a_token),
        cmocka_unit_test(order_blanks_and_unknown_members_do_not_matter),
        cmocka_unit_test(token_type_is_bearer_in_any_case),
        cmocka_unit_test(escapes_in_the_token_are_resolved),
        cmocka_unit_test(expires_in_is_a_number_or_digits),
        cmocka_unit_test(a_useless_expires_in_gives_the_default),
        cmocka_unit_test(a_lifetime_is_capped_to_a_day),
        cmocka_unit_test(what_is_not_one_json_object_is_refused),
        cmocka_unit_test(a_list_or_object_out_of_shape_is_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(what_json_c_would_let_pass_is_refused),
        cmocka_unit_test(a_name_that_stands_twice_is_refused),
        cmocka_unit_test(a_nul_in_a_string_is_refused),
        cmocka_unit_test(an_access_token_of_another_type_is_refused),
        cmocka_unit_test(a_token_that_would_break_its_header_is_refused),
        cmocka_unit_test(every_byte_is_judged_as_the_grammar_says),
        cmocka_unit_test(a_token_of_16_kib_is_the_longest),
        cmocka_unit_test(an_answer_above_64_kib_is_refused),
        cmocka_unit_test(deep_nesting_and_many_members_end_soon),
        cmocka_unit_test(a_token_lives_until_its_last_reference),
        cmocka_unit_test(no_copy_of_the_token_is_left_in_the_heap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

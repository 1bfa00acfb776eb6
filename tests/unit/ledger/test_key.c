/* key.c: which fields and bodies have a key, and which are refused. */
#include <json-c/json.h>

#include "ledger/key.h"
#include "unit.h"

#define FIELD(name, value)                                   \
    {                                                        \
        (name), (value), sizeof(name) - 1, sizeof(value) - 1 \
    }

static struct ledger_key key;

static enum ledger_key_result of_value(const char *value, size_t len)
{
    const struct header_field f = { "idempotency-KEY", value, sizeof "idempotency-KEY" - 1,
                                    len };

    key = (struct ledger_key){ .len = 0 };
    return ledger_key_from_header(&key, &f, 1);
}

static void a_key_is_the_same_with_quotes_and_without(void **state)
{
    static const struct {
        const char *value, *key;
    } rows[] = {
        { "8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324" },
        { "\"8e03978e-40d5\"", "8e03978e-40d5" },
        { " \t a \t", "a" },
        { "\t\"a\" ", "a" },
        { "\"a\\\"b\\\\c\"", "a\"b\\c" },
        { "a\\b", "a\\b" },
        { "\"a,b;c\"", "a,b;c" },
        { "!~:=/@", "!~:=/@" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(of_value(rows[i].value, strlen(rows[i].value)), LEDGER_KEY_FOUND);
        assert_string_equal(key.text, rows[i].key);
        assert_int_equal(key.len, strlen(rows[i].key));
    }
}

static void whatever_is_no_plain_string_is_malformed(void **state)
{
    static const char *const values[] = {
        "",       " ",         "\"\"",     "a b",    "\"a b\"",      "\"a",         "a\"",
        "\"a\"b", "\"a\";x=1", "a;x=1",    "a, b",   "a,b",          "\"a\",\"b\"", "\"a\\b\"",
        "\"a\\",  "a\x7f",     "\xc3\xa9", "\"\t\"", "\"\xc3\xa9\"", "\"\\\"",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        assert_int_equal(of_value(values[i], strlen(values[i])), LEDGER_KEY_MALFORMED);
        assert_non_null(key.why);
    }
    assert_int_equal(of_value("a\0b", 3), LEDGER_KEY_MALFORMED);
}

static void a_key_has_255_bytes_at_most(void **state)
{
    char value[600];
    (void)state;
    memset(value, 'k', sizeof value);
    assert_int_equal(of_value(value, 255), LEDGER_KEY_FOUND);
    assert_int_equal(key.len, 255);
    assert_int_equal(strlen(key.text), 255);
    assert_int_equal(of_value(value, 256), LEDGER_KEY_MALFORMED);
    assert_int_equal(of_value(value, 600), LEDGER_KEY_MALFORMED);
    value[0] = value[256] = '"';
    assert_int_equal(of_value(value, 257), LEDGER_KEY_FOUND);
    assert_int_equal(key.len, 255);
}

static void two_fields_are_malformed_and_none_is_absent(void **state)
{
    const struct header_field fields[] = { FIELD("Idempotency-Key", "a"), FIELD("X", "y"),
                                           FIELD("idempotency-key", "a") };
    (void)state;
    assert_int_equal(ledger_key_from_header(&key, fields, 3), LEDGER_KEY_MALFORMED);
    assert_int_equal(ledger_key_from_header(&key, fields, 2), LEDGER_KEY_FOUND);
    assert_int_equal(ledger_key_from_header(&key, fields + 1, 1), LEDGER_KEY_ABSENT);
    assert_true(ledger_key_in_header(fields, 1));
    assert_false(ledger_key_in_header(fields + 1, 1));
}

static enum ledger_key_result of_body(const char *body)
{
    static const struct ledger_key_source memo = { "/memo", "idem:" };

    key = (struct ledger_key){ .len = 0 };
    return ledger_key_from_body(&key, &memo, body, strlen(body));
}

static void a_body_has_a_key_behind_the_prefix_and_up_to_a_blank(void **state)
{
    static const struct {
        const char *body, *key;
    } rows[] = {
        { "{\"memo\":\"idem:8e03 salary March\"}", "8e03" },
        { "\xef\xbb\xbf{\"memo\":\"idem:x\"}", "x" },
        { " {\"a\":[1],\"memo\":\"idem:x\"}\r\n", "x" },
        { "{\"memo\":\"idem:\xc3\xa9\"}", "\xc3\xa9" },
        { "{\"memo\":\"idem:\xf0\x9f\x98\x80\"}", "\xf0\x9f\x98\x80" },
        { "{\"memo\":\"idem:\xed\x9f\xbf\xf4\x8f\xbf\xbf\"}", "\xed\x9f\xbf\xf4\x8f\xbf\xbf" },
        { "{\"memo\":\"\\u0069dem:\\u00e9 \\u0000\"}", "\xc3\xa9" },
        { "{\"n\":\"\xc3\xa9\",\"memo\":\"idem:x\"}", "x" },
        { "{\"n\":1000000000000000000000,\"memo\":\"idem:x\"}", "x" },
        { "{\"n\":1e999,\"memo\":\"idem:x\"}", "x" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(of_body(rows[i].body), LEDGER_KEY_FOUND);
        assert_string_equal(key.text, rows[i].key);
    }
}

static void a_body_without_that_string_has_no_key(void **state)
{
    static const char *const bodies[] = {
        "",
        " \r\n",
        "\xef\xbb\xbf",
        "null",
        "12",
        "{}",
        "[]",
        "\"idem:x\"",
        "{\"memo\":1}",
        "{\"memo\":null}",
        "{\"memo\":[\"idem:x\"]}",
        "{\"memo\":\"salary\"}",
        "{\"memo\":\"idem\"}",
        "{\"memo\":\"Idem:x\"}",
        "{\"Memo\":\"idem:x\"}",
        "{\"a\":{\"memo\":\"idem:x\"}}",
        "x",
        "{\"memo\":\"idem:x\"",
        "{\"memo\":\"idem:x\"} x",
#if JSON_C_VERSION_NUM < (18 << 8) /* see key.c */
        "{'memo':'idem:x'}",
        "{\"memo\":\"idem:x\",}",
#endif
        "memo=idem:x",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
        assert_int_equal(of_body(bodies[i]), LEDGER_KEY_ABSENT);
}

static void a_body_that_is_not_utf8_may_hold_a_key_that_nobody_finds(void **state)
{
    static const char *const bodies[] = {
        "{\"memo\":\"idem:\xc3\"}", "{\"memo\":\"idem:x M\xfcller\"}", /* Latin-1 */
        "{\"to\":\"M\xfcller\",\"memo\":\"idem:x\"}", "\x1f\x8b\x08",  /* gzip */
    };
    static const struct ledger_key_source memo = { "/memo", "idem:" };
    static const char utf16[] = "{\0\"\0m\0\"\0:\0001\0}";
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        assert_int_equal(of_body(bodies[i]), LEDGER_KEY_UNREADABLE);
        assert_non_null(strstr(key.why, "not text in UTF-8"));
    }
    assert_int_equal(ledger_key_from_body(&key, &memo, utf16, sizeof utf16),
                     LEDGER_KEY_UNREADABLE);
}

static void a_key_in_the_body_that_cannot_be_one_is_malformed(void **state)
{
    char long_memo[400] = "{\"memo\":\"idem:";
    (void)state;
    assert_int_equal(of_body("{\"memo\":\"idem:\"}"), LEDGER_KEY_MALFORMED);
    assert_int_equal(of_body("{\"memo\":\"idem: salary\"}"), LEDGER_KEY_MALFORMED);
    assert_int_equal(of_body("{\"memo\":\"idem:a\\tb\"}"), LEDGER_KEY_MALFORMED);
    assert_int_equal(of_body("{\"memo\":\"idem:a\\u0000b\"}"), LEDGER_KEY_MALFORMED);
    size_t at = strlen(long_memo);
    memset(long_memo + at, 'k', 256);
    memcpy(long_memo + at + 256, "\"}", 3);
    assert_int_equal(of_body(long_memo), LEDGER_KEY_MALFORMED);
    memcpy(long_memo + at + 255, "\"}", 3);
    assert_int_equal(of_body(long_memo), LEDGER_KEY_FOUND);
    assert_int_equal(key.len, 255);
}

static void what_is_nested_too_deeply_to_look_into_is_malformed(void **state)
{
    char body[2048] = "{\"a\":";
    (void)state;
    memset(body + 5, '[', 300);
    memset(body + 305, ']', 300);
    memcpy(body + 605, ",\"memo\":\"idem:x\"}", 18);
    assert_int_equal(of_body(body), LEDGER_KEY_MALFORMED);
}

static void a_pointer_leads_into_objects_and_arrays(void **state)
{
    static const char body[] = "{\"a/b\":[{\"~\":\"x\"}]}";
    const struct ledger_key_source s = { "/a~1b/0/~0", "" };
    (void)state;
    assert_int_equal(ledger_key_from_body(&key, &s, body, sizeof body - 1), LEDGER_KEY_FOUND);
    assert_string_equal(key.text, "x");
}

static void two_keys_must_be_one(void **state)
{
    struct ledger_key a = { .len = 1, .text = "a" }, b = { .len = 1, .text = "b" }, out;
    const struct ledger_key bad = { .why = "bad" };
    (void)state;
    out = a;
    assert_int_equal(ledger_key_join(&out, LEDGER_KEY_FOUND, LEDGER_KEY_FOUND, &a),
                     LEDGER_KEY_FOUND);
    assert_int_equal(ledger_key_join(&out, LEDGER_KEY_FOUND, LEDGER_KEY_FOUND, &b),
                     LEDGER_KEY_MALFORMED);
    assert_int_equal(ledger_key_join(&out, LEDGER_KEY_FOUND, LEDGER_KEY_ABSENT, &b),
                     LEDGER_KEY_FOUND);
    assert_int_equal(ledger_key_join(&out, LEDGER_KEY_ABSENT, LEDGER_KEY_FOUND, &b),
                     LEDGER_KEY_FOUND);
    assert_string_equal(out.text, "b");
    assert_int_equal(ledger_key_join(&out, LEDGER_KEY_ABSENT, LEDGER_KEY_ABSENT, &b),
                     LEDGER_KEY_ABSENT);
    assert_int_equal(ledger_key_join(&out, LEDGER_KEY_FOUND, LEDGER_KEY_MALFORMED, &bad),
                     LEDGER_KEY_MALFORMED);
    assert_string_equal(out.why, "bad");
    assert_int_equal(ledger_key_join(&out, LEDGER_KEY_ABSENT, LEDGER_KEY_UNREADABLE, &bad),
                     LEDGER_KEY_MALFORMED);
    out = a;
    assert_int_equal(ledger_key_join(&out, LEDGER_KEY_FOUND, LEDGER_KEY_UNREADABLE, &bad),
                     LEDGER_KEY_FOUND);
    assert_string_equal(out.text, "a");
    assert_int_equal(ledger_key_join(&out, LEDGER_KEY_MALFORMED, LEDGER_KEY_FOUND, &b),
                     LEDGER_KEY_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_the_same_with_quotes_and_without),
        cmocka_unit_test(whatever_is_no_plain_string_is_malformed),
        cmocka_unit_test(a_key_has_255_bytes_at_most),
        cmocka_unit_test(two_fields_are_malformed_and_none_is_absent),
        cmocka_unit_test(a_body_has_a_key_behind_the_prefix_and_up_to_a_blank),
        cmocka_unit_test(a_body_without_that_string_has_no_key),
        cmocka_unit_test(a_body_that_is_not_utf8_may_hold_a_key_that_nobody_finds),
        cmocka_unit_test(a_key_in_the_body_that_cannot_be_one_is_malformed),
        cmocka_unit_test(what_is_nested_too_deeply_to_look_into_is_malformed),
        cmocka_unit_test(a_pointer_leads_into_objects_and_arrays),
        cmocka_unit_test(two_keys_must_be_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

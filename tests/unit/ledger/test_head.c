/* head.c: which fields of an answer are kept and replayed. */
#include "ledger/head.h"
#include "unit.h"

#define FIELD(name, value)                                   \
    {                                                        \
        (name), (value), sizeof(name) - 1, sizeof(value) - 1 \
    }

static void what_is_kept_comes_back_and_nothing_else(void **state)
{
    static const struct header_field fields[] = {
        FIELD("content-type", "application/json"),
        FIELD("Set-Cookie", "a=b"),
        FIELD("Date", "today"),
        FIELD("Location", "/v0/x"),
        FIELD("WWW-Authenticate", "Bearer"),
        FIELD("Retry-After", "1"),
        FIELD("ETAG", "\"e\""),
        FIELD("Content-Language", "de"),
        FIELD("Content-Language", "fr"),
        FIELD("Content-Encoding", ""),
        FIELD("X-Request-Id", "up-1"),
        FIELD("Connection", "close"),
        FIELD("X-Other", "o"),
    };
    static const char text[] =
        "Content-Type: application/json\r\nLocation: /v0/x\r\nETag: \"e\"\r\n"
        "Content-Language: de\r\nContent-Language: fr\r\n"
        "Content-Encoding: \r\nX-Original-Request-Id: up-1\r\n";
    struct arena arena;
    struct buf out;
    size_t count;
    (void)state;
    arena_init(&arena, 65536);
    buf_init(&out, 65536);
    assert_int_equal(ledger_head_write(&out, fields, ARRAY_LEN(fields)), 0);
    assert_string_equal(buf_text(&out), text);
    struct header_field *f =
        ledger_head_read(&arena, buf_front(&out), buf_unread(&out), &count);
    assert_int_equal(count, 8);
    assert_string_equal(f[0].name, "Content-Type");
    assert_string_equal(f[0].value, "application/json");
    assert_string_equal(f[5].value, "");
    assert_string_equal(f[6].name, "X-Original-Request-Id");
    assert_string_equal(f[7].name, "Idempotent-Replayed");
    assert_string_equal(f[7].value, "true");
    assert_int_equal(f[7].value_len, 4);
    buf_done(&out);
    arena_done(&arena);
}

static void a_damaged_head_gives_no_other_fields(void **state)
{
    static const char text[] = "Set-Cookie: a=b\nContent-Type: a\rSet-Cookie: x\nETag: \x01\n"
                               "Location:/x\n\nETag: whole";
    struct arena arena;
    size_t count;
    (void)state;
    arena_init(&arena, 65536);
    struct header_field *f = ledger_head_read(&arena, text, sizeof text - 1, &count);
    assert_int_equal(count, 2);
    assert_string_equal(f[0].value, "whole");
    assert_non_null(ledger_head_read(&arena, "", 0, &count));
    assert_int_equal(count, 1);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_kept_comes_back_and_nothing_else),
        cmocka_unit_test(a_damaged_head_gives_no_other_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

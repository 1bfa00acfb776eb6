/* check_ledger.c: what is refused in [ledger], what is warned about, and what follows from
 * its keys. */
#include "config/config_case.h"

#define LEDGER CREDENTIALS "[ledger]\n"

static const struct refused {
    const char *lines, *says;
} refused[] = {
    { "store = /var/lib/ledger.db", "ledger.store: is no store; allowed: sqlite:/path, or" },
    { "store = sqlite:ledger.db", "ledger.store: has no absolute path of a file" },
    { "store = sqlite:/var/lib/", "ledger.store: has no absolute path of a file" },
    { "store = sqlite:", "ledger.store: has no absolute path of a file" },
    { "store = sqlite:/23456789012345678901234567890123456789012345678901234567890123456789"
      "012345678901234567890123456789012345",
      "ledger.store: has a path of 105 bytes; allowed: up to 102" },
    { "store = postgresql://u:s3cret@host/db",
      "ledger.store: has a password, which belongs into ledger.s" },
    { "store = postgresql://u@host/db?sslmode=disable", "ledger.store: has options" },
    { "store = postgresql://u@host", "ledger.store: names no database" },
    { "store = postgresql://u@host/", "ledger.store: names no database" },
    { "store = postgresql://u@%2Frun%2Fpg/db", "ledger.store: leads to a unix socket" },
    { "store = postgresql:///db", "ledger.store: names no user" },
    { "store = sqlite:/l.db\nstore_password_file = /dev/null", "is for postgresql:// only" },
    { "keys = cookie",
      "ledger.keys: \"cookie\" is not allowed; allowed: header, and one body:" },
    { "keys = header, header", "ledger.keys: \"header\" is not allowed" },
    { "keys = body:/memo, body:/note", "ledger.keys: \"body:/note\" is not allowed" },
    { "keys = body:memo", "ledger.keys: \"body:memo\" is not allowed" },
    { "keys = body:/", "ledger.keys: \"body:/\" is not allowed" },
    { "keys = body:/a~2b", "ledger.keys: \"body:/a~2b\" is not allowed" },
    { "body_key_prefix = my key:", "ledger.body_key_prefix: has a blank" },
    { "release_statuses = 401, 408", "ledger.release_statuses: 408 does not prove" },
    { "release_statuses = 409", "ledger.release_statuses: 409 does not prove" },
    { "release_statuses = 500", "ledger.release_statuses: 500 does not prove" },
    { "release_statuses = 502", "ledger.release_statuses: 502 does not prove" },
    { "release_statuses = 407", "ledger.release_statuses: \"407\" has a status that is not" },
    { "keep_answers = 10d\nkeep_keys = 9d", "ledger.keep_keys: is shorter than ledger.keep_a" },
    { "require_key = money", "ledger.require_key: needs ledger.store as well" },
    { "journal = unsafe", "ledger.journal: needs ledger.store as well" },
};

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        char text[512];

        (void)snprintf(text, sizeof text, LEDGER "%s\n", refused[i].lines);
        auto_result struct result r = load(text);
        assert_refuses(r, refused[i].says);
        assert_null(strstr(buf_text(&r.errors), "s3cret"));
    }
}

static void a_store_is_there_or_warned_of(void **state)
{
    (void)state;
    auto_result struct result there = load(LEDGER "store = sqlite:/dev/null\n");
    auto_result struct result missing = load(LEDGER "store = sqlite:/not/there.db\n");
    auto_result struct result fleet =
        load(LEDGER "store = postgresql://proxy@a.example:5432,b.example/ledger\n");

    assert_loads(there);
    assert_int_equal(count_lines(&there.warnings), 0);
    assert_loads(missing);
    assert_says(missing.warnings, "/not/there.db cannot be seen (No such file or directory)");
    assert_loads(fleet);
    assert_int_equal(count_lines(&fleet.warnings), 0);
}

static void settings_that_do_nothing_are_warned_of(void **state)
{
    (void)state;
    auto_result struct result r = load(LEDGER "keep_answers = 10d\n");
    auto_result struct result busy =
        load(LEDGER "store = sqlite:/dev/null\nrelease_statuses = 503\n");

    assert_loads(r);
    assert_says(r.warnings, "ledger.keep_answers: does nothing without ledger.store");
    assert_loads(busy);
    assert_says(busy.warnings, "ledger.release_statuses: has 503");
}

static void the_places_of_keys_are_taken_apart(void **state)
{
    (void)state;
    auto_result struct result plain = load(CREDENTIALS);
    auto_result struct result both = load(LEDGER "keys = header, body:/memo\n");
    auto_result struct result inside = load(LEDGER "keys = body:/a~1b/0\n");

    assert_loads(plain);
    assert_true(plain.config->ledger.key_in_header);
    assert_null(plain.config->ledger.key_pointer);
    assert_loads(both);
    assert_true(both.config->ledger.key_in_header);
    assert_string_equal(both.config->ledger.key_pointer, "/memo");
    assert_loads(inside);
    assert_false(inside.config->ledger.key_in_header);
    assert_string_equal(inside.config->ledger.key_pointer, "/a~1b/0");
}

static void the_lease_follows_from_the_timeouts_and_is_printed(void **state)
{
    struct buf out;

    (void)state;
    auto_result struct result r = load(CREDENTIALS "[upstream]\nconnect_timeout = 5s\n"
                                                   "response_timeout = 180s\n"
                                                   "[ledger]\nstore = sqlite:/dev/null\n");
    auto_result struct result off = load(CREDENTIALS);

    assert_loads(r);
    assert_int_equal(config_lease_ms(r.config), 430000);
    buf_init(&out, 1 << 20);
    assert_int_equal(config_print(r.config, &out), 0);
    assert_non_null(strstr(buf_text(&out), "\nstore = sqlite:/dev/null\n"
                                           "# the lease of an entry: 430s\n"));
    buf_clear(&out);
    assert_int_equal(config_print(off.config, &out), 0);
    assert_null(strstr(buf_text(&out), "the lease"));
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(a_store_is_there_or_warned_of),
        cmocka_unit_test(settings_that_do_nothing_are_warned_of),
        cmocka_unit_test(the_places_of_keys_are_taken_apart),
        cmocka_unit_test(the_lease_follows_from_the_timeouts_and_is_printed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

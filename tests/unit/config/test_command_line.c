/* command_line.c: a shell reads what is printed as it was meant. */
#include "config/command_line.h"
#include "unit.h"

static void assert_word(const char *text, const char *expected)
{
    struct buf out;

    buf_init(&out, 256);
    command_line_add_word(&out, text);
    assert_string_equal(buf_text(&out), expected);
    buf_done(&out);
}

static void a_word_is_quoted_where_it_has_to_be(void **state)
{
    (void)state;
    assert_word("/etc/oneshot-proxy/a@b_1.ini", "/etc/oneshot-proxy/a@b_1.ini");
    assert_word("", "''");
    assert_word("my settings.ini", "'my settings.ini'");
    assert_word("$(x)'y", "'$(x)'\\''y'");
    assert_word("~/x", "'~/x'");
}

static void the_settings_file_is_an_option_if_there_is_one(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 256);
    command_line_add_config(&out, NULL);
    assert_string_equal(buf_text(&out), "");
    command_line_add_config(&out, "/etc/a b.ini");
    assert_string_equal(buf_text(&out), " --config '/etc/a b.ini'");
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_word_is_quoted_where_it_has_to_be),
        cmocka_unit_test(the_settings_file_is_an_option_if_there_is_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* ini.c: the ini file and its pitfalls. */
#include "config/config_case.h"

static void a_key_before_the_first_section_is_refused(void **state)
{
    (void)state;
    auto_result struct result r = load("client_id = x\n" CREDENTIALS);

    assert_refuses(r, "t.ini:1: \"client_id\" stands before the first [section]");
}

static void a_key_given_twice_in_two_parts_of_a_section_is_refused(void **state)
{
    (void)state;
    auto_result struct result r =
        load(CREDENTIALS "[log]\nlevel = warn\n[token]\nclient_secret = other\n");

    assert_refuses(r, "t.ini:7: token.client_secret: is given twice; first on line 3");
}

static void an_indented_line_never_replaces_the_value_above(void **state)
{
    (void)state;
    auto_result struct result r = load(CREDENTIALS "  more\n\ttimeout = 5s\n [log]\n");

    assert_refuses(r, "t.ini:4: the line is indented");
    assert_refuses(r, "t.ini:5: the line is indented");
    assert_refuses(r, "t.ini:6: the line is indented");
}

static void comments_and_blank_lines_are_passed_over(void **state)
{
    (void)state;
    auto_result struct result r =
        load("# one\n; two\n   # three\n \t \n\n" CREDENTIALS "#timeout = x\n");

    assert_loads(r);
}

static void a_colon_does_not_stand_for_an_equals_sign(void **state)
{
    (void)state;
    auto_result struct result colon = load("[token]\nclient_id = a\nclient_secret: b=\n");

    assert_refuses(colon, "t.ini:3: the line is neither");
}

static void crlf_bom_and_a_missing_last_line_end_are_accepted(void **state)
{
    (void)state;
    auto_result struct result r = load("\xEF\xBB\xBF[token]\r\nclient_id = a\r\n\r\n"
                                       "client_secret = last");

    assert_loads(r);
    assert_string_equal(r.config->token.client_id, "a");
    assert_string_equal(secret_text(r.config->token.client_secret), "last");
}

static void a_file_that_is_not_text_is_one_error(void **state)
{
    static const char nul[] = "[token]\nclient_id = a\0b\nclient_secret = c\n";

    (void)state;
    auto_result struct result r = load_bytes(nul, sizeof nul - 1);
    auto_result struct result cr = load("[token]\nclient_id = a\rb\nclient_secret = c\n");
    auto_result struct result utf16 = load_bytes("\xFF\xFE[\0t\0]\0\n\0", 10);

    auto_result struct result binary = load_bytes("\x7f"
                                                  "ELF\2\1\1\n\0x\ny\n[z\n \0",
                                                  18);

    assert_refuses(r,
                   "t.ini:2: the file is not plain text (UTF-8): the line has a control byte, "
                   "0x00; nothing in the file was read");
    assert_refuses(cr,
                   "t.ini:2: the file is not plain text (UTF-8): the line has a control byte, "
                   "0x0d");
    assert_refuses(utf16, "t.ini:1: the file is not plain text");
    assert_refuses(binary, "t.ini:1: the file is not plain text");
    assert_int_equal(count_lines(&r.errors), 1);
    assert_int_equal(count_lines(&cr.errors), 1);
    assert_int_equal(count_lines(&utf16.errors), 1);
    assert_int_equal(count_lines(&binary.errors), 1);
}

static void a_line_may_be_8_kib_and_no_longer(void **state)
{
    char text[9000];
    int head = snprintf(text, sizeof text, "[token]\nclient_id = id\nclient_secret = ");
    size_t value = 8192 - strlen("client_secret = ");

    (void)state;
    memset(text + head, 'x', value + 1);
    auto_result struct result fits = load_bytes(text, (size_t)head + value);
    auto_result struct result too_long = load_bytes(text, (size_t)head + value + 1);

    assert_loads(fits);
    assert_int_equal(secret_len(fits.config->token.client_secret), value);
    assert_refuses(too_long, "t.ini:3: the line is too long; at most 8192 bytes");
}

static void a_file_that_cannot_be_read_is_one_error(void **state)
{
    (void)state;
    auto_scratch struct scratch s = scratch_new();
    auto_free char *large = malloc(CONFIG_FILE_MAX + 1);
    auto_result struct result directory = load_file(s.dir);
    auto_result struct result missing = load_file("/nowhere/x.ini");
    auto_result struct result device = load_file("/dev/null");

    assert_non_null(large);
    memset(large, '\n', CONFIG_FILE_MAX + 1);
    auto_result struct result fits = load_file(scratch_write(&s, large, CONFIG_FILE_MAX, 0600));
    auto_result struct result too_large =
        load_file(scratch_write(&s, large, CONFIG_FILE_MAX + 1, 0600));

    assert_refuses(directory, ": cannot be read: Is a directory\n");
    assert_int_equal(count_lines(&directory.errors), 1);
    assert_refuses(missing, "/nowhere/x.ini: cannot be read: No such file");
    assert_int_equal(count_lines(&missing.errors), 1);
    assert_refuses(device, "/dev/null: cannot be read: it is not a regular file");
    assert_refuses(fits, "client_id: is required");
    assert_refuses(too_large, "is too large; at most 1048576 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_before_the_first_section_is_refused),
        cmocka_unit_test(a_key_given_twice_in_two_parts_of_a_section_is_refused),
        cmocka_unit_test(an_indented_line_never_replaces_the_value_above),
        cmocka_unit_test(comments_and_blank_lines_are_passed_over),
        cmocka_unit_test(a_colon_does_not_stand_for_an_equals_sign),
        cmocka_unit_test(crlf_bom_and_a_missing_last_line_end_are_accepted),
        cmocka_unit_test(a_file_that_is_not_text_is_one_error),
        cmocka_unit_test(a_line_may_be_8_kib_and_no_longer),
        cmocka_unit_test(a_file_that_cannot_be_read_is_one_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

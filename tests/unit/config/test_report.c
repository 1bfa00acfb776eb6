/* report.c: each message once, marked as error or warning, in the order of the lines. */
#include "config/config_case.h"

static void every_error_is_reported_with_its_line(void **state)
{
    (void)state;
    auto_result struct result r = load("[listen]\n"          /* 1 */
                                       "adress = 1\n"        /* 2 */
                                       "max_headers = 0\n"   /* 3 */
                                       "[tokn]\n"            /* 4 */
                                       "client_id = a\n"     /* 5: passed over */
                                       "[token]\n"           /* 6 */
                                       "client_id = a\n"     /* 7 */
                                       "client_secret = b\n" /* 8 */
                                       "client_id = c\n"     /* 9 */
                                       "junk\n"              /* 10 */
                                       "timeout = 5\n"       /* 11 */
                                       "[log\n"              /* 12 */
                                       "level = x\n"         /* 13: passed over */
                                       "[log] ; why\n"       /* 14 */
                                       "[upstream]\n"        /* 15 */
                                       "base_url = ftp://x\n" /* 16 */);

    assert_refuses(r, "t.ini:2: unknown key \"adress\" in [listen]; did you mean address?\n");
    assert_refuses(r,
                   "t.ini:3: listen.max_headers: \"0\" is out of range; allowed: 1 to 1000\n");
    assert_refuses(r, "t.ini:4: unknown section \"tokn\"; did you mean [token]?\n");
    assert_refuses(r, "t.ini:9: token.client_id: is given twice; first on line 7\n");
    assert_refuses(r, "t.ini:10: the line is neither");
    assert_refuses(r, "t.ini:11: token.timeout: \"5\" has no unit; allowed: 1ms to 1h");
    assert_refuses(r, "t.ini:12: the section header has no ']'\n");
    assert_refuses(r, "t.ini:14: there is text after ']'");
    assert_refuses(r, "t.ini:16: upstream.base_url: is neither https:// nor http://");
    assert_int_equal(count_lines(&r.errors), 9);
}

static void messages_are_marked_and_come_in_the_order_of_the_lines(void **state)
{
    struct buf out;

    (void)state;
    auto_result struct result r = load("[process]\n"               /* 1 */
                                       "drain_delay = 2m\n"        /* 2: found last of all */
                                       "[admin]\n"                 /* 3 */
                                       "address = 0.0.0.0:1\n"     /* 4: a warning */
                                       "[listen]\n"                /* 5 */
                                       "max_headers = 0\n"         /* 6: found first */
                                       "address = 0.0.0.0:2 # x\n" /* 7 */
                                       "[token]\n"                 /* 8 */
                                       "client_id = \"id\"\n" /* 9: a warning */);

    buf_init(&out, 10000);
    assert_int_equal(config_report_print(&r.report, &out), 0);
    const char *at = buf_text(&out);
    static const char *const lines[] = {
        "t.ini:2: error: process.drain_delay: ",
        "t.ini:4: warning: admin.address: ",
        "t.ini:6: error: listen.max_headers: ",
        "t.ini:7: warning: listen.address: ",
        "t.ini:7: error: listen.address: ",
        "t.ini:9: warning: token.client_id: ",
        "t.ini: error: token.client_secret: is required",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        if (strncmp(at, lines[i], strlen(lines[i])) != 0)
            fail_msg("line %zu is not \"%s\" but:\n%s", i, lines[i], at);
        at = strchr(at, '\n') + 1;
    }
    assert_string_equal(at, "");
    buf_done(&out);
}

static void what_is_beyond_the_first_thousand_messages_is_counted(void **state)
{
    static char text[4 * 1200 + 1];

    (void)state;
    for (size_t i = 0; i < 1200; i++)
        memcpy(text + 4 * i, "xyz\n", 5);
    auto_result struct result r = load(text);

    assert_refuses(r, "t.ini:1000: the line is neither");
    assert_refuses(r, "202 more messages are not shown"); /* two for the credentials */
    assert_int_equal(r.report.errors, 1202);
}

static void a_file_is_named_in_its_errors(void **state)
{
    (void)state;
    static const char text[] = CREDENTIALS "bad = 1\n";
    auto_scratch struct scratch s = scratch_new();
    const char *path = scratch_write(&s, text, sizeof text - 1, 0600);
    char expected[256];
    auto_result struct result r = load_file(path);

    (void)snprintf(expected, sizeof expected, "%s:4: unknown key", path);
    assert_refuses(r, expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_is_reported_with_its_line),
        cmocka_unit_test(messages_are_marked_and_come_in_the_order_of_the_lines),
        cmocka_unit_test(what_is_beyond_the_first_thousand_messages_is_counted),
        cmocka_unit_test(a_file_is_named_in_its_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

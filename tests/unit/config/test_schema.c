/* schema.c: names in the table of settings are unique, and a wrong name leads to the
 * intended one. */
#include "config/config_case.h"

static void a_misspelt_key_gets_did_you_mean(void **state)
{
    static const struct {
        const char *section, *key, *hint;
    } cases[] = {
        { "token", "client_sceret", "did you mean client_secret?" },
        { "token", "Client_ID", "did you mean client_id?" },
        { "listen", "max_conections", "did you mean max_connections?" },
        { "log", "lvel", "did you mean level?" },
        { "listen", "tls_cert", "did you mean tls_certificate?" },
        { "listen", "port", "did you mean address?" },
        { "listen", "host", "did you mean address?" },
        { "admin", "listen", "did you mean address?" },
        { "upstream", "url", "did you mean base_url?" },
        { "token", "secret", "did you mean client_secret?" },
        { "token", "secret_file", "did you mean client_secret_file?" },
        { "upstream", "baseurl", "did you mean base_url?" },
        { "token", "max_in_flight", "did you mean max_in_flight of [upstream]?" },
        { "log", "completely_different", "[log] has level, format, access" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_result struct result r = load_one(cases[i].section, cases[i].key, "1");
        assert_refuses(r, cases[i].hint);
        assert_int_equal(count_lines(&r.errors), 1);
    }
}

static void a_misspelt_section_gets_did_you_mean(void **state)
{
    (void)state;
    auto_result struct result near = load(CREDENTIALS "[upsteram]\n");
    auto_result struct result blank = load(CREDENTIALS "[ listen ]\n");
    auto_result struct result far = load(CREDENTIALS "[database]\n");
    auto_result struct result long_name =
        load(CREDENTIALS "[a-section-name-that-is-longer-than-what-the-library-keeps-of-it]\n");

    assert_refuses(near, "did you mean [upstream]?");
    assert_refuses(blank, "did you mean [listen]?");
    assert_refuses(far, "there are [listen], [upstream], [token], [admin], [log], [process]");
    assert_refuses(long_name, "t.ini:4: unknown section");
}

static void a_section_that_has_no_name_takes_none(void **state)
{
    (void)state;
    auto_result struct result r = load(CREDENTIALS "[listen front]\naddress = x\n");
    auto_result struct result blank = load(CREDENTIALS "[listen ]\n");

    assert_refuses(r, "t.ini:4: the section is written [listen]\n");
    assert_int_equal(count_lines(&r.errors), 1);
    assert_refuses(blank, "t.ini:4: unknown section \"listen \"; did you mean [listen]?");
}

static void each_key_is_in_a_section_of_the_table_and_sections_lie_together(void **state)
{
    size_t at = 0;

    (void)state;
    for (size_t i = 0; i < config_key_count; i++) {
        while (at < config_section_count &&
               strcmp(config_sections[at].name, config_keys[i].section) != 0)
            at++;
        if (at == config_section_count)
            fail_msg("[%s] is not in the table, or out of order", config_keys[i].section);
    }
    assert_int_equal(at, config_section_count - 1);
}

static void names_of_variables_are_unique(void **state)
{
    char a[CONFIG_ENV_NAME_MAX], b[CONFIG_ENV_NAME_MAX];

    (void)state;
    for (size_t i = 0; i < config_single_count(); i++) {
        config_variable(&config_keys[i], a);
        assert_ptr_equal(config_find_variable(a), &config_keys[i]);
        for (size_t j = 0; j < i; j++) {
            config_variable(&config_keys[j], b);
            assert_string_not_equal(a, b);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_misspelt_key_gets_did_you_mean),
        cmocka_unit_test(a_misspelt_section_gets_did_you_mean),
        cmocka_unit_test(a_section_that_has_no_name_takes_none),
        cmocka_unit_test(each_key_is_in_a_section_of_the_table_and_sections_lie_together),
        cmocka_unit_test(names_of_variables_are_unique),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What the settings about classes say, and what is refused in them. */
#include "config_case.h"

static struct result load_classes(const char *lines)
{
    char text[20000];

    (void)snprintf(text, sizeof text, CREDENTIALS "%s", lines);
    return load(text);
}

static void without_a_table_there_is_are_no_rules(void **state)
{
    (void)state;
    auto_result struct result r = load(CREDENTIALS);
    assert_loads(r);
    assert_null(r.config->rules);
}

static void a_table_with_patterns_makes_rules(void **state)
{
    (void)state;
    auto_result struct result r =
        load_classes("[classes]\ntable = 1shot\nread = GET /a/{}, GET /b\nmoney = PUT /c\n");
    assert_loads(r);
    assert_non_null(r.config->rules);
    assert_int_equal(r.config->rules->classes.added_count, 3);
    const struct operation o = rules_operation(
        r.config->rules, &(struct rules_request){ .method = "PUT", .api_path = "/c" });
    assert_int_equal(o.class, CLASS_MONEY);
}

static void what_is_wrong_with_classes_is_told(void **state)
{
    static const struct {
        const char *lines, *says;
    } cases[] = {
        { "[classes]\nread = GET /a\n", "t.ini:5: classes.read: needs classes.table" },
        { "[classes]\nrepeat_simulate = yes\n",
          "classes.repeat_simulate: needs classes.table" },
        { "[classes]\ntable = on\n", "allowed: off, 1shot or methods" },
        { "[classes]\ntable = 1shot\nread = GET /a/*\n", "use {} for one segment" },
        { "[classes]\ntable = 1shot\nread = GET /v0/a\n", "leave out /v0" },
        { "[classes]\ntable = 1shot\nread = GET /a?b=c\n", "queries are not matched" },
        { "[classes]\ntable = 1shot\nread = POST /methods/{uuid}/execute\n",
          "would make POST /methods/{uuid}/execute laxer" },
        { "[classes]\ntable = 1shot\nread = POST /methods/{}/execute\n",
          "would make POST /methods/{uuid}/execute laxer" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_result struct result r = load_classes(cases[i].lines);
        assert_refuses(r, cases[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_table_there_is_are_no_rules),
        cmocka_unit_test(a_table_with_patterns_makes_rules),
        cmocka_unit_test(what_is_wrong_with_classes_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

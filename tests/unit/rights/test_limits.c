/* limits.c: what a caller may use up, and what is reported when it has. */
#include <string.h>

#include "rights/limits.h"
#include "unit.h"

#define SECOND_US 1000000

static struct caller *with_limits(struct rules **rules, int64_t n, int64_t seconds)
{
    *rules = rules_new();
    struct caller *c = rules_add_caller(*rules, "payroll");

    c->rate[CLASS_MONEY] = (struct rate){ .n = n, .duration_us = seconds * SECOND_US };
    return c;
}

static void an_empty_bucket_says_which_it_is_and_when_to_come_again(void **state)
{
    (void)state;
    struct rules *rules;
    struct caller *c = with_limits(&rules, 2, 60);
    struct limits_refusal why;

    assert_true(limits_charge(c, CLASS_MONEY, &why));
    assert_true(limits_charge(c, CLASS_UNKNOWN, &why)); /* the same bucket */
    assert_true(limits_charge(c, CLASS_READ, &why));
    assert_false(limits_charge(c, CLASS_UNKNOWN, &why));
    assert_string_equal(why.name, "money");
    assert_int_equal(why.quota, 2);
    assert_int_equal(why.window_s, 60);
    assert_in_range(why.again_s, 29, 30);
    rules_free(rules);
}

static void so_many_are_under_way_and_one_that_leaves_makes_room(void **state)
{
    (void)state;
    struct rules *rules;
    struct caller *c = with_limits(&rules, 1, 1);
    struct limits_refusal why;

    for (int i = 0; i < 5; i++) /* no limit */
        assert_true(limits_enter(c, &why));
    c->max_in_flight = 5;
    assert_false(limits_enter(c, &why));
    assert_string_equal(why.name, "in-flight");
    assert_int_equal(why.quota, 5);
    assert_int_equal(why.window_s, 0);
    assert_int_equal(why.again_s, 1);
    limits_leave(c);
    assert_true(limits_enter(c, &why));
    assert_int_equal(c->counts->in_flight, 5);
    rules_free(rules);
}

static void new_settings_go_on_with_the_level_of_the_old_ones(void **state)
{
    (void)state;
    struct rules *was, *now;
    struct caller *old = with_limits(&was, 4, 3600), *mine = with_limits(&now, 100, 3600);
    struct limits_refusal why;

    assert_true(limits_charge(old, CLASS_MONEY, &why));
    assert_true(limits_charge(old, CLASS_MONEY, &why));
    assert_true(limits_enter(old, &why));
    rules_keep_counts(now, was);
    limits_take_over(now, was);
    limits_take_over(NULL, was);
    limits_take_over(now, NULL);
    assert_int_equal(mine->counts->in_flight, 1);
    assert_true(limits_charge(mine, CLASS_MONEY, &why));
    assert_true(limits_charge(mine, CLASS_MONEY, &why));
    assert_false(limits_charge(mine, CLASS_MONEY, &why));
    rules_free(was);
    rules_free(now);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_bucket_says_which_it_is_and_when_to_come_again),
        cmocka_unit_test(so_many_are_under_way_and_one_that_leaves_makes_room),
        cmocka_unit_test(new_settings_go_on_with_the_level_of_the_old_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

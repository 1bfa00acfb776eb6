/* caller_secrets.c: finding the caller of a secret, and the differences between two sets of
 * them. */
#include <stdio.h>
#include <string.h>

#include "rights/caller_secrets.h"
#include "unit.h"

#define OLD "0123456789abcdef0123456789abcdef"
#define NEW "0123456789abcdef0123456789abcdeg"
#define LONGER OLD "-._~+/=="

static struct caller_secrets *three(void)
{
    const struct caller_secret all[] = { { 3, OLD, strlen(OLD) },
                                         { 3, NEW, strlen(NEW) },
                                         { 31, LONGER, strlen(LONGER) } };

    return caller_secrets_new(7, all, ARRAY_LEN(all));
}

static uint32_t find(const struct caller_secrets *s, const char *text)
{
    return caller_secrets_find(s, UINT32_MAX, text, strlen(text));
}

static void each_secret_is_found_and_nothing_that_is_nearly_one(void **state)
{
    (void)state;
    struct caller_secrets *s = three();

    assert_int_equal(find(s, OLD), 1U << 3);
    assert_int_equal(find(s, NEW), 1U << 3);
    assert_int_equal(find(s, LONGER), 1U << 31);
    assert_int_equal(find(s, ""), 0);
    assert_int_equal(find(NULL, OLD), 0);
    assert_int_equal(caller_secrets_find(s, 1U << 31, OLD, strlen(OLD)), 0);
    char text[2 * CALLER_SECRET_MAX];
    for (size_t len = 1; len < strlen(LONGER); len++)
        assert_int_equal(caller_secrets_find(s, UINT32_MAX, LONGER, len),
                         len == strlen(OLD) ? 1U << 3 : 0);
    for (size_t i = 0; i < strlen(LONGER); i++) {
        (void)snprintf(text, sizeof text, "%s", LONGER);
        text[i] ^= 1;
        assert_int_equal(find(s, text), 0);
    }
    memset(text, 'a', sizeof text);
    for (size_t len = 0; len <= sizeof text; len++)
        assert_int_equal(caller_secrets_find(s, UINT32_MAX, text, len), 0);
    assert_int_equal(caller_secrets_number(s), 7);
    caller_secrets_unref(s);
    caller_secrets_unref(NULL);
}

static void as_many_and_as_long_ones_as_there_may_be_fit(void **state)
{
    (void)state;
    static char text[CALLER_SECRETS_MAX][CALLER_SECRET_MAX];
    struct caller_secret all[CALLER_SECRETS_MAX];

    for (size_t i = 0; i < CALLER_SECRETS_MAX; i++) {
        memset(text[i], 'a' + (int)(i % 26), CALLER_SECRET_MAX);
        text[i][CALLER_SECRET_MAX - 1] = (char)('0' + i / 26);
        all[i] = (struct caller_secret){ i / 2, text[i], CALLER_SECRET_MAX };
    }
    struct caller_secrets *s = caller_secrets_new(1, all, CALLER_SECRETS_MAX);
    for (size_t i = 0; i < CALLER_SECRETS_MAX; i++)
        assert_int_equal(caller_secrets_find(s, UINT32_MAX, text[i], CALLER_SECRET_MAX),
                         1U << i / 2);
    caller_secrets_unref(s);
}

static void the_callers_whose_secrets_changed_are_known(void **state)
{
    (void)state;
    struct caller_secrets *was = three(), *same = three();
    const struct caller_secret later[] = { { 3, NEW, strlen(NEW) },
                                           { 31, LONGER, strlen(LONGER) } };
    struct caller_secrets *now = caller_secrets_new(8, later, ARRAY_LEN(later));

    assert_int_equal(caller_secrets_changed(was, same), 0);
    assert_int_equal(caller_secrets_changed(was, now), 1U << 3);
    assert_int_equal(caller_secrets_changed(now, was), 1U << 3);
    caller_secrets_unref(caller_secrets_ref(now));
    caller_secrets_unref(now);
    caller_secrets_unref(same);
    caller_secrets_unref(was);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_secret_is_found_and_nothing_that_is_nearly_one),
        cmocka_unit_test(as_many_and_as_long_ones_as_there_may_be_fit),
        cmocka_unit_test(the_callers_whose_secrets_changed_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

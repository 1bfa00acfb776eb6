/* trust_store.c: a copy of a trust store can be read by a path as long as it is referenced. */
#include <stdio.h>
#include <string.h>

#include "net/trust_store.h"
#include "unit.h"

static void a_copy_is_read_by_its_path_from_the_beginning_each_time(void **state)
{
    (void)state;
    struct trust_store *s = trust_store_new("some authorities", 16);
    char text[64] = "";

    assert_non_null(s);
    for (int i = 0; i < 2; i++) {
        FILE *file = fopen(trust_store_path(s), "re");
        assert_non_null(file);
        assert_int_equal(fread(text, 1, sizeof text, file), 16);
        (void)fclose(file);
        assert_memory_equal(text, "some authorities", 16);
    }
    FILE *file = fopen(trust_store_path(s), "re+");
    assert_non_null(file);
    assert_int_not_equal(fputs("others", file) < 0 || fflush(file) != 0, 0);
    (void)fclose(file);
    trust_store_unref(s);
}

static void a_copy_lives_until_its_last_holder_lets_go(void **state)
{
    (void)state;
    struct trust_store *s = trust_store_new("", 0);
    char path[64];

    assert_non_null(s);
    (void)snprintf(path, sizeof path, "%s", trust_store_path(s));
    assert_ptr_equal(trust_store_ref(s), s);
    trust_store_unref(s);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    (void)fclose(file);
    trust_store_unref(s);
    assert_null(fopen(path, "re"));
    assert_null(trust_store_ref(NULL));
    assert_null(trust_store_path(NULL));
    trust_store_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_read_by_its_path_from_the_beginning_each_time),
        cmocka_unit_test(a_copy_lives_until_its_last_holder_lets_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* library.c, with a library that every program has, and one that does not exist. */
#include <errno.h>
#include <string.h>

#include "ledger/library.h"
#include "unit.h"

static char *(*found_strerror)(int number);
static int (*found_none)(void);

static int load(const char *soname, const struct library_function *function, struct buf *error)
{
    buf_init(error, 1024);
    return library_load(soname, "the-package", function, 1, error);
}

static void a_function_is_found_by_its_name(void **state)
{
    static const struct library_function function = { "strerror", &found_strerror };
    struct buf error;

    (void)state;
    assert_int_equal(load("libc.so.6", &function, &error), 0);
    assert_non_null(found_strerror);
    assert_string_equal(found_strerror(EPERM), "Operation not permitted");
    buf_done(&error);
}

static void a_library_that_is_not_installed_is_told_with_its_package(void **state)
{
    static const struct library_function function = { "none", &found_none };
    struct buf error;

    (void)state;
    assert_int_equal(load("libnobody-has-it.so.0", &function, &error), -ENOENT);
    assert_non_null(strstr(buf_text(&error), "libnobody-has-it.so.0 cannot be loaded"));
    assert_non_null(strstr(buf_text(&error), "install the-package"));
    buf_done(&error);
}

static void a_library_that_is_too_old_is_told_with_its_package(void **state)
{
    static const struct library_function function = { "function_of_the_future", &found_none };
    struct buf error;

    (void)state;
    assert_int_equal(load("libc.so.6", &function, &error), -ENOENT);
    assert_null(found_none);
    assert_string_equal(buf_text(&error), "libc.so.6 has no function function_of_the_future: "
                                          "install a newer the-package");
    buf_done(&error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_function_is_found_by_its_name),
        cmocka_unit_test(a_library_that_is_not_installed_is_told_with_its_package),
        cmocka_unit_test(a_library_that_is_too_old_is_told_with_its_package),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

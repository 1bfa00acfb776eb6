/* host.c: parsing a host and its port. */
#include "http/host.h"
#include "unit.h"

static void a_host_is_taken_apart(void **state)
{
    struct host h = { 0 };

    (void)state;
    assert_true(host_split("[::1]:8080", 10, &h));
    assert_int_equal(h.name_len, 5);
    assert_int_equal(h.port, 8080);
    assert_true(host_split("name", 4, &h));
    assert_int_equal(h.name_len, 4);
    assert_int_equal(h.port, -1);
    assert_true(host_split("name:0", 6, &h));
    assert_int_equal(h.port, 0);
    assert_false(host_split("", 0, &h));
}

static void what_is_no_host_is_refused(void **state)
{
    static const char *const texts[] = { "a,b", "u@a",  "a b",    ":1",   "a:65536", "a:+1",
                                         "a:x", "[::1", "[]",     "[:]",  "::1",     "a%zz",
                                         "a%4", "a/b",  "[::1]a", "[::g]" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (host_split(texts[i], strlen(texts[i]), NULL))
            fail_msg("\"%s\" was taken for a host", texts[i]);
    assert_true(host_split("a:", 2, NULL)); /* the default port */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_is_taken_apart),
        cmocka_unit_test(what_is_no_host_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

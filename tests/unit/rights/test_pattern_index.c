/* pattern_index.c: every pattern that matches is found, and few that do not. */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "rights/pattern_index.h"
#include "unit.h"

enum { MANY = 400 };

static char text[MANY][96];
static struct pattern pattern[MANY];

static void file(struct pattern_index *x, size_t i)
{
    assert_null(pattern_parse(&pattern[i], text[i], strlen(text[i])));
    pattern_index_add(x, &pattern[i], i);
}

/* How many are offered for a path; each that matches must be among them. */
static size_t offered(const struct pattern_index *x, size_t count, const char *path)
{
    struct path_shape shape = path_shape_of(path, strlen(path));
    struct pattern_search search = { .form = 0 };
    bool found[MANY] = { false };
    size_t i, n = 0;

    while ((i = pattern_index_next(x, &shape, &search)) != PATTERN_INDEX_END) {
        assert_true(i < count);
        assert_false(found[i]);
        found[i] = true;
        n++;
    }
    for (i = 0; i < count; i++)
        if (pattern_matches_path(&pattern[i], &shape) && !found[i])
            fail_msg("%s is not found for %s", text[i], path);
    return n;
}

static void of_many_ids_one_is_offered_whatever_their_number(void **state)
{
    (void)state;
    struct pattern_index x = { .form = NULL };
    size_t most = 0;

    for (size_t i = 0; i < MANY; i++) {
        (void)snprintf(text[i], sizeof text[i],
                       "POST /methods/%08zx-aaaa-4bbb-8ccc-dddddddddddd/execute", i);
        file(&x, i);
    }
    assert_int_equal(x.form_count, 1);
    for (size_t i = 0; i < MANY; i++) {
        size_t n = offered(&x, MANY, text[i] + 5);

        most = n > most ? n : most;
    }
    assert_true(most <= 2); /* a hash may be that of another one too */
    assert_int_equal(offered(&x, MANY, "/methods/0000000A-AAAA-4BBB-8CCC-DDDDDDDDDDDD/execute"),
                     1);
    assert_int_equal(offered(&x, MANY, "/methods/x/execute"), 0);
    assert_int_equal(offered(&x, MANY, "/methods/0000000a-aaaa-4bbb-8ccc-dddddddddddd"), 0);
    pattern_index_done(&x);
}

static void placeholders_and_literals_are_found_together(void **state)
{
    (void)state;
    static const char *const texts[] = { "GET /",          "GET /a",     "GET /a/{n}",
                                         "GET /a/{uuid}",  "GET /a/{}",  "PUT /a/{n}",
                                         "GET /{}/{}",     "GET /a/7",   "GET /a/7",
                                         "GET /{}/7",      "GET /b/{n}", "GET /abcdefghijkl/x",
                                         "GET /abcdefgh/x" };
    struct pattern_index x = { .form = NULL };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        (void)snprintf(text[i], sizeof text[i], "%s", texts[i]);
        file(&x, i);
    }
    assert_int_equal(offered(&x, ARRAY_LEN(texts), "/"), 1);
    assert_int_equal(offered(&x, ARRAY_LEN(texts), "/a"), 1);
    assert_int_equal(offered(&x, ARRAY_LEN(texts), "/a/7"), 7);
    assert_int_equal(offered(&x, ARRAY_LEN(texts), "/a/x"), 2);
    assert_int_equal(offered(&x, ARRAY_LEN(texts), "/a/6f1c0de0-aaaa-4bbb-8ccc-dddddddddddd"),
                     3);
    assert_int_equal(offered(&x, ARRAY_LEN(texts), "/abcdefghijkl/x"), 2);
    assert_int_equal(offered(&x, ARRAY_LEN(texts), "/a/7/"), 0); /* not plain */
    pattern_index_done(&x);
    assert_int_equal(offered(&x, 0, "/a"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_many_ids_one_is_offered_whatever_their_number),
        cmocka_unit_test(placeholders_and_literals_are_found_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* pattern.c: what a pattern means and matches, and that it matches only plain paths. */
#include <string.h>

#include "base/base.h"
#include "rights/pattern.h"
#include "unit.h"

#define U "6f1c0de0-aaaa-4bbb-8ccc-dddddddddddd"

static struct pattern parsed(const char *text)
{
    struct pattern p;
    const char *wrong = pattern_parse(&p, text, strlen(text));

    if (wrong != NULL)
        fail_msg("%s %s", text, wrong);
    return p;
}

static bool matches(const char *pattern, const char *method, const char *path)
{
    struct pattern p = parsed(pattern);
    struct path_shape shape = path_shape_of(path, strlen(path));

    return pattern_matches(&p, method, &shape);
}

static void a_path_is_plain_or_it_matches_nothing(void **state)
{
    (void)state;
    static const char *const plain[] = { "/", "/a", "/a/b", "/A-z.0_~:@", "/" U "/x" };
    static const char *const others[] = { "",
                                          "a",
                                          "//",
                                          "/a/",
                                          "/a//b",
                                          "/%61",
                                          "/a;b",
                                          "/a b",
                                          "/\xc3",
                                          "/a,b",
                                          "/a=b",
                                          "/a$",
                                          "/a!",
                                          "/a'b",
                                          "/(a)",
                                          "/a*",
                                          "/a+b",
                                          "/a&b",
                                          "/1/2/3/4/5/6/7/8/9/10/11/12/13" };

    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        assert_true(path_shape_of(plain[i], strlen(plain[i])).plain);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (path_shape_of(others[i], strlen(others[i])).plain)
            fail_msg("%s", others[i]);
}

static void each_kind_of_segment_matches_what_it_says(void **state)
{
    (void)state;
    assert_true(matches("GET /", "GET", "/"));
    assert_true(matches("POST /methods/{uuid}/execute", "POST", "/methods/" U "/execute"));
    assert_false(matches("POST /methods/{uuid}/execute", "POST", "/methods/x/execute"));
    assert_false(matches("POST /methods/{uuid}/execute", "POST", "/methods/" U "/Execute"));
    assert_false(matches("POST /methods/{uuid}/execute", "POST", "/methods/" U));
    assert_false(matches("POST /methods/{uuid}/execute", "POST", "/methods/" U "/execute/x"));
    assert_true(matches("GET /chains/{n}/fees", "GET", "/chains/84532/fees"));
    assert_false(matches("GET /chains/{n}/fees", "GET", "/chains/0x14a34/fees"));
    assert_true(matches("GET /a/{}", "GET", "/a/anything:at@all"));
    assert_true(matches("GET /a/{}", "GET", "/a/" U));
}

static void a_literal_uuid_is_compared_without_case_and_nothing_else_is(void **state)
{
    (void)state;
    assert_true(matches("GET /x/" U, "GET", "/x/6F1C0DE0-AAAA-4BBB-8CCC-DDDDDDDDDDDD"));
    assert_false(matches("GET /x/abc", "GET", "/x/ABC"));
    /* 36 bytes that are no UUID */
    assert_false(matches("GET /{uuid}", "GET", "/6f1c0de0aaaaa-4bbb-8ccc-ddddddddddddd"));
    assert_false(matches("GET /{uuid}", "GET", "/gf1c0de0-aaaa-4bbb-8ccc-dddddddddddd"));
}

static void a_method_is_one_and_get_covers_head(void **state)
{
    (void)state;
    assert_true(matches("GET /a", "HEAD", "/a"));
    assert_false(matches("GET /a", "get", "/a"));
    assert_false(matches("GET /a", "POST", "/a"));
    assert_false(matches("POST /a", "HEAD", "/a"));
    assert_false(matches("GET /a", "GETS", "/a"));
}

static void a_bad_pattern_is_told_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = { { "/a", "METHOD /path" },
                { "GET", "METHOD /path" },
                { "get /a", "capitals" },
                { "GET,POST /a", "one method" },
                { "HEAD /a", "GET" },
                { "GET a", "slash" },
                { "GET  /a", "slash" },
                { "GET /a/*", "{}" },
                { "GET /a*", "{}" },
                { "GET /a/{id}", "placeholder" },
                { "GET /a/{uuid", "placeholder" },
                { "GET /a?b=1", "queries" },
                { "GET /a//b", "empty" },
                { "GET /a/", "empty" },
                { "GET /a%20", "byte" },
                { "GET /a/b c", "byte" },
                { "GET /1/2/3/4/5/6/7/8/9/10/11/12/13", "too many" },
                { "", "METHOD /path" } };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct pattern p;
        const char *wrong = pattern_parse(&p, bad[i].text, strlen(bad[i].text));

        if (wrong == NULL || strstr(wrong, bad[i].says) == NULL)
            fail_msg("%s: %s", bad[i].text, wrong == NULL ? "accepted" : wrong);
    }
}

static void what_overlaps_and_what_covers(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool overlap, covers, covered;
    } pairs[] = {
        { "GET /a", "GET /a", true, true, true },
        { "GET /a", "POST /a", false, false, false },
        { "GET /a/{}", "GET /a/b", true, true, false },
        { "GET /a/{}", "GET /a/{uuid}", true, true, false },
        { "GET /a/{uuid}", "GET /a/" U, true, true, false },
        { "GET /a/{n}", "GET /a/{uuid}", false, false, false },
        { "GET /a/{n}", "GET /a/12", true, true, false },
        { "GET /a/{uuid}", "GET /a/executeBatch", false, false, false },
        { "GET /{}/b", "GET /a/{}", true, false, false },
        { "GET /a", "GET /a/b", false, false, false },
    };

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct pattern a = parsed(pairs[i].a), b = parsed(pairs[i].b);

        assert_int_equal(pattern_overlaps(&a, &b), pairs[i].overlap);
        assert_int_equal(pattern_overlaps(&b, &a), pairs[i].overlap);
        assert_int_equal(pattern_covers(&a, &b), pairs[i].covers);
        assert_int_equal(pattern_covers(&b, &a), pairs[i].covered);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_is_plain_or_it_matches_nothing),
        cmocka_unit_test(each_kind_of_segment_matches_what_it_says),
        cmocka_unit_test(a_literal_uuid_is_compared_without_case_and_nothing_else_is),
        cmocka_unit_test(a_method_is_one_and_get_covers_head),
        cmocka_unit_test(a_bad_pattern_is_told_what_is_wrong),
        cmocka_unit_test(what_overlaps_and_what_covers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

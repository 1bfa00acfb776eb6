/* failure.c: the table is whole and says what the contract says. */
#include <string.h>

#include "base/failure.h"
#include "unit.h"

static void every_kind_has_a_whole_row(void **state)
{
    (void)state;
    for (int kind = FAIL_NONE + 1; kind < FAILURE_COUNT; kind++) {
        const struct failure_info *info = failure_info((enum failure_kind)kind);
        assert_non_null(info->slug);
        assert_non_null(info->error);
        assert_non_null(info->title);
        assert_true(strlen(info->title) > 0);
        assert_in_range(info->status, 400, 599);
        assert_in_range(info->stage, 0, STAGE_COUNT - 1);
    }
}

static void slugs_are_unique_and_fit_a_urn(void **state)
{
    (void)state;
    for (int a = FAIL_NONE; a < FAILURE_COUNT; a++) {
        const char *slug = failure_info((enum failure_kind)a)->slug;
        assert_int_equal(strspn(slug, "abcdefghijklmnopqrstuvwxyz-"), strlen(slug));
        for (int b = a + 1; b < FAILURE_COUNT; b++)
            assert_string_not_equal(slug, failure_info((enum failure_kind)b)->slug);
    }
}

static void a_request_failure_is_the_callers_and_a_4xx_or_a_refusal(void **state)
{
    (void)state;
    const struct failure_info *denied = failure_info(FAIL_HOST_DENIED);
    assert_int_equal(denied->status, 421);
    assert_int_equal(denied->stage, STAGE_REQUEST);
    assert_string_equal(denied->error, "http_request_denied");
    assert_false(denied->retryable);

    const struct failure_info *lost = failure_info(FAIL_UPSTREAM_LOST);
    assert_int_equal(lost->status, 502);
    assert_int_equal(lost->stage, STAGE_UPSTREAM);
    assert_false(lost->retryable); /* it may have been executed */
}

static void the_status_can_differ_from_the_table(void **state)
{
    struct failure f = failure_make(FAIL_TOKEN_REFUSED, "why");

    (void)state;
    assert_int_equal(failure_status(&f), 401);
    f.status = 502;
    assert_int_equal(failure_status(&f), 502);
}

static void stages_have_the_names_of_the_contract(void **state)
{
    (void)state;
    assert_string_equal(failure_stage_name(STAGE_REQUEST), "request");
    assert_string_equal(failure_stage_name(STAGE_TOKEN), "token");
    assert_string_equal(failure_stage_name(STAGE_UPSTREAM), "upstream");
    assert_string_equal(failure_stage_name(STAGE_PROXY), "proxy");
}

static void a_made_failure_holds_its_detail_and_nothing_else(void **state)
{
    struct failure f = failure_make(FAIL_BODY_TOO_LARGE, "raise %s above %d", "the key", 5);

    (void)state;
    assert_int_equal(f.kind, FAIL_BODY_TOO_LARGE);
    assert_string_equal(f.detail, "raise the key above 5");
    assert_int_equal(f.status, 0);
    assert_int_equal(f.received_status, 0);
    assert_int_equal(f.retry_after_s, 0);
    assert_null(f.error);
}

static void a_detail_too_long_is_cut(void **state)
{
    char text[400];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct failure f = failure_make(FAIL_INTERNAL, "%s", text);
    assert_int_equal(strlen(f.detail), sizeof f.detail - 1);
}

static void a_cut_never_goes_through_a_character(void **state)
{
    char text[400];

    (void)state;
    for (size_t lead = 0; lead < 4; lead++) {
        memset(text, 'x', lead);
        for (size_t i = lead; i + 3 < sizeof text; i += 3)
            memcpy(text + i, "\xe2\x82\xac", 4);
        struct failure f = failure_make(FAIL_INTERNAL, "%s", text);
        assert_int_equal((strlen(f.detail) - lead) % 3, 0);
        assert_true(strlen(f.detail) >= sizeof f.detail - 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_has_a_whole_row),
        cmocka_unit_test(slugs_are_unique_and_fit_a_urn),
        cmocka_unit_test(a_request_failure_is_the_callers_and_a_4xx_or_a_refusal),
        cmocka_unit_test(the_status_can_differ_from_the_table),
        cmocka_unit_test(stages_have_the_names_of_the_contract),
        cmocka_unit_test(a_made_failure_holds_its_detail_and_nothing_else),
        cmocka_unit_test(a_detail_too_long_is_cut),
        cmocka_unit_test(a_cut_never_goes_through_a_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

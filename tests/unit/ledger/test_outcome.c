/* outcome.c: from what is known at the end of a request to the state of its entry. */
#include "ledger/outcome.h"
#include "unit.h"

static const int64_t release[] = { 401, 429 }, token[] = { 401, 419 };

static struct ledger_ending of(int status, enum failure_kind failure, bool sent)
{
    return ledger_ending_of(&(struct ledger_facts){ .status = status,
                                                    .failure = failure,
                                                    .sent = sent,
                                                    .release_statuses = release,
                                                    .release_count = ARRAY_LEN(release),
                                                    .token_statuses = token,
                                                    .token_count = ARRAY_LEN(token) });
}

static void an_answer_closes_the_entry_unless_it_says_nothing(void **state)
{
    static const struct {
        int status;
        enum ledger_state state;
    } rows[] = {
        { 200, LEDGER_ANSWERED }, { 204, LEDGER_ANSWERED }, { 302, LEDGER_ANSWERED },
        { 400, LEDGER_ANSWERED }, { 404, LEDGER_ANSWERED }, { 408, LEDGER_ANSWERED },
        { 409, LEDGER_ANSWERED }, { 499, LEDGER_ANSWERED }, { 401, LEDGER_RELEASED },
        { 419, LEDGER_RELEASED }, { 429, LEDGER_RELEASED }, { 500, LEDGER_UNKNOWN },
        { 502, LEDGER_UNKNOWN },  { 503, LEDGER_UNKNOWN },  { 599, LEDGER_UNKNOWN },
        { 600, LEDGER_UNKNOWN },  { 999, LEDGER_UNKNOWN },  { 101, LEDGER_UNKNOWN },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ledger_ending o = of(rows[i].status, FAIL_NONE, true);

        assert_int_equal(o.state, rows[i].state);
        assert_int_equal(o.cause[0] == '\0', rows[i].state == LEDGER_ANSWERED);
        /* however it ended */
        assert_int_equal(of(rows[i].status, FAIL_UPSTREAM_INCOMPLETE, true).state,
                         rows[i].state);
    }
}

static void without_an_answer_it_is_released_only_when_nothing_left(void **state)
{
    (void)state;
    for (int kind = FAIL_NONE + 1; kind < FAILURE_COUNT; kind++) {
        struct ledger_ending o = of(0, (enum failure_kind)kind, false);

        assert_int_equal(o.state, LEDGER_RELEASED);
        assert_string_equal(o.cause, failure_info((enum failure_kind)kind)->slug);
        o = of(0, (enum failure_kind)kind, true);
        assert_int_equal(o.state, kind == FAIL_UPSTREAM_TLS ? LEDGER_RELEASED : LEDGER_UNKNOWN);
        assert_string_equal(o.cause, failure_info((enum failure_kind)kind)->slug);
    }
    assert_string_equal(of(0, FAIL_NONE, false).cause, "caller-gone");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_closes_the_entry_unless_it_says_nothing),
        cmocka_unit_test(without_an_answer_it_is_released_only_when_nothing_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

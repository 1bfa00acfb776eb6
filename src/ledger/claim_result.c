/* The names of claim results, see claim_result.h. */
#include "ledger/claim_result.h"

const char *claim_result_name(enum claim_result r)
{
    static const char *const names[CLAIM_RESULTS] = {
        [CLAIM_RESULT_CLAIMED] = "claimed",     [CLAIM_RESULT_REPLAYED] = "replayed",
        [CLAIM_RESULT_IN_FLIGHT] = "in_flight", [CLAIM_RESULT_UNKNOWN] = "unknown",
        [CLAIM_RESULT_REUSED] = "reused",       [CLAIM_RESULT_NOT_KEPT] = "not_kept",
        [CLAIM_RESULT_REQUIRED] = "required",   [CLAIM_RESULT_MALFORMED] = "malformed",
        [CLAIM_RESULT_DOWN] = "down",
    };

    assert((unsigned)r < CLAIM_RESULTS);
    return names[r];
}

enum claim_result claim_result_of(enum failure_kind kind)
{
    static const enum claim_result of[FAILURE_COUNT] = {
        [FAIL_KEY_REUSED] = CLAIM_RESULT_REUSED,
        [FAIL_KEY_IN_FLIGHT] = CLAIM_RESULT_IN_FLIGHT,
        [FAIL_KEY_NOT_KEPT] = CLAIM_RESULT_NOT_KEPT,
        [FAIL_KEY_UNKNOWN] = CLAIM_RESULT_UNKNOWN,
        [FAIL_KEY_REQUIRED] = CLAIM_RESULT_REQUIRED,
        [FAIL_KEY_MALFORMED] = CLAIM_RESULT_MALFORMED,
        [FAIL_LEDGER] = CLAIM_RESULT_DOWN,
    };

    assert((unsigned)kind < FAILURE_COUNT);
    return of[kind];
}

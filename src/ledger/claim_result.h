#pragma once
/* What the ledger did for a request, named as in the log and the metrics. */
#include "base/failure.h"

enum claim_result {
    CLAIM_RESULT_NONE,
    CLAIM_RESULT_CLAIMED,
    CLAIM_RESULT_REPLAYED,
    CLAIM_RESULT_IN_FLIGHT,
    CLAIM_RESULT_UNKNOWN,
    CLAIM_RESULT_REUSED,
    CLAIM_RESULT_NOT_KEPT,
    CLAIM_RESULT_REQUIRED,
    CLAIM_RESULT_MALFORMED,
    CLAIM_RESULT_DOWN,
    CLAIM_RESULTS
};
/* "claimed" ...; NULL for CLAIM_RESULT_NONE. */
const char *claim_result_name(enum claim_result r);
/* The result that a refusal of this kind stands for; CLAIM_RESULT_NONE: none. */
enum claim_result claim_result_of(enum failure_kind kind);

#pragma once
/* The outcome of a request that was claimed in the ledger: a table that leads from what is
 * known at its end to the state of its entry. Pure. */
#include "base/base.h"
#include "base/failure.h"
#include "ledger/entry.h"

/* What is known at the end of the request. */
struct ledger_facts {
    int status; /* of the upstream's answer, if its head was complete; 0: otherwise */
    enum failure_kind failure; /* if there was none: why. FAIL_NONE: nobody waits any more */
    bool sent;                 /* a byte of the request may have left, in the last attempt */
    const int64_t
        *release_statuses; /* ledger.release_statuses, upstream.token_refused_statuses */
    size_t release_count;
    const int64_t *token_statuses;
    size_t token_count;
};

struct ledger_ending {
    enum ledger_state state;
    const char *cause; /* why it is unknown or released: a literal; "" if answered */
};

struct ledger_ending ledger_ending_of(const struct ledger_facts *facts);
/* Whether an answer with this status proves that the request was not carried out. */
bool ledger_status_releases(const struct ledger_facts *facts, int status);

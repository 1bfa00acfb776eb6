#pragma once
/* What a request that was claimed in the ledger has come to: one table, from what is known at its end
 * to the state of its entry. Pure. */
#include "base/base.h"
#include "base/failure.h"
#include "ledger/entry.h"

/* What is known at the end. */
struct ledger_facts {
    int status; /* of the upstream's answer whose head was whole; 0: there was none */
    enum failure_kind failure; /* where there was none: why. FAIL_NONE: nobody waits any more */
    bool sent;                 /* a byte of the request may have left, in its last attempt */
    const int64_t
        *release_statuses; /* ledger.release_statuses, upstream.token_refused_statuses */
    size_t release_count;
    const int64_t *token_statuses;
    size_t token_count;
};

struct ledger_ending {
    enum ledger_state state;
    const char *cause; /* why unknown or released: a literal; "" when answered */
};

struct ledger_ending ledger_ending_of(const struct ledger_facts *facts);
/* Whether an answer of this status proves that the request was not carried out. */
bool ledger_status_releases(const struct ledger_facts *facts, int status);

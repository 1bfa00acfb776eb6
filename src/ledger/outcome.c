/* Derives the state of an entry from what is known at the end of a request, see outcome.h. */
#include "ledger/outcome.h"

/* By the status of an answer that does not release. A 4xx of the upstream does not mean that
 * nothing was done: a 404 may be about the result. A 5xx says nothing at all about it. */
static const struct {
    int from, to;
    struct ledger_ending ending;
} by_status[] = {
    { 200, 499, { LEDGER_ANSWERED, "" } },
    { 500, 599, { LEDGER_UNKNOWN, "server-error" } },
    { 0, 999, { LEDGER_UNKNOWN, "odd-status" } },
};

/* By the failure, if there was no answer; the first match counts. */
static const struct {
    enum failure_kind kind; /* FAIL_NONE: any other */
    bool sent;
    struct ledger_ending ending;
} by_failure[] = {
    /* the peer ended the handshake, which comes before it looks at a request */
    { FAIL_UPSTREAM_TLS, true, { LEDGER_RELEASED, "" } },
    { FAIL_NONE, true, { LEDGER_UNKNOWN, "" } },
    { FAIL_NONE, false, { LEDGER_RELEASED, "" } },
};

static bool is_among(const int64_t *list, size_t count, int status)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] == status)
            return true;
    return false;
}

bool ledger_status_releases(const struct ledger_facts *facts, int status)
{
    return is_among(facts->release_statuses, facts->release_count, status) ||
           is_among(facts->token_statuses, facts->token_count, status);
}

static struct ledger_ending of_failure(enum failure_kind kind, bool sent)
{
    for (size_t i = 0; i < ARRAY_LEN(by_failure); i++)
        if ((by_failure[i].kind == FAIL_NONE || by_failure[i].kind == kind) &&
            by_failure[i].sent == sent)
            return (struct ledger_ending){ by_failure[i].ending.state,
                                           kind == FAIL_NONE ? "caller-gone"
                                                             : failure_info(kind)->slug };
    return (struct ledger_ending){ LEDGER_UNKNOWN, failure_info(kind)->slug };
}

struct ledger_ending ledger_ending_of(const struct ledger_facts *facts)
{
    if (facts->status == 0)
        return of_failure(facts->failure, facts->sent);
    if (ledger_status_releases(facts, facts->status))
        return (struct ledger_ending){ LEDGER_RELEASED, "refused" };
    for (size_t i = 0; i < ARRAY_LEN(by_status); i++)
        if (facts->status >= by_status[i].from && facts->status <= by_status[i].to)
            return by_status[i].ending;
    return (struct ledger_ending){ LEDGER_UNKNOWN, "odd-status" };
}

#pragma once
/* What the settings say about requests, made ready for the request path: which class each
 * belongs to, who calls, what that caller may do, and which classes the freeze file stops. Made
 * with the settings and never changed, so that any thread may read it; only the counts of the
 * callers change, and these are kept when new settings are put in force. */
#include "rights/caller.h"
#include "rights/classes.h"

/* What became of a request, in the words of the log and of the metrics. */
enum rules_outcome {
    DECISION_NONE, /* there is nothing to decide */
    DECISION_ALLOWED,
    DECISION_DENIED,
    DECISION_FROZEN,
    DECISION_COUNT
};
static_assert(DECISION_COUNT <= CALLER_OUTCOMES, "a count for each");
/* "allowed" ...; NULL for DECISION_NONE. */
const char *rules_outcome_name(enum rules_outcome o);

struct rules {
    struct classes classes;
    bool repeat_simulate;
    unsigned frozen_classes; /* bits 1 << class that freeze.file stops; 0: there is none */

    bool has_callers;
    uint64_t
        number; /* no two have the same: what was found out by one does not hold for another */
    struct callers callers;
    struct caller_counts *nobody; /* counts of requests that no caller was recognised for */
};

/* Zeroed but for its number. */
struct rules *rules_new(void);
/* Adds a caller of that name, which must last; the lists and names in it are freed with the
 * rules. */
struct caller *rules_add_caller(struct rules *r, const char *name);
/* The callers that both have go on with the counts of `from`. NULL is passed over. */
void rules_keep_counts(struct rules *r, const struct rules *from);
/* Takes NULL. */
void rules_free(struct rules *r);

/* What a request is judged by. */
struct rules_request {
    const char *method, *api_path; /* as for class_request */
    bool overridden;
};

struct operation rules_operation(const struct rules *p, const struct rules_request *r);

/* Whether a request may be sent again that went out on a pooled connection which turned out to
 * be dead: what only looks, and OPTIONS; a built-in simulate operation where the settings say so. A
 * GET that signs may not: nobody knows what became of the first. */
bool rules_may_resend(const struct rules *p, const struct rules_request *r,
                      const struct operation *o);

/* A sentence for a caller that was not recognised, and one for a caller that lacks the right,
 * which says what to add. */
void rules_say_unknown(char *out, size_t size, enum caller_unknown why);
void rules_say_refused(char *out, size_t size, const struct caller *c,
                       const struct operation *o, const struct rights_decision *d);

/* Counts one request. caller NULL: nobody. Thread: any. */
void rules_count(const struct rules *r, const struct caller *caller, enum request_class class,
                 enum rules_outcome outcome);

#pragma once
/* The rules for requests, made from the settings: the class of each request, who calls, what
 * that caller may do, and which classes the freeze file stops. They are made together with
 * the settings and never changed, so that any thread may read them; only the counts of
 * callers change, and these continue when new settings are put in force. */
#include "rights/caller.h"
#include "rights/classes.h"

/* What was decided about a request, named as in the log and the metrics. */
enum rules_outcome {
    DECISION_NONE, /* nothing to decide */
    DECISION_ALLOWED,
    DECISION_DENIED,
    DECISION_LIMITED,
    DECISION_FROZEN,
    DECISION_WOULD_DENY,  /* not refused, since its caller is only observed */
    DECISION_WOULD_LIMIT, /* the same */
    DECISION_COUNT
};
static_assert(DECISION_COUNT <= CALLER_OUTCOMES, "a count for each");
/* "allowed" ...; NULL for DECISION_NONE. */
const char *rules_outcome_name(enum rules_outcome o);

struct rules {
    struct classes classes;
    bool repeat_simulate;
    unsigned frozen_classes; /* bits 1 << class that freeze.file stops; 0: no freeze file */

    bool has_callers;
    bool observe_unknown; /* callers.mode: requests of nobody known are only reported */
    uint64_t number; /* unique: what was found with one set of rules is not valid for another */
    struct callers callers;
    struct caller_secrets *secrets; /* as they were when the settings were read; NULL: none */
    struct caller_counts *nobody;   /* counts of requests without a recognised caller */
};

/* Zeroed except for its number. */
struct rules *rules_new(void);
/* Adds a caller with that name, which must stay; its lists and names are freed with the
 * rules. */
struct caller *rules_add_caller(struct rules *r, const char *name);
/* Callers that exist in both continue with the counts of `from`. Takes NULL. */
void rules_keep_counts(struct rules *r, const struct rules *from);
/* Takes NULL. */
void rules_free(struct rules *r);

/* Finds the operation and class of a request, see classes_find. Thread: any. */
void rules_operation(const struct rules *p, const struct class_request *r,
                     struct operation *out);

/* Whether a request may be sent again after the pooled connection that it was sent on turned
 * out to be dead: reading operations and OPTIONS, and built-in simulate operations if the
 * settings allow it. Not a GET that signs: nobody knows whether the first one was carried
 * out. */
bool rules_may_resend(const struct rules *p, const struct class_request *r,
                      const struct operation *o);

/* What is decided about a request, by caller and rights. */
struct rules_decision {
    enum rules_outcome outcome;    /* DECISION_ALLOWED, _DENIED or _WOULD_DENY */
    struct caller_recognised who;  /* the argument */
    struct rights_decision rights; /* of the caller, if one was recognised */
};

/* Decides. Pure: the same arguments give the same result. Thread: any. */
struct rules_decision rules_decide(const struct rules *r, const struct caller_recognised *who,
                                   const char *method, const struct operation *o);

/* Why it was, or would be, refused, for the log: an entry of deny, "no allow", or why nobody
 * was recognised. NULL: it was not refused. Not a copy; *len is its length. */
const char *rules_rule(const struct rules_decision *v, size_t *len);

/* Writes a sentence for the caller that is refused: what is missing, or what to add. */
void rules_describe(char *out, size_t size, const struct rules_decision *v,
                    const struct operation *o);

/* Counts one request. caller NULL: none was recognised. Thread: any. */
void rules_count(const struct rules *r, const struct caller *caller, enum request_class class,
                 enum rules_outcome outcome);

/* --- what the status page shows of callers; caller NULL: none was recognised -------------- */

struct rules_refusal {
    int64_t at_s; /* wall clock; 0: nothing was refused yet */
    enum rules_outcome outcome;
    enum request_class class;
    enum caller_unknown why; /* if nobody was recognised */
    bool by_deny;            /* an entry of deny matched */
    size_t operation;        /* operation.number */
};

/* Records the last refusal, also one that would have been; sets at_s. Thread: any. */
void rules_note_refusal(const struct rules *r, const struct caller *caller,
                        const struct rules_refusal *refusal);
struct rules_refusal rules_last_refusal(const struct rules *r, const struct caller *caller);

/* Whether this caller is only observed: what it may not do is reported, not refused. */
bool rules_observes(const struct rules *r, const struct caller *caller);
/* How many callers are only observed; unrecognised ones count as one. */
size_t rules_observing(const struct rules *r);
/* Records that an observed caller used this operation. Thread: any. */
void rules_note_seen(const struct rules *r, const struct caller *caller,
                     const struct operation *o);
/* Whether it used that pattern; or an operation of that class that has no pattern. */
bool rules_has_seen(const struct rules *r, const struct caller *caller, size_t number);
bool rules_has_seen_class(const struct rules *r, const struct caller *caller,
                          enum request_class class);

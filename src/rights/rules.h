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
    DECISION_LIMITED,
    DECISION_FROZEN,
    DECISION_WOULD_DENY,  /* it went on, since its caller is only observed */
    DECISION_WOULD_LIMIT, /* likewise */
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
    bool
        observe_unknown; /* callers.mode: who is not recognised goes on, and that is reported */
    uint64_t
        number; /* no two have the same: what was found out by one does not hold for another */
    struct callers callers;
    struct caller_secrets *secrets; /* as they were when the settings were read; NULL: none */
    struct caller_counts *nobody;   /* counts of requests that no caller was recognised for */
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

/* What a request asks for, by classes_find. Thread: any. */
void rules_operation(const struct rules *p, const struct class_request *r,
                     struct operation *out);

/* Whether a request may be sent again that went out on a pooled connection which turned out to
 * be dead: what only looks, and OPTIONS; a built-in simulate operation where the settings say so. A
 * GET that signs may not: nobody knows what became of the first. */
bool rules_may_resend(const struct rules *p, const struct class_request *r,
                      const struct operation *o);

/* What is decided about a request, as far as caller and rights go. */
struct rules_decision {
    enum rules_outcome outcome;    /* DECISION_ALLOWED, _DENIED or _WOULD_DENY */
    struct caller_recognised who;  /* as it was given */
    struct rights_decision rights; /* of the caller, where one was recognised */
};

/* Decides. Pure: whoever asks with the same gets the same. Thread: any. */
struct rules_decision rules_decide(const struct rules *r, const struct caller_recognised *who,
                                   const char *method, const struct operation *o);

/* By what it was, or would be, refused, for the log: an entry of deny, "no allow", or why nobody
 * was recognised. NULL: it was not. Not a copy; *len is how long it is. */
const char *rules_rule(const struct rules_decision *v, size_t *len);

/* A sentence for the one that is refused, which says what is missing or what to add. */
void rules_describe(char *out, size_t size, const struct rules_decision *v,
                    const struct operation *o);

/* Counts one request. caller NULL: nobody. Thread: any. */
void rules_count(const struct rules *r, const struct caller *caller, enum request_class class,
                 enum rules_outcome outcome);

/* --- what the status page shows of callers; caller NULL: nobody ---------------------------- */

struct rules_refusal {
    int64_t at_s; /* wall clock; 0: nothing was refused yet */
    enum rules_outcome outcome;
    enum request_class class;
    enum caller_unknown why; /* where nobody was recognised */
    bool by_deny;            /* an entry of deny matched */
    size_t operation;        /* operation.number */
};

/* Remembers what was refused last, or would have been; at_s is put in. Thread: any. */
void rules_note_refusal(const struct rules *r, const struct caller *caller,
                        const struct rules_refusal *refusal);
struct rules_refusal rules_last_refusal(const struct rules *r, const struct caller *caller);

/* Whether what that caller may not do is only reported. */
bool rules_observes(const struct rules *r, const struct caller *caller);
/* How many callers that is so for, those that nobody recognised counting as one. */
size_t rules_observing(const struct rules *r);
/* Remembers that an observed caller asked for this. Thread: any. */
void rules_note_seen(const struct rules *r, const struct caller *caller,
                     const struct operation *o);
/* What it asked for: whether that pattern, or something of that class that has no pattern. */
bool rules_has_seen(const struct rules *r, const struct caller *caller, size_t number);
bool rules_has_seen_class(const struct rules *r, const struct caller *caller,
                          enum request_class class);

#pragma once
/* What the settings say about requests, made ready for the request path: which class each
 * belongs to, and which of them the freeze file stops. Made with the settings and never changed, so that any thread may read it. */
#include "rights/classes.h"

/* What became of a request, in the words of the log and of the metrics. */
enum rules_outcome {
    DECISION_NONE, /* there is nothing to decide */
    DECISION_ALLOWED,
    DECISION_FROZEN,
    DECISION_COUNT
};
/* "allowed" ...; NULL for DECISION_NONE. */
const char *rules_outcome_name(enum rules_outcome o);

struct rules {
    struct classes classes;
    bool repeat_simulate;
    unsigned frozen_classes; /* bits 1 << class that freeze.file stops; 0: there is none */
};

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

/* Takes NULL. */
void rules_free(struct rules *p);

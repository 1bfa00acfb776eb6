/* What the settings say about requests; see rules.h. */
#include "rights/rules.h"

#include <stdlib.h>
#include <string.h>

const char *rules_outcome_name(enum rules_outcome o)
{
    static const char *const names[DECISION_COUNT] = {
        [DECISION_ALLOWED] = "allowed", [DECISION_FROZEN] = "frozen"
    };

    assert((unsigned)o < DECISION_COUNT);
    return names[o];
}

struct operation rules_operation(const struct rules *p, const struct rules_request *r)
{
    return classes_find(&p->classes, &(struct class_request){ .method = r->method,
                                                              .api_path = r->api_path,
                                                              .overridden = r->overridden });
}

bool rules_may_resend(const struct rules *p, const struct rules_request *r,
                      const struct operation *o)
{
    if (strcmp(r->method, "OPTIONS") == 0)
        return true;
    if (strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0)
        return o->class == CLASS_READ;
    return p->repeat_simulate && o->class == CLASS_SIMULATE && o->is_builtin;
}

void rules_free(struct rules *p)
{
    if (p == NULL)
        return;
    free(p->classes.added);
    free(p);
}

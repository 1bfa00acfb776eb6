/* Lists of rights; see rights.h. */
#include "rights/rights.h"

#include <stdlib.h>
#include <string.h>

const char *rights_list_add(struct rights_list *l, const char *text, size_t len)
{
    enum request_class class = class_of_name(text, len);

    if (class != CLASS_COUNT) {
        l->classes |= 1U << class;
        return NULL;
    }
    if (len == 3 && memcmp(text, "all", 3) == 0) {
        l->classes = RIGHTS_ALL;
        return NULL;
    }
    if (memchr(text, ' ', len) == NULL && (len == 0 || text[0] != '/'))
        return "is neither a class (read, simulate, create, change, sign, money, unknown, all) "
               "nor METHOD /path";
    if (l->count == RIGHTS_PATTERNS_MAX)
        return "is one pattern too many: 64 are the most";
    if (l->pattern == NULL)
        l->pattern = base_alloc(RIGHTS_PATTERNS_MAX * sizeof *l->pattern);
    const char *wrong = pattern_parse(&l->pattern[l->count], text, len);

    l->count += wrong == NULL;
    return wrong;
}

void rights_list_done(struct rights_list *l)
{
    free(l->pattern);
    *l = (struct rights_list){ 0 };
}

/* The entry of the list that the request matches. */
static bool find(const struct rights_list *l, const char *method, const struct operation *o,
                 struct rights_decision *d)
{
    if ((l->classes & 1U << o->class) != 0) {
        d->entry = class_name(o->class);
        d->entry_len = strlen(d->entry);
        return true;
    }
    for (size_t i = 0; i < l->count; i++)
        if (pattern_matches(&l->pattern[i], method, &o->shape)) {
            d->entry = l->pattern[i].text;
            d->entry_len = l->pattern[i].text_len;
            return true;
        }
    return false;
}

struct rights_decision rights_decide(const struct rights *r, const char *method,
                                     const struct operation *o)
{
    struct rights_decision d = { .rule = RIGHTS_NOT_ALLOWED };

    if (find(&r->deny, method, o, &d))
        d.rule = RIGHTS_DENIED;
    else if (find(&r->allow, method, o, &d))
        d.rule = RIGHTS_ALLOWED;
    return d;
}

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

    if (wrong == NULL) {
        pattern_index_add(&l->index, &l->pattern[l->count], l->count);
        l->count++;
    }
    return wrong;
}

void rights_list_done(struct rights_list *l)
{
    free(l->pattern);
    pattern_index_done(&l->index);
    *l = (struct rights_list){ 0 };
}

/* A pattern in the list that matches the request; NULL: none. */
static const struct pattern *find_pattern(const struct rights_list *l, const char *method,
                                          const struct path_shape *shape)
{
    struct pattern_search search = { .form = 0 };
    size_t i;

    while ((i = pattern_index_next(&l->index, shape, &search)) != PATTERN_INDEX_END)
        if (pattern_matches(&l->pattern[i], method, shape))
            return &l->pattern[i];
    return NULL;
}

/* Whether an entry of the list matches the request. */
static bool find(const struct rights_list *l, const char *method, const struct operation *o,
                 struct rights_decision *d)
{
    if ((l->classes & 1U << o->class) != 0) {
        d->entry = class_name(o->class);
        d->entry_len = strlen(d->entry);
        return true;
    }
    const struct pattern *p = l->count == 0 ? NULL : find_pattern(l, method, &o->shape);

    if (p == NULL)
        return false;
    d->entry = p->text;
    d->entry_len = p->text_len;
    return true;
}

struct rights_decision rights_decide(const struct rights *r, const char *method,
                                     const struct operation *o)
{
    struct rights_decision d = { .rule = RIGHTS_NOT_ALLOWED };

    if ((r->deny.classes != 0 || r->deny.count > 0) && find(&r->deny, method, o, &d))
        d.rule = RIGHTS_DENIED;
    else if (find(&r->allow, method, o, &d))
        d.rule = RIGHTS_ALLOWED;
    return d;
}

/* What the settings say about requests; see rules.h. */
#include "rights/rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *rules_outcome_name(enum rules_outcome o)
{
    static const char *const names[DECISION_COUNT] = { [DECISION_ALLOWED] = "allowed",
                                                       [DECISION_DENIED] = "denied",
                                                       [DECISION_FROZEN] = "frozen" };

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

static struct caller_counts *counts_new(void)
{
    struct caller_counts *c = base_alloc(sizeof *c);

    atomic_init(&c->refs, 1);
    return c;
}

static void counts_unref(struct caller_counts *c)
{
    if (c != NULL && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
        free(c);
}

static void counts_share(struct caller_counts **to, struct caller_counts *from)
{
    (void)atomic_fetch_add_explicit(&from->refs, 1, memory_order_relaxed);
    counts_unref(*to);
    *to = from;
}

struct rules *rules_new(void)
{
    static _Atomic uint64_t last;
    struct rules *r = base_alloc(sizeof *r);

    r->number = atomic_fetch_add(&last, 1) + 1;
    r->nobody = counts_new();
    return r;
}

struct caller *rules_add_caller(struct rules *r, const char *name)
{
    assert(r->callers.count < CALLERS_MAX);
    struct caller *c = &r->callers.caller[r->callers.count++];

    *c = (struct caller){ .name = name,
                          .is_other = strcmp(name, "other") == 0,
                          .uid = -1,
                          .gid = -1,
                          .counts = counts_new() };
    r->has_callers = true;
    return c;
}

void rules_keep_counts(struct rules *r, const struct rules *from)
{
    if (r == NULL || from == NULL)
        return;
    counts_share(&r->nobody, from->nobody);
    for (size_t i = 0; i < r->callers.count; i++)
        for (size_t j = 0; j < from->callers.count; j++)
            if (strcmp(r->callers.caller[i].name, from->callers.caller[j].name) == 0)
                counts_share(&r->callers.caller[i].counts, from->callers.caller[j].counts);
}

void rules_free(struct rules *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->callers.count; i++) {
        struct caller *c = &r->callers.caller[i];

        rights_list_done(&c->rights.allow);
        rights_list_done(&c->rights.deny);
        free((void *)(uintptr_t)c->uri.item);
        free((void *)(uintptr_t)c->dns.item);
        free((void *)(uintptr_t)c->subject.item);
        counts_unref(c->counts);
    }
    counts_unref(r->nobody);
    free(r->classes.added);
    free(r);
}

void rules_say_unknown(char *out, size_t size, enum caller_unknown why)
{
    static const char *const sentences[] = {
        [CALLER_KNOWN] = "",
        [CALLER_NO_PROOF] =
            "Nothing that this request shows fits a [caller ...] section: neither "
            "the address it came by, nor its user, nor its certificate.",
        [CALLER_WRONG_ADDRESS] =
            "The address that it came by belongs to one caller, and this is "
            "not that caller.",
        [CALLER_BAD_SECRET] = "The secret that it shows is no caller's.",
        [CALLER_SECRET_TWICE] = "It shows two secrets.",
        [CALLER_SEVERAL] =
            "More than one [caller ...] section fits this request; the log names "
            "them.",
    };

    (void)snprintf(out, size, "%s", sentences[why]);
}

void rules_say_refused(char *out, size_t size, const struct caller *c,
                       const struct operation *o, const struct rights_decision *d)
{
    if (d->rule == RIGHTS_DENIED)
        (void)snprintf(out, size,
                       "%s may not %.*s (%s): the entry `%.*s` of deny in [caller %s] matches.",
                       c->name, (int)o->text_len, o->text, class_name(o->class),
                       (int)d->entry_len, d->entry, c->name);
    else if (o->class == CLASS_UNKNOWN)
        (void)snprintf(out, size,
                       "%s may not make this request: it is no operation that the proxy knows. "
                       "If the API has it, add its pattern to [classes] and to allow in "
                       "[caller %s].",
                       c->name, c->name);
    else
        (void)snprintf(out, size,
                       "%s may not %.*s (%s): no allow entry matches. To permit it add that "
                       "text to allow in [caller %s].",
                       c->name, (int)o->text_len, o->text, class_name(o->class), c->name);
}

void rules_count(const struct rules *r, const struct caller *caller, enum request_class class,
                 enum rules_outcome outcome)
{
    struct caller_counts *c = caller != NULL ? caller->counts : r->nobody;

    (void)atomic_fetch_add_explicit(&c->requests[class][outcome], 1, memory_order_relaxed);
}

/* The rules for requests; see rules.h. */
#include "rights/rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

const char *rules_outcome_name(enum rules_outcome o)
{
    static const char *const names[DECISION_COUNT] = {
        [DECISION_ALLOWED] = "allowed",       [DECISION_DENIED] = "denied",
        [DECISION_LIMITED] = "limited",       [DECISION_FROZEN] = "frozen",
        [DECISION_WOULD_DENY] = "would-deny", [DECISION_WOULD_LIMIT] = "would-limit"
    };

    assert((unsigned)o < DECISION_COUNT);
    return names[o];
}

void rules_operation(const struct rules *p, const struct class_request *r,
                     struct operation *out)
{
    classes_find(&p->classes, r, out);
}

bool rules_may_resend(const struct rules *p, const struct class_request *r,
                      const struct operation *o)
{
    switch (r->method[0]) {
    case 'G':
        return o->class == CLASS_READ && strcmp(r->method, "GET") == 0;
    case 'H':
        return o->class == CLASS_READ && strcmp(r->method, "HEAD") == 0;
    case 'O':
        return strcmp(r->method, "OPTIONS") == 0;
    default:
        return p->repeat_simulate && o->class == CLASS_SIMULATE && o->is_builtin;
    }
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

static bool same_added(const struct classes *a, const struct classes *b)
{
    if (a->added_count != b->added_count)
        return false;
    for (size_t i = 0; i < a->added_count; i++) {
        const struct pattern *p = &a->added[i].pattern, *q = &b->added[i].pattern;

        if (p->text_len != q->text_len || memcmp(p->text, q->text, p->text_len) != 0)
            return false;
    }
    return true;
}

/* Clears what was recorded by operation numbers that mean something else now, or must not be
 * recorded any more. */
static void forget(struct caller_counts *c, bool observe, bool same_numbers)
{
    if (!same_numbers)
        atomic_store_explicit(&c->refusal, 0, memory_order_relaxed);
    if (observe && same_numbers)
        return;
    for (size_t i = 0; i < CALLER_SEEN_WORDS; i++)
        atomic_store_explicit(&c->seen[i], 0, memory_order_relaxed);
    atomic_store_explicit(&c->seen_classes, 0, memory_order_relaxed);
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
    bool same = same_added(&r->classes, &from->classes);

    forget(r->nobody, r->observe_unknown, same);
    for (size_t i = 0; i < r->callers.count; i++)
        forget(r->callers.caller[i].counts, r->callers.caller[i].observe, same);
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
    caller_secrets_unref(r->secrets);
    classes_done(&r->classes);
    free(r);
}

struct rules_decision rules_decide(const struct rules *r, const struct caller_recognised *who,
                                   const char *method, const struct operation *o)
{
    struct rules_decision v = { .outcome = DECISION_ALLOWED, .who = *who };

    if (who->caller != NULL)
        v.rights = rights_decide(&who->caller->rights, method, o);
    if (who->caller == NULL || v.rights.rule != RIGHTS_ALLOWED)
        v.outcome = rules_observes(r, who->caller) ? DECISION_WOULD_DENY : DECISION_DENIED;
    return v;
}

const char *rules_rule(const struct rules_decision *v, size_t *len)
{
    const char *rule = "no allow";

    *len = 0;
    if (v->outcome == DECISION_ALLOWED)
        return NULL;
    if (v->who.caller == NULL)
        rule = caller_unknown_name(v->who.why);
    else if (v->rights.rule == RIGHTS_DENIED) {
        *len = v->rights.entry_len;
        return v->rights.entry;
    }
    *len = strlen(rule);
    return rule;
}

static void say_unknown(char *out, size_t size, enum caller_unknown why)
{
    static const char *const sentences[] = {
        [CALLER_KNOWN] = "",
        [CALLER_NO_PROOF] =
            "Nothing that this request shows fits a [caller ...] section: neither "
            "the address it came by, nor its user, its certificate or a secret.",
        [CALLER_WRONG_ADDRESS] =
            "The address that it came by belongs to one caller, and this is "
            "not that caller.",
        [CALLER_BAD_SECRET] = "The secret in its header field (callers.header) is that of no "
                              "caller that it could be.",
        [CALLER_SECRET_TWICE] =
            "The header field with its secret (callers.header) came more than once.",
        [CALLER_SEVERAL] =
            "More than one [caller ...] section fits this request; the log names "
            "them.",
    };

    (void)snprintf(out, size, "%s", sentences[why]);
}

static void say_refused(char *out, size_t size, const struct caller *c,
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

void rules_describe(char *out, size_t size, const struct rules_decision *v,
                    const struct operation *o)
{
    if (v->who.caller == NULL)
        say_unknown(out, size, v->who.why);
    else
        say_refused(out, size, v->who.caller, o, &v->rights);
}

static struct caller_counts *counts_of(const struct rules *r, const struct caller *caller)
{
    return caller != NULL ? caller->counts : r->nobody;
}

void rules_count(const struct rules *r, const struct caller *caller, enum request_class class,
                 enum rules_outcome outcome)
{
    struct caller_counts *c = counts_of(r, caller);

    (void)atomic_fetch_add_explicit(&c->requests[class][outcome], 1, memory_order_relaxed);
}

/* How a refusal is packed: time, outcome, class, why, by_deny and operation, from the
 * highest bits down, so that all of it is read and written at once. */
enum { AT_SHIFT = 32, OUTCOME_SHIFT = 28, CLASS_SHIFT = 24, WHY_SHIFT = 20, DENY_SHIFT = 16 };
#define FOUR_BITS 0xfU
#define NO_OPERATION 0xffffU

void rules_note_refusal(const struct rules *r, const struct caller *caller,
                        const struct rules_refusal *refusal)
{
    size_t operation =
        refusal->operation < NO_OPERATION ? refusal->operation : (size_t)NO_OPERATION;

    atomic_store_explicit(
        &counts_of(r, caller)->refusal,
        (uint64_t)clock_wall_s() << AT_SHIFT | (uint64_t)refusal->outcome << OUTCOME_SHIFT |
            (uint64_t)refusal->class << CLASS_SHIFT | (uint64_t)refusal->why << WHY_SHIFT |
            (uint64_t)refusal->by_deny << DENY_SHIFT | operation,
        memory_order_relaxed);
}

struct rules_refusal rules_last_refusal(const struct rules *r, const struct caller *caller)
{
    uint64_t packed =
        atomic_load_explicit(&counts_of(r, caller)->refusal, memory_order_relaxed);
    size_t operation = packed & NO_OPERATION;

    return (struct rules_refusal){
        .at_s = (int64_t)(packed >> AT_SHIFT),
        .outcome = (enum rules_outcome)(packed >> OUTCOME_SHIFT & FOUR_BITS),
        .class = (enum request_class)(packed >> CLASS_SHIFT & FOUR_BITS),
        .why = (enum caller_unknown)(packed >> WHY_SHIFT & FOUR_BITS),
        .by_deny = (packed >> DENY_SHIFT & 1) != 0,
        .operation = operation == NO_OPERATION ? CLASSES_NO_PATTERN : operation
    };
}

bool rules_observes(const struct rules *r, const struct caller *caller)
{
    return caller != NULL ? caller->observe : r->observe_unknown;
}

size_t rules_observing(const struct rules *r)
{
    size_t n = r->observe_unknown;

    for (size_t i = 0; i < r->callers.count; i++)
        n += r->callers.caller[i].observe;
    return n;
}

/* Usually the bit is set already: reading is cheaper than a write, for which all threads
 * wait. */
static void set_bit(_Atomic uint64_t *word, uint64_t bit)
{
    if ((atomic_load_explicit(word, memory_order_relaxed) & bit) == 0)
        (void)atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
}

void rules_note_seen(const struct rules *r, const struct caller *caller,
                     const struct operation *o)
{
    struct caller_counts *c = counts_of(r, caller);

    if (o->number < (size_t)CALLER_SEEN_WORDS * 64)
        set_bit(&c->seen[o->number / 64], (uint64_t)1 << o->number % 64);
    else
        set_bit(&c->seen_classes, (uint64_t)1 << o->class);
}

bool rules_has_seen(const struct rules *r, const struct caller *caller, size_t number)
{
    const struct caller_counts *c = counts_of(r, caller);

    return number < (size_t)CALLER_SEEN_WORDS * 64 &&
           (atomic_load_explicit(&c->seen[number / 64], memory_order_relaxed) >> number % 64 &
            1) != 0;
}

bool rules_has_seen_class(const struct rules *r, const struct caller *caller,
                          enum request_class class)
{
    return (atomic_load_explicit(&counts_of(r, caller)->seen_classes, memory_order_relaxed) >>
                class
            & 1) != 0;
}

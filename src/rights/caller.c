/* Finds out which caller a request is from; see caller.h. */
#include "rights/caller.h"

#include <string.h>

static bool holds(const struct caller_names *wanted, const char *name)
{
    for (size_t i = 0; i < wanted->count; i++)
        if (strcmp(wanted->item[i], name) == 0)
            return true;
    return false;
}

const char *caller_unknown_name(enum caller_unknown why)
{
    static const char *const names[] = { [CALLER_KNOWN] = "known",
                                         [CALLER_NO_PROOF] = "no proof",
                                         [CALLER_WRONG_ADDRESS] = "address of another",
                                         [CALLER_BAD_SECRET] = "bad secret",
                                         [CALLER_SECRET_TWICE] = "secret twice",
                                         [CALLER_SEVERAL] = "several fit" };

    return names[why];
}

/* Any name of the certificate may match. Exception: with several URIs in it none counts,
 * since it is not clear which is meant (a SPIFFE certificate has exactly one). */
static bool certificate_fits(const struct caller *c, const struct caller_facts *f)
{
    if (f->uri.count == 1 && holds(&c->uri, f->uri.item[0]))
        return true;
    for (size_t i = 0; i < f->dns.count; i++)
        if (holds(&c->dns, f->dns.item[i]))
            return true;
    return f->subject != NULL && holds(&c->subject, f->subject);
}

static bool connection_fits(const struct caller *c, const struct caller_facts *f)
{
    bool by_certificate = c->uri.count + c->dns.count + c->subject.count > 0;

    return (c->listeners == 0 || (c->listeners & f->listener) != 0) &&
           (c->uid < 0 || c->uid == f->uid) && (c->gid < 0 || c->gid == f->gid) &&
           (!by_certificate || certificate_fits(c, f));
}

uint32_t callers_of_connection(const struct callers *all, const struct caller_facts *f)
{
    uint32_t fit = 0;

    for (size_t i = 0; i < all->count; i++)
        if (!all->caller[i].is_other && connection_fits(&all->caller[i], f))
            fit |= (uint32_t)1 << i;
    return fit;
}

static const struct caller *find_other(const struct callers *all)
{
    for (size_t i = 0; i < all->count; i++)
        if (all->caller[i].is_other)
            return &all->caller[i];
    return NULL;
}

struct caller_recognised callers_recognise(const struct callers *all, uint32_t candidates,
                                           const struct caller_facts *f,
                                           const struct caller_proofs *p)
{
    struct caller_recognised r = { .why = CALLER_NO_PROOF };
    uint32_t shown = 0; /* callers whose secret is in callers.header */
    bool by_own_address = (all->owned & f->listener) != 0;

    if (p->header_twice) {
        r.why = CALLER_SECRET_TWICE;
        return r;
    }
    if (p->header != NULL)
        shown = caller_secrets_find(p->secrets, candidates, p->header, p->header_len);
    r.fit = shown | (candidates & ~all->with_secret);
    if (p->bearer != NULL && (candidates & all->with_secret) != 0)
        r.fit |= caller_secrets_find(p->secrets, candidates, p->bearer, p->bearer_len);
    if (p->header != NULL && shown == 0) {
        r.why = CALLER_BAD_SECRET;
        return r;
    }
    if (r.fit == 0) {
        if (by_own_address)
            r.why = CALLER_WRONG_ADDRESS;
        else
            r.caller = find_other(all);
        if (r.caller != NULL)
            r.why = CALLER_KNOWN;
        return r;
    }
    if ((r.fit & (r.fit - 1)) != 0) {
        r.why = CALLER_SEVERAL;
        return r;
    }
    const struct caller *only = &all->caller[__builtin_ctz(r.fit)];

    if (by_own_address && (only->listeners & f->listener) == 0) {
        r.why = CALLER_WRONG_ADDRESS;
        return r;
    }
    r.caller = only;
    r.why = CALLER_KNOWN;
    return r;
}

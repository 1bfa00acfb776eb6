/* Decides about a request by its head; see decision.h. */
#include "proxy/decision.h"

#include <string.h>

#include "base/ascii.h"
#include "http/access.h"
#include "http/override.h"

int64_t decision_max_forwards(const struct header_field *f)
{
    return header_is(f, "max-forwards") ? ascii_number(f->value, f->value_len) : -1;
}

/* Whether an OPTIONS must not be forwarded (RFC 9110 section 7.6.2). */
static bool is_for_proxy(const struct decision_head *h)
{
    for (size_t i = 0; i < h->count; i++)
        if (decision_max_forwards(&h->fields[i]) == 0)
            return true;
    return false;
}

static struct failure refused(enum failure_kind kind, const char *why)
{
    return failure_make(kind, "%s.", why);
}

struct route decision_route(const struct decision_head *h, struct failure *failure)
{
    struct route route = { .kind = ROUTE_REFUSED };

    if (h->check.kind != FAIL_NONE) {
        *failure = refused(h->check.kind, h->check.why);
        return route;
    }
    if (strcmp(h->method, "HEAD") == 0 && h->check.body_bytes != 0) {
        *failure = refused(FAIL_BAD_REQUEST, "A HEAD request has no body here");
        return route;
    }
    route = route_find(h->config, h->method, h->target);
    if (route.kind == ROUTE_REFUSED) {
        *failure = refused(route.failure, route.why);
        return route;
    }
    *failure = access_check(&(struct access_check){ .config = h->config,
                                                    .fields = h->fields,
                                                    .count = h->count,
                                                    .absolute_form = route.absolute });
    if (failure->kind == FAIL_NONE && header_via_is_ours(h->fields, h->count))
        *failure = refused(FAIL_LOOP, "upstream.base_url leads back to this proxy");
    if (failure->kind == FAIL_NONE && route.kind == ROUTE_FORWARD &&
        strcmp(h->method, "OPTIONS") == 0 && is_for_proxy(h))
        route.kind = ROUTE_OPTIONS;
    return route;
}

/* The token of `Bearer TOKEN` (RFC 6750 section 2.1). */
static void take_bearer(struct caller_proofs *p, const struct header_field *f)
{
    static const char scheme[] = "bearer ";
    const char *value = f->value;
    size_t len = f->value_len;

    ascii_trim(&value, &len);
    if (len < sizeof scheme - 1 || (memcmp(value, "Bearer ", sizeof scheme - 1) != 0 &&
                                    !ascii_equal_str(value, sizeof scheme - 1, scheme)))
        return;
    value += sizeof scheme - 1;
    len -= sizeof scheme - 1;
    ascii_trim(&value, &len);
    p->bearer = value;
    p->bearer_len = len;
}

/* Nearly everybody writes a name in the same case, which is compared first. */
static inline bool name_is(const struct header_field *f, const char *name, size_t len)
{
    return f->name_len == len &&
           (memcmp(f->name, name, len) == 0 || ascii_equal(f->name, len, name, len));
}

struct caller_proofs decision_proofs(const struct decision_head *h)
{
    struct caller_proofs p = { .header = NULL };
    const char *name = h->config->callers.header;
    size_t name_len = strlen(name), authorizations = 0;

    for (const struct header_field *f = h->fields, *end = f + h->count; f < end; f++) {
        if (name_is(f, name, name_len)) {
            p.header_twice |= p.header != NULL;
            p.header = f->value;
            p.header_len = f->value_len;
            ascii_trim(&p.header, &p.header_len);
        } else if (name_is(f, "Authorization", sizeof "Authorization" - 1) &&
                   authorizations++ == 0) {
            take_bearer(&p, f);
        }
    }
    if (authorizations > 1) /* it is not clear which of them counts */
        p.bearer = NULL;
    return p;
}

struct class_request decision_class_request(const struct decision_head *h,
                                            const struct route *route)
{
    const char *query = route->path + route->path_len;

    return (struct class_request){
        .method = h->method,
        .api_path = route->api_path,
        .api_path_len = (size_t)(query - route->api_path),
        .overridden =
            override_found(&(struct override_request){ .query = query + (*query == '?'),
                                                       .fields = h->fields,
                                                       .count = h->count,
                                                       .has_body = h->check.body_bytes != 0 }),
    };
}

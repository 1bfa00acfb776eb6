#pragma once
/* Decides about a request by its head, without a connection, a worker or a token: it is
 * refused, answered here, or an operation of the API. Pure. Used both by admission and by
 * `oneshot-proxy explain`, so that they cannot disagree. */
#include "base/failure.h"
#include "http/request_check.h"
#include "http/route.h"
#include "rights/rules.h"

/* A request's head, as received. */
struct decision_head {
    const struct config *config;
    const char *method, *target;
    const struct header_field *fields;
    size_t count;
    struct request_check_result check; /* the result of request_check */
};

/* Where it goes, by method, target, Host, Origin and everything else that can refuse it
 * whoever calls. Also ROUTE_OPTIONS if Max-Forwards is 0. `failure`: why it is refused; kind
 * FAIL_NONE: it is not. */
struct route decision_route(const struct decision_head *h, struct failure *failure);

/* The secrets in the request: the only value of callers.header, and the token of an
 * Authorization: Bearer. A field whose name is merely similar to callers.header (`_` for
 * `-`) does not count. */
struct caller_proofs decision_proofs(const struct decision_head *h);

/* The value of Max-Forwards; -1: not a number. */
int64_t decision_max_forwards(const struct header_field *f);

/* What the rules need to know about the request, which goes to that route. */
struct class_request decision_class_request(const struct decision_head *h,
                                            const struct route *route);

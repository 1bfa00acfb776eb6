#pragma once
/* What the head of a request comes to, as far as it can be said without a connection, a worker or
 * a token: refused as HTTP, answered here, or an operation of the API. Pure, and asked both by
 * admission and by `oneshot-proxy explain`, so that they cannot disagree. */
#include "base/failure.h"
#include "http/request_check.h"
#include "http/route.h"
#include "rights/rules.h"

/* A request's head, as it was received. */
struct decision_head {
    const struct config *config;
    const char *method, *target;
    const struct header_field *fields;
    size_t count;
    struct request_check_result check; /* what request_check said of it */
};

/* Where it goes, by method, target, Host, Origin and what else may refuse it whoever calls.
 * ROUTE_OPTIONS also where Max-Forwards has come to 0. Refused: `failure` says why, else its kind
 * is FAIL_NONE. */
struct route decision_route(const struct decision_head *h, struct failure *failure);

/* What it shows to prove who it is: the one value of callers.header, and that of an Authorization
 * with the scheme Bearer. A field that only looks like callers.header (`_` for `-`) shows
 * nothing. */
struct caller_proofs decision_proofs(const struct decision_head *h);

/* The value of Max-Forwards; -1: there is none that is a number. */
int64_t decision_max_forwards(const struct header_field *f);

/* What of it the rules of the settings look at; it goes to that route. */
struct class_request decision_class_request(const struct decision_head *h,
                                            const struct route *route);

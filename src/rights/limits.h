#pragma once
/* What a caller may use up: requests of a class per time (`rate`), and requests in progress
 * at the same time (`max_in_flight`). For the whole process there is one bucket for each
 * caller and class, and one count for each caller; any thread may use them without a lock.
 * Requests are never delayed: those above a limit are refused. */
#include "rights/rules.h"

/* The limit that refuses a request, as reported to the caller (RateLimit and
 * RateLimit-Policy, draft-ietf-httpapi-ratelimit-headers). */
struct limits_refusal {
    const char *name; /* of the limit, without the caller's name: "money", "in-flight" */
    int64_t quota;
    int64_t window_s; /* time in which `quota` refills; 0: quota of concurrent requests */
    int64_t again_s;  /* seconds until another request is accepted, at least 1 */
};

/* A request of this caller begins. False: max_in_flight are in progress, and this one is not
 * counted. Otherwise call limits_leave once when the request ends. */
bool limits_enter(const struct caller *c, struct limits_refusal *why) MUST_CHECK;
void limits_leave(const struct caller *c);

/* Takes an admitted request from the bucket of its class; CLASS_UNKNOWN uses money's. False:
 * the bucket is empty, and nothing is taken. */
bool limits_charge(const struct caller *c, enum request_class class,
                   struct limits_refusal *why) MUST_CHECK;

/* For new settings that continue the counts of the old ones (rules_keep_counts): each bucket
 * keeps its level, but not more than its new size. Either may be NULL. Thread: control. */
void limits_take_over(const struct rules *now, const struct rules *was);

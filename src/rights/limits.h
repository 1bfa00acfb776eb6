#pragma once
/* What a caller may use up: requests of a class in a time (`rate`), and requests under way at one
 * time (`max_in_flight`). One bucket for each caller and class, and one count for each caller, in
 * the whole process; any thread, no lock. Nothing is delayed: what is above a limit is refused. */
#include "rights/rules.h"

/* The limit that refuses a request, as the caller is told of it (RateLimit and RateLimit-Policy,
 * draft-ietf-httpapi-ratelimit-headers). */
struct limits_refusal {
    const char *name; /* of the limit, behind the caller's name: "money", "in-flight" */
    int64_t quota;
    int64_t window_s; /* in which `quota` is refilled; 0: it is of requests at one time */
    int64_t again_s;  /* when one more will be let through, at least 1 */
};

/* A request of this caller begins. False: max_in_flight are under way, and this one is not
 * counted. Else limits_leave is to be called once, when it is over. */
bool limits_enter(const struct caller *c, struct limits_refusal *why) MUST_CHECK;
void limits_leave(const struct caller *c);

/* Charges a request that was admitted to the bucket of its class; CLASS_UNKNOWN is charged to
 * money's. False: the bucket is empty, and nothing is charged. */
bool limits_charge(const struct caller *c, enum request_class class,
                   struct limits_refusal *why) MUST_CHECK;

/* New settings are being put in force, and share the counts of the old ones (rules_keep_counts):
 * each bucket keeps its level, cut to its new size. Either may be NULL. Thread: control. */
void limits_take_over(const struct rules *now, const struct rules *was);

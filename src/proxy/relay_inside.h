#pragma once
/* What the parts of relay share: relay.c (its phases), relay_head.c, relay_deadline.c,
 * relay_report.c, relay_pool.c. */
#include "proxy/relay.h"

/* What the exchange with the upstream tells. */
extern const struct exchange_user relay_exchange_user;

/* The only place where the phase changes; asserts that the step is one of the picture's. */
void relay_enter(struct relay *r, enum relay_phase phase);
/* To the upstream when there is a token; else parked until there is one, or failed when none is
 * to come. */
void relay_begin(struct relay *r);
/* relay_fail with a sentence (without its stop), which must last. */
void relay_fail_for(struct relay *r, enum failure_kind kind, const char *why);
/* Leaves the list of those that wait for a token, if it is on it. */
void relay_unpark(struct relay *r);
/* A held 401 goes to the caller after all. */
void relay_release(struct relay *r);
/* The caller's own token call. */
void relay_answer_locally(struct relay *r);
/* The rest of the body does not come, for this reason. */
void relay_body_ends_early(struct relay *r, const struct failure *f);

/* Sees to it that the timer fires in time for what is waited for now. */
void relay_arm(struct relay *r);
void relay_on_timer(struct loop_timer *t);

/* Counts and logs it; before anything of it is given back. */
void relay_report(struct relay *r);

#pragma once
/* The orderly end: who is told what, and when. The states are drawn in drain.c. Thread:
 * control. */
#include "base/base.h"
#include "config/config.h"
#include "event/loop.h"

struct worker;

enum drain_state {
    DRAIN_NOT,     /* serving */
    DRAIN_DELAY,   /* no longer ready, still accepting */
    DRAIN_CLOSED,  /* accepts nothing, finishes running requests */
    DRAIN_GIVE_UP, /* requests that still wait are told so */
    DRAIN_OVER
};

struct drain {
    struct loop *loop; /* stopped when the end is reached */
    struct worker *workers;
    unsigned count, finished;
    enum drain_state state;
    struct loop_timer timer;
    int64_t end_ms, give_up_ms;
    bool hurried; /* a second signal ended it */
};

void drain_init(struct drain *d, struct loop *l);
void drain_done(struct drain *d);

/* Sets the workers to end, once they exist. */
void drain_workers(struct drain *d, struct worker *workers, unsigned count);

/* A signal to end. The first begins, with process.drain_delay and drain_timeout from c; the
 * second ends at once. */
void drain_signal(struct drain *d, const struct config *c);

/* A worker has no requests left. */
void drain_on_finished(struct drain *d);

/* Whether it has begun, for readiness. */
static inline bool drain_begun(const struct drain *d)
{
    return d->state != DRAIN_NOT;
}

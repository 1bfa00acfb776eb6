/* Ends the program in order, beginning with the signal.
 *
 *   NOT --SIGTERM--> DELAY --drain_delay--> CLOSED --just before drain_timeout--> GIVE_UP
 *                                             |                                      |
 *                           no request is left|        no request is left, or the    |
 *                                             |        whole drain_timeout is over   |
 *                                             +--------------> OVER <----------------+
 *
 * A second signal leads to OVER at once, from any state.
 *
 * DELAY: not ready, and every answer has `Connection: close`, so that load balancers and
 * callers go away by themselves. CLOSED: no connections are accepted. GIVE_UP: callers that
 * still wait are told what is known about their request, since a cut connection would not
 * say whether it was sent. */
#include "server/drain.h"

#include "base/log.h"
#include "server/worker.h"

/* How long before drain_timeout it gives up: enough to write an answer. */
#define GIVE_UP_MS 250

static void over(struct drain *d)
{
    d->state = DRAIN_OVER;
    loop_timer_clear(d->loop, &d->timer);
    for (unsigned i = 0; i < d->count; i++)
        worker_send_stop(&d->workers[i]);
    loop_stop(d->loop);
}

static void step(struct drain *d, enum drain_state next, void (*order)(struct worker *),
                 int64_t due_ms)
{
    d->state = next;
    for (unsigned i = 0; i < d->count; i++)
        order(&d->workers[i]);
    loop_timer_set(d->loop, &d->timer, due_ms);
}

static void on_timer(struct loop_timer *t)
{
    struct drain *d = CONTAINER_OF(t, struct drain, timer);

    switch (d->state) {
    case DRAIN_DELAY:
        step(d, DRAIN_CLOSED, worker_send_close, d->end_ms - d->give_up_ms);
        break;
    case DRAIN_CLOSED:
        log_warn("drain_timeout",
                 log_str("detail", "requests were still running after process.drain_timeout"));
        step(d, DRAIN_GIVE_UP, worker_send_give_up, d->end_ms);
        break;
    default:
        over(d);
    }
}

void drain_init(struct drain *d, struct loop *l)
{
    *d = (struct drain){ .loop = l, .timer.on_due = on_timer };
}

void drain_done(struct drain *d)
{
    if (d->loop != NULL)
        loop_timer_clear(d->loop, &d->timer);
}

void drain_workers(struct drain *d, struct worker *workers, unsigned count)
{
    d->workers = workers;
    d->count = count;
}

void drain_signal(struct drain *d, const struct config *c)
{
    int64_t now_ms = loop_now(d->loop);

    if (d->state != DRAIN_NOT) {
        log_warn("drain_hurried", log_str("detail", "a second signal: leaving at once"));
        d->hurried = true;
        over(d);
        return;
    }
    log_info("draining", log_int("delay_ms", c->process.drain_delay_ms),
             log_int("timeout_ms", c->process.drain_timeout_ms));
    d->give_up_ms = base_min(GIVE_UP_MS, c->process.drain_timeout_ms / 4);
    d->end_ms = now_ms + c->process.drain_timeout_ms;
    step(d, DRAIN_DELAY, worker_send_drain,
         base_min(now_ms + c->process.drain_delay_ms, d->end_ms - d->give_up_ms));
}

void drain_on_finished(struct drain *d)
{
    if (++d->finished == d->count)
        over(d);
}

/* How long a relay waits, and for what. One timer, armed lazily: a request only writes fields,
 * and the timer looks at them when it fires. */
#include "proxy/relay_inside.h"

/* A request that waits this long gets a watch for its caller leaving. */
#define WATCH_AFTER_MS 500

struct deadline {
    int64_t ms;
    enum failure_kind kind;
    const char *why;
};

/* Whether a part of a head has come; a whole interim one does not count. */
static bool head_begun(const struct relay *r)
{
    return r->exchange.attempt.began && !r->exchange.head.complete;
}

/* What the relay waits for now, until when, and whose fault it is when that does not come. */
static struct deadline deadline_of(const struct relay *r)
{
    const struct config *c = r->config;
    struct deadline never = { .ms = INT64_MAX }, d = never;

    if (!r->begun || r->phase == RELAY_ENDED)
        return never;
    if (r->phase == RELAY_PARKED || r->phase == RELAY_HELD)
        d = (struct deadline){ r->parked_ms + c->token.wait_timeout_ms, FAIL_TOKEN_TIMEOUT,
                               "No token came within token.wait_timeout" };
    else if (r->phase == RELAY_SENDING && !r->exchange.wants_body && head_begun(r))
        d = (struct deadline){
            r->exchange.progress_ms + c->upstream.response_timeout_ms, FAIL_UPSTREAM_STALLED,
            "The head of the answer was not whole within upstream.response_timeout: outcome "
            "unknown"
        };
    else if (r->phase == RELAY_SENDING && !r->exchange.wants_body)
        d = (struct deadline){
            r->exchange.progress_ms + c->upstream.response_timeout_ms,
            FAIL_UPSTREAM_RESPONSE_TIMEOUT,
            "No answer began within upstream.response_timeout: outcome unknown"
        };
    else if (r->phase == RELAY_ANSWERING && !r->down_done && !r->exchange.wants_room &&
             !(relay_passes_body_on(r) && !r->up.ended && r->exchange.wants_body))
        d = (struct deadline){
            r->exchange.progress_ms + c->upstream.idle_timeout_ms, FAIL_UPSTREAM_STALLED,
            "Nothing more of the answer came within upstream.idle_timeout: outcome unknown"
        };
    else if (r->phase == RELAY_ANSWERING && r->down_done && !r->exchange.wants_body &&
             exchange_is_sending(&r->exchange))
        d = (struct deadline){ r->exchange.progress_ms + c->upstream.idle_timeout_ms,
                               FAIL_UPSTREAM_STALLED,
                               "The upstream takes no more of the request" };
    /* The caller is expected to read; nobody else looks after that. */
    if (r->sink->blocked_ms != 0 && r->sink->blocked_ms + c->listen.idle_timeout_ms < d.ms)
        d = (struct deadline){ r->sink->blocked_ms + c->listen.idle_timeout_ms, FAIL_NONE,
                               NULL };
    /* The caller is expected to send, unless we hold it back. */
    if (!r->up.ended && !r->up_lost && !r->sink->held &&
        r->up_ms + c->listen.body_timeout_ms < d.ms)
        d = (struct deadline){ r->up_ms + c->listen.body_timeout_ms, FAIL_BODY_TIMEOUT,
                               "No more of the body came within listen.body_timeout" };
    return d;
}

void relay_arm(struct relay *r)
{
    int64_t now_ms = loop_now(&r->ctx->loop);

    if (r->timer.slot == 0)
        loop_timer_set(&r->ctx->loop, &r->timer,
                       base_min(deadline_of(r).ms, now_ms + WATCH_AFTER_MS));
}

static void expire(struct relay *r, const struct deadline *d)
{
    if (d->kind == FAIL_NONE) {
        relay_on_caller_gone(r);
        return;
    }
    struct failure f = failure_make(d->kind, "%s.", d->why);

    if (d->kind == FAIL_BODY_TIMEOUT || d->kind == FAIL_BAD_REQUEST) {
        r->up_stuck = d->kind == FAIL_BAD_REQUEST;
        r->up_lost = true;
        relay_body_ends_early(r, &f);
    } else if (r->phase == RELAY_HELD) {
        relay_release(r);
    } else if (r->phase == RELAY_ANSWERING && r->down_done) {
        r->up.discard = true; /* its answer is whole, and stands */
        relay_wake(r);
    } else if (r->sink->given) {
        exchange_cancel(&r->exchange);
        relay_on_upstream_done(r, &f);
    } else {
        if (d->kind == FAIL_TOKEN_TIMEOUT)
            f.retry_after_s = 1;
        relay_fail(r, &f);
    }
}

/* Whether libmicrohttpd has stopped reading the body: it does, without a word, when the line of
 * a chunk's size does not fit into its buffer. Seen twice, since bytes may have come just now.
 */
static bool is_stuck(struct relay *r)
{
    bool unread = r->begun && !r->up.ended && !r->up_lost && r->sink->ops->has_unread(r->sink);
    bool again = unread && r->stuck_ms == r->up_ms;

    r->stuck_ms = unread ? r->up_ms : 0;
    return again;
}

void relay_on_timer(struct loop_timer *t)
{
    struct relay *r = CONTAINER_OF(t, struct relay, timer);
    struct context *ctx = r->ctx;
    int64_t now_ms = loop_now(&ctx->loop);
    struct deadline d = deadline_of(r);

    if (is_stuck(r))
        d = (struct deadline){ now_ms, FAIL_BAD_REQUEST,
                               "The line of a chunk's size is too long" };
    if (d.ms <= now_ms) {
        expire(r, &d);
        d = deadline_of(r);
    }
    if (r->phase == RELAY_ENDED)
        return;
    if (r->sink->ops->watch_close(r->sink))
        d.ms = now_ms;
    loop_timer_set(&ctx->loop, t,
                   base_max(now_ms + 10, base_min(d.ms, now_ms + WATCH_AFTER_MS)));
}

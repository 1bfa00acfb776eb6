/* One request on its way.
 *
 *   caller -> httpd -> downstream -> RELAY -> upstream -> wire -> 1Shot API
 *                                     |  \-> `up`, the body: window and replay buffer
 *                             the worker's token, or parked until mail brings one
 *
 *                    +------------- no token -------------+
 *                    |                                    v
 *   NEW --> (head judged) --> SENDING <--- token ------ PARKED --- wait_timeout ---+
 *    |            |            |   |                      ^                        |
 *    |   local token call   answer |401                   | token refused:         |
 *    |            |            |   v                      | repeat once            |
 *    |            v            |  HELD -- new token ------+--> SENDING             |
 *    |          LOCAL          v   |  none to come                                 |
 *    |            |        ANSWERING <--                                           |
 *    |            v            v                                                   v
 *    +--------> ENDED <--------+<--------------------------------------------- FAILED
 *
 * The libraries' callbacks only move bytes and set facts, then call relay_wake; step() looks
 * at the facts once the callbacks have returned and makes the one side go on when the other
 * has made room. A relay ends in relay_end, which libmicrohttpd's completion callback calls
 * for each request exactly once. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/problem.h"
#include "proxy/relay_inside.h"

/* What an answer that took longer counts for in the average. */
#define TYPICAL_US_MAX 100000

void relay_enter(struct relay *r, enum relay_phase phase)
{
    static const unsigned legal[] = {
        [RELAY_NEW] = 1U << RELAY_PARKED | 1U << RELAY_SENDING | 1U << RELAY_LOCAL |
                      1U << RELAY_FAILED | 1U << RELAY_ENDED,
        [RELAY_PARKED] = 1U << RELAY_SENDING | 1U << RELAY_FAILED | 1U << RELAY_ENDED,
        [RELAY_SENDING] =
            1U << RELAY_HELD | 1U << RELAY_ANSWERING | 1U << RELAY_FAILED | 1U << RELAY_ENDED,
        [RELAY_HELD] = 1U << RELAY_SENDING | 1U << RELAY_ANSWERING | 1U << RELAY_FAILED |
                       1U << RELAY_ENDED,
        [RELAY_ANSWERING] = 1U << RELAY_FAILED | 1U << RELAY_ENDED,
        [RELAY_LOCAL] = 1U << RELAY_FAILED | 1U << RELAY_ENDED,
        [RELAY_FAILED] = 1U << RELAY_FAILED | 1U << RELAY_ENDED,
        [RELAY_ENDED] = 0,
    };

    assert((legal[r->phase] & 1U << phase) != 0);
    r->phase = phase;
}

void relay_wake(struct relay *r)
{
    if (r->is_ready)
        return;
    r->is_ready = true;
    TAILQ_INSERT_TAIL(&r->ctx->ready, r, ready_link);
}

void relay_unpark(struct relay *r)
{
    if (r->phase != RELAY_PARKED && r->phase != RELAY_HELD)
        return;
    TAILQ_REMOVE(&r->ctx->parked, r, parked_link);
    if (r->parked_us >= 0)
        r->token_us = base_max(r->token_us, 0) + clock_us() - r->parked_us;
    r->parked_us = -1;
}

static void park(struct relay *r, enum relay_phase phase)
{
    relay_enter(r, phase);
    r->parked_ms = loop_now(&r->ctx->loop);
    r->parked_us = clock_us();
    TAILQ_INSERT_TAIL(&r->ctx->parked, r, parked_link);
    relay_arm(r);
}

void relay_fail(struct relay *r, const struct failure *f)
{
    relay_unpark(r);
    exchange_cancel(&r->exchange);
    relay_enter(r, RELAY_FAILED);
    r->failure = *f;
    r->sink->ops->reject(r->sink, f);
    if (failure_info(f->kind)->stage == STAGE_UPSTREAM)
        log_warn("upstream_failed", log_str("request_id", r->request_id),
                 log_str("error", failure_info(f->kind)->slug), log_str("detail", f->detail));
    relay_wake(r);
}

void relay_fail_for(struct relay *r, enum failure_kind kind, const char *why)
{
    struct failure f = failure_make(kind, "%s.", why);

    relay_fail(r, &f);
}

static struct exchange_request request_of(const struct relay *r)
{
    const struct config *c = r->config;

    return (struct exchange_request){
        .config = r->config,
        .method = r->method,
        .prefix = r->route.prefix,
        .path = r->route.path,
        .head = { .fields = r->fields,
                  .count = r->count,
                  .host = c->upstream.authority,
                  .authorization = secret_text(r->token->header),
                  .request_id = r->request_id_ours ? r->request_id : NULL,
                  .require_name = c->listen.require_header_name,
                  .body_bytes = r->body_bytes },
        .safe = r->safe,
        .is_head = r->is_head,
    };
}

static void send_upstream(struct relay *r)
{
    relay_unpark(r);
    if (r->token != NULL)
        token_unref(r->token);
    r->token = token_ref(r->ctx->token);
    relay_enter(r, RELAY_SENDING);
    if (r->upstream_start_us < 0)
        r->upstream_start_us = clock_us();
    r->down_done = r->down_cut = false;
    buf_clear(&r->down);
    const struct exchange_request request = request_of(r);
    enum failure_kind kind = exchange_start(&r->exchange, &request);

    if (kind != FAIL_NONE)
        relay_fail_for(r, kind,
                       kind == FAIL_HEAD_TOO_LARGE
                           ? "The request head does not fit"
                           : "There is no memory left to send the request");
    relay_arm(r);
}

/* Whether the upstream it is meant for is still the one that the worker's tokens are for. */
static bool same_upstream(const struct relay *r)
{
    const struct config *mine = r->config, *now = r->ctx->config;

    return mine == now || strcmp(mine->upstream.origin, now->upstream.origin) == 0;
}

static bool have_token(const struct relay *r)
{
    const struct token *t = r->ctx->token;

    return t != NULL && token_valid(t, loop_now(&r->ctx->loop)) && same_upstream(r);
}

void relay_begin(struct relay *r)
{
    struct context *ctx = r->ctx;

    if (have_token(r)) {
        if (r->token_us < 0)
            r->token_us = 0;
        send_upstream(r);
    } else if (ctx->failing) {
        relay_fail(r, &ctx->failure);
    } else {
        park(r, RELAY_PARKED);
        ctx->on_want(ctx->arg);
    }
}

/* While everything is kept for a repeat: up to replay_limit. After that: a window. */
static size_t room_up(const struct relay *r)
{
    size_t here = r->up.bytes.len - r->up.bytes.start - r->up.sent;

    return here >= RELAY_WINDOW_BYTES ? 0 : RELAY_WINDOW_BYTES - here;
}

/* Of what nobody wants: as much as there is patience for, so that the caller gets to read its
 * answer. */
static size_t discard_body(struct relay *r, size_t n)
{
    if (r->discarded_bytes > RELAY_DISCARD_BYTES)
        return 0;
    r->discarded_bytes += (int64_t)n;
    if (r->discarded_bytes <= RELAY_DISCARD_BYTES)
        return n;
    if (r->phase == RELAY_LOCAL)
        relay_fail_for(r, FAIL_BODY_TOO_LARGE, "A token request is not that large");
    relay_wake(r);
    return n;
}

size_t relay_on_body(struct relay *r, const char *bytes, size_t n)
{
    const struct config *c = r->config;
    int64_t limit = c->listen.max_body_size_bytes;

    if (!r->sink->written)
        r->up_ms = loop_now(&r->ctx->loop);
    if (!relay_passes_body_on(r))
        return discard_body(r, n);
    if (limit > 0 && r->up_bytes + (int64_t)n > limit) {
        struct failure f =
            failure_make(FAIL_BODY_TOO_LARGE, "The body is larger than listen.max_body_size.");

        relay_body_ends_early(r, &f);
        return n;
    }
    if (r->up.kept && r->up_bytes + (int64_t)n > c->upstream.replay_limit_bytes) {
        r->up.kept = false;
        buf_consume(&r->up.bytes, r->up.sent);
        r->up.sent = 0;
        if (r->phase == RELAY_HELD) { /* can no longer be repeated: its 401 goes through */
            relay_unpark(r);
            relay_enter(r, RELAY_ANSWERING);
            relay_wake(r);
        }
    }
    size_t room = room_up(r);

    /* Not yet under way: what is kept may fill the replay buffer. */
    if (r->up.kept)
        room = n;
    n = n < room ? n : room;
    /* All the room it will take at once: growing copies, and wipes what it has outgrown. */
    if (r->up_bytes == 0 && r->body_bytes > 0)
        (void)buf_reserve(&r->up.bytes, (size_t)base_min(r->body_bytes, RELAY_WINDOW_BYTES));
    if (n > 0 && buf_add(&r->up.bytes, bytes, n) != 0) {
        struct failure f = failure_make(FAIL_INTERNAL, "There is no memory left for the body.");

        relay_body_ends_early(r, &f);
        return n;
    }
    r->up_bytes += (int64_t)n;
    if (r->exchange.wants_body)
        relay_wake(r);
    return n;
}

void relay_on_body_end(struct relay *r)
{
    r->up.ended = true;
    relay_wake(r);
}

void relay_on_body_lost(struct relay *r)
{
    if (r->up_lost)
        return;
    r->up_lost = r->up.discard = true;
    relay_wake(r);
}

/* A body that is never whole, in each phase (money: see also the head of this file):
 *
 *   PARKED, SENDING: an answer that says so. Nothing that was not whole can have been executed;
 *                    the upstream sees its connection break off.
 *   SENDING, and something of an answer has come; ANSWERING: the upstream's word counts. It
 *                    gets no more of the body; its answer goes on, and how that ends is told.
 *   HELD:            the upstream's refusal of the token is its answer; it goes to the caller.
 *   LOCAL:           an answer that says so.
 *   FAILED:          the failure that there was before stays.
 */
void relay_body_ends_early(struct relay *r, const struct failure *f)
{
    bool answered = r->sink->given || r->phase == RELAY_ANSWERING || r->phase == RELAY_FAILED ||
                    (r->phase == RELAY_SENDING && r->exchange.attempt.began);

    if (r->sink->written)
        r->sink->ops->close(r->sink);
    else if (r->phase == RELAY_HELD)
        relay_release(r);
    else if (!answered)
        relay_fail(r, f);
    r->up.discard = true;
    relay_wake(r);
}

static bool refused_token(const struct relay *r)
{
    const struct config *c = r->config;

    for (size_t i = 0; i < c->upstream.token_refused_count; i++)
        if (c->upstream.token_refused_statuses[i] == r->exchange.head.status)
            return true;
    return false;
}

static bool may_repeat(const struct relay *r)
{
    int64_t replay = r->config->upstream.replay;

    return !r->repeated && r->up.kept &&
           (replay == REPLAY_ALL || (replay == REPLAY_SAFE && r->safe));
}

/* The upstream says the token is dead. */
static void on_refused(struct relay *r)
{
    struct context *ctx = r->ctx;
    uint64_t generation = r->token->generation;
    bool newer = have_token(r) && ctx->token->generation > generation;
    bool kept = ctx->passthrough_generation == generation &&
                loop_now(&ctx->loop) < ctx->passthrough_until_ms;

    if (!newer && !kept)
        ctx->on_refused(ctx->arg, generation);
    if (!may_repeat(r) || kept) {
        relay_enter(r, RELAY_ANSWERING);
        return;
    }
    park(r, RELAY_HELD);
}

static struct relay *relay_of(struct exchange *x)
{
    return CONTAINER_OF(x, struct relay, exchange);
}

static void on_sending(struct exchange *x)
{
    struct relay *r = relay_of(x);

    r->sends++;
    metrics_add(&r->ctx->metrics, M_upstream_requests, 1);
    if (x->attempt.reused)
        metrics_add(&r->ctx->metrics, M_upstream_connections_reused, 1);
}

static void on_head(struct exchange *x)
{
    struct relay *r = relay_of(x);

    r->first_byte_us = clock_us();
    r->upstream_us = r->first_byte_us - r->upstream_start_us;
    r->ctx->typical_us += (base_min(r->upstream_us, TYPICAL_US_MAX) - r->ctx->typical_us) / 8;
    if (refused_token(r))
        on_refused(r);
    else
        relay_enter(r, RELAY_ANSWERING);
    relay_wake(r);
}

static void on_progress(struct exchange *x)
{
    relay_wake(relay_of(x));
}

static void on_end(struct exchange *x, const struct failure *f)
{
    relay_on_upstream_done(relay_of(x), f);
}

const struct exchange_user relay_exchange_user = {
    .on_sending = on_sending, .on_head = on_head, .on_progress = on_progress, .on_end = on_end
};

void relay_on_upstream_done(struct relay *r, const struct failure *f)
{
    if (f == NULL) {
        r->down_done = true;
        relay_wake(r);
        return;
    }
    /* The refusal itself was cut: enough to know that it was one. Given to the caller after all it
     * ends as it ended here. */
    if (r->phase == RELAY_HELD) {
        r->down_done = r->down_cut = true;
        return;
    }
    if (!r->sink->given) {
        relay_fail(r, f);
        return;
    }
    /* The status line is out: all that is left is not to end it as if it were whole. */
    r->failure = *f;
    r->down_done = r->down_cut = true;
    log_warn("upstream_failed", log_str("request_id", r->request_id),
             log_str("error", failure_info(f->kind)->slug), log_str("detail", f->detail));
    relay_wake(r);
}

/* A held 401 goes to the caller after all. */
void relay_release(struct relay *r)
{
    relay_unpark(r);
    relay_enter(r, RELAY_ANSWERING);
    relay_wake(r);
}

static void repeat(struct relay *r)
{
    r->repeated = true;
    exchange_cancel(&r->exchange);
    metrics_add(&r->ctx->metrics, M_replays, 1);
    send_upstream(r);
}

void relay_on_token(struct relay *r)
{
    struct context *ctx = r->ctx;

    if (r->gone) /* nobody would hear the answer: do not begin what moves money */
        return;
    if (r->phase == RELAY_PARKED) {
        if (have_token(r))
            send_upstream(r);
        else if (!same_upstream(r))
            relay_fail_for(
                r, FAIL_TOKEN_TIMEOUT,
                "upstream.base_url was changed while this waited; nothing was sent, try again");
        else if (ctx->failing)
            relay_fail(r, &ctx->failure);
        relay_wake(r);
    } else if (r->phase == RELAY_HELD) {
        uint64_t mine = r->token->generation;

        if (have_token(r) && ctx->token->generation > mine)
            repeat(r);
        else if (ctx->failing || ctx->passthrough_generation == mine || !same_upstream(r))
            relay_release(r);
    }
}

void relay_on_caller_gone(struct relay *r)
{
    if (r->gone)
        return;
    r->gone = true;
    exchange_cancel(&r->exchange);
    relay_wake(r);
}

void relay_on_refused(struct relay *r, const struct failure *f, const char *request_id)
{
    r->failure = *f;
    r->sink->status = failure_status(f);
    if (request_id != NULL && request_id[0] != '\0')
        r->request_id = arena_copy(&r->arena, request_id, strlen(request_id));
}

void relay_on_answer_taken(struct relay *r)
{
    if (r->exchange.wants_room)
        relay_wake(r);
}

const char *relay_target(const struct relay *r)
{
    return r->target;
}

bool relay_expects_body(const struct relay *r)
{
    return r->body_bytes != 0;
}

bool relay_waits_for_token(const struct relay *r)
{
    return r->phase == RELAY_PARKED;
}

bool relay_passes_body_on(const struct relay *r)
{
    return !r->up.discard && r->phase != RELAY_FAILED && r->phase != RELAY_LOCAL;
}

bool relay_takes_body(const struct relay *r)
{
    return relay_passes_body_on(r) ? room_up(r) > RELAY_WINDOW_BYTES / 2
                                   : r->discarded_bytes <= RELAY_DISCARD_BYTES;
}

bool relay_wants_rest(const struct relay *r)
{
    return !r->up.ended && !r->up_lost && !r->gone &&
           (relay_passes_body_on(r) || r->discarded_bytes <= RELAY_DISCARD_BYTES);
}

bool relay_is_stuck(const struct relay *r)
{
    return r->up_stuck;
}

bool relay_is_abandoned(const struct relay *r)
{
    return r->gone;
}

/* What of the upstream's head goes to the caller. */
static void begin_answer(struct relay *r)
{
    const struct response_check *g = &r->exchange.head;
    size_t all = r->exchange.field_count, count;

    all = header_filter_response(r->exchange.fields, all);
    count = 0;
    for (size_t i = 0; i < all; i++) {
        struct header_field *f = &r->exchange.fields[i];

        if (header_is(f, "x-request-id") && r->request_id != NULL)
            continue;
        const char *path = header_is(f, "location")
                               ? header_local_location(f->value, r->config->upstream.origin)
                               : NULL;
        if (path != NULL) {
            f->value = path;
            f->value_len = strlen(path);
        }
        r->exchange.fields[count++] = *f;
    }
    r->head = (struct response_head){ .status = g->status,
                                      .fields = r->exchange.fields,
                                      .count = count,
                                      .bytes = g->bytes,
                                      .body_bytes = g->content_length,
                                      .bodiless =
                                          r->is_head || g->status == 204 || g->status == 304 };
    r->head_begun = true;
    r->sink->ops->begin(r->sink, &r->head);
}

void relay_answer_locally(struct relay *r)
{
    static const struct header_field fields[] = {
        { "Content-Type", "application/json", sizeof "Content-Type" - 1,
          sizeof "application/json" - 1 },
        { "Cache-Control", "no-store", sizeof "Cache-Control" - 1, sizeof "no-store" - 1 },
    };

    relay_enter(r, RELAY_LOCAL);
    if (buf_add_str(&r->down, TOKEN_PLACEHOLDER) != 0) {
        relay_fail_for(r, FAIL_INTERNAL, "There is no memory left for the answer");
        return;
    }
    r->head = (struct response_head){ .status = 200,
                                      .fields = fields,
                                      .count = ARRAY_LEN(fields),
                                      .body_bytes = sizeof TOKEN_PLACEHOLDER - 1,
                                      .waits_for_body = true };
    r->head_begun = true;
    r->sink->ops->begin(r->sink, &r->head);
    r->sink->ops->end(r->sink, RESPONSE_WHOLE);
}

static void step(struct relay *r)
{
    if (r->phase == RELAY_ENDED)
        return;
    if (r->phase == RELAY_HELD) /* a newer token may have come meanwhile */
        relay_on_token(r);
    if (r->phase == RELAY_ANSWERING && !r->head_begun)
        begin_answer(r);
    /* From the first byte of an answer on nobody but the upstream may speak for it. */
    if (r->phase == RELAY_SENDING && r->exchange.attempt.began && !r->up.ended)
        r->sink->ops->take_over(r->sink);
    /* The upstream wants nothing more of the request, or nobody is there to send it to. */
    if (r->phase == RELAY_ANSWERING && !r->up.ended &&
        (r->exchange.rest_unwanted || (r->down_done && !exchange_is_sending(&r->exchange))))
        r->up.discard = true;
    if (r->phase == RELAY_ANSWERING && r->down_done)
        r->sink->ops->end(r->sink, r->down_cut ? RESPONSE_CUT : RESPONSE_WHOLE);
    exchange_go_on(&r->exchange);
    r->sink->ops->resume(r->sink);
}

bool relay_turn(struct context *ctx)
{
    const struct relay *last = TAILQ_LAST(&ctx->ready, relay_list);

    /* Those that wake meanwhile are for the next turn. */
    for (bool more = last != NULL; more;) {
        struct relay *r = TAILQ_FIRST(&ctx->ready);

        if (r == NULL)
            break;
        more = r != last;
        TAILQ_REMOVE(&ctx->ready, r, ready_link);
        r->is_ready = false;
        step(r);
    }
    return last != NULL;
}

void relay_give_up(struct relay *r)
{
    struct failure f =
        failure_make(FAIL_DRAINING, "This proxy is being stopped and the request was not "
                                    "carried out; send it again.");

    if (!r->begun || r->sink->given || r->gone ||
        (r->phase != RELAY_PARKED && r->phase != RELAY_HELD && r->phase != RELAY_SENDING))
        return;
    f.retry_after_s = 1;
    if (r->phase == RELAY_SENDING && r->sends > 0)
        f = failure_make(FAIL_UPSTREAM_LOST,
                         "This proxy was stopped (process.drain_timeout) before the upstream "
                         "answered: outcome unknown.");
    relay_fail(r, &f);
}

void relay_abandon(struct relay *r)
{
    r->gone = true;
    exchange_cancel(&r->exchange);
    r->sink->ops->close(r->sink);
}

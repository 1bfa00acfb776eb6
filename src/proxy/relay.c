/* One request on its way through the proxy.
 *
 *   accept -> conn -> handler -> admission -> RELAY -> exchange -> client -> conn_pool
 *                                              |
 *   response  <------ head, body, end ---------+---- exchange_user <-- client
 *   (response_sink)                              (on_head, on_end)
 *
 * A request is passed down; its answer comes back through exchange_user and response_sink.
 *
 *                    +------------- no token -------------+
 *                    |                                    v
 *   NEW --> (admission) ---> SENDING <--- token ------ PARKED --- wait_timeout ---+
 *    |            |            |   |                      |                       |
 *    |   local token call   answer |401                   | no token will come    |
 *    |            |            |   v                      |                       |
 *    |            |            |  HELD -- new token: repeated once --> SENDING    |
 *    |            v            v   |  none will come, or the body ends early       |
 *    |          LOCAL      ANSWERING <-                                           v
 *    |            v            v            from any, before the head is given    v
 *    +--------> ENDED <--------+<------------------------------------------- FAILED
 *
 * A request that has waited for a connection until its token has expired goes back from
 * SENDING to PARKED: nothing of it was sent.
 *
 * With a ledger, an unsafe request that has a key or is recorded goes through one more phase
 * before it is sent, and is never sent without a claim:
 *
 *   (admission) --> CLAIMING: its body, if it has a key; then the ledger is asked
 *                      |  claimed, and there is a token -------------------> SENDING
 *                      |  no entry (looked without a token) --> PARKED -- token --> CLAIMING
 *                      |  the key is known: its stored answer ------------> LOCAL
 *                      `  the key is known, refused, malformed;
 *                         or the ledger is down -------------------------> FAILED
 *
 * Once its first byte is sent, such a request ends in exactly one call of claim_tell,
 * whatever happens. If its caller leaves, the relay goes on with a sink that discards
 * everything (null_sink.h) until the exchange ends, and is freed only then. An answer that
 * frees the key is given only when the ledger has recorded that.
 *
 * The same sink serves a request whose caller has its answer, which came early, and has sent
 * everything, until the upstream has been sent all of it, too.
 *
 * The callbacks of the libraries only move bytes and set fields, then call relay_wake;
 * step() examines the relay when the callbacks have returned, and lets one side go on when
 * the other has made room. A relay ends in relay_end, which the caller's side calls once for
 * each request.
 *
 * Money. What happens if the caller fails before its body is complete, by what the upstream has
 * done so far:
 *
 *   the caller stalls, breaks  | no answer has begun   | part of an answer    | the final head
 *   a chunk, sends too much,   |                       | was received         | was received
 *   or leaves                  |                       |                      |
 *   ---------------------------+-----------------------+----------------------+---------------
 *   nothing was sent upstream  | 408, 400, 413         | -                    | -
 *   part of the body was sent  | 408, 400, 413, not    | the upstream's final | the upstream's
 *                              | retryable unless it   | answer; or 502, 504, | answer, whole;
 *                              | only reads: some      | outcome unknown      | or cut, if it
 *                              | servers act before    |                      | is cut
 *                              | the body ends         |                      |
 *   all of it was sent         | (the caller can only  | as in the line above | as above
 *                              | leave: logged as 499) |                      |
 *   a refusal of the token is  | the refusal is given to the caller: the request was not
 *   held (HELD)                | carried out
 *
 * So a request that an upstream may have carried out is never reported as retryable. */
#include "proxy/relay.h"

#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "base/clock.h"
#include "base/limit.h"
#include "base/log.h"
#include "http/location.h"
#include "http/problem.h"
#include "http/token_request.h"
#include "proxy/access_log.h"
#include "proxy/null_sink.h"
#include "rights/limits.h"

/* A longer time to the first byte counts as this in the average. */
#define TYPICAL_US_MAX 100000
/* A request that waits for longer than this is watched for its caller leaving. */
#define WATCH_AFTER_MS 500
/* Retry-After for what the freeze file has stopped. */
#define FROZEN_RETRY_AFTER_S 30
#define LEDGER_RETRY_AFTER_S 5
/* Most relays that are kept for later requests; and how much memory each keeps. */
#define POOL_MAX 256
#define POOLED_DOWN_BYTES 16384
#define ARENA_BYTES (512 * 1024)

static void arm(struct relay *r);

static void release(struct relay *r);
static void body_ends_early(struct relay *r, const struct failure *f);
static void answer_token_request(struct relay *r);
static void read_token_request(struct relay *r, const char *bytes, size_t n);
static void go_on(struct relay *r);
static void relay_finish(struct relay *r);

/* The only place where the phase changes; asserts that the transition is in the picture. */
static void enter(struct relay *r, enum relay_phase phase)
{
    static const unsigned legal[] = {
        [RELAY_NEW] = 1U << RELAY_CLAIMING | 1U << RELAY_PARKED | 1U << RELAY_SENDING |
                      1U << RELAY_LOCAL | 1U << RELAY_FAILED | 1U << RELAY_ENDED,
        [RELAY_CLAIMING] = 1U << RELAY_CLAIMING | 1U << RELAY_PARKED | 1U << RELAY_SENDING |
                           1U << RELAY_LOCAL | 1U << RELAY_FAILED | 1U << RELAY_ENDED,
        [RELAY_PARKED] =
            1U << RELAY_CLAIMING | 1U << RELAY_SENDING | 1U << RELAY_FAILED | 1U << RELAY_ENDED,
        [RELAY_SENDING] = 1U << RELAY_PARKED | 1U << RELAY_HELD | 1U << RELAY_ANSWERING |
                          1U << RELAY_FAILED | 1U << RELAY_ENDED,
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

/* Leaves the list of those that wait for a token, if it is in it. */
static void unpark(struct relay *r)
{
    if (r->phase != RELAY_PARKED && r->phase != RELAY_HELD)
        return;
    TAILQ_REMOVE(&r->ctx->parked, r, parked_link);
    if (r->phase == RELAY_PARKED) /* the caller may not have been asked for its body so far */
        r->up_ms = loop_now(&r->ctx->loop);
    if (r->parked_us >= 0)
        r->token_us = base_max(r->token_us, 0) + clock_us() - r->parked_us;
    r->parked_us = -1;
}

static void park(struct relay *r, enum relay_phase phase)
{
    enter(r, phase);
    r->parked_ms = loop_now(&r->ctx->loop);
    r->parked_us = clock_us();
    TAILQ_INSERT_TAIL(&r->ctx->parked, r, parked_link);
    arm(r);
}

/* --- the ledger --------------------------------------------------------------------------- */

static struct relay *claimant(struct ledger_ask *a)
{
    return claim_of(a)->owner;
}

/* Its key is being freed, and must be free when the caller gets the answer. */
static bool waits_for_release(const struct relay *r)
{
    return r->claim != NULL && r->claim->stage == CLAIM_RELEASING && !r->gone;
}

static void on_released(struct ledger_ask *a)
{
    struct relay *r = claimant(a);

    r->claim->stage = CLAIM_CLOSED;
    if (r->phase == RELAY_FAILED && !r->gone)
        r->sink->ops->reject(r->sink, &r->failure);
    relay_wake(r);
}

/* Reports the outcome, once the exchange is over; whole: the answer is complete. */
static void tell_ledger(struct relay *r, enum failure_kind failure, bool whole)
{
    if (r->claim == NULL)
        return;
    claim_tell(r->claim, &(struct claim_end){ .failure = failure,
                                              .sent = r->sends > 0 && r->exchange.attempt.wrote,
                                              .whole = whole,
                                              .body_ended = r->up.ended,
                                              .on_released = r->gone ? NULL : on_released });
}

static void log_failure(const struct relay *r, const struct failure *f)
{
    log_warn("upstream_failed", log_str("request_id", r->request_id),
             log_str("error", failure_info(f->kind)->slug), log_str("detail", f->detail));
}

void relay_fail(struct relay *r, const struct failure *f)
{
    unpark(r);
    exchange_cancel(&r->exchange);
    enter(r, RELAY_FAILED);
    r->failure = *f;
    r->reads_token_request = false;
    tell_ledger(r, f->kind, false);
    if (!waits_for_release(r) && !r->gone)
        r->sink->ops->reject(r->sink, f);
    if (failure_info(f->kind)->stage == STAGE_UPSTREAM)
        log_failure(r, f);
    relay_wake(r);
    arm(r);
}

void relay_fail_for(struct relay *r, enum failure_kind kind, const char *why)
{
    struct failure f = failure_make(kind, "%s.", why);

    relay_fail(r, &f);
}

void relay_about(const struct relay *r, struct failure *f)
{
    f->about.class = class_name(r->class);
    if (r->caller != NULL)
        (void)snprintf(f->about.caller, sizeof f->about.caller, "%s", r->caller->name);
    (void)snprintf(f->about.operation, sizeof f->about.operation, "%.*s", (int)r->operation_len,
                   r->operation);
}

static bool is_keyed(const struct relay *r)
{
    return r->claim != NULL && r->claim->kind == CLAIM_KEYED;
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
                  .secret_name =
                      c->rules != NULL && c->rules->has_callers ? c->callers.header : NULL,
                  .body_bytes = r->body_bytes,
                  .identity = is_keyed(r),
                  .drop_key = is_keyed(r) && !c->ledger.forward_key },
        .resendable = r->resendable,
        .is_head = r->is_head,
        .claimed = r->claim != NULL,
    };
}

void relay_fail_frozen(struct relay *r)
{
    char reason[FREEZE_REASON_MAX + 1];
    int64_t now_ms = loop_now(&r->ctx->loop);

    freeze_reason(r->ctx->freeze, now_ms, reason);
    struct failure f = failure_make(
        FAIL_FROZEN, "Requests that %s are stopped here for now, and this one was not sent: %s",
        r->class == CLASS_SIGN    ? "sign"
        : r->class >= CLASS_MONEY ? "may move money"
                                  : "change",
        reason);

    f.retry_after_s = FROZEN_RETRY_AFTER_S;
    relay_about(r, &f);
    r->decision = DECISION_FROZEN;
    relay_fail(r, &f);
}

bool relay_is_frozen(const struct relay *r)
{
    return r->has_class && (r->config->rules->frozen_classes & 1U << r->class) != 0 &&
           freeze_is_on(r->ctx->freeze, loop_now(&r->ctx->loop));
}

/* It may not be sent now: the freeze file stops it, or its claim is too old. */
static void fail_barred(struct relay *r)
{
    if (relay_is_frozen(r) || r->claim == NULL) {
        relay_fail_frozen(r);
        return;
    }
    struct failure f = failure_make(
        FAIL_LEDGER,
        "The request was not sent: it could not begin within half of its lease in the "
        "ledger (a slow connection, or a process that stood still).");

    f.retry_after_s = LEDGER_RETRY_AFTER_S;
    relay_fail(r, &f);
}

static bool may_be_sent(const struct relay *r)
{
    return !relay_is_frozen(r) && (r->claim == NULL || claim_may_send(r->claim));
}

static void send_upstream(struct relay *r, struct token *token)
{
    if (!may_be_sent(r)) {
        fail_barred(r);
        return;
    }
    assert(r->claim == NULL || claim_is_open(r->claim));
    unpark(r);
    token_ref(token);
    token_unref(r->token);
    r->token = token;
    enter(r, RELAY_SENDING);
    if (r->upstream_start_us < 0)
        r->upstream_start_us = clock_us();
    r->down_done = r->down_cut = false;
    buf_clear(&r->down);
    if (r->claim != NULL)
        claim_on_sending(r->claim);
    const struct exchange_request request = request_of(r);
    enum failure_kind kind = exchange_start(&r->exchange, &request);

    if (kind == FAIL_FROZEN)
        fail_barred(r);
    else if (kind != FAIL_NONE)
        relay_fail_for(r, kind,
                       kind == FAIL_HEAD_TOO_LARGE
                           ? "The request head does not fit"
                           : "There is no memory left to send the request");
    arm(r);
}

/* Whether the worker's tokens are still for the upstream that the request goes to. */
static bool same_upstream(const struct relay *r)
{
    const struct config *mine = r->config, *now = r->ctx->config;

    return mine == now || strcmp(mine->upstream.origin, now->upstream.origin) == 0;
}

/* The token to send with; NULL: there is none. */
static struct token *token_for(const struct relay *r)
{
    struct context *ctx = r->ctx;
    int64_t now_ms = loop_now(&ctx->loop);

    if (!same_upstream(r))
        return NULL;
    return token_valid(ctx->token, now_ms)         ? ctx->token
           : token_valid(ctx->other_token, now_ms) ? ctx->other_token
                                                   : NULL;
}

/* Gives the answer that the first request with this key got. */
static void answer_again(struct relay *r)
{
    enter(r, RELAY_LOCAL);
    r->down.limit =
        (size_t)base_max((int64_t)r->down.limit, (int64_t)r->claim->ask.found.answer_body.len);
    if (claim_replay(r->claim, &r->head, &r->down) != 0) {
        struct failure f =
            failure_make(FAIL_INTERNAL, "There is no memory left for the stored answer.");

        f.may_have_run = true; /* it was carried out: by the first request with this key */
        relay_fail(r, &f);
        return;
    }
    r->head_begun = true;
    r->sink->ops->begin(r->sink, &r->head);
    r->sink->ops->end(r->sink, RESPONSE_WHOLE);
    relay_wake(r);
    arm(r);
}

static void on_reply(struct ledger_ask *a)
{
    struct relay *r = claimant(a);
    struct failure f;

    if (claim_on_reply(r->claim, &f) == LEDGER_CLAIMED || r->claim->stage == CLAIM_WAITING)
        go_on(r);
    else if (f.kind != FAIL_NONE)
        relay_fail(r, &f);
    else
        answer_again(r);
}

static void ask_ledger(struct relay *r, enum ledger_want want)
{
    const struct ledger_bytes body = { (char *)(uintptr_t)buf_front(&r->up.bytes),
                                       buf_unread(&r->up.bytes) };

    if (want == LEDGER_CLAIM && r->ctx->closed) {
        struct failure f = failure_make(
            FAIL_DRAINING,
            "This proxy is being stopped, and the request was not sent; send it again.");

        f.retry_after_s = 1;
        relay_fail(r, &f);
        return;
    }
    unpark(r);
    enter(r, RELAY_CLAIMING);
    claim_ask(r->claim, want, is_keyed(r) ? &body : NULL, on_reply);
    arm(r);
}

/* The body is complete, so the key is known. Without a token the ledger is only looked into:
 * a stored answer needs none, and a claim would become too old. */
static void on_collected(struct relay *r)
{
    struct failure f;

    if (!claim_on_body_end(r->claim, buf_front(&r->up.bytes), buf_unread(&r->up.bytes), &f)) {
        relay_fail(r, &f);
        return;
    }
    if (r->claim->kind == CLAIM_KEYED) {
        r->resendable = false;
        ask_ledger(r, token_for(r) != NULL ? LEDGER_CLAIM : LEDGER_LOOK);
        return;
    }
    if (r->claim->kind == CLAIM_NOTHING) {
        claim_done(r->claim);
        r->claim = NULL;
    }
    go_on(r);
}

/* Whether a field contains a secret, and is not forwarded in any case. */
static bool is_secret(const struct relay *r, const struct header_field *f)
{
    const struct config *c = r->config;

    return header_is(f, "authorization") ||
           (c->rules != NULL && c->rules->has_callers && c->callers.header != NULL &&
            ascii_equal_str(f->name, f->name_len, c->callers.header));
}

/* Copies the parts of the head that must stay when the caller has left; libmicrohttpd keeps
 * them only until then. */
static bool keep_fields(struct relay *r)
{
    struct header_field *fields = arena_alloc(&r->arena, (r->count + 1) * sizeof *fields);
    size_t count = 0;

    for (size_t i = 0; i < r->count && fields != NULL; i++) {
        const struct header_field *f = &r->fields[i];
        char *name, *value;

        if (is_secret(r, f))
            continue;
        name = arena_copy(&r->arena, f->name, f->name_len);
        value = arena_copy(&r->arena, f->value, f->value_len);
        if (name == NULL || value == NULL)
            return false;
        if (r->caller_request_id == f->value)
            r->caller_request_id = value;
        fields[count++] = (struct header_field){ name, value, f->name_len, f->value_len };
    }
    r->fields = fields;
    r->count = count;
    return fields != NULL;
}

void relay_begin_claim(struct relay *r)
{
    const struct claim_request q = {
        .config = r->config,
        .fields = r->fields,
        .count = r->count,
        .method = r->method,
        .prefix = r->route.prefix,
        .path = r->route.path,
        .path_len = r->route.path_len,
        .request_id = r->request_id,
        .scope = r->caller != NULL ? r->caller->name : "",
        .body_bytes = r->body_bytes,
        .is_money = r->is_money,
    };
    struct failure f;

    r->claim = claim_begin(&r->arena, &r->ctx->ledger, &q, &f);
    if (r->claim == NULL) {
        if (f.kind != FAIL_NONE)
            relay_fail(r, &f);
        else
            go_on(r);
        return;
    }
    r->claim->owner = r;
    if (!keep_fields(r)) {
        relay_fail_for(r, FAIL_HEAD_TOO_LARGE, "The request head does not fit");
        return;
    }
    if (r->claim->kind == CLAIM_RECORD) {
        r->resendable = false;
        go_on(r);
        return;
    }
    enter(r, RELAY_CLAIMING);
    r->down.limit = RELAY_WINDOW_BYTES + (size_t)r->config->ledger.max_answer_bytes;
    r->up.bytes.limit =
        (size_t)base_max((int64_t)r->up.bytes.limit, r->config->ledger.max_request_bytes);
    if (r->body_bytes == 0)
        on_collected(r);
    else
        arm(r);
}

/* The token that is newer (older) than the one the request was sent with; NULL: none. */
static struct token *another_token(const struct relay *r, bool newer)
{
    struct token *const held[] = { r->ctx->token, r->ctx->other_token };

    for (size_t i = 0; i < ARRAY_LEN(held) && same_upstream(r); i++)
        if (token_valid(held[i], loop_now(&r->ctx->loop)) &&
            held[i]->generation != r->token->generation &&
            (held[i]->generation > r->token->generation) == newer)
            return held[i];
    return NULL;
}

/* There is a token: a claim is the last thing that may be missing before it is sent. */
static void send_or_claim(struct relay *r, struct token *token)
{
    if (r->claim != NULL && !claim_is_open(r->claim))
        ask_ledger(r, LEDGER_CLAIM);
    else
        send_upstream(r, token);
}

static void go_on(struct relay *r)
{
    struct context *ctx = r->ctx;

    struct token *token = token_for(r);

    if (token != NULL) {
        if (r->token_us < 0)
            r->token_us = 0;
        send_or_claim(r, token);
    } else if (ctx->failing) {
        relay_fail(r, &ctx->failure);
    } else {
        park(r, RELAY_PARKED);
        ctx->on_want(ctx->arg);
    }
}

void relay_begin(struct relay *r)
{
    go_on(r);
}

/* Room for the request body: replay_limit while everything is kept for a repetition; after
 * that a window. */
static size_t room_up(const struct relay *r)
{
    size_t here = r->up.bytes.len - r->up.bytes.start - r->up.sent;

    return here >= RELAY_WINDOW_BYTES ? 0 : RELAY_WINDOW_BYTES - here;
}

/* Discards body that nobody wants, up to a limit, so that the caller gets to read its
 * answer. */
static size_t discard_body(struct relay *r, size_t n)
{
    if (r->discarded_bytes > RELAY_DISCARD_BYTES)
        return 0;
    r->discarded_bytes += (int64_t)n;
    if (r->discarded_bytes <= RELAY_DISCARD_BYTES)
        return n;
    if (r->phase == RELAY_LOCAL)
        relay_fail_for(r, FAIL_BODY_TOO_LARGE,
                       "What is answered here needs no body that large");
    relay_wake(r);
    return n;
}

size_t relay_on_body(struct relay *r, const char *bytes, size_t n)
{
    const struct config *c = r->config;
    int64_t limit = c->listen.max_body_size_bytes;

    /* What is thrown away behind a written answer has one time limit for all of it. */
    if (!r->sink->written || relay_passes_body_on(r))
        r->up_ms = loop_now(&r->ctx->loop);
    if (r->reads_token_request)
        read_token_request(r, bytes, n);
    if (!relay_passes_body_on(r))
        return discard_body(r, n);
    if (limit > 0 && r->up_bytes + (int64_t)n > limit) {
        struct failure f =
            failure_make(FAIL_BODY_TOO_LARGE, "The body is larger than listen.max_body_size.");

        body_ends_early(r, &f);
        return n;
    }
    if (is_keyed(r) && r->up_bytes + (int64_t)n > c->ledger.max_request_bytes) {
        struct failure f = claim_too_large();

        body_ends_early(r, &f);
        return n;
    }
    if (r->up.kept && !is_keyed(r) &&
        r->up_bytes + (int64_t)n > c->upstream.replay_limit_bytes) {
        r->up.kept = false;
        buf_consume(&r->up.bytes, r->up.sent);
        r->up.sent = 0;
        if (r->phase == RELAY_HELD) { /* cannot be repeated any more: give the 401 */
            unpark(r);
            enter(r, RELAY_ANSWERING);
            relay_wake(r);
        }
    }
    size_t room = room_up(r);

    /* Not sent yet: the kept body may fill the replay buffer. */
    if (r->up.kept)
        room = n;
    n = n < room ? n : room;
    /* Allocate everything at once: growing would copy the body, and wipe the old memory. */
    if (r->up_bytes == 0 && r->body_bytes > 0)
        (void)buf_reserve(&r->up.bytes, (size_t)base_min(r->body_bytes, RELAY_WINDOW_BYTES));
    if (n > 0 && buf_add(&r->up.bytes, bytes, n) != 0) {
        struct failure f = failure_make(FAIL_INTERNAL, "There is no memory left for the body.");

        body_ends_early(r, &f);
        return n;
    }
    r->up_bytes += (int64_t)n;
    if (r->claim != NULL)
        claim_on_body(r->claim, bytes, n);
    if (r->exchange.wants_body)
        relay_wake(r);
    return n;
}

void relay_on_body_end(struct relay *r)
{
    r->up.ended = true;
    if (r->reads_token_request)
        answer_token_request(r);
    relay_wake(r);
}

void relay_on_body_lost(struct relay *r)
{
    if (r->up_lost)
        return;
    r->up_lost = r->up.discard = true;
    relay_wake(r);
}

/* The failure of a request whose body breaks off, by what was sent of it. */
static struct failure of_broken_body(const struct relay *r, const struct failure *f)
{
    bool only_reads = r->safe && r->resendable; /* some operations change things by a GET */

    if (r->sends == 0 || only_reads)
        return *f;
    struct failure sent =
        failure_make(f->kind, "%s A part of the request was sent: outcome unknown.", f->detail);

    sent.may_have_run = true;
    return sent;
}

/* The body will never be complete. By phase (money: see also the head of this file):
 *
 *   PARKED, SENDING: answer with the failure; the upstream sees its connection break off. Once
 *                    a part was sent, it is not reported as retryable unless the request only
 *                    reads: an upstream may act on what it has before the body ends.
 *   SENDING with a part of an answer received; ANSWERING: the upstream decides. It gets nothing
 *                    more of the body; its answer goes on, and its end is reported.
 *   HELD:            the upstream's refusal of the token is the answer and is given.
 *   LOCAL:           answer with the failure.
 *   FAILED:          the earlier failure stays.
 */
static void body_ends_early(struct relay *r, const struct failure *f)
{
    const struct failure told = of_broken_body(r, f);
    bool answered = r->sink->given || r->phase == RELAY_ANSWERING || r->phase == RELAY_FAILED ||
                    (r->phase == RELAY_SENDING && r->exchange.attempt.began);

    if (r->sink->written)
        r->sink->ops->close(r->sink);
    else if (r->phase == RELAY_HELD)
        release(r);
    else if (!answered)
        relay_fail(r, &told);
    r->up.discard = true;
    relay_wake(r);
}

static bool refused_token(const struct relay *r)
{
    const struct config *c = r->config;

    for (size_t i = 0; i < c->upstream.token_refused.count; i++)
        if (c->upstream.token_refused.item[i] == r->exchange.head.status)
            return true;
    return false;
}

static bool may_repeat(const struct relay *r)
{
    int64_t replay = r->config->upstream.replay;

    return !r->repeated && r->up.kept &&
           (replay == REPLAY_ALL || (replay == REPLAY_SAFE && r->safe));
}

/* The upstream has refused the token. */
static void on_refused(struct relay *r)
{
    struct context *ctx = r->ctx;
    uint64_t generation = r->token->generation;

    if (ctx->passthrough_generation == generation &&
        loop_now(&ctx->loop) >= ctx->passthrough_until_ms)
        ctx->passthrough_generation = 0;
    /* Report the refusal of an older token only once, so that it no longer counts as good. */
    if (another_token(r, true) == NULL ? ctx->passthrough_generation != generation
                                       : ctx->other_good)
        ctx->on_refused(ctx->arg, generation);
    if (may_repeat(r) && !relay_is_frozen(r) && !r->gone)
        park(r, RELAY_HELD);
    else
        enter(r, RELAY_ANSWERING);
}

/* The upstream has accepted a token that it had refused before. */
static void on_accepted(struct relay *r)
{
    struct context *ctx = r->ctx;

    for (size_t i = 0; i < ARRAY_LEN(ctx->doubted); i++)
        if (ctx->doubted[i] == r->token->generation) {
            ctx->doubted[i] = 0;
            ctx->on_accepted(ctx->arg, r->token->generation);
        }
}

static struct relay *relay_of(struct exchange *x)
{
    return CONTAINER_OF(x, struct relay, exchange);
}

/* Since it was started it may have waited for a connection. */
static bool may_send(struct exchange *x)
{
    const struct relay *r = relay_of(x);

    return may_be_sent(r) && token_valid(r->token, loop_now(&r->ctx->loop));
}

/* It was not sent. When only its token has expired, it goes on with the one that has taken its
 * place, in the next step; or waits for that. */
static void on_barred(struct relay *r)
{
    if (r->gone || !may_be_sent(r)) {
        fail_barred(r);
        return;
    }
    park(r, RELAY_PARKED);
    if (token_for(r) != NULL)
        relay_wake(r);
    else
        r->ctx->on_want(r->ctx->arg);
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
    if (r->claim != NULL)
        r->claim->status = r->exchange.head.status;
    if (refused_token(r)) {
        on_refused(r);
    } else {
        if (r->exchange.head.status < 400)
            on_accepted(r);
        enter(r, RELAY_ANSWERING);
    }
    relay_wake(r);
}

/* Keeps the new part of the answer before the caller takes it. */
static void keep_body(struct relay *r)
{
    if (r->claim != NULL)
        claim_keep_body(r->claim, &r->down, r->exchange.body_bytes);
}

static void on_progress(struct exchange *x)
{
    struct relay *r = relay_of(x);

    keep_body(r);
    relay_wake(r);
}

static void on_upstream_done(struct relay *r, const struct failure *f)
{
    if (f == NULL) {
        keep_body(r);
        r->down_done = true;
        relay_wake(r);
        return;
    }
    /* The refusal itself was cut, but it is known to be one. If it is given to the caller
     * after all, it ends as it ended here. */
    if (r->phase == RELAY_HELD) {
        r->down_done = r->down_cut = true;
        return;
    }
    if (f->kind == FAIL_FROZEN) {
        on_barred(r);
        return;
    }
    /* An answer that frees a key is given when the key is free, whatever came after it. */
    if (!r->sink->given && !waits_for_release(r)) {
        /* What was missing has arrived, and the access line has no field for the failure. */
        if (failure_info(f->kind)->stage != STAGE_UPSTREAM)
            log_failure(r, f);
        relay_fail(r, f);
        return;
    }
    /* The status line is written, or will be: now the answer can only be cut, so that it does
     * not look complete. */
    r->failure = *f;
    r->down_done = r->down_cut = true;
    log_failure(r, f);
    relay_wake(r);
}

static void on_end(struct exchange *x, const struct failure *f)
{
    on_upstream_done(relay_of(x), f);
}

static const struct exchange_user exchange_user = { .may_send = may_send,
                                                    .on_sending = on_sending,
                                                    .on_head = on_head,
                                                    .on_progress = on_progress,
                                                    .on_end = on_end };

/* Gives a held 401 to the caller after all. */
static void release(struct relay *r)
{
    unpark(r);
    enter(r, RELAY_ANSWERING);
    relay_wake(r);
}

static void repeat(struct relay *r, struct token *token)
{
    r->repeated = true;
    exchange_cancel(&r->exchange);
    metrics_add(&r->ctx->metrics, M_replays, 1);
    send_upstream(r, token);
}

/* Decides about a held refusal. The request is repeated with a newer token, if there is one;
 * or with an older one, if its own is so young that the upstream may not know it everywhere,
 * and the older one is good, or is in use, or is the only one left to try. Otherwise it
 * waits for the token that is being fetched; if none is, or if it was frozen meanwhile, the
 * caller gets the refusal. */
static void decide_held(struct relay *r)
{
    const struct context *ctx = r->ctx;
    struct token *newer = another_token(r, true), *older = another_token(r, false);
    bool passed_on = ctx->failing || ctx->passthrough_generation == r->token->generation ||
                     !same_upstream(r);
    bool older_serves = older != NULL &&
                        (ctx->other_good || older == ctx->token || passed_on) &&
                        token_is_young(r->token, loop_now(&ctx->loop));
    struct token *with = newer != NULL ? newer : older_serves ? older : NULL;

    if (relay_is_frozen(r) || (with == NULL && passed_on))
        release(r);
    else if (with != NULL)
        repeat(r, with);
}

/* It waited for a token for an upstream that is not the one in the settings any more. */
static void fail_moved(struct relay *r)
{
    struct failure f = failure_make(FAIL_TOKEN_TIMEOUT,
                                    "upstream.base_url was changed while this waited; nothing "
                                    "was sent, try again.");

    f.retry_after_s = 1;
    relay_fail(r, &f);
}

void relay_on_token(struct relay *r)
{
    struct context *ctx = r->ctx;

    if (r->gone) /* nobody would get the answer: start nothing that moves money */
        return;
    if (r->phase == RELAY_PARKED) {
        struct token *token = token_for(r);

        if (token != NULL)
            send_or_claim(r, token);
        else if (!same_upstream(r))
            fail_moved(r);
        else if (ctx->failing)
            relay_fail(r, &ctx->failure);
        relay_wake(r);
    } else if (r->phase == RELAY_HELD) {
        decide_held(r);
    }
}

/* Whether the answer is over and the request is complete here, but the upstream, which
 * answered early, has not been sent all of it. Whoever leaves without an answer does not want
 * that, unless the request is in the ledger, which tells of this answer. */
static bool sends_rest(const struct relay *r)
{
    return (!r->gone || r->claim != NULL) && r->up.ended && !r->up.discard &&
           exchange_is_sending(&r->exchange);
}

/* Whether it goes on without its caller: a request in the ledger that was received completely
 * and sent, until its outcome is known and the upstream has all of it. */
static bool outlives_caller(const struct relay *r)
{
    return (claim_is_open(r->claim) || sends_rest(r)) && r->sends > 0 && r->up.ended &&
           (r->phase == RELAY_SENDING || r->phase == RELAY_ANSWERING);
}

void relay_on_caller_gone(struct relay *r)
{
    if (r->gone)
        return;
    r->gone = true;
    if (!outlives_caller(r)) {
        exchange_cancel(&r->exchange);
        tell_ledger(r, FAIL_NONE, false);
    }
    relay_wake(r);
}

void relay_on_refused(struct relay *r, const struct failure *f, const char *request_id)
{
    r->failure = of_broken_body(r, f);
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
    if (is_keyed(r) && r->phase == RELAY_CLAIMING)
        return true;
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

/* Makes the head for the caller from the upstream's. */
static void make_head(struct relay *r)
{
    const struct response_check *g = &r->exchange.head;
    size_t all = r->exchange.field_count, count;
    const struct location_base base = { .origin = r->config->upstream.origin,
                                        .base_path = r->config->upstream.base_path,
                                        .prefix = r->route.prefix,
                                        .path = r->route.path,
                                        .path_len = r->route.path_len };

    all = header_filter_response(r->exchange.fields, all);
    count = 0;
    for (size_t i = 0; i < all; i++) {
        struct header_field *f = &r->exchange.fields[i];

        const char *path =
            header_is(f, "location") ? location_rewrite(&r->arena, &base, f->value) : NULL;
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
    if (r->claim != NULL)
        claim_keep_head(r->claim, r->exchange.fields, count);
}

static void begin_answer(struct relay *r)
{
    make_head(r);
    r->head_begun = true;
    r->sink->ops->begin(r->sink, &r->head);
}

/* Whether the answer may be given. An answer that frees the key waits until that is durable. */
static bool may_begin(struct relay *r)
{
    if (claim_is_open(r->claim) && claim_status_releases(r->claim))
        tell_ledger(r, FAIL_NONE, false);
    return !waits_for_release(r);
}

/* Whether nothing more can become known. */
static bool is_over(const struct relay *r)
{
    return r->phase == RELAY_FAILED || (r->phase == RELAY_ANSWERING && r->down_done);
}

/* Receives the answer without giving it to anybody; the ledger keeps its part of it. */
static void discard_answer(struct relay *r)
{
    if (r->phase == RELAY_ANSWERING && !r->head_begun) {
        make_head(r);
        r->head_begun = true;
    }
    buf_clear(&r->down);
    if (!is_over(r))
        exchange_go_on(&r->exchange);
    if (!is_over(r) && r->exchange.body_bytes > RELAY_DISCARD_BYTES) {
        exchange_cancel(&r->exchange);
        r->down_done = r->down_cut = true;
    }
    if (is_over(r))
        tell_ledger(r, r->failure.kind, r->down_done && !r->down_cut);
}

static bool is_alone(const struct relay *r)
{
    return r->sink == &r->null_sink;
}

/* A step of a request that goes on without its caller. */
static void step_alone(struct relay *r)
{
    if (claim_is_open(r->claim))
        discard_answer(r);
    else
        exchange_go_on(&r->exchange);
    if (!is_alone(r))
        r->sink->ops->resume(r->sink);
    else if (r->claim->stage == CLAIM_CLOSED && !sends_rest(r))
        relay_finish(r);
}

const struct caller_secrets *relay_secrets(const struct relay *r)
{
    const struct rules *rules = r->config->rules;
    const struct caller_secrets *newer = r->ctx->secrets;

    if (rules == NULL)
        return NULL;
    return newer != NULL && caller_secrets_number(newer) == rules->number ? newer
                                                                          : rules->secrets;
}

/* Answers the caller's own token request; secret NULL: with the placeholder. */
static void give_token(struct relay *r, const char *secret, size_t len)
{
    static const struct header_field fields[] = {
        { "Content-Type", "application/json", sizeof "Content-Type" - 1,
          sizeof "application/json" - 1 },
        { "Cache-Control", "no-store", sizeof "Cache-Control" - 1, sizeof "no-store" - 1 },
    };

    if (secret == NULL ? buf_add_str(&r->down, TOKEN_PLACEHOLDER) != 0
                       : buf_add_str(&r->down, TOKEN_ANSWER_BEGIN) != 0 ||
                             buf_add(&r->down, secret, len) != 0 ||
                             buf_add_str(&r->down, TOKEN_ANSWER_END) != 0) {
        relay_fail_for(r, FAIL_INTERNAL, "There is no memory left for the answer");
        return;
    }
    r->head = (struct response_head){ .status = 200,
                                      .fields = fields,
                                      .count = ARRAY_LEN(fields),
                                      .body_bytes = (int64_t)buf_unread(&r->down),
                                      .waits_for_body = true };
    r->head_begun = true;
    r->sink->ops->begin(r->sink, &r->head);
    r->sink->ops->end(r->sink, RESPONSE_WHOLE);
    arm(r);
}

/* The token request is complete: if it contains the secret of a caller, the answer has that
 * as the token, by which the caller will be recognised. */
static void answer_token_request(struct relay *r)
{
    char secret[TOKEN_REQUEST_SECRET_MAX];
    size_t len =
        token_request_secret(buf_front(&r->up.bytes), buf_unread(&r->up.bytes), secret);
    bool known = caller_secrets_find(relay_secrets(r), UINT32_MAX, secret, len) != 0;

    r->reads_token_request = false;
    r->holds_secret = true;
    buf_wipe(&r->up.bytes);
    give_token(r, known ? secret : NULL, len);
    secret_wipe(secret, sizeof secret);
}

/* Keeps a part of it; a request that is too large contains no secret. */
static void read_token_request(struct relay *r, const char *bytes, size_t n)
{
    r->holds_secret = true;
    if (buf_unread(&r->up.bytes) + n <= TOKEN_REQUEST_MAX &&
        buf_add(&r->up.bytes, bytes, n) == 0)
        return;
    r->reads_token_request = false;
    buf_wipe(&r->up.bytes);
    give_token(r, NULL, 0);
}

void relay_answer_locally(struct relay *r)
{
    enter(r, RELAY_LOCAL);
    r->reads_token_request = r->body_bytes != 0 && relay_secrets(r) != NULL;
    if (r->reads_token_request)
        arm(r);
    else
        give_token(r, NULL, 0);
}

void relay_answer_options(struct relay *r)
{
    static const struct header_field allow = { "Allow", RELAY_METHODS, sizeof "Allow" - 1,
                                               sizeof RELAY_METHODS - 1 };

    enter(r, RELAY_LOCAL);
    r->head = (struct response_head){
        .status = 200, .fields = &allow, .count = 1, .waits_for_body = true
    };
    r->head_begun = true;
    r->sink->ops->begin(r->sink, &r->head);
    r->sink->ops->end(r->sink, RESPONSE_WHOLE);
    arm(r);
}

static void step(struct relay *r)
{
    if (r->phase == RELAY_ENDED)
        return;
    if (r->phase == RELAY_CLAIMING && r->up.ended && r->claim->stage == CLAIM_COLLECTING)
        on_collected(r);
    if (r->gone && r->claim != NULL) {
        step_alone(r);
        return;
    }
    /* A newer token may have come meanwhile. */
    if (r->phase == RELAY_HELD || (r->phase == RELAY_PARKED && token_for(r) != NULL))
        relay_on_token(r);
    if (r->phase == RELAY_ANSWERING && !r->head_begun && may_begin(r))
        begin_answer(r);
    /* From the first byte of an answer on, only the upstream may answer. */
    if (r->phase == RELAY_SENDING && r->exchange.attempt.began && !r->up.ended)
        r->sink->ops->take_over(r->sink);
    /* The upstream wants no more of the request, or nobody can take it. */
    if (r->phase == RELAY_ANSWERING && !r->up.ended &&
        (r->exchange.rest_unwanted || (r->down_done && !exchange_is_sending(&r->exchange))))
        r->up.discard = true;
    if (r->phase == RELAY_ANSWERING && r->down_done)
        tell_ledger(r, r->failure.kind, !r->down_cut);
    if (r->phase == RELAY_ANSWERING && r->down_done && r->head_begun)
        r->sink->ops->end(r->sink, r->down_cut ? RESPONSE_CUT : RESPONSE_WHOLE);
    exchange_go_on(&r->exchange);
    r->sink->ops->resume(r->sink);
    if (is_alone(r) && !sends_rest(r))
        relay_finish(r);
}

bool relay_turn(struct context *ctx)
{
    const struct relay *last = TAILQ_LAST(&ctx->ready, relay_list);

    /* Relays that are woken meanwhile are examined in the next turn. */
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

/* The exchange of a claim ends now: its answer was given, or its caller has left. */
static void end_claim(struct relay *r)
{
    struct failure f =
        failure_make(FAIL_UPSTREAM_STALLED,
                     "This proxy was stopped (process.drain_timeout) before the answer was "
                     "whole: outcome unknown.");

    exchange_cancel(&r->exchange);
    if (r->sink->given)
        on_upstream_done(r, &f);
    else
        relay_fail(r, &f);
}

void relay_give_up(struct relay *r)
{
    struct failure f =
        failure_make(FAIL_DRAINING, "This proxy is being stopped and the request was not "
                                    "carried out; send it again.");

    if (claim_is_open(r->claim) && (r->sink->given || r->gone)) {
        end_claim(r);
        return;
    }
    if (!r->begun || r->sink->given || r->gone ||
        (r->phase != RELAY_CLAIMING && r->phase != RELAY_PARKED && r->phase != RELAY_HELD &&
         r->phase != RELAY_SENDING))
        return;
    f.retry_after_s = 1;
    if (r->phase == RELAY_SENDING && r->sends > 0)
        f = failure_make(r->claim != NULL ? FAIL_UPSTREAM_RESPONSE_TIMEOUT : FAIL_UPSTREAM_LOST,
                         "This proxy was stopped (process.drain_timeout) before the upstream "
                         "answered: outcome unknown.");
    relay_fail(r, &f);
}

void relay_abandon(struct relay *r)
{
    r->gone = true;
    exchange_cancel(&r->exchange);
    tell_ledger(r, FAIL_DRAINING, r->down_done && !r->down_cut);
    if (is_alone(r))
        relay_finish(r);
    else
        r->sink->ops->close(r->sink);
}

/* --- deadlines ----------------------------------------------------------------------------
 *
 * One timer for each relay, armed lazily: a request only changes fields, and the timer
 * examines them when it fires. */

struct deadline {
    int64_t ms;
    enum failure_kind kind;
    const char *why;
};

/* Whether a part of a head was received; a complete interim one does not count. */
static bool head_begun(const struct relay *r)
{
    return r->exchange.attempt.began && !r->exchange.head.complete;
}

/* The caller is expected to accept its answer. */
static struct deadline send_deadline(const struct relay *r)
{
    int64_t since_ms = r->gone ? 0 : r->sink->blocked_ms;

    return (struct deadline){ .ms = since_ms == 0
                                        ? INT64_MAX
                                        : since_ms + r->config->listen.send_timeout_ms };
}

/* What the relay waits for now, until when, and the failure when it does not come. */
static struct deadline deadline_of(const struct relay *r)
{
    const struct config *c = r->config;
    struct deadline never = { .ms = INT64_MAX }, d = never;

    if (r->phase == RELAY_ENDED)
        return never;
    if (!r->begun)
        return send_deadline(r);
    if (r->phase == RELAY_PARKED || r->phase == RELAY_HELD)
        d = (struct deadline){ r->parked_ms + c->token.wait_timeout_ms, FAIL_TOKEN_TIMEOUT,
                               "No token came within token.wait_timeout" };
    else if (r->phase == RELAY_SENDING && !r->exchange.attempt.sending)
        /* It waits for a place (upstream.max_connections) and for a connection, which have their
         * own deadlines, and then for that connection to take it. */
        d = (struct deadline){ r->exchange.progress_ms + 2 * c->upstream.connect_timeout_ms +
                                   c->upstream.response_timeout_ms,
                               FAIL_UPSTREAM_CONNECT_TIMEOUT,
                               "The connection to the upstream took no request within "
                               "upstream.response_timeout: it was not sent" };
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
    if (claim_is_open(r->claim) && r->claim->end_by_ms < d.ms &&
        (r->phase == RELAY_SENDING || r->phase == RELAY_ANSWERING))
        d = (struct deadline){
            r->claim->end_by_ms, FAIL_UPSTREAM_STALLED,
            "It was not over within its lease in the ledger, twice "
            "upstream.connect_timeout and upstream.response_timeout: outcome "
            "unknown"
        };
    if (send_deadline(r).ms < d.ms)
        d = send_deadline(r);
    /* The caller is expected to send, unless the proxy is not reading. */
    if (!r->up.ended && !r->up_lost && !r->sink->held &&
        r->up_ms + c->listen.body_timeout_ms < d.ms)
        d = (struct deadline){ r->up_ms + c->listen.body_timeout_ms, FAIL_BODY_TIMEOUT,
                               "No more of the body came within listen.body_timeout" };
    return d;
}

static void arm(struct relay *r)
{
    int64_t now_ms = loop_now(&r->ctx->loop);

    if (r->timer.slot == 0)
        loop_timer_set(&r->ctx->loop, &r->timer,
                       base_min(deadline_of(r).ms, now_ms + WATCH_AFTER_MS));
}

static void expire(struct relay *r, const struct deadline *d)
{
    if (d->kind == FAIL_NONE) {
        r->sink->stalled = true;
        metrics_add(&r->ctx->metrics, M_send_timeouts, 1);
        relay_on_caller_gone(r);
        return;
    }
    struct failure f = failure_make(d->kind, "%s.", d->why);

    if (d->kind == FAIL_BODY_TIMEOUT || d->kind == FAIL_BAD_REQUEST) {
        r->up_stuck = d->kind == FAIL_BAD_REQUEST;
        r->up_lost = true;
        body_ends_early(r, &f);
    } else if (r->phase == RELAY_HELD) {
        release(r);
    } else if (r->phase == RELAY_ANSWERING && r->down_done) {
        r->up.discard = true; /* the answer is complete and stays as it is */
        relay_wake(r);
    } else if (r->sink->given || waits_for_release(r)) {
        exchange_cancel(&r->exchange);
        on_upstream_done(r, &f);
    } else {
        if (d->kind == FAIL_TOKEN_TIMEOUT)
            f.retry_after_s = 1;
        relay_fail(r, &f);
    }
}

/* Whether libmicrohttpd has stopped reading the body: it does so silently when the line with
 * the size of a chunk does not fit into its buffer. Checked twice, because bytes may have
 * arrived just now. */
static bool is_stuck(struct relay *r)
{
    bool unread = r->begun && !r->up.ended && !r->up_lost && r->sink->ops->has_unread(r->sink);
    bool again = unread && r->stuck_ms == r->up_ms;

    r->stuck_ms = unread ? r->up_ms : 0;
    return again;
}

static void on_timer(struct loop_timer *t)
{
    struct relay *r = CONTAINER_OF(t, struct relay, timer);
    struct context *ctx = r->ctx;
    int64_t now_ms = loop_now(&ctx->loop);

    r->sink->ops->look(r->sink);

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

/* --- the pool of relays -------------------------------------------------------------------
 *
 * When a request has ended, its relay is used for a later one, with the memory that it has. */

struct relay *relay_new(struct context *ctx, struct response_sink *sink, const char *target)
{
    struct relay *r = TAILQ_FIRST(&ctx->pool);

    if (r != NULL) {
        TAILQ_REMOVE(&ctx->pool, r, all_link);
        ctx->pool_count--;
    } else {
        r = base_alloc(sizeof *r);
        arena_init(&r->arena, ARENA_BYTES);
        buf_init(&r->down, RELAY_WINDOW_BYTES);
        exchange_init(&r->exchange, &(struct exchange_options){ .host = &ctx->exchange_host,
                                                                .user = &exchange_user,
                                                                .body = &r->up,
                                                                .answer_body = &r->down,
                                                                .arena = &r->arena });
    }
    r->ctx = ctx;
    r->sink = sink;
    sink->body = &r->down;
    sink->arena = &r->arena;
    r->config = config_ref(ctx->config);
    r->start_us = clock_us();
    r->parked_us = r->token_us = r->upstream_start_us = r->upstream_us = r->first_byte_us = -1;
    r->timer.on_due = on_timer;
    /* A missing target (HTTP/0.9) is refused by request_check. */
    size_t len = target == NULL ? 0 : strlen(target);
    r->target = arena_copy(&r->arena, target == NULL ? "" : target, len);
    if (r->target == NULL)
        r->target = "";
    TAILQ_INSERT_TAIL(&ctx->running, r, all_link);
    ctx->running_count++;
    metrics_add(&ctx->metrics, M_requests_started, 1);
    return r;
}

static void relay_free(struct relay *r)
{
    exchange_done(&r->exchange);
    arena_done(&r->arena);
    buf_done(&r->down);
    free(r);
}

/* Returns a relay to the pool. */
static void recycle(struct context *ctx, struct relay *r)
{
    if (ctx->pool_count == POOL_MAX || ctx->closed) {
        relay_free(r);
        return;
    }
    arena_clear(&r->arena);
    if (r->down.cap > POOLED_DOWN_BYTES)
        buf_done(&r->down);
    buf_clear(&r->down);
    r->down.limit = RELAY_WINDOW_BYTES;
    memset((char *)r + offsetof(struct relay, ctx), 0, sizeof *r - offsetof(struct relay, ctx));
    TAILQ_INSERT_HEAD(&ctx->pool, r, all_link);
    ctx->pool_count++;
}

/* What the ledger did for the request. */
static enum claim_result ledger_result(const struct relay *r)
{
    enum claim_result of_failure = claim_result_of(r->failure.kind);

    return of_failure != CLAIM_RESULT_NONE ? of_failure
           : r->claim != NULL              ? r->claim->result
                                           : CLAIM_RESULT_NONE;
}

/* Reports the finished request: counts, list of failures, access line. */
static void report(struct relay *r)
{
    bool has_path = r->route.path != NULL;

    access_log_write(r->ctx,
                     &(struct access_log_entry){
                         .config = r->config,
                         .failure = r->phase == RELAY_FAILED || r->failure.kind != FAIL_NONE
                                        ? &r->failure
                                        : NULL,
                         .method = r->method,
                         .safe = r->safe,
                         .has_class = r->has_class,
                         .class = r->class,
                         .decision = r->decision,
                         .caller = r->caller,
                         .rule = r->rule,
                         .rule_len = r->rule_len,
                         .path = has_path ? r->route.path : r->target,
                         .path_len = has_path ? r->route.path_len : strcspn(r->target, "?#"),
                         .status = r->sink->status,
                         .gone = r->gone,
                         .stalled = r->sink->stalled,
                         .cut = r->down_cut,
                         .total_us = clock_us() - r->start_us,
                         .token_us = r->token_us,
                         .upstream_us = r->upstream_us,
                         .bytes_in = r->up_bytes,
                         .bytes_out = r->sink->body_bytes,
                         .attempts = r->sends,
                         .request_id = r->request_id,
                         .caller_request_id = r->caller_request_id,
                         .caller_request_id_len = r->caller_request_id_len,
                         .trace_id = r->trace_id,
                         .ledger = ledger_result(r),
                         .ledger_id = r->claim == NULL ? NULL : r->claim->id,
                         .outcome = r->claim == NULL ? NULL : r->claim->outcome,
                         .generation = r->token == NULL ? 0 : r->token->generation });
}

/* The caller's side ends: copies what the log needs of it. */
static void go_alone(struct relay *r)
{
    if (r->caller_request_id != NULL)
        r->caller_request_id =
            arena_copy(&r->arena, r->caller_request_id, r->caller_request_id_len);
    null_sink_init(&r->null_sink, r->sink);
    r->null_sink.blocked_ms = 0;
    r->sink = &r->null_sink;
    relay_wake(r);
}

void relay_end(struct relay *r)
{
    if (claim_is_open(r->claim)) /* the caller has not waited for the end */
        relay_on_caller_gone(r);
    if (claim_is_open(r->claim) || sends_rest(r))
        go_alone(r);
    else
        relay_finish(r);
}

static void relay_finish(struct relay *r)
{
    struct context *ctx = r->ctx;

    unpark(r);
    exchange_cancel(&r->exchange);
    enter(r, RELAY_ENDED);
    if (r->in_flight)
        limit_give(ctx->in_flight);
    if (r->caller_in_flight)
        limits_leave(r->caller);
    report(r);
    loop_timer_clear(&ctx->loop, &r->timer);
    if (r->is_ready)
        TAILQ_REMOVE(&ctx->ready, r, ready_link);
    if (r->holds_secret) {
        buf_wipe(&r->up.bytes);
        buf_wipe(&r->down);
    }
    claim_done(r->claim);
    buf_done(&r->up.bytes);
    if (r->token != NULL)
        token_unref(r->token);
    config_unref(r->config);
    TAILQ_REMOVE(&ctx->running, r, all_link);
    ctx->running_count--;
    recycle(ctx, r);
}

void relay_free_pool(struct context *ctx)
{
    for (struct relay *r; (r = TAILQ_FIRST(&ctx->pool)) != NULL;) {
        TAILQ_REMOVE(&ctx->pool, r, all_link);
        relay_free(r);
    }
    ctx->pool_count = 0;
}

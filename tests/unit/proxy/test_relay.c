/* relay.c: every transition in its picture, and what is reported when a body is never
 * complete. */
#include "fake.h"

static struct relay *begin(int64_t body_bytes)
{
    struct relay *r = relay_new(&ctx, &fake.sink, "/x");

    r->begun = true;
    r->method = "POST";
    r->body_bytes = body_bytes;
    r->up.kept = true;
    r->up.ended = body_bytes == 0;
    r->up_ms = ctx.loop.now_ms;
    buf_init(&r->up.bytes, 262144);
    return r;
}

/* A relay in that phase, by the shortest way. */
static struct relay *in_phase(enum relay_phase phase, int64_t body_bytes)
{
    struct relay *r = begin(body_bytes);

    if (phase == RELAY_NEW)
        return r;
    if (phase == RELAY_FAILED) {
        relay_fail_for(r, FAIL_OVERLOAD, "Too much");
    } else if (phase == RELAY_LOCAL) {
        relay_answer_locally(r);
    } else {
        give_token(phase == RELAY_PARKED ? -1 : 0);
        relay_begin(r);
    }
    if (phase == RELAY_HELD || phase == RELAY_ANSWERING) {
        r->exchange.head.complete = true;
        r->exchange.head.status = phase == RELAY_HELD ? 401 : 201;
        r->exchange.head.content_length = 2;
        r->exchange.attempt.began = true;
        r->exchange.progress_ms = ctx.loop.now_ms;
        r->exchange.with.user->on_sending(&r->exchange);
        r->exchange.with.user->on_head(&r->exchange);
    }
    assert_int_equal(r->phase, phase);
    return r;
}

static void fail_upstream(struct relay *r)
{
    struct failure f = failure_make(FAIL_UPSTREAM_LOST, "Lost: outcome unknown.");

    r->exchange.with.user->on_end(&r->exchange, &f);
}

static void the_end(struct relay *r)
{
    relay_end(r);
    assert_int_equal(ctx.running_count, 0);
    assert_true(TAILQ_EMPTY(&ctx.parked) && TAILQ_EMPTY(&ctx.ready));
    assert_int_equal(r->timer.slot, 0);
}

static void any_phase_may_be_the_last(void **state)
{
    static const enum relay_phase phases[] = { RELAY_NEW,   RELAY_PARKED,    RELAY_SENDING,
                                               RELAY_HELD,  RELAY_ANSWERING, RELAY_LOCAL,
                                               RELAY_FAILED };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(phases); i++)
        the_end(in_phase(phases[i], 0));
    assert_true(ctx.pool_count == 1); /* one served them all */
}

static void without_a_token_it_waits_and_asks_for_one(void **state)
{
    (void)state;
    struct relay *r = in_phase(RELAY_PARKED, 0);
    assert_int_equal(wanted, 1);
    assert_int_equal(fake_exchange.starts, 0);
    give_token(0);
    relay_on_token(r);
    assert_int_equal(r->phase, RELAY_SENDING);
    assert_int_equal(fake_exchange.starts, 1);
    the_end(r);
}

static void when_no_token_is_to_come_it_fails_at_once(void **state)
{
    (void)state;
    give_token(-1);
    ctx.failing = true;
    ctx.failure = failure_make(FAIL_TOKEN_DNS, "No.");
    struct relay *r = begin(0);
    relay_begin(r);
    assert_int_equal(r->phase, RELAY_FAILED);
    assert_int_equal(fake.failure.kind, FAIL_TOKEN_DNS);
    the_end(r);
    ctx.failing = false;
    r = in_phase(RELAY_PARKED, 0);
    ctx.failing = true;
    relay_on_token(r);
    assert_int_equal(r->phase, RELAY_FAILED);
    the_end(r);
}

static void the_wait_for_a_token_has_an_end(void **state)
{
    (void)state;
    struct relay *r = in_phase(RELAY_PARKED, 0);
    pass(r, 2999);
    assert_int_equal(r->phase, RELAY_PARKED);
    pass(r, 1);
    assert_int_equal(r->phase, RELAY_FAILED);
    assert_int_equal(fake.failure.kind, FAIL_TOKEN_TIMEOUT);
    assert_int_equal(fake.failure.retry_after_s, 1);
    the_end(r);
}

/* Its caller was not asked for the body meanwhile (Expect: 100-continue). */
static void the_wait_for_a_token_does_not_count_as_one_for_the_body(void **state)
{
    (void)state;
    struct relay *r = in_phase(RELAY_PARKED, 10);
    fake.sink.held = true;
    pass(r, 2000); /* longer than listen.body_timeout */
    assert_int_equal(r->phase, RELAY_PARKED);
    give_token(0);
    relay_on_token(r);
    fake.sink.held = false;
    r->exchange.wants_body = true;
    pass(r, 999);
    assert_int_equal(r->phase, RELAY_SENDING);
    pass(r, 1);
    assert_int_equal(fake.failure.kind, FAIL_BODY_TIMEOUT);
    the_end(r);
}

/* It waited for a connection until its token had expired. */
static void fail_barred_by_token(struct relay *r)
{
    const struct failure f = failure_make(FAIL_FROZEN, "Requests are stopped.");

    tokens[0].expires_ms = ctx.loop.now_ms;
    assert_false(r->exchange.with.user->may_send(&r->exchange));
    r->exchange.with.user->on_end(&r->exchange, &f);
    assert_int_equal(r->phase, RELAY_PARKED);
}

static void after_its_token_expired_it_goes_on_at_once_with_the_one_that_is_held(void **state)
{
    (void)state;
    struct relay *r = in_phase(RELAY_SENDING, 0);
    (void)relay_turn(&ctx);
    give_token(1); /* a renewal; another one may be in progress, which tells nobody anything */
    fail_barred_by_token(r);
    assert_int_equal(wanted, 0);
    (void)relay_turn(&ctx);
    assert_int_equal(r->phase, RELAY_SENDING);
    assert_int_equal(fake_exchange.starts, 2);
    assert_ptr_equal(r->token, &tokens[1]);
    assert_true(r->exchange.with.user->may_send(&r->exchange));
    the_end(r);
}

static void after_its_token_expired_it_waits_for_the_next_one(void **state)
{
    (void)state;
    struct relay *r = in_phase(RELAY_SENDING, 0);
    fail_barred_by_token(r);
    assert_int_equal(wanted, 1);
    while (relay_turn(&ctx)) /* it does not wake itself */
        assert_int_equal(r->phase, RELAY_PARKED);
    give_token(1);
    relay_on_token(r);
    assert_int_equal(r->phase, RELAY_SENDING);
    the_end(r);
}

static void a_token_for_another_upstream_is_not_used(void **state)
{
    (void)state;
    struct config moved = config;
    struct relay *r = in_phase(RELAY_PARKED, 0);
    moved.upstream.origin = "https://elsewhere.test";
    ctx.config = &moved;
    give_token(0);
    relay_on_token(r);
    assert_int_equal(r->phase, RELAY_FAILED);
    assert_int_equal(fake_exchange.starts, 0);
    the_end(r);
}

static void what_cannot_be_sent_fails(void **state)
{
    (void)state;
    fake_exchange.start_fails = FAIL_HEAD_TOO_LARGE;
    struct relay *r = begin(0);
    relay_begin(r);
    assert_int_equal(r->phase, RELAY_FAILED);
    assert_int_equal(fake.failure.kind, FAIL_HEAD_TOO_LARGE);
    the_end(r);
}

static void an_answer_is_begun_once_and_ended_as_it_ended(void **state)
{
    (void)state;
    struct relay *r = in_phase(RELAY_ANSWERING, 0);
    (void)relay_turn(&ctx);
    assert_int_equal(fake.begun, 1);
    assert_int_equal(fake.head.status, 201);
    assert_int_equal(fake.head.body_bytes, 2);
    assert_int_equal(fake.ended, 0);
    fake.sink.given = true;
    r->exchange.with.user->on_end(&r->exchange, NULL);
    (void)relay_turn(&ctx);
    assert_int_equal(fake.begun, 1);
    assert_int_equal(fake.ended, 1);
    assert_int_equal(fake.how, RESPONSE_WHOLE);
    the_end(r);
}

static void an_answer_that_is_lost_before_it_was_given_becomes_a_failure(void **state)
{
    (void)state;
    struct relay *r = in_phase(RELAY_ANSWERING, 0);
    (void)relay_turn(&ctx);
    fail_upstream(r);
    assert_int_equal(r->phase, RELAY_FAILED);
    assert_int_equal(fake.failure.kind, FAIL_UPSTREAM_LOST);
    the_end(r);
}

static void one_that_is_lost_after_that_is_cut(void **state)
{
    (void)state;
    struct relay *r = in_phase(RELAY_ANSWERING, 0);
    (void)relay_turn(&ctx);
    fake.sink.given = true;
    fail_upstream(r);
    (void)relay_turn(&ctx);
    assert_int_equal(r->phase, RELAY_ANSWERING);
    assert_int_equal(fake.rejected, 0);
    assert_int_equal(fake.how, RESPONSE_CUT);
    assert_int_equal(r->failure.kind, FAIL_UPSTREAM_LOST); /* for the log */
    the_end(r);
}

static void no_answer_at_all_is_a_failure(void **state)
{
    (void)state;
    struct relay *r = in_phase(RELAY_SENDING, 0);
    fail_upstream(r);
    assert_int_equal(r->phase, RELAY_FAILED);
    the_end(r);
    r = in_phase(RELAY_SENDING, 0);
    pass(r, 1999);
    assert_int_equal(r->phase, RELAY_SENDING); /* not sent yet: waits for a connection */
    r->exchange.attempt.sending = true;
    pass(r, 2000);
    assert_int_equal(r->phase, RELAY_FAILED);
    assert_int_equal(fake.failure.kind, FAIL_UPSTREAM_RESPONSE_TIMEOUT);
    the_end(r);
}

/* A connection that is open and takes nothing: upstream.connect_timeout is over. */
static void what_is_never_sent_is_not_waited_for_without_end(void **state)
{
    (void)state;
    config.upstream.connect_timeout_ms = 500;
    struct relay *r = in_phase(RELAY_SENDING, 0);
    assert_false(r->exchange.attempt.sending);
    pass(r, 2999); /* waiting for a place, connecting, and then for its turn */
    assert_int_equal(r->phase, RELAY_SENDING);
    pass(r, 1);
    assert_int_equal(fake.rejected, 1);
    assert_int_equal(fake.failure.kind, FAIL_UPSTREAM_CONNECT_TIMEOUT);
    assert_true(failure_retryable(&fake.failure));
    the_end(r);
}

static void a_refused_token_is_told_and_the_answer_held(void **state)
{
    (void)state;
    struct relay *r = in_phase(RELAY_HELD, 0);
    assert_int_equal(refused, 1);
    assert_int_equal(refused_generation, 1);
    (void)relay_turn(&ctx);
    assert_int_equal(fake.begun, 0);
    give_token(1);
    relay_on_token(r);
    assert_int_equal(r->phase, RELAY_SENDING);
    assert_int_equal(fake_exchange.starts, 2);
    assert_ptr_equal(r->token, &tokens[1]);
    the_end(r);
}

static void it_is_repeated_once_and_no_more(void **state)
{
    (void)state;
    struct relay *r = in_phase(RELAY_HELD, 0);
    give_token(1);
    relay_on_token(r);
    r->exchange.head.status = 401;
    r->exchange.with.user->on_head(&r->exchange);
    assert_int_equal(r->phase, RELAY_ANSWERING);
    assert_int_equal(fake_exchange.starts, 2);
    the_end(r);
}

static void a_held_refusal_goes_through_when_no_token_is_to_come(void **state)
{
    (void)state;
    struct relay *r = in_phase(RELAY_HELD, 0);
    ctx.failing = true;
    relay_on_token(r);
    assert_int_equal(r->phase, RELAY_ANSWERING);
    (void)relay_turn(&ctx);
    assert_int_equal(fake.head.status, 401);
    the_end(r);
    ctx.failing = false;
    r = in_phase(RELAY_HELD, 0);
    pass(r, 3000);
    assert_int_equal(r->phase, RELAY_ANSWERING);
    the_end(r);
}

/* The second token is the thread's newest and so young that it may not be known everywhere. */
static struct relay *refused_young(bool other_good)
{
    struct relay *r;

    tokens[1].obtained_ms = ctx.loop.now_ms;
    ctx.other_token = &tokens[0];
    ctx.other_good = other_good;
    r = begin(0);
    give_token(1);
    relay_begin(r);
    assert_ptr_equal(r->token, &tokens[1]);
    r->exchange.head.complete = true;
    r->exchange.head.status = 401;
    r->exchange.attempt.began = true;
    r->exchange.with.user->on_head(&r->exchange);
    (void)relay_turn(&ctx);
    return r;
}

static void a_refused_young_token_is_told_and_the_one_before_used(void **state)
{
    (void)state;
    struct relay *r = refused_young(true);
    assert_int_equal(refused, 1);
    assert_int_equal(refused_generation, 2);
    assert_int_equal(r->phase, RELAY_SENDING);
    assert_int_equal(fake_exchange.starts, 2);
    assert_ptr_equal(r->token, &tokens[0]);
    r->exchange.head.status = 401; /* which is refused, too */
    r->exchange.with.user->on_head(&r->exchange);
    assert_int_equal(r->phase, RELAY_ANSWERING);
    assert_int_equal(fake_exchange.starts, 2);
    assert_int_equal(refused, 2); /* so that it is not thought good */
    assert_int_equal(refused_generation, 1);
    the_end(r);
}

static void a_bad_one_before_is_used_only_when_nothing_else_is_to_come(void **state)
{
    (void)state;
    struct relay *r = refused_young(false);
    assert_int_equal(r->phase, RELAY_HELD);
    ctx.passthrough_generation = 2;
    relay_on_token(r);
    assert_int_equal(r->phase, RELAY_SENDING);
    assert_ptr_equal(r->token, &tokens[0]);
    the_end(r);
    ctx.passthrough_generation = 0;
    r = refused_young(false);
    assert_int_equal(r->phase, RELAY_HELD);
    ctx.token = &tokens[0]; /* it serves for a moment */
    ctx.other_token = &tokens[1];
    relay_on_token(r);
    assert_int_equal(r->phase, RELAY_SENDING);
    assert_ptr_equal(r->token, &tokens[0]);
    the_end(r);
}

static void one_that_is_not_young_waits_for_the_next(void **state)
{
    (void)state;
    ctx.loop.now_ms += TOKEN_YOUNG_MS;
    struct relay *r = refused_young(true);
    assert_int_equal(r->phase, RELAY_SENDING); /* it is young: it was had just now */
    the_end(r);
    r = refused_young(true);
    the_end(r);
    tokens[1].obtained_ms = ctx.loop.now_ms - TOKEN_YOUNG_MS;
    ctx.token = &tokens[1];
    r = begin(0);
    relay_begin(r);
    r->exchange.head.status = 401;
    r->exchange.with.user->on_head(&r->exchange);
    (void)relay_turn(&ctx);
    assert_int_equal(r->phase, RELAY_HELD);
    the_end(r);
}

static void the_first_time_a_doubted_token_is_taken_is_told(void **state)
{
    (void)state;
    ctx.doubted[0] = 7;
    ctx.doubted[1] = 1;
    for (int i = 0; i < 3; i++)
        the_end(in_phase(RELAY_ANSWERING, 0));
    assert_int_equal(accepted, 1);
}

static void refusals_are_passed_on_until_the_time_is_over(void **state)
{
    (void)state;
    ctx.passthrough_generation = 1;
    ctx.passthrough_until_ms = ctx.loop.now_ms + 10;
    struct relay *r = in_phase(RELAY_HELD, 0);
    (void)relay_turn(&ctx);
    assert_int_equal(r->phase, RELAY_ANSWERING);
    assert_int_equal(refused, 0);
    the_end(r);
    ctx.loop.now_ms += 10;
    r = in_phase(RELAY_HELD, 0);
    (void)relay_turn(&ctx);
    assert_int_equal(r->phase, RELAY_HELD);
    assert_int_equal(refused, 1);
    the_end(r);
}

static void a_body_that_is_kept_no_more_is_not_sent_again(void **state)
{
    (void)state;
    static char bytes[65537];
    struct relay *r = in_phase(RELAY_HELD, -1);
    (void)relay_on_body(r, bytes, sizeof bytes);
    assert_int_equal(r->phase, RELAY_ANSWERING);
    assert_int_equal(fake_exchange.starts, 1);
    the_end(r);
}

/* Money: what is told when the rest of a body does not come in time. */
static void a_stalled_body_is_told_by_what_the_upstream_may_have_done(void **state)
{
    (void)state;
    /* no answer has begun: it was never whole, so never carried out */
    static const enum relay_phase before[] = { RELAY_PARKED, RELAY_SENDING, RELAY_LOCAL };
    for (size_t i = 0; i < ARRAY_LEN(before); i++) {
        struct relay *r = in_phase(before[i], 100);
        r->exchange.wants_body = true;
        pass(r, 1000);
        assert_int_equal(r->phase, RELAY_FAILED);
        assert_int_equal(fake.failure.kind, FAIL_BODY_TIMEOUT);
        the_end(r);
    }
    fake.rejected = 0;

    /* something of an answer is here: the upstream's word counts */
    struct relay *r = in_phase(RELAY_SENDING, 100);
    r->exchange.attempt.began = r->exchange.wants_body = true;
    (void)relay_turn(&ctx);
    pass(r, 1000);
    assert_int_equal(r->phase, RELAY_SENDING);
    assert_true(r->up.discard);
    assert_int_equal(fake.rejected, 0);
    fail_upstream(r);
    assert_int_equal(fake.failure.kind, FAIL_UPSTREAM_LOST);
    assert_false(failure_info(fake.failure.kind)->retryable);
    the_end(r);
    fake.rejected = 0;

    /* a refusal of the token is the answer */
    r = in_phase(RELAY_HELD, 100);
    pass(r, 1000);
    assert_int_equal(r->phase, RELAY_ANSWERING);
    assert_int_equal(fake.head.status, 401);
    the_end(r);

    /* the answer is being given, and stays */
    for (int given = 0; given < 2; given++) {
        r = in_phase(RELAY_ANSWERING, 100);
        (void)relay_turn(&ctx);
        fake.sink.given = given != 0;
        r->exchange.wants_body = true;
        pass(r, 1000);
        assert_int_equal(r->phase, RELAY_ANSWERING);
        assert_int_equal(fake.rejected, 0);
        assert_true(r->up.discard);
        the_end(r);
        fake.sink.given = false;
    }
    /* ... and when it is out the connection is closed */
    r = in_phase(RELAY_ANSWERING, 100);
    (void)relay_turn(&ctx);
    fake.sink.given = fake.sink.written = true;
    fake.closed = 0;
    pass(r, 1000);
    assert_int_equal(fake.closed, 1);
    the_end(r);
    assert_int_equal(fake.rejected, 0);
}

static void a_line_that_nobody_reads_is_a_bad_request_before_an_answer_only(void **state)
{
    (void)state;
    fake.unread = true;
    struct relay *r = in_phase(RELAY_SENDING, -1);
    pass(r, 10);
    pass(r, 10); /* seen twice */
    assert_int_equal(r->phase, RELAY_FAILED);
    assert_int_equal(fake.failure.kind, FAIL_BAD_REQUEST);
    assert_true(relay_is_stuck(r));
    the_end(r);
    fake.rejected = 0;
    r = in_phase(RELAY_ANSWERING, -1);
    pass(r, 10);
    pass(r, 10);
    assert_int_equal(r->phase, RELAY_ANSWERING);
    assert_int_equal(fake.rejected, 0);
    the_end(r);
}

static void too_much_of_a_body_is_refused_before_an_answer_only(void **state)
{
    (void)state;
    config.listen.max_body_size_bytes = 4;
    struct relay *r = in_phase(RELAY_SENDING, -1);
    assert_int_equal(relay_on_body(r, "12345", 5), 5);
    assert_int_equal(fake.failure.kind, FAIL_BODY_TOO_LARGE);
    the_end(r);
    fake.rejected = 0;
    r = in_phase(RELAY_ANSWERING, -1);
    fake_exchange.sending = true;
    (void)relay_turn(&ctx);
    assert_int_equal(relay_on_body(r, "12345", 5), 5);
    assert_int_equal(r->phase, RELAY_ANSWERING);
    assert_int_equal(fake.rejected, 0);
    the_end(r);
}

static void an_upload_goes_on_behind_an_answer_for_as_long_as_it_is_wanted(void **state)
{
    (void)state;
    struct relay *r = in_phase(RELAY_ANSWERING, -1);
    (void)relay_turn(&ctx);
    assert_true(relay_passes_body_on(r));
    assert_int_equal(relay_on_body(r, "12345", 5), 5);
    assert_int_equal(r->up_bytes, 5);
    r->exchange.with.user->on_end(&r->exchange, NULL);
    fake_exchange.sending = true;
    (void)relay_turn(&ctx);
    assert_true(relay_passes_body_on(r)); /* the answer is whole, the request not yet */
    assert_true(relay_wants_rest(r));
    r->exchange.rest_unwanted = true;
    r->exchange.with.user->on_progress(&r->exchange);
    (void)relay_turn(&ctx);
    assert_false(relay_passes_body_on(r));
    assert_true(relay_wants_rest(r)); /* to be thrown away */
    assert_int_equal(relay_on_body(r, "12345", 5), 5);
    assert_int_equal(r->up_bytes, 5);
    the_end(r);
}

static void what_is_thrown_away_has_a_bound(void **state)
{
    (void)state;
    static char bytes[1 << 20];
    size_t taken = 0;
    struct relay *r = in_phase(RELAY_FAILED, -1);
    for (size_t n = 1; n > 0 && taken <= 2 * RELAY_DISCARD_BYTES; taken += n)
        n = relay_on_body(r, bytes, sizeof bytes);
    assert_in_range(taken, RELAY_DISCARD_BYTES, RELAY_DISCARD_BYTES + sizeof bytes);
    assert_false(relay_takes_body(r));
    assert_false(relay_wants_rest(r));
    the_end(r);
}

static void nothing_is_sent_for_a_caller_that_has_left(void **state)
{
    (void)state;
    struct relay *r = in_phase(RELAY_PARKED, 0);
    relay_on_caller_gone(r);
    give_token(0);
    relay_on_token(r);
    assert_int_equal(fake_exchange.starts, 0);
    assert_true(relay_is_abandoned(r));
    the_end(r);
}

static void a_stop_tells_whether_the_request_may_have_been_carried_out(void **state)
{
    (void)state;
    struct relay *r = in_phase(RELAY_PARKED, 0);
    relay_give_up(r);
    assert_int_equal(fake.failure.kind, FAIL_DRAINING);
    the_end(r);
    r = in_phase(RELAY_SENDING, 0);
    r->exchange.with.user->on_sending(&r->exchange);
    relay_give_up(r);
    assert_int_equal(fake.failure.kind, FAIL_UPSTREAM_LOST);
    the_end(r);
    fake.rejected = 0;
    r = in_phase(RELAY_ANSWERING, 0);
    fake.sink.given = true;
    relay_give_up(r);
    assert_int_equal(fake.rejected, 0);
    the_end(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(any_phase_may_be_the_last),
        T(without_a_token_it_waits_and_asks_for_one),
        T(when_no_token_is_to_come_it_fails_at_once),
        T(the_wait_for_a_token_has_an_end),
        T(the_wait_for_a_token_does_not_count_as_one_for_the_body),
        T(after_its_token_expired_it_goes_on_at_once_with_the_one_that_is_held),
        T(after_its_token_expired_it_waits_for_the_next_one),
        T(a_token_for_another_upstream_is_not_used),
        T(what_cannot_be_sent_fails),
        T(an_answer_is_begun_once_and_ended_as_it_ended),
        T(an_answer_that_is_lost_before_it_was_given_becomes_a_failure),
        T(one_that_is_lost_after_that_is_cut),
        T(no_answer_at_all_is_a_failure),
        T(what_is_never_sent_is_not_waited_for_without_end),
        T(a_refused_token_is_told_and_the_answer_held),
        T(it_is_repeated_once_and_no_more),
        T(a_refused_young_token_is_told_and_the_one_before_used),
        T(a_bad_one_before_is_used_only_when_nothing_else_is_to_come),
        T(one_that_is_not_young_waits_for_the_next),
        T(the_first_time_a_doubted_token_is_taken_is_told),
        T(refusals_are_passed_on_until_the_time_is_over),
        T(a_held_refusal_goes_through_when_no_token_is_to_come),
        T(a_body_that_is_kept_no_more_is_not_sent_again),
        T(a_stalled_body_is_told_by_what_the_upstream_may_have_done),
        T(a_line_that_nobody_reads_is_a_bad_request_before_an_answer_only),
        T(too_much_of_a_body_is_refused_before_an_answer_only),
        T(an_upload_goes_on_behind_an_answer_for_as_long_as_it_is_wanted),
        T(what_is_thrown_away_has_a_bound),
        T(nothing_is_sent_for_a_caller_that_has_left),
        T(a_stop_tells_whether_the_request_may_have_been_carried_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

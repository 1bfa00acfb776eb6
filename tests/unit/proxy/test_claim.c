/* relay.c and claim.c with a ledger: everything that can happen to a request that is
 * recorded, from its head to the reported outcome, and what its caller gets. */
#include "fake.h"

static const struct header_field keyed[] = { { "Idempotency-Key", "\"8e03\"", 15, 6 },
                                             { "X-A", "1", 3, 1 } };
static const struct header_field plain[] = { { "X-A", "1", 3, 1 } };

struct ask {
    const struct header_field *fields; /* NULL: with a key */
    size_t count;
    const char *method, *path; /* NULL: POST, /x */
    int64_t body_bytes;
    bool is_money;
};

/* A request as admission leaves it. */
static struct relay *relay_with(const struct ask *q)
{
    struct relay *r = relay_new(&ctx, &fake.sink, "/x?q=1");

    r->begun = true;
    r->method = q->method == NULL ? "POST" : q->method;
    r->request_id = "req-1";
    r->fields = q->fields == NULL ? keyed : q->fields;
    r->count = q->fields == NULL ? ARRAY_LEN(keyed) : q->count;
    r->route = (struct route){ .prefix = "/v0", .path = "/x?q=1", .path_len = 2 };
    r->body_bytes = q->body_bytes;
    r->is_money = q->is_money;
    r->up.kept = true;
    r->up_ms = ctx.loop.now_ms;
    buf_init(&r->up.bytes, 262144);
    relay_begin_claim(r);
    return r;
}

/* The whole body comes. */
static void send_body(struct relay *r, const char *body)
{
    assert_int_equal(relay_on_body(r, body, strlen(body)), strlen(body));
    relay_on_body_end(r);
    (void)relay_turn(&ctx);
}

/* A keyed request with this body (NULL: none). */
static struct relay *keyed_request(const char *body)
{
    struct relay *r =
        relay_with(&(struct ask){ .body_bytes = body == NULL ? 0 : (int64_t)strlen(body) });

    if (body == NULL)
        r->up.ended = true;
    else
        send_body(r, body);
    return r;
}

static struct relay *claimed_request(const char *body)
{
    struct relay *r = keyed_request(body);

    ledger_replies(LEDGER_CLAIMED);
    assert_int_equal(r->phase, RELAY_SENDING);
    return r;
}

/* The first byte is written. */
static struct relay *sent_request(void)
{
    struct relay *r = claimed_request("{}");

    assert_true(r->exchange.with.user->may_send(&r->exchange));
    r->exchange.attempt.sending = r->exchange.attempt.wrote = true;
    r->exchange.with.user->on_sending(&r->exchange);
    return r;
}

static const struct header_field answer_fields[] = { { "Content-Type", "application/json", 12,
                                                       16 },
                                                     { "Set-Cookie", "a=b", 10, 3 },
                                                     { "X-Request-Id", "up-1", 12, 4 } };

static void head_comes(struct relay *r, int status)
{
    static struct header_field fields[ARRAY_LEN(answer_fields)];

    memcpy(fields, answer_fields, sizeof fields);
    r->exchange.fields = fields;
    r->exchange.field_count = ARRAY_LEN(fields);
    r->exchange.head.complete = true;
    r->exchange.head.status = status;
    r->exchange.head.content_length = -1;
    r->exchange.body_bytes = 0;
    r->exchange.attempt.began = true;
    r->exchange.progress_ms = ctx.loop.now_ms;
    r->exchange.with.user->on_head(&r->exchange);
}

static void body_comes(struct relay *r, const char *bytes, size_t n)
{
    r->exchange.body_bytes += (int64_t)n;
    assert_int_equal(buf_add(&r->down, bytes, n), 0);
    r->exchange.with.user->on_progress(&r->exchange);
}

static void answer_ends(struct relay *r)
{
    r->exchange.with.user->on_end(&r->exchange, NULL);
    (void)relay_turn(&ctx);
}

static void answer(struct relay *r, int status, const char *body)
{
    head_comes(r, status);
    body_comes(r, body, strlen(body));
    answer_ends(r);
}

static void upstream_fails(struct relay *r, enum failure_kind kind, bool wrote)
{
    struct failure f = failure_make(kind, "It failed.");

    r->exchange.attempt.wrote = wrote;
    r->exchange.with.user->on_end(&r->exchange, &f);
    (void)relay_turn(&ctx);
}

static void the_end(struct relay *r)
{
    relay_end(r);
    (void)relay_turn(&ctx);
    assert_int_equal(ctx.running_count, 0);
    assert_true(TAILQ_EMPTY(&ctx.parked) && TAILQ_EMPTY(&ctx.ready));
    assert_int_equal(r->timer.slot, 0);
    memset(&fake.sink, 0, sizeof fake.sink);
    fake.sink.ops = &fake_ops;
    fake.rejected = fake.begun = fake.ended = 0;
    memset(&fake_ledger, 0, sizeof fake_ledger);
    fake_exchange.starts = 0;
}

static void assert_outcome(enum ledger_state state, const char *cause)
{
    assert_int_equal(fake_ledger.outcomes + fake_ledger.settles, 1);
    assert_int_equal(fake_ledger.state, state);
    assert_string_equal(fake_ledger.cause, cause);
    assert_string_equal(fake_ledger.id, "0190-claim");
}

/* --- A: before there is a claim ----------------------------------------------------------- */

static void a_key_is_asked_for_only_with_its_whole_body(void **state)
{
    (void)state;
    struct relay *r = relay_with(&(struct ask){ .body_bytes = 4 });
    assert_int_equal(r->phase, RELAY_CLAIMING);
    assert_true(relay_takes_body(r));
    assert_int_equal(relay_on_body(r, "{\"", 2), 2);
    (void)relay_turn(&ctx);
    assert_int_equal(fake_ledger.asks, 0);
    send_body(r, "\"}");
    assert_int_equal(fake_ledger.asks, 1);
    assert_int_equal(fake_ledger.want, LEDGER_CLAIM);
    assert_string_equal(fake_ledger.key, "8e03");
    assert_string_equal(fake_ledger.scope, "");
    assert_string_equal(fake_ledger.path, "/v0/x");
    assert_string_equal(fake_ledger.request_body, ""); /* ledger.store_requests */
    assert_true(fake_ledger.has_fingerprint);
    assert_int_equal(fake_exchange.starts, 0);
    ledger_replies(LEDGER_CLAIMED);
    assert_int_equal(r->phase, RELAY_SENDING);
    assert_int_equal(fake_exchange.starts, 1);
    assert_true(fake_exchange.request.claimed);
    assert_true(fake_exchange.request.head.identity);
    assert_false(fake_exchange.request.head.drop_key);
    assert_false(fake_exchange.request.resendable);
    /* what libmicrohttpd has goes with the caller */
    assert_ptr_not_equal(fake_exchange.request.head.fields, keyed);
    the_end(r);
}

static void settings_say_what_goes_to_the_upstream_and_to_the_store(void **state)
{
    (void)state;
    config.ledger.forward_key = false;
    config.ledger.store_requests = true;
    struct relay *r = claimed_request("{\"a\":1}");
    assert_string_equal(fake_ledger.request_body, "{\"a\":1}");
    assert_true(fake_exchange.request.head.drop_key);
    the_end(r);
}

static void a_bad_key_is_refused_before_the_body(void **state)
{
    static const struct header_field two[] = { { "Idempotency-Key", "a", 15, 1 },
                                               { "Idempotency-Key", "a", 15, 1 } };
    (void)state;
    struct relay *r = relay_with(&(struct ask){ .fields = two, .count = 2, .body_bytes = 4 });
    assert_int_equal(fake.failure.kind, FAIL_KEY_MALFORMED);
    assert_int_equal(fake_ledger.asks, 0);
    the_end(r);
}

static void a_key_may_be_required(void **state)
{
    static const struct {
        int64_t require;
        bool is_money, refused;
    } rows[] = { { WHICH_NONE, true, false },
                 { WHICH_MONEY, true, true },
                 { WHICH_MONEY, false, false },
                 { WHICH_UNSAFE, false, true } };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        config.ledger.require_key = rows[i].require;
        struct relay *r = relay_with(
            &(struct ask){ .fields = plain, .count = 1, .is_money = rows[i].is_money });
        assert_int_equal(r->phase, rows[i].refused ? RELAY_FAILED : RELAY_SENDING);
        if (rows[i].refused)
            assert_int_equal(fake.failure.kind, FAIL_KEY_REQUIRED);
        assert_int_equal(fake_ledger.asks, 0);
        the_end(r);
    }
}

static void without_a_key_and_a_journal_nothing_is_different(void **state)
{
    (void)state;
    struct relay *r = relay_with(&(struct ask){ .fields = plain, .count = 1, .body_bytes = 2 });
    assert_null(r->claim);
    assert_int_equal(r->phase, RELAY_SENDING);
    assert_false(fake_exchange.request.claimed);
    assert_false(fake_exchange.request.head.identity);
    assert_ptr_equal(fake_exchange.request.head.fields, plain);
    the_end(r);
}

static void a_body_above_max_request_is_refused_however_it_is_measured(void **state)
{
    static char bytes[1025];
    (void)state;
    struct relay *r = relay_with(&(struct ask){ .body_bytes = 1025 });
    assert_int_equal(fake.failure.kind, FAIL_BODY_TOO_LARGE);
    assert_non_null(strstr(fake.failure.detail, "ledger.max_request"));
    the_end(r);
    r = relay_with(&(struct ask){ .body_bytes = -1 });
    assert_int_equal(relay_on_body(r, bytes, 1024), 1024);
    assert_int_equal(r->phase, RELAY_CLAIMING);
    assert_int_equal(relay_on_body(r, bytes, 1), 1);
    assert_int_equal(fake.failure.kind, FAIL_BODY_TOO_LARGE);
    assert_int_equal(fake_ledger.asks, 0);
    the_end(r);
    /* a money path, where the key may be in the body */
    config.ledger.key_pointer = "/memo";
    r = relay_with(
        &(struct ask){ .fields = plain, .count = 1, .body_bytes = 1025, .is_money = true });
    assert_int_equal(fake.failure.kind, FAIL_BODY_TOO_LARGE);
    the_end(r);
    r = relay_with(&(struct ask){ .fields = plain, .count = 1, .body_bytes = 1025 });
    assert_int_equal(r->phase, RELAY_SENDING);
    the_end(r);
}

static void a_key_in_the_body_is_one_of_money_only(void **state)
{
    static const char body[] = "{\"memo\":\"idem:9f salary\"}";
    (void)state;
    config.ledger.key_pointer = "/memo";
    struct relay *r = relay_with(&(struct ask){
        .fields = plain, .count = 1, .body_bytes = sizeof body - 1, .is_money = true });
    assert_int_equal(r->phase, RELAY_CLAIMING);
    send_body(r, body);
    assert_string_equal(fake_ledger.key, "9f");
    the_end(r);
    r = relay_with(&(struct ask){ .fields = plain, .count = 1, .body_bytes = sizeof body - 1 });
    assert_int_equal(r->phase, RELAY_SENDING);
    the_end(r);
    /* two that differ */
    r = relay_with(&(struct ask){ .body_bytes = sizeof body - 1, .is_money = true });
    send_body(r, body);
    assert_int_equal(fake.failure.kind, FAIL_KEY_MALFORMED);
    assert_int_equal(fake_ledger.asks, 0);
    the_end(r);
}

static void a_payment_whose_body_cannot_be_read_needs_a_key_in_its_head(void **state)
{
    static const char body[] = "{\"memo\":\"idem:9f M\xfcller\"}";
    (void)state;
    config.ledger.key_pointer = "/memo";
    struct relay *r = relay_with(&(struct ask){
        .fields = plain, .count = 1, .body_bytes = sizeof body - 1, .is_money = true });
    send_body(r, body);
    assert_int_equal(fake.failure.kind, FAIL_KEY_MALFORMED);
    assert_non_null(strstr(fake.failure.detail, "not text in UTF-8"));
    assert_int_equal(fake_ledger.asks, 0);
    the_end(r);
    r = relay_with(&(struct ask){ .body_bytes = sizeof body - 1, .is_money = true });
    send_body(r, body);
    assert_string_equal(fake_ledger.key, "8e03");
    the_end(r);
}

static void a_body_that_turns_out_to_have_no_key_is_sent_as_it_is(void **state)
{
    static const char body[] = "{\"memo\":\"salary\"}";
    (void)state;
    config.ledger.key_pointer = "/memo";
    const struct ask q = {
        .fields = plain, .count = 1, .body_bytes = sizeof body - 1, .is_money = true
    };
    struct relay *r = relay_with(&q);
    send_body(r, body);
    assert_int_equal(r->phase, RELAY_SENDING);
    assert_null(r->claim);
    assert_int_equal(fake_ledger.asks, 0);
    assert_int_equal(buf_unread(&r->up.bytes), sizeof body - 1);
    the_end(r);
    config.ledger.require_key = WHICH_MONEY;
    r = relay_with(&q);
    send_body(r, body);
    assert_int_equal(fake.failure.kind, FAIL_KEY_REQUIRED);
    the_end(r);
    config.ledger.require_key = WHICH_NONE;
    config.ledger.journal = WHICH_MONEY;
    r = relay_with(&q);
    send_body(r, body);
    assert_int_equal(fake_ledger.asks, 1);
    assert_false(fake_ledger.has_key);
    the_end(r);
}

static void what_cannot_be_recorded_is_not_sent(void **state)
{
    (void)state;
    struct relay *r = keyed_request("{}");
    ledger_replies(LEDGER_DOWN);
    assert_int_equal(fake.failure.kind, FAIL_LEDGER);
    assert_int_equal(fake.failure.retry_after_s, 5);
    assert_non_null(strstr(fake.failure.detail, "the disk is full"));
    assert_int_equal(fake_exchange.starts, 0);
    assert_int_equal(fake_ledger.outcomes + fake_ledger.settles, 0);
    the_end(r);
}

static void without_a_token_the_ledger_is_only_looked_into(void **state)
{
    (void)state;
    give_token(-1);
    struct relay *r = keyed_request("{}");
    assert_int_equal(fake_ledger.want, LEDGER_LOOK);
    ledger_replies(LEDGER_ABSENT);
    assert_int_equal(r->phase, RELAY_PARKED);
    assert_int_equal(wanted, 1);
    give_token(0);
    relay_on_token(r);
    assert_int_equal(r->phase, RELAY_CLAIMING);
    assert_int_equal(fake_ledger.want, LEDGER_CLAIM);
    assert_int_equal(fake_exchange.starts, 0);
    ledger_replies(LEDGER_CLAIMED);
    assert_int_equal(r->phase, RELAY_SENDING);
    the_end(r);
}

static void no_token_in_time_leaves_nothing_behind(void **state)
{
    (void)state;
    give_token(-1);
    struct relay *r = keyed_request("{}");
    ledger_replies(LEDGER_ABSENT);
    pass(r, 3000);
    assert_int_equal(fake.failure.kind, FAIL_TOKEN_TIMEOUT);
    assert_int_equal(fake_ledger.outcomes + fake_ledger.settles, 0);
    the_end(r);
    ctx.failing = true;
    ctx.failure = failure_make(FAIL_TOKEN_DNS, "No.");
    r = keyed_request("{}");
    ledger_replies(LEDGER_ABSENT);
    assert_int_equal(fake.failure.kind, FAIL_TOKEN_DNS);
    the_end(r);
}

static void a_program_that_is_being_stopped_claims_nothing_more(void **state)
{
    (void)state;
    ctx.closed = true;
    struct relay *r = keyed_request("{}");
    assert_int_equal(fake.failure.kind, FAIL_DRAINING);
    assert_int_equal(fake_ledger.asks, 0);
    relay_end(r);
    ctx.closed = false;
}

static void a_caller_that_leaves_before_the_reply_claims_nothing(void **state)
{
    (void)state;
    struct relay *r = keyed_request("{}");
    relay_on_caller_gone(r);
    assert_int_equal(fake_ledger.given_up, 1);
    assert_int_equal(fake_exchange.starts, 0);
    the_end(r);
    r = relay_with(&(struct ask){ .body_bytes = 10 });
    relay_on_caller_gone(r);
    (void)relay_turn(&ctx);
    assert_int_equal(fake_ledger.asks, 0);
    the_end(r);
}

/* --- B: after the claim ------------------------------------------------------------------- */

static void a_definite_answer_is_told_with_its_head_and_body(void **state)
{
    static const int statuses[] = { 200, 201, 204, 302, 400, 404, 408, 409, 422 };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct relay *r = sent_request();
        answer(r, statuses[i], "{\"ok\":true}");
        assert_outcome(LEDGER_ANSWERED, "");
        assert_int_equal(fake_ledger.settles, 0); /* its caller does not wait for that */
        assert_int_equal(fake_ledger.status, statuses[i]);
        assert_string_equal(fake_ledger.body, "{\"ok\":true}");
        assert_string_equal(fake_ledger.head, "Content-Type: application/json\r\n"
                                              "X-Original-Request-Id: up-1\r\n");
        assert_int_equal(fake.begun, 1);
        assert_int_equal(fake.head.status, statuses[i]);
        assert_int_equal(fake.ended, 1);
        the_end(r);
    }
}

static void an_answer_above_max_answer_is_told_without_its_body(void **state)
{
    static char bytes[1025];
    (void)state;
    for (size_t n = 1024; n <= 1025; n++) {
        struct relay *r = sent_request();
        head_comes(r, 200);
        body_comes(r, bytes, 1000);
        body_comes(r, bytes, n - 1000);
        answer_ends(r);
        assert_outcome(LEDGER_ANSWERED, "");
        assert_int_equal(fake_ledger.has_body, n == 1024);
        assert_int_equal(buf_unread(&r->down), n); /* its caller gets all of it */
        the_end(r);
    }
}

static void an_empty_answer_has_a_body_that_is_empty(void **state)
{
    (void)state;
    struct relay *r = sent_request();
    answer(r, 204, "");
    assert_true(fake_ledger.has_body);
    assert_int_equal(fake_ledger.body_len, 0);
    the_end(r);
}

static void an_answer_cut_after_its_head_is_one_without_a_body(void **state)
{
    (void)state;
    for (int given = 0; given < 2; given++) {
        struct relay *r = sent_request();
        head_comes(r, 200);
        (void)relay_turn(&ctx);
        fake.sink.given = given != 0;
        body_comes(r, "{", 1);
        upstream_fails(r, FAIL_UPSTREAM_INCOMPLETE, true);
        assert_outcome(LEDGER_ANSWERED, "");
        assert_int_equal(fake_ledger.status, 200);
        assert_false(fake_ledger.has_body);
        if (given != 0)
            assert_int_equal(fake.how, RESPONSE_CUT);
        else
            assert_int_equal(fake.failure.kind, FAIL_UPSTREAM_INCOMPLETE);
        the_end(r);
    }
}

static void a_server_error_says_nothing_of_what_was_done(void **state)
{
    (void)state;
    for (int status = 500; status < 505; status++) {
        struct relay *r = sent_request();
        answer(r, status, "oops");
        assert_outcome(LEDGER_UNKNOWN, "server-error");
        assert_string_equal(fake_ledger.body, "oops");
        assert_int_equal(fake.head.status, status); /* untouched */
        the_end(r);
    }
}

static void whatever_fails_after_the_first_byte_is_unknown(void **state)
{
    static const enum failure_kind kinds[] = { FAIL_UPSTREAM_LOST, FAIL_UPSTREAM_PROTOCOL,
                                               FAIL_UPSTREAM_HEAD_SIZE,
                                               FAIL_UPSTREAM_INCOMPLETE };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct relay *r = sent_request();
        upstream_fails(r, kinds[i], true);
        assert_outcome(LEDGER_UNKNOWN, failure_info(kinds[i])->slug);
        assert_int_equal(fake.failure.kind, kinds[i]);
        assert_false(failure_retryable(&fake.failure));
        the_end(r);
    }
    struct relay *r = sent_request();
    pass(r, 2000);
    assert_outcome(LEDGER_UNKNOWN, "upstream-response-timeout");
    the_end(r);
}

static void what_was_not_sent_is_released_and_its_caller_told_then(void **state)
{
    static const enum failure_kind kinds[] = {
        FAIL_UPSTREAM_DNS, FAIL_UPSTREAM_CONNECT,         FAIL_UPSTREAM_CERT,
        FAIL_UPSTREAM_TLS, FAIL_UPSTREAM_CONNECT_TIMEOUT, FAIL_OVERLOAD,
        FAIL_UPSTREAM_LOST
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct relay *r = claimed_request("{}");
        upstream_fails(r, kinds[i], false);
        assert_outcome(LEDGER_RELEASED, failure_info(kinds[i])->slug);
        assert_int_equal(fake_ledger.settles, 1);
        assert_int_equal(fake.rejected, 0); /* not before it is durable */
        (void)relay_turn(&ctx);
        assert_int_equal(fake.rejected, 0);
        ledger_replies(LEDGER_CLAIMED);
        assert_int_equal(fake.failure.kind, kinds[i]);
        assert_int_equal(fake.rejected, 1);
        the_end(r);
    }
}

static void a_stream_that_was_refused_was_not_carried_out(void **state)
{
    (void)state;
    struct relay *r = sent_request(); /* its frames were written, and REFUSED_STREAM came */
    upstream_fails(r, FAIL_UPSTREAM_LOST, false);
    assert_outcome(LEDGER_RELEASED, "upstream-lost");
    ledger_replies(LEDGER_CLAIMED);
    the_end(r);
}

static void no_sending_begins_when_half_of_the_lease_is_over(void **state)
{
    (void)state;
    struct relay *r = claimed_request("{}");
    int64_t half = config_lease_ms(&config) / 2;
    assert_int_equal(fake_ledger.lease_ms, config_lease_ms(&config));
    fake_late_ms = half;
    assert_true(r->exchange.with.user->may_send(&r->exchange));
    fake_late_ms = half + 1; /* the process stood still: the loop does not know yet */
    assert_false(r->exchange.with.user->may_send(&r->exchange));
    upstream_fails(r, FAIL_FROZEN, false); /* what the exchange says then */
    assert_outcome(LEDGER_RELEASED, "ledger-unavailable");
    ledger_replies(LEDGER_CLAIMED);
    assert_int_equal(fake.failure.kind, FAIL_LEDGER);
    assert_int_equal(fake.failure.retry_after_s, 5);
    the_end(r);
    /* before it is even begun */
    fake_late_ms = 0;
    r = keyed_request("{}");
    give_token(-1);
    ledger_replies(LEDGER_CLAIMED);
    assert_int_equal(r->phase, RELAY_PARKED);
    fake_late_ms = half + 1;
    give_token(0);
    relay_on_token(r);
    assert_int_equal(fake_exchange.starts, 0);
    assert_outcome(LEDGER_RELEASED, "ledger-unavailable");
    the_end(r);
}

/* It waited for a connection until its token had expired: the claim stays, until its time is over. */
static void a_claim_waits_for_the_next_token_too(void **state)
{
    (void)state;
    int64_t never = tokens[0].expires_ms;
    for (int renewed = 0; renewed < 2; renewed++) {
        tokens[0].expires_ms = never;
        give_token(0);
        struct relay *r = claimed_request("{}");
        tokens[0].expires_ms = ctx.loop.now_ms;
        assert_false(r->exchange.with.user->may_send(&r->exchange));
        upstream_fails(r, FAIL_FROZEN, false);
        assert_int_equal(r->phase, RELAY_PARKED);
        assert_int_equal(fake_ledger.outcomes + fake_ledger.settles, 0);
        if (renewed) {
            give_token(1);
            relay_on_token(r);
            assert_int_equal(r->phase, RELAY_SENDING);
            assert_int_equal(fake_ledger.asks, 1); /* it has its claim */
            answer(r, 200, "ok");
            assert_outcome(LEDGER_ANSWERED, "");
        } else {
            pass(r, 3000);
            assert_outcome(LEDGER_RELEASED, "token-timeout");
            ledger_replies(LEDGER_CLAIMED);
            assert_int_equal(fake.failure.kind, FAIL_TOKEN_TIMEOUT);
            assert_int_equal(fake_exchange.starts, 1);
        }
        the_end(r);
    }
}

static void an_exchange_ends_before_its_lease(void **state)
{
    (void)state;
    config.upstream.response_timeout_ms = config.upstream.idle_timeout_ms = 2000;
    int64_t lease = config_lease_ms(&config);
    for (int given = 0; given < 2; given++) {
        struct relay *r = sent_request();
        head_comes(r, 200);
        (void)relay_turn(&ctx);
        fake.sink.given = given != 0;
        for (int64_t ms = 1000; ms < lease - LEDGER_LEASE_MARGIN_MS; ms += 1000) {
            pass(r, 1000);
            r->exchange.progress_ms = ctx.loop.now_ms;
            assert_int_equal(fake_ledger.outcomes, 0);
        }
        pass(r, 1000);
        assert_outcome(LEDGER_ANSWERED, ""); /* its status was known */
        assert_false(fake_ledger.has_body);
        the_end(r);
    }
}

static void a_caller_that_leaves_before_the_first_byte_frees_the_key(void **state)
{
    (void)state;
    struct relay *r = claimed_request("{}");
    relay_on_caller_gone(r);
    assert_outcome(LEDGER_RELEASED, "caller-gone");
    assert_int_equal(fake_ledger.settles, 0); /* nobody waits for it */
    the_end(r);
}

static void a_caller_that_leaves_later_does_not_end_the_exchange(void **state)
{
    (void)state;
    /* where the caller leaves: before the head, in the body; and whether its side ends at
     * once */
    for (int late = 0; late < 2; late++)
        for (int first = 0; first < 2; first++) {
            struct relay *r = sent_request();
            size_t cancels;

            if (late != 0) {
                head_comes(r, 200);
                body_comes(r, "{\"a\"", 4);
                (void)relay_turn(&ctx);
                fake.sink.given = true;
                fake.sink.status = 200;
            }
            cancels = fake_exchange.cancels;
            if (first != 0)
                relay_on_caller_gone(r);
            assert_int_equal(ctx.running_count, 1);
            relay_end(r);
            (void)relay_turn(&ctx);
            memset(&fake.sink, 0xee, sizeof fake.sink); /* another request's by now */
            assert_int_equal(ctx.running_count, 1);
            assert_int_equal(fake_exchange.cancels, cancels);
            if (late == 0) {
                head_comes(r, 200);
                body_comes(r, "{\"a\"", 4);
            }
            body_comes(r, ":1}", 3);
            pass(r, 1000);
            assert_int_equal(fake_ledger.outcomes, 0);
            answer_ends(r);
            assert_outcome(LEDGER_ANSWERED, "");
            assert_string_equal(fake_ledger.body, "{\"a\":1}");
            assert_int_equal(ctx.running_count, 0);
            memset(&fake.sink, 0, sizeof fake.sink);
            fake.sink.ops = &fake_ops;
            memset(&fake_ledger, 0, sizeof fake_ledger);
            fake_exchange.starts = 0;
        }
}

static void alone_an_exchange_fails_as_it_does_with_a_caller(void **state)
{
    (void)state;
    struct relay *r = sent_request();
    relay_end(r);
    (void)relay_turn(&ctx);
    upstream_fails(r, FAIL_UPSTREAM_LOST, true);
    assert_outcome(LEDGER_UNKNOWN, "upstream-lost");
    assert_int_equal(ctx.running_count, 0);
    memset(&fake_ledger, 0, sizeof fake_ledger);
    r = sent_request();
    relay_end(r);
    pass(r, 2000);
    (void)relay_turn(&ctx);
    assert_outcome(LEDGER_UNKNOWN, "upstream-response-timeout");
    assert_int_equal(ctx.running_count, 0);
    memset(&fake_ledger, 0, sizeof fake_ledger);
    r = sent_request(); /* a refusal is not repeated for nobody */
    relay_end(r);
    answer(r, 401, "no");
    assert_outcome(LEDGER_RELEASED, "refused");
    assert_int_equal(ctx.running_count, 0);
}

static void an_answer_that_nobody_takes_is_thrown_away_and_has_an_end(void **state)
{
    static char bytes[32768];
    (void)state;
    struct relay *r = sent_request();
    relay_end(r);
    head_comes(r, 200);
    for (size_t n = 0; n <= RELAY_DISCARD_BYTES && ctx.running_count > 0; n += sizeof bytes) {
        body_comes(r, bytes, sizeof bytes);
        (void)relay_turn(&ctx);
        assert_int_equal(buf_unread(&r->down), 0);
    }
    assert_outcome(LEDGER_ANSWERED, "");
    assert_false(fake_ledger.has_body);
    assert_int_equal(ctx.running_count, 0);
}

static void a_refused_token_is_repeated_once_inside_the_same_claim(void **state)
{
    (void)state;
    struct relay *r = sent_request();
    head_comes(r, 401);
    body_comes(r, "old", 3);
    (void)relay_turn(&ctx);
    assert_int_equal(r->phase, RELAY_HELD);
    assert_int_equal(fake_ledger.outcomes + fake_ledger.settles, 0);
    give_token(1);
    relay_on_token(r);
    assert_int_equal(r->phase, RELAY_SENDING);
    assert_int_equal(fake_exchange.starts, 2);
    assert_int_equal(fake_ledger.asks, 1);
    r->exchange.attempt.wrote = true;
    r->exchange.with.user->on_sending(&r->exchange);
    answer(r, 200, "{}");
    assert_outcome(LEDGER_ANSWERED, "");
    assert_string_equal(fake_ledger.body, "{}"); /* nothing of the refusal */
    the_end(r);
}

static void refused_again_the_key_is_free_and_the_refusal_given_after_that(void **state)
{
    static const int statuses[] = { 401, 429 };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct relay *r = sent_request();
        if (statuses[i] == 401)
            r->repeated = true;
        head_comes(r, statuses[i]);
        body_comes(r, "no", 2);
        answer_ends(r);
        assert_outcome(LEDGER_RELEASED, "refused");
        assert_int_equal(fake_ledger.status, statuses[i]);
        assert_false(fake_ledger.has_body);
        assert_int_equal(fake.begun + fake.ended, 0);
        ledger_replies(LEDGER_CLAIMED);
        (void)relay_turn(&ctx);
        assert_int_equal(fake.begun, 1);
        assert_int_equal(fake.ended, 1);
        assert_int_equal(fake.head.status, statuses[i]);
        assert_int_equal(buf_unread(&r->down), 2);
        the_end(r);
    }
}

static void a_held_refusal_whose_caller_leaves_frees_the_key(void **state)
{
    (void)state;
    struct relay *r = sent_request();
    head_comes(r, 401);
    relay_on_caller_gone(r);
    assert_outcome(LEDGER_RELEASED, "refused");
    give_token(1);
    relay_on_token(r);
    assert_int_equal(fake_exchange.starts, 1);
    the_end(r);
    give_token(0);
}

static void a_stop_makes_unknown_what_was_sent_and_frees_what_was_not(void **state)
{
    (void)state;
    struct relay *r = keyed_request("{}"); /* the reply is not here */
    relay_give_up(r);
    assert_int_equal(fake.failure.kind, FAIL_DRAINING);
    assert_int_equal(fake_ledger.given_up, 1);
    the_end(r);
    r = claimed_request("{}");
    relay_give_up(r);
    assert_outcome(LEDGER_RELEASED, "draining");
    the_end(r);
    r = sent_request();
    relay_give_up(r);
    assert_outcome(LEDGER_UNKNOWN, "upstream-response-timeout");
    assert_int_equal(failure_status(&fake.failure), 504);
    assert_false(failure_retryable(&fake.failure));
    the_end(r);
    r = sent_request(); /* its caller has left */
    relay_end(r);
    relay_give_up(r);
    (void)relay_turn(&ctx);
    assert_outcome(LEDGER_UNKNOWN, "upstream-stalled");
    assert_int_equal(ctx.running_count, 0);
    memset(&fake_ledger, 0, sizeof fake_ledger);
    r = sent_request(); /* in its answer */
    head_comes(r, 200);
    (void)relay_turn(&ctx);
    fake.sink.given = true;
    relay_give_up(r);
    (void)relay_turn(&ctx);
    assert_outcome(LEDGER_ANSWERED, "");
    assert_int_equal(fake.how, RESPONSE_CUT);
    the_end(r);
    r = sent_request(); /* a second signal */
    relay_end(r);
    relay_abandon(r);
    assert_outcome(LEDGER_UNKNOWN, "draining");
    assert_int_equal(ctx.running_count, 0);
    memset(&fake_ledger, 0, sizeof fake_ledger);
    r = sent_request();
    relay_abandon(r);
    assert_outcome(LEDGER_UNKNOWN, "draining");
    the_end(r);
}

/* --- C: the key is known ------------------------------------------------------------------ */

static struct relay *known(enum ledger_state state, bool same, int status, const char *body)
{
    struct relay *r = keyed_request("{}");
    struct ledger_entry *e = &fake_ledger.ask->found;

    *e = (struct ledger_entry){
        .id = "0190-first", .state = state, .status = status, .claimed_ms = 1790000000000
    };
    if (body != NULL) {
        e->answer_body.data = strdup(body);
        e->answer_body.len = strlen(body);
        e->answer_head = strdup("Content-Type: text/plain\r\nX-Original-Request-Id: up-1\r\n");
    }
    fake_ledger.ask->same = same;
    ledger_replies(LEDGER_FOUND);
    (void)relay_turn(&ctx);
    assert_int_equal(fake_exchange.starts, 0);
    assert_int_equal(fake_ledger.outcomes + fake_ledger.settles, 0);
    return r;
}

static void a_key_that_is_known_is_told_as_it_stands(void **state)
{
    static const struct {
        enum ledger_state state;
        bool same;
        int status;
        const char *body;
        enum failure_kind kind;
        int retry_after_s;
    } rows[] = {
        { LEDGER_IN_FLIGHT, false, 0, NULL, FAIL_KEY_REUSED, 0 },
        { LEDGER_ANSWERED, false, 200, "x", FAIL_KEY_REUSED, 0 },
        { LEDGER_IN_FLIGHT, true, 0, NULL, FAIL_KEY_IN_FLIGHT, 2 },
        { LEDGER_ANSWERED, true, 200, NULL, FAIL_KEY_NOT_KEPT, 0 },
        { LEDGER_ANSWERED, true, 0, "x", FAIL_KEY_NOT_KEPT, 0 },
        { LEDGER_UNKNOWN, true, 0, NULL, FAIL_KEY_UNKNOWN, 0 },
        { LEDGER_UNKNOWN, true, 500, "oops", FAIL_KEY_UNKNOWN, 0 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct relay *r = known(rows[i].state, rows[i].same, rows[i].status, rows[i].body);
        assert_int_equal(fake.failure.kind, rows[i].kind);
        assert_int_equal(fake.failure.retry_after_s, rows[i].retry_after_s);
        assert_string_equal(fake.failure.entry.id, "0190-first");
        assert_string_equal(fake.failure.entry.state, ledger_state_name(rows[i].state));
        assert_int_equal(fake.failure.entry.first_seen_s, 1790000000);
        assert_int_equal(fake.failure.entry.status, rows[i].status);
        assert_non_null(
            strstr(fake.failure.detail, "Repeating with this key will not execute it again"));
        assert_true(strlen(fake.failure.detail) < sizeof fake.failure.detail - 1);
        the_end(r);
    }
}

static void a_stored_answer_is_given_again(void **state)
{
    (void)state;
    for (int token = -1; token < 1; token++) {
        give_token(token);
        struct relay *r = known(LEDGER_ANSWERED, true, 201, "made");
        assert_int_equal(r->phase, RELAY_LOCAL);
        assert_int_equal(fake.begun, 1);
        assert_int_equal(fake.ended, 1);
        assert_int_equal(fake.how, RESPONSE_WHOLE);
        assert_int_equal(fake.head.status, 201);
        assert_int_equal(fake.head.body_bytes, 4);
        assert_int_equal(fake.head.count, 3);
        assert_string_equal(fake.head.fields[2].name, "Idempotent-Replayed");
        assert_string_equal(buf_text(&r->down), "made");
        the_end(r);
    }
}

static void a_stored_answer_of_any_size_fits(void **state)
{
    static char body[200001];
    (void)state;
    memset(body, 'x', sizeof body - 1);
    struct relay *r = known(LEDGER_ANSWERED, true, 200, body);
    assert_int_equal(buf_unread(&r->down), sizeof body - 1);
    the_end(r);
}

/* --- records without a key ---------------------------------------------------------------- */

static void a_record_streams_and_only_its_first_byte_waits(void **state)
{
    (void)state;
    config.ledger.journal = WHICH_UNSAFE;
    struct relay *r =
        relay_with(&(struct ask){ .fields = plain, .count = 1, .body_bytes = -1 });
    assert_int_equal(fake_ledger.asks, 1);
    assert_int_equal(fake_ledger.want, LEDGER_CLAIM);
    assert_false(fake_ledger.has_key || fake_ledger.has_fingerprint);
    assert_int_equal(relay_on_body(r, "{\"a\"", 4), 4);
    assert_int_equal(fake_exchange.starts, 0);
    ledger_replies(LEDGER_CLAIMED);
    assert_int_equal(r->phase, RELAY_SENDING);
    assert_true(fake_exchange.request.claimed);
    assert_false(fake_exchange.request.head.identity);
    send_body(r, ":1}");
    r->exchange.attempt.wrote = true;
    r->exchange.with.user->on_sending(&r->exchange);
    answer(r, 200, "{}");
    assert_outcome(LEDGER_ANSWERED, "");
    assert_true(fake_ledger.has_print);
    assert_false(fake_ledger.has_body);
    the_end(r);
}

static void a_record_whose_body_never_ends_is_unknown(void **state)
{
    (void)state;
    config.ledger.journal = WHICH_UNSAFE;
    for (int gone = 0; gone < 2; gone++) {
        struct relay *r =
            relay_with(&(struct ask){ .fields = plain, .count = 1, .body_bytes = 10 });
        ledger_replies(LEDGER_CLAIMED);
        assert_int_equal(relay_on_body(r, "{\"a\"", 4), 4);
        r->exchange.attempt.wrote = true;
        r->exchange.with.user->on_sending(&r->exchange);
        r->exchange.wants_body = true;
        if (gone != 0)
            relay_on_caller_gone(r);
        else
            pass(r, 1000);
        assert_outcome(LEDGER_UNKNOWN, gone != 0 ? "caller-gone" : "body-timeout");
        assert_false(fake_ledger.has_print);
        the_end(r);
    }
}

static int setup(void **state)
{
    int err = fake_setup(state);

    ctx.ledger.ledger = (struct ledger *)(uintptr_t)&fake_ledger;
    config.ledger.key_in_header = true;
    config.ledger.body_key_prefix = "idem:";
    config.ledger.forward_key = true;
    config.ledger.max_request_bytes = config.ledger.max_answer_bytes = 1024;
    config.ledger.release_statuses = (struct config_statuses){ { 401, 429 }, 2 };
    return err;
}

#define L(name) cmocka_unit_test_setup_teardown(name, setup, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        L(a_key_is_asked_for_only_with_its_whole_body),
        L(settings_say_what_goes_to_the_upstream_and_to_the_store),
        L(a_bad_key_is_refused_before_the_body),
        L(a_key_may_be_required),
        L(without_a_key_and_a_journal_nothing_is_different),
        L(a_body_above_max_request_is_refused_however_it_is_measured),
        L(a_key_in_the_body_is_one_of_money_only),
        L(a_payment_whose_body_cannot_be_read_needs_a_key_in_its_head),
        L(a_body_that_turns_out_to_have_no_key_is_sent_as_it_is),
        L(what_cannot_be_recorded_is_not_sent),
        L(without_a_token_the_ledger_is_only_looked_into),
        L(no_token_in_time_leaves_nothing_behind),
        L(a_program_that_is_being_stopped_claims_nothing_more),
        L(a_caller_that_leaves_before_the_reply_claims_nothing),
        L(a_definite_answer_is_told_with_its_head_and_body),
        L(an_answer_above_max_answer_is_told_without_its_body),
        L(an_empty_answer_has_a_body_that_is_empty),
        L(an_answer_cut_after_its_head_is_one_without_a_body),
        L(a_server_error_says_nothing_of_what_was_done),
        L(whatever_fails_after_the_first_byte_is_unknown),
        L(what_was_not_sent_is_released_and_its_caller_told_then),
        L(a_stream_that_was_refused_was_not_carried_out),
        L(no_sending_begins_when_half_of_the_lease_is_over),
        L(a_claim_waits_for_the_next_token_too),
        L(an_exchange_ends_before_its_lease),
        L(a_caller_that_leaves_before_the_first_byte_frees_the_key),
        L(a_caller_that_leaves_later_does_not_end_the_exchange),
        L(alone_an_exchange_fails_as_it_does_with_a_caller),
        L(an_answer_that_nobody_takes_is_thrown_away_and_has_an_end),
        L(a_refused_token_is_repeated_once_inside_the_same_claim),
        L(refused_again_the_key_is_free_and_the_refusal_given_after_that),
        L(a_held_refusal_whose_caller_leaves_frees_the_key),
        L(a_stop_makes_unknown_what_was_sent_and_frees_what_was_not),
        L(a_key_that_is_known_is_told_as_it_stands),
        L(a_stored_answer_is_given_again),
        L(a_stored_answer_of_any_size_fits),
        L(a_record_streams_and_only_its_first_byte_waits),
        L(a_record_whose_body_never_ends_is_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

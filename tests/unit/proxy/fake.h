#pragma once
/* A relay between three fakes: a sink that records what it is told; an exchange (in place of
 * upstream/exchange.c) whose answers the test makes up; and a ledger (in place of
 * ledger/ledger.c). The test controls the time. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "proxy/admission.h"
#include "proxy/relay.h"
#include "unit.h"

static struct context ctx;

/* --- the exchange --- */

static struct {
    size_t starts, cancels, go_ons;
    enum failure_kind start_fails;
    bool sending;
    struct exchange_request request;
} fake_exchange;

void exchange_init(struct exchange *x, const struct exchange_options *o)
{
    x->with = *o;
}

void exchange_done(struct exchange *x)
{
    (void)x;
}

enum failure_kind exchange_start(struct exchange *x, const struct exchange_request *q)
{
    fake_exchange.starts++;
    fake_exchange.request = *q;
    x->request = *q;
    x->attempt = (struct upstream_attempt){ .reused = false };
    x->rest_unwanted = x->wants_body = x->wants_room = false;
    x->field_count = 0;
    x->progress_ms = ctx.loop.now_ms;
    return fake_exchange.start_fails;
}

void exchange_cancel(struct exchange *x)
{
    (void)x;
    fake_exchange.cancels++;
}

void exchange_go_on(struct exchange *x)
{
    (void)x;
    fake_exchange.go_ons++;
}

bool exchange_is_sending(const struct exchange *x)
{
    (void)x;
    return fake_exchange.sending;
}

/* --- the clock: that of the thread's turn, or later, when the thread stood still --- */

static int64_t fake_late_ms;

int64_t clock_ms(void)
{
    return ctx.loop.now_ms + fake_late_ms;
}

int64_t clock_us(void)
{
    return clock_ms() * 1000;
}

int64_t clock_wall_s(void)
{
    return 1790000000;
}

int64_t clock_wall_ms(void)
{
    return clock_wall_s() * 1000;
}

int64_t clock_wall_ns(void)
{
    return clock_wall_ms() * 1000000;
}

/* --- the ledger --- */

static struct {
    size_t asks, given_up, outcomes, settles;
    struct ledger_ask *ask; /* in progress; NULL: none */
    enum ledger_want want;
    char scope[32], key[LEDGER_KEY_MAX + 1], path[256], request_body[256];
    bool has_key, has_fingerprint;
    unsigned char fingerprint[LEDGER_FINGERPRINT_BYTES];
    int64_t lease_ms;
    /* the last outcome */
    enum ledger_state state;
    char id[LEDGER_ID_BYTES], cause[64], head[1024], body[1024];
    bool has_body, has_print;
    size_t body_len;
    int status;
} fake_ledger;

void ledger_ask(struct ledger_ask *a, struct ledger_port *port, const struct ledger_question *q,
                void (*on_reply)(struct ledger_ask *a))
{
    assert_null(fake_ledger.ask);
    fake_ledger.asks++;
    fake_ledger.ask = a;
    a->port = port;
    a->on_reply = on_reply;
    fake_ledger.want = q->want;
    fake_ledger.lease_ms = q->lease_ms;
    fake_ledger.has_key = q->key != NULL;
    fake_ledger.has_fingerprint = q->fingerprint != NULL;
    (void)snprintf(fake_ledger.scope, sizeof fake_ledger.scope, "%s", q->scope);
    (void)snprintf(fake_ledger.key, sizeof fake_ledger.key, "%s", q->key == NULL ? "" : q->key);
    (void)snprintf(fake_ledger.path, sizeof fake_ledger.path, "%s", q->path);
    (void)snprintf(fake_ledger.request_body, sizeof fake_ledger.request_body, "%.*s",
                   (int)q->request_body.len,
                   q->request_body.data == NULL ? "" : q->request_body.data);
    if (q->fingerprint != NULL)
        memcpy(fake_ledger.fingerprint, q->fingerprint, sizeof fake_ledger.fingerprint);
}

void ledger_ask_done(struct ledger_ask *a)
{
    if (fake_ledger.ask == a && a != NULL) {
        fake_ledger.ask = NULL;
        fake_ledger.given_up++;
    }
    ledger_entry_done(&a->found);
}

static void fake_outcome(const struct ledger_outcome *o)
{
    fake_ledger.state = o->state;
    fake_ledger.status = o->status;
    fake_ledger.has_body = o->body.data != NULL;
    fake_ledger.body_len = o->body.len;
    fake_ledger.has_print = o->fingerprint != NULL;
    (void)snprintf(fake_ledger.id, sizeof fake_ledger.id, "%s", o->id);
    (void)snprintf(fake_ledger.cause, sizeof fake_ledger.cause, "%s", o->cause);
    (void)snprintf(fake_ledger.head, sizeof fake_ledger.head, "%s",
                   o->head == NULL ? "" : o->head);
    (void)snprintf(fake_ledger.body, sizeof fake_ledger.body, "%.*s", (int)o->body.len,
                   o->body.data == NULL ? "" : o->body.data);
}

void ledger_outcome(struct ledger_port *port, const struct ledger_outcome *o)
{
    (void)port;
    fake_ledger.outcomes++;
    fake_outcome(o);
}

void ledger_settle(struct ledger_ask *a, struct ledger_port *port,
                   const struct ledger_outcome *o, void (*on_reply)(struct ledger_ask *a))
{
    assert_null(fake_ledger.ask);
    fake_ledger.settles++;
    fake_ledger.ask = a;
    a->port = port;
    a->on_reply = on_reply;
    fake_outcome(o);
}

/* Replies to the question in progress. */
static inline void ledger_replies(enum ledger_result result)
{
    struct ledger_ask *a = fake_ledger.ask;

    assert_non_null(a);
    fake_ledger.ask = NULL;
    a->result = result;
    a->why = "the disk is full";
    if (result == LEDGER_CLAIMED)
        (void)snprintf(a->id, sizeof a->id, "0190-claim");
    a->send_until_ms = ctx.loop.now_ms + fake_ledger.lease_ms / 2;
    a->end_by_ms = ctx.loop.now_ms + fake_ledger.lease_ms - LEDGER_LEASE_MARGIN_MS;
    a->on_reply(a);
}

/* --- the sink --- */

struct fake_sink {
    struct response_sink sink;
    size_t begun, ended, rejected, closed, taken_over, resumed;
    enum response_end how;
    struct response_head head;
    struct failure failure;
    bool unread;
};

static struct fake_sink fake;

static void fake_begin(struct response_sink *s, const struct response_head *head)
{
    (void)s;
    fake.begun++;
    fake.head = *head;
}

static void fake_end(struct response_sink *s, enum response_end how)
{
    (void)s;
    fake.ended++;
    fake.how = how;
}

static void fake_reject(struct response_sink *s, const struct failure *f)
{
    assert_false(s->given);
    fake.rejected++;
    fake.failure = *f;
}

static void fake_resume(struct response_sink *s)
{
    (void)s;
    fake.resumed++;
}

static void fake_close(struct response_sink *s)
{
    s->closed = true;
    fake.closed++;
}

static void fake_take_over(struct response_sink *s)
{
    (void)s;
    fake.taken_over++;
}

static bool fake_has_unread(const struct response_sink *s)
{
    (void)s;
    return fake.unread;
}

static void fake_look(struct response_sink *s)
{
    (void)s;
}

static bool fake_watch_close(struct response_sink *s)
{
    (void)s;
    return false;
}

static const struct response_sink_ops fake_ops = { .begin = fake_begin,
                                                   .end = fake_end,
                                                   .reject = fake_reject,
                                                   .resume = fake_resume,
                                                   .close = fake_close,
                                                   .take_over = fake_take_over,
                                                   .has_unread = fake_has_unread,
                                                   .look = fake_look,
                                                   .watch_close = fake_watch_close };

/* --- the thread --- */

static struct config config;
static _Atomic int64_t in_flight;
static struct token tokens[2];
static size_t wanted, refused, accepted;
static uint64_t refused_generation;

static void on_want(void *arg)
{
    (void)arg;
    wanted++;
}

static void on_refused(void *arg, uint64_t generation)
{
    (void)arg;
    refused++;
    refused_generation = generation;
}

static void on_accepted(void *arg, uint64_t generation)
{
    (void)arg;
    (void)generation;
    accepted++;
}

/* Gives the thread token 0 or 1; -1: none. */
static void give_token(int which)
{
    ctx.token = which < 0 ? NULL : &tokens[which];
}

static char *fake_hosts[] = { "localhost" };

static int fake_setup(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof fake);
    memset(&fake_exchange, 0, sizeof fake_exchange);
    memset(&fake_ledger, 0, sizeof fake_ledger);
    fake_late_ms = 0;
    memset(&ctx, 0, sizeof ctx);
    config = (struct config){
        .refs = 1000,
        .listen = { .allowed_hosts = { .item = fake_hosts, .count = 1 },
                    .body_timeout_ms = 1000,
                    .idle_timeout_ms = 1000 },
        .upstream = { .origin = "https://api.test",
                      .scheme = "https",
                      .base_path = "/v0",
                      .authority = "api.test",
                      .token_refused = { { 401 }, 1 },
                      .replay = REPLAY_ALL,
                      .replay_limit_bytes = 65536,
                      .response_timeout_ms = 2000,
                      .idle_timeout_ms = 2000,
                      .max_in_flight = 2 },
        .token = { .wait_timeout_ms = 3000, .local_endpoint = true },
    };
    for (size_t i = 0; i < 2; i++) {
        tokens[i] = (struct token){ .refs = 1000, .generation = i + 1, .expires_ms = 1 << 30 };
        tokens[i].header = secret_new("Authorization: Bearer x", 23);
    }
    in_flight = 0;
    TAILQ_INIT(&ctx.parked);
    TAILQ_INIT(&ctx.ready);
    TAILQ_INIT(&ctx.running);
    TAILQ_INIT(&ctx.pool);
    ctx.config = &config;
    ctx.in_flight = &in_flight;
    ctx.on_want = on_want;
    ctx.on_refused = on_refused;
    ctx.on_accepted = on_accepted;
    wanted = refused = accepted = 0;
    fake.sink.ops = &fake_ops;
    give_token(0);
    return loop_init(&ctx.loop);
}

static int fake_teardown(void **state)
{
    (void)state;
    ctx.closed = true;
    relay_free_pool(&ctx);
    loop_done(&ctx.loop);
    for (size_t i = 0; i < 2; i++)
        secret_free(tokens[i].header);
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

/* Moves the time forward, and runs the relay's timer. */
static inline void pass(struct relay *r, int64_t ms)
{
    ctx.loop.now_ms += ms;
    loop_timer_clear(&ctx.loop, &r->timer);
    r->timer.on_due(&r->timer);
    (void)relay_turn(&ctx);
}

#pragma once
/* A relay between two fakes: a sink that writes down what it was told, and, in place of
 * upstream/exchange.c, an exchange whose answers the test makes up. Time is the test's. */
#include <stdatomic.h>
#include <string.h>

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
static struct limit in_flight;
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

/* Token 0 or 1 is the thread's; -1: none. */
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
    limit_init(&in_flight, config.upstream.max_in_flight, 1);
    TAILQ_INIT(&ctx.parked);
    TAILQ_INIT(&ctx.ready);
    TAILQ_INIT(&ctx.running);
    TAILQ_INIT(&ctx.pool);
    ctx.config = &config;
    ctx.in_flight.limit = &in_flight;
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

/* Lets the time pass, and the relay's timer look. */
static inline void pass(struct relay *r, int64_t ms)
{
    ctx.loop.now_ms += ms;
    loop_timer_clear(&ctx.loop, &r->timer);
    r->timer.on_due(&r->timer);
    (void)relay_turn(&ctx);
}

/* Where relays come from and where they go: a request that has ended leaves its relay, with
 * what is dear to make, to the next one. */
#include <string.h>

#include "base/clock.h"
#include "proxy/relay_inside.h"

#define POOL_MAX 256
/* A pooled relay keeps room for an answer of this size. */
#define POOLED_DOWN_BYTES 16384
#define ARENA_BYTES (512 * 1024)

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
                                                                .user = &relay_exchange_user,
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
    r->timer.on_due = relay_on_timer;
    /* A missing target (HTTP/0.9) is refused by the guard. */
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

/* Back into the pool, with what is dear to make: curl's handle and the memory. */
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
    memset((char *)r + offsetof(struct relay, ctx), 0, sizeof *r - offsetof(struct relay, ctx));
    TAILQ_INSERT_HEAD(&ctx->pool, r, all_link);
    ctx->pool_count++;
}

void relay_end(struct relay *r)
{
    struct context *ctx = r->ctx;

    relay_unpark(r);
    exchange_cancel(&r->exchange);
    relay_enter(r, RELAY_ENDED);
    relay_report(r);
    loop_timer_clear(&ctx->loop, &r->timer);
    if (r->is_ready)
        TAILQ_REMOVE(&ctx->ready, r, ready_link);
    if (r->in_flight)
        limit_give(&ctx->in_flight);
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

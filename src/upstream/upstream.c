/* What either way to the upstream needs.
 *
 *                     .--> upstream_http1.c --> wire, http1
 *     upstream_start -+                                      --> upstream_line, upstream_ended
 *                     `--> upstream_curl.c --> multi
 *
 * A request that may have reached the upstream is sent again only if its method is safe
 * (upstream_again), by neither. */
#include "upstream/upstream.h"

#include <string.h>
#include <strings.h>

#include "proxy/relay.h"
#include "upstream/upstream_inside.h"

/* HTTP/2 is libcurl's; so is HTTP/1.1 where only the handshake tells which of them it is. */
static bool may_be_http2(const struct config *c)
{
    return c->upstream.http_version == HTTP_VERSION_2 ||
           (c->upstream.http_version == HTTP_VERSION_AUTO &&
            strcmp(c->upstream.scheme, "https") == 0);
}

void upstream_start(struct relay *r)
{
    struct upstream *u = &r->upstream;

    response_check_init(&u->guard);
    u->fields = NULL;
    u->count = u->cap = 0;
    u->sendings = 0;
    u->reused = u->wrote = u->began = u->unconfirmed = false;
    u->resend_refused = u->paused_up = u->paused_down = false;
    u->body_bytes = 0;
    u->error_text[0] = '\0';
    u->by_curl = may_be_http2(r->config);
    r->up_sent = 0;
    r->progress_ms = loop_now(&r->ctx->loop);
    enum failure_kind kind = u->by_curl ? curl_client_start(r) : h1_client_start(r);

    if (kind == FAIL_NONE)
        return;
    struct failure f = failure_make(kind, kind == FAIL_HEAD_TOO_LARGE
                                              ? "The request head does not fit."
                                              : "There is no memory left to send the request.");
    relay_fail(r, &f);
}

void upstream_cancel(struct relay *r)
{
    curl_client_cancel(r);
    h1_client_cancel(r);
}

void upstream_unpause(struct relay *r)
{
    if (r->upstream.by_curl)
        curl_client_unpause(r);
    else
        h1_client_unpause(r);
}

void upstream_free(struct upstream *u)
{
    curl_client_free(u);
    h1_client_free(u);
}

struct header_forward upstream_head(const struct relay *r)
{
    const struct config *c = r->config;

    return (struct header_forward){ .fields = r->fields,
                                    .count = r->count,
                                    .host = c->upstream.authority,
                                    .authorization = secret_text(r->token->header),
                                    .request_id = r->request_id_ours ? r->request_id : NULL,
                                    .require_name = c->listen.require_header_name,
                                    .body_bytes = r->body_bytes };
}

void upstream_sending(struct relay *r)
{
    r->upstream.sendings++;
    r->sends++;
    r->progress_ms = loop_now(&r->ctx->loop);
    metrics_add(&r->ctx->metrics, M_upstream_requests, 1);
    if (r->upstream.reused)
        metrics_add(&r->ctx->metrics, M_upstream_connections_reused, 1);
}

size_t upstream_body_here(const struct relay *r)
{
    return r->up.len - r->up.start - r->up_sent;
}

const char *upstream_body_front(const struct relay *r)
{
    return r->up.data + r->up.start + r->up_sent;
}

void upstream_body_gone(struct relay *r, size_t n)
{
    if (r->up_kept)
        r->up_sent += n;
    else
        buf_consume(&r->up, n);
    upstream_moved(r);
    if (!r->up_done)
        relay_wake(r);
}

void upstream_moved(struct relay *r)
{
    if (!r->upstream.began)
        r->progress_ms = loop_now(&r->ctx->loop);
}

bool upstream_has_head(const struct upstream *u)
{
    return u->guard.complete && u->guard.status >= 200;
}

bool upstream_is_bodiless(const struct relay *r)
{
    int status = r->upstream.guard.status;

    return r->is_head || status == 204 || status == 304;
}

/* Room for one more field. */
static bool grow(struct relay *r)
{
    struct upstream *u = &r->upstream;

    if (u->count < u->cap)
        return true;
    size_t cap = u->cap == 0 ? 32 : u->cap * 2;
    struct header_field *grown = arena_alloc(&r->arena, cap * sizeof *grown);

    if (grown == NULL)
        return false;
    if (u->count > 0)
        memcpy(grown, u->fields, u->count * sizeof *grown);
    u->fields = grown;
    u->cap = cap;
    return true;
}

bool upstream_line(struct relay *r, const char *line, size_t n)
{
    struct upstream *u = &r->upstream;
    bool was_complete = u->guard.complete;

    /* From its beginning on, the whole head has one deadline, however it drips. */
    if (!u->began)
        r->progress_ms = loop_now(&r->ctx->loop);
    u->began = true;
    if (!response_check_line(&u->guard, line, n))
        return false;
    if (u->guard.http_major == 2 && !u->by_curl) {
        u->guard.kind = FAIL_UPSTREAM_PROTOCOL;
        u->guard.why = "it says HTTP/2 on an HTTP/1.1 connection";
        return false;
    }
    if (was_complete && u->guard.complete)
        return true; /* a trailer: dropped */
    if (n >= 5 && strncasecmp(line, "HTTP/", 5) == 0) {
        u->count = 0;
        return true;
    }
    if (u->guard.complete) {
        if (upstream_has_head(u)) {
            r->progress_ms = loop_now(&r->ctx->loop);
            relay_on_answer(r);
        }
        return true;
    }
    char *copy = grow(r) ? arena_copy(&r->arena, line, n) : NULL;
    if (copy == NULL) {
        u->guard.kind = FAIL_UPSTREAM_HEAD_SIZE;
        u->guard.why = "its head does not fit beside that of the request";
        return false;
    }
    struct header_field f = response_check_split(copy, n);

    /* The colon and what is behind the value make room for the ends. */
    copy[f.name_len] = '\0';
    copy[(size_t)(f.value - copy) + f.value_len] = '\0';
    u->fields[u->count++] = f;
    return true;
}

void upstream_ended(struct relay *r, CURLcode code, bool whole)
{
    struct upstream *u = &r->upstream;

    if (u->guard.kind == FAIL_NONE && whole) {
        relay_on_upstream_done(r, NULL);
        return;
    }
    if (upstream_again(r, code)) {
        u->fresh = u->retried = true;
        upstream_start(r);
        return;
    }
    struct failure f = upstream_failure(r, code);

    relay_on_upstream_done(r, &f);
}

/* What both HTTP clients share.
 *
 *                     .--> h1_client --> conn_pool, h1_decoder
 *     exchange_start -+                                        --> exchange_line, exchange_ended
 *     (host->h1, h2)  `--> h2_client --> conn_pool, nghttp2
 *
 * The rule that no payment is sent twice is in exchange_may_retry: a second attempt, by either
 * client, is made there and nowhere else. */
#include "upstream/exchange.h"

#include <string.h>
#include <strings.h>

#include "event/loop.h"
#include "net/curl_host.h"

/* With this much room, another read is always worth it. */
#define ROOM_BYTES (48 * 1024)

/* Whether HTTP/2 is offered to the upstream or, without TLS, used without asking. */
static bool may_be_http2(const struct config *c)
{
    return c->upstream.http_version == HTTP_VERSION_2 ||
           (c->upstream.http_version == HTTP_VERSION_AUTO &&
            strcmp(c->upstream.scheme, "https") == 0);
}

void exchange_init(struct exchange *x, const struct exchange_options *o)
{
    x->with = *o;
}

void exchange_done(struct exchange *x)
{
    if (x->h1 != NULL)
        x->with.host->h1->keep_free(x->h1);
    if (x->h2 != NULL)
        x->with.host->h2->keep_free(x->h2);
    x->h1 = x->h2 = NULL;
}

/* Starts an attempt, the first or the second. */
static enum failure_kind attempt(struct exchange *x)
{
    response_check_init(&x->head);
    x->fields = NULL;
    x->field_count = x->field_cap = 0;
    x->body_bytes = 0;
    x->attempt.reused = x->attempt.wrote = x->attempt.began = false;
    x->attempt.unconfirmed = x->attempt.starved = x->attempt.sending = false;
    x->attempt.name_silent = x->attempt.limited = false;
    x->attempt.error_text[0] = '\0';
    x->attempt.facts = (struct leg_facts){ .code = CURLE_OK };
    x->wants_body = x->wants_room = x->answered = x->rest_unwanted = false;
    x->with.body->sent = 0;
    exchange_progressed(x);
    return x->client->start(x);
}

void exchange_use(struct exchange *x, const struct exchange_client *client)
{
    void **kept = client == x->with.host->h2 ? &x->h2 : &x->h1;

    x->client = client;
    if (*kept == NULL)
        *kept = client->keep_new(x);
}

enum failure_kind exchange_start(struct exchange *x, const struct exchange_request *q)
{
    const struct exchange_host *host = x->with.host;

    x->request = *q;
    x->fresh = false;
    exchange_use(x, may_be_http2(q->config) ? host->h2 : host->h1);
    return attempt(x);
}

void exchange_cancel(struct exchange *x)
{
    if (x->client != NULL)
        x->client->cancel(x);
}

void exchange_go_on(struct exchange *x)
{
    const struct exchange_body *body = x->with.body;
    const struct buf *room = x->with.answer_body;

    if (x->wants_body && (body->ended || body->discard || exchange_body_unsent(x) > 0))
        x->client->more_body(x);
    /* Not for every byte that the user takes: a read into little room costs as much as any
     * other. */
    if (x->wants_room &&
        buf_room(room) >=
            (size_t)base_min((int64_t)(room->limit - room->limit / 4), ROOM_BYTES)) {
        exchange_progressed(x); /* the upstream could not send before */
        x->client->more_room(x);
    }
    if (body->discard && exchange_is_sending(x))
        exchange_cancel(x);
}

bool exchange_has_head(const struct exchange *x)
{
    return x->head.complete && x->head.status >= 200;
}

bool exchange_is_sending(const struct exchange *x)
{
    return x->answered;
}

bool exchange_may_send(struct exchange *x)
{
    const struct exchange_user *user = x->with.user;

    return user->may_send == NULL || user->may_send(x);
}

void exchange_end_unsent(struct exchange *x)
{
    const struct failure f = failure_make(FAIL_FROZEN, "Requests are stopped.");

    x->with.user->on_end(x, &f);
}

void exchange_sending(struct exchange *x)
{
    x->attempt.sending = true;
    exchange_progressed(x);
    x->with.user->on_sending(x);
}

size_t exchange_body_unsent(const struct exchange *x)
{
    return buf_unread(&x->with.body->bytes) - x->with.body->sent;
}

const char *exchange_body_front(const struct exchange *x)
{
    return buf_front(&x->with.body->bytes) + x->with.body->sent;
}

void exchange_body_sent(struct exchange *x, size_t n)
{
    struct exchange_body *body = x->with.body;

    if (body->kept)
        body->sent += n;
    else
        buf_consume(&body->bytes, n);
    exchange_progressed(x);
    if (!body->ended)
        x->with.user->on_progress(x);
}

void exchange_progressed(struct exchange *x)
{
    x->progress_ms = loop_now(x->with.host->loop);
}

bool exchange_is_bodiless(const struct exchange *x)
{
    return x->request.is_head || x->head.status == 204 || x->head.status == 304;
}

/* Makes room for one more field. */
static bool grow(struct exchange *x)
{
    if (x->field_count < x->field_cap)
        return true;
    size_t cap = x->field_cap == 0 ? 32 : x->field_cap * 2;
    struct header_field *grown = arena_alloc(x->with.arena, cap * sizeof *grown);

    if (grown == NULL)
        return false;
    if (x->field_count > 0)
        memcpy(grown, x->fields, x->field_count * sizeof *grown);
    x->fields = grown;
    x->field_cap = cap;
    return true;
}

static bool keep_field(struct exchange *x, const char *line, size_t n)
{
    char *copy = grow(x) ? arena_copy(x->with.arena, line, n) : NULL;

    if (copy == NULL) {
        x->head.kind = FAIL_UPSTREAM_HEAD_SIZE;
        x->head.why = "its head does not fit beside that of the request";
        return false;
    }
    struct header_field f = response_check_split(copy, n);

    /* The NULs take the place of the colon and of what follows the value. */
    copy[f.name_len] = '\0';
    copy[(size_t)(f.value - copy) + f.value_len] = '\0';
    x->fields[x->field_count++] = f;
    return true;
}

bool exchange_line(struct exchange *x, const char *line, size_t n)
{
    bool was_complete = x->head.complete;

    x->attempt.began = true;
    if (!response_check_line(&x->head, line, n))
        return false;
    if (x->head.http_major == 2 && x->client == x->with.host->h1) {
        x->head.kind = FAIL_UPSTREAM_PROTOCOL;
        x->head.why = "it says HTTP/2 on an HTTP/1.1 connection";
        return false;
    }
    if (was_complete && x->head.complete)
        return true; /* a trailer: dropped */
    if (n >= 5 && strncasecmp(line, "HTTP/", 5) == 0) {
        x->field_count = 0;
        return true;
    }
    if (!x->head.complete) /* fields of interim answers are dropped */
        return x->head.status < 200 || keep_field(x, line, n);
    exchange_progressed(x); /* also an interim one: the time limit starts again */
    if (exchange_has_head(x))
        x->with.user->on_head(x);
    return true;
}

void exchange_ended(struct exchange *x, CURLcode code, bool whole)
{
    if (x->head.kind == FAIL_NONE && whole) {
        x->with.user->on_end(x, NULL);
        return;
    }
    struct failure f;

    if (exchange_may_retry(x, code)) {
        x->fresh = true;
        enum failure_kind kind = attempt(x);

        if (kind == FAIL_NONE)
            return;
        f = failure_make(kind, "There is no memory left to send the request once more.");
    } else {
        x->attempt.starved = x->with.host->curl->starved;
        f = upstream_error(&x->attempt, &x->head, code);
    }
    x->with.user->on_end(x, &f);
}

/* A connection that failed before a byte of the request was written is worth a second
 * attempt; a name that does not resolve, a bad certificate or a timeout would only fail
 * again. */
static bool was_not_sent(const struct upstream_attempt *a, CURLcode code)
{
    return !a->wrote &&
           a->facts.connect_status < 300 && /* the outbound proxy would only refuse again */
           (code == CURLE_COULDNT_CONNECT || code == CURLE_SSL_CONNECT_ERROR ||
            code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING);
}

/* Whether a request that may be sent twice was sent on a pooled connection which turned out
 * to be dead. In HTTP/2, a connection that resets a stream is alive. */
static bool met_a_dead_connection(const struct exchange *x, CURLcode code)
{
    return x->request.resendable && upstream_error_lost(code) && code != CURLE_HTTP2_STREAM &&
           x->attempt.reused;
}

bool exchange_may_retry(const struct exchange *x, CURLcode code)
{
    return !x->fresh && !x->attempt.began &&
           (x->with.body->kept || x->request.head.body_bytes == 0) &&
           (was_not_sent(&x->attempt, code) || met_a_dead_connection(x, code));
}

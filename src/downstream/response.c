/* Gives answers to callers.
 *
 *   begin --> the request's body is complete, no feed, the head fits --> response_give, pull
 *       \
 *        `--> otherwise: give_raw --> write_raw --written--> the body's rest --> finish
 *                                                            (forwarded, or discarded)
 *
 * What libmicrohttpd forces (0.9.75 and 1.0):
 *  - An answer queued in the handler's first call makes it close the connection, also if
 *    there is a body that was not read.
 *  - It cannot answer while a body is being received; and it answers a broken chunk by itself,
 *    with a 400 of its own, whatever is being written at that time. See body_feed.h.
 *  - It would end an answer with neither length nor body (HEAD, 304) as if it were chunked.
 *
 * sink.held is true while the connection is suspended in libmicrohttpd; only response_suspend
 * and resume_mhd change it. */
#include "downstream/response.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/log.h"
#include "downstream/conn.h"
#include "downstream/downstream.h"
#include "http/problem.h"
#include "proxy/relay.h"

/* Most connections that poll, since each run looks at all of them; and they poll only if the
 * upstream usually begins its answer within this time. */
#define POLL_MAX 256
#define POLL_US 20000
/* How much of an answer's body is requested at a time. */
#define BLOCK_BYTES 32768

static struct response *of(const struct response_sink *sink)
{
    return CONTAINER_OF(sink, struct response, sink);
}

/* --- the head ------------------------------------------------------------------------ */

/* For each field of our own: its value, or NULL if the answer does not get it. */
static const char *content_type(const struct response_input *in, struct response_text *text)
{
    (void)text;
    return in->failure != NULL ? "application/problem+json" : NULL;
}

static const char *proxy_status(const struct response_input *in, struct response_text *text)
{
    struct buf value;

    if (in->failure == NULL && in->status != 401 && in->status != 403 &&
        !(in->status == 429 && in->has_limits))
        return NULL;
    buf_init(&value, sizeof text->proxy_status - 1);
    int err = problem_proxy_status(in->failure, in->status, &value);

    (void)snprintf(text->proxy_status, sizeof text->proxy_status, "%s", buf_text(&value));
    buf_done(&value);
    return err == 0 ? text->proxy_status : NULL;
}

static const char *cache_control(const struct response_input *in, struct response_text *text)
{
    (void)text;
    return in->failure != NULL ? "no-store" : NULL;
}

static const char *retry_after(const struct response_input *in, struct response_text *text)
{
    if (in->failure == NULL || in->failure->retry_after_s <= 0)
        return NULL;
    (void)snprintf(text->retry_after, sizeof text->retry_after, "%d",
                   in->failure->retry_after_s);
    return text->retry_after;
}

/* A value made by one of problem.h's functions; NULL: it does not fit. */
static const char *made(int (*make)(const struct failure *f, struct buf *out),
                        const struct failure *f, char *text, size_t size)
{
    struct buf value;

    buf_init(&value, size - 1);
    int err = make(f, &value);

    (void)snprintf(text, size, "%s", buf_text(&value));
    buf_done(&value);
    return err == 0 ? text : NULL;
}

static bool by_limit(const struct response_input *in)
{
    return in->failure != NULL && in->failure->about.limit.name != NULL;
}

static const char *limit_policy(const struct response_input *in, struct response_text *text)
{
    return by_limit(in) ? made(problem_limit_policy, in->failure, text->limit_policy,
                               sizeof text->limit_policy)
                        : NULL;
}

static const char *limit_state(const struct response_input *in, struct response_text *text)
{
    return by_limit(in) ? made(problem_limit_state, in->failure, text->limit_state,
                               sizeof text->limit_state)
                        : NULL;
}

static const char *www_authenticate(const struct response_input *in, struct response_text *text)
{
    (void)text;
    return in->failure != NULL && failure_status(in->failure) == 401
               ? "Bearer realm=\"oneshot-proxy\""
               : NULL;
}

static const char *allow(const struct response_input *in, struct response_text *text)
{
    (void)text;
    return in->failure != NULL && in->failure->kind == FAIL_METHOD_DENIED ? RELAY_METHODS
                                                                          : NULL;
}

static const char *request_id(const struct response_input *in, struct response_text *text)
{
    (void)text;
    for (size_t i = 0; i < in->count; i++)
        if (header_is(&in->fields[i], "x-request-id"))
            return NULL; /* the upstream's own is passed on */
    return in->request_id;
}

static const char *connection(const struct response_input *in, struct response_text *text)
{
    (void)text;
    return in->last ? "close" : NULL;
}

static const char *date(const struct response_input *in, struct response_text *text)
{
    struct tm utc;
    time_t now = time(NULL);

    for (size_t i = 0; i < in->count; i++)
        if (header_is(&in->fields[i], "date"))
            return NULL;
    if (!in->date || gmtime_r(&now, &utc) == NULL ||
        strftime(text->date, sizeof text->date, "%a, %d %b %Y %H:%M:%S GMT", &utc) == 0)
        return NULL;
    return text->date;
}

static const struct {
    const char *name;
    const char *(*value)(const struct response_input *in, struct response_text *text);
} own_fields[] = {
    { "Content-Type", content_type },
    { "Proxy-Status", proxy_status },
    { "Cache-Control", cache_control },
    { "Retry-After", retry_after },
    { "RateLimit-Policy", limit_policy },
    { "RateLimit", limit_state },
    { "WWW-Authenticate", www_authenticate },
    { "Allow", allow },
    { "X-Request-Id", request_id },
    { "Connection", connection },
    { "Date", date },
};
static_assert(ARRAY_LEN(own_fields) == RESPONSE_OWN_FIELDS_MAX, "room for all of them");

size_t response_fields(struct header_field *out, struct response_text *text,
                       const struct response_input *in)
{
    struct header_field own_status = { .name = NULL };
    size_t n = 0;

    /* Connection before Date: when libmicrohttpd 0.9.75 sees a Date first, it overlooks the
     * Connection and adds a second Date. */
    for (size_t i = 0; i < ARRAY_LEN(own_fields); i++) {
        const char *value = own_fields[i].value(in, text);
        struct header_field f = { own_fields[i].name, value, strlen(own_fields[i].name),
                                  value == NULL ? 0 : strlen(value) };

        /* The members of Proxy-Status begin with the one nearest to the origin (RFC 9209
         * section 2). */
        if (own_fields[i].value == proxy_status && in->count > 0)
            own_status = f;
        else if (value != NULL)
            out[n++] = f;
    }
    if (in->count > 0)
        memcpy(out + n, in->fields, in->count * sizeof *out);
    n += in->count;
    if (own_status.value != NULL)
        out[n++] = own_status;
    return n;
}

/* All fields of the present answer, in the request's memory and in `text`; NULL: memory has
 * run out. */
static struct header_field *fields_of(struct response *s, bool raw, struct response_text *text,
                                      size_t *count)
{
    const struct conn *c = s->conn;
    struct header_field *fields =
        arena_alloc(s->sink.arena, (s->head.count + RESPONSE_OWN_FIELDS_MAX) * sizeof *fields);

    if (fields == NULL)
        return NULL;
    *count = response_fields(
        fields, text,
        &(struct response_input){ .failure = s->failure.kind == FAIL_NONE ? NULL : &s->failure,
                                  .status = s->head.status,
                                  .fields = s->head.fields,
                                  .count = s->head.count,
                                  .request_id = s->sink.request_id,
                                  .last = raw || c->downstream->ctx->draining || c->refused ||
                                          c->last,
                                  .has_limits = c->downstream->ctx->config->rules != NULL &&
                                                c->downstream->ctx->config->rules->has_callers,
                                  .date = raw });
    return fields;
}

/* --- through libmicrohttpd ------------------------------------------------------------ */

void response_suspend(struct response *s)
{
    assert(!s->sink.held);
    s->sink.held = true;
    MHD_suspend_connection(s->conn->connection);
}

static void resume_mhd(struct response *s)
{
    struct mhd_host *h = &s->conn->downstream->mhd_host;

    if (s->polls)
        h->due = true;
    if (!s->sink.held)
        return;
    s->sink.held = false;
    s->resumed_after_run = h->runs;
    mhd_host_resume(h, s->conn->connection);
}

void response_wait(struct response *s)
{
    struct downstream *d = s->conn->downstream;

    if (d->mhd_host.polling == POLL_MAX || d->ctx->typical_us > POLL_US) {
        response_suspend(s);
        return;
    }
    s->polls = true;
    d->mhd_host.polling++;
}

void response_stop_polling(struct response *s)
{
    if (!s->polls)
        return;
    s->polls = s->polled_long = false;
    s->conn->downstream->mhd_host.polling--;
}

/* MHD_ContentReaderCallback: returns the next bytes of the answer. */
static ssize_t pull(void *arg, uint64_t pos, char *out, size_t max)
{
    struct response *s = arg;
    struct conn *c = s->conn;
    size_t n = buf_unread(s->sink.body);

    (void)pos;
    mhd_host_busy(&c->downstream->mhd_host);
    /* When a request goes on without its caller, the buffer has lost earlier bytes of the
     * answer. */
    if (relay_is_abandoned(s->relay) || (n == 0 && s->cut)) {
        conn_reset_on_close(c);
        s->sink.closed = s->cut;
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    if (n == 0) {
        if (s->ended)
            return MHD_CONTENT_READER_END_OF_STREAM;
        response_suspend(s);
        return 0;
    }
    n = n < max ? n : max;
    memcpy(out, buf_front(s->sink.body), n);
    buf_consume(s->sink.body, n);
    s->sink.body_bytes += (int64_t)n;
    relay_on_answer_taken(s->relay);
    return (ssize_t)n;
}

static struct MHD_Response *mhd_body(struct response *s)
{
    struct buf *body = s->sink.body;
    size_t here = buf_unread(body);

    /* An answer that is complete is sent in one write, head and body together. */
    if (!s->head.bodiless && s->ended && !s->cut) {
        s->sink.body_bytes = (int64_t)here;
        return MHD_create_response_from_buffer(
            here, here == 0 ? (void *)(uintptr_t) "" : body->data + body->start,
            MHD_RESPMEM_PERSISTENT);
    }
    uint64_t size = s->head.status == 204     ? 0
                    : s->head.body_bytes >= 0 ? (uint64_t)s->head.body_bytes
                                              : MHD_SIZE_UNKNOWN;
    struct MHD_Response *response =
        MHD_create_response_from_callback(size, BLOCK_BYTES, pull, s, NULL);

    /* A 304 or an answer to HEAD without length: libmicrohttpd would write the end of a
     * chunked body, or claim a length of 0. It adds nothing only if it closes the
     * connection. */
    if (response != NULL && s->head.bodiless && size == MHD_SIZE_UNKNOWN)
        (void)MHD_set_response_options(response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
    return response;
}

static void given(struct response *s)
{
    mhd_host_busy(&s->conn->downstream->mhd_host);
    s->sink.given = true;
    s->sink.status = s->head.status;
}

static enum MHD_Result give_through_mhd(struct response *s)
{
    struct response_text text; /* libmicrohttpd copies it */
    size_t count = 0;
    const struct header_field *fields = fields_of(s, false, &text, &count);
    struct MHD_Response *response = fields == NULL ? NULL : mhd_body(s);

    if (response == NULL)
        return MHD_NO;
    for (size_t i = 0; i < count; i++)
        /* libmicrohttpd refuses an empty value; one space means the same. */
        if (MHD_add_response_header(response, fields[i].name,
                                    fields[i].value_len == 0 ? " " : fields[i].value) !=
            MHD_YES)
            log_debug("field_not_passed", log_strn("name", fields[i].name, fields[i].name_len));
    enum MHD_Result ok =
        MHD_queue_response(s->conn->connection, (unsigned)s->head.status, response);

    MHD_destroy_response(response);
    given(s);
    return ok;
}

/* Whether libmicrohttpd's pool has room for the answer's head, in addition to the request's
 * head and its records of each field. Otherwise libmicrohttpd would silently close the
 * connection. Half of the pool may be used by requests that follow on the same connection. */
static bool head_fits(const struct response *s)
{
    enum { RECORD_BYTES = 128, OWN_BYTES = 1024 };
    struct conn *c = s->conn;
    const union MHD_ConnectionInfo *head =
        MHD_get_connection_info(c->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    int records = MHD_get_connection_values_n(
        c->connection, (enum MHD_ValueKind)(MHD_HEADER_KIND | MHD_GET_ARGUMENT_KIND), NULL,
        NULL);

    if (s->failure.kind != FAIL_NONE)
        return true;
    return s->head.bytes + head->header_size + (size_t)records * RECORD_BYTES + OWN_BYTES <=
           c->downstream->mhd_pool.pool_bytes / 2;
}

/* --- without libmicrohttpd -------------------------------------------------------------- */

/* Everything is done: lets libmicrohttpd close the connection. */
static void finish(struct response *s)
{
    struct conn *c = s->conn;

    if (s->over)
        return;
    s->over = s->sink.closed = true;
    if (s->sink.stalled)
        conn_abort(c);
    else if (relay_is_abandoned(s->relay) || s->cut)
        conn_reset_on_close(c);
    else if (!s->half_closed)
        conn_half_close(c);
    s->half_closed = true;
    conn_discard_unread(c);
    if (s->feed != NULL)
        body_feed_close_pair(s->feed);
    else if (!s->body_whole && !s->head_waits)
        (void)shutdown(c->watch.fd, SHUT_RDWR);
    if (!s->body_whole) /* it may have stopped reading and not notice */
        mhd_host_close_stuck(&c->downstream->mhd_host, c->connection);
    if (s->polls || s->sink.held)
        resume_mhd(s);
    c->downstream->mhd_host.due = true;
}

/* Decides who reads the rest of the body when the answer is written. */
static void after_answer(struct response *s)
{
    struct relay *r = s->relay;

    s->sink.written = true;
    if (s->body_whole || s->feed == NULL || !relay_wants_rest(r)) {
        finish(s);
    } else if (!s->half_closed &&
               (s->raw.framing == RAW_UNTIL_END || !relay_passes_body_on(r))) {
        s->half_closed = true;
        conn_half_close(s->conn);
    }
}

/* Writes as much as there is and the caller accepts. */
static void write_raw(struct response *s)
{
    struct conn *c = s->conn;
    size_t taken = 0;

    if (s->over || s->sink.written)
        return;
    /* A request that goes on without its caller discards the answer, also pieces already
     * begun. */
    if (relay_is_abandoned(s->relay)) {
        finish(s);
        return;
    }
    enum raw_state state =
        raw_response_write(&s->raw, c->watch.fd, s->sink.body, s->ended && !s->cut, &taken);

    if (taken > 0) {
        s->sink.body_bytes += (int64_t)taken;
        relay_on_answer_taken(s->relay);
    }
    if (state == RAW_FAILED && !s->cut)
        relay_on_caller_gone(s->relay);
    if (state == RAW_FAILED || s->cut || relay_is_abandoned(s->relay))
        finish(s);
    else if (state == RAW_DONE)
        after_answer(s);
    else if (state == RAW_BLOCKED && s->feed == NULL)
        conn_watch_room(c);
}

/* Whether the caller has ended in the middle of its body. A caller may close as soon as it has
 * sent its last byte: that is known only when libmicrohttpd has seen all that was received. */
static bool body_is_lost(struct response *s)
{
    bool has_run = s->conn->downstream->mhd_host.runs != s->resumed_after_run;

    if (!s->feed->ended || s->body_whole)
        return false;
    if (!relay_passes_body_on(s->relay)) /* nobody wants what is left */
        return true;
    if (s->sink.held || !body_feed_is_read(s->feed))
        return false;
    if (!has_run) /* it may have kept something when it was suspended */
        relay_wake(s->relay);
    return has_run;
}

/* Forwards the rest of the body to libmicrohttpd. */
static void feed(struct response *s)
{
    struct relay *r = s->relay;

    if (s->feed == NULL || s->over)
        return;
    body_feed_move(s->feed);
    if (body_is_lost(s))
        relay_on_body_lost(r);
    if (s->sink.written)
        after_answer(s);
}

void response_on_ready(struct response *s, bool broken)
{
    if (s->relay == NULL) /* the connection is about to be closed */
        return;
    if (broken && !relay_passes_body_on(s->relay)) /* nobody wants what it has sent */
        s->feed->ended = true;
    relay_wake(s->relay);
}

static void on_pair_room(struct body_feed *f)
{
    response_on_ready(f->arg, false);
}

static void take_over(struct response_sink *sink)
{
    struct response *s = of(sink);
    struct conn *c = s->conn;
    bool was_held = sink->held;

    if (s->feed != NULL || s->body_whole || c->finished)
        return;
    conn_unwatch(c);
    if (!was_held)
        response_suspend(s);
    s->feed = body_feed_new(&c->downstream->ctx->loop, c->watch.fd);
    if (s->feed != NULL) {
        s->feed->on_room = on_pair_room;
        s->feed->arg = s;
        conn_take_over(c, s->feed->connection);
    }
    if (!was_held)
        resume_mhd(s);
}

static void give_raw(struct response *s)
{
    struct response_text text;
    size_t count = 0;
    const struct header_field *fields = fields_of(s, true, &text, &count);
    int64_t length = s->head.status == 204 ? -1 : s->head.body_bytes;

    if (!relay_is_stuck(s->relay))
        take_over(&s->sink);
    s->raw_on = true;
    if (s->is_head)
        buf_clear(s->sink.body);
    given(s);
    if (fields == NULL ||
        raw_response_init(&s->raw, &(struct raw_head){
                                       .status = s->head.status,
                                       .fields = fields,
                                       .count = count,
                                       .framing = length >= 0 || s->head.bodiless ? RAW_COUNTED
                                                  : s->http_1_0 ? RAW_UNTIL_END
                                                                : RAW_CHUNKED,
                                       .body_bytes = length }) != 0) {
        s->cut = true;
        finish(s);
        return;
    }
    write_raw(s);
}

enum MHD_Result response_give(struct response *s)
{
    /* With a feed, libmicrohttpd's descriptor is not the caller's connection. */
    if (!s->raw_on && s->feed == NULL && head_fits(s))
        return give_through_mhd(s);
    s->past_mhd = true;
    response_suspend(s);
    relay_wake(s->relay);
    return MHD_YES;
}

/* --- what the relay calls ------------------------------------------------------------- */

static void begin(struct response_sink *sink, const struct response_head *head)
{
    struct response *s = of(sink);

    s->head = *head;
    s->begun = true;
}

static void end(struct response_sink *sink, enum response_end how)
{
    struct response *s = of(sink);

    s->ended = true;
    s->cut = how == RESPONSE_CUT;
}

static void reject(struct response_sink *sink, const struct failure *f)
{
    struct response *s = of(sink);

    assert(!sink->given);
    s->failure = *f;
    buf_clear(sink->body);
    s->begun = s->ended = true;
    s->cut = problem_body(f, sink->trace_id, sink->body) != 0;
    s->head = (struct response_head){ .status = failure_status(f),
                                      .body_bytes = (int64_t)buf_unread(sink->body) };
}

bool response_can_go_on(const struct response *s)
{
    const struct relay *r = s->relay;

    if (s->over || relay_is_abandoned(r))
        return true;
    if (s->raw_on)
        return !s->body_whole && relay_takes_body(r);
    if (s->sink.given)
        return buf_unread(s->sink.body) > 0 || s->ended;
    if (s->begun && (s->body_whole || s->head_waits))
        return !s->past_mhd;
    if (s->head_waits)
        return !relay_waits_for_token(r);
    return !s->body_whole && relay_takes_body(r);
}

/* libmicrohttpd waits for room that will not come, or for us; it notices the end of the
 * connection. */
static void cut_stalled(struct response *s)
{
    s->over = s->sink.closed = true;
    conn_abort(s->conn);
    s->conn->downstream->mhd_host.due = true;
    resume_mhd(s);
}

static void resume(struct response_sink *sink)
{
    struct response *s = of(sink);

    if (sink->stalled && !s->raw_on) {
        if (!s->over)
            cut_stalled(s);
        return;
    }

    if (s->begun && !sink->given && !relay_is_abandoned(s->relay) &&
        (s->past_mhd || (!s->body_whole && !s->head_waits && !s->head.waits_for_body)))
        give_raw(s);
    if (s->raw_on)
        write_raw(s);
    feed(s);
    if ((sink->held || s->polls) && response_can_go_on(s))
        resume_mhd(s);
}

static void close_now(struct response_sink *sink)
{
    struct response *s = of(sink);

    if (!s->raw_on) {
        resume_mhd(s);
        return;
    }
    finish(s);
}

static bool has_unread(const struct response_sink *sink)
{
    const struct response *s = of(sink);

    return s->feed == NULL && !s->body_whole && !sink->held && conn_has_unread(s->conn);
}

/* Counts the bytes of all answers on the connection: an earlier one may wait in front of
 * this one. */
static void look(struct response_sink *sink)
{
    struct response *s = of(sink);
    struct conn_sent sent = { .waiting = false };

    if (sink->given && !s->over)
        sent = conn_look_sent(s->conn);
    int64_t taken = sent.taken + sink->body_bytes;

    if (!sent.waiting)
        sink->blocked_ms = 0;
    else if (sink->blocked_ms == 0 || taken != s->taken)
        sink->blocked_ms = loop_now(&s->conn->downstream->ctx->loop);
    s->taken = taken;
}

static bool watch_close(struct response_sink *sink)
{
    struct response *s = of(sink);

    if (sink->held && s->feed == NULL)
        conn_watch(s->conn);
    if (!s->polls)
        return false;
    s->polled_long = true; /* suspended before others */
    s->conn->downstream->mhd_host.due = true;
    return true;
}

static uint32_t callers(struct response_sink *sink, const struct rules *rules,
                        const struct caller_facts **facts)
{
    return conn_callers(CONTAINER_OF(sink, struct response, sink)->conn, rules, facts);
}

static const struct response_sink_ops ops = {
    .begin = begin,
    .end = end,
    .reject = reject,
    .resume = resume,
    .close = close_now,
    .take_over = take_over,
    .has_unread = has_unread,
    .look = look,
    .watch_close = watch_close,
    .callers = callers,
};

void response_init(struct response *s)
{
    *s = (struct response){ .conn = s->conn,
                            .sink = { .ops = &ops, .refused = s->conn->refused } };
}

void response_done(struct response *s)
{
    response_stop_polling(s);
    if (s->refused_upload)
        s->conn->downstream->refused_uploads--;
    s->refused_upload = false;
    raw_response_done(&s->raw);
    s->relay = NULL;
}

/* --- answers without a request -------------------------------------------------------- */

int response_message(struct buf *out, const struct failure *f, const char *id)
{
    struct header_field fields[RESPONSE_OWN_FIELDS_MAX];
    struct response_text text;
    struct buf body;

    buf_init(&body, 4096);
    int err = problem_body(f, NULL, &body);
    size_t count = response_fields(fields, &text,
                                   &(struct response_input){ .failure = f,
                                                             .status = failure_status(f),
                                                             .request_id = id,
                                                             .last = true,
                                                             .date = true });
    if (err == 0)
        err = raw_response_head(out,
                                &(struct raw_head){ .status = failure_status(f),
                                                    .fields = fields,
                                                    .count = count,
                                                    .framing = RAW_COUNTED,
                                                    .body_bytes = (int64_t)buf_unread(&body) });
    if (err == 0)
        err = buf_add(out, buf_front(&body), buf_unread(&body));
    buf_done(&body);
    return err;
}

void response_refuse(struct conn *c, const struct failure *f, const char *id)
{
    struct buf message;

    if (c->finished)
        return;
    c->finished = true;
    conn_unwatch(c);
    buf_init(&message, 8192);
    if (response_message(&message, f, id) == 0) {
        (void)send(c->watch.fd, buf_front(&message), buf_unread(&message),
                   MSG_NOSIGNAL | MSG_DONTWAIT);
        conn_discard_unread(c);
    }
    buf_done(&message);
    (void)shutdown(c->watch.fd, SHUT_RDWR);
}

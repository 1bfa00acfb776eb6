/* HTTP/2 with the upstream.
 *
 *   exchange --> h2_client --> nghttp2 --> out --> conn --> upstream
 *   (one stream)  exchange <-- h2_client <-- nghttp2 <-- conn <--'
 *                                 \
 *                                  h2_session: one connection, the streams on it
 *
 * In each turn of the loop, everything that has arrived is read first; what the streams have
 * to send is collected in `out` and written at once at the end of the turn. Flow control: a
 * stream's window is given back as the caller takes the answer, the connection's window at
 * once, so that a slow caller delays nobody else.
 *
 * Never twice: a request may be sent once more only when the upstream cannot have processed
 * it. That is certain for a stream that it refused (REFUSED_STREAM), for one above the last
 * stream that its GOAWAY names (RFC 9113 section 6.8), and for one whose HEADERS were not
 * written. */
#include "upstream/h2_client.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/ascii.h"
#include "base/secret.h"
#include "upstream/exchange.h"
#include "upstream/h1_client.h"

/* The window of a stream, the most of an answer that is on its way or waits for the caller. */
#define STREAM_WINDOW_BYTES 65535
/* The window of the connection; it is given back at once. */
#define SESSION_WINDOW_BYTES (16 * 1024 * 1024)
/* Most streams on one connection, whatever the upstream allows. */
#define STREAMS_MAX 256
/* How much output is collected before it is written. */
#define OUT_BYTES 65536
#define OUT_BYTES_MAX (4 * OUT_BYTES)
/* Most frames without content (PING, SETTINGS, empty DATA, RST_STREAM and the like) since
 * the last piece of an answer. */
#define IDLE_FRAMES_MAX 10000
/* Most reads before other connections get their turn. */
#define READS_MAX 32
/* Most frames in nghttp2's queue; with more, the upstream does not read. */
#define QUEUED_MAX 1000
/* Streams on a connection whose SETTINGS have not arrived (RFC 9113 section 6.5.2 recommends
 * to allow at least this many). */
#define STREAMS_EXPECTED 100
/* If nothing arrives for this long while answers are expected, a PING is sent; if nothing
 * arrives for as long again, the connection takes no further requests. */
#define SILENCE_MS 5000
/* How long to assume that the upstream uses HTTP/1.1, after a handshake chose that. */
#define H1_BELIEVED_MS 600000
/* Most fields that are added: four pseudo-header fields, Host, Via, X-Request-Id,
 * Authorization, and the length of the body. */
#define FIELDS_ADDED 10
/* nghttp2 silently does not send a head beyond its limit. This is more than `line` can hold,
 * by nghttp2's estimate. */
#define HEAD_BYTES_MAX (8 * 1024 * 1024)
/* How much of `line`, the buffer for heads, is kept from one request to the next. */
#define LINE_KEPT_BYTES (8 * 1024)
/* Size of a frame's header. */
#define FRAME_HEAD_BYTES 9

enum session_state { SESSION_CONNECTING, SESSION_OPEN, SESSION_DEAD };

struct h2_session {
    struct h2_host *host;
    struct upstream_conn *conn; /* NULL: ended */
    nghttp2_session *ng;        /* NULL: not open yet */
    struct config *config;      /* a reference */
    enum session_state state;
    bool retired;    /* takes no further requests; closed when the last has ended */
    bool receiving;  /* nghttp2 is processing what was received */
    bool broken;     /* the upstream violated HTTP/2 */
    size_t streams;  /* clients on it, including those that wait for it */
    size_t requests; /* total number of requests sent on it */
    size_t queued;   /* requests in nghttp2's queue whose HEADERS are not made yet */
    unsigned idle_frames;
    bool settled;     /* its SETTINGS were received */
    bool limited;     /* new SETTINGS may allow fewer streams */
    bool held_up;     /* some of `queued` have waited since an earlier turn */
    bool pinged;      /* nothing was received since the PING */
    int64_t heard_ms; /* when something was last received */
    struct buf out, line;
    uint64_t out_bytes;     /* total that was written to `out` */
    uint64_t written_bytes; /* of these, written to the connection */
    size_t offered_bytes;   /* offered to the connection last time; it may have taken a part */
    TAILQ_HEAD(h2_client_list, h2_client) clients;
    struct loop_timer idle_timer, silence_timer;
    TAILQ_ENTRY(h2_session) link;
};

static struct exchange *exchange_of(struct h2_client *c)
{
    return c->exchange;
}

/* The owner of a stream; NULL: none any more. */
static struct h2_client *client_of(nghttp2_session *ng, int32_t stream)
{
    return stream == 0 ? NULL : nghttp2_session_get_stream_user_data(ng, stream);
}

static int64_t now_ms(const struct h2_session *s)
{
    return loop_now(s->host->pool->curl->loop);
}

/* --- the end of a stream ----------------------------------------------------------------- */

static void session_free(struct h2_session *s)
{
    TAILQ_REMOVE(&s->host->sessions, s, link);
    loop_timer_clear(s->host->pool->curl->loop, &s->idle_timer);
    loop_timer_clear(s->host->pool->curl->loop, &s->silence_timer);
    nghttp2_session_del(s->ng);
    if (s->conn != NULL)
        upstream_conn_close(s->conn);
    buf_wipe(&s->out);
    buf_done(&s->line);
    config_unref(s->config);
    free(s);
}

static void arm_idle(struct h2_session *s)
{
    if (s->streams == 0 && s->idle_timer.slot == 0)
        loop_timer_set(s->host->pool->curl->loop, &s->idle_timer,
                       now_ms(s) + s->config->upstream.keepalive_ms);
}

/* In the next turn, once nghttp2 has returned: writes what the streams have to send, and
 * closes a session that is no longer needed. */
static void wake(struct h2_session *s)
{
    if (s->conn != NULL && s->state == SESSION_OPEN)
        upstream_conn_wake(s->conn);
}

/* Whether a byte of the request may have left. */
static bool was_written(const struct h2_client *c)
{
    const struct h2_session *s = c->session;

    return c->head_made && s->written_bytes + s->offered_bytes > c->head_at;
}

static void detach(struct h2_client *c)
{
    struct h2_session *s = c->session;
    struct exchange *x = exchange_of(c);

    x->wants_body = x->wants_room = x->answered = false;
    if (c->stream > 0 && s->ng != NULL)
        (void)nghttp2_session_set_stream_user_data(s->ng, c->stream, NULL);
    TAILQ_REMOVE(&s->clients, c, link);
    s->streams--;
    s->queued -= c->stream > 0 && !c->head_made;
    c->session = NULL;
    c->stream = 0;
    if (s->streams == 0 && s->conn != NULL)
        s->conn->idle_since_ms = now_ms(s);
    arm_idle(s);
    wake(s);
}

static void reset(struct h2_client *c, uint32_t error)
{
    if (c->stream > 0 && c->session->ng != NULL)
        (void)nghttp2_submit_rst_stream(c->session->ng, NGHTTP2_FLAG_NONE, c->stream, error);
}

/* The exchange has ended without a complete answer. untouched: the upstream cannot have
 * processed the request. */
static void fail(struct h2_client *c, CURLcode code, bool untouched)
{
    struct exchange *x = exchange_of(c);

    assert(c->session != NULL);
    x->attempt.wrote = !untouched && was_written(c);
    if (c->session->conn != NULL)
        x->attempt.facts = c->session->conn->facts;
    if (c->session->conn != NULL && c->session->conn->error_text[0] != '\0')
        memcpy(x->attempt.error_text, c->session->conn->error_text,
               sizeof x->attempt.error_text);
    if (untouched)
        code = CURLE_SEND_ERROR;
    detach(c);
    exchange_ended(x, code, false);
}

/* The upstream sent something that is not allowed. */
static void refuse(struct h2_client *c)
{
    reset(c, NGHTTP2_PROTOCOL_ERROR);
    fail(c, CURLE_WEIRD_SERVER_REPLY, false);
}

/* Whether the connection has taken the whole body, up to END_STREAM. */
static bool body_is_sent(const struct h2_client *c)
{
    return c->body_ended && c->session->written_bytes >= c->body_until;
}

/* The answer was given completely, and now the request is sent, too. */
static void end_sending(struct h2_client *c)
{
    struct exchange *x = exchange_of(c);

    detach(c);
    x->with.user->on_progress(x);
}

/* The answer was given completely; the rest of the request will not be sent. */
static void stop_sending(struct h2_client *c)
{
    struct exchange *x = exchange_of(c);

    detach(c);
    x->rest_unwanted = true;
    x->with.user->on_progress(x);
}

/* --- the request -------------------------------------------------------------------------- */

static ssize_t on_read_body(nghttp2_session *ng, int32_t stream, uint8_t *out, size_t max,
                            uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct h2_session *s = arg;
    struct h2_client *c = client_of(ng, stream);

    (void)source;
    if (c == NULL) /* its exchange is over, and may be freed */
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    struct exchange *x = exchange_of(c);
    int64_t body_bytes = x->request.head.body_bytes;
    size_t here, n;

    if (x->rest_unwanted || x->with.body->discard)
        return NGHTTP2_ERR_DEFERRED;
    here = exchange_body_unsent(x);
    n = here < max ? here : max;
    if (n > 0) {
        memcpy(out, exchange_body_front(x), n);
        /* the upstream reads the body, so its window updates are no attack */
        s->idle_frames = 0;
        c->body_taken += (int64_t)n;
        c->body_until = s->out_bytes + FRAME_HEAD_BYTES + n;
        exchange_body_sent(x, n);
    }
    if (body_bytes > 0 ? c->body_taken == body_bytes : n == here && x->with.body->ended) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        c->body_until = s->out_bytes + FRAME_HEAD_BYTES + n;
        c->body_ended = true;
        return (ssize_t)n;
    }
    if (n > 0)
        return (ssize_t)n;
    x->wants_body = true;
    return NGHTTP2_ERR_DEFERRED;
}

static nghttp2_nv pair(const char *name, size_t name_len, const char *value, size_t value_len)
{
    return (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name,
                         .namelen = name_len,
                         .value = (uint8_t *)(uintptr_t)value,
                         .valuelen = value_len };
}

static nghttp2_nv pair_of(const char *name, const char *value)
{
    return pair(name, strlen(name), value, strlen(value));
}

/* Splits the lines of an HTTP/1.1 head into names and values: names in lower case, without
 * those that :authority and the framing replace (RFC 9113 sections 8.2 and 8.3). Returns how
 * many there are. */
static size_t fields_of(struct h2_session *s, nghttp2_nv *nv, size_t n)
{
    char *at = s->line.data + s->line.start, *end = at + buf_unread(&s->line);

    for (;;) {
        char *eol = memchr(at, '\r', (size_t)(end - at));
        char *colon = memchr(at, ':', (size_t)(eol - at));

        if (colon == NULL) /* the empty line */
            return n;
        for (char *c = at; c < colon; c++)
            *c = ascii_lower(*c);
        nv[n] = pair(at, (size_t)(colon - at), colon + 2, (size_t)(eol - colon - 2));
        bool framing = ascii_equal_str(at, (size_t)(colon - at), "transfer-encoding") ||
                       ascii_equal_str(at, (size_t)(colon - at), "host");
        /* Do not add it to the HPACK table: it is secret; or it differs in each request and
         * would only evict the others. */
        if (ascii_equal_str(at, (size_t)(colon - at), "authorization") ||
            ascii_equal_str(at, (size_t)(colon - at), "x-request-id"))
            nv[n].flags = NGHTTP2_NV_FLAG_NO_INDEX;
        n += !framing;
        at = eol + 2;
    }
}

/* Wipes the token from `line` and frees the memory of a large head: what is kept is wiped
 * after each request. */
static void clear_line(struct h2_session *s)
{
    if (s->line.cap > LINE_KEPT_BYTES)
        buf_wipe(&s->line);
    else if (s->line.data != NULL)
        explicit_bzero(s->line.data, s->line.cap);
    buf_clear(&s->line);
}

/* Puts the request into nghttp2's queue. */
static enum failure_kind submit(struct h2_client *c)
{
    struct exchange *x = exchange_of(c);
    struct h2_session *s = c->session;
    const struct exchange_request *q = &x->request;
    nghttp2_data_provider body = { .read_callback = on_read_body };
    nghttp2_nv *nv = arena_alloc(x->with.arena, (q->head.count + FIELDS_ADDED) * sizeof *nv);
    size_t n = 0;
    enum failure_kind kind = FAIL_NONE;

    if (!exchange_may_send(x))
        return FAIL_FROZEN;
    buf_clear(&s->line);
    if (nv == NULL || !header_write(&s->line, &q->head))
        kind = FAIL_HEAD_TOO_LARGE;
    size_t target_at = buf_unread(&s->line);
    if (kind == FAIL_NONE &&
        (buf_add_str(&s->line, "\r\n") != 0 || buf_add_str(&s->line, q->prefix) != 0 ||
         buf_add_str(&s->line, q->path) != 0))
        kind = FAIL_HEAD_TOO_LARGE;
    if (kind == FAIL_NONE) {
        const char *target = buf_front(&s->line) + target_at + 2;

        nv[n++] = pair_of(":method", q->method);
        nv[n++] = pair_of(":scheme", q->config->upstream.scheme);
        nv[n++] = pair_of(":authority", q->head.host);
        nv[n++] = pair(":path", 5, target, buf_unread(&s->line) - target_at - 2);
        n = fields_of(s, nv, n);
        c->stream = nghttp2_submit_request(s->ng, NULL, nv, n,
                                           q->head.body_bytes == 0 ? NULL : &body, c);
        if (c->stream <= 0)
            kind = FAIL_INTERNAL;
        s->queued += c->stream > 0;
    }
    clear_line(s);
    if (kind != FAIL_NONE) {
        c->stream = 0;
        return kind;
    }
    c->body_ended = q->head.body_bytes == 0;
    x->attempt.reused = s->requests++ > 0;
    return FAIL_NONE;
}

/* --- the answer --------------------------------------------------------------------------- */

/* The answer is complete. */
static void finish(struct h2_client *c)
{
    struct exchange *x = exchange_of(c);

    bool unwanted = x->rest_unwanted || x->with.body->discard || x->head.status >= 400;

    if (!c->body_ended && unwanted) {
        x->rest_unwanted = true;
        reset(c, NGHTTP2_CANCEL);
    }
    if (unwanted || body_is_sent(c))
        detach(c);
    else
        x->answered = true;
    exchange_ended(x, CURLE_OK, true);
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *arg)
{
    struct h2_session *s = arg;
    struct h2_client *c = client_of(ng, frame->hd.stream_id);
    bool is_status = name_len == 7 && memcmp(name, ":status", 7) == 0;

    (void)flags;
    if (c == NULL || exchange_of(c)->answered || frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    buf_clear(&s->line);
    int bad = is_status ? buf_add_str(&s->line, "HTTP/2 ")
                        : buf_add(&s->line, (const char *)name, name_len);
    bad |= is_status ? 0 : buf_add_str(&s->line, ": ");
    bad |= buf_add(&s->line, (const char *)value, value_len);
    bad |= buf_add_str(&s->line, is_status ? " \r\n" : "\r\n");
    if (bad == 0 && exchange_line(exchange_of(c), buf_front(&s->line), buf_unread(&s->line)))
        return 0;
    /* The callback above may have ended the exchange. */
    c = client_of(ng, frame->hd.stream_id);
    if (c != NULL)
        refuse(c);
    return 0;
}

/* A name or value with characters that are not allowed. nghttp2 would drop the field
 * silently. */
static int on_bad_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                         size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                         void *arg)
{
    (void)ng;
    (void)frame;
    (void)name;
    (void)name_len;
    (void)value;
    (void)value_len;
    (void)flags;
    (void)arg;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* on_invalid is called next */
}

static void on_head_end(struct h2_client *c, nghttp2_session *ng, int32_t stream)
{
    struct exchange *x = exchange_of(c);
    bool sound = exchange_line(x, "\r\n", 2);

    c = client_of(ng, stream);
    if (c != NULL && !sound)
        refuse(c);
    if (c == NULL || !sound || !exchange_has_head(x))
        return;
    c->session->idle_frames = 0;
    if (x->head.status >= 400)
        x->rest_unwanted = true;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t stream, const uint8_t *bytes,
                   size_t n, void *arg)
{
    struct h2_session *s = arg;
    struct h2_client *c = client_of(ng, stream);

    (void)flags;
    if (c == NULL || exchange_of(c)->answered)
        return nghttp2_session_consume(ng, stream, n);
    s->idle_frames = 0;
    struct exchange *x = exchange_of(c);

    if (!exchange_has_head(x) || buf_add(x->with.answer_body, (const char *)bytes, n) != 0) {
        reset(c, NGHTTP2_FLOW_CONTROL_ERROR);
        fail(c, CURLE_WEIRD_SERVER_REPLY, false);
        return nghttp2_session_consume(ng, stream, n);
    }
    c->unconsumed_bytes += n;
    x->wants_room = true;
    x->body_bytes += (int64_t)n;
    exchange_progressed(x);
    x->with.user->on_progress(x);
    return nghttp2_session_consume_connection(ng, n);
}

/* Called for each frame, also CONTINUATION, before it is processed. */
static int on_frame_begin(nghttp2_session *ng, const nghttp2_frame_hd *head, void *arg)
{
    struct h2_session *s = arg;

    (void)head;
    if (++s->idle_frames <= IDLE_FRAMES_MAX || s->broken)
        return 0;
    s->retired = s->broken = true;
    return nghttp2_session_terminate_session(ng, NGHTTP2_ENHANCE_YOUR_CALM);
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct h2_session *s = arg;
    struct h2_client *c = client_of(ng, frame->hd.stream_id);

    if (frame->hd.type == NGHTTP2_GOAWAY)
        s->retired = true;
    if (frame->hd.type == NGHTTP2_SETTINGS)
        s->limited = true;
    /* sent before the upstream knew that we refuse pushes */
    if (frame->hd.type == NGHTTP2_PUSH_PROMISE)
        (void)nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE,
                                        frame->push_promise.promised_stream_id, NGHTTP2_CANCEL);
    if (c == NULL || exchange_of(c)->answered)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS)
        on_head_end(c, ng, frame->hd.stream_id);
    c = client_of(ng, frame->hd.stream_id);
    if (c != NULL && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
        (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        exchange_has_head(exchange_of(c)))
        finish(c);
    return 0;
}

static void mark_broken(struct exchange *x)
{
    if (x->head.kind != FAIL_NONE || exchange_has_head(x))
        return;
    x->head.kind = FAIL_UPSTREAM_PROTOCOL;
    x->head.why = "it breaks the rules of HTTP/2";
}

/* A frame that violates HTTP/2: nghttp2 resets the stream or ends the connection. */
static int on_invalid(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *arg)
{
    struct h2_client *c = client_of(ng, frame->hd.stream_id);

    (void)error;
    (void)arg;
    if (c != NULL && !exchange_of(c)->answered)
        mark_broken(exchange_of(c));
    return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t stream, uint32_t error, void *arg)
{
    struct h2_client *c = client_of(ng, stream);

    (void)arg;
    if (c == NULL)
        return 0;
    if (exchange_of(c)->answered) {
        if (!c->body_ended)
            stop_sending(c);
        return 0; /* otherwise release_answered waits for what is made to be written */
    }
    fail(c, exchange_of(c)->attempt.began ? CURLE_PARTIAL_FILE : CURLE_HTTP2_STREAM,
         error == NGHTTP2_REFUSED_STREAM && !exchange_of(c)->attempt.began);
    return 0;
}

/* Notes where in the output a stream's HEADERS begin. */
static int on_before_send(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct h2_session *s = arg;
    struct h2_client *c = client_of(ng, frame->hd.stream_id);

    if (c != NULL && frame->hd.type == NGHTTP2_HEADERS && !c->head_made) {
        c->head_made = true;
        s->queued--;
        c->head_at = s->out_bytes;
        exchange_sending(exchange_of(c));
    }
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
        s->broken = true;
    return 0;
}

/* --- the session -------------------------------------------------------------------------- */

/* The connection has ended: ends each request with what is true for it. */
static void session_die(struct h2_session *s, ssize_t how)
{
    struct h2_client *c;

    s->state = SESSION_DEAD;
    s->retired = true;
    while ((c = TAILQ_FIRST(&s->clients)) != NULL) {
        struct exchange *x = exchange_of(c);

        if (s->broken && !exchange_of(c)->answered)
            mark_broken(x);
        if (exchange_of(c)->answered)
            stop_sending(c);
        else
            fail(c,
                 x->attempt.began   ? CURLE_PARTIAL_FILE
                 : how == IO_FAILED ? CURLE_RECV_ERROR
                                    : CURLE_GOT_NOTHING,
                 false);
    }
}

/* Reads until there is nothing more, or others have waited long enough. to_the_end: until
 * the connection itself reports that, which may be its end that was not noticed yet. False:
 * the connection has ended. */
static bool receive(struct h2_session *s, bool to_the_end, ssize_t *how)
{
    char *in = s->host->pool->scratch;

    for (int reads = 0; s->conn->readable; reads++) {
        if (reads == READS_MAX) {
            wake(s);
            return true;
        }
        ssize_t n = upstream_conn_read(s->conn, in, CONN_POOL_SCRATCH_BYTES);

        if (n == IO_AGAIN)
            return true;
        *how = n;
        if (n <= 0)
            return false;
        s->heard_ms = now_ms(s);
        s->pinged = false;
        s->receiving = s->host->receiving = true;
        ssize_t taken = nghttp2_session_mem_recv(s->ng, (const uint8_t *)in, (size_t)n);
        s->receiving = s->host->receiving = false;
        if (taken != n) {
            s->broken = true;
            return false;
        }
        if (!to_the_end && upstream_conn_read_all(s->conn))
            return true;
    }
    return true;
}

/* Whether frames may be made. What is made cannot be taken back, so HEADERS are made only when
 * the connection has taken all that was made before: until then their request can be moved, or
 * barred. nghttp2 makes them before DATA, so that an upload does not keep them waiting. */
static bool may_make(const struct h2_session *s)
{
    return s->queued == 0 || buf_unread(&s->out) == 0;
}

/* Writes the output. False: the connection takes nothing more. */
static bool flush(struct h2_session *s)
{
    for (;;) {
        for (bool make = may_make(s); make && buf_unread(&s->out) < OUT_BYTES;) {
            const uint8_t *bytes = NULL;
            ssize_t n = nghttp2_session_mem_send(s->ng, &bytes);

            if (n < 0 || (n > 0 && buf_add(&s->out, (const char *)bytes, (size_t)n) != 0))
                return false;
            if (n == 0)
                break;
            s->out_bytes += (uint64_t)n;
        }
        if (buf_unread(&s->out) == 0 || !s->conn->writable)
            return true;
        s->offered_bytes = buf_unread(&s->out);
        ssize_t written = upstream_conn_write(s->conn, buf_front(&s->out), buf_unread(&s->out));

        if (written == IO_AGAIN)
            return true;
        if (written < 0)
            return false;
        s->offered_bytes = 0;
        uint64_t before = s->written_bytes;
        s->written_bytes += (uint64_t)written;
        /* contains tokens, compressed */
        explicit_bzero(s->out.data + s->out.start, (size_t)written);
        buf_consume(&s->out, (size_t)written);
        for (struct h2_client *c = TAILQ_FIRST(&s->clients); c != NULL; c = TAILQ_NEXT(c, link))
            if (c->body_until > before) /* a part of this was its body */
                exchange_progressed(exchange_of(c));
    }
}

/* Releases the streams whose answer is complete and whose request is now sent, too. */
static void release_answered(struct h2_session *s)
{
    struct h2_client *c, *next;

    for (c = TAILQ_FIRST(&s->clients); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        if (exchange_of(c)->answered && body_is_sent(c))
            end_sending(c);
    }
}

static size_t streams_allowed(const struct h2_session *s)
{
    uint32_t theirs = s->host->streams_expected;

    if (s->ng != NULL && s->settled)
        theirs =
            nghttp2_session_get_remote_settings(s->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    return theirs < STREAMS_MAX ? theirs : STREAMS_MAX;
}

static enum failure_kind start(struct exchange *x);

/* Moves a request that was not sent to another session. */
static void move_elsewhere(struct h2_client *c)
{
    struct exchange *x = exchange_of(c);

    reset(c, NGHTTP2_CANCEL);
    detach(c);
    enum failure_kind kind = start(x);

    if (kind != FAIL_NONE) {
        struct failure f = failure_make(kind, "There is no memory left to send it.");
        x->with.user->on_end(x, &f);
    }
}

/* The upstream allows fewer streams than there are: moves those that were not sent to
 * another session. */
static void move_surplus(struct h2_session *s)
{
    struct h2_client *c, *prev;
    size_t allowed;

    s->limited = false;
    s->settled = true;
    allowed = streams_allowed(s);
    s->host->streams_expected = (uint32_t)base_max((int64_t)allowed, 1);
    s->retired |= allowed == 0;
    for (c = TAILQ_LAST(&s->clients, h2_client_list); c != NULL && s->streams > allowed;
         c = prev) {
        prev = TAILQ_PREV(c, h2_client_list, link);
        if (c->head_made)
            continue;
        if (allowed > 0) {
            move_elsewhere(c);
        } else { /* another session would be no better: try only once */
            reset(c, NGHTTP2_CANCEL);
            fail(c, CURLE_SEND_ERROR, true);
        }
    }
}

/* The first request in nghttp2's queue that may not be sent any more. */
static struct h2_client *first_barred(struct h2_session *s)
{
    struct h2_client *c;

    TAILQ_FOREACH (c, &s->clients, link)
        if (c->stream > 0 && !c->head_made && !exchange_may_send(exchange_of(c)))
            return c;
    return NULL;
}

/* The connection took nothing for a while: asks again whether those requests may be sent
 * whose HEADERS are not made yet. (Later is too late: HEADERS that are made but not sent
 * would break HPACK.) */
static void bar_queued(struct h2_session *s)
{
    struct h2_client *c;

    while ((c = first_barred(s)) != NULL) {
        struct exchange *x = exchange_of(c);

        reset(c, NGHTTP2_CANCEL);
        detach(c);
        exchange_end_unsent(x);
    }
}

static void session_turn(struct h2_session *s)
{
    ssize_t how = IO_AGAIN;
    bool alive = receive(s, false, &how);

    if (alive && s->limited)
        move_surplus(s);
    if (alive && s->held_up)
        bar_queued(s);

    /* Also when reading has ended: the peer is told about a protocol error. */
    if (!flush(s) && alive) {
        alive = false;
        how = IO_FAILED;
    }
    s->held_up = s->queued > 0;
    release_answered(s);
    if (s->broken)
        alive = false;
    if (alive && nghttp2_session_want_read(s->ng) == 0 &&
        nghttp2_session_want_write(s->ng) == 0 && buf_unread(&s->out) == 0)
        alive = false;
    if (!alive)
        session_die(s, how);
    if (!alive || (s->retired && s->streams == 0))
        session_free(s);
}

static enum failure_kind attach(struct exchange *x, struct h2_session *s);

/* An open session with room for the first request that waits for `waiting`. */
static struct h2_session *with_room(const struct h2_session *waiting)
{
    bool fresh = exchange_of(TAILQ_FIRST(&waiting->clients))->fresh;
    struct h2_session *s;

    TAILQ_FOREACH (s, &waiting->host->sessions, link)
        if (s->state == SESSION_OPEN && !s->retired && !s->receiving &&
            s->config == waiting->config && s->streams < streams_allowed(s) &&
            !(fresh && s->streams == 0))
            return s;
    return NULL;
}

/* Requests that wait for a permit to make a connection (upstream.max_connections) use
 * streams that have become free on other connections. */
static void use_free_streams(struct h2_host *h)
{
    struct h2_session *waiting, *next, *s;
    struct h2_client *c;

    for (waiting = TAILQ_FIRST(&h->sessions); waiting != NULL; waiting = next) {
        next = TAILQ_NEXT(waiting, link);
        if (waiting->state != SESSION_CONNECTING || !upstream_conn_is_waiting(waiting->conn))
            continue;
        while ((c = TAILQ_FIRST(&waiting->clients)) != NULL &&
               (s = with_room(waiting)) != NULL) {
            struct exchange *x = exchange_of(c);

            detach(c);
            enum failure_kind kind = attach(x, s);

            if (kind != FAIL_NONE) {
                struct failure f = failure_make(kind, "The request could not be sent.");
                x->with.user->on_end(x, &f);
            }
        }
        if (waiting->streams == 0)
            session_free(waiting);
    }
}

/* If somebody waits for a connection (upstream.max_connections), the session with the fewest
 * requests takes no further ones, and is closed after its last. Otherwise a worker whose
 * connection is never without requests would keep it from the others. A session with requests
 * on it is given up for another worker only, and one for each waiter that comes to the front of
 * the queue; with only_asked this holds for a session without requests, too. */
static void give_way(struct h2_host *h, bool only_asked)
{
    struct h2_session *s, *least = NULL;

    if (!conn_limit_is_wanted(&h->pool->limit))
        return;
    TAILQ_FOREACH (s, &h->sessions, link)
        if (s->state == SESSION_OPEN && !s->retired &&
            (least == NULL || s->streams < least->streams))
            least = s;
    if (least == NULL ||
        ((only_asked || least->streams > 0) && !conn_limit_is_asked(&h->pool->limit)))
        return;
    least->retired = true;
    wake(least);
}

static void on_ready(struct upstream_conn *conn)
{
    struct h2_session *s = conn->owner;
    struct h2_host *h = s->host;

    session_turn(s);
    give_way(h, true); /* before one of our own overtakes who waits first */
    use_free_streams(h);
    give_way(h, false);
}

static void arm_silence(struct h2_session *s)
{
    if (s->streams > 0 && s->silence_timer.slot == 0 && s->ng != NULL)
        loop_timer_set(s->host->pool->curl->loop, &s->silence_timer, now_ms(s) + SILENCE_MS);
}

/* The session takes no further requests. Those that were sent may still be answered; those that
 * the connection did not take are moved. */
static void retire_silent(struct h2_session *s)
{
    struct h2_client *c, *next;

    s->retired = true;
    for (c = TAILQ_FIRST(&s->clients); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        if (!c->head_made)
            move_elsewhere(c);
    }
}

/* A connection may be lost without notice, and would take all its requests with it. */
static void on_silence(struct loop_timer *t)
{
    struct h2_session *s = CONTAINER_OF(t, struct h2_session, silence_timer);

    if (s->streams > 0 && now_ms(s) - s->heard_ms >= SILENCE_MS) {
        if (s->pinged)
            retire_silent(s);
        else
            (void)nghttp2_submit_ping(s->ng, NGHTTP2_FLAG_NONE, NULL);
        s->pinged = true;
        wake(s);
    }
    arm_silence(s);
}

static void on_idle(struct loop_timer *t)
{
    struct h2_session *s = CONTAINER_OF(t, struct h2_session, idle_timer);

    if (s->streams > 0)
        return;
    /* It is closed in its next turn, since its timer must outlive this call. */
    s->retired = true;
    (void)nghttp2_session_terminate_session(s->ng, NGHTTP2_NO_ERROR);
    wake(s);
}

/* nghttp2's memory holds tokens: it is wiped when it is freed. */
static void *ng_malloc(size_t n, void *arg)
{
    (void)arg;
    return malloc(n);
}

static void *ng_calloc(size_t count, size_t n, void *arg)
{
    (void)arg;
    return calloc(count, n);
}

static void ng_free(void *p, void *arg)
{
    (void)arg;
    secret_wiping_free(p);
}

static void *ng_realloc(void *p, size_t n, void *arg)
{
    (void)arg;
    return secret_wiping_realloc(p, n);
}

static nghttp2_mem ng_memory = {
    .malloc = ng_malloc, .calloc = ng_calloc, .free = ng_free, .realloc = ng_realloc
};

static bool start_session(struct h2_session *s)
{
    const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, RESPONSE_CHECK_BYTES_MAX },
    };
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    int bad = nghttp2_session_callbacks_new(&callbacks) | nghttp2_option_new(&option);

    if (bad == 0) {
        nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_frame_begin);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_bad_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
        nghttp2_session_callbacks_set_before_frame_send_callback(callbacks, on_before_send);
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(option, 1);
        nghttp2_option_set_peer_max_concurrent_streams(option, s->host->streams_expected);
        nghttp2_option_set_max_send_header_block_length(option, HEAD_BYTES_MAX);
        bad = nghttp2_session_client_new3(&s->ng, callbacks, s, option, &ng_memory);
    }
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    return bad == 0 &&
           nghttp2_submit_settings(s->ng, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings)) ==
               0 &&
           nghttp2_session_set_local_window_size(s->ng, NGHTTP2_FLAG_NONE, 0,
                                                 SESSION_WINDOW_BYTES) == 0;
}

/* The handshake chose HTTP/1.1: the requests that wait use that, the first of them on this
 * connection. */
static void hand_over(struct h2_session *s)
{
    struct upstream_conn *conn = s->conn;
    struct h2_client *c;

    s->host->h1_config = s->config;
    s->host->h1_until_ms = now_ms(s) + H1_BELIEVED_MS;
    s->conn = NULL;
    s->state = SESSION_DEAD;
    s->retired = true;
    while ((c = TAILQ_FIRST(&s->clients)) != NULL) {
        struct exchange *x = exchange_of(c);

        detach(c);
        exchange_use(x, x->with.host->h1);
        enum failure_kind kind = h1_client_start(x, conn);
        conn = NULL;
        if (kind != FAIL_NONE) {
            struct failure f = failure_make(kind, "There is no memory left to send it.");
            x->with.user->on_end(x, &f);
        }
    }
    if (conn != NULL)
        upstream_conn_close(conn);
    session_free(s);
}

static struct h2_client *first_waiting(struct h2_session *s)
{
    struct h2_client *c = TAILQ_FIRST(&s->clients);

    while (c != NULL && c->stream != 0)
        c = TAILQ_NEXT(c, link);
    return c;
}

/* The connection waits for upstream.max_connections: requests that joined it later wait as long
 * as those that came first. */
static int64_t on_waited(struct upstream_conn *conn)
{
    struct h2_session *s = conn->owner;
    struct h2_client *c;

    s->streams++; /* it must stay, whatever is started and cancelled from within */
    while ((c = TAILQ_FIRST(&s->clients)) != NULL && c->wait_until_ms <= now_ms(s)) {
        exchange_of(c)->attempt.limited = true;
        fail(c, CURLE_OPERATION_TIMEDOUT, false);
    }
    s->streams--;
    return c == NULL ? 0 : c->wait_until_ms;
}

static void on_open(struct upstream_conn *conn, CURLcode code)
{
    struct h2_session *s = conn->owner;
    struct h2_client *c;

    if (code != CURLE_OK) {
        s->state = SESSION_DEAD;
        s->retired = true;
        while ((c = TAILQ_FIRST(&s->clients)) != NULL) {
            exchange_of(c)->attempt.name_silent = conn->transfer.name_silent;
            exchange_of(c)->attempt.limited = conn->limit_reached;
            fail(c, code, false);
        }
        session_free(s);
        return;
    }
    if (!upstream_conn_chose_h2(conn)) {
        hand_over(s);
        return;
    }
    s->state = SESSION_OPEN;
    s->heard_ms = now_ms(s);
    if (!start_session(s)) {
        session_die(s, IO_FAILED);
        session_free(s);
        return;
    }
    upstream_conn_share(conn);
    while ((c = first_waiting(s)) != NULL) {
        enum failure_kind kind = submit(c);

        if (kind != FAIL_NONE) {
            struct exchange *x = exchange_of(c);
            struct failure f = failure_make(kind, "The request head does not fit.");

            detach(c);
            x->with.user->on_end(x, &f);
        }
    }
    arm_silence(s);
    wake(s);
}

static const struct conn_pool_user session_user = { .on_open = on_open,
                                                    .on_ready = on_ready,
                                                    .on_waited = on_waited };

static struct h2_session *session_new(struct h2_host *h, struct config *config)
{
    struct h2_session *s = base_alloc(sizeof *s);

    s->host = h;
    s->config = config_ref(config);
    s->idle_timer.on_due = on_idle;
    s->silence_timer.on_due = on_silence;
    buf_init(&s->out, OUT_BYTES_MAX);
    buf_init(&s->line, 512 * 1024);
    TAILQ_INIT(&s->clients);
    TAILQ_INSERT_HEAD(&h->sessions, s, link);
    s->conn = conn_pool_make_h2(h->pool, config, &session_user);
    if (s->conn == NULL) {
        session_free(s);
        return NULL;
    }
    s->conn->owner = s;
    return s;
}

/* Whether everything that arrived on an idle connection was processed: it may be its end.
 * While another session is processing input, nothing can be read. */
static bool is_looked_at(struct h2_session *s)
{
    if (s->streams > 0 || s->receiving || upstream_conn_is_quiet(s->conn))
        return true;
    if (s->host->receiving)
        return false;
    ssize_t how = IO_AGAIN;

    s->conn->readable = true;
    if (!receive(s, true, &how))
        s->retired = true;
    return true;
}

/* Whether it can be trusted with a request. */
static bool is_sound(struct h2_session *s)
{
    if (upstream_conn_is_old(s->conn)) {
        curl_host_forget_names(s->host->pool->curl);
        return false;
    }
    return !s->retired && !s->broken && !s->conn->ending &&
           nghttp2_session_get_outbound_queue_size(s->ng) < QUEUED_MAX &&
           nghttp2_session_check_request_allowed(s->ng) != 0;
}

/* A session made with these settings that takes one more request. fresh: one that is known
 * to be alive, as far as that can be known. */
static struct h2_session *find_session(struct h2_host *h, const struct config *config,
                                       bool fresh)
{
    struct h2_session *s, *next;

    give_way(h, true);
    for (s = TAILQ_FIRST(&h->sessions); s != NULL; s = next) {
        next = TAILQ_NEXT(s, link);
        if (s->retired || s->config != config)
            continue;
        if (s->state == SESSION_OPEN && !s->receiving &&
            ((fresh && s->streams == 0) || !is_looked_at(s)))
            continue;
        if (s->state == SESSION_OPEN && !is_sound(s)) {
            s->retired = true;
            wake(s); /* it will be closed when it has nothing left */
            continue;
        }
        if (s->streams < streams_allowed(s))
            return s;
    }
    return NULL;
}

/* --- the client --------------------------------------------------------------------------- */

/* Assigns the request to the session, and submits it if that is open. */
static enum failure_kind attach(struct exchange *x, struct h2_session *s)
{
    struct h2_client *c = x->h2;

    *c = (struct h2_client){ .exchange = x,
                             .session = s,
                             .wait_until_ms =
                                 now_ms(s) + s->config->upstream.connect_timeout_ms };
    TAILQ_INSERT_TAIL(&s->clients, c, link);
    s->streams++;
    loop_timer_clear(s->host->pool->curl->loop, &s->idle_timer);
    if (s->state != SESSION_OPEN)
        return FAIL_NONE;
    enum failure_kind kind = submit(c);

    if (kind != FAIL_NONE)
        detach(c);
    arm_silence(s);
    wake(s);
    return kind;
}

static enum failure_kind start(struct exchange *x)
{
    struct h2_host *h = x->with.host->h2_host;
    struct config *config = x->request.config;

    if (h->h1_config == config && loop_now(h->pool->curl->loop) < h->h1_until_ms) {
        exchange_use(x, x->with.host->h1);
        return h1_client_start(x, NULL);
    }
    struct h2_session *s = find_session(h, config, x->fresh);

    if (s == NULL)
        s = session_new(h, config);
    if (s == NULL)
        return FAIL_INTERNAL;
    return attach(x, s);
}

static void cancel(struct exchange *x)
{
    struct h2_client *c = x->h2;

    if (c == NULL || c->session == NULL)
        return;
    struct h2_session *s = c->session;

    /* What is made will be written before the reset. */
    x->attempt.wrote = c->head_made;
    if (!x->answered || !c->body_ended) /* its stream may be over for nghttp2 */
        reset(c, NGHTTP2_CANCEL);
    detach(c);
    /* Nobody waits any more for the connection that is being made. */
    if (s->streams == 0 && s->state == SESSION_CONNECTING)
        session_free(s);
}

static void more_body(struct exchange *x)
{
    struct h2_client *c = x->h2;

    x->wants_body = false;
    if (c->session == NULL || c->stream <= 0)
        return;
    if (x->with.body->discard) { /* never end it as if it were complete */
        if (!exchange_of(c)->answered)
            return;
        reset(c, NGHTTP2_CANCEL);
        stop_sending(c);
        return;
    }
    (void)nghttp2_session_resume_data(c->session->ng, c->stream);
    wake(c->session);
}

static void more_room(struct exchange *x)
{
    struct h2_client *c = x->h2;

    x->wants_room = false;
    if (c->session == NULL || c->stream <= 0)
        return;
    /* The window must fit into the remaining room. */
    size_t waiting = buf_unread(x->with.answer_body), limit = x->with.answer_body->limit;
    size_t spare = limit > STREAM_WINDOW_BYTES + 1 ? limit - STREAM_WINDOW_BYTES - 1 : 0;

    waiting = waiting > spare ? waiting - spare : 0;
    size_t n = c->unconsumed_bytes > waiting ? c->unconsumed_bytes - waiting : 0;

    if (n > 0)
        (void)nghttp2_session_consume_stream(c->session->ng, c->stream, n);
    c->unconsumed_bytes -= n;
    x->wants_room = c->unconsumed_bytes > 0;
    wake(c->session);
}

static void *keep_new(struct exchange *x)
{
    (void)x;
    return base_alloc(sizeof(struct h2_client));
}

const struct exchange_client h2_client = {
    .start = start,
    .cancel = cancel,
    .more_body = more_body,
    .more_room = more_room,
    .keep_new = keep_new,
    .keep_free = free,
};

void h2_host_init(struct h2_host *h, struct conn_pool *pool)
{
    *h = (struct h2_host){ .pool = pool, .streams_expected = STREAMS_EXPECTED };
    TAILQ_INIT(&h->sessions);
}

void h2_host_forget(struct h2_host *h)
{
    struct h2_session *s, *next;

    h->h1_config = NULL;
    h->streams_expected = STREAMS_EXPECTED;
    for (s = TAILQ_FIRST(&h->sessions); s != NULL; s = next) {
        next = TAILQ_NEXT(s, link);
        s->retired = true;
        if (s->streams == 0)
            session_free(s);
    }
}

void h2_host_done(struct h2_host *h)
{
    if (h->pool == NULL)
        return;
    h2_host_forget(h);
    h->pool = NULL;
}

/* HTTP/1.1 with the upstream.
 *
 *    body --> out --> conn --> upstream --> conn --> decoder --> exchange_line --> head, fields
 *           (head,                                     `-------> answer_body
 *            framing)
 *
 * The two directions are independent. An answer may come before the whole request is written
 * (RFC 9112 section 9.5), and is given to the caller even if the rest can never be sent.
 * After an answer below 400 the rest is still sent, since the upstream may want it; after
 * any other answer, or one that ends the connection, the rest is discarded. A connection is
 * reused only after a complete answer to a complete request, with nothing after it. */
#include "upstream/h1_client.h"

#include <string.h>

/* How much of a body is copied at once: after the head, or into a chunk. */
#define PIECE_BYTES 16384
/* How much of an answer is read before the caller has taken it: two TLS records. More would
 * cost memory for each caller that does not read, and gain nothing. A larger answer_body is
 * meant to be filled, whatever the caller's pace. */
#define ANSWER_BYTES 32768
/* Room for the largest head that can be sent, and one piece. */
#define OUT_BYTES_MAX (512 * 1024)
/* Size of `out` that is kept from one exchange to the next. */
#define OUT_KEPT_BYTES (2 * PIECE_BYTES)

/* Discards what is still to be written. */
static void clear_out(struct h1_client *h)
{
    if (h->out.cap > OUT_KEPT_BYTES)
        buf_wipe(&h->out);
    else if (h->had_token && h->out.data != NULL) /* the token may have been moved within it */
        explicit_bzero(h->out.data, h->out.cap);
    h->had_token = false;
    buf_clear(&h->out);
}

/* --- the end ----------------------------------------------------------------------------- */

/* What becomes of the connection when the exchange no longer needs it. */
enum release { RELEASE_CLOSE, RELEASE_ABORT, RELEASE_GIVE };

static void release(struct exchange *x, enum release how)
{
    struct h1_client *h = x->h1;
    struct upstream_conn *conn = h->conn;

    h->conn = NULL;
    x->wants_body = x->wants_room = x->answered = false;
    x->attempt.wrote = h->begun && upstream_conn_sent_bytes(conn) != h->sent_before;
    x->attempt.facts = conn->facts;
    if (conn->error_text[0] != '\0')
        memcpy(x->attempt.error_text, conn->error_text, sizeof x->attempt.error_text);
    x->attempt.name_silent = conn->transfer.name_silent;
    x->attempt.limited = conn->limit_reached;
    clear_out(h);
    h1_decoder_done(&h->decoder);
    if (how == RELEASE_GIVE)
        conn_pool_give(conn);
    else if (how == RELEASE_ABORT)
        upstream_conn_abort(conn);
    else
        upstream_conn_close(conn);
}

static void fail(struct exchange *x, CURLcode code)
{
    release(x, RELEASE_CLOSE);
    exchange_ended(x, code, false);
}

/* The answer was given completely, and the rest of the request can no longer be sent. */
static void stop_sending(struct exchange *x)
{
    release(x, RELEASE_CLOSE);
    x->rest_unwanted = true;
    x->with.user->on_progress(x);
}

/* --- the request ------------------------------------------------------------------------- */

static bool write_head(struct exchange *x)
{
    const struct exchange_request *q = &x->request;
    struct h1_client *h = x->h1;
    struct buf *out = &h->out;

    h->had_token = true;
    return buf_add_str(out, q->method) == 0 && buf_add(out, " ", 1) == 0 &&
           buf_add_str(out, q->prefix) == 0 && buf_add_str(out, q->path) == 0 &&
           buf_add_str(out, " HTTP/1.1\r\n") == 0 && header_write(out, &q->head);
}

/* Copies a piece of the body. */
static bool add_piece(struct exchange *x, size_t n)
{
    struct h1_client *h = x->h1;

    if (buf_add(&h->out, exchange_body_front(x), n) != 0)
        return false;
    h->body_taken += (int64_t)n;
    exchange_body_sent(x, n);
    return true;
}

static bool add_chunk(struct exchange *x, size_t n)
{
    struct h1_client *h = x->h1;
    struct buf *out = &h->out;

    return buf_addf(out, "%zx\r\n", n) == 0 && add_piece(x, n) && buf_add(out, "\r\n", 2) == 0;
}

/* Fills `out` with as much of the body as can be sent together with the head. False: no
 * memory. */
static bool fill(struct exchange *x)
{
    struct h1_client *h = x->h1;
    int64_t body_bytes = x->request.head.body_bytes;
    size_t here = exchange_body_unsent(x);
    size_t n = here < PIECE_BYTES ? here : PIECE_BYTES;

    if (buf_unread(&h->out) > PIECE_BYTES)
        return true;
    if (body_bytes > 0) /* the rest is sent from where it is */
        return n == 0 || n < here || buf_unread(&h->out) == 0 || add_piece(x, n);
    if (n > 0 && !add_chunk(x, n))
        return false;
    if (n < here || !x->with.body->ended || h->chunks_ended || body_bytes == 0)
        return true;
    h->chunks_ended = true;
    return buf_add(&h->out, "0\r\n\r\n", 5) == 0;
}

static bool is_all_written(const struct exchange *x)
{
    const struct h1_client *h = x->h1;
    int64_t body_bytes = x->request.head.body_bytes;

    return h->begun && buf_unread(&h->out) == 0 &&
           (body_bytes < 0 ? h->chunks_ended : h->body_taken == body_bytes);
}

/* Sends as much as there is and the peer takes. */
static void send_more(struct exchange *x)
{
    struct h1_client *h = x->h1;

    /* A body whose rest is discarded must never end as if it were complete. */
    while (h->conn->writable && !x->rest_unwanted && !x->with.body->discard &&
           !is_all_written(x)) {
        if (!fill(x)) {
            fail(x, CURLE_OUT_OF_MEMORY);
            return;
        }
        bool copied = buf_unread(&h->out) > 0;
        size_t n = copied ? buf_unread(&h->out) : exchange_body_unsent(x);

        x->wants_body = n == 0;
        if (n == 0)
            return;
        ssize_t written = upstream_conn_write(
            h->conn, copied ? buf_front(&h->out) : exchange_body_front(x), n);
        if (written == IO_AGAIN)
            return;
        if (written < 0) { /* an answer may have come before that */
            h->send_closed = h->conn->readable = x->rest_unwanted = true;
            x->with.user->on_progress(x);
            return;
        }
        if (copied) {
            buf_consume(&h->out, (size_t)written);
            exchange_progressed(x);
        } else {
            h->body_taken += written;
            exchange_body_sent(x, (size_t)written);
        }
        if (buf_unread(&h->out) == 0)
            clear_out(h);
    }
}

/* --- the answer -------------------------------------------------------------------------- */

static void refuse(struct exchange *x, enum failure_kind kind, const char *why)
{
    if (x->head.kind == FAIL_NONE) {
        x->head.kind = kind;
        x->head.why = why;
    }
    fail(x, CURLE_WEIRD_SERVER_REPLY);
}

/* Whether the peer announces that it closes the connection (RFC 9112 section 9.6). */
static bool says_close(const struct exchange *x)
{
    bool close = x->head.http_1_0;

    for (size_t i = 0; i < x->field_count; i++) {
        const struct header_field *f = &x->fields[i];

        if (!header_is(f, "connection"))
            continue;
        if (header_has_token(f->value, f->value_len, "close"))
            return true;
        if (header_has_token(f->value, f->value_len, "keep-alive"))
            close = false;
    }
    return close;
}

/* Reads how long the peer keeps the connection, if it says so. */
static void read_keep_alive(struct exchange *x)
{
    const struct h1_client *h = x->h1;

    for (size_t i = 0; i < x->field_count; i++) {
        const struct header_field *f = &x->fields[i];
        int64_t s =
            header_is(f, "keep-alive") ? header_keep_alive_s(f->value, f->value_len) : -1;

        if (s >= 0)
            upstream_conn_limit_idle(h->conn, s);
    }
}

static void on_line(struct exchange *x, const char *line, size_t n)
{
    struct h1_client *h = x->h1;

    if (!exchange_line(x, line, n)) {
        fail(x, CURLE_WEIRD_SERVER_REPLY);
        return;
    }
    if (h->conn == NULL || h->decoder.state != H1_HEAD || !exchange_has_head(x))
        return;
    bool bodiless = exchange_is_bodiless(x);

    read_keep_alive(x);
    /* If a 204 has fields that announce a body, what follows may be that body. */
    h->last = says_close(x) ||
              (x->head.status == 204 && (x->head.chunked || x->head.content_length > 0));
    if (x->head.status >= 400 || h->last)
        x->rest_unwanted = true;
    h1_decoder_body(&h->decoder, x->head.chunked && !bodiless,
                    bodiless ? 0 : x->head.content_length);
}

/* in_place: the bytes are already in answer_body. There is room: no more was read. */
static void on_body(struct exchange *x, const char *bytes, size_t n, bool in_place)
{
    struct buf *to = x->with.answer_body;

    exchange_progressed(x);
    x->body_bytes += (int64_t)n;
    if (in_place)
        buf_commit(to, n);
    else if (buf_add(to, bytes, n) != 0) {
        fail(x, CURLE_OUT_OF_MEMORY);
        return;
    }
    x->with.user->on_progress(x);
}

/* The answer is complete; surplus: and something follows it. */
static void finish(struct exchange *x, bool surplus)
{
    struct h1_client *h = x->h1;
    bool whole_request = is_all_written(x), sound = !surplus && !h->last;

    x->rest_unwanted = x->rest_unwanted || x->with.body->discard || !sound;
    if (whole_request || x->rest_unwanted)
        release(x, whole_request && sound ? RELEASE_GIVE : RELEASE_CLOSE);
    else
        x->answered = true;
    exchange_ended(x, CURLE_OK, true);
}

/* Processes what was read; that may end the exchange, after which there is no connection. */
static void take(struct exchange *x, const char *in, size_t n, bool in_place)
{
    struct h1_client *h = x->h1;
    const char *piece = NULL;
    size_t len = 0;

    while (h->conn != NULL && !x->answered) {
        switch (h1_decoder_next(&h->decoder, &in, &n, &piece, &len)) {
        case H1_LINE:
            on_line(x, piece, len);
            break;
        case H1_BODY:
            on_body(x, piece, len, in_place);
            break;
        case H1_END:
            finish(x, n > 0);
            break;
        case H1_TOO_LONG:
            refuse(x, FAIL_UPSTREAM_HEAD_SIZE, "its head has a line without end");
            break;
        case H1_BROKEN:
            refuse(x, FAIL_UPSTREAM_PROTOCOL, "its body is not made of chunks, as it says");
            break;
        case H1_MORE:
            return;
        }
    }
}

/* The connection ended before the answer was complete by its framing. */
static void on_end(struct exchange *x, ssize_t how)
{
    const struct h1_client *h = x->h1;
    bool until_close = h->decoder.state == H1_UNTIL_CLOSE;

    /* The kernel reports a reset only once: if the write got it, the read looks like a
     * regular end. */
    if (until_close && how == IO_END && !h->send_closed) {
        release(x, RELEASE_CLOSE);
        exchange_ended(x, CURLE_OK, true);
        return;
    }
    x->attempt.unconfirmed = until_close && how == IO_CUT;
    fail(x, x->attempt.unconfirmed ? CURLE_OK
            : how == IO_FAILED     ? (h->send_closed ? CURLE_SEND_ERROR : CURLE_RECV_ERROR)
            : x->attempt.began     ? CURLE_PARTIAL_FILE
                                   : CURLE_GOT_NOTHING);
}

/* Whether the next bytes are body that needs no decoding; and how many of them. */
static bool is_plain_body(const struct h1_decoder *d, size_t *most)
{
    if (d->state == H1_COUNTED && (int64_t)*most > d->left)
        *most = (size_t)d->left;
    return d->state == H1_COUNTED || d->state == H1_UNTIL_CLOSE;
}

static void receive(struct exchange *x)
{
    struct h1_client *h = x->h1;
    struct buf *body = x->with.answer_body;

    while (h->conn != NULL && !x->answered && h->conn->readable) {
        size_t here = buf_unread(body);
        size_t full = (size_t)base_max(ANSWER_BYTES, (int64_t)body->limit - ANSWER_BYTES);
        size_t room = here < full ? full - here : 0;
        size_t most = room < CONN_POOL_SCRATCH_BYTES ? room : CONN_POOL_SCRATCH_BYTES;
        bool in_place = is_plain_body(&h->decoder, &most);
        char *to =
            in_place && most > 0 ? buf_reserve(body, most) : x->with.host->conn_pool->scratch;

        x->wants_room = most == 0;
        if (most == 0)
            return;
        if (to == NULL) {
            fail(x, CURLE_OUT_OF_MEMORY);
            return;
        }
        ssize_t n = upstream_conn_read(h->conn, to, most);
        if (n == IO_AGAIN && h->send_closed)
            n = IO_FAILED; /* what arrived before has been read */
        if (n == IO_AGAIN)
            return;
        if (n <= 0) {
            on_end(x, n);
            return;
        }
        x->attempt.began = true;
        take(x, to, (size_t)n, in_place);
    }
}

/* --- its life cycle ---------------------------------------------------------------------- */

/* The answer is complete, and the rest of the request is being sent. Nothing more may arrive
 * but the end of the connection. */
static void send_rest(struct exchange *x)
{
    struct h1_client *h = x->h1;

    if (h->conn->readable) {
        ssize_t n = upstream_conn_read(h->conn, x->with.host->conn_pool->scratch, 1);

        if (n != IO_AGAIN) {
            stop_sending(x);
            return;
        }
    }
    send_more(x);
    if (h->conn == NULL)
        return;
    if (h->send_closed)
        stop_sending(x);
    else if (is_all_written(x)) {
        release(x, RELEASE_GIVE);
        x->with.user->on_progress(x);
    }
}

static void pump(struct exchange *x)
{
    struct h1_client *h = x->h1;

    if (!h->begun && upstream_conn_has_spoken(h->conn)) {
        refuse(x, FAIL_UPSTREAM_PROTOCOL, "it came before anything was asked");
        return;
    }
    if (!h->begun && !exchange_may_send(x)) {
        release(x, RELEASE_CLOSE);
        exchange_end_unsent(x);
        return;
    }
    if (!h->begun) {
        h->begun = true;
        x->attempt.reused = h->conn->used;
        h->sent_before = upstream_conn_sent_bytes(h->conn);
        if (x->request.claimed)
            upstream_conn_limit_unacknowledged(h->conn,
                                               x->request.config->upstream.response_timeout_ms);
        exchange_sending(x);
    } else {
        receive(x);
    }
    if (h->conn != NULL && !x->answered)
        send_more(x);
    receive(x);
    if (h->conn != NULL && x->answered)
        send_rest(x);
}

static void on_ready(struct upstream_conn *conn)
{
    pump(conn->owner);
}

static void on_open(struct upstream_conn *conn, CURLcode code)
{
    if (code == CURLE_OK)
        upstream_conn_wake(conn);
    else
        fail(conn->owner, code);
}

static void on_instead(struct upstream_conn *waiting, struct upstream_conn *conn)
{
    struct exchange *x = waiting->owner;
    struct h1_client *h = x->h1;

    h->conn = conn;
    upstream_conn_wake(conn);
}

const struct conn_pool_user h1_client_user = { .on_open = on_open,
                                               .on_instead = on_instead,
                                               .on_ready = on_ready };

enum failure_kind h1_client_start(struct exchange *x, struct upstream_conn *conn)
{
    struct h1_client *h = x->h1;

    h->out.limit = OUT_BYTES_MAX;
    h->begun = h->send_closed = h->chunks_ended = h->last = false;
    h->body_taken = 0;
    h1_decoder_init(&h->decoder);
    clear_out(h);
    if (!write_head(x)) {
        clear_out(h);
        if (conn != NULL)
            upstream_conn_close(conn);
        return FAIL_HEAD_TOO_LARGE;
    }
    h->conn = conn != NULL
                  ? conn
                  : conn_pool_take(x->with.host->conn_pool, x->request.config, x->fresh);
    if (h->conn == NULL) {
        clear_out(h);
        return FAIL_INTERNAL;
    }
    h->conn->user = &h1_client_user;
    h->conn->owner = x;
    if (upstream_conn_is_open(h->conn))
        upstream_conn_wake(h->conn);
    return FAIL_NONE;
}

static enum failure_kind start(struct exchange *x)
{
    return h1_client_start(x, NULL);
}

static void cancel(struct exchange *x)
{
    const struct h1_client *h = x->h1;

    if (h != NULL && h->conn != NULL)
        release(x, x->request.claimed ? RELEASE_ABORT : RELEASE_CLOSE);
}

static void more_body(struct exchange *x)
{
    x->wants_body = false;
    pump(x);
}

static void more_room(struct exchange *x)
{
    x->wants_room = false;
    pump(x);
}

static void *keep_new(struct exchange *x)
{
    (void)x;
    return base_alloc(sizeof(struct h1_client));
}

static void keep_free(void *kept)
{
    struct h1_client *h = kept;

    buf_wipe(&h->out);
    h1_decoder_done(&h->decoder);
    free(h);
}

const struct exchange_client h1_client = {
    .start = start,
    .cancel = cancel,
    .more_body = more_body,
    .more_room = more_room,
    .keep_new = keep_new,
    .keep_free = keep_free,
};

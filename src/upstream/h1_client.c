/* HTTP/1.1 with the upstream.
 *
 *      r->up --> out --> wire --> upstream --> wire --> http1 --> lines --> guard --> fields
 *     (body)   (head,                                        `--> body ----------> r->down
 *              framing)
 *
 * Both directions go on independently of each other: an answer may come before the request is
 * all written (RFC 9112 section 9.5), and is given even if the rest can never be. What it ends
 * is the connection: it is used again only after a whole answer to a whole request, with
 * nothing behind it. */
#include <string.h>

#include "proxy/relay.h"
#include "upstream/upstream_inside.h"

/* Of a body that is copied: beside the head, or into a chunk. */
#define PIECE_BYTES 16384
/* Room for the largest head that can be sent, and a piece. */
#define OUT_BYTES_MAX (512 * 1024)
/* What a pooled relay keeps. */
#define OUT_KEPT_BYTES (2 * PIECE_BYTES)

/* Nothing of it is to be written any more. */
static void clear_out(struct h1_client *h)
{
    if (h->out.cap > OUT_KEPT_BYTES)
        buf_wipe(&h->out);
    else if (h->had_token && h->out.data != NULL) /* which may have been moved about in there */
        explicit_bzero(h->out.data, h->out.cap);
    h->had_token = false;
    buf_clear(&h->out);
}

/* --- the end ----------------------------------------------------------------------------- */

/* The connection's part of it is over. */
static void let_go(struct relay *r, bool again)
{
    struct upstream *u = &r->upstream;
    struct upstream_conn *w = u->h1.conn;

    u->h1.conn = NULL;
    u->wrote = u->h1.begun && upstream_conn_sent_bytes(w) != u->h1.sent_before;
    if (w->error_text[0] != '\0')
        memcpy(u->error_text, w->error_text, sizeof u->error_text);
    clear_out(&u->h1);
    h1_decoder_done(&u->h1.reader);
    if (again)
        conn_pool_give(w);
    else
        upstream_conn_close(w);
}

static void fail(struct relay *r, CURLcode code)
{
    let_go(r, false);
    upstream_ended(r, code, false);
}

/* --- the request ------------------------------------------------------------------------- */

static bool write_head(struct relay *r)
{
    struct buf *out = &r->upstream.h1.out;
    const struct header_forward head = upstream_head(r);

    r->upstream.h1.had_token = true;
    return buf_add_str(out, r->method) == 0 && buf_add(out, " ", 1) == 0 &&
           buf_add_str(out, r->route.prefix) == 0 && buf_add_str(out, r->route.path) == 0 &&
           buf_add_str(out, " HTTP/1.1\r\n") == 0 && header_write(out, &head);
}

/* A piece of the body, copied. */
static bool add_piece(struct relay *r, size_t n)
{
    if (buf_add(&r->upstream.h1.out, upstream_body_front(r), n) != 0)
        return false;
    r->upstream.h1.body_taken += (int64_t)n;
    upstream_body_gone(r, n);
    return true;
}

static bool add_chunk(struct relay *r, size_t n)
{
    struct buf *out = &r->upstream.h1.out;

    return buf_addf(out, "%zx\r\n", n) == 0 && add_piece(r, n) && buf_add(out, "\r\n", 2) == 0;
}

/* Fills `out` with what can go together with it. False: no memory. */
static bool fill(struct relay *r)
{
    struct h1_client *h = &r->upstream.h1;
    size_t here = upstream_body_here(r);
    size_t n = here < PIECE_BYTES ? here : PIECE_BYTES;

    if (buf_unread(&h->out) > PIECE_BYTES)
        return true;
    if (r->body_bytes > 0) /* what is more goes from where it is */
        return n == 0 || n < here || buf_unread(&h->out) == 0 || add_piece(r, n);
    if (n > 0 && !add_chunk(r, n))
        return false;
    if (n < here || !r->up_done || h->chunks_ended || r->body_bytes == 0)
        return true;
    h->chunks_ended = true;
    return buf_add(&h->out, "0\r\n\r\n", 5) == 0;
}

static bool is_all_written(const struct relay *r)
{
    const struct h1_client *h = &r->upstream.h1;

    return h->begun && buf_unread(&h->out) == 0 &&
           (r->body_bytes < 0 ? h->chunks_ended : h->body_taken == r->body_bytes);
}

/* As much as there is and the other side takes. */
static void send_more(struct relay *r)
{
    struct upstream *u = &r->upstream;
    struct h1_client *h = &u->h1;

    /* Once the answer is here the rest of the body is thrown away: never end it as if it were
     * whole. */
    while (h->conn->writable && !h->send_closed && !r->discard && !is_all_written(r)) {
        if (!fill(r)) {
            fail(r, CURLE_OUT_OF_MEMORY);
            return;
        }
        bool copied = buf_unread(&h->out) > 0;
        size_t n = copied ? buf_unread(&h->out) : upstream_body_here(r);

        u->paused_up = n == 0;
        if (n == 0)
            return;
        ssize_t written = upstream_conn_write(
            h->conn, copied ? buf_front(&h->out) : upstream_body_front(r), n);
        if (written == IO_AGAIN)
            return;
        if (written < 0) { /* an answer may have come before */
            h->send_closed = h->conn->readable = true;
            return;
        }
        if (copied) {
            buf_consume(&h->out, (size_t)written);
            upstream_moved(r);
        } else {
            h->body_taken += written;
            upstream_body_gone(r, (size_t)written);
        }
        if (buf_unread(&h->out) == 0)
            clear_out(h);
    }
}

/* --- the answer -------------------------------------------------------------------------- */

static void refuse(struct relay *r, enum failure_kind kind, const char *why)
{
    struct response_check *g = &r->upstream.guard;

    if (g->kind == FAIL_NONE) {
        g->kind = kind;
        g->why = why;
    }
    fail(r, CURLE_WEIRD_SERVER_REPLY);
}

/* Whether the other side says that it closes the connection (RFC 9112 section 9.6). */
static bool says_close(const struct upstream *u)
{
    bool close = u->guard.http_1_0;

    for (size_t i = 0; i < u->count; i++) {
        const struct header_field *f = &u->fields[i];

        if (!header_is(f, "connection"))
            continue;
        if (header_has_token(f->value, f->value_len, "close"))
            return true;
        if (header_has_token(f->value, f->value_len, "keep-alive"))
            close = false;
    }
    return close;
}

static void on_line(struct relay *r, const char *line, size_t n)
{
    struct upstream *u = &r->upstream;
    struct h1_client *h = &u->h1;

    if (!upstream_line(r, line, n)) {
        fail(r, CURLE_WEIRD_SERVER_REPLY);
        return;
    }
    if (h->reader.state != H1_HEAD || !upstream_has_head(u))
        return;
    bool bodiless = upstream_is_bodiless(r);

    /* What follows a 204 that says it has a body may be that body. */
    h->last = says_close(u) ||
              (u->guard.status == 204 && (u->guard.chunked || u->guard.content_length > 0));
    h1_decoder_body(&h->reader, u->guard.chunked && !bodiless,
                    bodiless ? 0 : u->guard.content_length);
}

/* in_place: the bytes lie where they belong. There is room: no more was read. */
static void on_body(struct relay *r, const char *bytes, size_t n, bool in_place)
{
    r->progress_ms = loop_now(&r->ctx->loop);
    r->upstream.body_bytes += (int64_t)n;
    if (in_place)
        buf_commit(&r->down, n);
    else if (buf_add(&r->down, bytes, n) != 0) {
        fail(r, CURLE_OUT_OF_MEMORY);
        return;
    }
    relay_wake(r);
}

/* All of the answer is here; surplus: and more. */
static void finish(struct relay *r, bool surplus)
{
    struct h1_client *h = &r->upstream.h1;

    let_go(r, !surplus && !h->last && is_all_written(r));
    upstream_ended(r, CURLE_OK, true);
}

/* What was read; it may be the end of it, after which there is no wire. */
static void take(struct relay *r, const char *in, size_t n, bool in_place)
{
    struct h1_client *h = &r->upstream.h1;
    const char *piece = NULL;
    size_t len = 0;

    while (h->conn != NULL) {
        switch (h1_decoder_next(&h->reader, &in, &n, &piece, &len)) {
        case H1_LINE:
            on_line(r, piece, len);
            break;
        case H1_BODY:
            on_body(r, piece, len, in_place);
            break;
        case H1_END:
            finish(r, n > 0);
            break;
        case H1_TOO_LONG:
            refuse(r, FAIL_UPSTREAM_HEAD_SIZE, "its head has a line without end");
            break;
        case H1_BROKEN:
            refuse(r, FAIL_UPSTREAM_PROTOCOL, "its body is not made of chunks, as it says");
            break;
        case H1_MORE:
            return;
        }
    }
}

/* The connection is over before the answer's framing says so. */
static void on_end(struct relay *r, ssize_t how)
{
    struct upstream *u = &r->upstream;
    const struct h1_client *h = &u->h1;
    bool until_close = h->reader.state == H1_UNTIL_CLOSE;

    /* The kernel tells of a reset once; when it told the writing, reading ends in order. */
    if (until_close && how == IO_END && !h->send_closed) {
        let_go(r, false);
        upstream_ended(r, CURLE_OK, true);
        return;
    }
    u->unconfirmed = until_close && how == IO_CUT;
    fail(r, u->unconfirmed     ? CURLE_OK
            : how == IO_FAILED ? (h->send_closed ? CURLE_SEND_ERROR : CURLE_RECV_ERROR)
            : u->began         ? CURLE_PARTIAL_FILE
                               : CURLE_GOT_NOTHING);
}

/* Whether what comes next goes where it belongs without being looked at; and how much of it. */
static bool is_plain_body(const struct h1_decoder *reader, size_t *most)
{
    if (reader->state == H1_COUNTED && (int64_t)*most > reader->left)
        *most = (size_t)reader->left;
    return reader->state == H1_COUNTED || reader->state == H1_UNTIL_CLOSE;
}

static void receive(struct relay *r)
{
    struct upstream *u = &r->upstream;
    struct h1_client *h = &u->h1;

    while (h->conn != NULL && h->conn->readable) {
        size_t room = buf_room(&r->down);
        size_t most = room < CONN_POOL_SCRATCH_BYTES ? room : CONN_POOL_SCRATCH_BYTES;
        bool in_place = is_plain_body(&h->reader, &most);
        char *to =
            in_place && most > 0 ? buf_reserve(&r->down, most) : r->ctx->conn_pool.scratch;

        u->paused_down = most == 0;
        if (most == 0)
            return;
        if (to == NULL) {
            fail(r, CURLE_OUT_OF_MEMORY);
            return;
        }
        ssize_t n = upstream_conn_read(h->conn, to, most);
        if (n == IO_AGAIN && h->send_closed)
            n = IO_FAILED; /* what came before that has been read */
        if (n == IO_AGAIN)
            return;
        if (n <= 0) {
            on_end(r, n);
            return;
        }
        if (!u->began) /* the head's deadline */
            r->progress_ms = loop_now(&r->ctx->loop);
        u->began = true;
        take(r, to, (size_t)n, in_place);
    }
}

/* --- its life ---------------------------------------------------------------------------- */

static void pump(struct relay *r)
{
    struct h1_client *h = &r->upstream.h1;

    if (!h->begun && upstream_conn_has_spoken(h->conn)) {
        refuse(r, FAIL_UPSTREAM_PROTOCOL, "it came before anything was asked");
        return;
    }
    if (!h->begun) {
        h->begun = true;
        r->upstream.reused = h->conn->used;
        h->sent_before = upstream_conn_sent_bytes(h->conn);
        upstream_sending(r);
    } else {
        receive(r);
    }
    if (h->conn != NULL)
        send_more(r);
    receive(r);
}

static void on_ready(struct upstream_conn *w)
{
    pump(w->owner);
}

static void on_open(struct upstream_conn *w, CURLcode code)
{
    struct relay *r = w->owner;

    if (code == CURLE_OK)
        upstream_conn_wake(w);
    else
        fail(r, code);
}

const struct conn_pool_user h1_client_user = { .on_open = on_open, .on_ready = on_ready };

enum failure_kind h1_client_start(struct relay *r)
{
    struct h1_client *h = &r->upstream.h1;

    h->out.limit = OUT_BYTES_MAX;
    h->begun = h->send_closed = h->chunks_ended = h->last = false;
    h->body_taken = 0;
    h1_decoder_init(&h->reader);
    clear_out(h);
    if (!write_head(r)) {
        clear_out(h);
        return FAIL_HEAD_TOO_LARGE;
    }
    h->conn = conn_pool_take(&r->ctx->conn_pool, r->config, r->upstream.fresh);
    if (h->conn == NULL) {
        clear_out(h);
        return FAIL_INTERNAL;
    }
    h->conn->owner = r;
    if (upstream_conn_is_open(h->conn))
        upstream_conn_wake(h->conn);
    return FAIL_NONE;
}

void h1_client_cancel(struct relay *r)
{
    if (r->upstream.h1.conn != NULL)
        let_go(r, false);
}

void h1_client_unpause(struct relay *r)
{
    struct upstream *u = &r->upstream;
    struct h1_client *h = &u->h1;

    if (h->conn == NULL || !h->begun)
        return;
    bool up = u->paused_up && !r->discard && (upstream_body_here(r) > 0 || r->up_done);
    bool down = u->paused_down && buf_unread(&r->down) <= RELAY_WINDOW_BYTES / 4;

    u->paused_up = u->paused_up && !up;
    u->paused_down = u->paused_down && !down;
    if (up || down)
        pump(r);
}

void h1_client_free(struct upstream *u)
{
    buf_wipe(&u->h1.out);
    h1_decoder_done(&u->h1.reader);
}

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
#include "server/worker.h"
#include "upstream/upstream_inside.h"

/* Of a body that is copied: beside the head, or into a chunk. */
#define PIECE_BYTES 16384
/* Room for the largest head that can be sent, and a piece. */
#define OUT_BYTES_MAX (512 * 1024)
/* What a pooled relay keeps. */
#define OUT_KEPT_BYTES (2 * PIECE_BYTES)

/* Nothing of it is to be written any more. */
static void clear_out(struct upstream_http1 *h)
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
    struct wire *w = u->http1.wire;

    u->http1.wire = NULL;
    u->wrote = u->http1.begun && wire_sent_bytes(w) != u->http1.sent_before;
    if (w->words[0] != '\0')
        memcpy(u->words, w->words, sizeof u->words);
    clear_out(&u->http1);
    http1_done(&u->http1.reader);
    if (again)
        wire_give(w);
    else
        wire_close(w);
}

static void fail(struct relay *r, CURLcode code)
{
    let_go(r, false);
    upstream_ended(r, code, false);
}

/* --- the request ------------------------------------------------------------------------- */

static bool write_head(struct relay *r)
{
    struct buf *out = &r->upstream.http1.out;
    const struct header_forward head = upstream_head(r);

    r->upstream.http1.had_token = true;
    return buf_add_str(out, r->method) == 0 && buf_add(out, " ", 1) == 0 &&
           buf_add_str(out, r->route.prefix) == 0 && buf_add_str(out, r->route.path) == 0 &&
           buf_add_str(out, " HTTP/1.1\r\n") == 0 && header_write(out, &head);
}

/* A piece of the body, copied. */
static bool add_piece(struct relay *r, size_t n)
{
    if (buf_add(&r->upstream.http1.out, upstream_body_front(r), n) != 0)
        return false;
    r->upstream.http1.body_taken += (int64_t)n;
    upstream_body_gone(r, n);
    return true;
}

static bool add_chunk(struct relay *r, size_t n)
{
    struct buf *out = &r->upstream.http1.out;

    return buf_addf(out, "%zx\r\n", n) == 0 && add_piece(r, n) && buf_add(out, "\r\n", 2) == 0;
}

/* Fills `out` with what can go together with it. False: no memory. */
static bool fill(struct relay *r)
{
    struct upstream_http1 *h = &r->upstream.http1;
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
    const struct upstream_http1 *h = &r->upstream.http1;

    return h->begun && buf_unread(&h->out) == 0 &&
           (r->body_bytes < 0 ? h->chunks_ended : h->body_taken == r->body_bytes);
}

/* As much as there is and the other side takes. */
static void send_more(struct relay *r)
{
    struct upstream *u = &r->upstream;
    struct upstream_http1 *h = &u->http1;

    /* Once the answer is here the rest of the body is thrown away: never end it as if it were
     * whole. */
    while (h->wire->writable && !h->deaf && !r->swallow && !is_all_written(r)) {
        if (!fill(r)) {
            fail(r, CURLE_OUT_OF_MEMORY);
            return;
        }
        bool copied = buf_unread(&h->out) > 0;
        size_t n = copied ? buf_unread(&h->out) : upstream_body_here(r);

        u->paused_up = n == 0;
        if (n == 0)
            return;
        ssize_t written =
            wire_write(h->wire, copied ? buf_front(&h->out) : upstream_body_front(r), n);
        if (written == WIRE_AGAIN)
            return;
        if (written < 0) { /* an answer may have come before */
            h->deaf = h->wire->readable = true;
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
    struct guard_answer *g = &r->upstream.guard;

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
    struct upstream_http1 *h = &u->http1;

    if (!upstream_line(r, line, n)) {
        fail(r, CURLE_WEIRD_SERVER_REPLY);
        return;
    }
    if (h->reader.state != HTTP1_HEAD || !upstream_has_head(u))
        return;
    bool bodiless = upstream_is_bodiless(r);

    /* What follows a 204 that says it has a body may be that body. */
    h->last = says_close(u) ||
              (u->guard.status == 204 && (u->guard.chunked || u->guard.content_length > 0));
    http1_body(&h->reader, u->guard.chunked && !bodiless,
               bodiless ? 0 : u->guard.content_length);
}

/* in_place: the bytes lie where they belong. There is room: no more was read. */
static void on_body(struct relay *r, const char *bytes, size_t n, bool in_place)
{
    r->progress_ms = loop_now(&r->worker->loop);
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
    struct upstream_http1 *h = &r->upstream.http1;

    let_go(r, !surplus && !h->last && is_all_written(r));
    upstream_ended(r, CURLE_OK, true);
}

/* What was read; it may be the end of it, after which there is no wire. */
static void take(struct relay *r, const char *in, size_t n, bool in_place)
{
    struct upstream_http1 *h = &r->upstream.http1;
    const char *piece = NULL;
    size_t len = 0;

    while (h->wire != NULL) {
        switch (http1_next(&h->reader, &in, &n, &piece, &len)) {
        case HTTP1_LINE:
            on_line(r, piece, len);
            break;
        case HTTP1_BODY:
            on_body(r, piece, len, in_place);
            break;
        case HTTP1_END:
            finish(r, n > 0);
            break;
        case HTTP1_TOO_LONG:
            refuse(r, FAIL_UPSTREAM_HEAD_SIZE, "its head has a line without end");
            break;
        case HTTP1_BROKEN:
            refuse(r, FAIL_UPSTREAM_PROTOCOL, "its body is not made of chunks, as it says");
            break;
        case HTTP1_MORE:
            return;
        }
    }
}

/* The connection is over before the answer's framing says so. */
static void on_end(struct relay *r, ssize_t how)
{
    struct upstream *u = &r->upstream;
    const struct upstream_http1 *h = &u->http1;
    bool until_close = h->reader.state == HTTP1_UNTIL_CLOSE;

    /* The kernel tells of a reset once; when it told the writing, reading ends in order. */
    if (until_close && how == WIRE_END && !h->deaf) {
        let_go(r, false);
        upstream_ended(r, CURLE_OK, true);
        return;
    }
    u->unconfirmed = until_close && how == WIRE_CUT;
    fail(r, u->unconfirmed       ? CURLE_OK
            : how == WIRE_FAILED ? (h->deaf ? CURLE_SEND_ERROR : CURLE_RECV_ERROR)
            : u->began           ? CURLE_PARTIAL_FILE
                                 : CURLE_GOT_NOTHING);
}

/* Whether what comes next goes where it belongs without being looked at; and how much of it. */
static bool is_plain_body(const struct http1 *reader, size_t *most)
{
    if (reader->state == HTTP1_COUNTED && (int64_t)*most > reader->left)
        *most = (size_t)reader->left;
    return reader->state == HTTP1_COUNTED || reader->state == HTTP1_UNTIL_CLOSE;
}

static void receive(struct relay *r)
{
    struct upstream *u = &r->upstream;
    struct upstream_http1 *h = &u->http1;

    while (h->wire != NULL && h->wire->readable) {
        size_t room = buf_room(&r->down);
        size_t most = room < WIRE_SCRATCH_BYTES ? room : WIRE_SCRATCH_BYTES;
        bool in_place = is_plain_body(&h->reader, &most);
        char *to =
            in_place && most > 0 ? buf_reserve(&r->down, most) : r->worker->wires.scratch;

        u->paused_down = most == 0;
        if (most == 0)
            return;
        if (to == NULL) {
            fail(r, CURLE_OUT_OF_MEMORY);
            return;
        }
        ssize_t n = wire_read(h->wire, to, most);
        if (n == WIRE_AGAIN && h->deaf)
            n = WIRE_FAILED; /* what came before that has been read */
        if (n == WIRE_AGAIN)
            return;
        if (n <= 0) {
            on_end(r, n);
            return;
        }
        if (!u->began) /* the head's deadline */
            r->progress_ms = loop_now(&r->worker->loop);
        u->began = true;
        take(r, to, (size_t)n, in_place);
    }
}

/* --- its life ---------------------------------------------------------------------------- */

static void pump(struct relay *r)
{
    struct upstream_http1 *h = &r->upstream.http1;

    if (!h->begun && wire_has_spoken(h->wire)) {
        refuse(r, FAIL_UPSTREAM_PROTOCOL, "it came before anything was asked");
        return;
    }
    if (!h->begun) {
        h->begun = true;
        r->upstream.reused = h->wire->used;
        h->sent_before = wire_sent_bytes(h->wire);
        upstream_sending(r);
    } else {
        receive(r);
    }
    if (h->wire != NULL)
        send_more(r);
    receive(r);
}

static void on_ready(struct wire *w)
{
    pump(w->owner);
}

static void on_open(struct wire *w, CURLcode code)
{
    struct relay *r = w->owner;

    if (code == CURLE_OK)
        wire_wake(w);
    else
        fail(r, code);
}

const struct wires_user upstream_http1_user = { .on_open = on_open, .on_ready = on_ready };

enum failure_kind upstream_http1_start(struct relay *r)
{
    struct upstream_http1 *h = &r->upstream.http1;

    h->out.limit = OUT_BYTES_MAX;
    h->begun = h->deaf = h->chunks_ended = h->last = false;
    h->body_taken = 0;
    http1_init(&h->reader);
    clear_out(h);
    if (!write_head(r)) {
        clear_out(h);
        return FAIL_HEAD_TOO_LARGE;
    }
    h->wire = wire_take(&r->worker->wires, r->snapshot, r->upstream.fresh);
    if (h->wire == NULL) {
        clear_out(h);
        return FAIL_INTERNAL;
    }
    h->wire->owner = r;
    if (wire_is_open(h->wire))
        wire_wake(h->wire);
    return FAIL_NONE;
}

void upstream_http1_cancel(struct relay *r)
{
    if (r->upstream.http1.wire != NULL)
        let_go(r, false);
}

void upstream_http1_unpause(struct relay *r)
{
    struct upstream *u = &r->upstream;
    struct upstream_http1 *h = &u->http1;

    if (h->wire == NULL || !h->begun)
        return;
    bool up = u->paused_up && !r->swallow && (upstream_body_here(r) > 0 || r->up_done);
    bool down = u->paused_down && buf_unread(&r->down) <= RELAY_WINDOW_BYTES / 4;

    u->paused_up = u->paused_up && !up;
    u->paused_down = u->paused_down && !down;
    if (up || down)
        pump(r);
}

void upstream_http1_free(struct upstream *u)
{
    buf_wipe(&u->http1.out);
    http1_done(&u->http1.reader);
}

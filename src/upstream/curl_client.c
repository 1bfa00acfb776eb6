/* An exchange with the upstream that is libcurl's, since HTTP/2 may be spoken.
 *
 * libcurl sends a request again by itself when a reused connection dies before a byte of the
 * answer, a POST too. on_prereq runs before every sending and stops the second one, unless
 * the method is safe or it is certain that not a byte of the first has been written: so an
 * unsafe request reaches the upstream at most once. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "config/outbound.h"
#include "net/close_notify.h"
#include "proxy/relay.h"
#include "upstream/upstream_inside.h"

static_assert(offsetof(struct header_line, text) == offsetof(struct curl_slist, data) &&
                  offsetof(struct header_line, next) == offsetof(struct curl_slist, next) &&
                  sizeof(struct header_line) == sizeof(struct curl_slist),
              "header lines are handed to curl as they are");

/* Whether the answer has no measure of its own: over HTTP/1.1 it goes on until the connection
 * ends, over HTTP/2 until its stream does. */
static bool unmeasured(const struct relay *r)
{
    const struct response_check *g = &r->upstream.guard;

    return g->content_length < 0 && !g->chunked && !upstream_is_bodiless(r);
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
    struct relay *r = arg;
    struct upstream *u = &r->upstream;
    bool had_head = upstream_has_head(u);

    n *= size;
    if (!upstream_line(r, line, n))
        return 0;
    if (!had_head && upstream_has_head(u)) {
        if (unmeasured(r))
            u->curl.close_notify = close_notify_watch(u->curl.transfer.easy);
        u->curl.transfer.ask_socket = u->curl.close_notify != NULL && u->guard.http_major > 1;
    }
    return n;
}

static size_t on_write(char *bytes, size_t size, size_t n, void *arg)
{
    struct relay *r = arg;

    n *= size;
    r->progress_ms = loop_now(&r->ctx->loop);
    if (buf_room(&r->down) < n) {
        r->upstream.paused_down = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (buf_add(&r->down, bytes, n) != 0)
        return 0;
    r->upstream.body_bytes += (int64_t)n;
    relay_wake(r);
    return n;
}

/* How the head goes out, see curl_host_late_chunks_framed: libcurl tells a debugger only. */
static int on_debug(CURL *e, curl_infotype type, char *data, size_t n, void *arg)
{
    struct curl_client *u = &((struct relay *)arg)->upstream.curl;

    (void)e;
    if (type != CURLINFO_HEADER_OUT)
        return 0;
    if (u->head_pieces++ == 0) {
        u->head_h2 = memmem(data, n, " HTTP/2\r\n", 9) != NULL;
        u->head_whole = u->head_h2 || (n >= 4 && memcmp(data + n - 4, "\r\n\r\n", 4) == 0);
    } else if (!u->head_h2) {
        u->head_whole = false;
    }
    return 0;
}

/* Room for a chunk's size in hexadecimal and both its line ends. */
#define CHUNK_FRAME (16 + 2 + 2)

static size_t frame_chunk(char *out, const char *bytes, size_t n)
{
    int head = snprintf(out, CHUNK_FRAME, "%zx\r\n", n);

    memcpy(out + head, bytes, n);
    memcpy(out + head + n, "\r\n", 2);
    return (size_t)head + n + 2;
}

static size_t end_chunks(struct curl_client *u, char *out)
{
    if (u->chunks_ended)
        return 0;
    u->chunks_ended = true;
    memcpy(out, "0\r\n\r\n", 5);
    return 5;
}

static size_t on_read(char *out, size_t size, size_t n, void *arg)
{
    struct relay *r = arg;
    struct curl_client *u = &r->upstream.curl;
    size_t here = upstream_body_here(r);
    bool framed = u->tells && !u->head_whole; /* by us */

    n *= size;
    /* The answer is here and the rest of the body is thrown away: never end it as if it were
     * whole. */
    if (r->discard)
        return CURL_READFUNC_ABORT;
    if (here == 0) {
        if (r->up_done)
            return framed ? end_chunks(u, out) : 0;
        r->upstream.paused_up = true;
        return CURL_READFUNC_PAUSE;
    }
    if (framed && n <= CHUNK_FRAME)
        return CURL_READFUNC_ABORT;
    n = framed ? n - CHUNK_FRAME : n;
    n = here < n ? here : n;
    size_t given = n;
    if (framed)
        given = frame_chunk(out, upstream_body_front(r), n);
    else
        memcpy(out, upstream_body_front(r), n);
    upstream_body_gone(r, n);
    return given;
}

/* Only asked for before a resend, which on_prereq then judges. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
    struct relay *r = arg;

    if (origin != SEEK_SET || offset != 0 || !r->up_kept)
        return CURL_SEEKFUNC_FAIL;
    r->up_sent = 0;
    return CURL_SEEKFUNC_OK;
}

/* Whether the last sending of this transfer failed with its first write. libcurl counts in
 * REQUEST_SIZE what that one takes, but before 8.9 not what the later ones do when it had to
 * wait; then, though, it went on to PERFORMING, which is what PRETRANSFER_TIME tells. */
static bool wrote_nothing(CURL *easy)
{
    long counted = 0;
    curl_off_t performing_us = 0;

    (void)curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &counted);
    (void)curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &performing_us);
    return counted == 0 && performing_us == 0;
}

static bool is_reused(CURL *easy)
{
    long connections = 0;

    (void)curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connections);
    return connections == 0;
}

static int on_prereq(void *arg, char *ip, char *local_ip, int port, int local_port)
{
    struct relay *r = arg;
    struct upstream *u = &r->upstream;

    (void)ip;
    (void)local_ip;
    (void)port;
    (void)local_port;
    if (u->sendings > 0 &&
        (u->sendings > 1 || (!r->safe && !wrote_nothing(u->curl.transfer.easy)))) {
        u->resend_refused = true;
        return CURL_PREREQFUNC_ABORT;
    }
    curl_host_read_ahead(&r->ctx->multi, &u->curl.transfer);
    u->curl.head_pieces = 0;
    u->curl.head_h2 = u->curl.head_whole = u->curl.chunks_ended = false;
    u->reused = is_reused(u->curl.transfer.easy);
    upstream_sending(r);
    return CURL_PREREQFUNC_OK;
}

/* libcurl before 8.1 takes an HTTP/2 stream that was reset for one that ended, when its
 * connection ends in the same moment. An answer with nothing behind its head is then not
 * believed; one that was reset inside its body cannot be told from one that is whole. */
static bool maybe_reset(const struct relay *r)
{
    const struct upstream *u = &r->upstream;

    return LIBCURL_VERSION_NUM < 0x080100 && u->guard.http_major > 1 && u->body_bytes == 0 &&
           close_notify_over(u->curl.close_notify, u->curl.transfer.socket);
}

/* All of the answer that its framing promises; until the close where it promises nothing. */
static bool body_whole(const struct relay *r, bool closed)
{
    const struct upstream *u = &r->upstream;
    const struct response_check *g = &u->guard;

    if (!upstream_has_head(u))
        return false;
    if (upstream_is_bodiless(r))
        return true;
    if (u->curl.close_notify != NULL && g->http_major == 1)
        return closed && close_notify_said(u->curl.close_notify);
    if (u->curl.close_notify != NULL && maybe_reset(r))
        return false;
    return g->content_length < 0 ? closed : g->content_length == u->body_bytes;
}

/* libcurl keeps a line until it is whole and calls one that is too long a want of memory. */
static bool endless_line(const struct upstream *u, CURLcode code)
{
    curl_off_t first_byte_us = 0;

#if LIBCURL_VERSION_NUM >= 0x080600
    if (code == CURLE_TOO_LARGE)
        return true;
#endif
    (void)curl_easy_getinfo(u->curl.transfer.easy, CURLINFO_STARTTRANSFER_TIME_T,
                            &first_byte_us);
    return code == CURLE_OUT_OF_MEMORY && !u->guard.complete && first_byte_us > 0;
}

static void on_done(struct curl_host_transfer *t, CURLcode code)
{
    struct upstream *u = CONTAINER_OF(t, struct upstream, curl.transfer);
    struct relay *r = CONTAINER_OF(u, struct relay, upstream);
    /* An answer that is all there stands, even when the connection is lost after it: an
     * upstream that answers early may well close before it has read the whole request. */
    bool whole = (code == CURLE_OK || upstream_lost(code)) && body_whole(r, code == CURLE_OK);

    u->wrote = !wrote_nothing(t->easy);
    u->reused = is_reused(t->easy);
    u->unconfirmed = code == CURLE_OK && u->curl.close_notify != NULL;
    if (u->guard.kind == FAIL_NONE && endless_line(u, code)) {
        u->guard.kind = FAIL_UPSTREAM_HEAD_SIZE;
        u->guard.why = "its head has a line without end";
    }
    upstream_ended(r, code, whole);
}

static void drop_handle(struct curl_client *u)
{
    curl_easy_cleanup(u->transfer.easy);
    u->transfer.easy = NULL;
    u->used = false;
    u->shape = (struct upstream_shape){ .method = "" };
}

/* The base URL, taken apart once; a text would be parsed and written anew for each request. */
static bool take_url(struct relay *r)
{
    struct curl_client *u = &r->upstream.curl;

    u->url = curl_url();
    if (u->url == NULL || curl_url_set(u->url, CURLUPART_URL, r->config->upstream.base_url,
                                       CURLU_PATH_AS_IS) != CURLUE_OK) {
        curl_url_cleanup(u->url);
        u->url = NULL;
        return false;
    }
    u->setup_for = config_ref(r->config);
    return true;
}

/* A handle for the settings at hand, and what stays the same from request to request. False:
 * there is no memory for it. */
static bool setup(struct relay *r)
{
    struct curl_client *u = &r->upstream.curl;
    const struct config *c = r->config;
    struct curl_host_settings settings = config_outbound(c, LEG_UPSTREAM);
    bool same = u->setup_for == r->config;

    settings.lasting = true; /* by its reference to the settings */
    if (same && u->transfer.easy != NULL && (!u->used || curl_host_handles_last()))
        return true;
    if (same) {
        drop_handle(u);
    } else {
        curl_client_free(&r->upstream);
        if (!take_url(r))
            return false;
    }
    u->transfer.easy = curl_easy_init();
    if (u->transfer.easy == NULL ||
        curl_host_setup(&r->ctx->multi, u->transfer.easy, &settings) != 0) {
        drop_handle(u);
        return false;
    }
    CURL *e = u->transfer.easy;

    (void)curl_easy_setopt(e, CURLOPT_CURLU, u->url);
    (void)curl_easy_setopt(e, CURLOPT_ERRORBUFFER, r->upstream.error_text);
    (void)curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(e, CURLOPT_HEADERDATA, r);
    (void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_write);
    (void)curl_easy_setopt(e, CURLOPT_WRITEDATA, r);
    (void)curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read);
    (void)curl_easy_setopt(e, CURLOPT_READDATA, r);
    (void)curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_seek);
    (void)curl_easy_setopt(e, CURLOPT_SEEKDATA, r);
    (void)curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_prereq);
    (void)curl_easy_setopt(e, CURLOPT_PREREQDATA, r);
    (void)curl_easy_setopt(e, CURLOPT_DEBUGFUNCTION, on_debug);
    (void)curl_easy_setopt(e, CURLOPT_DEBUGDATA, r);
    u->transfer.on_done = on_done;
    return true;
}

/* "/v0" and "/chains" into one target. */
static char *whole_target(struct relay *r)
{
    size_t prefix = strlen(r->route.prefix), path = strlen(r->route.path);
    char *target = arena_alloc(&r->arena, prefix + path + 1);

    if (target == NULL)
        return NULL;
    memcpy(target, r->route.prefix, prefix);
    memcpy(target + prefix, r->route.path, path + 1);
    return target;
}

/* Of a body, given to curl at a time. */
#define SMALL_PIECE 16384L
#define LARGE_PIECE 65536L

/* Of what changes from request to request, most stays as the last one on this handle had it. */
static void set_shape(struct relay *r)
{
    struct curl_client *u = &r->upstream.curl;
    struct upstream_shape *is = &u->shape;
    CURL *e = u->transfer.easy;
    bool has_body = r->body_bytes != 0;
    bool large = r->body_bytes < 0 || r->body_bytes > SMALL_PIECE;

    /* Only between two pieces of a body does curl look for an answer, and one that comes
     * together with the connection's end has to be seen before a piece cannot be sent: few and
     * large ones leave the least room for that, and take fewer calls. For a body that is one
     * piece the least will do. Each setting makes curl take a new buffer. */
    if (is->large != large)
        (void)curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, large ? LARGE_PIECE : SMALL_PIECE);
    is->large = large;
    if (strcmp(is->method, r->method) != 0 || is->has_body != has_body) {
        (void)curl_easy_setopt(e, CURLOPT_NOBODY, r->is_head ? 1L : 0L);
        (void)curl_easy_setopt(e, CURLOPT_UPLOAD, has_body ? 1L : 0L);
        if (!has_body && !r->is_head)
            (void)curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
        (void)curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, r->is_head ? NULL : r->method);
        is->has_body = has_body;
        (void)snprintf(is->method, sizeof is->method, "%s", r->method);
    }
    if (has_body)
        (void)curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->body_bytes);
    u->tells = r->body_bytes < 0 && !curl_host_late_chunks_framed();
    if (is->tells != u->tells)
        (void)curl_easy_setopt(e, CURLOPT_VERBOSE, u->tells ? 1L : 0L);
    is->tells = u->tells;
    if (is->fresh != r->upstream.fresh)
        (void)curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, r->upstream.fresh ? 1L : 0L);
    is->fresh = r->upstream.fresh;
}

enum failure_kind curl_client_start(struct relay *r)
{
    struct curl_client *u = &r->upstream.curl;
    const struct header_forward head = upstream_head(r);

    close_notify_free(u->close_notify);
    u->close_notify = NULL;
    u->transfer.ask_socket = false;
    if (!setup(r))
        return FAIL_INTERNAL;
    CURL *e = u->transfer.easy;
    char *target = whole_target(r);
    struct header_line *lines = header_forward(&r->arena, &head);

    if (target == NULL || lines == NULL)
        return FAIL_HEAD_TOO_LARGE;
    (void)curl_easy_setopt(e, CURLOPT_HTTPHEADER, (struct curl_slist *)(void *)lines);
    (void)curl_easy_setopt(e, CURLOPT_REQUEST_TARGET, target);
    set_shape(r);
    u->used = true;
    return curl_host_add(&r->ctx->multi, &u->transfer) == 0 ? FAIL_NONE : FAIL_INTERNAL;
}

void curl_client_cancel(struct relay *r)
{
    struct curl_client *u = &r->upstream.curl;

    close_notify_free(u->close_notify);
    u->close_notify = NULL;
    curl_host_remove(&r->ctx->multi, &u->transfer);
}

void curl_client_unpause(struct relay *r)
{
    struct upstream *u = &r->upstream;
    /* After an early answer curl stops sending by itself from 300 on, but not while it is
     * paused; otherwise it is made to give up once the answer is whole. */
    bool give_up = r->discard && (u->guard.status >= 300 || body_whole(r, false));
    bool more = !r->discard && (r->up_done || upstream_body_here(r) > 0);
    bool up = u->paused_up && (give_up || more);
    bool down = u->paused_down && buf_unread(&r->down) <= RELAY_WINDOW_BYTES / 4;

    if (!u->curl.transfer.running || (!up && !down))
        return;
    u->paused_up = u->paused_up && !up;
    u->paused_down = u->paused_down && !down;
    (void)curl_easy_pause(u->curl.transfer.easy, (u->paused_up ? CURLPAUSE_SEND : 0) |
                                                     (u->paused_down ? CURLPAUSE_RECV : 0));
}

void curl_client_free(struct upstream *u)
{
    struct curl_client *c = &u->curl;

    drop_handle(c);
    if (c->setup_for == NULL)
        return;
    curl_url_cleanup(c->url);
    config_unref(c->setup_for);
    c->url = NULL;
    c->setup_for = NULL;
}

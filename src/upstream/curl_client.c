/* An exchange with the upstream that is libcurl's, since HTTP/2 may be spoken.
 *
 * libcurl sends a request again by itself when a reused connection dies before a byte of the
 * answer, a POST too. on_prereq runs before every sending and stops the second one, unless
 * the method is safe or it is certain that not a byte of the first has been written: so an
 * unsafe request reaches the upstream at most once. */
#include "upstream/curl_client.h"

#include <stdio.h>
#include <string.h>

#include "config/outbound.h"
#include "http/request_check.h"
#include "net/close_notify.h"
#include "net/curl_host.h"

/* How libcurl's handle is set for the request it had last. */
struct curl_client_shape {
    char method[REQUEST_METHOD_MAX + 1]; /* empty: none yet */
    bool has_body, large, fresh, tells;
};

/* What is kept from one request to the next (exchange.h2), and how the present one goes. */
struct curl_client {
    struct exchange *exchange;
    struct curl_host_transfer transfer;
    CURLU *url;
    struct curl_client_shape shape;
    struct config *setup_for; /* the settings the handle was made with */
    bool used;                /* it has had a transfer, see curl_host_handles_last */
    /* How the head of a body of unknown length went out, see curl_host_late_chunks_framed. */
    bool tells, head_whole, head_h2, chunks_ended;
    unsigned head_pieces;
    struct close_notify
        *close_notify; /* of an answer that ends with its TLS connection; else NULL */
};

static_assert(offsetof(struct header_line, text) == offsetof(struct curl_slist, data) &&
                  offsetof(struct header_line, next) == offsetof(struct curl_slist, next) &&
                  sizeof(struct header_line) == sizeof(struct curl_slist),
              "header lines are handed to curl as they are");

/* Whether the answer has no measure of its own: over HTTP/1.1 it goes on until the connection
 * ends, over HTTP/2 until its stream does. */
static bool unmeasured(const struct exchange *x)
{
    return x->head.content_length < 0 && !x->head.chunked && !exchange_is_bodiless(x);
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
    struct exchange *x = arg;
    struct curl_client *c = x->h2;
    bool had_head = exchange_has_head(x);

    n *= size;
    if (!exchange_line(x, line, n))
        return 0;
    if (!had_head && exchange_has_head(x)) {
        if (x->head.status >= 300) /* curl stops sending by itself */
            x->rest_unwanted = true;
        if (unmeasured(x))
            c->close_notify = close_notify_watch(c->transfer.easy);
        c->transfer.ask_socket = c->close_notify != NULL && x->head.http_major > 1;
    }
    return n;
}

static size_t on_write(char *bytes, size_t size, size_t n, void *arg)
{
    struct exchange *x = arg;

    n *= size;
    exchange_moved(x);
    if (buf_room(x->with.answer_body) < n) {
        x->wants_room = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (buf_add(x->with.answer_body, bytes, n) != 0)
        return 0;
    x->body_bytes += (int64_t)n;
    x->with.user->on_progress(x);
    return n;
}

/* How the head goes out, see curl_host_late_chunks_framed: libcurl tells a debugger only. */
static int on_debug(CURL *e, curl_infotype type, char *data, size_t n, void *arg)
{
    struct curl_client *c = ((struct exchange *)arg)->h2;

    (void)e;
    if (type != CURLINFO_HEADER_OUT)
        return 0;
    if (c->head_pieces++ == 0) {
        c->head_h2 = memmem(data, n, " HTTP/2\r\n", 9) != NULL;
        c->head_whole = c->head_h2 || (n >= 4 && memcmp(data + n - 4, "\r\n\r\n", 4) == 0);
    } else if (!c->head_h2) {
        c->head_whole = false;
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

static size_t end_chunks(struct curl_client *c, char *out)
{
    if (c->chunks_ended)
        return 0;
    c->chunks_ended = true;
    memcpy(out, "0\r\n\r\n", 5);
    return 5;
}

static size_t on_read(char *out, size_t size, size_t n, void *arg)
{
    struct exchange *x = arg;
    struct curl_client *c = x->h2;
    size_t here = exchange_body_here(x);
    bool framed = c->tells && !c->head_whole; /* by us */

    n *= size;
    /* The answer is here and the rest of the body is thrown away: never end it as if it were
     * whole. */
    if (x->with.body->discard)
        return CURL_READFUNC_ABORT;
    if (here == 0) {
        if (x->with.body->ended)
            return framed ? end_chunks(c, out) : 0;
        x->wants_body = true;
        return CURL_READFUNC_PAUSE;
    }
    if (framed && n <= CHUNK_FRAME)
        return CURL_READFUNC_ABORT;
    n = framed ? n - CHUNK_FRAME : n;
    n = here < n ? here : n;
    size_t given = n;
    if (framed)
        given = frame_chunk(out, exchange_body_front(x), n);
    else
        memcpy(out, exchange_body_front(x), n);
    exchange_body_sent(x, n);
    return given;
}

/* Only asked for before a resend, which on_prereq then judges. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
    struct exchange *x = arg;

    if (origin != SEEK_SET || offset != 0 || !x->with.body->kept)
        return CURL_SEEKFUNC_FAIL;
    x->with.body->sent = 0;
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
    struct exchange *x = arg;
    struct curl_client *c = x->h2;
    struct upstream_attempt *a = &x->attempt;

    (void)ip;
    (void)local_ip;
    (void)port;
    (void)local_port;
    if (a->sendings > 0 &&
        (a->sendings > 1 || (!x->request.safe && !wrote_nothing(c->transfer.easy)))) {
        a->resend_refused = true;
        return CURL_PREREQFUNC_ABORT;
    }
    curl_host_read_ahead(x->with.host->curl, &c->transfer);
    c->head_pieces = 0;
    c->head_h2 = c->head_whole = c->chunks_ended = false;
    a->reused = is_reused(c->transfer.easy);
    exchange_sending(x);
    return CURL_PREREQFUNC_OK;
}

/* libcurl before 8.1 takes an HTTP/2 stream that was reset for one that ended, when its
 * connection ends in the same moment. An answer with nothing behind its head is then not
 * believed; one that was reset inside its body cannot be told from one that is whole. */
static bool maybe_reset(const struct exchange *x)
{
    const struct curl_client *c = x->h2;

    return LIBCURL_VERSION_NUM < 0x080100 && x->head.http_major > 1 && x->body_bytes == 0 &&
           close_notify_over(c->close_notify, c->transfer.socket);
}

/* All of the answer that its framing promises; until the close where it promises nothing. */
static bool body_whole(const struct exchange *x, bool closed)
{
    const struct curl_client *c = x->h2;
    const struct response_check *g = &x->head;

    if (!exchange_has_head(x))
        return false;
    if (exchange_is_bodiless(x))
        return true;
    if (c->close_notify != NULL && g->http_major == 1)
        return closed && close_notify_said(c->close_notify);
    if (c->close_notify != NULL && maybe_reset(x))
        return false;
    return g->content_length < 0 ? closed : g->content_length == x->body_bytes;
}

/* libcurl keeps a line until it is whole and calls one that is too long a want of memory. */
static bool endless_line(const struct exchange *x, CURLcode code)
{
    const struct curl_client *c = x->h2;
    curl_off_t first_byte_us = 0;

#if LIBCURL_VERSION_NUM >= 0x080600
    if (code == CURLE_TOO_LARGE)
        return true;
#endif
    (void)curl_easy_getinfo(c->transfer.easy, CURLINFO_STARTTRANSFER_TIME_T, &first_byte_us);
    return code == CURLE_OUT_OF_MEMORY && !x->head.complete && first_byte_us > 0;
}

static void on_done(struct curl_host_transfer *t, CURLcode code)
{
    struct curl_client *c = CONTAINER_OF(t, struct curl_client, transfer);
    struct exchange *x = c->exchange;
    /* An answer that is all there stands, even when the connection is lost after it: an
     * upstream that answers early may well close before it has read the whole request. */
    bool whole =
        (code == CURLE_OK || upstream_error_lost(code)) && body_whole(x, code == CURLE_OK);

    x->wants_body = x->wants_room = false;
    x->attempt.wrote = !wrote_nothing(t->easy);
    x->attempt.reused = is_reused(t->easy);
    x->attempt.unconfirmed = code == CURLE_OK && c->close_notify != NULL;
    if (x->head.kind == FAIL_NONE && endless_line(x, code)) {
        x->head.kind = FAIL_UPSTREAM_HEAD_SIZE;
        x->head.why = "its head has a line without end";
    }
    exchange_ended(x, code, whole);
}

static void drop_handle(struct curl_client *c)
{
    curl_easy_cleanup(c->transfer.easy);
    c->transfer.easy = NULL;
    c->used = false;
    c->shape = (struct curl_client_shape){ .method = "" };
}

/* The handle, and all that was made with the settings it was made with. */
static void forget_settings(struct curl_client *c)
{
    drop_handle(c);
    curl_url_cleanup(c->url);
    config_unref(c->setup_for);
    c->url = NULL;
    c->setup_for = NULL;
}

/* The base URL, taken apart once; a text would be parsed and written anew for each request. */
static bool take_url(struct exchange *x)
{
    struct curl_client *c = x->h2;

    c->url = curl_url();
    if (c->url == NULL ||
        curl_url_set(c->url, CURLUPART_URL, x->request.config->upstream.base_url,
                     CURLU_PATH_AS_IS) != CURLUE_OK) {
        curl_url_cleanup(c->url);
        c->url = NULL;
        return false;
    }
    (void)config_ref(x->request.config);
    c->setup_for = x->request.config;
    return true;
}

/* A handle for the settings at hand, and what stays the same from request to request. False:
 * there is no memory for it. */
static bool setup(struct exchange *x)
{
    struct curl_client *c = x->h2;
    bool same = c->setup_for == x->request.config;

    if (same && c->transfer.easy != NULL && (!c->used || curl_host_handles_last()))
        return true;
    if (same) {
        drop_handle(c);
    } else {
        forget_settings(c);
        if (!take_url(x))
            return false;
    }
    struct curl_host_settings settings = config_outbound(x->request.config, LEG_UPSTREAM);

    settings.lasting = true; /* by the handle's reference to the settings */
    c->transfer.easy = curl_easy_init();
    if (c->transfer.easy == NULL ||
        curl_host_setup(x->with.host->curl, c->transfer.easy, &settings) != 0) {
        drop_handle(c);
        return false;
    }
    CURL *e = c->transfer.easy;

    (void)curl_easy_setopt(e, CURLOPT_CURLU, c->url);
    (void)curl_easy_setopt(e, CURLOPT_ERRORBUFFER, x->attempt.error_text);
    (void)curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(e, CURLOPT_HEADERDATA, x);
    (void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_write);
    (void)curl_easy_setopt(e, CURLOPT_WRITEDATA, x);
    (void)curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read);
    (void)curl_easy_setopt(e, CURLOPT_READDATA, x);
    (void)curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_seek);
    (void)curl_easy_setopt(e, CURLOPT_SEEKDATA, x);
    (void)curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_prereq);
    (void)curl_easy_setopt(e, CURLOPT_PREREQDATA, x);
    (void)curl_easy_setopt(e, CURLOPT_DEBUGFUNCTION, on_debug);
    (void)curl_easy_setopt(e, CURLOPT_DEBUGDATA, x);
    c->transfer.on_done = on_done;
    return true;
}

/* "/v0" and "/chains" into one target. */
static char *whole_target(struct exchange *x)
{
    size_t prefix = strlen(x->request.prefix), path = strlen(x->request.path);
    char *target = arena_alloc(x->with.arena, prefix + path + 1);

    if (target == NULL)
        return NULL;
    memcpy(target, x->request.prefix, prefix);
    memcpy(target + prefix, x->request.path, path + 1);
    return target;
}

/* Of a body, given to curl at a time. */
#define SMALL_PIECE 16384L
#define LARGE_PIECE 65536L

/* Of what changes from request to request, most stays as the last one on this handle had it. */
static void set_shape(struct exchange *x)
{
    struct curl_client *c = x->h2;
    struct curl_client_shape *is = &c->shape;
    CURL *e = c->transfer.easy;
    bool has_body = x->request.head.body_bytes != 0;
    bool large = x->request.head.body_bytes < 0 || x->request.head.body_bytes > SMALL_PIECE;

    /* Only between two pieces of a body does curl look for an answer, and one that comes
     * together with the connection's end has to be seen before a piece cannot be sent: few and
     * large ones leave the least room for that, and take fewer calls. For a body that is one
     * piece the least will do. Each setting makes curl take a new buffer. */
    if (is->large != large)
        (void)curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, large ? LARGE_PIECE : SMALL_PIECE);
    is->large = large;
    if (strcmp(is->method, x->request.method) != 0 || is->has_body != has_body) {
        (void)curl_easy_setopt(e, CURLOPT_NOBODY, x->request.is_head ? 1L : 0L);
        (void)curl_easy_setopt(e, CURLOPT_UPLOAD, has_body ? 1L : 0L);
        if (!has_body && !x->request.is_head)
            (void)curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
        (void)curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST,
                               x->request.is_head ? NULL : x->request.method);
        is->has_body = has_body;
        (void)snprintf(is->method, sizeof is->method, "%s", x->request.method);
    }
    if (has_body)
        (void)curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE,
                               (curl_off_t)x->request.head.body_bytes);
    c->tells = x->request.head.body_bytes < 0 && !curl_host_late_chunks_framed();
    if (is->tells != c->tells)
        (void)curl_easy_setopt(e, CURLOPT_VERBOSE, c->tells ? 1L : 0L);
    is->tells = c->tells;
    if (is->fresh != x->fresh)
        (void)curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, x->fresh ? 1L : 0L);
    is->fresh = x->fresh;
}

static enum failure_kind start(struct exchange *x)
{
    struct curl_client *c = x->h2;

    close_notify_free(c->close_notify);
    c->close_notify = NULL;
    c->transfer.ask_socket = false;
    if (!setup(x))
        return FAIL_INTERNAL;
    CURL *e = c->transfer.easy;
    char *target = whole_target(x);
    struct header_line *lines = header_forward(x->with.arena, &x->request.head);

    if (target == NULL || lines == NULL)
        return FAIL_HEAD_TOO_LARGE;
    (void)curl_easy_setopt(e, CURLOPT_HTTPHEADER, (struct curl_slist *)(void *)lines);
    (void)curl_easy_setopt(e, CURLOPT_REQUEST_TARGET, target);
    set_shape(x);
    c->used = true;
    return curl_host_add(x->with.host->curl, &c->transfer) == 0 ? FAIL_NONE : FAIL_INTERNAL;
}

static void cancel(struct exchange *x)
{
    struct curl_client *c = x->h2;

    if (c == NULL)
        return;
    close_notify_free(c->close_notify);
    c->close_notify = NULL;
    x->wants_body = x->wants_room = false;
    curl_host_remove(x->with.host->curl, &c->transfer);
}

static void unpause(struct exchange *x)
{
    struct curl_client *c = x->h2;

    if (c->transfer.running)
        (void)curl_easy_pause(c->transfer.easy, (x->wants_body ? CURLPAUSE_SEND : 0) |
                                                    (x->wants_room ? CURLPAUSE_RECV : 0));
}

static void more_body(struct exchange *x)
{
    /* After an early answer curl stops sending by itself from 300 on, but not while it is
     * paused; else it is made to give up once the answer is whole. */
    if (x->with.body->discard && x->head.status < 300 && !body_whole(x, false))
        return;
    x->wants_body = false;
    unpause(x);
}

static void more_room(struct exchange *x)
{
    x->wants_room = false;
    unpause(x);
}

static void *keep_new(struct exchange *x)
{
    struct curl_client *c = base_alloc(sizeof *c);

    c->exchange = x;
    return c;
}

static void keep_free(void *kept)
{
    struct curl_client *c = kept;

    forget_settings(c);
    free(c);
}

const struct exchange_client curl_client = {
    .start = start,
    .cancel = cancel,
    .more_body = more_body,
    .more_room = more_room,
    .keep_new = keep_new,
    .keep_free = keep_free,
};

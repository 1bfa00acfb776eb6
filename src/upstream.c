/* The upstream's side of a relay, by libcurl.
 *
 * libcurl sends a request again by itself when a reused connection dies before a byte of the
 * answer, a POST too. on_prereq runs before every sending and stops the second one, unless
 * the method is safe or it is certain that not a byte of the first has been written: so an
 * unsafe request reaches the upstream at most once. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "clock.h"
#include "farewell.h"
#include "log.h"
#include "relay.h"
#include "upstream_inside.h"
#include "worker.h"

static_assert(offsetof(struct header_line, text) == offsetof(struct curl_slist, data) &&
                  offsetof(struct header_line, next) == offsetof(struct curl_slist, next) &&
                  sizeof(struct header_line) == sizeof(struct curl_slist),
              "header lines are handed to curl as they are");

/* Whether the answer has no measure of its own: over HTTP/1.1 it goes on until the connection
 * ends, over HTTP/2 until its stream does. */
static bool unmeasured(const struct relay *r)
{
    const struct guard_answer *g = &r->upstream.guard;

    return g->content_length < 0 && !g->chunked && !r->is_head && g->status != 204 &&
           g->status != 304;
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
    struct relay *r = arg;
    struct upstream *u = &r->upstream;
    bool was_complete = u->guard.complete;

    n *= size;
    /* From the first line on, the whole head has one deadline, however it drips. */
    if (u->guard.bytes == 0)
        r->progress_ms = loop_now(&r->worker->loop);
    if (!guard_answer_line(&u->guard, line, n))
        return 0;
    if (u->guard.http_major == 2 &&
        r->snapshot->config->upstream.http_version == HTTP_VERSION_1_1) {
        u->guard.kind = FAIL_UPSTREAM_PROTOCOL;
        u->guard.why = "it says HTTP/2 on an HTTP/1.1 connection";
        return 0;
    }
    if (was_complete && u->guard.complete)
        return n; /* a trailer: dropped */
    if (n >= 5 && strncasecmp(line, "HTTP/", 5) == 0) {
        u->count = 0;
        return n;
    }
    if (u->guard.complete) {
        if (u->guard.status >= 200) {
            if (unmeasured(r))
                u->farewell = farewell_watch(u->transfer.easy);
            u->transfer.ask_socket = u->farewell != NULL && u->guard.http_major > 1;
            r->progress_ms = loop_now(&r->worker->loop);
            relay_on_answer(r);
        }
        return n;
    }
    if (u->count == u->cap) {
        size_t cap = u->cap == 0 ? 32 : u->cap * 2;
        struct header_field *grown = arena_alloc(&r->arena, cap * sizeof *grown);

        if (grown == NULL)
            return 0;
        if (u->count > 0)
            memcpy(grown, u->fields, u->count * sizeof *grown);
        u->fields = grown;
        u->cap = cap;
    }
    char *copy = arena_copy(&r->arena, line, n);
    if (copy == NULL)
        return 0;
    struct header_field f = guard_split(copy, n);

    /* The colon and what is behind the value make room for the ends. */
    copy[f.name_len] = '\0';
    copy[(size_t)(f.value - copy) + f.value_len] = '\0';
    u->fields[u->count++] = f;
    return n;
}

static size_t on_write(char *bytes, size_t size, size_t n, void *arg)
{
    struct relay *r = arg;

    n *= size;
    r->progress_ms = loop_now(&r->worker->loop);
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

/* How the head goes out, see multi_late_chunks_framed: libcurl tells a debugger only. */
static int on_debug(CURL *e, curl_infotype type, char *data, size_t n, void *arg)
{
    struct upstream *u = &((struct relay *)arg)->upstream;

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

static size_t end_chunks(struct upstream *u, char *out)
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
    size_t here = r->up.len - r->up.start - r->up_sent;
    bool framed = r->upstream.tells && !r->upstream.head_whole; /* by us */

    n *= size;
    /* The answer is here and the rest of the body is thrown away: never end it as if it were
     * whole. */
    if (r->swallow)
        return CURL_READFUNC_ABORT;
    if (here == 0) {
        if (r->up_done)
            return framed ? end_chunks(&r->upstream, out) : 0;
        r->upstream.paused_up = true;
        return CURL_READFUNC_PAUSE;
    }
    if (framed && n <= CHUNK_FRAME)
        return CURL_READFUNC_ABORT;
    n = framed ? n - CHUNK_FRAME : n;
    n = here < n ? here : n;
    size_t given = n;
    if (framed)
        given = frame_chunk(out, r->up.data + r->up.start + r->up_sent, n);
    else
        memcpy(out, r->up.data + r->up.start + r->up_sent, n);
    if (r->up_kept)
        r->up_sent += n;
    else
        buf_consume(&r->up, n);
    r->progress_ms = loop_now(&r->worker->loop);
    if (!r->up_done)
        relay_wake(r);
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

static int on_prereq(void *arg, char *ip, char *local_ip, int port, int local_port)
{
    struct relay *r = arg;
    struct upstream *u = &r->upstream;
    long connections = 0;

    (void)ip;
    (void)local_ip;
    (void)port;
    (void)local_port;
    (void)curl_easy_getinfo(u->transfer.easy, CURLINFO_NUM_CONNECTS, &connections);
    if (u->prereqs > 0 && (u->prereqs > 1 || (!r->safe && !upstream_wrote_nothing(u)))) {
        u->resend_refused = true;
        return CURL_PREREQFUNC_ABORT;
    }
    multi_read_ahead(&r->worker->multi, &u->transfer);
    u->head_pieces = 0;
    u->head_h2 = u->head_whole = u->chunks_ended = false;
    u->prereqs++;
    r->sends++;
    r->progress_ms = loop_now(&r->worker->loop);
    metrics_add(&r->worker->metrics, M_upstream_requests, 1);
    if (connections == 0)
        metrics_add(&r->worker->metrics, M_upstream_connections_reused, 1);
    return CURL_PREREQFUNC_OK;
}

/* libcurl before 8.1 takes an HTTP/2 stream that was reset for one that ended, when its
 * connection ends in the same moment. An answer with nothing behind its head is then not
 * believed; one that was reset inside its body cannot be told from one that is whole. */
static bool maybe_reset(const struct relay *r)
{
    const struct upstream *u = &r->upstream;

    return LIBCURL_VERSION_NUM < 0x080100 && u->guard.http_major > 1 && u->body_bytes == 0 &&
           farewell_over(u->farewell, u->transfer.socket);
}

/* All of the answer that its framing promises; until the close where it promises nothing. */
static bool body_whole(const struct relay *r, bool closed)
{
    const struct guard_answer *g = &r->upstream.guard;

    if (!g->complete || g->status < 200)
        return false;
    if (r->is_head || g->status == 204 || g->status == 304)
        return true;
    if (r->upstream.farewell != NULL && g->http_major == 1)
        return closed && farewell_said(r->upstream.farewell);
    if (r->upstream.farewell != NULL && maybe_reset(r))
        return false;
    return g->content_length < 0 ? closed : g->content_length == r->upstream.body_bytes;
}

static void on_done(struct multi_transfer *t, CURLcode code)
{
    struct upstream *u = CONTAINER_OF(t, struct upstream, transfer);
    struct relay *r = CONTAINER_OF(u, struct relay, upstream);

    metrics_set(&r->worker->metrics, M_upstream_connections_opened, r->worker->multi.opened);
    metrics_set(&r->worker->metrics, M_upstream_connections_closed, r->worker->multi.closed);
    /* An answer that is all there stands, even when the connection is lost after it: an
     * upstream that answers early may well close before it has read the whole request. */
    if (u->guard.kind == FAIL_NONE && (code == CURLE_OK || upstream_lost(code)) &&
        body_whole(r, code == CURLE_OK)) {
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

static void drop_handle(struct upstream *u)
{
    curl_easy_cleanup(u->transfer.easy);
    u->transfer.easy = NULL;
    u->used = false;
    u->shape = (struct upstream_shape){ .method = "" };
}

/* The base URL, taken apart once; a text would be parsed and written anew for each request. */
static bool take_url(struct relay *r)
{
    struct upstream *u = &r->upstream;

    u->url = curl_url();
    if (u->url == NULL ||
        curl_url_set(u->url, CURLUPART_URL, r->snapshot->config->upstream.base_url,
                     CURLU_PATH_AS_IS) != CURLUE_OK) {
        curl_url_cleanup(u->url);
        u->url = NULL;
        return false;
    }
    r->snapshot->refs++;
    u->setup_for = r->snapshot;
    return true;
}

/* A handle for the settings at hand, and what stays the same from request to request. False:
 * there is no memory for it. */
static bool setup(struct relay *r)
{
    struct upstream *u = &r->upstream;
    const struct config *c = r->snapshot->config;
    const struct multi_settings settings = {
        .config = c,
        .ca = &c->upstream.ca,
        .lasting = true, /* by its reference to the snapshot */
        .proxy = c->upstream.proxy,
        .http_version = c->upstream.http_version,
    };
    bool same = u->setup_for == r->snapshot;

    if (same && u->transfer.easy != NULL && (!u->used || multi_handles_last()))
        return true;
    if (same) {
        drop_handle(u);
    } else {
        upstream_free(u);
        if (!take_url(r))
            return false;
    }
    u->transfer.easy = curl_easy_init();
    if (u->transfer.easy == NULL ||
        multi_setup(&r->worker->multi, u->transfer.easy, &settings) != 0) {
        drop_handle(u);
        return false;
    }
    CURL *e = u->transfer.easy;

    (void)curl_easy_setopt(e, CURLOPT_CURLU, u->url);
    (void)curl_easy_setopt(e, CURLOPT_ERRORBUFFER, u->words);
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
    struct upstream *u = &r->upstream;
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
    u->tells = r->body_bytes < 0 && !multi_late_chunks_framed();
    if (is->tells != u->tells)
        (void)curl_easy_setopt(e, CURLOPT_VERBOSE, u->tells ? 1L : 0L);
    is->tells = u->tells;
    if (is->fresh != u->fresh)
        (void)curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, u->fresh ? 1L : 0L);
    is->fresh = u->fresh;
}

static void no_memory(struct relay *r)
{
    struct failure f =
        failure_make(FAIL_INTERNAL, "There is no memory left to send the request.");

    relay_fail(r, &f);
}

void upstream_start(struct relay *r)
{
    struct upstream *u = &r->upstream;
    const struct config *c = r->snapshot->config;
    bool has_body = r->body_bytes != 0;

    if (!setup(r)) {
        no_memory(r);
        return;
    }
    CURL *e = u->transfer.easy;
    char *target = whole_target(r);
    struct header_line *lines =
        header_forward(&r->arena, &(struct header_forward){
                                      .fields = r->fields,
                                      .count = r->count,
                                      .host = c->upstream.authority,
                                      .authorization = secret_text(r->grant->token->header),
                                      .request_id = r->request_id_ours ? r->request_id : NULL,
                                      .require_name = c->listen.require_header_name,
                                      .has_body = has_body,
                                  });

    guard_answer_init(&u->guard);
    u->fields = NULL;
    u->count = u->cap = 0;
    u->prereqs = 0;
    u->resend_refused = u->paused_up = u->paused_down = false;
    u->body_bytes = 0;
    u->words[0] = '\0';
    farewell_free(u->farewell);
    u->farewell = NULL;
    u->transfer.ask_socket = false;
    r->up_sent = 0;
    r->progress_ms = loop_now(&r->worker->loop);
    if (target == NULL || lines == NULL) {
        struct failure f = failure_make(FAIL_HEAD_TOO_LARGE, "The request head does not fit.");

        relay_fail(r, &f);
        return;
    }
    (void)curl_easy_setopt(e, CURLOPT_HTTPHEADER, (struct curl_slist *)(void *)lines);
    (void)curl_easy_setopt(e, CURLOPT_REQUEST_TARGET, target);
    set_shape(r);
    u->used = true;
    if (multi_add(&r->worker->multi, &u->transfer) != 0)
        no_memory(r);
}

void upstream_cancel(struct relay *r)
{
    farewell_free(r->upstream.farewell);
    r->upstream.farewell = NULL;
    multi_remove(&r->worker->multi, &r->upstream.transfer);
}

void upstream_unpause(struct relay *r)
{
    struct upstream *u = &r->upstream;
    /* After an early answer curl stops sending by itself from 300 on, but not while it is
     * paused; otherwise it is made to give up once the answer is whole. */
    bool give_up = r->swallow && (u->guard.status >= 300 || body_whole(r, false));
    bool more = !r->swallow && (r->up_done || r->up.len - r->up.start > r->up_sent);
    bool up = u->paused_up && (give_up || more);
    bool down = u->paused_down && buf_unread(&r->down) <= RELAY_WINDOW_BYTES / 4;

    if (!u->transfer.running || (!up && !down))
        return;
    u->paused_up = u->paused_up && !up;
    u->paused_down = u->paused_down && !down;
    (void)curl_easy_pause(u->transfer.easy, (u->paused_up ? CURLPAUSE_SEND : 0) |
                                                (u->paused_down ? CURLPAUSE_RECV : 0));
}

void upstream_free(struct upstream *u)
{
    drop_handle(u);
    if (u->setup_for == NULL)
        return;
    curl_url_cleanup(u->url);
    worker_snapshot_unref(u->setup_for);
    u->url = NULL;
    u->setup_for = NULL;
}

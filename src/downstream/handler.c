/* The caller's side of a relay.
 *
 * What libmicrohttpd forces (0.9.75 and 1.0):
 *  - An answer queued in the handler's first call makes it close the connection: used for
 *    refusals only. Everything else is answered in a later call, when the body is whole.
 *  - It cannot answer while a body comes in: the rest is swallowed up to a bound, then the
 *    answer is written past it (conn_finish).
 *  - Suspend only in the handler and in the reader. `suspended` changes in suspend() and
 *    handler_resume() and nowhere else.
 *  - It unescapes the target in place: the raw one is copied in handler_on_target. */
#include "downstream/handler.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "downstream/conn.h"
#include "downstream/downstream.h"
#include "http/problem.h"
#include "proxy/relay.h"

void *handler_on_target(void *arg, const char *target, struct MHD_Connection *connection)
{
    struct conn *caller = conn_of(connection);
    (void)arg;
    struct relay *r = relay_new(caller->downstream->ctx, caller, target);

    r->connection = connection;
    conn_head_begun(caller, r);
    return r;
}

/* So many at most linger, since each run looks at all of them; and only where the upstream
 * usually begins its answer within so much time. */
#define LINGER_MAX 256
#define LINGER_US 20000

static void suspend(struct relay *r)
{
    assert(!r->suspended);
    r->suspended = true;
    MHD_suspend_connection(r->connection);
}

/* An answer that is likely to come soon is waited for without suspending; see httpd.c. */
static void wait_for_answer(struct relay *r)
{
    struct downstream *d = r->conn->downstream;

    if (d->mhd_host.lingering == LINGER_MAX || r->ctx->typical_us > LINGER_US) {
        suspend(r);
        return;
    }
    r->lingers = true;
    d->mhd_host.lingering++;
}

static void stop_lingering(struct relay *r)
{
    if (!r->lingers)
        return;
    r->lingers = false;
    r->conn->downstream->mhd_host.lingering--;
}

void handler_resume(struct relay *r)
{
    if (r->lingers)
        r->conn->downstream->mhd_host.due = true;
    if (!r->suspended)
        return;
    r->suspended = false;
    mhd_host_resume(&r->conn->downstream->mhd_host, r->connection);
}

void handler_linger_no_more(struct relay *r)
{
    r->lingered = true;
    r->conn->downstream->mhd_host.due = true;
}

struct collected {
    struct header_field *fields;
    size_t count;
};

static enum MHD_Result collect(void *arg, enum MHD_ValueKind kind, const char *key,
                               size_t key_len, const char *value, size_t value_len)
{
    struct collected *c = arg;

    (void)kind;
    c->fields[c->count++] = (struct header_field){
        .name = key,
        .value = value == NULL ? "" : value,
        .name_len = key_len,
        .value_len = value_len,
    };
    return MHD_YES;
}

/* The head as libmicrohttpd has it, judged. */
static struct request_check_result judge(struct relay *r, const char *method,
                                         const char *version)
{
    const struct config *config = r->config;
    int fields = MHD_get_connection_values_n(r->connection, MHD_HEADER_KIND, NULL, NULL);
    const union MHD_ConnectionInfo *size =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    struct collected c = { .count = 0 };

    r->method = arena_copy(&r->arena, method, strlen(method)); /* outlives the connection */
    c.fields = arena_alloc(&r->arena, sizeof *c.fields * (size_t)(fields + 1));
    if (r->method == NULL)
        r->method = "-";
    if (c.fields == NULL)
        return (struct request_check_result){ .kind = FAIL_HEAD_TOO_LARGE,
                                              .why = "too many fields" };
    (void)MHD_get_connection_values_n(r->connection, MHD_HEADER_KIND, collect, &c);
    r->old_caller = strcmp(version, "HTTP/1.0") == 0;
    r->fields = c.fields;
    r->count = c.count;
    const struct request_check_head head = {
        .method = method,
        .target = r->target,
        .target_in_place = r->target_in_place,
        .version = version,
        .fields = c.fields,
        .count = c.count,
        .head_bytes = size->header_size,
#if MHD_VERSION < 0x00097700
        .account = true,
#else
        .account = false, /* newer ones are strict themselves */
#endif
        .max_head_bytes = (size_t)config->listen.max_header_size_bytes,
        .max_target_bytes = (size_t)config->listen.max_target_size_bytes,
        .max_fields = (size_t)config->listen.max_headers,
        .max_body_bytes = config->listen.max_body_size_bytes,
    };
    return request_check(&head);
}

/* Both parts end in NUL. */
static bool add_field(struct MHD_Response *response, const struct header_field *f)
{
    /* libmicrohttpd refuses an empty value; one blank means the same to every reader. */
    return MHD_add_response_header(response, f->name, f->value_len == 0 ? " " : f->value) ==
           MHD_YES;
}

static void add_common(struct relay *r, struct MHD_Response *response)
{
    if (r->request_id != NULL)
        (void)MHD_add_response_header(response, "X-Request-Id", r->request_id);
    if (r->ctx->draining || r->conn->refused || r->conn->last)
        (void)MHD_add_response_header(response, "Connection", "close");
}

static enum MHD_Result queue(struct relay *r, int status, struct MHD_Response *response)
{
    add_common(r, response);
    enum MHD_Result ok = MHD_queue_response(r->connection, (unsigned)status, response);

    MHD_destroy_response(response);
    mhd_host_busy(&r->conn->downstream->mhd_host);
    r->responded = true;
    r->status = status;
    return ok;
}

static enum MHD_Result answer_failure(struct relay *r)
{
    const struct failure *f = &r->failure;
    struct buf proxy_status;

    buf_clear(&r->down);
    buf_init(&proxy_status, 256);
    if (problem_body(f, &r->down) != 0 || problem_proxy_status(f, 0, &proxy_status) != 0) {
        buf_done(&proxy_status);
        return MHD_NO;
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(
        buf_unread(&r->down), r->down.data + r->down.start, MHD_RESPMEM_PERSISTENT);

    if (response == NULL) {
        buf_done(&proxy_status);
        return MHD_NO;
    }
    (void)MHD_add_response_header(response, "Content-Type", "application/problem+json");
    (void)MHD_add_response_header(response, "Proxy-Status", buf_text(&proxy_status));
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    if (f->retry_after_s > 0) {
        char seconds[16];

        (void)snprintf(seconds, sizeof seconds, "%d", f->retry_after_s);
        (void)MHD_add_response_header(response, "Retry-After", seconds);
    }
    if (failure_status(f) == 401)
        (void)MHD_add_response_header(response, "WWW-Authenticate",
                                      "Bearer realm=\"oneshot-proxy\"");
    if (f->kind == FAIL_METHOD_DENIED)
        (void)MHD_add_response_header(response, "Allow",
                                      "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    buf_done(&proxy_status);
    r->down_bytes = (int64_t)buf_unread(&r->down);
    return queue(r, failure_status(f), response);
}

static enum MHD_Result answer_placeholder(struct relay *r)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        sizeof TOKEN_PLACEHOLDER - 1, (void *)(uintptr_t)TOKEN_PLACEHOLDER,
        MHD_RESPMEM_PERSISTENT);

    if (response == NULL)
        return MHD_NO;
    (void)MHD_add_response_header(response, "Content-Type", "application/json");
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    r->down_bytes = sizeof TOKEN_PLACEHOLDER - 1;
    return queue(r, 200, response);
}

/* MHD_ContentReaderCallback: the next bytes of the answer. */
static ssize_t pull(void *arg, uint64_t pos, char *out, size_t max)
{
    struct relay *r = arg;
    size_t n = buf_unread(&r->down);

    (void)pos;
    mhd_host_busy(&r->conn->downstream->mhd_host);
    if (n == 0) {
        if (r->gone || r->down_cut) {
            conn_reset_on_close(r->conn);
            return MHD_CONTENT_READER_END_WITH_ERROR;
        }
        if (r->down_done)
            return MHD_CONTENT_READER_END_OF_STREAM;
        suspend(r);
        return 0;
    }
    n = n < max ? n : max;
    memcpy(out, buf_front(&r->down), n);
    buf_consume(&r->down, n);
    r->down_bytes += (int64_t)n;
    if (r->exchange.wants_room)
        relay_wake(r);
    return (ssize_t)n;
}

static struct MHD_Response *upstream_body(struct relay *r)
{
    const struct response_check *g = &r->exchange.head;
    size_t here = buf_unread(&r->down);
    bool bodiless = r->is_head || g->status == 204 || g->status == 304;

    /* A small answer that is all here goes out in one write, head and body together. */
    if (!bodiless && r->down_done && !r->down_cut) {
        r->down_bytes = (int64_t)here;
        return MHD_create_response_from_buffer(
            here, here == 0 ? (void *)(uintptr_t) "" : r->down.data + r->down.start,
            MHD_RESPMEM_PERSISTENT);
    }
    uint64_t size = g->content_length >= 0 ? (uint64_t)g->content_length : MHD_SIZE_UNKNOWN;

    if (g->status == 204)
        size = 0;
    struct MHD_Response *response =
        MHD_create_response_from_callback(size, RELAY_WINDOW_BYTES, pull, r, NULL);

    /* A 304 or an answer to HEAD that says no length: libmicrohttpd would end a chunked body
     * that is not there, or claim a length of 0. It keeps silent only when it closes. */
    if (response != NULL && bodiless && size == MHD_SIZE_UNKNOWN)
        (void)MHD_set_response_options(response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
    return response;
}

/* Whether libmicrohttpd's pool has room for the answer's head, beside the request's head and
 * what it keeps of each field, argument and cookie in there. Without it libmicrohttpd would
 * close the connection without a word; see bypass.h. Half of the pool may be taken by requests
 * that came behind this one. */
static bool head_fits(const struct relay *r)
{
    enum { RECORD_BYTES = 128, OWN_BYTES = 1024 };
    const union MHD_ConnectionInfo *head =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    const char *cookie = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Cookie");
    int records = MHD_get_connection_values_n(
        r->connection,
        (enum MHD_ValueKind)(MHD_HEADER_KIND | MHD_COOKIE_KIND | MHD_GET_ARGUMENT_KIND), NULL,
        NULL);

    return r->exchange.head.bytes + head->header_size + (size_t)records * RECORD_BYTES +
               (cookie == NULL ? 0 : strlen(cookie)) + OWN_BYTES <=
           r->conn->downstream->mhd_pool.pool_bytes / 2;
}

/* Both ways to give the upstream's head: libmicrohttpd's response, or (NULL) past it. */
static bool put_field(struct relay *r, struct MHD_Response *response,
                      const struct header_field *f)
{
    if (response == NULL)
        return raw_response_field(r, f);
    if (!add_field(response, f))
        log_debug("field_not_passed", log_strn("name", f->name, f->name_len));
    return true;
}

static bool put_own_field(struct relay *r, struct MHD_Response *response, const char *name,
                          const char *value)
{
    const struct header_field f = { name, value, strlen(name), strlen(value) };

    return put_field(r, response, &f);
}

static bool put_fields(struct relay *r, struct MHD_Response *response)
{
    int status = r->exchange.head.status;
    size_t count = header_filter_response(r->exchange.fields, r->exchange.field_count);

    for (size_t i = 0; i < count; i++) {
        struct header_field f = r->exchange.fields[i];

        if (header_is(&f, "x-request-id") && r->request_id != NULL)
            continue;
        if (header_is(&f, "location")) {
            const char *path = header_local_location(f.value, r->config->upstream.origin);

            if (path != NULL) {
                f.value = path;
                f.value_len = strlen(path);
            }
        }
        if (!put_field(r, response, &f))
            return false;
    }
    if (status != 401 && status != 403)
        return true;
    struct buf value;

    buf_init(&value, 128);
    bool done = problem_proxy_status(NULL, status, &value) == 0 &&
                put_own_field(r, response, "Proxy-Status", buf_text(&value));
    buf_done(&value);
    return done;
}

static enum MHD_Result answer_upstream(struct relay *r)
{
    struct MHD_Response *response = upstream_body(r);

    if (response == NULL)
        return MHD_NO;
    (void)put_fields(r, response);
    return queue(r, r->exchange.head.status, response);
}

/* The head is too large for libmicrohttpd. */
static enum MHD_Result answer_past(struct relay *r)
{
    const struct response_check *g = &r->exchange.head;

    if (!raw_response_status(r, g->status) || !put_fields(r, NULL) ||
        (r->request_id != NULL && !put_own_field(r, NULL, "X-Request-Id", r->request_id)) ||
        !raw_response_begin(r, g->status == 204 ? -1 : g->content_length))
        return MHD_NO;
    mhd_host_busy(&r->conn->downstream->mhd_host);
    r->responded = true;
    r->status = g->status;
    suspend(r);
    return MHD_YES;
}

static enum MHD_Result give_answer(struct relay *r)
{
    switch (r->phase) {
    case RELAY_LOCAL:
        return answer_placeholder(r);
    case RELAY_ANSWERING:
        return head_fits(r) ? answer_upstream(r) : answer_past(r);
    default:
        return answer_failure(r);
    }
}

/* The first call: the head is whole, no byte of the body has been looked at. */
static enum MHD_Result on_head(struct relay *r)
{
    if (r->phase == RELAY_FAILED)
        return answer_failure(r);
    if (r->body_bytes != 0) /* it may have to be told to send it */
        mhd_host_busy(&r->conn->downstream->mhd_host);
    /* A caller that asks before it sends its body is answered before: wait for the token, then
     * let MHD send the 100. */
    if (r->phase == RELAY_PARKED && r->body_bytes != 0) {
        const char *expect =
            MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Expect");

        if (expect != NULL) {
            r->head_waits = true;
            suspend(r);
        }
    }
    return MHD_YES;
}

static enum MHD_Result on_data(struct relay *r, const char *data, size_t *size)
{
    mhd_host_busy(&r->conn->downstream->mhd_host);
    if (r->up.discard || r->phase == RELAY_FAILED || r->phase == RELAY_LOCAL) {
        r->discarded_bytes += (int64_t)*size;
        *size = 0;
        r->up_ms = loop_now(&r->ctx->loop);
        if (r->discarded_bytes <= RELAY_DISCARD_BYTES)
            return MHD_YES;
        struct failure f =
            r->phase == RELAY_FAILED
                ? r->failure
                : failure_make(FAIL_BODY_TOO_LARGE,
                               "The answer came before the end of a large body.");
        r->status = failure_status(&f);
        conn_finish(r->conn, &f);
        return MHD_NO;
    }
    size_t taken = relay_on_body(r, data, *size);

    *size -= taken;
    if (*size > 0 && !r->up.discard && r->phase != RELAY_FAILED)
        suspend(r);
    return MHD_YES;
}

enum MHD_Result handler_on_request(void *arg, struct MHD_Connection *c, const char *url,
                                   const char *method, const char *version, const char *data,
                                   size_t *data_size, void **req)
{
    struct relay *r = *req;

    (void)arg;
    (void)c;
    (void)url;
    if (r->lingers) {
        bool go_on = relay_can_go_on(r);

        if (!go_on && !r->lingered)
            return MHD_YES;
        stop_lingering(r);
        if (!go_on) {
            suspend(r);
            return MHD_YES;
        }
    }
    if (!r->begun) {
        r->begun = true;
        conn_head_done(r->conn);
        mhd_pool_seen(&r->conn->rest, method);
        struct request_check_result v = judge(r, method, version);

        relay_on_head(r, &v);
        return on_head(r);
    }
    if (r->raw_response.on &&
        !r->raw_response.over) /* left in the middle: no end to be believed */
        conn_reset_on_close(r->conn);
    if (r->gone || r->raw_response.over)
        return MHD_NO;
    if (r->head_waits) {
        r->head_waits = false;
        return on_head(r);
    }
    if (*data_size > 0)
        return on_data(r, data, data_size);
    if (!r->up.ended)
        relay_on_body_end(r);
    if (relay_answer_ready(r))
        return give_answer(r);
    wait_for_answer(r);
    return MHD_YES;
}

void handler_on_lost(struct relay *r)
{
    if (r->begun && !r->up.ended && r->status == 0) {
        r->failure = failure_make(FAIL_BAD_REQUEST, "The body is not made of chunks.");
        r->status = failure_status(&r->failure);
    } else {
        r->gone = true;
    }
    stop_lingering(r);
    relay_end(r);
}

void handler_on_completed(void *arg, struct MHD_Connection *c, void **req,
                          enum MHD_RequestTerminationCode code)
{
    struct relay *r = *req;

    (void)arg;
    if (r == NULL)
        return;
    if (!r->begun && r->status == 0) {
        const union MHD_ConnectionInfo *status =
            MHD_get_connection_info(c, MHD_CONNECTION_INFO_HTTP_STATUS);

        r->status = status == NULL ? 0 : (int)status->http_status;
    }
    if (code != MHD_REQUEST_TERMINATED_COMPLETED_OK && !r->down_cut && !r->raw_response.over)
        r->gone = true;
    if (code != MHD_REQUEST_TERMINATED_COMPLETED_OK || r->old_caller)
        mhd_host_close_soon(&r->conn->downstream->mhd_host, c);
    *req = NULL;
    stop_lingering(r);
    relay_end(r);
}

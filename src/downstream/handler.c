/* Receives requests from libmicrohttpd and hands them to the relay. response.c gives the
 * answers.
 *
 * What libmicrohttpd forces (0.9.75 and 1.0):
 *  - Suspend only in the handler and in the reader, or where it is certain that libmicrohttpd
 *    is not running.
 *  - A suspended connection notices nothing, not even that its caller has left.
 *  - It unescapes the target in place: handler_on_target copies the raw one.
 *  - Its fields stay where they are until the request is over.
 *  - It records each query argument and each cookie in the connection's memory, some 64 bytes
 *    each, and fails or hangs when they do not fit. So both are hidden from it.
 *  - A head that does not fit into this memory is answered by libmicrohttpd itself, with a
 *    page of HTML. The memory has room for every head within the limits; one beyond them is
 *    found before that. */
#include "downstream/handler.h"

#include <string.h>

#include "downstream/conn.h"
#include "downstream/downstream.h"
#include "downstream/response.h"
#include "http/request_check.h"
#include "proxy/access_log.h"
#include "proxy/admission.h"
#include "proxy/relay.h"

/* Most refused uploads of a worker whose rest is read, since each needs two more descriptors;
 * the connections of others are closed at once. */
#define REFUSED_UPLOADS_MAX 64

/* libmicrohttpd's own memory, which it changes too. */
static char *writable(const char *text)
{
    return (char *)(uintptr_t)text;
}

/* Hides the query; from here on it is only in the relay's copy of the target. When an
 * argument did not fit, 0.9.75 would go on and wait for ever. */
static void hide_query(char *target)
{
    char *query = strchr(target, '?');

    if (query != NULL && query[1] != '\0')
        query[1] = '\0';
}

/* libmicrohttpd parses the first Cookie field and records each cookie in the connection's
 * memory: so it gets a field of ours before those of the caller. The place where it stores
 * its copy of the value shows where that memory ends, see mhd_pool_seen. */
static const char cookie_field[] = "Cookie", cookie_name[] = "a";

static bool put_cookie_first(struct MHD_Connection *connection)
{
    return MHD_set_connection_value(connection, MHD_HEADER_KIND, cookie_field, "a=b") ==
           MHD_YES;
}

static void on_refused(struct conn *c, const struct failure *f)
{
    struct context *ctx = c->downstream->ctx;
    char id[CONTEXT_REQUEST_ID_BYTES];

    context_request_id(ctx, id);
    if (c->response->relay != NULL) { /* it reports the failure at its end */
        relay_on_refused(c->response->relay, f, id);
    } else { /* there is no request line */
        metrics_add(&ctx->metrics, M_requests_started, 1);
        access_log_write(ctx, &(struct access_log_entry){
                                  .config = ctx->config,
                                  .failure = f,
                                  .request_id = id,
                                  .status = failure_status(f),
                                  .total_us = (loop_now(&ctx->loop) - c->since_ms) * 1000,
                                  .token_us = -1,
                                  .upstream_us = -1 });
    }
    response_refuse(c, f, id);
}

static void refuse_head(struct conn *c, enum failure_kind kind, const char *why)
{
    struct failure f = failure_make(kind, "%s.", why);

    on_refused(c, &f);
}

void *handler_on_target(void *arg, const char *target, struct MHD_Connection *connection)
{
    struct conn *c = conn_of(connection);

    (void)arg;
    response_init(c->response);
    c->response->target_in_place = target;
    c->response->relay = relay_new(c->downstream->ctx, &c->response->sink, target);
    conn_head_begun(c);
    if (target != NULL)
        hide_query(writable(target));
    if (!put_cookie_first(connection)) /* the request line has used all of the memory */
        refuse_head(c, FAIL_TARGET_TOO_LONG, "the target does not fit listen.max_header_size");
    return c;
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
    if (key == cookie_field)
        return MHD_YES;
    c->fields[c->count++] = (struct header_field){
        .name = key,
        .value = value == NULL ? "" : value,
        .name_len = key_len,
        .value_len = value_len,
    };
    return MHD_YES;
}

/* Checks the head as received by libmicrohttpd. The fields are in its buffer as long as the
 * request exists. */
static void judge(struct conn *conn, const char *method, const char *version,
                  struct admission_request *out)
{
    const struct config *config = conn->downstream->ctx->config;
    struct arena *arena = conn->response->sink.arena;
    int fields = MHD_get_connection_values_n(conn->connection, MHD_HEADER_KIND, NULL, NULL);
    const union MHD_ConnectionInfo *size =
        MHD_get_connection_info(conn->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    struct collected c = { 0 };

    *out = (struct admission_request){ .method = method };
    c.fields = arena_alloc(arena, sizeof *c.fields * (size_t)(fields + 1));
    if (c.fields == NULL) {
        out->check = (struct request_check_result){ .kind = FAIL_HEAD_TOO_LARGE,
                                                    .why = "too many fields" };
        return;
    }
    (void)MHD_get_connection_values_n(conn->connection, MHD_HEADER_KIND, collect, &c);
    out->fields = c.fields;
    out->count = c.count;
    const struct request_check_head head = {
        .method = method,
        .target = relay_target(conn->response->relay),
        .target_in_place = conn->response->target_in_place,
        .version = version,
        .fields = c.fields,
        .count = c.count,
        .head_bytes = size->header_size,
        .account = conn->downstream->mhd_host.is_lenient,
        .max_head_bytes = (size_t)config->listen.max_header_size_bytes,
        .max_target_bytes = (size_t)config->listen.max_target_size_bytes,
        .max_fields = (size_t)config->listen.max_headers,
        .max_body_bytes = config->listen.max_body_size_bytes,
    };
    out->check = request_check(&head);
}

/* Whether a request that is refused by its head has a body that is worth reading. Not one
 * that its caller only sends when asked to; and refusals must not use up what they protect. */
static bool reads_refused(const struct conn *c)
{
    const struct downstream *d = c->downstream;

    return relay_expects_body(c->response->relay) && !c->refused && !d->ctx->giving_up &&
           d->refused_uploads < REFUSED_UPLOADS_MAX &&
           MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND, "Expect") == NULL;
}

/* An answer in the handler's first call makes libmicrohttpd close the connection at once. With
 * a body that was not read, that is a reset, which may overtake the answer. So the body is
 * read and discarded, as far as for a refusal that comes later, see response.c. */
static enum MHD_Result refuse_upload(struct conn *c)
{
    struct response *s = c->response;

    s->refused_upload = true;
    c->downstream->refused_uploads++;
    c->last = true;
    /* A broken chunk must not get libmicrohttpd's own answer instead. */
    if (s->chunked) {
        s->past_mhd = s->head_waits = true;
        response_suspend(s);
    }
    return MHD_YES;
}

/* The first call: the head is complete, the body was not read yet. */
static enum MHD_Result after_head(struct conn *c)
{
    struct response *s = c->response;

    if (s->raw_on) /* refused: now the body is read */
        return MHD_YES;
    if (s->begun && s->failure.kind != FAIL_NONE)
        return reads_refused(c) ? refuse_upload(c) : response_give(s);
    if (relay_expects_body(c->response->relay)) /* its caller may have to be asked to send it */
        mhd_host_busy(&c->downstream->mhd_host);
    /* A caller with Expect: 100-continue is not asked for its body too early: wait for the
     * token, then let libmicrohttpd send the 100. */
    if (relay_waits_for_token(c->response->relay) && relay_expects_body(c->response->relay) &&
        MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND, "Expect") != NULL) {
        s->head_waits = true;
        response_suspend(s);
    }
    return MHD_YES;
}

static void find_pool(struct conn *c, const char *method)
{
    const char *kept = MHD_lookup_connection_value(c->connection, MHD_COOKIE_KIND, cookie_name);
    int records = MHD_get_connection_values_n(
        c->connection, (enum MHD_ValueKind)(MHD_HEADER_KIND | MHD_GET_ARGUMENT_KIND), NULL,
        NULL);

    if (kept != NULL)
        mhd_pool_seen(&c->downstream->mhd_pool, &c->rest, method, kept, (size_t)records);
}

static enum MHD_Result on_head(struct conn *c, const char *method, const char *version)
{
    struct admission_request request;

    if (!c->known) /* whose request is it? conn_init has shut the connection down */
        return MHD_NO;
    c->response->head_seen = true;
    c->response->http_1_0 = strcmp(version, "HTTP/1.0") == 0;
    c->response->is_head = strcmp(method, "HEAD") == 0;
    conn_head_done(c);
    if (c->rest.pool == NULL)
        find_pool(c, method);
    judge(c, method, version, &request);
    c->response->chunked = request.check.body_bytes < 0;
    admission_on_head(c->response->relay, &request);
    return after_head(c);
}

/* What is not taken is offered again when the connection was resumed. */
static enum MHD_Result on_data(struct conn *c, const char *data, size_t *size)
{
    struct response *s = c->response;

    mhd_host_busy(&c->downstream->mhd_host);
    *size -= relay_on_body(s->relay, data, *size);
    if (*size > 0)
        response_suspend(s);
    else if (s->feed != NULL && s->feed->ended) /* it may have been the last of it */
        relay_wake(s->relay);
    return MHD_YES;
}

enum MHD_Result handler_on_request(void *arg, struct MHD_Connection *connection,
                                   const char *url, const char *method, const char *version,
                                   const char *data, size_t *data_size, void **req)
{
    struct conn *c = *req;
    struct response *s = c->response;

    (void)arg;
    (void)connection;
    (void)url;
    if (s->polls) {
        bool go_on = response_can_go_on(s);

        if (!go_on && !s->polled_long)
            return MHD_YES;
        response_stop_polling(s);
        if (!go_on) {
            response_suspend(s);
            return MHD_YES;
        }
    }
    if (!s->head_seen)
        return on_head(c, method, version);
    if (s->raw_on && !s->over && relay_is_abandoned(c->response->relay))
        conn_reset_on_close(c); /* left in the middle: it must not look like a regular end */
    if (s->over || relay_is_abandoned(c->response->relay))
        return MHD_NO;
    if (s->head_waits) {
        s->head_waits = false;
        return after_head(c);
    }
    if (*data_size > 0)
        return on_data(c, data, data_size);
    if (!s->body_whole) {
        s->body_whole = true;
        relay_on_body_end(c->response->relay);
    }
    if (s->raw_on)
        response_suspend(s);
    else if (s->begun)
        return response_give(s);
    else
        response_wait(s);
    return MHD_YES;
}

/* What libmicrohttpd itself says about a chunked body that it cannot read. */
static const struct {
    int status;
    enum failure_kind kind;
    const char *text;
} body_errors[] = {
    { 400, FAIL_BAD_REQUEST, "The body is not made of chunks." },
    { 413, FAIL_BODY_TOO_LARGE, "The size of a chunk is too large, or its line too long." },
    { 431, FAIL_HEAD_TOO_LARGE, "The trailers behind the body do not fit." },
};

/* libmicrohttpd has answered by itself: a head that it cannot parse, or a broken body. */
static void note_own_answer(struct conn *c, int status)
{
    struct response *s = c->response;

    if (!s->head_seen && s->sink.status == 0)
        s->sink.status = status;
    if (!s->head_seen || s->body_whole || s->sink.given)
        return;
    for (size_t i = 0; i < ARRAY_LEN(body_errors); i++)
        if (body_errors[i].status == status) {
            struct failure f = failure_make(body_errors[i].kind, "%s", body_errors[i].text);

            relay_on_refused(s->relay, &f, NULL);
        }
}

static void over(struct conn *c)
{
    relay_end(c->response->relay);
    response_done(c->response);
    conn_request_done(c);
}

/* The connection ends, and the end of its request was not reported: libmicrohttpd 1.0
 * forgets that when it has refused a broken body by itself, in the same run. */
static void on_lost(struct conn *c)
{
    const struct downstream *d = c->downstream;

    if (c->response->head_seen && !c->response->body_whole && !c->response->sink.closed)
        note_own_answer(c, d->own_answer_run == d->mhd_host.runs ? d->own_answer_status : 400);
    else if (!c->response->sink.closed)
        relay_on_caller_gone(c->response->relay);
    over(c);
}

/* A connection and the object for its answers. */
struct served {
    struct conn conn;
    struct response response;
};

void handler_on_connection(void *arg, struct MHD_Connection *connection, void **socket_context,
                           enum MHD_ConnectionNotificationCode code)
{
    struct served *served;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        served = base_alloc(sizeof *served);
        served->response.conn = &served->conn;
        served->conn.response = &served->response;
        conn_init(&served->conn, arg, connection);
        *socket_context = &served->conn;
        return;
    }
    served = CONTAINER_OF((struct conn *)*socket_context, struct served, conn);
    if (served->response.relay != NULL)
        on_lost(&served->conn);
    conn_done(&served->conn);
    body_feed_free(served->response.feed);
    free(served);
}

/* The number of bytes of a head, from its target on, that were received. libmicrohttpd puts
 * NULs between its parts, at most three in a row; it is followed by zeroed memory or, at the
 * latest, by the record of our cookie, which contains more of them. */
static size_t bytes_here(const char *target)
{
    static const char end[4] = { 0 };
    const char *at = target;

    while (memcmp(at, end, sizeof end) != 0)
        at++;
    return (size_t)(at - target);
}

#define TARGET_TOO_LONG "the request target is longer than listen.max_target_size"

/* Whether the part of a head that was received exceeds the limits already. */
static struct request_check_result look_at_head(const struct conn *c)
{
    const struct config *config = c->downstream->ctx->config;
    struct request_check_head head = {
        .target = "",
        .max_head_bytes = (size_t)config->listen.max_header_size_bytes,
        .max_target_bytes = (size_t)config->listen.max_target_size_bytes,
        .max_fields = (size_t)config->listen.max_headers,
    };
    size_t line_bytes = conn_line_bytes(c);

    if (c->phase == CONN_HEAD && c->response->relay != NULL &&
        c->response->target_in_place != NULL) {
        head.target = relay_target(c->response->relay);
        head.head_bytes = bytes_here(c->response->target_in_place);
        head.count = (size_t)MHD_get_connection_values_n(c->connection, MHD_HEADER_KIND, NULL,
                                                         NULL); /* the last is incomplete */
    } else if (line_bytes > head.max_target_bytes + REQUEST_METHOD_MAX + 1) {
        return (struct request_check_result){ .kind = FAIL_TARGET_TOO_LONG,
                                              .why = TARGET_TOO_LONG };
    }
    return request_check_limits(&head);
}

/* Connections whose bytes cannot be counted: the one for which more bytes have arrived, or
 * the only one. */
struct uncounted {
    struct conn *of_more, *any;
    size_t more_count, any_count;
};

static void note_uncounted(struct uncounted *u, struct conn *c)
{
    bool more = false;

    if (!conn_is_uncounted(c, &more))
        return;
    u->any = c;
    u->any_count++;
    if (more) {
        u->of_more = c;
        u->more_count++;
    }
}

void handler_on_own_answer(void *arg, unsigned status)
{
    struct downstream *d = arg;
    struct conn *c;
    struct uncounted u = { .any = NULL };
    size_t found = 0;

    d->own_answer_status = (int)status;
    d->own_answer_run = d->mhd_host.runs;
    if (status != MHD_HTTP_URI_TOO_LONG && status != MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE)
        return;
    LIST_FOREACH(c, &d->conns, link)
    if (c->phase != CONN_BUSY && !c->finished) {
        struct request_check_result r = look_at_head(c);

        if (r.kind != FAIL_NONE) {
            refuse_head(c, r.kind, r.why);
            found++;
        } else {
            note_uncounted(&u, c);
        }
    }
    /* A 431 may as well be for trailers, and that caller is not among those looked at. */
    if (found > 0 || status != MHD_HTTP_URI_TOO_LONG)
        return;
    if (u.more_count == 1)
        refuse_head(u.of_more, FAIL_TARGET_TOO_LONG, TARGET_TOO_LONG);
    else if (u.any_count == 1)
        refuse_head(u.any, FAIL_TARGET_TOO_LONG, TARGET_TOO_LONG);
}

static void on_event(struct conn *c, uint32_t events)
{
    struct relay *r = c->response->relay;

    if (c->taken_over) {
        response_on_ready(c->response, (events & (EPOLLHUP | EPOLLERR)) != 0);
        return;
    }
    conn_unwatch(c);
    if ((events & ~(uint32_t)EPOLLOUT) == 0)
        relay_wake(r);
    /* If it is not suspended, libmicrohttpd looks at the connection and will report it
     * itself. */
    else if (c->response->sink.held)
        relay_on_caller_gone(r);
}

const struct conn_user handler_conn_user = { .on_refused = on_refused, .on_event = on_event };

void handler_on_completed(void *arg, struct MHD_Connection *connection, void **req,
                          enum MHD_RequestTerminationCode code)
{
    struct conn *c = *req;
    const union MHD_ConnectionInfo *status =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_HTTP_STATUS);

    (void)arg;
    if (c == NULL)
        return;
    note_own_answer(c, status == NULL ? 0 : (int)status->http_status);
    /* Neither side of the proxy ended it: the caller left, before or during its answer. */
    if (code != MHD_REQUEST_TERMINATED_COMPLETED_OK && !c->response->sink.closed &&
        (c->response->sink.status == 0 || c->response->sink.given))
        relay_on_caller_gone(c->response->relay);
    if (code != MHD_REQUEST_TERMINATED_COMPLETED_OK || c->response->http_1_0)
        mhd_host_close_soon(&c->downstream->mhd_host, connection);
    *req = NULL;
    over(c);
}

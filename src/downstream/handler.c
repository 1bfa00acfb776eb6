/* What libmicrohttpd tells of a request, on its way to the relay. The answer is given by
 * response.c.
 *
 * What libmicrohttpd forces (0.9.75 and 1.0):
 *  - Suspend only in the handler and in the reader, or where it is certain that libmicrohttpd is
 *    not running.
 *  - A suspended connection notices nothing, not even that its caller has left.
 *  - It unescapes the target in place: the raw one is copied in handler_on_target.
 *  - Its fields stay where they are until the request is over.
 *  - It records each query argument and each cookie in the connection's memory, some 64 bytes
 *    apiece, and fails or falls silent when they do not fit. So it gets to see neither. */
#include "downstream/handler.h"

#include <string.h>
#include <unistd.h>

#include "base/ascii.h"
#include "downstream/conn.h"
#include "downstream/downstream.h"
#include "downstream/response.h"
#include "proxy/admission.h"
#include "proxy/relay.h"

/* libmicrohttpd's own memory, which it writes to as well. */
static char *writable(const char *text)
{
    return (char *)(uintptr_t)text;
}

/* From here on the query is in the relay's copy of the target only. */
static void hide_query(char *target)
{
    char *query = strchr(target, '?');

    if (query != NULL)
        memset(query, '_', strlen(query));
}

/* Where the memory of the connection begins, which is with the method; NULL: not found. */
static const char *pool_of(const char *target)
{
    uintptr_t within = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
    const char *at = target - 1;

    for (size_t n = 0; n <= REQUEST_METHOD_MAX; n++, at--)
        if (((uintptr_t)at & within) == 0)
            return at;
    return NULL;
}

#define COOKIE_BYTES (sizeof "Cookie" - 1)

/* Cookie fields get another name, as far as they are here already, as they are unless the head
 * is very large or comes in pieces; collect gives it back. */
static void hide_cookies(struct conn *c, char *target)
{
    const char *pool = pool_of(target);
    char *at = target + strlen(target) + 1;

    c->cookie_count = 0;
    if (pool == NULL)
        return;
    const char *end = pool + c->downstream->mhd_pool.pool_bytes;

    while (at < end && ascii_is_visible(*at)) /* the version */
        at++;
    for (int i = 0; i < 2 && at < end && (*at == '\0' || *at == '\r' || *at == '\n'); i++)
        at++;
    while (at + COOKIE_BYTES < end && ascii_is_visible(*at)) {
        if (at[COOKIE_BYTES] == ':' && ascii_equal_str(at, COOKIE_BYTES, "cookie") &&
            c->cookie_count < CONN_COOKIES_MAX) {
            c->cookie_name[c->cookie_count++] = at;
            at[COOKIE_BYTES - 1] = at[COOKIE_BYTES - 1] == 'E' ? '|' : '!';
        }
        char *line_end = memchr(at, '\n', (size_t)(end - at));

        if (line_end == NULL || memchr(at, '\0', (size_t)(line_end - at)) != NULL)
            return;
        at = line_end + 1;
    }
}

static void show_cookie(const struct conn *c, const char *name)
{
    for (size_t i = 0; i < c->cookie_count; i++)
        if (name == c->cookie_name[i]) {
            char *last = writable(name) + COOKIE_BYTES - 1;

            *last = *last == '|' ? 'E' : 'e';
        }
}

void *handler_on_target(void *arg, const char *target, struct MHD_Connection *connection)
{
    struct conn *c = conn_of(connection);

    (void)arg;
    response_init(c->response);
    c->response->target_in_place = target;
    c->response->relay = relay_new(c->downstream->ctx, &c->response->sink, target);
    if (target != NULL) {
        hide_query(writable(target));
        hide_cookies(c, writable(target));
    }
    conn_head_begun(c);
    return c;
}

struct collected {
    const struct conn *conn;
    struct header_field *fields;
    size_t count;
};

static enum MHD_Result collect(void *arg, enum MHD_ValueKind kind, const char *key,
                               size_t key_len, const char *value, size_t value_len)
{
    struct collected *c = arg;

    (void)kind;
    show_cookie(c->conn, key);
    c->fields[c->count++] = (struct header_field){
        .name = key,
        .value = value == NULL ? "" : value,
        .name_len = key_len,
        .value_len = value_len,
    };
    return MHD_YES;
}

/* The head as libmicrohttpd has it, judged. The fields lie in its buffer, for as long as the
 * request lives. */
static void judge(struct conn *conn, const char *method, const char *version,
                  struct admission_request *out)
{
    const struct config *config = conn->downstream->ctx->config;
    struct arena *arena = conn->response->sink.arena;
    int fields = MHD_get_connection_values_n(conn->connection, MHD_HEADER_KIND, NULL, NULL);
    const union MHD_ConnectionInfo *size =
        MHD_get_connection_info(conn->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    struct collected c = { .conn = conn };

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

/* The first call: the head is whole, no byte of the body has been looked at. */
static enum MHD_Result after_head(struct conn *c)
{
    struct response *s = c->response;

    if (s->begun && s->failure.kind != FAIL_NONE)
        return response_give(s);
    if (relay_expects_body(c->response->relay)) /* its caller may have to be told to send it */
        mhd_host_busy(&c->downstream->mhd_host);
    /* A caller that asks before it sends its body is answered before: wait for the token, then
     * let libmicrohttpd send the 100. */
    if (relay_waits_for_token(c->response->relay) && relay_expects_body(c->response->relay) &&
        MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND, "Expect") != NULL) {
        s->head_waits = true;
        response_suspend(s);
    }
    return MHD_YES;
}

static enum MHD_Result on_head(struct conn *c, const char *method, const char *version)
{
    struct admission_request request;

    c->response->head_seen = true;
    c->response->http_1_0 = strcmp(version, "HTTP/1.0") == 0;
    conn_head_done(c);
    mhd_pool_seen(&c->rest, method);
    judge(c, method, version, &request);
    admission_on_head(c->response->relay, &request);
    return after_head(c);
}

/* What is not taken is shown again once the connection was resumed. */
static enum MHD_Result on_data(struct conn *c, const char *data, size_t *size)
{
    mhd_host_busy(&c->downstream->mhd_host);
    *size -= relay_on_body(c->response->relay, data, *size);
    if (*size > 0)
        response_suspend(c->response);
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
        conn_reset_on_close(c); /* left in the middle: no end to be believed */
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

/* What libmicrohttpd answered by itself: a head it cannot take apart, a broken chunk. */
static void note_own_answer(struct conn *c, int status)
{
    struct response *s = c->response;

    if (s->head_seen && !s->body_whole && !s->sink.given && status == 400) {
        struct failure f = failure_make(FAIL_BAD_REQUEST, "The body is not made of chunks.");

        relay_on_refused(c->response->relay, &f, NULL);
    } else if (!s->head_seen && s->sink.status == 0) {
        s->sink.status = status;
    }
}

static void over(struct conn *c)
{
    relay_end(c->response->relay);
    response_done(c->response);
    conn_request_done(c);
}

/* The connection ends and its request was never said to be over: libmicrohttpd 1.0 forgets that
 * where it answers a broken body itself. */
static void on_lost(struct conn *c)
{
    if (c->response->head_seen && !c->response->body_whole && !c->response->sink.closed)
        note_own_answer(c, 400);
    else if (!c->response->sink.closed)
        relay_on_caller_gone(c->response->relay);
    over(c);
}

/* A connection and what is answered on it. */
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

static void on_refused(struct conn *c, const struct failure *f)
{
    struct context *ctx = c->downstream->ctx;
    char id[CONTEXT_REQUEST_ID_BYTES];

    context_request_id(ctx, id);
    if (c->response->relay != NULL) /* it notes the failure at its end */
        relay_on_refused(c->response->relay, f, id);
    else
        recent_failures_note(
            &ctx->failures,
            &(struct recent_failures_request){
                .failure = f, .status = failure_status(f), .method = "-", .request_id = id });
    response_refuse(c, f, id);
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
    /* Not suspended: libmicrohttpd looks at the connection and will say so itself. */
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
    /* By neither of us: the caller has left, before or in the middle of its answer. */
    if (code != MHD_REQUEST_TERMINATED_COMPLETED_OK && !c->response->sink.closed &&
        (c->response->sink.status == 0 || c->response->sink.given))
        relay_on_caller_gone(c->response->relay);
    if (code != MHD_REQUEST_TERMINATED_COMPLETED_OK || c->response->http_1_0)
        mhd_host_close_soon(&c->downstream->mhd_host, connection);
    *req = NULL;
    over(c);
}

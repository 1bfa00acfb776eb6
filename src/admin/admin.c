/* Serves the admin paths with its own libmicrohttpd daemon on the control thread's loop.
 *
 *   accept -> (64 open? close the oldest) -> head -> check Host, method, path -> status_take
 *          -> the path's render -> answer, Connection: close
 *
 * Nobody is trusted here, though strangers get in only by a mistake in the settings. A
 * connection carries one request and lives five seconds at most. A new connection is always
 * accepted, so that nobody can keep a probe out by holding connections open. An answer is
 * made from the program's state alone and repeats nothing of the request. Nothing here
 * blocks: it runs in limited steps between the control thread's other work. */
#include "admin/admin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "admin/prometheus.h"
#include "base/ascii.h"
#include "base/log.h"
#include "http/access.h"
#include "http/host.h"
#include "http/problem.h"

#define ACCEPT_BATCH 16
/* Room for the head of an answer, and for libmicrohttpd's records of a request's fields. */
#define POOL_BYTES (ADMIN_HEAD_BYTES_MAX + 8192)

struct admin_connection {
    struct admin *admin;
    int fd;
    int64_t deadline_ms;
    bool ended; /* the socket was shut down; libmicrohttpd has not closed it yet */
    TAILQ_ENTRY(admin_connection) link;
};

static int render_health(void *arg, const struct status *s, struct buf *out)
{
    int err = status_health_json(s, out);

    (void)arg;
    return err != 0 ? err : s->stuck_count == 0 ? 200 : 503;
}

static int render_ready(void *arg, const struct status *s, struct buf *out)
{
    int err = status_ready_json(s, out);

    (void)arg;
    return err != 0 ? err : status_ready(s) ? 200 : 503;
}

static int render_metrics(void *arg, const struct status *s, struct buf *out)
{
    int err = prometheus_render(s, out);

    (void)arg;
    return err != 0 ? err : 200;
}

/* --- answers --- */

static void add_field(struct MHD_Response *r, const char *name, const char *value)
{
    (void)MHD_add_response_header(r, name, value);
}

/* Passes the bytes to libmicrohttpd. */
static enum MHD_Result send_answer(struct MHD_Connection *c, int status, struct buf *body,
                                   const struct admin_path *path)
{
    size_t n = buf_unread(body);
    char *bytes = STEAL(body->data);
    struct MHD_Response *r = MHD_create_response_from_buffer(n, bytes, MHD_RESPMEM_MUST_FREE);

    buf_init(body, 0);
    if (r == NULL) {
        free(bytes);
        return MHD_NO;
    }
    add_field(r, "Content-Type", path->content_type);
    add_field(r, "Content-Security-Policy",
              path->policy != NULL ? path->policy
                                   : "default-src 'none'; frame-ancestors 'none'");
    add_field(r, "Cache-Control", "no-store");
    add_field(r, "X-Content-Type-Options", "nosniff");
    add_field(r, "Referrer-Policy", "no-referrer");
    /* No other web page may use it as a script, a picture or in a frame. */
    add_field(r, "Cross-Origin-Resource-Policy", "same-origin");
    add_field(r, "Connection", "close");
    if (status == 405)
        add_field(r, "Allow", "GET, HEAD");
    enum MHD_Result ok = MHD_queue_response(c, (unsigned)status, r);

    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result send_problem(struct MHD_Connection *c, const struct failure *f)
{
    static const struct admin_path problem = { .content_type = "application/problem+json" };
    struct buf body;

    buf_init(&body, 4096);
    if (problem_body(f, NULL, &body) != 0) {
        buf_done(&body);
        return MHD_NO;
    }
    return send_answer(c, failure_status(f), &body, &problem);
}

static enum MHD_Result send_path(struct admin *a, struct MHD_Connection *c,
                                 const struct admin_path *path)
{
    struct status s;
    struct buf body;

    a->options.take(a->options.arg, &s);
    buf_init(&body, ADMIN_BODY_BYTES_MAX);
    int status = path->render(path->arg, &s, &body);

    if (status < 0) {
        struct failure f = failure_make(FAIL_INTERNAL, "%s could not be made: %s.", path->path,
                                        strerrordesc_np(-status));
        buf_done(&body);
        return send_problem(c, &f);
    }
    log_debug("admin_request", log_str("path", path->path), log_int("status", status));
    return send_answer(c, status, &body, path);
}

/* --- who may ask, and what --- */

struct hosts {
    const char *value;
    size_t len, count;
};

static enum MHD_Result collect_host(void *arg, enum MHD_ValueKind kind, const char *name,
                                    size_t name_len, const char *value, size_t value_len)
{
    struct hosts *h = arg;

    (void)kind;
    if (!ascii_equal_str(name, name_len, "host"))
        return MHD_YES;
    h->value = value == NULL ? "" : value;
    h->len = value == NULL ? 0 : value_len;
    h->count++;
    return MHD_YES;
}

/* In a DNS rebinding attack a web page comes with its own name. So a name must be a known
 * one. An address is safe, and probes and Prometheus use the address of the pod. The port
 * does not matter, since it may have been forwarded. */
static bool host_allowed(const struct admin *a, const char *text, size_t len)
{
    struct host h;
    char name[256];
    struct in_addr v4;

    if (!host_split(text, len, &h) || h.name_len >= sizeof name)
        return false;
    if (h.name[0] == '[') /* host_split has checked that it is an address */
        return true;
    memcpy(name, h.name, h.name_len);
    name[h.name_len] = '\0';
    return inet_pton(AF_INET, name, &v4) == 1 ||
           ascii_equal_str(name, h.name_len, "localhost") ||
           (a->address.host[0] != '\0' && ascii_equal_str(name, h.name_len, a->address.host)) ||
           access_host_allowed(*a->options.config, text, len);
}

static struct failure judge(const struct admin *a, struct MHD_Connection *c, const char *method)
{
    struct hosts h = { .count = 0 };

    (void)MHD_get_connection_values_n(c, MHD_HEADER_KIND, collect_host, &h);
    if (h.count > 1)
        return failure_make(FAIL_BAD_REQUEST, "There is more than one Host.");
    if (h.count == 1) { /* HTTP/1.0 may lack it; browsers always send it */
        ascii_trim(&h.value, &h.len);
        if (!host_allowed(a, h.value, h.len))
            return failure_make(FAIL_HOST_DENIED,
                                "Ask by address, as localhost, or by a name that is in "
                                "admin.address or listen.allowed_hosts.");
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return failure_make(FAIL_METHOD_DENIED, "The admin listener is asked by GET and HEAD.");
    return (struct failure){ .kind = FAIL_NONE };
}

static struct failure not_found(const struct admin *a)
{
    struct failure f = failure_make(FAIL_NOT_FOUND, "There is:");

    for (size_t i = 0; i < a->paths; i++) {
        size_t n = strlen(f.detail);

        (void)snprintf(f.detail + n, sizeof f.detail - n, " %s", a->path[i].path);
    }
    return f;
}

/* The target as sent: libmicrohttpd decodes it afterwards, and cuts it at a NUL. on_request
 * gets the returned value as *req. */
static void *on_target(void *arg, const char *target, struct MHD_Connection *c)
{
    struct admin *a = arg;

    (void)c;
    if (target == NULL)
        return NULL;
    size_t n = strcspn(target, "?");

    for (size_t i = 0; i < a->paths; i++)
        if (strlen(a->path[i].path) == n && memcmp(a->path[i].path, target, n) == 0)
            return &a->path[i];
    return NULL;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_size, void **req)
{
    struct admin *a = arg;
    const struct admin_path *path = *req;
    struct failure f = judge(a, c, method);

    (void)url;
    (void)version;
    (void)data;
    (void)data_size;
    if (f.kind == FAIL_NONE && path != NULL)
        return send_path(a, c, path);
    if (f.kind == FAIL_NONE)
        f = not_found(a);
    return send_problem(c, &f);
}

/* --- connections --- */

static void end(struct admin_connection *c)
{
    c->ended = true;
    (void)shutdown(c->fd, SHUT_RDWR);
    c->admin->mhd_host.due = true;
}

/* The oldest connection that was not ended yet. */
static struct admin_connection *oldest(const struct admin *a)
{
    struct admin_connection *c;

    TAILQ_FOREACH (c, &a->connections, link)
        if (!c->ended)
            return c;
    return NULL;
}

static void on_deadline(struct loop_timer *t)
{
    struct admin *a = CONTAINER_OF(t, struct admin, deadline);
    struct admin_connection *c;

    while ((c = oldest(a)) != NULL && c->deadline_ms <= loop_now(a->loop))
        end(c);
    if (c != NULL)
        loop_timer_set(a->loop, t, c->deadline_ms);
}

static void begin(struct admin *a, struct MHD_Connection *connection, void **context)
{
    struct admin_connection *c = base_alloc(sizeof *c);
    const union MHD_ConnectionInfo *fd =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    c->admin = a;
    c->fd = fd->connect_fd;
    c->deadline_ms = loop_now(a->loop) + ADMIN_DEADLINE_MS;
    if (a->connection_count++ >= ADMIN_CONNECTIONS_MAX) {
        struct admin_connection *first = oldest(a);

        if (first != NULL)
            end(first);
    }
    TAILQ_INSERT_TAIL(&a->connections, c, link);
    if (a->deadline.slot == 0)
        loop_timer_set(a->loop, &a->deadline, c->deadline_ms);
    *context = c;
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct admin *a = arg;
    struct admin_connection *c = *context;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        begin(a, connection, context);
        return;
    }
    TAILQ_REMOVE(&a->connections, c, link);
    a->connection_count--;
    free(c);
}

static void on_accepted(void *arg, const struct listener *from, int fd,
                        const struct sockaddr *addr, socklen_t len)
{
    struct admin *a = arg;

    (void)from;
    if (mhd_host_take(&a->mhd_host, fd, addr, len) != 0)
        log_debug("connection_not_taken");
}

/* --- start and end --- */

void admin_add(struct admin *a, const struct admin_path *path)
{
    assert(a->paths < ADMIN_PATHS_MAX);
    memmove(&a->path[1], &a->path[0], a->paths * sizeof a->path[0]);
    a->path[0] = *path;
    a->paths++;
}

/* Collects the addresses that are really listened on. */
static void name_listeners(struct admin *a)
{
    struct buf text;

    buf_init(&text, 4096);
    listeners_names(&a->listeners, &text);
    a->names = strdup(buf_text(&text));
    buf_done(&text);
}

static int listen_on(struct admin *a, struct buf *error)
{
    if (a->options.passed->count > 0) {
        a->listeners = *a->options.passed;
        *a->options.passed = (struct listeners){ .count = 0 };
        return 0;
    }
    if (!config_address_split(a->options.address, &a->address))
        return -EINVAL;
    const struct listener_options o = { .address = a->options.address,
                                        .host = a->address.host,
                                        .unix_path = a->address.unix_path,
                                        .port = a->address.port,
                                        .socket_mode = a->options.socket_mode };
    struct buf text;

    buf_init(&text, 4096);
    int err = listeners_add(&a->listeners, &o, &text);

    if (err != 0)
        (void)buf_addf(error, "admin.address: %s", buf_text(&text));
    buf_done(&text);
    return err;
}

int admin_init(struct admin *a, struct loop *l, const struct admin_options *o,
               struct buf *error)
{
    static const struct admin_path paths[] = {
        { .path = "/metrics", .content_type = PROMETHEUS_TYPE, .render = render_metrics },
        { .path = "/readyz", .content_type = "application/json", .render = render_ready },
        { .path = "/healthz", .content_type = "application/json", .render = render_health },
    };
    const struct mhd_host_options httpd = {
        .pool_bytes = POOL_BYTES,
        .connection_limit = ADMIN_CONNECTIONS_MAX + 4 * ACCEPT_BATCH,
        .idle_timeout_ms = ADMIN_DEADLINE_MS,
        .on_request = on_request,
        .on_target = on_target,
        .on_connection = on_connection,
        .arg = a,
    };

    *a = (struct admin){ .options = *o, .loop = l, .deadline.on_due = on_deadline };
    TAILQ_INIT(&a->connections);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        admin_add(a, &paths[i]);
    if (o->passed->count == 0 && strcmp(o->address, "off") == 0)
        return 0;
    int err = listen_on(a, error);

    if (err == 0) {
        name_listeners(a);
        err = mhd_host_init(&a->mhd_host, l, &httpd);
    }
    if (err == 0)
        err = acceptor_init(&a->acceptor, l,
                            &(struct acceptor_options){ .listeners = a->listeners.item,
                                                        .count = a->listeners.count,
                                                        .batch = ACCEPT_BATCH,
                                                        .on_accepted = on_accepted,
                                                        .arg = a });
    return err;
}

void admin_done(struct admin *a)
{
    if (a->loop == NULL)
        return;
    acceptor_done(&a->acceptor);
    mhd_host_done(&a->mhd_host);
    loop_timer_clear(a->loop, &a->deadline);
    listeners_done(&a->listeners);
    free(a->names);
    a->names = NULL;
    a->loop = NULL;
}

bool admin_turn(struct admin *a)
{
    if (a->mhd_host.daemon == NULL)
        return false;
    (void)mhd_host_turn(&a->mhd_host);
    return a->mhd_host.due;
}

const char *admin_name(const struct admin *a)
{
    return a->names != NULL ? a->names : "off";
}

/* How curl's sockets and timer live on our loop.
 *
 * A descriptor stays registered after curl lost interest in it (its connection went back
 * to the pool), because the next request on that connection wants the same events: that
 * saves two epoll_ctl a request. An event nobody waits for takes it out. The registration
 * ends when curl closes the socket, which it does through our close function, since
 * descriptor numbers come back.
 */
#include "net/curl_host.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "net/curl_alloc.h"

struct curl_host_socket {
    struct loop_io watch;
    struct curl_host *multi;
    uint32_t wanted; /* what curl waits for; 0: nothing at present */
};

static void collect_done(struct curl_host *m)
{
    int left;

    for (CURLMsg *msg; (msg = curl_multi_info_read(m->curl, &left)) != NULL;) {
        if (msg->msg != CURLMSG_DONE)
            continue;
        CURL *easy = msg->easy_handle;
        CURLcode code = msg->data.result;
        struct curl_host_transfer *t = NULL;

        (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &t);
        if (!t->connects || code != CURLE_OK) {
            curl_host_remove(m, t);
        }
        t->on_done(t, code);
    }
}

static void act(struct curl_host *m, curl_socket_t fd, int what)
{
    int running;

    (void)curl_multi_socket_action(m->curl, fd, what, &running);
    collect_done(m);
}

static void on_socket_event(struct loop_io *w, uint32_t events)
{
    struct curl_host_socket *s = CONTAINER_OF(w, struct curl_host_socket, watch);
    struct curl_host *m = s->multi;
    int what = 0;

    if (s->wanted == 0) {
        loop_io_stop(m->loop, w);
        return;
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
        what |= CURL_CSELECT_IN;
    if ((events & EPOLLOUT) != 0)
        what |= CURL_CSELECT_OUT;
    if ((events & EPOLLERR) != 0)
        what |= CURL_CSELECT_ERR;
    act(m, w->fd, what);
}

static struct curl_host_socket *socket_of(struct curl_host *m, curl_socket_t fd)
{
    size_t i = (size_t)fd;

    if (i >= m->sockets_cap) {
        size_t cap = m->sockets_cap == 0 ? 64 : m->sockets_cap;

        while (cap <= i)
            cap *= 2;
        struct curl_host_socket **grown =
            realloc(m->sockets, cap * sizeof(struct curl_host_socket *));
        if (grown == NULL)
            abort();
        memset(grown + m->sockets_cap, 0,
               (cap - m->sockets_cap) * sizeof(struct curl_host_socket *));
        m->sockets = grown;
        m->sockets_cap = cap;
    }
    if (m->sockets[i] == NULL) {
        m->sockets[i] = base_alloc(sizeof **m->sockets);
        m->sockets[i]->multi = m;
        m->sockets[i]->watch = (struct loop_io){ .fd = fd, .on_event = on_socket_event };
    }
    return m->sockets[i];
}

static void forget_socket(struct curl_host *m, curl_socket_t fd)
{
    if ((size_t)fd >= m->sockets_cap || m->sockets[fd] == NULL)
        return;
    loop_io_stop(m->loop, &m->sockets[fd]->watch);
    free(m->sockets[fd]);
    m->sockets[fd] = NULL;
}

void curl_host_let_go(struct curl_host *m, curl_socket_t fd)
{
    forget_socket(m, fd);
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct curl_host *m = arg;
    struct curl_host_socket *s = socket_of(m, fd);
    uint32_t events = 0;

    (void)easy;
    (void)socket_arg;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        events |= EPOLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        events |= EPOLLOUT;
    s->wanted = events;
    /* Not wanted now, or paused: level-triggered events would spin, so keep listening only for
     * what a pooled connection shows at its end, which on_socket_event takes out. */
    if (what == CURL_POLL_REMOVE) {
        if ((s->watch.events & EPOLLOUT) != 0)
            (void)loop_io_start(m->loop, &s->watch, EPOLLIN);
        return 0;
    }
    if (events == 0) {
        loop_io_stop(m->loop, &s->watch);
        return 0;
    }
    /* Never -1: libcurl would give up all transfers of this worker, and take no new ones while
     * any is left. One that nothing wakes comes to its own deadline. */
    int rc = loop_io_start(m->loop, &s->watch, events);

    if (rc != 0)
        log_warn("socket_not_watched", log_int("fd", fd),
                 log_str("error", strerrordesc_np(-rc)));
    return 0;
}

static int on_curl_timer(CURLM *curl, long timeout_ms, void *arg)
{
    struct curl_host *m = arg;

    (void)curl;
    if (timeout_ms < 0)
        loop_timer_clear(m->loop, &m->timer);
    else
        loop_timer_set(m->loop, &m->timer, loop_now(m->loop) + timeout_ms);
    return 0;
}

static void on_timer(struct loop_timer *t)
{
    act(CONTAINER_OF(t, struct curl_host, timer), CURL_SOCKET_TIMEOUT, 0);
}

static int on_close_socket(void *arg, curl_socket_t fd)
{
    struct curl_host *m = arg;

    m->closed++;
    forget_socket(m, fd);
    return close(fd);
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *addr)
{
    struct curl_host *m = arg;

    (void)purpose;
    int fd =
        socket(addr->family, addr->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, addr->protocol);

    m->starved =
        fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM);
    if (fd >= 0)
        m->opened++;
    return fd;
}

bool curl_host_turn(struct curl_host *m)
{
    if (m->timer.slot == 0 || m->timer.due_ms > loop_now(m->loop))
        return false;
    loop_timer_clear(m->loop, &m->timer);
    act(m, CURL_SOCKET_TIMEOUT, 0);
    return true;
}

/* Of the library, asked once: its answer is put together anew each time. */
static bool has_authorities;

int curl_host_global_init(void)
{
    const curl_version_info_data *about = curl_version_info(CURLVERSION_NOW);

    has_authorities = about->cainfo != NULL;
    return curl_alloc_global_init();
}

int curl_host_init(struct curl_host *m, struct loop *l, long pool)
{
    *m = (struct curl_host){ .loop = l, .timer = { .on_due = on_timer } };
    m->curl = curl_multi_init();
    if (m->curl == NULL)
        return -ENOMEM;
    (void)curl_multi_setopt(m->curl, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    (void)curl_multi_setopt(m->curl, CURLMOPT_SOCKETDATA, m);
    (void)curl_multi_setopt(m->curl, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    (void)curl_multi_setopt(m->curl, CURLMOPT_TIMERDATA, m);
    (void)curl_multi_setopt(m->curl, CURLMOPT_MAXCONNECTS, pool);
    return 0;
}

void curl_host_done(struct curl_host *m)
{
    if (m->curl == NULL)
        return;
    assert(m->transfers == 0);
    (void)curl_multi_cleanup(m->curl);
    loop_timer_clear(m->loop, &m->timer);
    for (size_t i = 0; i < m->sockets_cap; i++)
        forget_socket(m, (curl_socket_t)i);
    free(m->sockets);
    *m = (struct curl_host){ .curl = NULL };
}

/* Where the port of an exception begins, with its colon; NULL: it has none. */
static const char *exception_port(const char *entry, size_t len)
{
    const char *colon = memrchr(entry, ':', len);

    if (colon == NULL || colon + 1 == entry + len ||
        strspn(colon + 1, "0123456789") < len - (size_t)(colon + 1 - entry))
        return NULL;
    /* several colons and no brackets: an address of IPv6 */
    return memchr(entry, ':', len) == colon || colon[-1] == ']' ? colon : NULL;
}

char *curl_host_no_proxy(const char *list, int port)
{
    char *out = base_alloc(strlen(list) + 1);
    size_t n = 0;
    bool ported = false;

    for (const char *at = list; *at != '\0';) {
        size_t skip = strspn(at, ", \t"), len = strcspn(at + skip, ", \t");
        const char *entry = at + skip, *colon = exception_port(entry, len);

        at = entry + len;
        ported |= colon != NULL;
        if (len == 0 || (colon != NULL && strtol(colon + 1, NULL, 10) != port))
            continue;
        len = colon != NULL ? (size_t)(colon - entry) : len;
        if (n > 0)
            out[n++] = ',';
        memcpy(out + n, entry, len);
        n += len;
    }
    out[n] = '\0';
    if (!ported) { /* as libcurl reads it itself */
        free(out);
        return NULL;
    }
    return out;
}

/* NULL: there is none. As libcurl looks for it. */
static const char *no_proxy_variable(void)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody writes the environment once threads run */
    const char *list = getenv("no_proxy");

    return list != NULL ? list : getenv("NO_PROXY"); /* NOLINT(concurrency-mt-unsafe) */
}

int curl_host_setup(struct curl_host *m, CURL *easy, const struct curl_host_settings *s)
{
    const char *exceptions = no_proxy_variable();
    int bad = 0;

#define SET(option, value) \
    (bad |= curl_easy_setopt(easy, CURLOPT_##option, (value)) != CURLE_OK)
#define SET_PEM(option, pem)                                                                 \
    do {                                                                                     \
        struct curl_blob blob = { .data = (void *)(pem)->data,                               \
                                  .len = (pem)->len,                                         \
                                  .flags = s->lasting ? CURL_BLOB_NOCOPY : CURL_BLOB_COPY }; \
        if (blob.data != NULL)                                                               \
            SET(option, &blob);                                                              \
    } while (0)
    SET(PROTOCOLS_STR, "http,https");
    SET(FOLLOWLOCATION, 0L);
    /* A libcurl that was built without it refuses the option, and reads no such file either. */
    (void)curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(PATH_AS_IS, 1L);
    SET(HTTP09_ALLOWED, 0L);
    SET(HTTP_CONTENT_DECODING, 0L);
    SET(NOSIGNAL, 1L);
    SET(NOPROGRESS, 1L);
    SET(HTTP_VERSION, s->http_version);
    SET(PIPEWAIT, 1L);
    SET(SSL_VERIFYPEER, 1L);
    SET(SSL_VERIFYHOST, 2L);
    SET(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CONNECTTIMEOUT_MS, (long)s->connect_timeout_ms);
    SET(MAXAGE_CONN, (long)base_max(1, s->keepalive_ms / 1000));
    SET(TCP_NODELAY, 1L);
    /* A TLS record's worth: curl allocates both for each request, and while it is paused.
     * curl_client.c has more for what it sends. */
    SET(BUFFERSIZE, 16384L);
    SET(UPLOAD_BUFFERSIZE, 16384L);
    SET(OPENSOCKETFUNCTION, on_open_socket);
    SET(OPENSOCKETDATA, m);
    SET(CLOSESOCKETFUNCTION, on_close_socket);
    SET(CLOSESOCKETDATA, m);
    /* From memory: curl keeps the trust store it made of a file for a day. */
    SET_PEM(CAINFO_BLOB, &s->ca);
    /* Debian's default is a directory beside its file. What is in it would be trusted besides
     * `ca`, and curl keeps no store that a directory has part in: without `ca` it would read
     * all the system's authorities again for each connection. */
    if (s->ca.data != NULL || has_authorities)
        SET(CAPATH, NULL);
    SET_PEM(SSLCERT_BLOB, &s->certificate);
    SET_PEM(SSLKEY_BLOB, &s->key);
    /* Else ending a transfer waits for a name server that does not answer. */
    SET(QUICK_EXIT, 1L);
    /* "env" is curl's own behaviour; always a tunnel, so that the target stays ours. */
    SET(HTTPPROXYTUNNEL, 1L);
    SET(SUPPRESS_CONNECT_HEADERS, 1L);
    auto_free char *no_proxy =
        exceptions == NULL ? NULL : curl_host_no_proxy(exceptions, s->port);
    if (no_proxy != NULL)
        SET(NOPROXY, no_proxy);
    if (strcmp(s->proxy, "none") == 0)
        SET(PROXY, "");
    else if (strcmp(s->proxy, "env") != 0)
        SET(PROXY, s->proxy);
#undef SET_PEM
#undef SET
    return bad != 0 ? -EINVAL : 0;
}

int curl_host_add(struct curl_host *m, struct curl_host_transfer *t)
{
    (void)curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
    if (curl_multi_add_handle(m->curl, t->easy) != CURLM_OK)
        return -ENOMEM; /* the other reason would be a handle in use */
    t->running = true;
    m->transfers++;
    return 0;
}

void curl_host_remove(struct curl_host *m, struct curl_host_transfer *t)
{
    if (!t->running)
        return;
    (void)curl_multi_remove_handle(m->curl, t->easy);
    t->running = false;
    m->transfers--;
}

void curl_host_trusted(const char **file, const char **directory)
{
    const curl_version_info_data *about = curl_version_info(CURLVERSION_NOW);

    *file = about->cainfo;
    *directory = about->capath;
}

const char *curl_host_library_version(void)
{
    return curl_version_info(CURLVERSION_NOW)->version;
}

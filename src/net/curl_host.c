/* Runs libcurl's sockets and timer on our loop.
 *
 * A descriptor stays registered after curl has lost interest in it (its connection went back
 * to the pool), because the next request on that connection waits for the same events: that
 * saves two epoll_ctl calls a request. An event that nobody waits for ends the registration.
 * So does the close of the socket, which curl does through our function, since the same
 * number will be used again.
 *
 * How long an address is tried. A name may have several addresses, and some may be silent:
 * packets to them are dropped, so that there is neither an answer nor a refusal. libcurl
 * tries the next address only after half of the connect timeout, or all of it when that is
 * below 600 ms; and libcurl before 8.4 then forgets to go on at all (curl issue 11920). So
 * this file gives up a silent address by shutting down its socket: libcurl takes that for a
 * refusal and tries the next one at once. libcurl itself is given a very long connect
 * timeout, so that its own limit never comes first, however busy the machine is: after that
 * limit nobody could tell which addresses were silent. When the time is really over, its
 * timeout is set to a millisecond.
 *
 *     round 0: each address gets an eighth of the remaining time
 *     later:   the number of addresses is known; each gets an equal part of the remaining time
 *
 * Each round resolves the name again, so that a host that has moved meanwhile is found.
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
#include "net/library_alloc.h"
#include "net/trust_store.h"

/* The part of the remaining time that an address gets in round 0, and the least it gets. */
#define FIRST_SHARE 8
#define FIRST_SHARE_MIN_MS 50
/* Most rounds through the addresses of a name. */
#define ROUNDS_MAX 4
/* When libcurl has no result for a name after this long, the name server was silent: one
 * that answers reports quickly that a name does not exist. */
#define NAME_SILENT_MS 900
/* The connect timeout that libcurl is given: before the time is over, and after. */
#define TIME_LEFT_MS (24 * 3600 * 1000L)
#define TIME_OVER_MS 1L
/* The second value is set again after this long: set within the millisecond in which the
 * transfer began, libcurl would check it too early. */
#define SET_AGAIN_MS 5
/* The longest time that libcurl may keep the system's authorities. */
#define TRUST_AGE_MAX_S 86400

struct curl_host_socket {
    struct loop_io io;
    struct curl_host *multi;
    uint32_t wanted; /* the events that curl waits for; 0: none at present */
    struct loop_timer give_up;
    /* the transfer that tries this address; NULL: none any more */
    struct curl_host_transfer *connecting;
    struct curl_host_socket *next; /* next socket of the same transfer */
};

/* Nobody waits for this address any more. libcurl before 8 closes the socket of a failed
 * address without telling us, and its number may be reused before the transfer is over. */
static void unbind(struct curl_host_socket *s)
{
    if (s->connecting == NULL)
        return;
    struct curl_host_socket **at = &s->connecting->tried;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    loop_timer_clear(s->multi->loop, &s->give_up);
    s->connecting = NULL;
}

static void bind_to(struct curl_host_socket *s, struct curl_host_transfer *t)
{
    unbind(s);
    s->connecting = t;
    s->next = t->tried;
    t->tried = s;
}

/* The transfer no longer connects. */
static void stop_connecting(struct curl_host_transfer *t)
{
    loop_timer_clear(t->host->loop, &t->time_over);
    while (t->tried != NULL)
        unbind(t->tried);
}

static bool has_no_connection(CURLcode code)
{
    return code == CURLE_COULDNT_CONNECT || code == CURLE_OPERATION_TIMEDOUT;
}

static void on_next_address(struct loop_timer *t);

static void on_connect_time_over(struct loop_timer *timer)
{
    struct curl_host_transfer *t = CONTAINER_OF(timer, struct curl_host_transfer, time_over);

    (void)curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, TIME_OVER_MS);
    if (!t->timeout_set)
        loop_timer_set(t->host->loop, timer, loop_now(t->host->loop) + SET_AGAIN_MS);
    t->timeout_set = true;
    on_next_address(&t->host->next_address);
}

static int start(struct curl_host *m, struct curl_host_transfer *t)
{
    t->opened = t->silent = 0;
    t->reached = t->timeout_set = false;
    if (t->connect_timeout_ms > 0)
        (void)curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, TIME_LEFT_MS);
    /* 0: ignore names in the cache, they are too old. Otherwise libcurl's default, a minute. */
    (void)curl_easy_setopt(t->easy, CURLOPT_DNS_CACHE_TIMEOUT, m->names_old ? 0L : 60L);
    m->names_old = false;
    if (curl_multi_add_handle(m->curl, t->easy) != CURLM_OK)
        return -ENOMEM; /* the other possible reason, a handle in use, is ruled out */
    t->running = true;
    m->transfers++;
    if (t->connect_timeout_ms > 0)
        loop_timer_set(m->loop, &t->time_over, t->connect_until_ms);
    return 0;
}

/* All addresses have failed, some by silence: starts another round if time is left. Returns
 * whether it did. */
static bool start_over(struct curl_host *m, struct curl_host_transfer *t)
{
    int64_t left_ms = t->connect_until_ms - loop_now(m->loop);

    if (t->silent == 0 || left_ms < FIRST_SHARE_MIN_MS || t->round + 1 == ROUNDS_MAX)
        return false;
    t->round++;
    t->addresses = t->opened;
    m->names_old = true;
    return start(m, t) == 0;
}

/* The result to report for a transfer that has left the multi handle with an error, as a
 * libcurl code. */
static CURLcode code_to_report(struct curl_host *m, struct curl_host_transfer *t, CURLcode code)
{
    bool no_name = code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY;

    bool late = loop_now(m->loop) - t->started_ms >= NAME_SILENT_MS;

    if (t->opened == 0 && t->round == 0 &&
        (code == CURLE_OPERATION_TIMEDOUT || (no_name && late))) {
        t->name_silent = true;
        return no_name ? code : CURLE_COULDNT_RESOLVE_HOST;
    }
    if (has_no_connection(code))
        m->names_old = true;
    if (code == CURLE_COULDNT_CONNECT && t->silent > 0 && t->silent == t->opened)
        return CURLE_OPERATION_TIMEDOUT;
    return code;
}

static bool has_no_descriptor(void)
{
    auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd < 0 && base_ran_out(errno);
}

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
        if (!t->connects || code != CURLE_OK)
            curl_host_remove(m, t);
        stop_connecting(t);
        /* without a free descriptor libcurl reports a name that does not exist */
        if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY)
            m->starved = has_no_descriptor();
        if (code == CURLE_COULDNT_CONNECT && start_over(m, t))
            continue;
        t->on_done(t, code == CURLE_OK ? code : code_to_report(m, t, code));
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
    struct curl_host_socket *s = CONTAINER_OF(w, struct curl_host_socket, io);
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

/* Whether the connection attempt has been neither accepted nor refused. Asks the kernel, so
 * it is right however late this process runs. */
static bool is_unanswered(int fd)
{
    struct tcp_info about = { 0 };
    socklen_t len = sizeof about;

    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &about, &len) == 0 &&
           about.tcpi_state == TCP_SYN_SENT;
}

/* The address has had its time: if it is still silent, shut its socket down, and libcurl
 * tries the next. */
static void on_give_up(struct loop_timer *t)
{
    struct curl_host_socket *s = CONTAINER_OF(t, struct curl_host_socket, give_up);

    if (!is_unanswered(s->io.fd))
        return;
    s->connecting->silent++;
    (void)shutdown(s->io.fd, SHUT_RDWR);
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
        m->sockets[i]->io = (struct loop_io){ .fd = fd, .on_event = on_socket_event };
        m->sockets[i]->give_up.on_due = on_give_up;
    }
    return m->sockets[i];
}

static void forget_socket(struct curl_host *m, curl_socket_t fd)
{
    if ((size_t)fd >= m->sockets_cap || m->sockets[fd] == NULL)
        return;
    loop_io_stop(m->loop, &m->sockets[fd]->io);
    unbind(m->sockets[fd]);
    free(m->sockets[fd]);
    m->sockets[fd] = NULL;
}

void curl_host_release(struct curl_host *m, curl_socket_t fd)
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
    /* Not wanted now, or paused: events are level-triggered and would be reported again and
     * again, so keep only EPOLLIN, for the end of a pooled connection; on_socket_event then
     * ends the registration. */
    if (what == CURL_POLL_REMOVE) {
        if ((s->io.events & EPOLLOUT) != 0)
            (void)loop_io_start(m->loop, &s->io, EPOLLIN);
        return 0;
    }
    if (events == 0) {
        loop_io_stop(m->loop, &s->io);
        return 0;
    }
    /* Never return -1: libcurl would abort all transfers of this worker, and take no new
     * ones while any is left. A transfer without events ends at its own deadline. */
    int rc = loop_io_start(m->loop, &s->io, events);

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

/* An address has failed, but libcurl tries the next one only when the transfer's next timer
 * is due. Make all transfers check their state now. */
static void on_next_address(struct loop_timer *t)
{
    struct curl_host *m = CONTAINER_OF(t, struct curl_host, next_address);
    int running;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    (void)curl_multi_socket_all(m->curl, &running);
#pragma GCC diagnostic pop
    collect_done(m);
}

static bool is_connected(int fd)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;

    return getpeername(fd, (struct sockaddr *)&peer, &len) == 0;
}

static int on_close_socket(void *arg, curl_socket_t fd)
{
    struct curl_host *m = arg;

    m->closed++;
    if ((size_t)fd < m->sockets_cap && m->sockets[fd] != NULL &&
        m->sockets[fd]->connecting != NULL) {
        m->sockets[fd]->connecting->reached |= is_connected(fd);
        loop_timer_set(m->loop, &m->next_address, loop_now(m->loop));
    }
    forget_socket(m, fd);
    return close(fd);
}

/* How long the address that is tried now gets; 0: as long as libcurl allows. */
static int64_t share_ms(const struct curl_host_transfer *t)
{
    int64_t left_ms = t->connect_until_ms - loop_now(t->host->loop);

    if (t->connect_timeout_ms == 0 || left_ms <= 0)
        return 0;
    if (t->round == 0)
        return base_max(left_ms / FIRST_SHARE, FIRST_SHARE_MIN_MS);
    return t->opened < t->addresses ? left_ms / (t->addresses - t->opened + 1) : 0;
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *addr)
{
    struct curl_host_transfer *t = arg;
    struct curl_host *m = t->host;

    (void)purpose;
    int fd =
        socket(addr->family, addr->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, addr->protocol);

    m->starved = fd < 0 && base_ran_out(errno);
    if (fd < 0)
        return fd;
    m->opened++;
    t->opened++;
    int64_t share = share_ms(t);
    struct curl_host_socket *s = socket_of(m, fd);

    bind_to(s, t);
    if (share > 0 && addr->socktype == SOCK_STREAM)
        loop_timer_set(m->loop, &s->give_up, loop_now(m->loop) + share);
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

/* The library's default file, asked for once: the library builds the answer anew each time. */
static const char *trusted_file;

int curl_host_global_init(void)
{
    const char *directory;

    trust_store_find(&trusted_file, &directory);
    return library_alloc_curl_init();
}

int curl_host_init(struct curl_host *m, struct loop *l, long pool)
{
    *m = (struct curl_host){ .loop = l,
                             .timer = { .on_due = on_timer },
                             .next_address = { .on_due = on_next_address } };
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
    loop_timer_clear(m->loop, &m->next_address);
    for (size_t i = 0; i < m->sockets_cap; i++)
        forget_socket(m, (curl_socket_t)i);
    free(m->sockets);
    *m = (struct curl_host){ .curl = NULL };
}

/* Where the port of an entry in NO_PROXY begins, with its colon; NULL: it has none. */
static const char *exception_port(const char *entry, size_t len)
{
    const char *colon = memrchr(entry, ':', len);

    if (colon == NULL || colon + 1 == entry + len ||
        strspn(colon + 1, "0123456789") < len - (size_t)(colon + 1 - entry))
        return NULL;
    /* several colons without brackets: an IPv6 address */
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
    if (!ported) { /* libcurl reads such a list itself */
        free(out);
        return NULL;
    }
    return out;
}

/* The variable, looked up in libcurl's order. NULL: not set. */
static const char *no_proxy_variable(void)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody writes the environment once threads run */
    const char *list = getenv("no_proxy");

    return list != NULL ? list : getenv("NO_PROXY"); /* NOLINT(concurrency-mt-unsafe) */
}

/* How old libcurl's trust store of the system's authorities may be: as old as the last
 * change to them. libcurl counts the age from when it made the store, so an older store is
 * made anew once by each multi handle, with its next connection. */
static long trust_age_s(const struct curl_host_settings *s)
{
    int64_t since_ms = trust_store_clock_ms() - s->trust_changed_ms;

    if (s->trust_changed_ms == 0)
        return TRUST_AGE_MAX_S;
    return (long)base_max(0, base_min(since_ms / 1000, TRUST_AGE_MAX_S));
}

/* Sets the authorities. Returns whether libcurl refuses them. */
static bool set_trust(CURL *easy, const struct curl_host_settings *s)
{
    struct curl_blob blob = { .data = (void *)s->ca.data,
                              .len = s->ca.len,
                              .flags = s->lasting ? CURL_BLOB_NOCOPY : CURL_BLOB_COPY };
    const char *file = s->trust_file != NULL ? s->trust_file : trusted_file;
    bool bad = false;

    /* From memory: libcurl would keep a trust store made of a file for a day. */
    if (blob.data != NULL)
        bad |= curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob) != CURLE_OK;
    else if (file != NULL)
        bad |= curl_easy_setopt(easy, CURLOPT_CAINFO, file) != CURLE_OK;
    /* Debian's default is a directory in addition to a file. Its content would be trusted in
     * addition to `ca`; and libcurl caches no store made with a directory: without `ca` it
     * would read all the system's authorities again for each connection. */
    if (blob.data != NULL || file != NULL)
        bad |= curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) != CURLE_OK;
    /* A libcurl before 7.87 does not know the option, and caches no store. */
    (void)curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, trust_age_s(s));
    /* A resumed session is not verified again, so it could outlive an authority that was
     * removed. */
    bad |= curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L) != CURLE_OK;
    return bad;
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
    /* A libcurl built without netrc support refuses the option, and reads no such file
     * either. */
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
    /* The size of a TLS record: curl allocates both buffers for each transfer. */
    SET(BUFFERSIZE, 16384L);
    SET(UPLOAD_BUFFERSIZE, 16384L);
    SET(OPENSOCKETFUNCTION, on_open_socket);
    SET(CLOSESOCKETFUNCTION, on_close_socket);
    SET(CLOSESOCKETDATA, m);
    bad |= set_trust(easy, s);
    SET_PEM(SSLCERT_BLOB, &s->certificate);
    SET_PEM(SSLKEY_BLOB, &s->key);
    /* Otherwise the end of a transfer would wait for a name server that does not answer. */
    SET(QUICK_EXIT, 1L);
    /* "env" is libcurl's default behaviour. Always use CONNECT, so that a request looks the
     * same as without a proxy. */
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
    t->host = m;
    t->name_silent = false;
    t->round = t->addresses = 0;
    t->started_ms = loop_now(m->loop);
    t->connect_until_ms = t->started_ms + t->connect_timeout_ms;
    (void)curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
    (void)curl_easy_setopt(t->easy, CURLOPT_OPENSOCKETDATA, t);
    t->time_over.on_due = on_connect_time_over;
    return start(m, t);
}

void curl_host_remove(struct curl_host *m, struct curl_host_transfer *t)
{
    if (!t->running)
        return;
    (void)curl_multi_remove_handle(m->curl, t->easy);
    stop_connecting(t);
    t->running = false;
    m->transfers--;
}

const char *curl_host_library_version(void)
{
    return curl_version_info(CURLVERSION_NOW)->version;
}

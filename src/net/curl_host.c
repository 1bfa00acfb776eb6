/* How curl's sockets and timer live on our loop.
 *
 * A descriptor stays registered after curl lost interest in it (its connection went back
 * to the pool), because the next request on that connection wants the same events: that
 * saves two epoll_ctl a request. An event nobody waits for takes it out. The registration
 * ends when curl closes the socket, which it does through our close function, since
 * descriptor numbers come back.
 *
 * How long an address gets. A name may have several, of which some swallow what is sent to them
 * (no answer, no refusal). libcurl tries the next one only after half of the time, or all of it
 * when that is less than 600 ms; and libcurl before 8.4 then forgets to go on at all (curl issue
 * 11920). So an address that is silent is given up here, by a shutdown of its socket, which
 * libcurl takes for a refusal and goes on at once. libcurl is told of so much time that its own
 * part for an address is never over first, on a machine however busy: it would not say which
 * addresses were silent. When the time is really over, it is told of a millisecond.
 *
 *     round 0: each address gets an eighth of what is left of the time
 *     later:   the addresses, counted now, get equal parts of it; the last one has the rest
 *
 * Each round asks for the name anew, so that one that has moved meanwhile is found.
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
#include "net/trust_store.h"

/* Shares of the time to connect, and the least that an address gets in round 0. */
#define FIRST_SHARE 8
#define FIRST_SHARE_MIN_MS 50
/* Rounds through the addresses of a name. */
#define ROUNDS_MAX 4
/* A name for which libcurl has no answer after so long was asked of a silent name server: one
 * that answers says at once that there is no such name. */
#define NAME_SILENT_MS 900
/* What libcurl is told of the time to connect: until it is over, and then. */
#define TIME_LEFT_MS (24 * 3600 * 1000L)
#define TIME_OVER_MS 1L
/* When it is told so in the millisecond in which it began, libcurl looks too early. */
#define TOLD_AGAIN_MS 5
/* Of the system's authorities, when nobody has told of a change. */
#define TRUST_AGE_MAX_S 86400

struct curl_host_socket {
    struct loop_io watch;
    struct curl_host *multi;
    uint32_t wanted; /* what curl waits for; 0: nothing at present */
    struct loop_timer give_up;
    struct curl_host_transfer *connecting; /* whose; NULL: nobody's any more */
    struct curl_host_socket *next;         /* of the same transfer */
};

/* Nobody waits for its answer any more. libcurl before 8 closes the socket of an address that has
 * failed without a word, and its number may be somebody else's before the transfer is over. */
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

/* The transfer connects no more. */
static void stop_connecting(struct curl_host_transfer *t)
{
    loop_timer_clear(t->host->loop, &t->time_over);
    while (t->tried != NULL)
        unbind(t->tried);
}

static bool went_nowhere(CURLcode code)
{
    return code == CURLE_COULDNT_CONNECT || code == CURLE_OPERATION_TIMEDOUT;
}

static void on_go_on(struct loop_timer *t);

static void on_connect_time_over(struct loop_timer *timer)
{
    struct curl_host_transfer *t = CONTAINER_OF(timer, struct curl_host_transfer, time_over);

    (void)curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, TIME_OVER_MS);
    if (!t->told_over)
        loop_timer_set(t->host->loop, timer, loop_now(t->host->loop) + TOLD_AGAIN_MS);
    t->told_over = true;
    on_go_on(&t->host->go_on);
}

static int start(struct curl_host *m, struct curl_host_transfer *t)
{
    t->opened = t->silent = 0;
    t->reached = t->told_over = false;
    if (t->connect_timeout_ms > 0)
        (void)curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, TIME_LEFT_MS);
    /* Zero: what is remembered is too old. Minutes are libcurl's default. */
    (void)curl_easy_setopt(t->easy, CURLOPT_DNS_CACHE_TIMEOUT, m->names_old ? 0L : 60L);
    m->names_old = false;
    if (curl_multi_add_handle(m->curl, t->easy) != CURLM_OK)
        return -ENOMEM; /* the other reason would be a handle in use */
    t->running = true;
    m->transfers++;
    if (t->connect_timeout_ms > 0)
        loop_timer_set(m->loop, &t->time_over, t->connect_until_ms);
    return 0;
}

/* All addresses have failed, some of them because they were silent: whether they are gone through
 * once more. */
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

/* Of a transfer that has left the multi handle with a failure: what that tells, in libcurl's
 * words. */
static CURLcode told(struct curl_host *m, struct curl_host_transfer *t, CURLcode code)
{
    bool no_name = code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY;

    bool late = loop_now(m->loop) - t->started_ms >= NAME_SILENT_MS;

    if (t->opened == 0 && t->round == 0 &&
        (code == CURLE_OPERATION_TIMEDOUT || (no_name && late))) {
        t->name_silent = true;
        return no_name ? code : CURLE_COULDNT_RESOLVE_HOST;
    }
    if (went_nowhere(code))
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
        /* want of a descriptor has the code of a name that does not exist */
        if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY)
            m->starved = has_no_descriptor();
        if (code == CURLE_COULDNT_CONNECT && start_over(m, t))
            continue;
        t->on_done(t, code == CURLE_OK ? code : told(m, t, code));
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

/* Whether the address was asked for a connection and has neither accepted nor refused it: as the
 * kernel knows it, however late this process looks. */
static bool is_unanswered(int fd)
{
    struct tcp_info about = { 0 };
    socklen_t len = sizeof about;

    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &about, &len) == 0 &&
           about.tcpi_state == TCP_SYN_SENT;
}

/* A socket that is still connecting is shut down: libcurl tries the next address. */
static void on_give_up(struct loop_timer *t)
{
    struct curl_host_socket *s = CONTAINER_OF(t, struct curl_host_socket, give_up);

    if (!is_unanswered(s->watch.fd))
        return;
    s->connecting->silent++;
    (void)shutdown(s->watch.fd, SHUT_RDWR);
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
        m->sockets[i]->give_up.on_due = on_give_up;
    }
    return m->sockets[i];
}

static void forget_socket(struct curl_host *m, curl_socket_t fd)
{
    if ((size_t)fd >= m->sockets_cap || m->sockets[fd] == NULL)
        return;
    loop_io_stop(m->loop, &m->sockets[fd]->watch);
    unbind(m->sockets[fd]);
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

/* An address has failed: libcurl looks for the next one only when the transfer's next timer is
 * due. All transfers are made to look at their state now. */
static void on_go_on(struct loop_timer *t)
{
    struct curl_host *m = CONTAINER_OF(t, struct curl_host, go_on);
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
        loop_timer_set(m->loop, &m->go_on, loop_now(m->loop));
    }
    forget_socket(m, fd);
    return close(fd);
}

/* How long the address gets that is tried now; 0: as long as libcurl gives it. */
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

/* Of the library, asked once: its answer is put together anew each time. */
static const char *trusted_file;

int curl_host_global_init(void)
{
    const char *directory;

    trust_store_find(&trusted_file, &directory);
    return curl_alloc_global_init();
}

int curl_host_init(struct curl_host *m, struct loop *l, long pool)
{
    *m = (struct curl_host){ .loop = l,
                             .timer = { .on_due = on_timer },
                             .go_on = { .on_due = on_go_on } };
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
    loop_timer_clear(m->loop, &m->go_on);
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

/* How old the store may be that libcurl made of the system's authorities and keeps: as old as
 * their last change. libcurl counts from the making, so that one made before is made anew, once
 * by each multi handle, with its next connection. */
static long trust_age_s(const struct curl_host_settings *s)
{
    int64_t since_ms = trust_store_clock_ms() - s->trust_changed_ms;

    if (s->trust_changed_ms == 0)
        return TRUST_AGE_MAX_S;
    return (long)base_max(0, base_min(since_ms / 1000, TRUST_AGE_MAX_S));
}

/* Whom to trust. Returns whether libcurl refuses it. */
static bool set_trust(CURL *easy, const struct curl_host_settings *s)
{
    struct curl_blob blob = { .data = (void *)s->ca.data,
                              .len = s->ca.len,
                              .flags = s->lasting ? CURL_BLOB_NOCOPY : CURL_BLOB_COPY };
    const char *file = s->trust_file != NULL ? s->trust_file : trusted_file;
    bool bad = false;

    /* From memory: curl keeps the trust store it made of a file for a day. */
    if (blob.data != NULL)
        bad |= curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob) != CURLE_OK;
    else if (file != NULL)
        bad |= curl_easy_setopt(easy, CURLOPT_CAINFO, file) != CURLE_OK;
    /* Debian's default is a directory beside its file. What is in it would be trusted besides
     * `ca`, and curl keeps no store that a directory has part in: without `ca` it would read
     * all the system's authorities again for each connection. */
    if (blob.data != NULL || file != NULL)
        bad |= curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) != CURLE_OK;
    /* A libcurl before 7.87 does not know the option, and keeps no store. */
    (void)curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, trust_age_s(s));
    /* A session that is resumed is not verified again: it must not outlive an authority. */
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
    /* A TLS record's worth: curl allocates both for each transfer. */
    SET(BUFFERSIZE, 16384L);
    SET(UPLOAD_BUFFERSIZE, 16384L);
    SET(OPENSOCKETFUNCTION, on_open_socket);
    SET(CLOSESOCKETFUNCTION, on_close_socket);
    SET(CLOSESOCKETDATA, m);
    bad |= set_trust(easy, s);
    SET_PEM(SSLCERT_BLOB, &s->certificate);
    SET_PEM(SSLKEY_BLOB, &s->key);
    /* Else ending a transfer waits for a name server that does not answer. */
    SET(QUICK_EXIT, 1L);
    /* "env" is what curl does by itself. Always by CONNECT, so that a request
     * is the same as without a proxy. */
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

/* Connections by libcurl (CURLOPT_CONNECT_ONLY).
 *
 *     conn_pool_take --> idle one, looked at  ---------------------------.
 *               `-> libcurl: name, proxy, TCP, TLS --> on_open ------+--> in use --> conn_pool_give
 *                                                                              `--> upstream_conn_close
 *
 * The handle stays in the multi for as long as the connection lives: taken out, libcurl closes
 * it. libcurl looks the connection up for each read and write, in a cache of its own: it is
 * given one for each wire, where there is but one to be found. curl_easy_recv binds the
 * connection to its handle; before that it would count as idle. Hence the first read, at once.
 *
 * The watch is edge-triggered and set once: reading and writing go on until IO_AGAIN, or to
 * the end of an answer. What comes on an idle connection, or lies there unread, ends it. */
#include "upstream/conn_pool.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>

#include "config/config.h"
#include "config/outbound.h"

void upstream_conn_wake(struct upstream_conn *w)
{
    if (w->is_woken)
        return;
    w->is_woken = true;
    TAILQ_INSERT_TAIL(&w->conn_pool->woken, w, woken_link);
}

static void cancel_wake(struct upstream_conn *w)
{
    if (w->is_woken)
        TAILQ_REMOVE(&w->conn_pool->woken, w, woken_link);
    w->is_woken = false;
}

bool conn_pool_turn(struct conn_pool *ws)
{
    struct upstream_conn *w, *last = TAILQ_LAST(&ws->woken, upstream_conn_list);

    for (bool more = last != NULL; more;) {
        w = TAILQ_FIRST(&ws->woken);
        more = w != last && w != NULL;
        if (w == NULL)
            break;
        cancel_wake(w);
        ws->user->on_ready(w);
    }
    return last != NULL;
}

static void on_event(struct loop_io *watch, uint32_t events)
{
    struct upstream_conn *w = CONTAINER_OF(watch, struct upstream_conn, watch);

    if (w->owner == NULL) {
        if ((events & ~(uint32_t)EPOLLOUT) != 0)
            upstream_conn_close(w);
        return;
    }
    if ((events & ~(uint32_t)EPOLLOUT) != 0)
        w->readable = true;
    /* Told once, which may be together with the last bytes of an answer. */
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        w->ending = true;
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0)
        w->writable = true;
    upstream_conn_wake(w);
}

/* Called by OpenSSL: whether the socket was read until it had nothing more. */
static long on_bio(BIO *bio, int oper, const char *bytes, size_t len, int argi, long argl,
                   int ret, size_t *processed)
{
    struct upstream_conn *w = (struct upstream_conn *)(void *)BIO_get_callback_arg(bio);

    (void)bytes;
    (void)argi;
    (void)argl;
    if (oper == (BIO_CB_READ | BIO_CB_RETURN))
        w->drained = ret <= 0 || *processed < len;
    return ret;
}

/* From now on the connection is the handle's. */
static void bind_to_handle(struct upstream_conn *w)
{
    const struct curl_tlssessioninfo *tls = NULL;
    long connect_code = 0;
    char byte = 0;
    size_t n = 0;

    (void)curl_easy_getinfo(w->transfer.easy, CURLINFO_HTTP_CONNECTCODE, &connect_code);
    w->proxied = connect_code != 0;

    w->broken = curl_easy_recv(w->transfer.easy, &byte, 1, &n);
    w->first = w->broken == CURLE_OK && n == 1 ? (unsigned char)byte : -1;
    w->readable = w->broken != CURLE_AGAIN;
    if (w->broken == CURLE_OK && n == 0)
        w->broken = CURLE_GOT_NOTHING;
    else if (w->broken == CURLE_AGAIN)
        w->broken = CURLE_OK;
    if (curl_easy_getinfo(w->transfer.easy, CURLINFO_TLS_SSL_PTR, &tls) != CURLE_OK ||
        tls == NULL || tls->backend != CURLSSLBACKEND_OPENSSL || tls->internals == NULL)
        return;
    w->tls = tls->internals;
    /* A record costs one read. What is ahead is asked for again without an event. */
    SSL_set_read_ahead(w->tls, 1);
    BIO_set_callback_arg(SSL_get_rbio(w->tls), (char *)w);
    BIO_set_callback_ex(SSL_get_rbio(w->tls), on_bio);
    SSL_set_mode(w->tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

static void on_made(struct curl_host_transfer *t, CURLcode code)
{
    struct upstream_conn *w = CONTAINER_OF(t, struct upstream_conn, transfer);
    curl_socket_t fd = CURL_SOCKET_BAD;

    if (code == CURLE_OK)
        code = curl_easy_getinfo(t->easy, CURLINFO_ACTIVESOCKET, &fd);
    if (code == CURLE_OK && fd == CURL_SOCKET_BAD)
        code = CURLE_COULDNT_CONNECT;
    if (code == CURLE_OK) {
        curl_host_let_go(w->conn_pool->multi, fd);
        w->watch = (struct loop_io){ .fd = fd, .on_event = on_event };
        if (loop_io_start(w->conn_pool->multi->loop, &w->watch,
                          EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) != 0)
            code = CURLE_OUT_OF_MEMORY;
    }
    if (code == CURLE_OK) {
        w->open = w->writable = true;
        bind_to_handle(w);
    }
    w->conn_pool->user->on_open(w, code);
}

static CURL *handle_for(struct conn_pool *ws, const struct config *c, CURLSH *cache)
{
    struct curl_host_settings settings = config_outbound(c, LEG_UPSTREAM);
    CURL *easy = curl_easy_init();

    settings.lasting = true;
    settings.http_version = CURL_HTTP_VERSION_1_1;
    if (easy != NULL && curl_host_setup(ws->multi, easy, &settings) == 0 &&
        curl_easy_setopt(easy, CURLOPT_URL, c->upstream.base_url) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_SHARE, cache) == CURLE_OK &&
        /* What one read of a plain connection takes at most. */
        curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)CONN_POOL_SCRATCH_BYTES) == CURLE_OK)
        return easy;
    curl_easy_cleanup(easy);
    return NULL;
}

static struct upstream_conn *make(struct conn_pool *ws, struct config *c)
{
    struct upstream_conn *w = base_alloc(sizeof *w);
    CURLSH *cache = curl_share_init();
    CURL *easy = NULL;

    if (cache != NULL &&
        curl_share_setopt(cache, CURLSHOPT_SHARE, CURL_LOCK_DATA_CONNECT) == CURLSHE_OK)
        easy = handle_for(ws, c, cache);
    *w = (struct upstream_conn){ .conn_pool = ws,
                                 .first = -1,
                                 .cache = cache,
                                 .transfer = {
                                     .easy = easy, .connects = true, .on_done = on_made } };
    if (easy == NULL) {
        (void)curl_share_cleanup(cache);
        free(w);
        return NULL;
    }
    (void)curl_easy_setopt(w->transfer.easy, CURLOPT_ERRORBUFFER, w->error_text);
    ws->count++;
    w->config = config_ref(c);
    if (curl_host_add(ws->multi, &w->transfer) != 0) {
        upstream_conn_close(w);
        return NULL;
    }
    return w;
}

/* For so long the loop is trusted to have told of what came; it is asked in each turn. */
#define TRUSTED_MS 10

/* Nothing has come since the last answer, on the socket or in what TLS has read ahead. */
static bool is_quiet(const struct upstream_conn *w, int64_t now_ms)
{
    char byte;

    if (w->tls != NULL && SSL_has_pending(w->tls) == 1)
        return false;
    if (w->drained && !w->proxied && loop_all_told(w->conn_pool->multi->loop) &&
        now_ms - w->idle_since_ms <= TRUSTED_MS)
        return true;
    return recv(w->watch.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EINTR);
}

struct upstream_conn *conn_pool_take(struct conn_pool *ws, struct config *c, bool fresh)
{
    int64_t now_ms = loop_now(ws->multi->loop);
    struct upstream_conn *w, *next;

    for (w = fresh ? NULL : TAILQ_FIRST(&ws->idle); w != NULL; w = next) {
        next = TAILQ_NEXT(w, idle_link);
        if (w->config != c || now_ms - w->idle_since_ms > c->upstream.keepalive_ms ||
            !is_quiet(w, now_ms)) {
            upstream_conn_close(w);
            continue;
        }
        TAILQ_REMOVE(&ws->idle, w, idle_link);
        w->owner = ws; /* until the user says who */
        w->readable = false;
        return w;
    }
    w = make(ws, c);
    if (w != NULL)
        w->owner = ws;
    return w;
}

static void arm_aging(struct conn_pool *ws)
{
    struct upstream_conn *oldest = TAILQ_LAST(&ws->idle, upstream_conn_list);

    if (oldest != NULL && ws->aging.slot == 0)
        loop_timer_set(ws->multi->loop, &ws->aging,
                       oldest->idle_since_ms + oldest->config->upstream.keepalive_ms + 1);
}

static void on_aging(struct loop_timer *t)
{
    struct conn_pool *ws = CONTAINER_OF(t, struct conn_pool, aging);
    int64_t now_ms = loop_now(ws->multi->loop);

    for (struct upstream_conn *w; (w = TAILQ_LAST(&ws->idle, upstream_conn_list)) != NULL;) {
        if (now_ms - w->idle_since_ms <= w->config->upstream.keepalive_ms)
            break;
        upstream_conn_close(w);
    }
    arm_aging(ws);
}

void conn_pool_give(struct upstream_conn *w)
{
    struct conn_pool *ws = w->conn_pool;

    if (w->ending) {
        upstream_conn_close(w);
        return;
    }
    cancel_wake(w);
    w->used = true;
    w->owner = NULL;
    w->idle_since_ms = loop_now(ws->multi->loop);
    TAILQ_INSERT_HEAD(&ws->idle, w, idle_link);
    if (ws->count > ws->max)
        upstream_conn_close(TAILQ_LAST(&ws->idle, upstream_conn_list));
    arm_aging(ws);
}

void upstream_conn_close(struct upstream_conn *w)
{
    struct conn_pool *ws = w->conn_pool;

    cancel_wake(w);
    if (w->owner == NULL && w->open)
        TAILQ_REMOVE(&ws->idle, w, idle_link);
    loop_io_stop(ws->multi->loop, &w->watch);
    curl_host_remove(ws->multi, &w->transfer);
    curl_easy_cleanup(w->transfer.easy);
    (void)curl_share_cleanup(w->cache);
    config_unref(w->config);
    ws->count--;
    free(w);
}

bool upstream_conn_is_open(const struct upstream_conn *w)
{
    return w->open;
}

bool upstream_conn_has_spoken(const struct upstream_conn *w)
{
    return w->first >= 0;
}

static ssize_t read_first(struct upstream_conn *w, char *out)
{
    if (w->first >= 0) {
        *out = (char)w->first;
        w->first = -1;
        return 1;
    }
    return w->broken == CURLE_GOT_NOTHING ? IO_END : IO_FAILED;
}

ssize_t upstream_conn_read(struct upstream_conn *w, void *out, size_t size)
{
    size_t n = 0;

    if (w->first >= 0 || w->broken != CURLE_OK)
        return read_first(w, out);
    CURLcode code = curl_easy_recv(w->transfer.easy, out, size, &n);

    if (code == CURLE_AGAIN) {
        w->readable = false;
        return IO_AGAIN;
    }
    if (code != CURLE_OK)
        return IO_FAILED;
    if (w->tls == NULL)
        w->drained = n < size;
    if (n > 0)
        return (ssize_t)n;
    return w->tls == NULL || (SSL_get_shutdown(w->tls) & SSL_RECEIVED_SHUTDOWN) != 0 ? IO_END
                                                                                     : IO_CUT;
}

ssize_t upstream_conn_write(struct upstream_conn *w, const void *bytes, size_t n)
{
    size_t written = 0;

    if (w->broken != CURLE_OK)
        return IO_FAILED;
    CURLcode code = curl_easy_send(w->transfer.easy, bytes, n, &written);

    if (code == CURLE_AGAIN || (code == CURLE_OK && written == 0)) {
        w->writable = false;
        return IO_AGAIN;
    }
    if (code != CURLE_OK)
        return IO_FAILED;
    w->plain_bytes += written;
    return (ssize_t)written;
}

uint64_t upstream_conn_sent_bytes(const struct upstream_conn *w)
{
    return w->tls == NULL ? w->plain_bytes : BIO_number_written(SSL_get_wbio(w->tls));
}

void conn_pool_init(struct conn_pool *ws, struct curl_host *m, size_t max,
                    const struct conn_pool_user *user)
{
    ws->multi = m;
    ws->user = user;
    ws->max = max;
    ws->aging.on_due = on_aging;
    ws->scratch = malloc(CONN_POOL_SCRATCH_BYTES); /* not cleared: unused, it takes no memory */
    if (ws->scratch == NULL)
        abort();
    TAILQ_INIT(&ws->idle);
    TAILQ_INIT(&ws->woken);
}

void conn_pool_forget(struct conn_pool *ws)
{
    for (struct upstream_conn *w; (w = TAILQ_FIRST(&ws->idle)) != NULL;)
        upstream_conn_close(w);
}

void conn_pool_done(struct conn_pool *ws)
{
    if (ws->multi == NULL)
        return;
    conn_pool_forget(ws);
    loop_timer_clear(ws->multi->loop, &ws->aging);
    free(ws->scratch);
    ws->multi = NULL;
}

/* Connections that libcurl makes (CURLOPT_CONNECT_ONLY) and that we read and write ourselves.
 *
 *     conn_pool_take --> an idle one, checked  --------------------------.
 *               `-> libcurl: name, proxy, TCP, TLS --> on_open ----------+--> in use
 *                                                                             |  |
 *                                    conn_pool_give (idle again) <------------'  |
 *                                    upstream_conn_close <-----------------------'
 *
 * The easy handle stays in the multi handle as long as the connection exists; if it is
 * removed, libcurl closes the connection. For each read and write, libcurl searches its
 * connection cache: so each handle has a cache of its own (a share object), with only one
 * connection in it. Before the first curl_easy_recv the connection would count as idle; the
 * call binds it to the handle. So the first read is done at once.
 *
 * The socket is registered once, edge-triggered: reading and writing go on until IO_AGAIN,
 * or to the end of an answer. A connection on which something arrives while it is idle, or
 * on which something was left unread, is closed. */
#include "upstream/conn_pool.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "config/config.h"
#include "config/outbound.h"

/* The TLS versions of an https:// outbound proxy. That there is a highest one marks its TLS
 * context: for the API libcurl sets none. (Whether a connection goes by the proxy is not known
 * before; NO_PROXY may exempt the host.) */
#define PROXY_TLS_VERSIONS ((long)CURL_SSLVERSION_TLSv1_2 | (long)CURL_SSLVERSION_MAX_TLSv1_3)
#define PROXY_TLS_MAX TLS1_3_VERSION

static void leave_idle(struct upstream_conn *conn)
{
    TAILQ_REMOVE(&conn->pool->idle, conn, idle_link);
    (void)atomic_fetch_sub(&conn->pool->limit.idle, 1);
}

static void leave_shared(struct upstream_conn *conn)
{
    TAILQ_REMOVE(&conn->pool->shared, conn, idle_link);
    (void)atomic_fetch_sub(&conn->pool->limit.idle, 1);
}

void upstream_conn_wake(struct upstream_conn *conn)
{
    if (conn->is_woken)
        return;
    conn->is_woken = true;
    TAILQ_INSERT_TAIL(&conn->pool->woken, conn, woken_link);
}

static void cancel_wake(struct upstream_conn *conn)
{
    if (conn->is_woken)
        TAILQ_REMOVE(&conn->pool->woken, conn, woken_link);
    conn->is_woken = false;
}

bool conn_pool_turn(struct conn_pool *pool)
{
    struct upstream_conn *conn, *last = TAILQ_LAST(&pool->woken, upstream_conn_list);

    for (bool more = last != NULL; more;) {
        conn = TAILQ_FIRST(&pool->woken);
        more = conn != last && conn != NULL;
        if (conn == NULL)
            break;
        cancel_wake(conn);
        conn->user->on_ready(conn);
    }
    return last != NULL;
}

static void on_event(struct loop_io *io, uint32_t events)
{
    struct upstream_conn *conn = CONTAINER_OF(io, struct upstream_conn, io);

    if (conn->owner == NULL) {
        if ((events & ~(uint32_t)EPOLLOUT) != 0)
            upstream_conn_close(conn);
        return;
    }
    if ((events & ~(uint32_t)EPOLLOUT) != 0) {
        conn->readable = true;
        conn->drained = false;
    }
    /* Reported only once, and perhaps together with the last bytes of an answer. */
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        conn->ending = true;
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0)
        conn->writable = true;
    upstream_conn_wake(conn);
}

/* Called by OpenSSL for each read: notes whether the socket was read until it was empty. */
static long on_bio(BIO *bio, int oper, const char *bytes, size_t len, int argi, long argl,
                   int ret, size_t *processed)
{
    struct upstream_conn *conn = (struct upstream_conn *)(void *)BIO_get_callback_arg(bio);

    (void)bytes;
    (void)argi;
    (void)argl;
    if (oper == (BIO_CB_READ | BIO_CB_RETURN))
        conn->drained = ret <= 0 || *processed < len;
    return ret;
}

/* Binds the connection to its handle. */
static void bind_to_handle(struct upstream_conn *conn)
{
    const struct curl_tlssessioninfo *tls = NULL;
    long connect_code = 0;
    char byte = 0;
    size_t n = 0;

    (void)curl_easy_getinfo(conn->transfer.easy, CURLINFO_HTTP_CONNECTCODE, &connect_code);
    conn->proxied = connect_code != 0;

    conn->broken = curl_easy_recv(conn->transfer.easy, &byte, 1, &n);
    conn->first = conn->broken == CURLE_OK && n == 1 ? (unsigned char)byte : -1;
    conn->readable = conn->broken != CURLE_AGAIN;
    if (conn->broken == CURLE_OK && n == 0)
        conn->broken = CURLE_GOT_NOTHING;
    else if (conn->broken == CURLE_AGAIN)
        conn->broken = CURLE_OK;
    if (curl_easy_getinfo(conn->transfer.easy, CURLINFO_TLS_SSL_PTR, &tls) != CURLE_OK ||
        tls == NULL || tls->backend != CURLSSLBACKEND_OPENSSL || tls->internals == NULL)
        return;
    conn->tls = tls->internals;
    /* Read a TLS record with one call. What was read ahead is asked for without an event. */
    SSL_set_read_ahead(conn->tls, 1);
    BIO_set_callback_arg(SSL_get_rbio(conn->tls), (char *)conn);
    BIO_set_callback_ex(SSL_get_rbio(conn->tls), on_bio);
    SSL_set_mode(conn->tls,
                 SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

static void on_made(struct curl_host_transfer *t, CURLcode code)
{
    struct upstream_conn *conn = CONTAINER_OF(t, struct upstream_conn, transfer);
    curl_socket_t fd = CURL_SOCKET_BAD;

    if (code != CURLE_OK) {
        const struct curl_host_settings settings = config_outbound(conn->config, LEG_UPSTREAM);

        conn->facts = leg_facts_take(t, code, settings.proxy, settings.port, conn->error_text);
    }
    if (code == CURLE_OK)
        code = curl_easy_getinfo(t->easy, CURLINFO_ACTIVESOCKET, &fd);
    if (code == CURLE_OK && fd == CURL_SOCKET_BAD)
        code = CURLE_COULDNT_CONNECT;
    if (code == CURLE_OK) {
        curl_host_release(conn->pool->curl, fd);
        conn->io = (struct loop_io){ .fd = fd, .on_event = on_event };
        if (loop_io_start(conn->pool->curl->loop, &conn->io,
                          EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) != 0)
            code = CURLE_OUT_OF_MEMORY;
    }
    if (code == CURLE_OK) {
        conn->open = conn->writable = true;
        bind_to_handle(conn);
    }
    conn->user->on_open(conn, code);
}

/* The authorities in PEM text, as libcurl would trust them: an intermediate one that is in the
 * text is an anchor, too. NULL: there is none, or the text is faulty. */
static X509_STORE *store_of(const char *pem, size_t len)
{
    BIO *in = BIO_new_mem_buf(pem, (int)len);
    STACK_OF(X509_INFO) *all = in == NULL ? NULL : PEM_X509_INFO_read_bio(in, NULL, NULL, NULL);
    X509_STORE *store = X509_STORE_new();
    int added = 0;

    for (int i = 0; i < sk_X509_INFO_num(all) && store != NULL; i++) {
        const X509_INFO *info = sk_X509_INFO_value(all, i);

        if (info->x509 != NULL && X509_STORE_add_cert(store, info->x509) != 1) {
            added = 0; /* libcurl shall try, and tell */
            break;
        }
        added += info->x509 != NULL;
    }
    sk_X509_INFO_pop_free(all, X509_INFO_free);
    BIO_free(in);
    ERR_clear_error();
    if (added > 0 &&
        X509_STORE_set_flags(store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN) == 1)
        return store;
    X509_STORE_free(store);
    return NULL;
}

static void trust_free(struct conn_trust *t)
{
    X509_STORE_free(t->store);
    free(t->pem);
    *t = (struct conn_trust){ .pem = NULL };
}

/* The store for upstream.ca_file, kept for the next connections: libcurl parses what it gets
 * from memory for each of them, which takes tens of milliseconds for a bundle of a hundred
 * and more authorities. NULL: the file is not set, or libcurl shall say what is wrong with it. */
static X509_STORE *trusted(struct conn_pool *pool, const struct config_pem *ca,
                           const char *scheme)
{
    struct conn_trust *t = &pool->trust;

    if (ca->data == NULL || strcmp(scheme, "https") != 0)
        return NULL;
    if (t->pem == NULL || t->len != ca->len || memcmp(t->pem, ca->data, ca->len) != 0) {
        trust_free(t);
        *t = (struct conn_trust){ .pem = base_alloc(ca->len + 1), .len = ca->len };
        memcpy(t->pem, ca->data, ca->len);
        t->store = store_of(t->pem, t->len);
    }
    return t->store;
}

/* Sets the authorities, and offers HTTP/2 by ALPN. libcurl's own ALPN is off then, or libcurl
 * would speak HTTP/2 itself. The handshake with an https:// outbound proxy, which comes first,
 * is left as it is: it offers nothing, since CONNECT uses HTTP/1.1. */
static CURLcode on_tls_context(CURL *easy, void *context, void *arg)
{
    static const unsigned char offer[] = "\x02h2\x08http/1.1";
    struct upstream_conn *conn = arg;

    (void)easy;
    if (SSL_CTX_get_max_proto_version(context) == PROXY_TLS_MAX)
        return CURLE_OK;
    if (conn->store != NULL)
        SSL_CTX_set1_cert_store(context, conn->store);
    return !conn->offers_h2 || SSL_CTX_set_alpn_protos(context, offer, sizeof offer - 1) == 0
               ? CURLE_OK
               : CURLE_SSL_CONNECT_ERROR;
}

/* How long the text is up to the end of its first certificate. */
static size_t first_certificate(const struct curl_host_pem *pem)
{
    static const char end[] = "-----END CERTIFICATE-----";
    const char *at = memmem(pem->data, pem->len, end, sizeof end - 1);

    return at == NULL ? pem->len : (size_t)(at - pem->data) + sizeof end - 1;
}

static CURL *handle_for(struct conn_pool *pool, const struct config *c, CURLSH *cache,
                        bool has_store)
{
    struct curl_host_settings settings = config_outbound(c, LEG_UPSTREAM);
    CURL *easy = curl_easy_init();

    /* With one of the authorities that are in the store, libcurl does not parse all of them, and
     * neither falls back to the system's nor caches the store as its own. */
    if (has_store)
        settings.ca.len = first_certificate(&settings.ca);
    settings.http_version = CURL_HTTP_VERSION_1_1;
    settings.lasting = true; /* the connection holds a reference to the settings */
    if (easy != NULL && curl_host_setup(pool->curl, easy, &settings) == 0 &&
        curl_easy_setopt(easy, CURLOPT_URL, c->upstream.base_url) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_SHARE, cache) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_PROXY_SSLVERSION, PROXY_TLS_VERSIONS) == CURLE_OK &&
        /* The most that one read of a plain connection returns. */
        curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)CONN_POOL_SCRATCH_BYTES) == CURLE_OK)
        return easy;
    curl_easy_cleanup(easy);
    return NULL;
}

/* Has on_tls_context called for this connection. */
static bool set_tls_hook(CURL *easy, struct upstream_conn *conn, bool offer_h2)
{
    return (!offer_h2 || curl_easy_setopt(easy, CURLOPT_SSL_ENABLE_ALPN, 0L) == CURLE_OK) &&
           curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, conn) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls_context) == CURLE_OK;
}

/* Varies the time, so that connections made together do not all have to be replaced
 * together. */
static int64_t give_or_take_a_tenth(int64_t ms)
{
    uint32_t random = 0;

    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return ms;
    return ms - ms / 10 + (int64_t)(random % (uint64_t)(ms / 5 + 1));
}

static void on_patience_over(struct loop_timer *t)
{
    struct upstream_conn *conn = CONTAINER_OF(t, struct upstream_conn, patience);

    int64_t until_ms = conn->user->on_waited == NULL ? 0 : conn->user->on_waited(conn);

    if (until_ms > 0) {
        loop_timer_set(conn->pool->curl->loop, t, until_ms);
        return;
    }
    conn_limit_cancel(&conn->waiter);
    conn->limit_reached = true;
    conn->user->on_open(conn, CURLE_OPERATION_TIMEDOUT);
}

bool upstream_conn_is_waiting(const struct upstream_conn *conn)
{
    return conn->patience.slot != 0;
}

static struct upstream_conn *make(struct conn_pool *pool, struct config *config,
                                  const struct conn_pool_user *user, bool offer_h2)
{
    struct upstream_conn *conn = base_alloc(sizeof *conn);
    CURLSH *cache = curl_share_init();
    CURL *easy = NULL;
    X509_STORE *store = trusted(pool, &config->upstream.ca, config->upstream.scheme);

    if (cache != NULL &&
        curl_share_setopt(cache, CURLSHOPT_SHARE, CURL_LOCK_DATA_CONNECT) == CURLSHE_OK)
        easy = handle_for(pool, config, cache, store != NULL);
    if (easy != NULL && (offer_h2 || store != NULL) && !set_tls_hook(easy, conn, offer_h2)) {
        curl_easy_cleanup(easy);
        easy = NULL;
    }
    *conn = (struct upstream_conn){ .pool = pool,
                                    .user = user,
                                    .first = -1,
                                    .cache = cache,
                                    .offers_h2 = offer_h2,
                                    .store = store,
                                    .transfer = { .easy = easy,
                                                  .connects = true,
                                                  .connect_timeout_ms =
                                                      config->upstream.connect_timeout_ms,
                                                  .on_done = on_made } };
    if (easy == NULL) {
        (void)curl_share_cleanup(cache);
        free(conn);
        return NULL;
    }
    if (store != NULL)
        (void)X509_STORE_up_ref(store); /* until the connection is closed */
    (void)curl_easy_setopt(conn->transfer.easy, CURLOPT_ERRORBUFFER, conn->error_text);
    conn->patience.on_due = on_patience_over;
    pool->count++;
    conn->config = config_ref(config);
    conn->keep_ms = config->upstream.keepalive_ms;
    conn->old_ms = loop_now(pool->curl->loop) +
                   give_or_take_a_tenth(config->upstream.max_connection_age_ms);
    conn->wants_new = offer_h2;
    conn->permitted = conn_limit_take(&pool->limit, &conn->waiter);
    if (!conn->permitted)
        loop_timer_set(pool->curl->loop, &conn->patience,
                       loop_now(pool->curl->loop) + config->upstream.connect_timeout_ms);
    else if (curl_host_add(pool->curl, &conn->transfer) != 0) {
        upstream_conn_close(conn);
        return NULL;
    }
    return conn;
}

/* It is this connection's turn to be made. */
static void make_now(struct upstream_conn *conn)
{
    loop_timer_clear(conn->pool->curl->loop, &conn->patience);
    conn->permitted = true;
    if (curl_host_add(conn->pool->curl, &conn->transfer) != 0)
        conn->user->on_open(conn, CURLE_OUT_OF_MEMORY);
}

static void on_granted(struct conn_limit_user *u, struct conn_waiter *w)
{
    (void)u;
    make_now(CONTAINER_OF(w, struct upstream_conn, waiter));
}

/* Somebody waits for a connection, in this thread or in another. */
static void on_wanted(struct conn_limit_user *u)
{
    struct conn_pool *pool = CONTAINER_OF(u, struct conn_pool, limit);

    if (!conn_limit_is_wanted(u))
        return;
    if (!TAILQ_EMPTY(&pool->idle))
        upstream_conn_close(TAILQ_LAST(&pool->idle, upstream_conn_list));
    else if (!TAILQ_EMPTY(&pool->shared))
        upstream_conn_wake(TAILQ_FIRST(&pool->shared));
}

/* Gives the connection to the first that waits, if that belongs to this thread and can use
 * it; or closes it, so that another can be made. False: nobody waits. */
static bool give_to_waiting(struct upstream_conn *conn)
{
    struct conn_pool *pool = conn->pool;

    if (!conn_limit_is_wanted(&pool->limit))
        return false;
    struct conn_waiter *first = conn_limit_pop(&pool->limit);

    if (first == NULL) { /* of another thread: it gets the permit that is given back */
        upstream_conn_close(conn);
        return true;
    }
    struct upstream_conn *waiting = CONTAINER_OF(first, struct upstream_conn, waiter);

    if (waiting->wants_new || !upstream_conn_is_quiet(conn) ||
        waiting->user->on_instead == NULL || waiting->config != conn->config) {
        conn->permitted = false; /* the permit goes from this one to the other */
        upstream_conn_close(conn);
        make_now(waiting);
        return true;
    }
    conn->used = true;
    conn->user = waiting->user;
    conn->owner = waiting->owner;
    conn->readable = false;
    waiting->user->on_instead(waiting, conn);
    upstream_conn_close(waiting);
    return true;
}

/* For this long, an idle connection without an event counts as quiet. The loop polls in each
 * turn. */
#define TRUSTED_MS 10
/* An idle connection is not used in the last second before the peer closes it; or, if that
 * time is short, in its second half. */
#define KEEP_MARGIN_MS 1000

/* Nothing has been received since the last answer, neither on the socket nor in what TLS has
 * read ahead. */
bool upstream_conn_is_quiet(const struct upstream_conn *conn)
{
    int64_t now_ms = loop_now(conn->pool->curl->loop);
    char byte;

    if (conn->tls != NULL && SSL_has_pending(conn->tls) == 1)
        return false;
    if (conn->drained && !conn->proxied && loop_all_delivered(conn->pool->curl->loop) &&
        now_ms - conn->idle_since_ms <= TRUSTED_MS)
        return true;
    return recv(conn->io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EINTR);
}

bool upstream_conn_is_old(const struct upstream_conn *conn)
{
    return loop_now(conn->pool->curl->loop) >= conn->old_ms;
}

void upstream_conn_limit_idle(struct upstream_conn *conn, int64_t timeout_s)
{
    int64_t theirs_ms = base_min(timeout_s, INT32_MAX) * 1000;

    conn->keep_ms =
        base_min(conn->keep_ms, theirs_ms - base_min(KEEP_MARGIN_MS, theirs_ms / 2));
}

/* The last moment at which an idle connection is handed out. */
static int64_t usable_until_ms(const struct upstream_conn *conn)
{
    return base_min(conn->idle_since_ms + conn->keep_ms, conn->old_ms - 1);
}

/* It is not handed out any more. When it was too old, its replacement should go to the
 * address that the name has now. */
static void close_unusable(struct upstream_conn *conn)
{
    if (upstream_conn_is_old(conn))
        curl_host_forget_names(conn->pool->curl);
    upstream_conn_close(conn);
}

struct upstream_conn *conn_pool_take(struct conn_pool *pool, struct config *config, bool fresh)
{
    int64_t now_ms = loop_now(pool->curl->loop);
    struct upstream_conn *conn, *next;

    for (conn = fresh ? NULL : TAILQ_FIRST(&pool->idle); conn != NULL; conn = next) {
        next = TAILQ_NEXT(conn, idle_link);
        if (conn->config != config || now_ms > usable_until_ms(conn) ||
            !upstream_conn_is_quiet(conn)) {
            close_unusable(conn);
            continue;
        }
        leave_idle(conn);
        conn->owner = pool; /* until the user sets it */
        conn->readable = false;
        return conn;
    }
    conn = make(pool, config, pool->user, false);
    if (conn != NULL) {
        conn->owner = pool;
        conn->wants_new = fresh;
    }
    return conn;
}

struct upstream_conn *conn_pool_make_h2(struct conn_pool *pool, struct config *config,
                                        const struct conn_pool_user *user)
{
    struct upstream_conn *conn = make(pool, config, user, true);

    if (conn != NULL)
        conn->owner = pool;
    return conn;
}

void upstream_conn_share(struct upstream_conn *conn)
{
    conn->shared = true;
    TAILQ_INSERT_TAIL(&conn->pool->shared, conn, idle_link);
    (void)atomic_fetch_add(&conn->pool->limit.idle, 1);
}

bool upstream_conn_chose_h2(const struct upstream_conn *conn)
{
    const unsigned char *chosen = NULL;
    unsigned len = 0;

    if (conn->tls == NULL)
        return true; /* used without asking: only then is it made without TLS */
    SSL_get0_alpn_selected(conn->tls, &chosen, &len);
    return len == 2 && memcmp(chosen, "h2", 2) == 0;
}

static void arm_aging(struct conn_pool *pool, int64_t usable_until)
{
    if (pool->aging.slot == 0 || pool->aging.due_ms > usable_until + 1)
        loop_timer_set(pool->curl->loop, &pool->aging, usable_until + 1);
}

static void on_aging(struct loop_timer *t)
{
    struct conn_pool *pool = CONTAINER_OF(t, struct conn_pool, aging);
    int64_t now_ms = loop_now(pool->curl->loop);
    struct upstream_conn *conn, *next;

    for (conn = TAILQ_FIRST(&pool->idle); conn != NULL; conn = next) {
        next = TAILQ_NEXT(conn, idle_link);
        if (now_ms > usable_until_ms(conn))
            close_unusable(conn);
        else
            arm_aging(pool, usable_until_ms(conn));
    }
}

void conn_pool_give(struct upstream_conn *conn)
{
    struct conn_pool *pool = conn->pool;

    conn->idle_since_ms = loop_now(pool->curl->loop);
    if (conn->ending || conn->idle_since_ms > usable_until_ms(conn) || conn->keep_ms <= 0) {
        close_unusable(conn);
        return;
    }
    cancel_wake(conn);
    if (give_to_waiting(conn))
        return;
    conn->used = true;
    conn->owner = NULL;
    (void)atomic_fetch_add(&pool->limit.idle, 1);
    TAILQ_INSERT_HEAD(&pool->idle, conn, idle_link);
    arm_aging(pool, usable_until_ms(conn));
    on_wanted(&pool->limit); /* whoever waits may not know yet that this one is idle */
    if (pool->count > pool->max && !TAILQ_EMPTY(&pool->idle))
        upstream_conn_close(TAILQ_LAST(&pool->idle, upstream_conn_list));
}

void upstream_conn_close(struct upstream_conn *conn)
{
    struct conn_pool *pool = conn->pool;

    cancel_wake(conn);
    if (conn->owner == NULL && conn->open)
        leave_idle(conn);
    if (conn->shared)
        leave_shared(conn);
    conn_limit_cancel(&conn->waiter);
    loop_timer_clear(pool->curl->loop, &conn->patience);
    loop_io_stop(pool->curl->loop, &conn->io);
    curl_host_remove(pool->curl, &conn->transfer);
    curl_easy_cleanup(conn->transfer.easy);
    (void)curl_share_cleanup(conn->cache);
    config_unref(conn->config);
    pool->count--;
    if (conn->permitted) /* only now, when its descriptor is closed */
        conn_limit_give(&pool->limit);
    X509_STORE_free(conn->store);
    free(conn);
}

void upstream_conn_abort(struct upstream_conn *conn)
{
    const struct linger now = { .l_onoff = 1 };

    if (conn->open)
        (void)setsockopt(conn->io.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    upstream_conn_close(conn);
}

void upstream_conn_limit_unacknowledged(struct upstream_conn *conn, int64_t timeout_ms)
{
    const unsigned ms = (unsigned)base_min(timeout_ms, UINT_MAX);

    if (conn->unacknowledged_ms == timeout_ms)
        return;
    conn->unacknowledged_ms = timeout_ms;
    (void)setsockopt(conn->io.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
}

bool upstream_conn_is_open(const struct upstream_conn *conn)
{
    return conn->open;
}

bool upstream_conn_has_spoken(const struct upstream_conn *conn)
{
    return conn->first >= 0;
}

static ssize_t read_first(struct upstream_conn *conn, char *out)
{
    if (conn->first >= 0) {
        *out = (char)conn->first;
        conn->first = -1;
        return 1;
    }
    return conn->broken == CURLE_GOT_NOTHING ? IO_END : IO_FAILED;
}

ssize_t upstream_conn_read(struct upstream_conn *conn, void *out, size_t size)
{
    size_t n = 0;

    if (conn->first >= 0 || conn->broken != CURLE_OK)
        return read_first(conn, out);
    CURLcode code = curl_easy_recv(conn->transfer.easy, out, size, &n);

    if (code == CURLE_AGAIN) {
        conn->readable = false;
        return IO_AGAIN;
    }
    if (code != CURLE_OK)
        return IO_FAILED;
    if (conn->tls == NULL)
        conn->drained = n < size;
    if (n > 0)
        return (ssize_t)n;
    return conn->tls == NULL || (SSL_get_shutdown(conn->tls) & SSL_RECEIVED_SHUTDOWN) != 0
               ? IO_END
               : IO_CUT;
}

ssize_t upstream_conn_write(struct upstream_conn *conn, const void *bytes, size_t n)
{
    size_t written = 0;

    if (conn->broken != CURLE_OK)
        return IO_FAILED;
    CURLcode code = curl_easy_send(conn->transfer.easy, bytes, n, &written);

    if (code == CURLE_AGAIN || (code == CURLE_OK && written == 0)) {
        conn->writable = false;
        return IO_AGAIN;
    }
    if (code != CURLE_OK)
        return IO_FAILED;
    conn->plain_bytes += written;
    return (ssize_t)written;
}

bool upstream_conn_read_all(struct upstream_conn *conn)
{
    bool all = conn->drained && !conn->ending && !conn->proxied &&
               (conn->tls == NULL || SSL_has_pending(conn->tls) == 0);

    conn->readable = conn->readable && !all;
    return all;
}

uint64_t upstream_conn_sent_bytes(const struct upstream_conn *conn)
{
    return conn->tls == NULL ? conn->plain_bytes : BIO_number_written(SSL_get_wbio(conn->tls));
}

void conn_pool_init(struct conn_pool *pool, struct curl_host *curl, size_t max,
                    const struct conn_pool_user *user)
{
    pool->curl = curl;
    pool->user = user;
    pool->max = max;
    pool->aging.on_due = on_aging;
    pool->limit.on_granted = on_granted;
    pool->limit.on_wanted = on_wanted;
    pool->scratch =
        malloc(CONN_POOL_SCRATCH_BYTES); /* not cleared: memory is taken only when it is used */
    if (pool->scratch == NULL)
        abort();
    TAILQ_INIT(&pool->idle);
    TAILQ_INIT(&pool->shared);
    TAILQ_INIT(&pool->woken);
}

void conn_pool_forget(struct conn_pool *pool)
{
    for (struct upstream_conn *conn; (conn = TAILQ_FIRST(&pool->idle)) != NULL;)
        upstream_conn_close(conn);
}

void conn_pool_done(struct conn_pool *pool)
{
    if (pool->curl == NULL)
        return;
    conn_pool_forget(pool);
    loop_timer_clear(pool->curl->loop, &pool->aging);
    conn_limit_leave(&pool->limit);
    free(pool->scratch);
    trust_free(&pool->trust);
    pool->curl = NULL;
}

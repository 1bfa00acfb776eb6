#pragma once
/* Connections to the upstream, made by libcurl (names, proxies, TLS) and used by h1_client
 * and h2_client. Idle ones wait in a pool. Thread: worker, for all of it. */
#include <sys/queue.h>
#include <sys/types.h>

#include "base/base.h"
#include "event/loop.h"
#include "net/curl_host.h"
#include "net/leg_error.h"
#include "upstream/conn_limit.h"

struct config;
struct upstream_conn;

TAILQ_HEAD(upstream_conn_list, upstream_conn);

/* How a connection calls its owner; one table for all of them. Called only in the loop's
 * turns, never while the owner is inside a function of this file. */
struct conn_pool_user {
    /* The connection is open; or it failed with this code, and the owner closes it. */
    void (*on_open)(struct upstream_conn *conn, CURLcode code);
    /* `waiting` was waiting because of upstream.max_connections and will not be made:
     * `conn`, which another request no longer needs, takes its place. `waiting` is freed
     * afterwards. NULL: this user accepts only new connections. */
    void (*on_instead)(struct upstream_conn *waiting, struct upstream_conn *conn);
    /* It can be read or written again; or it is shared, and somebody waits for a connection. */
    void (*on_ready)(struct upstream_conn *conn);
    /* It has waited for upstream.connect_timeout because of upstream.max_connections. Returns
     * until when it goes on waiting in its place (ms); 0: it gives up, and on_open follows.
     * NULL: it gives up. */
    int64_t (*on_waited)(struct upstream_conn *conn);
};

#define CONN_POOL_SCRATCH_BYTES 32768

struct conn_pool {
    struct curl_host *curl;
    const struct conn_pool_user *user;
    size_t max, count;                /* how many are kept at most; how many are open */
    struct upstream_conn_list idle;   /* the most recently used first */
    struct upstream_conn_list shared; /* see upstream_conn_share */
    struct upstream_conn_list woken;  /* on_ready is due for these in the next turn */
    struct loop_timer aging;
    struct conn_limit_user limit; /* for the process's limit; joined by whoever made the pool */
    char *scratch; /* a buffer that owners may read into: CONN_POOL_SCRATCH_BYTES */
    struct conn_trust {
        char *pem; /* what the store was made of; NULL: there is none */
        size_t len;
        void *store; /* OpenSSL's X509_STORE * */
    } trust;         /* the authorities of upstream.ca_file; private to conn_pool.c */
};

struct upstream_conn {
    struct conn_pool *pool;
    const struct conn_pool_user *user; /* what it calls */
    void *owner;                       /* NULL: idle */
    bool readable, writable;           /* as far as known: true until IO_AGAIN */
    bool used;                         /* it has carried a request before */
    char error_text[CURL_ERROR_SIZE];  /* libcurl's error message */
    struct leg_facts facts;            /* if it could not be opened: what is known about that */
    bool limit_reached; /* it waited without success: upstream.max_connections are in use */

    /* From here on private to conn_pool.c, with three exceptions: the clients read
     * transfer.name_silent and `ending`, and h2_client sets idle_since_ms of a connection
     * that it shares. */
    struct curl_host_transfer transfer;
    struct conn_waiter waiter;
    struct loop_timer patience; /* how long it may wait to be made */
    bool permitted, wants_new;
    CURLSH *cache; /* where libcurl finds the connection */
    struct loop_io io;
    struct config *config; /* with which it was made */
    void *tls;             /* OpenSSL's SSL *; NULL: no TLS */
    void *store;           /* OpenSSL's X509_STORE *: whom it trusts; NULL: libcurl decides */
    bool offers_h2;
    bool open, is_woken, shared;
    bool ending;               /* the peer sends nothing more, or is gone */
    int64_t unacknowledged_ms; /* value of TCP_USER_TIMEOUT; 0: not set */
    bool proxied;         /* behind an https:// proxy `drained` says nothing about the socket */
    bool drained;         /* the last read returned less than it had room for */
    int first;            /* a byte that arrived before anything was asked; -1: none */
    CURLcode broken;      /* a failure found before anything was asked */
    uint64_t plain_bytes; /* bytes written */
    int64_t idle_since_ms;
    int64_t keep_ms; /* how long it may be idle: the peer may allow less than we do */
    int64_t old_ms;  /* when it is too old to be used again */
    TAILQ_ENTRY(upstream_conn) idle_link, woken_link;
};

/* max: how many idle ones are kept. */
void conn_pool_init(struct conn_pool *pool, struct curl_host *curl, size_t max,
                    const struct conn_pool_user *user);
/* Closes the idle ones; none may be in use. Call it before curl_host_done. Takes a zeroed
 * one. */
void conn_pool_done(struct conn_pool *pool);
/* The settings have changed: closes the idle ones, which were made with the old settings. */
void conn_pool_forget(struct conn_pool *pool);
/* Calls on_ready for those that were woken. Returns whether there were any. */
bool conn_pool_turn(struct conn_pool *pool);

/* Returns an idle connection made with these settings, on which certainly nothing has
 * arrived since its last answer, neither data nor its end; or a new one, for which on_open
 * will be called. fresh: only a new one. NULL: no memory. The owner ends it with
 * conn_pool_give or upstream_conn_close, and sets `owner` at once. */
struct upstream_conn *conn_pool_take(struct conn_pool *pool, struct config *config,
                                     bool fresh) MUST_CHECK;
/* Whether it waits for another one to be closed before it is made. */
bool upstream_conn_is_waiting(const struct upstream_conn *conn);
/* A new connection that offers HTTP/2 before HTTP/1.1 (ALPN), or, if the upstream is reached
 * without TLS, uses it without asking. It never goes into the pool by itself: its owner
 * closes it, or hands it over by setting user and owner. NULL: no memory. */
struct upstream_conn *conn_pool_make_h2(struct conn_pool *pool, struct config *config,
                                        const struct conn_pool_user *user) MUST_CHECK;
/* Several requests use it at a time, so it does not become idle by itself: when somebody waits
 * for a connection, on_ready is called for a shared one, and its owner decides. */
void upstream_conn_share(struct upstream_conn *conn);
/* Whether an open connection has agreed on HTTP/2. */
bool upstream_conn_chose_h2(const struct upstream_conn *conn);
/* The peer closes it after that many seconds without a request (`Keep-Alive: timeout=N`). It
 * is reused only for a shorter time, since a request that is on its way while the peer
 * closes may or may not be carried out. */
void upstream_conn_limit_idle(struct upstream_conn *conn, int64_t timeout_s);
/* Whether upstream.max_connection_age has passed, plus or minus a tenth. */
bool upstream_conn_is_old(const struct upstream_conn *conn);
/* Whether nothing has arrived on an idle one since idle_since_ms, neither data nor its end. */
bool upstream_conn_is_quiet(const struct upstream_conn *conn);
/* Makes it idle, after a complete answer to a complete request. */
void conn_pool_give(struct upstream_conn *conn);
/* Ends it, also while it is being made. */
void upstream_conn_close(struct upstream_conn *conn);
/* Ends it by a reset: what was written and has not left is discarded. */
void upstream_conn_abort(struct upstream_conn *conn);
/* Makes it end when the peer acknowledges nothing for that long (TCP_USER_TIMEOUT). */
void upstream_conn_limit_unacknowledged(struct upstream_conn *conn, int64_t timeout_ms);
/* on_ready is called in the next conn_pool_turn. */
void upstream_conn_wake(struct upstream_conn *conn);
/* Whether the connection is open. */
bool upstream_conn_is_open(const struct upstream_conn *conn);
/* Whether data arrived on a new connection before anything was asked. */
bool upstream_conn_has_spoken(const struct upstream_conn *conn);

#define IO_END 0      /* the peer has said that it sends nothing more */
#define IO_AGAIN (-1) /* wait for on_ready */
#define IO_CUT (-2)   /* it ended without a sign: TLS without close_notify */
#define IO_FAILED (-3)

/* Returns bytes read, or one of the above. */
ssize_t upstream_conn_read(struct upstream_conn *conn, void *out, size_t size) MUST_CHECK;
/* Whether the last read returned all that has arrived, so that another one before on_ready
 * would only give IO_AGAIN: a short read of an edge-triggered socket has emptied it. False
 * when in doubt. */
bool upstream_conn_read_all(struct upstream_conn *conn);
/* Returns bytes written, IO_AGAIN or IO_FAILED. After IO_AGAIN pass the same bytes again;
 * they may be at another address. */
ssize_t upstream_conn_write(struct upstream_conn *conn, const void *bytes, size_t n) MUST_CHECK;
/* Bytes that the kernel accepted so far, including TLS overhead: as long as it does not
 * change, nothing that was written can have left. */
uint64_t upstream_conn_sent_bytes(const struct upstream_conn *conn);

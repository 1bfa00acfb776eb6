#pragma once
/* Connections to the upstream, made by libcurl and spoken on by h1_client: names, proxies and
 * TLS are libcurl's; what goes over a connection is its owner's. Those that are idle wait in a
 * pool. Thread: worker, for all of it. */
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

/* How a connection tells its owner; once for all of them. Called in the loop's turns only,
 * never while the owner is in a function of this file. */
struct conn_pool_user {
    /* The connection is there; or it is not, for this reason, and the owner closes it. */
    void (*on_open)(struct upstream_conn *conn, CURLcode code);
    /* One that was waited for, since upstream.max_connections were open, will not be made: this one,
     * which another request has done with, is there instead. The first is gone afterwards. NULL:
     * only a new one will do for this user. */
    void (*on_instead)(struct upstream_conn *waiting, struct upstream_conn *conn);
    /* It can be read or written again. */
    void (*on_ready)(struct upstream_conn *conn);
};

#define CONN_POOL_SCRATCH_BYTES 32768

struct conn_pool {
    struct curl_host *curl;
    const struct conn_pool_user *user;
    size_t max, count;               /* how many are kept at most; how many are open */
    struct upstream_conn_list idle;  /* the one that was used last in front */
    struct upstream_conn_list woken; /* to be told on_ready in the next turn */
    struct loop_timer aging;
    struct conn_limit_user limit; /* of the process; joined by who has made the pool */
    char *scratch;                /* for owners, to read into: CONN_POOL_SCRATCH_BYTES */
};

struct upstream_conn {
    struct conn_pool *pool;
    const struct conn_pool_user *user; /* whom it tells */
    void *owner;                       /* NULL: idle */
    bool readable, writable;           /* as far as is known: until IO_AGAIN */
    bool used;                         /* it has carried a request before */
    char error_text[CURL_ERROR_SIZE];  /* libcurl's own words about a failure */
    struct leg_facts facts;            /* when it could not be opened: what is known */
    bool limit_reached; /* it was waited for in vain: upstream.max_connections are in use */

    /* from here on: conn_pool.c's */
    struct curl_host_transfer transfer;
    struct conn_waiter waiter;
    struct loop_timer patience; /* how long it waits to be made */
    bool permitted, wants_new;
    CURLSH *cache; /* where libcurl looks for the connection */
    struct loop_io io;
    struct config *config; /* the settings it was made with */
    void *tls;             /* OpenSSL's; NULL: plain */
    bool by_tls_proxy;     /* the next TLS context is that of the outbound proxy */
    bool open, is_woken;
    bool ending;               /* the other side sends nothing more, or is gone */
    int64_t unacknowledged_ms; /* what TCP_USER_TIMEOUT was set to; 0: was not */
    bool proxied;         /* behind TLS to a proxy `drained` would say nothing of the socket */
    bool drained;         /* the last read found less than it had room for */
    int first;            /* a byte that was here before anything was asked; -1: none */
    CURLcode broken;      /* found before anything was asked */
    uint64_t plain_bytes; /* written */
    int64_t idle_since_ms;
    int64_t keep_ms; /* how long it may be idle: the other side may have said less than we */
    int64_t old_ms;  /* when it is too old to be used again */
    TAILQ_ENTRY(upstream_conn) idle_link, woken_link;
};

/* max: how many are kept while idle. */
void conn_pool_init(struct conn_pool *pool, struct curl_host *curl, size_t max,
                    const struct conn_pool_user *user);
/* Closes those that are idle; none may be in use. Before curl_host_done. Takes a zeroed one. */
void conn_pool_done(struct conn_pool *pool);
/* The settings have changed: closes those that are idle, which were made with others. */
void conn_pool_forget(struct conn_pool *pool);
/* Calls on_ready for those that were woken. Returns whether there were any. */
bool conn_pool_turn(struct conn_pool *pool);

/* An idle connection made with these settings, of which is certain that nothing has come on it
 * since its last answer, neither bytes nor its end; or a new one, of which on_open tells.
 * fresh: only a new one will do. NULL: no memory. Owns: conn_pool_give or upstream_conn_close.
 * The caller sets `owner` at once. */
struct upstream_conn *conn_pool_take(struct conn_pool *pool, struct config *config,
                                     bool fresh) MUST_CHECK;
/* Whether it waits for another one to be closed before it is made. */
bool upstream_conn_is_waiting(const struct upstream_conn *conn);
/* A new one that offers HTTP/2 before HTTP/1.1 (ALPN), or is to speak it without asking where
 * the upstream is reached in plain text. It never becomes one of the pool's own: its owner
 * closes it, or makes it another's by setting user and owner. NULL: no memory. */
struct upstream_conn *conn_pool_make_h2(struct conn_pool *pool, struct config *config,
                                        const struct conn_pool_user *user) MUST_CHECK;
/* Whether HTTP/2 is what was agreed on, of one that is open. */
bool upstream_conn_chose_h2(const struct upstream_conn *conn);
/* The other side closes it after so many seconds without a request (`Keep-Alive: timeout=N`). It
 * is used again for a shorter time only, since a request that is on its way when the other side
 * closes may have been carried out or not. */
void upstream_conn_limit_idle(struct upstream_conn *conn, int64_t timeout_s);
/* Whether upstream.max_connection_age is over, give or take a tenth. */
bool upstream_conn_is_old(const struct upstream_conn *conn);
/* Whether nothing has come on an idle one since idle_since_ms, neither bytes nor its end. */
bool upstream_conn_is_quiet(const struct upstream_conn *conn);
/* Back to the others, after a whole answer to a whole request. */
void conn_pool_give(struct upstream_conn *conn);
/* Ends it, also while it is being made. */
void upstream_conn_close(struct upstream_conn *conn);
/* The same by a reset: what was written and has not left is thrown away. */
void upstream_conn_abort(struct upstream_conn *conn);
/* From now on it ends when the other side acknowledges nothing for so long (TCP_USER_TIMEOUT). */
void upstream_conn_limit_unacknowledged(struct upstream_conn *conn, int64_t timeout_ms);
/* Has on_ready called in the next conn_pool_turn. */
void upstream_conn_wake(struct upstream_conn *conn);
/* Whether the connection is there. */
bool upstream_conn_is_open(const struct upstream_conn *conn);
/* Whether bytes came on a new one before anything was asked. */
bool upstream_conn_has_spoken(const struct upstream_conn *conn);

#define IO_END 0      /* the other side has said that nothing more comes */
#define IO_AGAIN (-1) /* not before on_ready */
#define IO_CUT (-2)   /* it ended without saying so: TLS without close_notify */
#define IO_FAILED (-3)

/* Bytes read, or one of the above. */
ssize_t upstream_conn_read(struct upstream_conn *conn, void *out, size_t size) MUST_CHECK;
/* Whether the last read took all that the loop has told of, so that reading again before
 * on_ready would only say IO_AGAIN: a short read of an edge-triggered socket has emptied it. False
 * when in doubt. */
bool upstream_conn_read_all(struct upstream_conn *conn);
/* Bytes written, IO_AGAIN or IO_FAILED. After IO_AGAIN the same bytes must come again, at
 * whatever address. */
ssize_t upstream_conn_write(struct upstream_conn *conn, const void *bytes, size_t n) MUST_CHECK;
/* Bytes that the kernel took so far, a TLS record's own among them: as long as it stays the
 * same, not a byte of what was written can have left. */
uint64_t upstream_conn_sent_bytes(const struct upstream_conn *conn);

#pragma once
/* HTTP/2 with the upstream (RFC 9113): nghttp2 makes and reads the frames, on connections of
 * conn_pool. See upstream/exchange.h.
 *
 * A worker's requests share one connection; there are more only while the upstream allows no
 * further streams on those that are there. Whether HTTP/2 is spoken at all is told by the
 * handshake (ALPN, RFC 7301); where it is not, the exchange goes on as h1_client's. */
#include <sys/queue.h>

#include "base/base.h"
#include "event/loop.h"

struct config;
struct conn_pool;
struct exchange;
struct exchange_client;
struct h2_session;

/* One exchange's part of a session: its stream. */
struct h2_client {
    struct exchange *exchange;
    struct h2_session *session; /* NULL: nothing is under way */
    int32_t stream;             /* 0: waits for the connection */
    bool body_ended;            /* END_STREAM is in the session's output, or was sent */
    int64_t body_taken;         /* bytes of the body that went into frames */
    uint64_t body_until;        /* where in the session's output the last of these end */
    size_t unconsumed_bytes;    /* of the answer, for which no window was given back yet */
    uint64_t head_at;           /* where in the session's output its HEADERS begin */
    bool head_made;             /* they are in there */
    TAILQ_ENTRY(h2_client) link;
};

TAILQ_HEAD(h2_session_list, h2_session);

/* The sessions of one worker. */
struct h2_host {
    struct conn_pool *pool;
    struct h2_session_list sessions;
    bool receiving; /* nghttp2 is at work on what one of them read into the pool's scratch */
    uint32_t streams_expected; /* on one whose SETTINGS are not here yet */
    /* With http_version = auto: the handshake chose HTTP/1.1 with these settings, which is
     * believed until then. */
    const struct config *h1_config;
    int64_t h1_until_ms;
};

void h2_host_init(struct h2_host *h, struct conn_pool *pool);
/* Closes all sessions; no exchange may be running. Takes a zeroed one. */
void h2_host_done(struct h2_host *h);
/* The settings have changed: no session that was made with others takes a request any more. */
void h2_host_forget(struct h2_host *h);

extern const struct exchange_client h2_client;

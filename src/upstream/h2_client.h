#pragma once
/* HTTP/2 with the upstream (RFC 9113): nghttp2 makes and parses the frames, on connections
 * of conn_pool. See upstream/exchange.h.
 *
 * A worker's requests share one connection; it makes more only while the upstream allows no
 * further streams on the existing ones. Whether HTTP/2 is used is decided in the handshake
 * (ALPN, RFC 7301); if not, h1_client carries out the exchange. */
#include <sys/queue.h>

#include "base/base.h"
#include "event/loop.h"

struct config;
struct conn_pool;
struct exchange;
struct exchange_client;
struct h2_session;

/* The stream of one exchange. */
struct h2_client {
    struct exchange *exchange;
    struct h2_session *session; /* NULL: no request in progress */
    int64_t wait_until_ms;      /* how long it waits for upstream.max_connections */
    int32_t stream;             /* 0: waits for the connection */
    bool body_ended;            /* END_STREAM is in the session's output, or was sent */
    int64_t body_taken;         /* bytes of the body that were put into frames */
    uint64_t body_until;        /* position in the session's output after the last DATA frame */
    size_t unconsumed_bytes;    /* of the answer, for which no window was given back yet */
    uint64_t head_at;           /* position in the session's output where its HEADERS begin */
    bool head_made;             /* they are made */
    TAILQ_ENTRY(h2_client) link;
};

TAILQ_HEAD(h2_session_list, h2_session);

/* The sessions of one worker. */
struct h2_host {
    struct conn_pool *pool;
    struct h2_session_list sessions;
    bool receiving; /* nghttp2 is processing what a session read into the pool's scratch */
    uint32_t streams_expected; /* streams on a session whose SETTINGS have not arrived */
    /* With http_version = auto: a handshake with these settings chose HTTP/1.1. Until
     * h1_until_ms requests use HTTP/1.1 without asking again. NULL: none did. */
    const struct config *h1_config;
    int64_t h1_until_ms;
};

void h2_host_init(struct h2_host *h, struct conn_pool *pool);
/* Closes all sessions; no exchange may be running. Takes a zeroed one. */
void h2_host_done(struct h2_host *h);
/* The settings have changed: sessions made with the old ones take no further requests. */
void h2_host_forget(struct h2_host *h);

extern const struct exchange_client h2_client;

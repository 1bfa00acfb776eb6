#pragma once
/* HTTP/1.1 with the upstream, on connections of conn_pool. See upstream/exchange.h. */
#include "base/base.h"
#include "base/buf.h"
#include "http/h1_decoder.h"
#include "upstream/conn_pool.h"
#include "upstream/exchange.h"

/* What is kept from one request to the next (exchange.h1), and the state of the present one. */
struct h1_client {
    struct upstream_conn *conn; /* NULL: no request in progress */
    struct h1_decoder decoder;
    struct buf out;   /* the next bytes of the request, to be written before more of the body */
    bool had_token;   /* `out` has contained the token since it was last cleared */
    bool begun;       /* sending has begun */
    bool send_closed; /* the peer takes nothing more; its answer may still come */
    bool chunks_ended;    /* the last chunk is in `out`, or written */
    bool last;            /* the connection ends with this answer */
    int64_t body_taken;   /* bytes of the body that were written or are in `out` */
    uint64_t sent_before; /* bytes that the connection had sent before this request */
};

extern const struct exchange_client h1_client;
/* Like the client's start, on this connection, which is open and unused; NULL: on one from
 * the pool. In any case the exchange owns the connection, or it is closed. */
enum failure_kind h1_client_start(struct exchange *x, struct upstream_conn *conn) MUST_CHECK;
/* The owner of its connections, for conn_pool_init. */
extern const struct conn_pool_user h1_client_user;

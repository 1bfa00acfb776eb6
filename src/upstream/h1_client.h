#pragma once
/* HTTP/1.1 with the upstream, on connections of conn_pool. See upstream/exchange.h. */
#include "base/base.h"
#include "base/buf.h"
#include "http/h1_decoder.h"
#include "upstream/conn_pool.h"
#include "upstream/exchange.h"

/* What is kept from one request to the next (exchange.h1), and how the present one goes. */
struct h1_client {
    struct upstream_conn *conn; /* NULL: nothing is under way */
    struct h1_decoder decoder;
    struct buf out;       /* of the request: what is to be written before more of the body */
    bool had_token;       /* `out` has, since it was cleared last */
    bool begun;           /* sending has */
    bool send_closed;     /* the other side takes nothing more; its answer may still come */
    bool chunks_ended;    /* the last one is in `out`, or written */
    bool last;            /* the connection ends with this answer */
    int64_t body_taken;   /* bytes of the body, written or in `out` */
    uint64_t sent_before; /* by the connection, when it began */
};

extern const struct exchange_client h1_client;
/* As the client's start, on this connection, which is open and has not been used; NULL: on one
 * of the pool. The connection is the exchange's, or closed, in any case. */
enum failure_kind h1_client_start(struct exchange *x, struct upstream_conn *conn) MUST_CHECK;
/* For conn_pool_init: whom its connections belong to. */
extern const struct conn_pool_user h1_client_user;

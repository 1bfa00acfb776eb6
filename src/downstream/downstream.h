#pragma once
/* The callers' side of one worker: its listeners, libmicrohttpd, TLS, and the open
 * connections. Thread: the worker's, for all of it. */
#include <stdatomic.h>
#include <sys/queue.h>

#include "base/base.h"
#include "downstream/handover.h"
#include "downstream/mhd_pool.h"
#include "event/loop.h"
#include "net/acceptor.h"
#include "net/mhd_host.h"
#include "net/tls_bridge.h"
#include "proxy/context.h"

struct conn;
struct conn_user;
struct downstream;

LIST_HEAD(conn_list, conn);

struct downstream {
    struct context *ctx;
    struct acceptor acceptor;
    struct mhd_host mhd_host;
    struct mhd_pool mhd_pool;
    /* the last answer that libmicrohttpd gave by itself, and the number of its run then */
    int own_answer_status;
    uint64_t own_answer_run;
    struct tls *tls; /* for new TCP connections; NULL: no TLS */
    struct tls_bridges tls_bridges;
    struct handovers handovers;
    size_t tls_refused; /* TLS connections above listen.max_connections */

    const struct conn_user *user; /* of all connections */
    struct conn_list conns;
    size_t refused_count;         /* of these: above listen.max_connections */
    size_t refused_uploads;       /* and: refused, and the body is being read and discarded */
    _Atomic int64_t *connections; /* those within it, shared by all threads */
};

#pragma once
/* A caller's connection: who may have one, how long it may dawdle, and noticing that the
 * caller left while libmicrohttpd does not look (a suspended connection). */
#include <sys/queue.h>

#include "base/base.h"
#include "base/failure.h"
#include "downstream/mhd_pool.h"
#include "event/loop.h"
#include "net/mhd_host.h"
#include "net/tls_bridge.h"
#include "rights/rules.h"

struct downstream;
struct response;

/* How long a connection above the limit may take to send a head before it gets its 503 anyway.
 */
#define CONN_REFUSED_GRACE_MS 1000

/* At the end of the program: how long one that is new, and has not asked yet, may take to begin. Its
 * caller has just connected and is about to send, or never will. */
#define CONN_NEW_GRACE_MS 1000

enum conn_phase {
    CONN_IDLE, /* between requests; part of the next head may be here */
    CONN_HEAD, /* the request line is here, the head is not whole */
    CONN_BUSY  /* a request is under way */
};

struct conn {
    struct downstream *downstream;
    struct MHD_Connection *connection;
    /* Our own view of MHD's descriptor, for EPOLLRDHUP; between requests, on a unix socket, for
     * the first bytes of the next one. */
    struct loop_io watch;
    struct loop_timer timer;
    enum conn_phase phase;
    int64_t since_ms;       /* the phase, or the first byte of a head */
    int64_t received_bytes; /* when last looked; -1: not looked since the last request */
    int64_t begin_by_ms;    /* IDLE and new, at the end of the program; 0: not so */
    int64_t first_bytes;    /* of the first head, on a unix socket: seen to come */
    bool partial;           /* IDLE, and bytes of a head have come */
    bool refused;           /* above listen.max_connections: gets a 503 */
    bool finished;          /* shut down by us */
    bool heard;             /* there was a whole head once */
    bool tcp;               /* and not a unix socket */
    bool last;              /* the connection ends with the answer that comes next */
    bool tls;
    struct tls_bridge
        *tls_bridge;           /* the TLS in front; NULL: plain, or the TLS has ended already */
    struct response *response; /* the user's */
    bool taken_over;           /* the descriptor is not libmicrohttpd's any more */
    struct mhd_pool_rest rest;
    uint64_t over_in_run; /* the run of libmicrohttpd in which the last request ended */

    /* who it may be; looked at when a request asks */
    unsigned owner; /* as in struct listener */
    bool has_facts;
    struct tls_names names;
    struct caller_facts facts;
    uint64_t rules_number; /* what the next was found out by */
    uint32_t callers;      /* see callers_of_connection */

    LIST_ENTRY(conn) link;
};

/* Who serves them. */
struct conn_user {
    /* What has not become a request, or not a whole one, is to be refused, and the connection
     * shut down. */
    void (*on_refused)(struct conn *c, const struct failure *f);
    /* While a request is under way: what was watched for has happened (EPOLL*). */
    void (*on_event)(struct conn *c, uint32_t events);
};

/* A connection that libmicrohttpd has taken; it ends. */
void conn_init(struct conn *c, struct downstream *d, struct MHD_Connection *connection);
void conn_done(struct conn *c);

/* The caller of a connection. */
struct conn *conn_of(struct MHD_Connection *c);

/* The callers that the connection may be, by these rules, and what is known of it. */
uint32_t conn_callers(struct conn *c, const struct rules *rules,
                      const struct caller_facts **facts);

/* The request line has come. */
void conn_head_begun(struct conn *c);
/* The head is whole. */
void conn_head_done(struct conn *c);
/* The answer is out (or given up). */
void conn_request_done(struct conn *c);

/* Watches for the caller leaving; relay_on_caller_gone is called then, once. */
void conn_watch(struct conn *c);
void conn_unwatch(struct conn *c);
/* Has the relay looked at once the caller takes more; it may leave as well. */
void conn_watch_room(struct conn *c);

/* The caller's connection is this descriptor from now on, see body_feed.h. It is watched in
 * every way. */
void conn_take_over(struct conn *c, int fd);
/* Nothing more is written. */
void conn_half_close(struct conn *c);
/* What was sent to us and not read would turn the close into a reset that can overtake the
 * answer. */
void conn_discard_unread(struct conn *c);

/* What has been written to the caller. */
struct conn_sent {
    bool waiting;  /* some of it was not taken yet */
    int64_t taken; /* changes as the caller takes some */
};
struct conn_sent conn_look_sent(const struct conn *c);
/* Ends it at once, by a reset (by TCP; a unix socket has none): what was not taken is thrown away. */
void conn_abort(struct conn *c);

/* Makes the peer see a reset, not an orderly end, when the connection is closed. */
void conn_reset_on_close(struct conn *c);

/* Whether bytes wait that nobody has looked at. */
bool conn_has_sent(const struct conn *c);
/* Shuts down a connection that is between requests. */
void conn_close_idle(struct conn *c);
/* The program ends: shuts it down if it is between requests and none has begun. One that is new
 * gets a moment to begin, since its request may be on its way. */
void conn_drain(struct conn *c);
/* How much has come of a request line that is not whole. */
size_t conn_line_bytes(const struct conn *c);
/* Whether some of a request line has come, and what was counted may be too little: of a first one on
 * a unix socket. *more: bytes wait that libmicrohttpd has not read. */
bool conn_is_uncounted(const struct conn *c, bool *more);
/* Whether a request has begun, or may be about to, and its head is not whole. */
bool conn_in_head(const struct conn *c);

/* The TLS settings have been exchanged: who was let in by other client authorities has
 * to come anew. */
void conn_tls_changed(struct downstream *d, const struct tls *before);

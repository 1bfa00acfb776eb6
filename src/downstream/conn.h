#pragma once
/* A caller's connection: who may have one, how long it may take, and noticing that the
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

/* How long a connection above the limit may take to send a head; then it gets its 503
 * anyway. */
#define CONN_REFUSED_GRACE_MS 1000

/* At the end of the program: how long a new connection without a request may take to begin
 * one. Its caller has just connected and is about to send, or never will. */
#define CONN_NEW_GRACE_MS 1000

enum conn_phase {
    CONN_IDLE, /* between requests; part of the next head may have arrived */
    CONN_HEAD, /* the request line was received, the head is not complete */
    CONN_BUSY  /* a request is in progress */
};

struct conn {
    struct downstream *downstream;
    struct MHD_Connection *connection;
    /* Our own registration of MHD's descriptor, for EPOLLRDHUP; between requests on a unix
     * socket also for the first bytes of the next one. */
    struct loop_io watch;
    struct loop_timer timer;
    enum conn_phase phase;
    int64_t since_ms;       /* start of the phase, or first byte of a head */
    int64_t received_bytes; /* when last checked; -1: not checked since the last request */
    /* a new one at the end of the program: when it must have begun; 0: otherwise */
    int64_t begin_by_ms;
    int64_t first_bytes; /* size of the first part of the first head, on a unix socket */
    bool partial;        /* IDLE, and bytes of a head have arrived */
    bool refused;        /* above listen.max_connections: gets a 503 */
    bool finished;       /* shut down by us */
    bool known;          /* who calls is known; otherwise nothing may be read as a request */
    bool heard;          /* a complete head was received once */
    bool tcp;            /* not a unix socket */
    bool last;           /* it ends with the next answer */
    bool tls;
    struct tls_bridge *tls_bridge; /* the TLS in front of it; NULL: none, or it has ended */
    struct response *response;     /* the request's */
    bool taken_over;               /* libmicrohttpd no longer has the descriptor */
    struct mhd_pool_rest rest;
    uint64_t over_in_run; /* number of libmicrohttpd's run in which the last request ended */

    /* what is known about it, from its start on and for as long as it lasts */
    struct tls_names names;
    struct caller_facts facts;
    /* The callers it may belong to are determined when a request needs them. */
    uint64_t rules_number; /* number of the rules by which the next was determined */
    uint32_t callers;      /* see callers_of_connection */

    LIST_ENTRY(conn) link;
};

/* Called by connections. */
struct conn_user {
    /* What has arrived is not a request, or not a complete one: refuse it and shut the
     * connection down. */
    void (*on_refused)(struct conn *c, const struct failure *f);
    /* During a request: an event that was watched for (EPOLL*). */
    void (*on_event)(struct conn *c, uint32_t events);
};

/* Makes the object of a connection that libmicrohttpd has started. If it is not known who
 * calls (see handover.h), shuts the connection down and discards what has arrived, so that
 * nothing is read as a request. */
void conn_init(struct conn *c, struct downstream *d, struct MHD_Connection *connection);
/* Frees what it holds, when libmicrohttpd reports the end of the connection. */
void conn_done(struct conn *c);

/* Finds the object of a connection. */
struct conn *conn_of(struct MHD_Connection *c);

/* The callers that the connection may belong to by these rules, and what is known about it. */
uint32_t conn_callers(struct conn *c, const struct rules *rules,
                      const struct caller_facts **facts);

/* The request line was received. */
void conn_head_begun(struct conn *c);
/* The head is complete. */
void conn_head_done(struct conn *c);
/* The answer was written, or given up. */
void conn_request_done(struct conn *c);

/* Calls relay_on_caller_gone once when the caller leaves. */
void conn_watch(struct conn *c);
void conn_unwatch(struct conn *c);
/* Wakes the relay when the caller accepts more bytes; the caller may also leave. */
void conn_watch_room(struct conn *c);

/* From now on this descriptor is the caller's connection, see body_feed.h. It is watched for
 * all events. */
void conn_take_over(struct conn *c, int fd);
/* Nothing more will be written. */
void conn_half_close(struct conn *c);
/* Reads and discards what was received. Closing with unread bytes would send a reset, which
 * may overtake the answer. */
void conn_discard_unread(struct conn *c);

/* What was written to the caller. */
struct conn_sent {
    bool waiting;  /* some of it was not accepted yet */
    int64_t taken; /* changes when the caller accepts some */
};
struct conn_sent conn_look_sent(const struct conn *c);
/* Ends it at once by a reset (TCP; a unix socket has none): bytes that were not accepted are
 * discarded. */
void conn_abort(struct conn *c);

/* Makes the peer see a reset instead of an orderly end when the connection is closed. */
void conn_reset_on_close(struct conn *c);

/* Whether bytes have arrived that were not read. */
bool conn_has_unread(const struct conn *c);
/* The program ends: shuts it down if it is between requests and no request has begun. A new
 * one gets a moment to begin, since its request may be on its way. */
void conn_drain(struct conn *c);
/* How many bytes of an incomplete request line libmicrohttpd has read; 0: none, or unknown. */
size_t conn_line_bytes(const struct conn *c);
/* Whether conn_line_bytes may be too small: the connection is a unix socket, on which bytes
 * are not counted, and a part of its first request line may have arrived. *more: bytes have
 * arrived that libmicrohttpd has not read. */
bool conn_is_uncounted(const struct conn *c, bool *more);
/* Whether a request has begun, or may be about to, and its head is not complete. */
bool conn_in_head(const struct conn *c);

/* The TLS settings were replaced: callers that were admitted by other client authorities
 * must connect again. */
void conn_tls_changed(struct downstream *d, const struct tls *before);

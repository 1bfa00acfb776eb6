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

struct worker;
struct relay;

/* How long a connection above the limit may take to send a head before it gets its 503 anyway.
 */
#define CALLER_REFUSED_GRACE_MS 1000

enum caller_phase {
    CALLER_IDLE, /* between requests; part of the next head may be here */
    CALLER_HEAD, /* the request line is here, the head is not whole */
    CALLER_BUSY  /* a request is under way */
};

struct caller {
    struct worker *worker;
    struct MHD_Connection *connection;
    /* Our own view of MHD's descriptor, for EPOLLRDHUP; between requests, on a unix socket, for
     * the first bytes of the next one. */
    struct loop_watch watch;
    struct loop_timer timer;
    enum caller_phase phase;
    int64_t since_ms;       /* the phase, or the first byte of a head */
    int64_t received_bytes; /* when last looked; -1: not looked since the last request */
    bool partial;           /* IDLE, and bytes of a head have come */
    bool refused;           /* above listen.max_connections: gets a 503 */
    bool finished;          /* shut down by us */
    bool heard;             /* there was a whole head once */
    bool tcp;               /* and not a unix socket */
    bool last;              /* the connection ends with the answer that comes next */
    bool tls;
    struct tunnel *tunnel; /* the TLS in front; NULL: plain, or the TLS has ended already */
    struct relay *relay;   /* the request under way */
    struct resting_place rest;
    LIST_ENTRY(caller) link;
};

/* MHD_NotifyConnectionCallback; arg is the worker. */
void caller_on_connection(void *arg, struct MHD_Connection *c, void **socket_context,
                          enum MHD_ConnectionNotificationCode code);

/* The caller of a connection. */
struct caller *caller_of(struct MHD_Connection *c);

/* The request line has come. */
void caller_head_begun(struct caller *c, struct relay *r);
/* The head is whole. */
void caller_head_done(struct caller *c);
/* The answer is out (or given up). */
void caller_request_done(struct caller *c);

/* Watches for the caller leaving; relay_on_caller_gone is called then, once. */
void caller_watch(struct caller *c);
void caller_unwatch(struct caller *c);
/* Has the relay looked at once the caller takes more, see bypass.h; it may leave as well. */
void caller_watch_room(struct caller *c);

/* Writes an answer past libmicrohttpd, where it cannot answer any more (it is still reading),
 * and shuts the connection down. */
void caller_finish(struct caller *c, const struct failure *f);

/* Makes the peer see a reset, not an orderly end, when the connection is closed. */
void caller_reset_on_close(struct caller *c);

/* Whether bytes wait that nobody has looked at. */
bool caller_has_sent(const struct caller *c);
/* Shuts down a connection that is between requests. */
void caller_close_idle(struct caller *c);

/* The worker's TLS settings have been exchanged: who was let in by other client authorities has
 * to come anew. */
void caller_tls_changed(struct worker *w, const struct tls *before);

#pragma once
/* One request: its phases, its deadlines, and the single place where it ends. The picture is
 * at the head of relay.c. Everything here runs on the worker's thread. */
#include <sys/queue.h>

#include "base/arena.h"
#include "base/base.h"
#include "base/buf.h"
#include "base/failure.h"
#include "downstream/raw_response.h"
#include "event/loop.h"
#include "http/header.h"
#include "http/request_check.h"
#include "http/route.h"
#include "net/mhd_host.h"
#include "proxy/context.h"
#include "upstream/exchange.h"

enum relay_phase {
    RELAY_NEW,     /* the request line is here */
    RELAY_PARKED,  /* waits for a token */
    RELAY_SENDING, /* with the upstream, no answer yet */
    RELAY_HELD, /* the upstream refused the token; its answer is held while a new one is fetched
                 */
    RELAY_ANSWERING, /* the upstream's answer goes to the caller */
    RELAY_LOCAL,     /* the local token endpoint answers */
    RELAY_FAILED,    /* an answer of our own */
    RELAY_ENDED
};

/* Most bytes in each direction between the two sides, apart from what is kept for a repeat. */
#define RELAY_WINDOW_BYTES 65536
/* Most bytes of a body that are read and thrown away so that an early answer can be given. */
#define RELAY_DISCARD_BYTES (16 * 1024 * 1024)

struct relay {
    /* kept from one request to the next */
    struct arena arena;
    struct buf down; /* the answer's body, on its way to the caller */
    struct exchange exchange; /* with the upstream */

    struct context *ctx; /* from here on: one request's, zero at its start */
    struct conn *conn;
    struct MHD_Connection *connection;
    struct config *config;
    struct token *token; /* the token it was sent with */
    enum relay_phase phase;

    /* the request */
    const char *method, *target, *request_id;
    const char *target_in_place; /* where it was received: for the guard's accounting */
    struct route route;
    const struct header_field
        *fields; /* in libmicrohttpd's buffer, for as long as the request lives */
    size_t count;
    int64_t body_bytes;   /* declared; -1: chunked */
    bool request_id_ours; /* made here */
    bool safe;            /* GET, HEAD, OPTIONS */
    bool is_head;
    bool old_caller; /* speaks HTTP/1.0 */

    /* its body */
    struct exchange_body up;
    int64_t up_bytes; /* taken from the caller so far */
    int64_t discarded_bytes;
    int64_t up_ms;    /* when the caller last sent some */
    int64_t stuck_ms; /* what that was when more had come and was not read; 0: was read */

    /* the caller's side */
    bool lingers, lingered;     /* waits for an answer unsuspended; has done so for long */
    bool suspended, head_waits; /* head_waits: suspended before the body, for a token */
    bool begun, responded, gone, in_flight, counted;

    /* the upstream's side */
    unsigned sends; /* attempts that reached the wire, for the log */
    bool repeated;  /* after a 401 */

    /* the answer */
    int status; /* given to the caller; 0: none */
    int64_t down_bytes;
    bool down_done, down_cut;
    struct raw_response raw_response;
    struct failure failure;

    struct loop_timer timer;
    int64_t parked_ms;
    int64_t start_us, parked_us, token_us, upstream_start_us, upstream_us, first_byte_us;
    bool is_ready;
    TAILQ_ENTRY(relay) all_link, parked_link, ready_link;
};

/* A request line has come. The relay comes from the worker's pool. */
struct relay *relay_new(struct context *ctx, struct conn *c, const char *target);

/* The head is whole: decides where it goes and starts or parks it, or makes it fail. */
void relay_on_head(struct relay *r, const struct request_check_result *v);

/* Bytes of the body, as many as there is room for; returns how many were taken. */
size_t relay_on_body(struct relay *r, const char *bytes, size_t n);
void relay_on_body_end(struct relay *r);

/* The exchange with the upstream is over. */
void relay_on_upstream_done(struct relay *r, const struct failure *f);

/* The worker's token or settings changed; a 401 on this generation is to be passed on. */
void relay_on_token(struct relay *r);

/* The caller left. */
void relay_on_caller_gone(struct relay *r);

/* The program is about to leave: a caller without an answer is told what became of its request.
 */
void relay_give_up(struct relay *r);

/* An answer of our own, instead of whatever was under way. */
void relay_fail(struct relay *r, const struct failure *f);

/* Have the relay looked at once the libraries' callbacks have returned. */
void relay_wake(struct relay *r);
/* Looks at those. Returns whether there were any. */
bool relay_turn(struct context *ctx);

/* Whether a connection that waits has anything to do. */
bool relay_can_go_on(const struct relay *r);
/* Whether libmicrohttpd may be given the answer now. */
bool relay_answer_ready(const struct relay *r);
/* How many more bytes of the body there is room for. */
size_t relay_room_up(const struct relay *r);

/* The end, called by libmicrohttpd's completion callback only: counts, logs, gives the relay
 * back. */
void relay_end(struct relay *r);
/* Frees the pool. */
void relay_free_pool(struct context *ctx);

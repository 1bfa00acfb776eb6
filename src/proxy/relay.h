#pragma once
/* One request: its phases, its deadlines, and the single place where it ends. The picture is
 * at the head of relay.c. Everything here runs on the worker's thread. */
#include <sys/queue.h>

#include "base/arena.h"
#include "base/base.h"
#include "base/buf.h"
#include "base/failure.h"
#include "event/loop.h"
#include "http/header.h"
#include "http/route.h"
#include "proxy/claim.h"
#include "proxy/context.h"
#include "proxy/response_sink.h"
#include "upstream/exchange.h"

enum relay_phase {
    RELAY_NEW,      /* the request line is here */
    RELAY_CLAIMING, /* waits for its body, where that may have a key, and for the ledger */
    RELAY_PARKED,   /* waits for a token */
    RELAY_SENDING,  /* with the upstream, no answer yet */
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
    struct buf down;          /* the answer's body, on its way to the caller */
    struct exchange exchange; /* with the upstream */

    struct context *ctx; /* from here on: one request's, zero at its start */
    struct response_sink *sink;
    struct config *config;
    struct token *token; /* the token it was sent with */
    enum relay_phase phase;

    /* the request */
    const char *method, *target, *request_id;
    const char *trace_id;          /* of the caller's traceparent; NULL: none */
    const char *caller_request_id; /* one that is not plain, for the log; NULL: none */
    size_t caller_request_id_len;
    struct route route;
    const struct header_field *fields; /* the caller's side keeps them until the end */
    size_t count;
    int64_t body_bytes;   /* declared; -1: chunked */
    bool request_id_ours; /* made here */
    bool safe;            /* GET, HEAD, OPTIONS */
    bool resendable;      /* may go out twice when a pooled connection turns out to be dead */
    bool has_class;       /* the next is known: there are rules, and it came that far */
    enum request_class class;
    const char *operation; /* as in struct operation */
    size_t operation_len, operation_number;
    enum rules_outcome decision;
    const struct caller *caller; /* NULL: none, or none was recognised */
    const char *rule;            /* why it was refused, for the log; NULL: it was not */
    size_t rule_len;
    bool is_head;
    bool is_money; /* what it asks for moves money; known where there is a ledger */
    bool begun;    /* its head is whole */

    /* its body */
    struct exchange_body up;
    bool up_lost;  /* the rest never comes: its caller has stalled, left, or broken it */
    bool up_stuck; /* it has broken it so that libmicrohttpd has stopped reading */
    bool reads_token_request; /* LOCAL: it is kept until it is whole, for the secret in it */
    bool holds_secret;        /* LOCAL: what is kept of it, and its answer, are to be wiped */
    int64_t up_bytes;         /* taken from the caller so far */
    int64_t discarded_bytes;
    int64_t up_ms;    /* when the caller last sent some */
    int64_t stuck_ms; /* what that was when more had come and was not read; 0: was read */

    /* the ledger's */
    struct claim *claim; /* NULL: it has no business with it */

    /* the upstream's side */
    unsigned sends; /* attempts of which at least a byte was sent, for the log */
    bool repeated;  /* after a 401 */

    /* the answer */
    struct response_head head;
    bool head_begun, down_done, down_cut;
    bool gone; /* the caller has left */
    struct failure failure;

    bool in_flight;        /* it has a place among upstream.max_in_flight */
    bool caller_in_flight; /* and among the caller's, see limits_enter */
    struct loop_timer timer;
    int64_t parked_ms;
    int64_t start_us, parked_us, token_us, upstream_start_us, upstream_us, first_byte_us;
    bool is_ready;
    TAILQ_ENTRY(relay) all_link, parked_link, ready_link;
};

/* A request line has come. The relay comes from the context's pool; the sink is the caller's
 * side, which outlives it. */
struct relay *relay_new(struct context *ctx, struct response_sink *sink, const char *target);
/* As it was received; "" where there was none. */
const char *relay_target(const struct relay *r);

/* It was refused where it was read; the answer is given already. request_id NULL: as it is. */
void relay_on_refused(struct relay *r, const struct failure *f, const char *request_id);

/* Bytes of the body, as many as there is room for; returns how many were taken. */
size_t relay_on_body(struct relay *r, const char *bytes, size_t n);
void relay_on_body_end(struct relay *r);
/* The rest of the body never comes, while the answer is already being given. */
void relay_on_body_lost(struct relay *r);
/* Some of the answer's body has been taken from the buffer. */
void relay_on_answer_taken(struct relay *r);
/* The caller left. */
void relay_on_caller_gone(struct relay *r);

/* What the caller's side asks before it goes on. */
/* Whether there is a body, or may be one. */
bool relay_expects_body(const struct relay *r);
/* Whether nothing has been sent yet, for want of a token. */
bool relay_waits_for_token(const struct relay *r);
/* Whether more of the body may be read now. */
bool relay_takes_body(const struct relay *r);
/* Whether the body is passed on, not thrown away. */
bool relay_passes_body_on(const struct relay *r);
/* The answer is out: whether it is worth reading the rest of the body. */
bool relay_wants_rest(const struct relay *r);
/* The body has come to a place that libmicrohttpd does not get over. */
bool relay_is_stuck(const struct relay *r);
/* Nobody is there to give an answer to. */
bool relay_is_abandoned(const struct relay *r);

/* The worker's token or settings changed; a 401 on this generation is to be passed on. */
void relay_on_token(struct relay *r);
/* The program is about to leave: a caller without an answer is told what became of its request.
 */
void relay_give_up(struct relay *r);
/* The thread ends: whatever is under way is over now; one whose caller had left is gone. */
void relay_abandon(struct relay *r);

/* What admission decides for: to the upstream when there is a token, else parked until there is
 * one, or failed when none is to come; or the caller's own token call, answered here. */
void relay_begin(struct relay *r);
/* The same for an unsafe request where there is a ledger: what that has to do with it comes first. */
void relay_begin_claim(struct relay *r);
void relay_answer_locally(struct relay *r);
/* An OPTIONS that is for this proxy and not for the upstream: which methods there are. */
#define RELAY_METHODS "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
void relay_answer_options(struct relay *r);
/* The callers' secrets that it is judged by; NULL: there are none. */
const struct caller_secrets *relay_secrets(const struct relay *r);
/* Whether the freeze file stops it; the answer that says so, when nothing of it was sent. */
bool relay_is_frozen(const struct relay *r);
void relay_fail_frozen(struct relay *r);
/* Says in a refusal which class and operation it was about. */
void relay_about(const struct relay *r, struct failure *f);
/* An answer of our own, instead of whatever was under way. Not once a head was given. */
void relay_fail(struct relay *r, const struct failure *f);
/* The same with a sentence (without its stop), which must last. */
void relay_fail_for(struct relay *r, enum failure_kind kind, const char *why);

/* Have the relay looked at once the libraries' callbacks have returned. */
void relay_wake(struct relay *r);
/* Looks at those. Returns whether there were any. */
bool relay_turn(struct context *ctx);

/* The end, from the caller's side only: counts, logs, gives the relay back. A request of the ledger
 * that was sent goes on without its caller until it is known what became of it; the sink is not used
 * any more. */
void relay_end(struct relay *r);
/* Frees the pool. */
void relay_free_pool(struct context *ctx);

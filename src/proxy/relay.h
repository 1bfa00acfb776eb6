#pragma once
/* One request: its phases, its deadlines, and the only place where it ends. The picture is
 * in relay.c. Thread: worker, for all of it. */
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
    RELAY_NEW,      /* the request line was received */
    RELAY_CLAIMING, /* waits for its body, if that may contain a key, and for the ledger */
    RELAY_PARKED,   /* waits for a token */
    RELAY_SENDING,  /* sent to the upstream, no answer yet */
    /* the upstream refused the token; its answer is held back while a new one is fetched */
    RELAY_HELD,
    RELAY_ANSWERING, /* the upstream's answer is being given to the caller */
    RELAY_LOCAL,     /* answered here: a token request, OPTIONS, a stored answer */
    RELAY_FAILED,    /* the proxy answers with an error */
    RELAY_ENDED
};

/* Most bytes in each direction between the two sides, except what is kept for a repetition. */
#define RELAY_WINDOW_BYTES 65536
/* Most bytes of a body that are read and discarded so that an early answer can be given. */
#define RELAY_DISCARD_BYTES (16 * 1024 * 1024)

struct relay {
    /* kept from one request to the next */
    struct arena arena;
    struct buf down;          /* the answer's body on its way to the caller */
    struct exchange exchange; /* with the upstream */

    struct context *ctx; /* from here on: one request's, zeroed at its start */
    struct response_sink *sink;
    struct config *config;
    struct token *token; /* the token that it was sent with */
    enum relay_phase phase;

    /* the request */
    const char *method, *target, *request_id;
    const char *trace_id;          /* from the caller's traceparent; NULL: none */
    const char *caller_request_id; /* one with special characters, for the log; NULL: none */
    size_t caller_request_id_len;
    struct route route;
    const struct header_field *fields; /* kept by the caller's side until the end */
    size_t count;
    int64_t body_bytes;   /* declared; -1: chunked */
    bool request_id_ours; /* request_id was made here */
    bool safe;            /* GET, HEAD, OPTIONS */
    bool resendable;      /* may be sent twice if a pooled connection turns out to be dead */
    bool has_class;       /* `class` is known: there are rules, and they were applied */
    enum request_class class;
    const char *operation; /* as in struct operation */
    size_t operation_len, operation_number;
    enum rules_outcome decision;
    const struct caller *caller; /* NULL: none, or none was recognised */
    const char *rule;            /* why it was refused, for the log; NULL: it was not */
    size_t rule_len;
    bool is_head;
    bool is_money; /* the operation moves money; known only if there is a ledger */
    bool begun;    /* its head is complete */

    /* its body */
    struct exchange_body up;
    /* the rest will never come: the caller has stalled, left, or sent a broken body */
    bool up_lost;
    bool up_stuck; /* the body is broken in such a way that libmicrohttpd has stopped reading */
    /* LOCAL: the body is kept until it is complete, to find the secret in it */
    bool reads_token_request;
    bool holds_secret; /* LOCAL: wipe what is kept of the body, and the answer */
    int64_t up_bytes;  /* received from the caller so far */
    int64_t discarded_bytes;
    /* start of listen.body_timeout: when the last bytes of the body were taken from the caller,
     * or the request began, or its wait for a token ended */
    int64_t up_ms;
    /* up_ms at the last check, if bytes waited unread then; 0: none did. If bytes wait at the
     * next check, too, and up_ms is the same, libmicrohttpd has stopped reading. */
    int64_t stuck_ms;

    struct response_sink null_sink; /* replaces the caller's when it goes on without one */

    /* the ledger's */
    struct claim *claim; /* NULL: the ledger does not apply */

    /* the upstream's side */
    unsigned sends; /* attempts in which at least one byte was sent, for the log */
    bool repeated;  /* after a 401 */

    /* the answer */
    struct response_head head;
    bool head_begun, down_done, down_cut;
    bool gone; /* the caller has left */
    struct failure failure;

    bool in_flight;        /* counted in upstream.max_in_flight */
    bool caller_in_flight; /* counted for the caller, see limits_enter */
    struct loop_timer timer;
    int64_t parked_ms;
    int64_t start_us, parked_us, token_us, upstream_start_us, upstream_us, first_byte_us;
    bool is_ready;
    TAILQ_ENTRY(relay) all_link, parked_link, ready_link;
};

/* A request line was received. The relay comes from the context's pool; the sink is the
 * caller's side and outlives it. */
struct relay *relay_new(struct context *ctx, struct response_sink *sink, const char *target);
/* The target as received; "" if there was none. */
const char *relay_target(const struct relay *r);

/* The request was refused while it was read, and is answered already. request_id NULL:
 * unchanged. */
void relay_on_refused(struct relay *r, const struct failure *f, const char *request_id);

/* Takes bytes of the body, as many as there is room for; returns how many. */
size_t relay_on_body(struct relay *r, const char *bytes, size_t n);
void relay_on_body_end(struct relay *r);
/* The rest of the body will never come, and an answer is already being given. */
void relay_on_body_lost(struct relay *r);
/* Some of the answer's body was taken from the buffer. */
void relay_on_answer_taken(struct relay *r);
/* The caller left. */
void relay_on_caller_gone(struct relay *r);

/* Questions that the caller's side asks before it continues. */
/* Whether there is a body, or may be one. */
bool relay_expects_body(const struct relay *r);
/* Whether nothing has been sent yet because a token is missing. */
bool relay_waits_for_token(const struct relay *r);
/* Whether more of the body may be read now. */
bool relay_takes_body(const struct relay *r);
/* Whether the body is forwarded, not discarded. */
bool relay_passes_body_on(const struct relay *r);
/* The answer is written: whether to read the rest of the body. */
bool relay_wants_rest(const struct relay *r);
/* Whether libmicrohttpd cannot read any further in the body. */
bool relay_is_stuck(const struct relay *r);
/* Whether nobody is there to give an answer to. */
bool relay_is_abandoned(const struct relay *r);

/* The worker's token or settings have changed, or a 401 to this token may now be passed on. */
void relay_on_token(struct relay *r);
/* The program is about to exit: tells a caller without an answer what is known about its
 * request. */
void relay_give_up(struct relay *r);
/* The thread ends: everything in progress ends now; a relay whose caller had left is freed. */
void relay_abandon(struct relay *r);

/* Admission has accepted the request: sends it if there is a token; otherwise parks it until
 * there is one, or fails if none will come. */
void relay_begin(struct relay *r);
/* The same for an unsafe request if there is a ledger, which is asked first. */
void relay_begin_claim(struct relay *r);
/* Answers the caller's own token request (token.local_endpoint), see http/token_request.h. */
void relay_answer_locally(struct relay *r);
/* The answer to an OPTIONS for this proxy itself: the methods that it supports. */
#define RELAY_METHODS "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
void relay_answer_options(struct relay *r);
/* The callers' secrets to compare with; NULL: none. */
const struct caller_secrets *relay_secrets(const struct relay *r);
/* Whether the freeze file stops requests of its class at this moment. */
bool relay_is_frozen(const struct relay *r);
/* Answers it with FAIL_FROZEN and the reason of the freeze. As relay_fail. */
void relay_fail_frozen(struct relay *r);
/* Adds class and operation of the request to a refusal. */
void relay_about(const struct relay *r, struct failure *f);
/* Answers with an error of ours, whatever was in progress. Not allowed once a head was
 * given. */
void relay_fail(struct relay *r, const struct failure *f);
/* The same with a sentence (without full stop), which must stay. */
void relay_fail_for(struct relay *r, enum failure_kind kind, const char *why);

/* Has the relay examined when the libraries' callbacks have returned. */
void relay_wake(struct relay *r);
/* Examines those. Returns whether there were any. */
bool relay_turn(struct context *ctx);

/* The end, called by the caller's side only: counts, logs, and returns the relay to the
 * pool. A request in the ledger that was sent continues without its caller until its outcome
 * is known, and one with an early answer until its body is sent; the sink is not used any
 * more. */
void relay_end(struct relay *r);
/* Frees the pool. */
void relay_free_pool(struct context *ctx);

#pragma once
/* What one request has to do with the ledger: how its key is found, what is asked and told, what is
 * kept of its answer, and what its caller hears when the key is known already. When each of these is
 * done is for relay.c. Thread: worker, for all of it. */
#include "base/arena.h"
#include "base/base.h"
#include "base/buf.h"
#include "base/failure.h"
#include "ledger/claim_result.h"
#include "ledger/fingerprint.h"
#include "ledger/key.h"
#include "ledger/ledger.h"
#include "proxy/response_sink.h"

enum claim_kind {
    CLAIM_NOTHING, /* it turned out that the ledger has no business with it */
    CLAIM_KEYED, /* its body is read whole before it is sent; it has a key, or may have one there */
    CLAIM_RECORD /* it has no key, and is recorded (ledger.journal); its body streams */
};

enum claim_stage {
    CLAIM_COLLECTING, /* KEYED: the body is coming in */
    CLAIM_WAITING,    /* nothing was asked yet, or nothing was found: a token is needed first */
    CLAIM_ASKING,     /* a question is under way */
    CLAIM_OPEN,       /* it is ours, and what becomes of it is to be told */
    CLAIM_RELEASING,  /* told that it was not carried out; waits for that to be durable */
    CLAIM_CLOSED      /* all is told, or there is nothing to tell */
};

/* The request, as far as it matters here. What is pointed to outlives the claim. */
struct claim_request {
    const struct config *config;
    const struct header_field *fields;
    size_t count;
    const char *method, *prefix, *path; /* the target is prefix and path together */
    size_t path_len;                    /* of the path without its query */
    const char *request_id;             /* NULL: it has none */
    const char *scope;                  /* the caller's name, or "" */
    int64_t body_bytes;                 /* declared; -1: not known before its end */
    bool is_money;                      /* its class is money */
};

struct claim {
    struct claim_request request;
    enum claim_kind kind;
    enum claim_stage stage;
    enum claim_result result;
    struct arena *arena;
    struct ledger_port *port;
    struct ledger_ask ask;
    void *owner;

    bool has_header_key;
    struct ledger_key key;
    unsigned char fingerprint[LEDGER_FINGERPRINT_BYTES]; /* KEYED */
    bool has_digest;                                     /* RECORD: the next was begun */
    struct ledger_fingerprint digest; /* of what has come of the request so far */

    char id[LEDGER_ID_BYTES]; /* since OPEN, or of the entry that was found; "" */
    int64_t send_until_ms, end_by_ms;
    const char *outcome; /* what was told; NULL: nothing */

    int status; /* of the answer's head; 0: there is none */
    bool keeps; /* `body` is all of the answer's, so far */
    struct buf head, body;
    int64_t seen_bytes; /* of the answer's body */

    struct response_sink null_sink; /* takes the caller's place when that has left */
};

/* Begins one, if the ledger has business with the request. NULL: it has none, or the request is refused
 * for the reason in *f (kind FAIL_NONE: it is not). The arena outlives it. */
struct claim *claim_begin(struct arena *arena, struct ledger_port *port,
                          const struct claim_request *q, struct failure *f) MUST_CHECK;
/* Frees what it holds; it is in the arena itself. Takes NULL. */
void claim_done(struct claim *c);

/* --- before it is sent --- */

/* RECORD: bytes of the body have come. */
void claim_on_body(struct claim *c, const char *bytes, size_t n);
/* A body that is larger than ledger.max_request. */
struct failure claim_too_large(void);
/* COLLECTING: the body is all here. Finds the key; a request without one becomes a RECORD, or
 * NOTHING. False: it is refused, see *f. */
bool claim_on_body_end(struct claim *c, const char *body, size_t len,
                       struct failure *f) MUST_CHECK;
/* Asks; on_reply comes later, and has to call claim_on_reply first. `body` NULL: it is not kept. */
void claim_ask(struct claim *c, enum ledger_want want, const struct ledger_bytes *body,
               void (*on_reply)(struct ledger_ask *a));
static inline struct claim *claim_of(struct ledger_ask *a)
{
    return CONTAINER_OF(a, struct claim, ask);
}
/* Takes over what the ledger said. LEDGER_FOUND: *f is the answer, or the kind is FAIL_NONE and the
 * stored answer is to be given. LEDGER_DOWN: *f. */
enum ledger_result claim_on_reply(struct claim *c, struct failure *f);
/* The stored answer: its head, and its body appended. Returns 0, -EMSGSIZE or -ENOMEM. */
int claim_replay(const struct claim *c, struct response_head *head,
                 struct buf *body) MUST_CHECK;

/* --- while it is sent --- */

static inline bool claim_is_open(const struct claim *c)
{
    return c != NULL && c->stage == CLAIM_OPEN;
}
/* Whether a sending may still begin, by the clock and not by the loop's time, which may be old. */
bool claim_may_send(const struct claim *c);
/* It is sent (once more): what was kept of an answer is of no use. */
void claim_on_sending(struct claim *c);
/* The head of the answer, as it goes to the caller. */
void claim_keep_head(struct claim *c, const struct header_field *fields, size_t count);
/* `received` bytes of the body have come so far, of which the last are at the end of the window. */
void claim_keep_body(struct claim *c, const struct buf *window, int64_t received);
/* Whether the answer's status proves that it was not carried out. */
bool claim_status_releases(const struct claim *c);

struct claim_end {
    enum failure_kind failure; /* FAIL_NONE: none, or the caller left */
    bool sent;                 /* a byte of the request may have left, in its last attempt */
    bool whole;                /* the answer is */
    bool body_ended;           /* RECORD: the request's body is all here */
    void (*on_released)(struct ledger_ask *a); /* NULL: nobody waits for it */
};
/* OPEN: tells what became of it. RELEASING afterwards when it was released and somebody waits:
 * on_released is called later; else CLOSED. A question that is under way is given up. Takes NULL, and
 * one that is neither. */
void claim_tell(struct claim *c, const struct claim_end *e);

#pragma once
/* What one request does with the ledger: finding its key, asking, reporting the outcome,
 * keeping the answer, and what the caller is told when the key is known already. relay.c
 * decides when each of these is done. Thread: worker, for all of it. */
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
    CLAIM_NOTHING, /* the ledger does not apply to it after all */
    /* it has a key, or may have one in the body, which is read completely before it is sent */
    CLAIM_KEYED,
    CLAIM_RECORD /* it has no key and is only recorded (ledger.journal); its body is streamed */
};

enum claim_stage {
    CLAIM_COLLECTING, /* KEYED: the body is being received */
    CLAIM_WAITING,    /* not asked yet, or nothing was found: a token is needed first */
    CLAIM_ASKING,     /* a question is in progress */
    CLAIM_OPEN,       /* the claim is ours, and its outcome must be reported */
    CLAIM_RELEASING,  /* reported as not carried out; waits until that is durable */
    CLAIM_CLOSED      /* everything is reported, or there is nothing to report */
};

/* The request, as far as it matters here. What it points to outlives the claim. */
struct claim_request {
    const struct config *config;
    const struct header_field *fields;
    size_t count;
    const char *method, *prefix, *path; /* the target is prefix followed by path */
    size_t path_len;                    /* of the path, without query */
    const char *request_id;             /* NULL: it has none */
    const char *scope;                  /* the caller's name, or "" */
    int64_t body_bytes;                 /* declared; -1: not known in advance */
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
    bool has_digest;                                     /* RECORD: `digest` was begun */
    struct ledger_fingerprint digest; /* of what was received of the request so far */

    char id[LEDGER_ID_BYTES]; /* from OPEN on, or of the entry that was found; "": none */
    int64_t send_until_ms, end_by_ms;
    const char *outcome; /* the outcome that was reported; NULL: none */

    int status; /* of the answer's head; 0: none */
    bool keeps; /* `body` has everything of the answer's body so far */
    struct buf head, body;
    int64_t seen_bytes; /* bytes of the answer's body so far */
};

/* What the ledger does with the request, as far as its head tells. KEYED: *key is that of the
 * header; or empty, if the body has to be searched for one. *f: why it is refused; kind
 * FAIL_NONE: it is not. Pure; also for `oneshot-proxy explain`. */
enum claim_kind claim_look(const struct claim_request *q, struct ledger_key *key,
                           struct failure *f) MUST_CHECK;
/* Whether it is refused without a key (ledger.require_key). */
bool claim_wants_key(const struct claim_request *q);

/* Begins a claim, if the ledger applies to the request. NULL: it does not, or the request is
 * refused for the reason in *f (kind FAIL_NONE: it is not). The arena outlives it. */
struct claim *claim_begin(struct arena *arena, struct ledger_port *port,
                          const struct claim_request *q, struct failure *f) MUST_CHECK;
/* Frees what it holds; the claim itself is in the arena. Takes NULL. */
void claim_done(struct claim *c);

/* --- before the request is sent --- */

/* RECORD: bytes of the body were received. */
void claim_on_body(struct claim *c, const char *bytes, size_t n);
/* The failure of a body larger than ledger.max_request. */
struct failure claim_too_large(void);
/* COLLECTING: the body is complete. Finds the key; a request without one becomes a RECORD,
 * or NOTHING. False: it is refused, see *f. */
bool claim_on_body_end(struct claim *c, const char *body, size_t len,
                       struct failure *f) MUST_CHECK;
/* Asks the ledger; on_reply is called later, and must first call claim_on_reply. `body`
 * NULL: it is not stored. */
void claim_ask(struct claim *c, enum ledger_want want, const struct ledger_bytes *body,
               void (*on_reply)(struct ledger_ask *a));
static inline struct claim *claim_of(struct ledger_ask *a)
{
    return CONTAINER_OF(a, struct claim, ask);
}
/* Takes the ledger's reply. LEDGER_FOUND: *f is the answer; or, with kind FAIL_NONE, the
 * stored answer must be given. LEDGER_DOWN: *f. */
enum ledger_result claim_on_reply(struct claim *c, struct failure *f);
/* Makes the stored answer: its head, and its body appended. Returns 0, -EMSGSIZE or -ENOMEM. */
int claim_replay(const struct claim *c, struct response_head *head,
                 struct buf *body) MUST_CHECK;

/* --- while it is sent --- */

static inline bool claim_is_open(const struct claim *c)
{
    return c != NULL && c->stage == CLAIM_OPEN;
}
/* Whether sending may still begin. Reads the clock, since the loop's time may be old. */
bool claim_may_send(const struct claim *c);
/* It is sent (again): discards what was kept of an earlier answer. */
void claim_on_sending(struct claim *c);
/* Keeps the head of the answer, as it is given to the caller. */
void claim_keep_head(struct claim *c, const struct header_field *fields, size_t count);
/* Keeps new bytes of the body: `received` were received in total, and the last of them are
 * at the end of `window`. */
void claim_keep_body(struct claim *c, const struct buf *window, int64_t received);
/* Whether the answer's status proves that the request was not carried out. */
bool claim_status_releases(const struct claim *c);

struct claim_end {
    enum failure_kind failure; /* FAIL_NONE: none, or the caller left */
    bool sent;                 /* a byte of the request may have left, in the last attempt */
    bool whole;                /* the answer is complete */
    bool body_ended;           /* RECORD: the request's body is complete */
    void (*on_released)(struct ledger_ask *a); /* NULL: nobody waits for it */
};
/* OPEN: reports the outcome. If it is released and somebody waits, the claim is RELEASING
 * and on_released is called later; otherwise CLOSED. A question in progress is given up.
 * Takes NULL, and a claim in any other state. */
void claim_tell(struct claim *c, const struct claim_end *e);

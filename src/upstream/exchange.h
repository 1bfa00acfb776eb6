#pragma once
/* One request to the upstream and its answer. Two HTTP clients implement it: h1_client
 * speaks HTTP/1.1 on connections of conn_pool; h2_client speaks HTTP/2 where settings and
 * handshake allow. The user of an exchange is a relay, or a test.
 *
 *     exchange_start --> one client --> on_sending, on_head, on_progress ... on_end
 *
 * The request body is a buffer that the user fills and the client empties; the answer body
 * is a buffer that the client fills and the user empties. Each side tells the other when it
 * has added or taken something: the client by on_progress, the user by exchange_go_on.
 *
 * An exchange makes at most two attempts. The second one is made on a new connection, or over
 * HTTP/2 on one that other requests are using, and only if nothing of an answer was received,
 * the body is still complete here, and
 *   - no byte of the request was written, or over HTTP/2 the upstream says that it has not
 *     processed it (REFUSED_STREAM, GOAWAY: RFC 9113 section 8.7); or
 *   - it is `resendable`, and the pooled connection that it was sent on was dead.
 * Thread: worker, for all of it. */
#include "base/arena.h"
#include "base/base.h"
#include "base/buf.h"
#include "base/failure.h"
#include "config/config.h"
#include "http/header.h"
#include "http/response_check.h"
#include "upstream/error.h"

struct conn_pool;
struct curl_host;
struct exchange;
struct exchange_client;
struct h2_host;
struct loop;

/* What a thread provides to its exchanges. */
struct exchange_host {
    struct loop *loop;
    struct curl_host *curl;
    struct conn_pool *conn_pool;
    const struct exchange_client *h1; /* for upstreams that use HTTP/1.1 */
    const struct exchange_client *h2; /* where HTTP/2 may be used */
    struct h2_host *h2_host;          /* private to h2_client */
};

/* The request. Everything that it points to must stay until the exchange has ended. */
struct exchange_request {
    /* an object that outlives the exchange takes a reference of its own */
    struct config *config;
    const char *method, *prefix, *path; /* the target is prefix followed by path */
    struct header_forward head;         /* including the length of the body */
    /* may be sent again after a pooled connection turned out to be dead: GET, HEAD, OPTIONS
     * (RFC 9110 section 9.2.1), if known to be safe */
    bool resendable;
    bool is_head;
    /* It has an entry in the ledger. When such a request is given up it must not reach the
     * upstream later, so its connection is reset; so is one on which nothing is acknowledged
     * for response_timeout (HTTP/1.1; over HTTP/2 the stream is reset, since other requests
     * share the connection). */
    bool claimed;
};

/* The part of the request body that has been received. */
struct exchange_body {
    /* while `kept`: from the first byte on; else only what is still to be sent */
    struct buf bytes;
    size_t sent;  /* number of `bytes` that were sent, while they are kept */
    bool kept;    /* for a second attempt */
    bool ended;   /* nothing more will be added */
    bool discard; /* set by the user: the rest is discarded and not sent */
};

/* How an exchange calls its user; one table for all of them. None is called from within
 * exchange_start; all may be called from exchange_go_on. Only on_end may call into the
 * exchange (cancel, or start the next one); none may free it. */
struct exchange_user {
    /* Whether the request may be sent, asked just before its first byte. False: it ends with
     * FAIL_FROZEN, whatever the user's reason is. NULL: always. */
    bool (*may_send)(struct exchange *x);
    /* The request is about to be written; `attempt.reused` says on what kind of connection. */
    void (*on_sending)(struct exchange *x);
    /* The final head is complete: `head`, `fields`. */
    void (*on_head)(struct exchange *x);
    /* Bytes were added to `answer_body`, or the request body has room again, or all of it is
     * sent behind an early answer. */
    void (*on_progress)(struct exchange *x);
    /* The answer is complete (f NULL), or nothing more of it will come, for this reason.
     * After a complete answer below 400 the client may still send the rest of the request
     * body, see exchange_is_sending. */
    void (*on_end)(struct exchange *x, const struct failure *f);
};

struct exchange_options {
    const struct exchange_host *host;
    const struct exchange_user *user;
    struct exchange_body *body;
    struct buf *answer_body; /* its limit is the window */
    /* for the copy of the head; not cleared before the exchange has ended */
    struct arena *arena;
};

struct exchange {
    /* private to each client, kept from one request to the next; NULL: none yet */
    void *h1, *h2;
    const struct exchange_client *client; /* the one that has the present request */

    struct exchange_options with;
    struct exchange_request request;

    /* the progress of the attempt */
    struct upstream_attempt attempt;
    bool fresh;                  /* this attempt is the second */
    bool wants_body, wants_room; /* waits for more of the body; for room in answer_body */
    bool answered; /* the answer is complete; the rest of the body is still being sent */
    /* the rest of the body cannot or need not be sent: after an answer of 400 or above, or
     * when the upstream closes */
    bool rest_unwanted;
    /* When there was progress last: bytes of the request, a complete head, bytes of the answer's
     * body, or room for them where there was none. Parts of a head do not count, so that a slow
     * head has one deadline. */
    int64_t progress_ms;

    /* the answer */
    struct response_check head;
    struct header_field *fields; /* in the arena; names and values end in NUL */
    size_t field_count, field_cap;
    int64_t body_bytes; /* received so far */
};

/* Takes a zeroed one. What the options point to must outlive the exchange. */
void exchange_init(struct exchange *x, const struct exchange_options *o);
/* Frees what is kept; no request may be in progress. */
void exchange_done(struct exchange *x);

/* Starts a request; none may be in progress. Returns FAIL_NONE, and on_end is called later,
 * never from within; or why it could not be started, and on_end is not called. */
enum failure_kind exchange_start(struct exchange *x,
                                 const struct exchange_request *q) MUST_CHECK;
/* Ends it without on_end. Takes one that is not running. */
void exchange_cancel(struct exchange *x);
/* The user has added to the body, ended or discarded it, or made room. */
void exchange_go_on(struct exchange *x);

/* Whether the final head has been received. */
bool exchange_has_head(const struct exchange *x);
/* Whether the answer is complete and the client still sends the rest of the request body. */
bool exchange_is_sending(const struct exchange *x);

/* --- for the clients --------------------------------------------------------------------- */

struct exchange_client {
    /* Returns like exchange_start; FAIL_INTERNAL: no memory. Later failures are reported by
     * exchange_ended. */
    enum failure_kind (*start)(struct exchange *x);
    /* Takes an exchange that is not this client's. */
    void (*cancel)(struct exchange *x);
    /* There is more of the body, or its end (wants_body was set). */
    void (*more_body)(struct exchange *x);
    /* There is room for the answer's body (wants_room was set). */
    void (*more_room)(struct exchange *x);
    /* Makes what is kept from one request to the next, before the first; never NULL. */
    void *(*keep_new)(struct exchange *x);
    void (*keep_free)(void *kept);
};

/* Makes this client the one that has the request; the caller starts it afterwards. */
void exchange_use(struct exchange *x, const struct exchange_client *client);
/* Whether the request may be written; ask just before its first byte. */
bool exchange_may_send(struct exchange *x);
/* It may not be written: ends the exchange. The client must not refer to the exchange any
 * more. */
void exchange_end_unsent(struct exchange *x);
/* The request is about to be written. */
void exchange_sending(struct exchange *x);
/* Number of bytes of the body that were received and not sent yet. */
size_t exchange_body_unsent(const struct exchange *x);
const char *exchange_body_front(const struct exchange *x);
/* n of them were sent. */
void exchange_body_sent(struct exchange *x, size_t n);
/* Records that there was progress now: progress_ms. */
void exchange_progressed(struct exchange *x);
/* A line of the answer's head or trailers. False: it was refused, see `head`. */
bool exchange_line(struct exchange *x, const char *line, size_t n) MUST_CHECK;
/* Whether the answer has no body, whatever its fields say (RFC 9112 section 6.3). */
bool exchange_is_bodiless(const struct exchange *x);
/* The answer is over. whole: everything that its framing promises was received; otherwise it
 * failed with `code`, and there may be a second attempt. */
void exchange_ended(struct exchange *x, CURLcode code, bool whole);
/* Whether a second attempt is allowed after one that ended with `code`. */
bool exchange_may_retry(const struct exchange *x, CURLcode code);

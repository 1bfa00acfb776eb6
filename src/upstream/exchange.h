#pragma once
/* One request to the upstream and its answer: what a user (a relay, or a test) hands over, and
 * what it is told. Two HTTP clients stand behind it: h1_client speaks HTTP/1.1 on connections of
 * conn_pool; h2_client speaks HTTP/2 where settings and handshake say so.
 *
 *     exchange_start --> one client --> on_sending, on_head, on_progress ... on_end
 *
 * The request body is a window that the user fills and the client empties; the answer body is a
 * window that the client fills and the user empties. Each side tells the other when it has moved:
 * the client by on_progress, the user by exchange_go_on.
 *
 * An exchange sends its request at most twice: a second time on a new connection, and only when
 * not a byte of the first was written, or when the method is safe and a pooled connection turned
 * out to be dead. Thread: worker, for all of it. */
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

/* What the thread lends to its exchanges. */
struct exchange_host {
    struct loop *loop;
    struct curl_host *curl;
    struct conn_pool *conn_pool;
    const struct exchange_client *h1; /* for upstreams that speak HTTP/1.1 only */
    const struct exchange_client *h2; /* where HTTP/2 may be spoken */
    struct h2_host *h2_host;          /* h2's own */
};

/* The request. All that is pointed to must last until the exchange has ended. */
struct exchange_request {
    struct config *config; /* what outlives the exchange takes a reference of its own */
    const char *method, *prefix, *path; /* the target is prefix and path together */
    struct header_forward head;         /* with the length of the body */
    bool resendable; /* whatever became of it on a dead pooled connection, it may go out again:
                        GET, HEAD, OPTIONS (RFC 9110 section 9.2.1), as far as known to be safe */
    bool is_head;
    /* In the ledger: what is given up is to reach the upstream no more, so its connection ends by a
     * reset; and one on which nothing is acknowledged for response_timeout ends, too (HTTP/1.1; over
     * HTTP/2 the stream is reset, and other requests share the connection). */
    bool claimed;
};

/* The body of the request, as far as it is here. */
struct exchange_body {
    struct buf bytes; /* while `kept`: from the first byte on; else only what is to be sent */
    size_t sent;      /* of `bytes`, while they are kept */
    bool kept;        /* for a second sending */
    bool ended;       /* nothing more is added */
    bool discard;     /* set by the user: the rest is thrown away and not sent */
};

/* How an exchange tells its user; once for all of them. None is called from within
 * exchange_start; from exchange_go_on, all of them may be. Only on_end may call into the
 * exchange (cancel, or start the next one); none may free it. */
struct exchange_user {
    /* Whether the request may be sent now, just before its first byte. False: it ends with
     * FAIL_FROZEN, whatever the user's reason is. NULL: it may. */
    bool (*may_send)(struct exchange *x);
    /* The request is about to be written: `attempt.reused` tells on what. */
    void (*on_sending)(struct exchange *x);
    /* The final head is whole: `head`, `fields`. */
    void (*on_head)(struct exchange *x);
    /* Bytes came into `answer_body`, or the request body has room again. */
    void (*on_progress)(struct exchange *x);
    /* The answer is whole (NULL), or there will be nothing more of it, for this reason. After a
     * whole answer below 400 the client may still send what is left of the request body, see
     * exchange_is_sending. */
    void (*on_end)(struct exchange *x, const struct failure *f);
};

struct exchange_options {
    const struct exchange_host *host;
    const struct exchange_user *user;
    struct exchange_body *body;
    struct buf *answer_body; /* its limit is the window */
    struct arena *arena; /* for the head's copy; not cleared before the exchange has ended */
};

struct exchange {
    void *h1, *h2; /* each client's own, kept from one request to the next; NULL: none yet */
    const struct exchange_client *client; /* which of the two has the present request */

    struct exchange_options with;
    struct exchange_request request;

    /* how it goes */
    struct upstream_attempt attempt;
    bool fresh;                  /* this attempt is the second, on a new connection */
    bool wants_body, wants_room; /* waits for bytes of the body, for room for the answer's */
    bool answered;               /* the answer is whole; the rest of the body is still sent */
    bool rest_unwanted;          /* what was not sent of the body can or need not be sent: after
                                    an answer of 400 or above, or when the other side closes */
    /* When something moved last: bytes of the request, a whole head, or bytes of the answer's
     * body. Pieces of a head do not count, so that one that drips in has one deadline. */
    int64_t progress_ms;

    /* the answer */
    struct response_check head;
    struct header_field *fields; /* in the arena; names and values end in NUL */
    size_t field_count, field_cap;
    int64_t body_bytes; /* received so far */
};

/* Takes a zeroed one. What the options point to must outlive the exchange. */
void exchange_init(struct exchange *x, const struct exchange_options *o);
/* Frees what is kept; nothing may be running. */
void exchange_done(struct exchange *x);

/* Sends a request; nothing may be running. Returns FAIL_NONE; on_end comes later, never from
 * within. Or why it could not be started (there is no on_end then). */
enum failure_kind exchange_start(struct exchange *x,
                                 const struct exchange_request *q) MUST_CHECK;
/* Ends it without a word. Takes one that is not running. */
void exchange_cancel(struct exchange *x);
/* The user has moved: has added to the body, ended or discarded it, or made room. */
void exchange_go_on(struct exchange *x);

/* Whether the final head is here. */
bool exchange_has_head(const struct exchange *x);
/* Whether the answer is whole and the client still sends the rest of the request body. */
bool exchange_is_sending(const struct exchange *x);

/* --- for the clients --------------------------------------------------------------------- */

struct exchange_client {
    /* Returns as exchange_start; FAIL_INTERNAL: no memory. What fails later comes through
     * exchange_ended. */
    enum failure_kind (*start)(struct exchange *x);
    /* Takes an exchange that is not this client's. */
    void (*cancel)(struct exchange *x);
    /* There is more of the body, or its end (wants_body was set). */
    void (*more_body)(struct exchange *x);
    /* There is room for the answer's body (wants_room was set). */
    void (*more_room)(struct exchange *x);
    /* What it keeps from one request to the next: made before the first, never NULL. */
    void *(*keep_new)(struct exchange *x);
    void (*keep_free)(void *kept);
};

/* From now on the request is this client's. */
void exchange_use(struct exchange *x, const struct exchange_client *client);
/* Whether the request may be written now; to be asked just before its first byte. */
bool exchange_may_send(struct exchange *x);
/* It may not: the end. Nothing of the client's may hold on to the exchange any more. */
void exchange_barred(struct exchange *x);
/* The request is about to be written. */
void exchange_sending(struct exchange *x);
/* Bytes of the body that are here and were not sent yet. */
size_t exchange_body_here(const struct exchange *x);
const char *exchange_body_front(const struct exchange *x);
/* So many of them have gone. */
void exchange_body_sent(struct exchange *x, size_t n);
/* Something has moved. */
void exchange_moved(struct exchange *x);
/* A line of the answer's head or of its trailers. False: it was refused, see `head`. */
bool exchange_line(struct exchange *x, const char *line, size_t n) MUST_CHECK;
/* Whether the answer has no body, whatever its fields say (RFC 9112 section 6.3). */
bool exchange_is_bodiless(const struct exchange *x);
/* The answer is over. whole: all that its framing promises has come; else it failed with
 * `code`, and may be tried once more. */
void exchange_ended(struct exchange *x, CURLcode code, bool whole);
/* Whether the attempt that ended with `code` may be sent once more, on a new connection. */
bool exchange_may_retry(const struct exchange *x, CURLcode code);

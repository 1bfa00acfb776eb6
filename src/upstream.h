#pragma once
/* curl's callbacks for a relay: one or more attempts to have the upstream answer it. */
#include "base.h"
#include "guard.h"
#include "header.h"
#include "multi.h"

struct farewell;
struct relay;

/* How the handle is set for the request it had last. */
struct upstream_shape {
    char method[GUARD_METHOD_MAX + 1]; /* empty: none yet */
    bool has_body, large, fresh, tells;
};

struct upstream {
    struct multi_transfer transfer;
    CURLU *url;
    struct upstream_shape shape;
    struct snapshot *setup_for; /* the settings the handle was made with */
    bool used;                  /* it has had a transfer, see multi_handles_last */
    struct guard_answer guard;
    struct header_field *fields; /* of the answer, in the relay's arena; all end in NUL */
    size_t count, cap;
    unsigned prereqs;    /* how often curl was about to send this attempt */
    bool resend_refused; /* curl wanted to send an unsafe request again */
    bool fresh;          /* a second try, on a new connection */
    bool retried;
    bool paused_up, paused_down;
    /* How the head of a body of unknown length went out, see multi_late_chunks_framed. */
    bool tells, head_whole, head_h2, chunks_ended;
    unsigned head_pieces;
    int64_t body_bytes;          /* received so far */
    char words[CURL_ERROR_SIZE]; /* curl's own about a failure */
    struct farewell *farewell;   /* of an answer that ends with its TLS connection; else NULL */
};

/* Sends the relay's request with its grant. A failure comes through relay_on_upstream_done,
 * never from within. */
void upstream_start(struct relay *r);
/* Ends it without a word. */
void upstream_cancel(struct relay *r);
/* Goes on where curl was paused and now can. */
void upstream_unpause(struct relay *r);
/* Frees the handle. */
void upstream_free(struct upstream *u);

#pragma once
/* The upstream's side of a relay: one or more attempts to have it answer. Two ways lead there:
 * upstream_http1.c speaks HTTP/1.1 itself, on connections that libcurl makes; where HTTP/2 may
 * be spoken, upstream_curl.c leaves the exchange to libcurl. */
#include "base/base.h"
#include "http/h1_decoder.h"
#include "http/header.h"
#include "http/request_check.h"
#include "http/response_check.h"
#include "net/curl_host.h"

struct close_notify;
struct relay;
struct upstream_conn;

/* How libcurl's handle is set for the request it had last. */
struct upstream_shape {
    char method[REQUEST_METHOD_MAX + 1]; /* empty: none yet */
    bool has_body, large, fresh, tells;
};

struct curl_client {
    struct curl_host_transfer transfer;
    CURLU *url;
    struct upstream_shape shape;
    struct config *setup_for; /* the settings the handle was made with */
    bool used;                /* it has had a transfer, see curl_host_handles_last */
    /* How the head of a body of unknown length went out, see curl_host_late_chunks_framed. */
    bool tells, head_whole, head_h2, chunks_ended;
    unsigned head_pieces;
    struct close_notify
        *close_notify; /* of an answer that ends with its TLS connection; else NULL */
};

struct h1_client {
    struct upstream_conn *conn; /* NULL: nothing is under way */
    struct h1_decoder reader;
    struct buf out;       /* of the request: what is to be written before more of the body */
    bool had_token;       /* `out` has, since it was cleared last */
    bool begun;           /* sending has */
    bool send_closed;     /* the other side takes nothing more; its answer may still come */
    bool chunks_ended;    /* the last one is in `out`, or written */
    bool last;            /* the connection ends with this answer */
    int64_t body_taken;   /* bytes of the body, written or in `out` */
    uint64_t sent_before; /* by the connection, when it began */
};

struct upstream {
    struct curl_client curl; /* with `http1`, kept from one request to the next */
    struct h1_client h1;
    bool by_curl; /* which of the two has the present request */

    /* the request, as sent last */
    unsigned sendings;   /* how often this attempt was about to be sent */
    bool reused;         /* the connection had carried another one before */
    bool wrote;          /* when it has failed: a byte of it may have left */
    bool resend_refused; /* curl wanted to send an unsafe request again */
    bool fresh;          /* a second try, on a new connection */
    bool retried;
    bool paused_up, paused_down; /* waits for bytes of the body, for room for the answer's */

    /* the answer */
    struct response_check guard;
    struct header_field *fields; /* in the relay's arena; all end in NUL */
    size_t count, cap;
    bool began;         /* something of it has come */
    bool unconfirmed;   /* it ended with its connection, which does not say that this was all */
    int64_t body_bytes; /* received so far */

    char error_text[CURL_ERROR_SIZE]; /* curl's own about a failure */
};

/* Sends the relay's request with its grant. A failure comes through relay_on_upstream_done,
 * never from within. */
void upstream_start(struct relay *r);
/* Ends it without a word. */
void upstream_cancel(struct relay *r);
/* Goes on where it was paused and now can. */
void upstream_unpause(struct relay *r);
/* Frees what is kept. */
void upstream_free(struct upstream *u);

#pragma once
/* The only place that gives an answer to a caller. It has two ways:
 *
 *   - through libmicrohttpd, if the request's body is complete and the head fits its pool: the
 *     connection then serves the next request;
 *   - without it (raw_response), if the answer begins before the body is complete, or if its
 *     head is large: the connection ends with it. libmicrohttpd continues to read the body
 *     meanwhile (body_feed), as long as somebody wants it.
 *
 * The fields of the head come from one table in both cases. Thread: worker. */
#include "base/base.h"
#include "downstream/body_feed.h"
#include "downstream/raw_response.h"
#include "http/header.h"
#include "net/mhd_host.h"
#include "proxy/response_sink.h"

struct conn;
struct relay;

struct response {
    struct conn *conn;           /* permanent; everything else belongs to one request */
    struct relay *relay;         /* NULL: no request in progress */
    const char *target_in_place; /* where the target was received */
    struct response_sink sink;
    struct response_head head;
    struct failure failure; /* kind FAIL_NONE: the answer is not the proxy's own error */
    struct body_feed *feed; /* NULL: libmicrohttpd has the caller's connection */
    struct raw_response raw;
    bool head_seen;   /* of the request: the handler was called */
    bool begun;       /* there is a head to give */
    bool ended, cut;  /* no more of its body will come */
    bool past_mhd;    /* its head does not fit libmicrohttpd's pool, or there is a feed */
    bool raw_on;      /* it is written without libmicrohttpd */
    int64_t taken;    /* bytes that the caller had accepted when last checked */
    bool half_closed; /* nothing more is written */
    bool over;        /* only closing the connection is left to do */
    bool body_whole;  /* the request's body is complete */
    /* suspended in the handler's first call: libmicrohttpd has neither begun to read the body
     * nor sent 100 (Continue) */
    bool head_waits;
    bool http_1_0;       /* the version that the caller uses */
    bool is_head;        /* the method is HEAD: the answer has no body */
    bool chunked;        /* the request's body */
    bool refused_upload; /* counted in downstream.refused_uploads */
    /* number of libmicrohttpd's last run before it was resumed */
    uint64_t resumed_after_run;
    bool polls;       /* waits for the answer without being suspended, see mhd_host.h */
    bool polled_long; /* and has waited so long that it is suspended at the next call */
};

/* Decides which fields of our own an answer gets. */
struct response_input {
    const struct failure *failure; /* NULL: not an error of the proxy's own */
    int status;
    const struct header_field *fields; /* fields from elsewhere */
    size_t count;
    const char *request_id; /* NULL: none */
    bool last;              /* the connection ends with this answer */
    bool has_limits;        /* a 429 can be the proxy's own: mark those of the upstream */
    bool date;              /* add a Date if there is none; libmicrohttpd does so by itself */
};

#define RESPONSE_OWN_FIELDS_MAX 11
/* Values that response_fields makes. */
struct response_text {
    char proxy_status[256], retry_after[16], date[32];
    char limit_policy[96], limit_state[96];
};
/* Fills `out`, which has room for in->count + RESPONSE_OWN_FIELDS_MAX fields, and returns how
 * many it wrote. They point into `text` and to what `in` points to (not into `in` itself):
 * both must stay as long as the fields are used. */
size_t response_fields(struct header_field *out, struct response_text *text,
                       const struct response_input *in);

/* Writes a complete answer to what may never have become a request, with `Connection:
 * close`. Returns 0, -EMSGSIZE or -ENOMEM. */
int response_message(struct buf *out, const struct failure *f,
                     const char *request_id) MUST_CHECK;
/* Writes such an answer and shuts the connection down; only without a complete request in
 * progress. */
void response_refuse(struct conn *c, const struct failure *f, const char *request_id);

/* At the start and the end of a request. */
void response_init(struct response *s);
void response_done(struct response *s);

/* For libmicrohttpd's handler: the answer is ready and libmicrohttpd can take it. */
enum MHD_Result response_give(struct response *s) MUST_CHECK;
/* Whether a connection that waits can go on. */
bool response_can_go_on(const struct response *s);
/* Suspends the connection: libmicrohttpd neither reads, writes nor calls the handler. */
void response_suspend(struct response *s);
/* Lets the request wait for its answer: suspended, or polling if it will probably come soon. */
void response_wait(struct response *s);
/* Ends polling. Takes one that does not poll. */
void response_stop_polling(struct response *s);
/* The caller's connection is readable or writable, or is broken (only if there is a feed). */
void response_on_ready(struct response *s, bool broken);

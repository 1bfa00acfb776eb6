#pragma once
/* The only place that gives an answer to a caller. It has two ways:
 *
 *   - through libmicrohttpd, when the request's body is all here and the head fits its pool:
 *     the connection then serves the next request;
 *   - past it (raw_response), when the answer comes, or begins to come, before the body is all
 *     here, or when its head is large: the connection ends with it. libmicrohttpd goes on reading
 *     the body meanwhile (body_feed), as long as somebody wants it.
 *
 * The fields of the head come from one table, whichever way it goes. Thread: worker. */
#include "base/base.h"
#include "downstream/body_feed.h"
#include "downstream/raw_response.h"
#include "http/header.h"
#include "net/mhd_host.h"
#include "proxy/response_sink.h"

struct conn;
struct relay;

struct response {
    struct conn *conn;           /* stays; the rest is one request's */
    struct relay *relay;         /* NULL: none is under way */
    const char *target_in_place; /* where its target was received */
    struct response_sink sink;
    struct response_head head;
    struct failure failure; /* kind FAIL_NONE: the answer is not the proxy's own error */
    struct body_feed *feed; /* NULL: libmicrohttpd has the connection */
    struct raw_response raw;
    bool head_seen;   /* of the request: the handler has been called */
    bool begun;       /* there is a head to give */
    bool ended, cut;  /* and nothing more of its body comes */
    bool past_mhd;    /* its head does not fit libmicrohttpd's pool, or there is a feed */
    bool raw_on;      /* it goes past libmicrohttpd */
    int64_t taken;    /* of the answer's bytes by the caller, when it was last looked */
    bool half_closed; /* nothing more is written */
    bool over;        /* nothing is left to do but to close the connection */
    bool body_whole;  /* the request's body is all here */
    bool head_waits;  /* held before the body, which the caller has not been asked for yet */
    bool http_1_0;    /* what the caller speaks */
    bool polls;       /* waits for the answer without being suspended, see mhd_host.h */
    bool polled_long; /* and has done so for so long that it may as well be suspended */
};

/* What decides which fields of the proxy's own an answer gets. */
struct response_input {
    const struct failure *failure; /* NULL: an answer of somebody else's */
    int status;
    const struct header_field *fields; /* that come with it */
    size_t count;
    const char *request_id; /* NULL: there is none */
    bool last;              /* the connection ends with it */
    bool has_limits; /* a 429 may be the proxy's own: it is said when it is the upstream's */
    bool date;       /* add a Date where there is none; libmicrohttpd does by itself */
};

#define RESPONSE_OWN_FIELDS_MAX 11
/* Fills `out`, which has room for in->count + RESPONSE_OWN_FIELDS_MAX; returns how many fields
 * there are. `text` holds values that are made here, and must last as long as they. */
struct response_text {
    char proxy_status[256], retry_after[16], date[32];
    char limit_policy[96], limit_state[96];
};
size_t response_fields(struct header_field *out, struct response_text *text,
                       const struct response_input *in);

/* A whole answer to what may never have become a request, with `Connection: close`. Returns 0,
 * -EMSGSIZE or -ENOMEM. */
int response_message(struct buf *out, const struct failure *f,
                     const char *request_id) MUST_CHECK;
/* Writes one and shuts the connection down, where no whole request is under way. */
void response_refuse(struct conn *c, const struct failure *f, const char *request_id);

/* A request begins, and is over. */
void response_init(struct response *s);
void response_done(struct response *s);

/* For libmicrohttpd's handler: the answer is there and libmicrohttpd can take it. */
enum MHD_Result response_give(struct response *s) MUST_CHECK;
/* Whether a connection that waits has anything to do. */
bool response_can_go_on(const struct response *s);
/* Waits, suspended; or unsuspended for an answer that is likely to come soon. */
void response_suspend(struct response *s);
void response_wait(struct response *s);
void response_stop_polling(struct response *s);
/* The caller's connection can be read or written, or is broken (only while there is a feed). */
void response_on_ready(struct response *s, bool broken);

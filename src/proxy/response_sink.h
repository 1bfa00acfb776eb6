#pragma once
/* The caller's side of a request, as the relay sees it: where the answer goes. The relay
 * gives a head, lets the sink take the body from a buffer of the relay's, and tells it how
 * the answer ended. Implemented by downstream/response.c; null_sink.c replaces it when the
 * caller has left, and tests have their own. Thread: worker. */
#include "base/base.h"
#include "base/buf.h"
#include "base/failure.h"
#include "http/header.h"
#include "rights/rules.h"

enum response_end {
    RESPONSE_WHOLE,
    RESPONSE_CUT /* make the caller notice that something is missing */
};

/* The head of an answer other than the proxy's own errors. It must stay until the request
 * ends. */
struct response_head {
    int status;
    const struct header_field *fields; /* names and values end in NUL; no hop-by-hop fields */
    size_t count;
    size_t bytes;       /* approximate size of all of it */
    int64_t body_bytes; /* Content-Length; -1: not known in advance */
    bool bodiless; /* no body follows, whatever Content-Length says (RFC 9112 section 6.3) */
    bool waits_for_body; /* need not be given before the request's body is complete */
};

struct response_sink;

struct response_sink_ops {
    /* Gives the head of the answer. Until `given` is set, reject may still replace it. */
    void (*begin)(struct response_sink *s, const struct response_head *head);
    /* The answer has ended. */
    void (*end)(struct response_sink *s, enum response_end how);
    /* Gives an answer of the proxy's own, complete, in place of one that was not given yet. */
    void (*reject)(struct response_sink *s, const struct failure *f);
    /* Call it when the relay has changed something: there is more of the answer's body, there
     * is room for the request's body, or begin, end or reject was called. Does what is
     * possible now: reads the request's body, gives the head, writes the answer's body. Never
     * call it from a function that the sink has called. */
    void (*resume)(struct response_sink *s);
    /* Nobody waits for the rest of the request or of the answer any more: closes the
     * connection. relay_end is called later, not from within. */
    void (*close)(struct response_sink *s);
    /* Call it when an answer has begun while the request's body is still being received: from
     * here on libmicrohttpd, which reads the body, cannot answer a broken chunk by itself. */
    void (*take_over)(struct response_sink *s);
    /* Whether bytes of the request's body have arrived that libmicrohttpd has not read; they
     * may have arrived just now. False while the sink itself keeps it from reading, and after
     * take_over. */
    bool (*has_unread)(const struct response_sink *s);
    /* Checks whether the caller accepts bytes of its answer, and sets `blocked_ms`. */
    void (*look)(struct response_sink *s);
    /* The request will wait for a long time: relay_on_caller_gone must be called when the
     * caller leaves. True: examine the relay again at once. */
    bool (*watch_close)(struct response_sink *s);
    /* The callers that the connection may belong to, see conn_callers. */
    uint32_t (*callers)(struct response_sink *s, const struct rules *rules,
                        const struct caller_facts **facts);
};

struct response_sink {
    const struct response_sink_ops *ops;
    struct buf *body;       /* the relay's: the answer's body on its way to the caller */
    struct arena *arena;    /* the relay's, for what must stay as long as the request */
    const char *request_id; /* NULL: none yet */
    const char *trace_id;   /* from the caller's traceparent; NULL: none */
    bool given;         /* the head is written or handed over: it cannot be replaced any more */
    bool written;       /* the whole answer is written */
    bool held;          /* libmicrohttpd reads nothing at present; only the sink changes it */
    bool closed;        /* the proxy has closed it: after an answer, or without one */
    bool refused;       /* the connection is above listen.max_connections */
    int status;         /* of what was given; 0: none */
    int64_t body_bytes; /* bytes taken from the buffer */
    /* Since when bytes of the answer have been waiting without the caller accepting any,
     * when last checked; 0: it accepts them, or there are none. */
    int64_t blocked_ms;
    bool stalled; /* that took too long: reset the connection at once */
};

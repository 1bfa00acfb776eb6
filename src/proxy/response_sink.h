#pragma once
/* The caller's side of a request, as the relay sees it: where the answer goes. The relay gives a
 * head, lets the sink take the body from a buffer of the relay's, and says how it ended. The
 * implementation is downstream/response.c; null_sink.c stands in when the caller has left, and tests
 * have their own. Thread: worker. */
#include "base/base.h"
#include "base/buf.h"
#include "base/failure.h"
#include "http/header.h"
#include "rights/rules.h"

enum response_end {
    RESPONSE_WHOLE,
    RESPONSE_CUT /* the caller must see that something is missing */
};

/* The head of an answer that is not the proxy's own error. Must last until the request ends. */
struct response_head {
    int status;
    const struct header_field *fields; /* names and values end in NUL; nothing hop-by-hop */
    size_t count;
    size_t bytes;       /* about how large all of it is */
    int64_t body_bytes; /* what Content-Length says; -1: not known before the end */
    bool bodiless; /* no body follows, whatever Content-Length says (RFC 9112 section 6.3) */
    bool waits_for_body; /* it need not be given before the request's body is all here */
};

struct response_sink;

struct response_sink_ops {
    /* The head of the answer. Until `given` it may still be replaced by reject. */
    void (*begin)(struct response_sink *s, const struct response_head *head);
    /* Nothing more comes. */
    void (*end)(struct response_sink *s, enum response_end how);
    /* An answer of the proxy's own, whole, in place of any that was not given yet. */
    void (*reject)(struct response_sink *s, const struct failure *f);
    /* Something has changed, in the body buffer or in what was said above: reads, gives and
     * writes on where that is possible now. Never from within a callback of the sink's. */
    void (*resume)(struct response_sink *s);
    /* Nobody waits for the rest of the request any more, nor for the rest of the answer: the
     * connection is to be closed. The relay's end comes later, not from within. */
    void (*close)(struct response_sink *s);
    /* Before more than the head of a chunked request is relied upon: from here on the library
     * that reads the body cannot answer by itself. */
    void (*take_over)(struct response_sink *s);
    /* Whether bytes of the request lie there that nobody reads. */
    bool (*has_unread)(const struct response_sink *s);
    /* Looks whether the caller takes anything of its answer, for `blocked_ms`. */
    void (*look)(struct response_sink *s);
    /* The request waits for long: relay_on_caller_gone is to be called when its caller leaves.
     * True: it is to be asked again at once. */
    bool (*watch_close)(struct response_sink *s);
    /* The callers that the connection may be, see conn_callers. */
    uint32_t (*callers)(struct response_sink *s, const struct rules *rules,
                        const struct caller_facts **facts);
};

struct response_sink {
    const struct response_sink_ops *ops;
    struct buf *body;       /* the relay's: of the answer, on its way to the caller */
    struct arena *arena;    /* the relay's, for what must last as long as the request */
    const char *request_id; /* NULL: none yet */
    const char *trace_id;   /* of the caller's traceparent; NULL: none */
    bool given;             /* the head is out: it can be replaced no more */
    bool written;           /* and all of the answer is */
    bool held;              /* the request's body is not being read at present */
    bool closed;            /* by us, after an answer or because there can be none */
    bool refused;           /* the connection is above listen.max_connections */
    int status;             /* of what was given; 0: nothing */
    int64_t body_bytes;     /* taken from the buffer */
    /* Since when bytes of the answer lie there and the caller takes none, as far as was looked; 0:
     * it does, or there are none. */
    int64_t blocked_ms;
    bool stalled; /* it did so for too long: it is to see a reset, at once */
};

#pragma once
/* Writes an answer without libmicrohttpd: its head, and its body in chunks, by its length,
 * or until the connection ends. Knows nothing of requests. Thread: worker. */
#include "base/base.h"
#include "base/buf.h"
#include "http/header.h"

enum raw_framing {
    RAW_COUNTED,  /* by Content-Length */
    RAW_CHUNKED,  /* for HTTP/1.1 callers */
    RAW_UNTIL_END /* for HTTP/1.0: the body ends with the connection; a cut must be a reset */
};

struct raw_head {
    int status;
    const struct header_field *fields;
    size_t count;
    enum raw_framing framing;
    int64_t body_bytes; /* Content-Length; -1: none */
};

struct raw_response {
    struct buf out;     /* the head, and what comes between the pieces of the body */
    size_t piece_bytes; /* bytes of the body in the present chunk */
    enum raw_framing framing;
    bool in_chunk;   /* its line end was not written yet */
    bool last_added; /* the last chunk was added */
};

enum raw_state {
    RAW_EMPTY,   /* everything so far was written */
    RAW_BLOCKED, /* the caller accepts nothing at present */
    RAW_DONE,    /* the whole answer was written */
    RAW_FAILED   /* the caller is gone */
};

/* Begins an answer. Returns 0, -EMSGSIZE or -ENOMEM. */
int raw_response_init(struct raw_response *r, const struct raw_head *head) MUST_CHECK;
/* Writes as much as there is and fd accepts; *taken: how much of the body. ended: no more
 * body comes. */
enum raw_state raw_response_write(struct raw_response *r, int fd, struct buf *body, bool ended,
                                  size_t *taken);
/* Takes a zeroed one. */
void raw_response_done(struct raw_response *r);
/* Appends the head: "HTTP/1.1 200 OK", the fields, and the empty line. Returns 0, -EMSGSIZE or
 * -ENOMEM. */
int raw_response_head(struct buf *out, const struct raw_head *head) MUST_CHECK;

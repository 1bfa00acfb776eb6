#pragma once
/* The bytes of an answer that is written past libmicrohttpd: its head, and its body in chunks,
 * by its length, or until the connection ends. Knows nothing of requests. Thread: worker. */
#include "base/base.h"
#include "base/buf.h"
#include "http/header.h"

enum raw_framing {
    RAW_COUNTED,  /* Content-Length says how much */
    RAW_CHUNKED,  /* for HTTP/1.1 callers */
    RAW_UNTIL_END /* for HTTP/1.0: the end of the connection says it; a cut must be a reset */
};

struct raw_head {
    int status;
    const struct header_field *fields;
    size_t count;
    enum raw_framing framing;
    int64_t body_bytes; /* Content-Length; -1: none is said */
};

struct raw_response {
    struct buf out;     /* the head, and what stands between the pieces of the body */
    size_t piece_bytes; /* of the body: in the chunk that is being written */
    enum raw_framing framing;
    bool in_chunk;   /* its line end has not been written */
    bool last_added; /* the last chunk has */
};

enum raw_state {
    RAW_EMPTY,   /* all of what is here has been written */
    RAW_BLOCKED, /* the caller takes nothing at present */
    RAW_DONE,    /* all of the answer has been written */
    RAW_FAILED   /* the caller is gone */
};

/* Begins it. Returns 0, -EMSGSIZE or -ENOMEM. */
int raw_response_init(struct raw_response *r, const struct raw_head *head) MUST_CHECK;
/* Writes what there is and fd takes; *taken: how much of the body. ended: no more comes. */
enum raw_state raw_response_write(struct raw_response *r, int fd, struct buf *body, bool ended,
                                  size_t *taken);
/* Takes a zeroed one. */
void raw_response_done(struct raw_response *r);
/* "HTTP/1.1 200 OK" and what follows up to the empty line, appended. */
int raw_response_head(struct buf *out, const struct raw_head *head) MUST_CHECK;

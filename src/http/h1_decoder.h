#pragma once
/* An HTTP/1.1 answer taken apart as it comes in: its lines, the pieces of its body, its end.
 * RFC 9112 sections 2.2, 6.3 and 7.1. Pure; it keeps nothing but a line that is not whole yet.
 * Whether a line is allowed is for response_check to say. */
#include "base/base.h"
#include "base/buf.h"

enum h1_event {
    H1_MORE,     /* all of the input is used */
    H1_LINE,     /* of a head, or of the trailers behind chunks; with its line end */
    H1_BODY,     /* a piece of the body */
    H1_END,      /* the message is over; what is left of the input is none of it */
    H1_TOO_LONG, /* a line has no end */
    H1_BROKEN    /* not a chunked body */
};

enum h1_state {
    H1_HEAD,
    H1_COUNTED,   /* `left` bytes of body */
    H1_SIZE,      /* a chunk's size is to come */
    H1_CHUNK,     /* `left` bytes of a chunk */
    H1_CHUNK_END, /* `left` bytes of the line end behind it */
    H1_TRAILERS,
    H1_UNTIL_CLOSE, /* the connection's end is the body's */
    H1_ENDED
};

struct h1_decoder {
    enum h1_state state;
    int64_t left;
    struct buf line; /* what has come of it */
    bool line_given; /* and it has been handed out */
};

/* A longer line is H1_TOO_LONG; a chunk's size with its extensions: H1_BROKEN. */
#define H1_LINE_MAX 65536
#define H1_SIZE_LINE_MAX 1024

/* A head is to come. */
void h1_decoder_init(struct h1_decoder *h);
/* Frees the line. Takes a zeroed one. */
void h1_decoder_done(struct h1_decoder *h);

/* After the empty line of a final head: how its body is measured. bytes: the Content-Length, 0
 * for an answer without a body, -1 where there is none. */
void h1_decoder_body(struct h1_decoder *h, bool chunked, int64_t bytes);

/* The next event of the *n bytes at *in, which are moved on past it. The piece of a line or of
 * the body lies in the input or in `h`, until the next call. */
enum h1_event h1_decoder_next(struct h1_decoder *h, const char **in, size_t *n,
                              const char **piece, size_t *len);

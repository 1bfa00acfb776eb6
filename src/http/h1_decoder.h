#pragma once
/* Splits an HTTP/1.1 answer, as it arrives, into its lines, the pieces of its body, and its
 * end. RFC 9112 sections 2.2, 6.3 and 7.1. Pure; it stores nothing but an incomplete line.
 * It does not check the lines; response_check does. */
#include "base/base.h"
#include "base/buf.h"

enum h1_event {
    H1_MORE,     /* all of the input is used; more is needed */
    H1_LINE,     /* a line of the head or the trailers, with its line end */
    H1_BODY,     /* a piece of the body */
    H1_END,      /* the message has ended; the rest of the input is not part of it */
    H1_TOO_LONG, /* a line is too long */
    H1_BROKEN    /* the chunked encoding is malformed */
};

enum h1_state {
    H1_HEAD,
    H1_COUNTED,   /* `left` bytes of body */
    H1_SIZE,      /* expects the size of a chunk */
    H1_CHUNK,     /* `left` bytes of a chunk */
    H1_CHUNK_END, /* `left` bytes of the line end after it */
    H1_TRAILERS,
    H1_UNTIL_CLOSE, /* the body ends with the connection */
    H1_ENDED
};

struct h1_decoder {
    enum h1_state state;
    int64_t left;
    struct buf line; /* the beginning of an incomplete line */
    bool line_given; /* `line` was returned and can be cleared */
};

/* Limit: a longer line of a head gives H1_TOO_LONG; a longer chunk size with its extensions
 * H1_BROKEN. */
#define H1_LINE_MAX 65536
#define H1_SIZE_LINE_MAX 1024

/* Expects a head. */
void h1_decoder_init(struct h1_decoder *h);
/* Frees the line. Takes a zeroed one. */
void h1_decoder_done(struct h1_decoder *h);

/* Call it after the empty line of a final head: sets how the body is delimited. bytes: the
 * Content-Length; 0 for an answer without a body; -1 if there is none. */
void h1_decoder_body(struct h1_decoder *h, bool chunked, int64_t bytes);

/* Returns the next event in the *n bytes at *in, and moves both past it. The piece of a line
 * or body points into the input or into `h`, and is valid until the next call. */
enum h1_event h1_decoder_next(struct h1_decoder *h, const char **in, size_t *n,
                              const char **piece, size_t *len);

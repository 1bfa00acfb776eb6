#pragma once
/* An HTTP/1.1 answer taken apart as it comes in: its lines, the pieces of its body, its end.
 * RFC 9112 sections 2.2, 6.3 and 7.1. Pure; it keeps nothing but a line that is not whole yet.
 * What a line may say is for guard.h to judge. */
#include "base/base.h"
#include "base/buf.h"

enum http1_event {
    HTTP1_MORE,     /* all of the input is used */
    HTTP1_LINE,     /* of a head, or of the trailers behind chunks; with its line end */
    HTTP1_BODY,     /* a piece of the body */
    HTTP1_END,      /* the message is over; what is left of the input is none of it */
    HTTP1_TOO_LONG, /* a line has no end */
    HTTP1_BROKEN    /* not a chunked body */
};

enum http1_state {
    HTTP1_HEAD,
    HTTP1_COUNTED,   /* `left` bytes of body */
    HTTP1_SIZE,      /* a chunk's size is to come */
    HTTP1_CHUNK,     /* `left` bytes of a chunk */
    HTTP1_CHUNK_END, /* `left` bytes of the line end behind it */
    HTTP1_TRAILERS,
    HTTP1_UNTIL_CLOSE, /* the connection's end is the body's */
    HTTP1_ENDED
};

struct http1 {
    enum http1_state state;
    int64_t left;
    struct buf line; /* what has come of it */
    bool line_given; /* and it has been handed out */
};

/* A longer line is HTTP1_TOO_LONG; a chunk's size with its extensions: HTTP1_BROKEN. */
#define HTTP1_LINE_MAX 65536
#define HTTP1_SIZE_LINE_MAX 1024

/* A head is to come. */
void http1_init(struct http1 *h);
/* Frees the line. Takes a zeroed one. */
void http1_done(struct http1 *h);

/* After the empty line of a final head: how its body is measured. bytes: the Content-Length, 0
 * for an answer without a body, -1 where there is none. */
void http1_body(struct http1 *h, bool chunked, int64_t bytes);

/* The next event of the *n bytes at *in, which are moved on past it. The piece of a line or of
 * the body lies in the input or in `h`, until the next call. */
enum http1_event http1_next(struct http1 *h, const char **in, size_t *n, const char **piece,
                            size_t *len);

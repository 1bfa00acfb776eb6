#pragma once
/* An answer that libmicrohttpd has no room for. All of a connection's pool is cleared for each
 * request, so it is made for heads of ordinary size; a larger one is written past it, on the
 * connection itself, which ends with this answer. Thread: worker. */
#include "base/base.h"
#include "base/buf.h"
#include "http/header.h"

struct relay;

struct raw_response {
    bool on;
    bool over;        /* nothing is left to do but to close the connection */
    bool blocked;     /* the caller takes nothing at present */
    struct buf head;  /* what is left of it */
    int64_t moved_ms; /* when the caller last took something */
};

/* Adds a field to the head; false: no memory. */
bool raw_response_field(struct relay *r, const struct header_field *f) MUST_CHECK;
/* The status line, in front of all fields; false: no memory. */
bool raw_response_status(struct relay *r, int status) MUST_CHECK;
/* All fields are there. body_bytes: what Content-Length says; -1: the end says it. The
 * connection must be suspended. False: no memory. */
bool raw_response_begin(struct relay *r, int64_t body_bytes) MUST_CHECK;
/* Writes what there is and the caller takes; when it is over the connection goes on. */
void raw_response_step(struct relay *r);
/* Frees the head. */
void raw_response_done(struct raw_response *b);

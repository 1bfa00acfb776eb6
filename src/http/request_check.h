#pragma once
/* Checks a request's head: what RFC 9110 and 9112 forbid is refused before anything is done with
 * it. Pure; nothing here allocates. */
#include "base/base.h"
#include "base/failure.h"
#include "http/header.h"

struct request_check_head {
    const char *method, *version; /* NUL-terminated, in place in the receive buffer */
    const char *target;           /* NUL-terminated, as received: a copy, since libmicrohttpd
                                     unescapes in place after its URI log callback */
    const char *target_in_place;  /* where it lay (what that callback was given); only its
                                     address counts. NULL: `target` itself lies there */
    const struct header_field *fields; /* in the order they came, in place */
    size_t count;                      /* above max_fields, `fields` is not looked at */
    size_t head_bytes;                 /* of the whole head, as libmicrohttpd counted it */
    bool account; /* see below: for a parser that hides what it let through */
    size_t max_head_bytes, max_target_bytes, max_fields;
    int64_t max_body_bytes; /* 0: no limit */
};

struct request_check_result {
    enum failure_kind kind; /* FAIL_NONE: the head is fine */
    const char *why;        /* a literal for the detail */
    int64_t body_bytes;     /* declared Content-Length; -1: chunked; 0: none */
};

#define REQUEST_METHOD_MAX 32

/* Checks a request head: version, method token, Host (exactly one, sound), field names and
 * values byte by byte, Content-Length (one, digits, fits), Transfer-Encoding (exactly
 * `chunked`, never with Content-Length, never in 1.0), Expect, limits.
 *
 * Accounting: libmicrohttpd before 0.9.77 hides bare LF, folded lines, NUL and doubled spaces,
 * but its strings lie where they were received. With `account`, every byte from the method
 * to the empty line must be explained by a method, a space, a target, a space, a version, CRLF,
 * and name, ':', optional blanks, value, CRLF per field; else 400. Gaps are measured, never
 * read. What this cannot see: NUL LF in place of a CRLF (it ends the line there either way),
 * one byte behind a NUL at the very end (NUL byte LF LF, or LF NUL byte LF, in place of the
 * last two CRLF; it reaches nobody), and empty lines before the method.
 *
 * Transfer-Encoding and Content-Length must not have blanks behind their value, legal as they
 * are: libmicrohttpd 0.9.75 keeps them and then misreads the framing. */
struct request_check_result request_check(const struct request_check_head *head);

/* The limits alone, for a head of which only `target`, `count` and `head_bytes` are known so far. */
struct request_check_result request_check_limits(const struct request_check_head *head);

#pragma once
/* Checks a request's head: what RFC 9110 and 9112 forbid is refused before anything else is
 * done with the request. Pure; nothing here allocates. */
#include "base/base.h"
#include "base/failure.h"
#include "http/header.h"

struct request_check_head {
    const char *method, *version; /* NUL-terminated, in place in the receive buffer */
    /* NUL-terminated copy as received: libmicrohttpd decodes it in place after its URI log
     * callback */
    const char *target;
    /* where it was in the receive buffer (that callback's argument); only the address is
     * used. NULL: `target` itself is there */
    const char *target_in_place;
    const struct header_field *fields; /* in the order received, in the receive buffer */
    size_t count;                      /* if above max_fields, `fields` is not read */
    size_t head_bytes;                 /* of the whole head, as counted by libmicrohttpd */
    bool account; /* see below: the parser is one that hides what it accepts */
    size_t max_head_bytes, max_target_bytes, max_fields;
    int64_t max_body_bytes; /* 0: no limit */
};

struct request_check_result {
    enum failure_kind kind; /* FAIL_NONE: the head is good */
    const char *why;        /* a literal for the detail */
    int64_t body_bytes;     /* declared Content-Length; -1: chunked; 0: none */
};

#define REQUEST_METHOD_MAX 32

/* Checks a request head: version, method token, Host (exactly one, valid), field names and
 * values byte by byte, Content-Length (one, digits, not too large), Transfer-Encoding
 * (exactly `chunked`, never with Content-Length, never in 1.0), Expect, limits.
 *
 * Accounting: libmicrohttpd before 0.9.77 accepts bare LF, folded lines, NUL and doubled
 * spaces without telling us, but its strings are still where they were received. With
 * `account`, every byte from the method to the empty line must be explained by a method, a
 * space, a target, a space, a version, CRLF, and for each field name, ':', optional blanks,
 * value, CRLF; otherwise 400. Gaps are measured, never read. It cannot see: NUL LF in place
 * of a CRLF (the line ends there either way), one byte after a NUL at the very end (NUL byte
 * LF LF, or LF NUL byte LF, in place of the last two CRLF; nobody gets to see it), and empty
 * lines before the method.
 *
 * Transfer-Encoding and Content-Length must not have blanks after their value, although
 * these are legal: libmicrohttpd 0.9.75 keeps them and then misreads the framing. */
struct request_check_result request_check(const struct request_check_head *head);

/* Checks the limits alone, when only `target`, `count` and `head_bytes` are known yet. */
struct request_check_result request_check_limits(const struct request_check_head *head);

#pragma once
/* The strictness that the libraries lack: what RFC 9110 and 9112 forbid in a message head is
 * refused before anything is done with it. Pure; nothing here allocates. */
#include "base/base.h"
#include "base/failure.h"
#include "http/header.h"

struct guard_head {
    const char *method, *version; /* NUL-terminated, in place in the receive buffer */
    const char *target;           /* NUL-terminated, as received: a copy, since libmicrohttpd
                                     unescapes in place after its URI log callback */
    const char *target_in_place;  /* where it lay (what that callback was given); only its
                                     address counts. NULL: `target` itself lies there */
    const struct header_field *fields; /* in the order they came, in place */
    size_t count;                      /* above max_fields, `fields` is not looked at */
    size_t head_bytes;                 /* of the whole head, as libmicrohttpd counted it */
    bool account; /* see below: for a parser that hides what it let through */
    size_t max_head_bytes, max_fields;
    int64_t max_body_bytes; /* 0: no limit */
};

struct guard_verdict {
    enum failure_kind kind; /* FAIL_NONE: the head is fine */
    const char *why;        /* a literal for the detail */
    int64_t body_bytes;     /* declared Content-Length; -1: chunked; 0: none */
};

/* A longer request target gets 414 (RFC 9112 section 3 asks for at least 8000). */
#define GUARD_TARGET_MAX 16384
#define GUARD_METHOD_MAX 32

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
struct guard_verdict guard_request(const struct guard_head *head);

/* A host and its port, taken apart. */
struct guard_host {
    const char *name; /* with the brackets of an IPv6 address */
    size_t name_len;
    int port; /* -1: none written */
};

/* Whether the text is "name", "name:port", "[v6]" or "[v6]:port" by RFC 3986 section 3.2.2 (no
 * user, no comma, not empty), and its parts. `out` may be NULL. */
bool guard_host(const char *text, size_t len, struct guard_host *out);

/* An answer's head, fed line by line as libcurl's header callback gives them. */
struct guard_answer {
    int status;             /* of the last status line */
    int http_major;         /* 1 or 2 */
    int64_t content_length; /* -1: none seen */
    bool http_1_0;          /* the status line says HTTP/1.0 */
    bool chunked;           /* Transfer-Encoding: chunked */
    bool complete;          /* the empty line has been seen */
    size_t bytes, fields;   /* of this head */
    size_t interim;         /* 1xx heads seen */
    bool trailer;           /* the last line was behind a complete final head: not part of it */
    size_t trailer_bytes, trailer_fields;
    enum failure_kind kind; /* FAIL_NONE: fine so far */
    const char *why;
};

#define GUARD_ANSWER_BYTES_MAX 65536
#define GUARD_ANSWER_FIELDS_MAX 200
#define GUARD_ANSWER_INTERIM_MAX 100

void guard_answer_init(struct guard_answer *g);

/* One line with its line end. Returns true while the head is sound; false once it is not, with
 * kind and why set (it stays false). A new status line after a complete interim (1xx) head
 * begins a new head. Lines after a complete final head are trailers (libcurl hands them to the
 * same callback): `trailer` is set then, and the line is checked and counted but changes
 * nothing else. A line must end in CRLF or LF. Refused: a status line that is not HTTP/1.0, 1.1
 * or HTTP/2 with three digits 100..599, 101, 407, folded lines, no colon, blank before the
 * colon, bytes that may not stand in names or values (NUL, CR, controls), Content-Length that
 * is not one number (the same number twice is one), Content-Length with Transfer-Encoding,
 * Transfer-Encoding other than exactly `chunked` or in an answer that is not HTTP/1.1, too many
 * bytes, fields or interim heads.
 */
bool guard_answer_line(struct guard_answer *g, const char *line, size_t len);

/* Splits a field line of an answer into name and trimmed value; the line passed
 * guard_answer_line. */
struct header_field guard_split(const char *line, size_t len);

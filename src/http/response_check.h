#pragma once
/* Checks the head of an upstream's answer: what RFC 9110 and 9112 forbid is refused, of which
 * libcurl would let some pass. Pure; nothing here allocates. */
#include "base/base.h"
#include "base/failure.h"
#include "http/header.h"

/* An answer's head, fed line by line as libcurl's header callback gives them. */
struct response_check {
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

#define RESPONSE_CHECK_BYTES_MAX 65536
#define RESPONSE_CHECK_FIELDS_MAX 200
#define RESPONSE_CHECK_INTERIM_MAX 100

void response_check_init(struct response_check *g);

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
bool response_check_line(struct response_check *g, const char *line, size_t len);

/* Splits a field line of an answer into name and trimmed value; the line passed
 * response_check_line. */
struct header_field response_check_split(const char *line, size_t len);

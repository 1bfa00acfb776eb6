#pragma once
/* Checks the head of an upstream's answer and refuses what RFC 9110 and 9112 forbid, some of
 * which libcurl would accept. Pure; nothing here allocates. */
#include "base/base.h"
#include "base/failure.h"
#include "http/header.h"

/* An answer's head, passed line by line. */
struct response_check {
    int status;             /* of the last status line */
    int http_major;         /* 1 or 2 */
    int64_t content_length; /* -1: not received */
    bool http_1_0;          /* the status line says HTTP/1.0 */
    bool chunked;           /* Transfer-Encoding: chunked */
    bool complete;          /* the empty line was received */
    size_t bytes, fields;   /* of this head */
    size_t interim;         /* number of 1xx heads */
    bool trailer;           /* for tests: the last line came after a complete final head */
    size_t trailer_bytes, trailer_fields;
    enum failure_kind kind; /* FAIL_NONE: good so far */
    const char *why;
};

#define RESPONSE_CHECK_BYTES_MAX 65536
#define RESPONSE_CHECK_FIELDS_MAX 200
#define RESPONSE_CHECK_INTERIM_MAX 100

void response_check_init(struct response_check *g);

/* Checks one line with its line end. Returns true while the head is good; once it is not,
 * false, with kind and why set (it stays false). A new status line after a complete interim
 * (1xx) head begins a new head. Lines after a complete final head are trailers: `trailer` is
 * set, and the line is checked and counted but changes nothing else. A line must end in CRLF
 * or LF. Refused are: a status line other than HTTP/1.0, 1.1 or HTTP/2 with three digits
 * 100..599; 101 and 407; folded lines; a missing colon; a blank before the colon; characters
 * not allowed in names or values (NUL, CR, controls); a Content-Length that is not one
 * number (the same number twice is accepted); Content-Length together with
 * Transfer-Encoding; a Transfer-Encoding other than exactly `chunked`, or in an answer that
 * is not HTTP/1.1; too many bytes, fields or interim heads. */
bool response_check_line(struct response_check *g, const char *line, size_t len);

/* Splits a field line, which has passed response_check_line, into name and trimmed value. */
struct header_field response_check_split(const char *line, size_t len);

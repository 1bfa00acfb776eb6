#pragma once
/* From the caller's request target (RFC 9112 section 3.2) to the upstream's. Pure. */
#include "base/base.h"
#include "base/failure.h"
#include "config/config.h"

struct route {
    enum { ROUTE_FORWARD, ROUTE_TOKEN_ENDPOINT, ROUTE_OPTIONS, ROUTE_REFUSED } kind;
    enum failure_kind failure; /* when refused */
    const char *why;           /* when refused: a literal for the detail */
    const char *prefix;        /* put in front of `path` ("" or the base path) */
    const char *path; /* points into the target: origin-form, begins with '/', query included */
    size_t path_len;  /* without the query: for the log */
    const char
        *api_path; /* the same as the upstream sees it, less its base path: for classes */
    bool absolute; /* the target was in absolute-form: for access_check */
};

/* Finds where a request goes. method and target are as received (NUL-terminated, no
 * decoding done); `post` targets of the local token endpoint are recognised when
 * token.local_endpoint is on. Checks RFC 9112 section 3.2 forms: origin-form, absolute-form
 * (when its authority is allowed as a Host or is the upstream's own; one with a query but no
 * path is refused), and `*` only for OPTIONS is refused like all else. Refused with 400: bytes
 * that are not allowed in a target (controls, space, DEL, 8-bit, `#`, `\`, '"', '<', '>', '^',
 * '`', '{', '|', '}' in the path; in the query only controls, space, DEL, 8-bit and '#'), bad
 * percent escapes in the path, `%2f %5c %00` in the path, and `.` or `..` segments, plain or
 * percent-encoded, also with a `;` behind. CONNECT and TRACE: 405. How long the target may be is
 * for request_check, which comes before. Thread: any. */
struct route route_find(const struct config *c, const char *method, const char *target);

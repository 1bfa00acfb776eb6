#pragma once
/* Maps the caller's request target (RFC 9112 section 3.2) to the upstream's. Pure. */
#include "base/base.h"
#include "base/failure.h"
#include "config/config.h"

struct route {
    enum { ROUTE_FORWARD, ROUTE_TOKEN_ENDPOINT, ROUTE_OPTIONS, ROUTE_REFUSED } kind;
    enum failure_kind failure; /* when refused */
    const char *why;           /* when refused: a literal for the detail */
    const char *prefix;        /* to be prepended to `path` ("" or the base path) */
    const char *path; /* points into the target: origin-form, begins with '/', with the query */
    size_t path_len;  /* without the query: for the log */
    const char *api_path; /* the upstream's path without its base path, for classes */
    bool absolute;        /* the target was in absolute-form: for access_check */
};

/* Finds where a request goes. method and target are as received (NUL-terminated, not
 * decoded); the result points into target and c. POST to the local token endpoint is
 * recognised if token.local_endpoint is on. `OPTIONS *` is for the proxy itself (RFC 9110
 * section 9.3.7). Otherwise origin-form is accepted, and absolute-form if its authority is
 * allowed as a Host or is the upstream's own (RFC 9112 section 3.2).
 *
 * Refused with 400: another form; absolute-form with a query but no path; in the path
 * controls, space, DEL, 8-bit characters and # \ " < > ^ ` { | }, malformed percent escapes,
 * `%2f %5c %00`, and segments `.` or `..`, plain or percent-encoded, also before a `;`; in
 * the query controls, space, DEL, 8-bit characters and #. Refused with 421: another
 * authority; with 405: CONNECT and TRACE. The length of the target is checked before, by
 * request_check. Thread: any. */
struct route route_find(const struct config *c, const char *method, const char *target);

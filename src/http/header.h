#pragma once
/* Header fields on their way through: which are dropped, which are set.
 * RFC 9110 sections 5 and 7.6, pure functions on strings. */
#include "base/ascii.h"
#include "base/base.h"
#include "base/buf.h"

/* A field as a peer sent it; neither part need end in NUL. */
struct header_field {
    const char *name, *value;
    size_t name_len, value_len;
};

/* What a request upstream is made of, but for its first line and its body. */
struct header_forward {
    const struct header_field *fields;
    size_t count;
    const char *host;          /* the upstream's authority */
    const char *authorization; /* whole line, "Authorization: Bearer ..." */
    const char *request_id;    /* ours, for where the caller's does not pass; NULL: none */
    const char *require_name;  /* listen.require_header: not forwarded; NULL: none */
    const char *secret_name;   /* callers.header, likewise */
    int64_t body_bytes; /* 0: none, of Content-Length only a zero passes; -1: in chunks */
    bool identity;      /* Accept-Encoding is `identity`, whatever the caller's says */
    bool drop_key;      /* an Idempotency-Key does not pass */
};

/* Writes what goes upstream, in the caller's order, up to and with the empty line: Host first,
 * then all fields that may pass, then Via, X-Request-Id, Authorization. Dropped: every field
 * named in a Connection field, the hop-by-hop ones, Authorization and Proxy-Authorization
 * whatever they say, Host, Expect, the two names given, and names that become one of these when `_` is read as `-`.
 * An existing Via is kept and ours is appended as a field of its own. A body's
 * Content-Length or Transfer-Encoding is written anew, from body_bytes. No line holds CR, LF or
 * NUL: such input is a programming error (request_check refused it). False: it does not fit. */
bool header_write(struct buf *out, const struct header_forward *in) MUST_CHECK;

/* The fields of an answer that may go back to the caller: same hop-by-hop rules, RFC 9110
 * section 7.6.1. Compacts `fields` in place and returns how many are left. Transfer-Encoding
 * and Content-Length are dropped too: the server side writes its own. */
size_t header_filter_response(struct header_field *fields, size_t count);

/* Case-insensitive comparison of a field name with a lower-case literal. Inline, so that the literal's
 * length is a constant: a request asks this about 70 times, and nearly always the lengths differ. */
static inline bool header_is(const struct header_field *f, const char *lower_name)
{
    return f->name_len == strlen(lower_name) &&
           ascii_equal(f->name, f->name_len, lower_name, f->name_len);
}

/* True when a comma-separated list holds the token (case-insensitive), RFC 9110 section 5.6.1.
 */
bool header_has_token(const char *list, size_t len, const char *lower_token);

/* A token that went through one of our kind before stands in Via: "1.1 oneshot-proxy". */
#define HEADER_PSEUDONYM "oneshot-proxy"
bool header_via_is_ours(const struct header_field *fields, size_t count);

/* A Location that points into the upstream's origin, as a path on this proxy: returns the path
 * (points into value, or is "/"), or NULL when it points elsewhere and must pass as it is.
 * origin is "https://host[:port]"; scheme and host are compared without case, default ports are
 * equal to none. `//host/path` counts as absolute. Of several leading slashes only the last is
 * returned, and a path with a tab or a `\` is not local: a browser would take what follows for
 * the name of another host. `scheme://host?query`, without a path, is not local. */
const char *header_local_location(const char *value, const char *origin);

/* The trace id of a traceparent field (W3C Trace Context, section 3.2): 32 digits of it; NULL:
 * there is none, or it is not sound. */
const char *header_trace_id(const char *s, size_t len);
#define HEADER_TRACE_ID_BYTES 32
/* A caller's X-Request-Id that may be taken over: 1 to 128 visible ASCII bytes. */
bool header_request_id_ok(const char *value, size_t len);

/* The N of `Keep-Alive: timeout=N` (RFC 2068 section 19.7.1), in seconds; -1: it says none. */
int64_t header_keep_alive_s(const char *value, size_t len);

#pragma once
/* Header fields on their way through the proxy: which are dropped and which are set. RFC
 * 9110 sections 5 and 7.6; pure functions on strings. */
#include "base/ascii.h"
#include "base/base.h"
#include "base/buf.h"

/* A field as received; name and value need not end in NUL. */
struct header_field {
    const char *name, *value;
    size_t name_len, value_len;
};

/* What the head of an upstream request is made from, except for its first line. */
struct header_forward {
    const struct header_field *fields;
    size_t count;
    const char *host;          /* the upstream's authority */
    const char *authorization; /* the whole line, "Authorization: Bearer ..." */
    const char *request_id;    /* ours, used if the caller's cannot be forwarded; NULL: none */
    const char *require_name;  /* listen.require_header: not forwarded; NULL: none */
    const char *secret_name;   /* callers.header: the same */
    /* 0: none, and of Content-Length only a zero is forwarded; -1: chunked */
    int64_t body_bytes;
    bool identity; /* send Accept-Encoding: identity, whatever the caller's is */
    bool drop_key; /* do not forward an Idempotency-Key */
};

/* Writes the head for the upstream, in the caller's order, including the empty line: Host
 * first, then all fields that may be forwarded, then Via, X-Request-Id, Authorization.
 * Dropped are: every field named in a Connection field, hop-by-hop fields, Authorization and
 * Proxy-Authorization whatever they contain, Host, Expect, the two names given, and names
 * that become one of these when `_` is read as `-`. An existing Via is kept, and ours is
 * added as another field. Content-Length or Transfer-Encoding of a body is written from
 * body_bytes. No field may contain CR, LF or NUL: that would be a programming error, since
 * request_check refuses such input. False: it does not fit. */
bool header_write(struct buf *out, const struct header_forward *in) MUST_CHECK;

/* Filters the fields of an answer by the same rules for hop-by-hop fields, RFC 9110 section
 * 7.6.1. Compacts `fields` in place and returns how many are left. Transfer-Encoding and
 * Content-Length are dropped too: the server side writes its own. */
size_t header_filter_response(struct header_field *fields, size_t count);

/* Compares a field name with a lower-case literal, ignoring case. Inline, so that the
 * literal's length is a constant: a request does this about 70 times, and nearly always the
 * lengths differ. */
static inline bool header_is(const struct header_field *f, const char *lower_name)
{
    return f->name_len == strlen(lower_name) &&
           ascii_equal(f->name, f->name_len, lower_name, f->name_len);
}

/* Whether a comma-separated list contains the token, ignoring case (RFC 9110 section 5.6.1). */
bool header_has_token(const char *list, size_t len, const char *lower_token);

/* Our name in Via: "1.1 oneshot-proxy". A request that has it already went through such a
 * proxy. */
#define HEADER_PSEUDONYM "oneshot-proxy"
bool header_via_is_ours(const struct header_field *fields, size_t count);

/* For a Location on the upstream's origin: returns the path on this proxy (points into
 * value, or is "/"). NULL: it points elsewhere and must not be changed. origin is
 * "https://host[:port]"; scheme and host are compared without case, and a default port
 * equals none. `//host/path` counts as absolute. Of several leading slashes only the last is
 * returned, and a path with a tab or a `\` is not local: a browser would take what follows
 * for a host name. `scheme://host?query`, without a path, is not local. */
const char *header_local_location(const char *value, const char *origin);

/* The trace id in a traceparent field (W3C Trace Context, section 3.2), 32 digits; NULL:
 * there is none, or it is malformed. */
const char *header_trace_id(const char *s, size_t len);
#define HEADER_TRACE_ID_BYTES 32
/* Whether a caller's X-Request-Id can be used: 1 to 128 visible ASCII characters. */
bool header_request_id_ok(const char *value, size_t len);

/* The N in `Keep-Alive: timeout=N` (RFC 2068 section 19.7.1), in seconds; -1: there is none. */
int64_t header_keep_alive_s(const char *value, size_t len);

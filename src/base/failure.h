#pragma once
/* Everything that can go wrong for a caller, as one table: its name, whose fault it is, and
 * what the caller gets (problem details, RFC 9457, and Proxy-Status, RFC 9209). A `struct
 * failure` is a plain value: it is copied between threads and kept as "the last failure". */
#include "base/base.h"

enum stage { STAGE_REQUEST, STAGE_TOKEN, STAGE_UPSTREAM, STAGE_PROXY, STAGE_COUNT };

/* id, type slug (urn:oneshot-proxy:SLUG), status, stage, Proxy-Status error (RFC 9209
 * section 2.3), may the caller try again, title */
/* clang-format off */
#define FAILURES(X) \
    /* the request itself */ \
    X(BAD_REQUEST,        "bad-request",         400, REQUEST, "http_request_error", false, "The request is malformed") \
    X(BAD_TARGET,         "bad-target",          400, REQUEST, "http_request_error", false, "The request target is not allowed") \
    X(HOST_DENIED,        "host-not-allowed",    421, REQUEST, "http_request_denied", false, "The Host of the request is not allowed here") \
    X(ORIGIN_DENIED,      "origin-not-allowed",  403, REQUEST, "http_request_denied", false, "Requests from web pages are not allowed here") \
    X(HEADER_MISSING,     "header-required",     403, REQUEST, "http_request_denied", false, "A required header is missing") \
    X(CALLER_UNKNOWN,     "caller-unknown",      403, REQUEST, "http_request_denied", false, "The caller was not recognised") \
    X(NOT_ALLOWED,        "not-allowed",         403, REQUEST, "http_request_denied", false, "The caller may not do that") \
    X(NOT_FOUND,          "not-found",           404, REQUEST, "http_request_error", false, "Nothing is served at this path") \
    X(METHOD_DENIED,      "method-not-allowed",  405, REQUEST, "http_request_error", false, "The method is not allowed") \
    X(HEAD_TIMEOUT,       "head-timeout",        408, REQUEST, "http_request_error", true,  "The request head took too long") \
    X(BODY_TIMEOUT,       "body-timeout",        408, REQUEST, "http_request_error", true,  "The request body took too long") \
    X(BODY_TOO_LARGE,     "body-too-large",      413, REQUEST, "http_request_error", false, "The request body is too large") \
    X(KEY_MALFORMED,      "idempotency-key-malformed", 400, REQUEST, "http_request_error", false, "The idempotency key is malformed") \
    X(KEY_REQUIRED,       "idempotency-key-required", 400, REQUEST, "http_request_error", false, "An idempotency key is required here") \
    X(KEY_REUSED,         "idempotency-key-reused", 422, REQUEST, "http_request_error", false, "The idempotency key was used for another request") \
    X(KEY_IN_FLIGHT,      "idempotency-in-flight", 409, REQUEST, "http_request_denied", true,  "A request with this key is under way") \
    X(KEY_NOT_KEPT,       "idempotency-answer-not-kept", 409, REQUEST, "http_request_denied", false, "The answer to the request with this key is not kept") \
    X(KEY_UNKNOWN,        "idempotency-outcome-unknown", 409, REQUEST, "http_request_denied", false, "What became of the request with this key is not known") \
    X(TARGET_TOO_LONG,    "target-too-long",     414, REQUEST, "http_request_error", false, "The request target is too long") \
    X(EXPECTATION,        "expectation-failed",  417, REQUEST, "http_request_error", false, "The expectation cannot be met") \
    X(RATE_LIMITED,       "rate-limited",        429, REQUEST, "http_request_denied", true,  "The caller has reached its limit") \
    X(HEAD_TOO_LARGE,     "head-too-large",      431, REQUEST, "http_request_error", false, "The request head is too large") \
    X(CODING_UNKNOWN,     "transfer-coding",     501, REQUEST, "http_request_error", false, "The transfer coding is not implemented") \
    X(VERSION_UNKNOWN,    "http-version",        505, REQUEST, "http_request_error", false, "The HTTP version is not supported") \
    X(LOOP,               "loop",                508, REQUEST, "proxy_loop_detected", false, "The request has been through this proxy before") \
    /* the token */ \
    X(TOKEN_REFUSED,      "token-refused",       401, TOKEN, "proxy_configuration_error", false, "The token endpoint refused the client credentials") \
    X(TOKEN_FORBIDDEN,    "token-forbidden",     403, TOKEN, "proxy_configuration_error", false, "The token endpoint forbids these client credentials") \
    X(TOKEN_CONFIG,       "token-configuration", 502, TOKEN, "proxy_configuration_error", false, "The token endpoint did not accept the token request") \
    X(TOKEN_UNAVAILABLE,  "token-unavailable",   503, TOKEN, "destination_unavailable", true,  "The token endpoint is not available") \
    X(TOKEN_INVALID,      "token-invalid",       503, TOKEN, "http_protocol_error", true,  "The token endpoint sent no usable token") \
    X(TOKEN_DNS,          "token-dns",           502, TOKEN, "dns_error", true,  "The name of the token endpoint does not resolve") \
    X(TOKEN_CONNECT,      "token-connect",       502, TOKEN, "connection_refused", true,  "The token endpoint cannot be reached") \
    X(TOKEN_TLS,          "token-tls",           502, TOKEN, "tls_certificate_error", false, "The TLS connection to the token endpoint failed") \
    X(TOKEN_TIMEOUT,      "token-timeout",       504, TOKEN, "connection_read_timeout", true,  "There is no token yet") \
    /* the upstream */ \
    X(UPSTREAM_DNS,       "upstream-dns",        502, UPSTREAM, "dns_error", true,  "The name of the upstream does not resolve") \
    X(UPSTREAM_CONNECT,   "upstream-connect",    502, UPSTREAM, "connection_refused", true,  "The upstream cannot be reached") \
    X(UPSTREAM_CERT,      "upstream-certificate", 502, UPSTREAM, "tls_certificate_error", false, "The certificate of the upstream was not accepted") \
    X(UPSTREAM_TLS,       "upstream-tls",        502, UPSTREAM, "tls_protocol_error", true,  "The TLS connection to the upstream failed") \
    X(UPSTREAM_CONNECT_TIMEOUT, "upstream-connect-timeout", 504, UPSTREAM, "connection_timeout", true,  "Connecting to the upstream took too long") \
    X(UPSTREAM_RESPONSE_TIMEOUT, "upstream-response-timeout", 504, UPSTREAM, "http_response_timeout", false, "The upstream did not begin to answer in time") \
    X(UPSTREAM_STALLED,   "upstream-stalled",    504, UPSTREAM, "connection_read_timeout", false, "The upstream stopped in the middle of its answer") \
    X(UPSTREAM_LOST,      "upstream-lost",       502, UPSTREAM, "connection_terminated", false, "The connection to the upstream was lost before an answer") \
    X(UPSTREAM_PROTOCOL,  "upstream-protocol",   502, UPSTREAM, "http_protocol_error", false, "The answer of the upstream is not valid HTTP") \
    X(UPSTREAM_HEAD_SIZE, "upstream-head-too-large", 502, UPSTREAM, "http_response_header_section_size", false, "The head of the upstream's answer is too large") \
    X(UPSTREAM_INCOMPLETE, "upstream-incomplete", 502, UPSTREAM, "http_response_incomplete", false, "The answer of the upstream was cut short") \
    /* ourselves */ \
    X(OVERLOAD,           "overload",            503, PROXY, "connection_limit_reached", true,  "The proxy is at its limit") \
    X(FROZEN,             "frozen",              503, PROXY, "http_request_denied", true,  "Requests of this class are stopped") \
    X(DRAINING,           "draining",            503, PROXY, "destination_unavailable", true,  "The proxy is shutting down") \
    X(LEDGER,             "ledger-unavailable",  503, PROXY, "proxy_internal_error", true,  "The ledger cannot record the request") \
    X(INTERNAL,           "internal",            500, PROXY, "proxy_internal_error", true,  "The proxy failed")
/* clang-format on */

#define FAILURE_ID(id, slug, status, stage, error, retryable, title) FAIL_##id,
enum failure_kind { FAIL_NONE, FAILURES(FAILURE_ID) FAILURE_COUNT };

/* A limit of a caller, as reported in the RateLimit fields. */
struct failure_limit {
    /* a literal, the part after the caller's name: "money"; NULL: no limit was involved */
    const char *name;
    int64_t quota;
    /* time in which the quota refills; 0: the quota is of concurrent requests */
    int64_t window_s;
};

/* For a refusal by class, rights, limits or the freeze: what was asked for, and by whom. */
struct failure_about {
    const char *class;  /* a literal; NULL: it is no such refusal */
    char caller[32];    /* "": no caller was recognised, or none are configured */
    char operation[96]; /* "POST /methods/{uuid}/execute" */
    struct failure_limit limit;
};

/* For a refusal by the ledger: the entry that exists already. */
struct failure_entry {
    char id[37];          /* "": it is no such refusal */
    const char *state;    /* a literal */
    int64_t first_seen_s; /* since 1970 */
    int status;           /* of its answer; 0: none */
};

struct failure {
    enum failure_kind kind;
    int status;          /* instead of the table's; 0: the table's */
    int received_status; /* what the other side answered; 0: nothing */
    int retry_after_s;   /* 0: none */
    bool may_have_run;   /* part of the request was sent: never reported as retryable */
    const char *error;   /* NULL: the table's Proxy-Status error; else a literal */
    char detail[320];    /* a sentence: what happened and what to do about it */
    struct failure_about about;
    struct failure_entry entry;
};

struct failure_info {
    const char *slug, *error, *title;
    int status;
    enum stage stage;
    bool retryable;
};

/* The table's row for a kind. Thread: any. */
const struct failure_info *failure_info(enum failure_kind kind);

/* Whether the caller may send the request again without the risk that it is carried out
 * twice. */
bool failure_retryable(const struct failure *f);

/* The status that the caller gets. */
int failure_status(const struct failure *f);

/* "request", "token", "upstream", "proxy". */
const char *failure_stage_name(enum stage stage);

/* Makes a failure with its detail, a sentence; a detail that is too long is cut. */
struct failure failure_make(enum failure_kind kind, const char *fmt, ...) PRINTF_LIKE(2, 3);

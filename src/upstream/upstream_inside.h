#pragma once
/* What the parts of upstream share: upstream.c (either way), upstream_http1.c and
 * upstream_curl.c (one each), upstream_failure.c (what went wrong). */
#include "base/failure.h"
#include "upstream/conn_pool.h"
#include "upstream/upstream.h"

/* The two ways. What fails after start comes through upstream_ended. start returns FAIL_NONE,
 * FAIL_INTERNAL (no memory), or FAIL_HEAD_TOO_LARGE. */
enum failure_kind h1_client_start(struct relay *r) MUST_CHECK;
void h1_client_cancel(struct relay *r);
void h1_client_unpause(struct relay *r);
void h1_client_free(struct upstream *u);
extern const struct conn_pool_user h1_client_user;

enum failure_kind curl_client_start(struct relay *r) MUST_CHECK;
void curl_client_cancel(struct relay *r);
void curl_client_unpause(struct relay *r);
void curl_client_free(struct upstream *u);

/* What goes upstream of the request's head. */
struct header_forward upstream_head(const struct relay *r);
/* Counts a sending, which is about to begin. */
void upstream_sending(struct relay *r);
/* Bytes of the body that are here and were not sent yet. */
size_t upstream_body_here(const struct relay *r);
const char *upstream_body_front(const struct relay *r);
/* So many of them have gone. */
void upstream_body_gone(struct relay *r, size_t n);
/* Something of the request has gone: the answer has all its time again, unless it has begun. */
void upstream_moved(struct relay *r);

/* A line of the answer's head or of its trailers. False: it was refused, see `guard`. */
bool upstream_line(struct relay *r, const char *line, size_t n) MUST_CHECK;
/* Whether the final head is whole. */
bool upstream_has_head(const struct upstream *u);
/* Whether the answer has no body, whatever its fields say (RFC 9112 section 6.3). */
bool upstream_is_bodiless(const struct relay *r);
/* The exchange is over. whole: all of the answer that its framing promises has come; else it
 * failed with `code`, and may be tried once more. */
void upstream_ended(struct relay *r, CURLcode code, bool whole);

/* Whether the connection was lost, which an answer that is all there outlives. */
bool upstream_lost(CURLcode code);
/* Whether the attempt that ended with `code` is worth another one, on a new connection. */
bool upstream_again(const struct relay *r, CURLcode code);
/* What the caller is told: whose fault it is, and whether the request may have been carried
 * out. */
struct failure upstream_failure(const struct relay *r, CURLcode code);

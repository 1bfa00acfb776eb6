#pragma once
/* Our own answers: RFC 9457 problem details that also have the 1Shot API's error format, and
 * the Proxy-Status field of RFC 9209. */
#include "base/base.h"
#include "base/buf.h"
#include "base/failure.h"

/* Thread: any, for all functions. They return 0 or the error of buf_add; problem_body: 0, or
 * -ENOMEM for any error.
 *
 * Appends the JSON body. trace_id NULL: the request has none. */
int problem_body(const struct failure *f, const char *trace_id, struct buf *out) MUST_CHECK;

/* Appends the value of Proxy-Status for a failure, or, with f NULL, for an upstream's own
 * answer with that status (401, 403, 429). */
int problem_proxy_status(const struct failure *f, int received_status,
                         struct buf *out) MUST_CHECK;

/* Append the values of RateLimit-Policy and RateLimit for a failure by a limit
 * (draft-ietf-httpapi-ratelimit-headers): which limit refused it, and when to try again. */
int problem_limit_policy(const struct failure *f, struct buf *out) MUST_CHECK;
int problem_limit_state(const struct failure *f, struct buf *out) MUST_CHECK;

/* The answer to a caller that asks the proxy itself for a token, as an SDK of the API does
 * (token.local_endpoint). It is not a token: the proxy adds the real one to every request. */
#define TOKEN_PLACEHOLDER TOKEN_ANSWER_BEGIN "oneshot-proxy-placeholder" TOKEN_ANSWER_END
/* What precedes and follows another text in place of the token: the secret of a caller that
 * sent it as its client secret. */
#define TOKEN_ANSWER_BEGIN "{\"access_token\":\""
#define TOKEN_ANSWER_END \
    "\",\"token_type\":\"Bearer\",\"expires_in\":3600,\"scope\":\"read:api write:api\"}"

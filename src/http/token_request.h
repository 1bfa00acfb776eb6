#pragma once
/* Reads a caller's own token request (RFC 6749 section 4.4.2), as an SDK of the API sends
 * it. The client secret is all that is needed from it. */
#include "base/base.h"

/* A secret is only looked for in requests up to this size. */
#define TOKEN_REQUEST_MAX 8192
#define TOKEN_REQUEST_SECRET_MAX 256

/* Finds client_secret in a body that is a form (application/x-www-form-urlencoded) or a JSON
 * object, whatever the Content-Type is, since SDKs differ in that. Decodes it into `out` and
 * returns its length; 0: it is missing, present twice, or larger than `out`, or the body is
 * neither. The caller wipes `out`. */
size_t token_request_secret(const char *body, size_t len, char out[TOKEN_REQUEST_SECRET_MAX]);

#pragma once
/* A caller's own token request (RFC 6749 section 4.4.2), as an SDK of the API sends it: all that is
 * wanted of it is the client secret. */
#include "base/base.h"

/* A token request is not larger than this, as far as a secret is looked for in it. */
#define TOKEN_REQUEST_MAX 8192
#define TOKEN_REQUEST_SECRET_MAX 256

/* Finds client_secret in a body that is a form (application/x-www-form-urlencoded) or a JSON object
 * of which it is a member; whatever the Content-Type says, since SDKs differ in that. Returns its
 * length, decoded into `out`; 0: there is none, it is there twice, it is larger than `out`, or the
 * body is neither. The caller wipes `out`. */
size_t token_request_secret(const char *body, size_t len, char out[TOKEN_REQUEST_SECRET_MAX]);

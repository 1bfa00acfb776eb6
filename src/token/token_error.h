#pragma once
/* Why a token endpoint refused. Its answer may repeat what was sent, including the secret,
 * so it is not passed on: the sentence is one of ours. Only a short piece of the error text
 * is reported, without anything of the secret. */
#include "base/base.h"
#include "base/secret.h"

/* Size of the text of token_error_text, with its NUL. */
#define TOKEN_ERROR_TEXT_BYTES 128

/* The sentence for the body of a 4xx (RFC 6749 section 5.2, the API's own errors, and the
 * phrases that most servers use): a literal that says what to check. NULL: none is known.
 * Thread: any. */
const char *token_error_reason(const char *body, size_t len);

/* What is secret in a request that was sent, so that no answer may make it known. */
struct token_error_sent {
    const struct secret *client_secret;
    const struct secret *authorization; /* the "Authorization: Basic ..." line; NULL: none */
    const char *extra; /* token.extra: form-encoded, its values are secret; NULL: none */
};

/* Whether the body is a JSON object with an `error` (RFC 6749 section 5.2). Then `text` is
 * its error and error_description, cut, with "?" for everything that is not printable ASCII.
 * Either is left out if it contains a part of something secret. A body that may hold a token
 * is not read. Thread: any. */
bool token_error_text(const char *body, size_t len, const struct token_error_sent *sent,
                      char text[TOKEN_ERROR_TEXT_BYTES]);

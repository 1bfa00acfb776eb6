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

/* Whether the body is a JSON object with an `error` (RFC 6749 section 5.2). Then `text` is
 * its error and error_description, cut, with "?" for everything that is not printable ASCII.
 * If they contain a part of the secret, the description is left out. Thread: any. */
bool token_error_text(const char *body, size_t len, const struct secret *secret,
                      char text[TOKEN_ERROR_TEXT_BYTES]);

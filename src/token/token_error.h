#pragma once
/* Tells why a token endpoint refused. Its answer may repeat what was sent, the secret included,
 * so none of it is ever shown: the sentence is one of ours. */
#include "base/base.h"

/* The sentence that fits the body of a 4xx (RFC 6749 section 5.2, the API's own errors, and the
 * plain words that most servers use), a literal that says what to look at; NULL: it tells
 * nothing that is known. Thread: any. */
const char *token_error_reason(const char *body, size_t len);

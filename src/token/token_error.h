#pragma once
/* Tells why a token endpoint refused. Its answer may repeat what was sent, the secret included,
 * so the sentence is one of ours; of an error that it names itself only a short piece is told, which
 * holds nothing of the secret. */
#include "base/base.h"
#include "base/secret.h"

/* Longest text of token_error_words, with its NUL. */
#define TOKEN_ERROR_WORDS_BYTES 128

/* The sentence that fits the body of a 4xx (RFC 6749 section 5.2, the API's own errors, and the
 * plain words that most servers use), a literal that says what to look at; NULL: it tells
 * nothing that is known. Thread: any. */
const char *token_error_reason(const char *body, size_t len);

/* Whether the body is a JSON object with an `error` (RFC 6749 section 5.2); then `words` are its
 * error and error_description, cut, with "?" for all that is not printable ASCII. Where they
 * hold a piece of the secret the description is left out. Thread: any. */
bool token_error_words(const char *body, size_t len, const struct secret *secret,
                       char words[TOKEN_ERROR_WORDS_BYTES]);

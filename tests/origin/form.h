#pragma once
/* application/x-www-form-urlencoded and HTTP Basic, decoded to the letter: a stand-in that
 * guesses would let a client's encoding errors pass. */
#include <stdbool.h>
#include <stddef.h>

enum form_result {
    FORM_OK,
    FORM_ABSENT,
    FORM_REPEATED,  /* RFC 6749 §3.2: parameters must not be included more than once */
    FORM_MALFORMED, /* a bad percent-escape, or an encoded NUL */
};

/* Finds `name` in the form and decodes its value. With FORM_OK `*value` is set, with
 * FORM_MALFORMED it is the value as it came; the caller frees it. */
enum form_result form_get(const char *form, const char *name, char **value);

/* Takes the credentials out of an Authorization header of scheme Basic, which RFC 6749
 * §2.3.1 has form-encoded before base64. Returns whether it was well-formed; then the
 * caller frees both. */
bool form_basic(const char *header, char **id, char **secret);

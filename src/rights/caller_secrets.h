#pragma once
/* The secrets of all callers, as their files were when they were last read. Made once and never
 * changed, so that any thread may compare with them while the control thread makes newer ones.
 *
 * A secret is 32 to 256 characters of a b64token (RFC 6750 section 2.1): letters, digits and
 * `-._~+/`, with `=` at the end. */
#include "base/secret.h"

#define CALLER_SECRETS_EACH 2 /* of one caller: the old and the new one, while it is changed */
#define CALLER_SECRET_MIN 32
#define CALLER_SECRET_MAX 256
#define CALLER_SECRETS_MAX (32 * CALLER_SECRETS_EACH)

/* One secret; `text` need last no longer than caller_secrets_new. */
struct caller_secret {
    size_t caller; /* its place among the callers, below 32 */
    const char *text;
    size_t len;
};

struct caller_secrets;

/* Takes at most CALLER_SECRETS_MAX secrets, each of at most CALLER_SECRET_MAX bytes. They lie in
 * locked pages and are wiped with the last reference. `number` tells for which rules they are.
 * Owns: the caller holds the first reference. */
struct caller_secrets *caller_secrets_new(uint64_t number, const struct caller_secret *all,
                                          size_t count);
/* Thread: any. */
struct caller_secrets *caller_secrets_ref(struct caller_secrets *s);
/* Takes NULL. */
void caller_secrets_unref(struct caller_secrets *s);

uint64_t caller_secrets_number(const struct caller_secrets *s);
/* Secret i, or false behind the last; it lies in the secrets. */
bool caller_secrets_at(const struct caller_secrets *s, size_t i, struct caller_secret *out);
/* The callers that have other secrets in one than in the other: a bit for each. */
uint32_t caller_secrets_changed(const struct caller_secrets *a, const struct caller_secrets *b);

/* Whose secret these bytes are: a bit for each of the callers that are asked about. The time this
 * takes tells how long the secrets are, and nothing of what is in them. Thread: any. */
uint32_t caller_secrets_find(const struct caller_secrets *s, uint32_t callers, const char *text,
                             size_t len);

#pragma once
/* The secrets of all callers, as their files were when last read. Made once and never
 * changed, so that any thread may compare with them while the control thread makes newer
 * ones.
 *
 * A secret is 32 to 256 characters of a b64token (RFC 6750 section 2.1): letters, digits and
 * `-._~+/`, with `=` at the end. */
#include "base/secret.h"

/* most secrets of one caller: the old and the new one during a change */
#define CALLER_SECRETS_EACH 2
#define CALLER_SECRET_MIN 32
#define CALLER_SECRET_MAX 256
#define CALLER_SECRETS_MAX (32 * CALLER_SECRETS_EACH)

/* One secret; `text` is only used during caller_secrets_new. */
struct caller_secret {
    size_t caller; /* index of the caller, below 32 */
    const char *text;
    size_t len;
};

struct caller_secrets;

/* Takes at most CALLER_SECRETS_MAX secrets, each of at most CALLER_SECRET_MAX bytes. They
 * are kept in locked pages and wiped with the last reference. `number` is that of the rules
 * they belong to. The caller gets the first reference. */
struct caller_secrets *caller_secrets_new(uint64_t number, const struct caller_secret *all,
                                          size_t count);
/* Thread: any. */
struct caller_secrets *caller_secrets_ref(struct caller_secrets *s);
/* Takes NULL. */
void caller_secrets_unref(struct caller_secrets *s);

uint64_t caller_secrets_number(const struct caller_secrets *s);
/* Secret i, or false after the last. *out points into the secrets. */
bool caller_secrets_at(const struct caller_secrets *s, size_t i, struct caller_secret *out);
/* The callers whose secrets differ between the two: a bit for each. */
uint32_t caller_secrets_changed(const struct caller_secrets *a, const struct caller_secrets *b);

/* The callers, among those given, that have this secret: a bit for each. The time that this
 * takes depends on the lengths of the secrets, not on their content. Thread: any. */
uint32_t caller_secrets_find(const struct caller_secrets *s, uint32_t callers, const char *text,
                             size_t len);

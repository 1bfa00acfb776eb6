#pragma once
/* Bytes that must not leak: in locked pages that are kept out of core files and
 * of children, overwritten when freed. There is no way to log one. */
#include "base/base.h"

struct secret;

/* A copy of n bytes. Returns NULL when n is above 64 KiB or there is no memory.
 * When locking fails (RLIMIT_MEMLOCK) the secret is still made. Thread: any.
 * Owns: the caller frees with secret_free. */
struct secret *secret_new(const char *bytes, size_t n) MUST_CHECK;

/* "prefix" followed by the bytes of s, e.g. a header line from a token. */
struct secret *secret_prefixed(const char *prefix, const char *bytes, size_t n) MUST_CHECK;

/* Overwrites and frees; takes NULL. */
void secret_free(struct secret *s);

/* The bytes, with a NUL behind them. Never copy them into ordinary memory that
 * outlives the call. */
const char *secret_text(const struct secret *s);
size_t secret_len(const struct secret *s);

/* Whether it is these bytes; the time this takes tells their number only. */
bool secret_is(const struct secret *s, const char *bytes, size_t n);

/* Takes NULL, which equals NULL only. */
bool secret_equal(const struct secret *a, const struct secret *b);

/* Whether bytes are those of a secret, in a time that depends on the lengths only. */
bool secret_bytes_equal(const char *a, size_t a_len, const char *b, size_t b_len);

/* Overwrites bytes the compiler would otherwise leave. */
void secret_wipe(void *bytes, size_t n);

/* free() and realloc() for memory of a library that may hold a copy of a secret: what is given
 * back is overwritten first, whatever its size. */
void secret_wiping_free(void *p);
void *secret_wiping_realloc(void *p, size_t n) MUST_CHECK;

/* Makes the process refuse core files and debuggers (RLIMIT_CORE 0, not dumpable)
 * and drops what the environment offers to weaken TLS (SSLKEYLOGFILE and the like).
 * Called first of all in main. */
void secret_protect_process(void);

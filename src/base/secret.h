#pragma once
/* Bytes that must not leak. They are kept in locked pages that do not appear in core files
 * or in child processes, and are wiped when freed. There is no function to log one. */
#include "base/base.h"

struct secret;

/* Copies n bytes. Returns NULL when n is above 64 KiB or memory runs out. If locking fails
 * (RLIMIT_MEMLOCK) the secret is made all the same. The caller frees it with secret_free.
 * Thread: any. */
struct secret *secret_new(const char *bytes, size_t n) MUST_CHECK;

/* A secret of `prefix` followed by the bytes, for example a header line made from a token. */
struct secret *secret_prefixed(const char *prefix, const char *bytes, size_t n) MUST_CHECK;

/* Wipes and frees; takes NULL. */
void secret_free(struct secret *s);

/* The bytes, with a NUL after them. Never copy them into ordinary memory that outlives the
 * call. */
const char *secret_text(const struct secret *s);
size_t secret_len(const struct secret *s);

/* Whether the secret is these bytes. The time it takes depends on their number only. */
bool secret_is(const struct secret *s, const char *bytes, size_t n);

/* Takes NULL, which equals only NULL. */
bool secret_equal(const struct secret *a, const struct secret *b);

/* Whether two byte strings are equal; for comparing with a secret: the time it takes depends
 * on the lengths only. */
bool secret_bytes_equal(const char *a, size_t a_len, const char *b, size_t b_len);

/* Overwrites bytes in a way that the compiler cannot leave out. */
void secret_wipe(void *bytes, size_t n);

/* free() and realloc() for a library whose memory may hold a copy of a secret: memory is
 * wiped before it is freed, whatever its size. realloc to 0 bytes frees and returns NULL.
 * Thread: any. */
void secret_wiping_free(void *p);
void *secret_wiping_realloc(void *p, size_t n) MUST_CHECK;

/* Prevents core files and debuggers (RLIMIT_CORE 0, not dumpable) and new privileges by exec
 * (no_new_privs), and removes the environment variables by which libcurl and OpenSSL would
 * write session keys, or use other trusted authorities, credentials or configuration. Call
 * it first in main. Thread: main, before any other starts. */
void secret_protect_process(void);

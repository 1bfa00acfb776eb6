#pragma once
/* The system's trust store: the authorities that libcurl trusts where no ca_file is set.
 * libcurl caches it in each multi handle, for a limited time by its own clock, and then
 * reads the file again. So we copy a store that was found good, and let libcurl read the
 * copy: if the file is damaged later, nothing changes until it is good again. Thread: any. */
#include "base/base.h"

/* Where libcurl looks for it: a file and a directory; either may be NULL. If there is a
 * file, the directory is not used (curl_host_setup). */
void trust_store_find(const char **file, const char **directory);

/* Milliseconds by libcurl's clock, which stops during suspend. */
int64_t trust_store_clock_ms(void);

/* A copy of a store, in memory. Immutable and reference-counted. */
struct trust_store;

/* Copies PEM text. NULL: the kernel offers no such memory, or it cannot be opened by a path
 * because /proc is missing. */
struct trust_store *trust_store_new(const char *text, size_t len);
struct trust_store *trust_store_ref(struct trust_store *s); /* takes NULL */
void trust_store_unref(struct trust_store *s);              /* takes NULL */
/* The path by which this process can read it, as long as the copy lives. NULL for NULL. */
const char *trust_store_path(const struct trust_store *s);

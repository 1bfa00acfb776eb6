#pragma once
/* The system's trust store: the authorities that libcurl trusts where no ca_file is set. libcurl
 * keeps what it has read of it, by its own clock, but not for ever, and each multi handle for
 * itself. So a copy is made of a store that was found good, and libcurl reads that: what later
 * becomes of the file counts only when it is good, too. Thread: any. */
#include "base/base.h"

/* Where libcurl looks for it: a file and a directory, either may be NULL. When there is a file, the
 * directory is not used (curl_host_setup). */
void trust_store_find(const char **file, const char **directory);

/* Milliseconds of libcurl's clock, which stands still during suspend. */
int64_t trust_store_clock_ms(void);

/* A copy of a store, in memory. Immutable and counted. */
struct trust_store;

/* Copies PEM text. NULL: the kernel gives no such memory, or it cannot be read by a path since
 * /proc is not there. */
struct trust_store *trust_store_new(const char *text, size_t len);
struct trust_store *trust_store_ref(struct trust_store *s); /* takes NULL */
void trust_store_unref(struct trust_store *s);              /* takes NULL */
/* As a file that this process can read, as long as the copy lives. NULL for NULL. */
const char *trust_store_path(const struct trust_store *s);

#pragma once
/* The system's trust store: the authorities that libcurl trusts where no ca_file is set. libcurl
 * keeps what it has read of it, by its own clock. Thread: any. */
#include "base/base.h"

/* Where libcurl looks for it: a file and a directory, either may be NULL. When there is a file, the
 * directory is not used (curl_host_setup). */
void trust_store_find(const char **file, const char **directory);

/* Milliseconds of libcurl's clock, which stands still during suspend. */
int64_t trust_store_clock_ms(void);

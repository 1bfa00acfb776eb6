#pragma once
/* Memory for libcurl that is wiped when it is freed, in the one thread that sends the client
 * secret: libcurl copies what it sends, and frees the copies as they are. */
#include "base/base.h"

/* In place of curl_global_init(CURL_GLOBAL_DEFAULT). From then on what libcurl frees in the
 * calling thread is overwritten first; in all others it is only freed. Returns 0 or -EIO.
 * Thread: main, before any other. */
int curl_alloc_global_init(void) MUST_CHECK;

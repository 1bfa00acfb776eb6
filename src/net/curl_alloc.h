#pragma once
/* Wipes libcurl's memory when it is freed, in the one thread that sends the client secret:
 * libcurl copies what it sends and does not wipe the copies. */
#include "base/base.h"

/* Call it in place of curl_global_init(CURL_GLOBAL_DEFAULT). In the calling thread, memory
 * that libcurl frees is wiped first from then on; in all others it is only freed. Returns 0
 * or -EIO. Thread: main, before any other starts. */
int curl_alloc_global_init(void) MUST_CHECK;

#pragma once
/* The allocators of libcurl and OpenSSL. They do two things. In the one thread that sends the
 * client secret they wipe memory when it is freed, since both libraries copy what they send
 * and receive and do not wipe the copies. In all other threads they reuse OpenSSL's buffers
 * of 16 KiB, since OpenSSL allocates and frees one for each TLS record. */
#include "base/base.h"

/* Gives OpenSSL its allocator. The calling thread becomes the one whose memory is wiped.
 * Thread: main, before any use of OpenSSL; later OpenSSL refuses, which is logged by the
 * function below. */
void library_alloc_init(void);

/* Call it in place of curl_global_init(CURL_GLOBAL_DEFAULT), after library_alloc_init and in
 * the same thread. Returns 0 or -EIO. Thread: main, before any other starts. */
int library_alloc_curl_init(void) MUST_CHECK;

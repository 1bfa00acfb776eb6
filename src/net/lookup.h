#pragma once
/* Resolves a host name with a deadline. The C library may take as long as resolv.conf
 * allows, and cannot be interrupted; so each lookup has a thread of its own, which is left
 * behind when nobody waits for it any more. */
#include <netdb.h>

#include "base/base.h"

/* One lookup, in progress or done. */
struct lookup;

/* Starts to resolve the addresses for TCP at this port. NULL: no thread or descriptor is
 * left. Thread: any. */
struct lookup *lookup_start(const char *host, int port) MUST_CHECK;

/* Waits until it is done, but not longer than until deadline_ms (clock_ms()), nor, unless it
 * is negative, until `wake_fd` is readable. Returns 0 with the addresses in *found, which
 * belong to the lookup; an EAI_* code, which is final; or -ETIMEDOUT: it goes on, and can be
 * waited for again. Thread: the one that started it. */
int lookup_wait(struct lookup *l, int64_t deadline_ms, int wake_fd,
                const struct addrinfo **found) MUST_CHECK;

/* Frees it; if it is still in progress, its thread does so when it ends. Takes NULL. */
void lookup_free(struct lookup *l);

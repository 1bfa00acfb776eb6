#pragma once
/* Looks a host's name up with a deadline. The C library's lookup waits as long as its settings say
 * (resolv.conf), and nothing can stop it; so it has a thread of its own, which is left behind when
 * nobody waits for it any more. */
#include <netdb.h>

#include "base/base.h"

/* One lookup, under way or done. */
struct lookup;

/* Begins to look up the addresses for TCP at this port. NULL: there was no room for another thread
 * or descriptor. Thread: any. */
struct lookup *lookup_start(const char *host, int port) MUST_CHECK;

/* Waits until it is done, at most until a time of clock_ms(), and, unless that is negative, until
 * `wake_fd` is readable. Returns 0 with the addresses, which are the lookup's, in *found; an EAI_*
 * code, which is final; or -ETIMEDOUT: it goes on, and may be waited for again. Thread: the one
 * that began it. */
int lookup_wait(struct lookup *l, int64_t deadline_ms, int wake_fd,
                const struct addrinfo **found) MUST_CHECK;

/* Frees it, or leaves that to its thread while it is under way. Takes NULL. */
void lookup_free(struct lookup *l);

#pragma once
/* Whether the other side of a TLS connection said that it was done: close_notify. Without it an
 * answer that is measured by the connection's end may have been cut short by anybody on the way
 * (RFC 9112 section 9.8). libcurl takes both ends for one. */
#include <curl/curl.h>

#include "base/base.h"

struct close_notify;

/* Once, before any thread. Returns 0 or -ENOMEM. */
int close_notify_global_init(void) MUST_CHECK;

/* Begins to listen on the connection that a running transfer uses; may be called inside its
 * callbacks. NULL: there is no TLS, so its end says all there is. Owns: close_notify_free.
 * Thread: the transfer's. */
struct close_notify *close_notify_watch(CURL *easy);
/* Whether close_notify has come; may be asked when the connection is gone already. */
bool close_notify_said(const struct close_notify *f);
/* Whether the connection, whose socket is `fd` (CURL_SOCKET_BAD: closed), has come to its end,
 * in whatever way. */
bool close_notify_over(const struct close_notify *f, curl_socket_t fd);
/* Takes NULL. */
void close_notify_free(struct close_notify *f);

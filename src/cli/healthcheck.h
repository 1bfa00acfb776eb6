#pragma once
/* `oneshot-proxy healthcheck`: asks a running proxy's /readyz over its admin listener, for a
 * container image that has neither a shell nor curl. */
#include "base/base.h"
#include "base/buf.h"

/* The whole of it takes no longer. */
#define HEALTHCHECK_TIMEOUT_MS 3000

/* address is admin.address. Appends one line of what was seen, without line end. Returns
 * whether the proxy said that it is ready. */
bool healthcheck_ask(const char *address, struct buf *out);

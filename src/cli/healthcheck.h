#pragma once
/* `oneshot-proxy healthcheck`: asks for a running proxy's /readyz on its admin listener; for
 * a container image that has neither a shell nor curl. */
#include "base/base.h"
#include "base/buf.h"

/* Time limit of the whole check. */
#define HEALTHCHECK_TIMEOUT_MS 3000

/* address: admin.address. Appends one line about the result, without newline. Returns
 * whether the proxy answered that it is ready. */
bool healthcheck_ask(const char *address, struct buf *out);

#pragma once
/* What the parts of upstream share: upstream.c (the callbacks) and upstream_failure.c. */
#include "failure.h"
#include "upstream.h"

/* Whether the connection was lost, which an answer that is all there outlives. */
bool upstream_lost(CURLcode code);
/* Whether it is certain that nothing of the last sending was written. */
bool upstream_wrote_nothing(const struct upstream *u);
/* Whether the attempt that ended with `code` is worth another one, on a new connection. */
bool upstream_again(const struct relay *r, CURLcode code);
/* What the caller is told: whose fault it is, and whether the request may have been carried
 * out. */
struct failure upstream_failure(const struct relay *r, CURLcode code);

#pragma once
/* Rewrites a Location of the upstream for the caller. Pure. */
#include "base/arena.h"
#include "base/base.h"

struct location_base {
    const char *origin;    /* the upstream's: "https://host" or "https://host:port" */
    const char *base_path; /* "" or "/v0" */
    const char *prefix; /* together with `path`: the target of the request as sent upstream */
    const char *path;
    size_t path_len; /* without the query */
};

/* What to send instead of `value`: a path on this proxy for a target on the upstream's
 * origin below its base path; an absolute URL for a path outside it. NULL: leave it
 * unchanged (it points elsewhere, is absolute already, or memory has run out). */
const char *location_rewrite(struct arena *arena, const struct location_base *base,
                             const char *value);

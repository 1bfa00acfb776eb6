#pragma once
/* A Location of the upstream's, as the caller is to see it. Pure. */
#include "base/arena.h"
#include "base/base.h"

struct location_base {
    const char *origin;    /* the upstream's: "https://host" or "https://host:port" */
    const char *base_path; /* "" or "/v0" */
    const char *prefix;    /* with `path` the target of the request, as the upstream saw it */
    const char *path;
    size_t path_len; /* without the query */
};

/* What to give instead of `value`: a path on this proxy for what lies on the upstream's origin
 * below its base path; an absolute URL for a path that does not. NULL: it stays as it is (it
 * leads elsewhere, is absolute already, or there is no memory). */
const char *location_rewrite(struct arena *arena, const struct location_base *base,
                             const char *value);

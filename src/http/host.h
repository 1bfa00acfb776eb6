#pragma once
/* The host and port of a Host field or of a URL. Pure; nothing here allocates. */
#include "base/base.h"

struct host {
    const char *name; /* with the brackets of an IPv6 address; points into the text */
    size_t name_len;
    int port; /* -1: none written */
};

/* Whether the text is "name", "name:port", "[v6]" or "[v6]:port" as in RFC 3986 section
 * 3.2.2 (without user or comma, not empty). Sets *out to its parts; `out` may be NULL. */
bool host_split(const char *text, size_t len, struct host *out);

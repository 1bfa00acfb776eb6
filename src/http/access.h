#pragma once
/* Which requests may use the port: checks Host, Origin, Sec-Fetch-Site and the required
 * header. Protects against DNS rebinding and web pages that reach a local port. Pure. */
#include "base/base.h"
#include "base/failure.h"
#include "config/config.h"
#include "http/header.h"

struct access_check {
    const struct config *config;
    const struct header_field *fields;
    size_t count;
    /* route.absolute: the target contains the authority, which route_find has checked, and
     * Host is ignored (RFC 9112 section 3.2.2) */
    bool absolute_form;
};

/* FAIL_NONE, or why the request is refused (HOST_DENIED, ORIGIN_DENIED, HEADER_MISSING),
 * with the setting to change in the detail. */
struct failure access_check(const struct access_check *in);

/* Whether a Host value ("name", "name:port", "[v6]:port") is on listen.allowed_hosts. The
 * name is what matters: DNS rebinding cannot change it, while the port differs from ours
 * behind any port mapping. An entry without a port, or "name:*", allows the name with any
 * port; "name:port" only that port (80 and 443 also if left out); "*" everything. Names are
 * compared without case and otherwise as written: no trailing dot, and only one spelling of
 * an IPv6 address. */
bool access_host_allowed(const struct config *c, const char *host, size_t len);

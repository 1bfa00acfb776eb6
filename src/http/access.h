#pragma once
/* Who may use the port: Host, Origin and the required header. Pure. Guards against DNS
 * rebinding and web pages that reach a local port. */
#include "base/base.h"
#include "base/failure.h"
#include "config/config.h"
#include "http/header.h"

struct access_check {
    const struct config *config;
    const struct header_field *fields;
    size_t count;
    bool absolute_form; /* route.absolute: the target's authority, which route_find allowed,
                           counts and Host is not looked at (RFC 9112 section 3.2.2) */
};

/* FAIL_NONE, or why not (HOST_DENIED, ORIGIN_DENIED, HEADER_MISSING), with the detail naming
 * the key to change. */
struct failure access_check(const struct access_check *in);

/* Whether a Host value ("name", "name:port", "[v6]:port") is on listen.allowed_hosts. What
 * counts is the name: it is what a rebound DNS name cannot change, while the port differs from
 * ours behind every port mapping. An entry without a port, or "name:*", allows the name with
 * any port; "name:port" that one port (80 and 443 also when left out); "*" everything. Names
 * are compared without case and as written: no trailing dot, an IPv6 address in one spelling.
 */
bool access_host_allowed(const struct config *c, const char *host, size_t len);

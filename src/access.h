#pragma once
/* Who may use the port: Host, Origin and the required header. Pure. Guards against DNS
 * rebinding and web pages that reach a local port. */
#include "base.h"
#include "config.h"
#include "failure.h"
#include "header.h"

/* The port of the listener the request came in by; -1: a unix socket (any port is right then).
 */
struct access_check {
    const struct config *config;
    const struct header_field *fields;
    size_t count;
    int local_port;
    bool absolute_form; /* route.absolute: the target's authority, which route_find allowed,
                           counts and Host is not looked at (RFC 9112 section 3.2.2) */
};

/* FAIL_NONE, or why not (HOST_DENIED, ORIGIN_DENIED, HEADER_MISSING), with the detail naming
 * the key to change. */
struct failure access_check(const struct access_check *in);

/* Whether a Host value ("name", "name:port", "[v6]:port") is on listen.allowed_hosts. An
 * entry without a port allows the name with the local port or none; "name:port" that one
 * port (80 and 443 also when left out); "name:*" any; "*" everything. */
bool access_host_allowed(const struct config *c, const char *host, size_t len, int local_port);

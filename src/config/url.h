#pragma once
/* Parses the URLs, addresses and host names of the settings. Thread: any. */
#include "base/base.h"

/* The parts of a URL; scheme and authority in lower case, a default port is removed. */
struct config_url {
    char scheme[16];
    char authority[288]; /* host or [v6], and the port if it is not the default */
    char host[256];      /* without brackets */
    int port;            /* the scheme's default if the URL has none; -1: unknown */
    const char *path;    /* points into the text, up to its end; "" if there is none */
    bool query;          /* whether a query follows */
};

/* Returns NULL, or what is wrong with it (a literal; it contains nothing of the text). */
const char *config_url_split(const char *text, struct config_url *out);

/* Host (without brackets) and port of an http or https URL; -1: it is not one. */
int config_url_port(const char *text, char host[256]);
/* The same for the URL of an outbound proxy, which may contain credentials; without a port
 * it is curl's default. -1: not such a URL. `host` may be NULL. */
int config_proxy_port(const char *text, char host[256]);

/* The parts of "host:port", "[v6]:port" or "unix:/path". */
struct config_address {
    char host[256];        /* lower case, no brackets; empty: a unix socket */
    bool v6;               /* host is an IPv6 address */
    int port;              /* -1: a unix socket */
    const char *unix_path; /* points into the text; NULL: not a unix socket */
};

/* Parses such an address; every listen.address and admin.address (except "off") is one.
 * False: `text` is not. */
bool config_address_split(const char *text, struct config_address *out) MUST_CHECK;

/* Whether a host (without brackets) is this machine: localhost, 127.0.0.0/8, ::1. */
bool config_is_loopback(const char *host);

/* Whether text of len bytes is a host: a name, an IPv4 address, or an IPv6 address in
 * brackets. */
bool config_is_host(const char *text, size_t len);

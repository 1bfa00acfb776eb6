#pragma once
/* URLs, addresses and host names of the settings, taken apart. Thread: any. */
#include "base/base.h"

/* A URL, taken apart; scheme and authority are in lower case, a default port is dropped. */
struct config_url {
    char scheme[16];
    char authority[288]; /* host or [v6], and the port where it is not the default */
    char host[256];      /* without brackets */
    int port;            /* the scheme's when there is none; -1: it has none either */
    const char *path;    /* points into the text, up to its end; "" when there is none */
    bool query;          /* ... and a query behind it */
};

/* Returns NULL, or what is wrong with it (a literal; it holds nothing of the text). */
const char *config_url_split(const char *text, struct config_url *out);

/* Host (without brackets) and port of an http or https URL; -1: it is no URL. */
int config_url_port(const char *text, char host[256]);
/* The same of an outbound proxy's URL, which may hold credentials; the port is curl's default
 * when it names none. -1: it is no URL. `host` may be NULL. */
int config_proxy_port(const char *text, char host[256]);

/* "host:port", "[v6]:port" or "unix:/path", taken apart. */
struct config_address {
    char host[256];        /* lower case, no brackets; empty: a unix socket */
    bool v6;               /* host is an IPv6 address */
    int port;              /* -1: a unix socket */
    const char *unix_path; /* points into the text; NULL: not a unix socket */
};

/* Whether `text` is such an address; every listen.address and admin.address (but "off") is. */
bool config_address_split(const char *text, struct config_address *out) MUST_CHECK;

/* Whether a host, without brackets, is this machine: localhost, 127.0.0.0/8, ::1. */
bool config_is_loopback(const char *host);

/* A host of len bytes: a name, an IPv4 address or an IPv6 address in brackets. */
bool config_is_host(const char *text, size_t len);

#pragma once
/* URLs, addresses and host names of the settings, taken apart. For the config_*.c files only.
 */
#include "base/base.h"

/* A URL, taken apart; scheme and authority are in lower case, a default port is dropped. */
struct config_url {
    char scheme[16];
    char authority[288]; /* host or [v6], and the port where it is not the default */
    char host[256];      /* without brackets */
    int port;            /* the scheme's when there is none; -1: it has none either */
    const char *path;    /* points into the text; "" when there is none */
};

/* Returns NULL, or what is wrong with it (a literal; it holds nothing of the text). */
const char *config_url_split(const char *text, struct config_url *out);

/* Whether a host, without brackets, is this machine: localhost, 127.0.0.0/8, ::1. */
bool config_is_loopback(const char *host);

/* A host of len bytes: a name, an IPv4 address or an IPv6 address in brackets. */
bool config_is_host(const char *text, size_t len);

/* The name of an http header (RFC 9110 section 5.6.2). */
bool config_is_token(const char *text, size_t len);

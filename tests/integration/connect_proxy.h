#pragma once
/* An outbound HTTP proxy between the program and its peers: it speaks CONNECT, and then passes
 * bytes on, whatever name was asked for, to the port on 127.0.0.1. */
#include "peer.h"

struct connect_proxy;

struct connect_proxy_options {
    const char *authorization; /* demanded, as in "Basic ..."; NULL: none */
    int refuse_with;           /* a status instead of passing on; 0: none */
};

struct connect_proxy *connect_proxy_start(const struct connect_proxy_options *options);
void connect_proxy_stop(struct connect_proxy *t);
int connect_proxy_port(const struct connect_proxy *t);
/* Its connections, and what they asked for, are those of a peer; "CONNECT host:port". */
struct peer *connect_proxy_peer(struct connect_proxy *t);

#pragma once
/* An outbound HTTP proxy between the program and its peers: it supports CONNECT, and
 * forwards bytes to the port on 127.0.0.1, whatever name was asked for. */
#include "peer.h"

struct connect_proxy;

struct connect_proxy_options {
    const char *authorization; /* required, as in "Basic ..."; NULL: none */
    int refuse_with;           /* a status to refuse with; 0: forward */
};

struct connect_proxy *connect_proxy_start(const struct connect_proxy_options *options);
void connect_proxy_stop(struct connect_proxy *t);
int connect_proxy_port(const struct connect_proxy *t);
/* Its connections and requests are recorded as a peer's; "CONNECT host:port". */
struct peer *connect_proxy_peer(struct connect_proxy *t);

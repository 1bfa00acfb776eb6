#pragma once
/* An outbound HTTP proxy between the program and its peers: it speaks CONNECT, and then passes
 * bytes on, whatever name was asked for, to the port on 127.0.0.1. */
#include "peer.h"

struct tollgate;

struct tollgate_options {
    const char *authorization; /* demanded, as in "Basic ..."; NULL: none */
    int refuse_with;           /* a status instead of passing on; 0: none */
};

struct tollgate *tollgate_start(const struct tollgate_options *options);
void tollgate_stop(struct tollgate *t);
int tollgate_port(const struct tollgate *t);
/* Its connections, and what they asked for, are those of a peer; "CONNECT host:port". */
struct peer *tollgate_peer(struct tollgate *t);

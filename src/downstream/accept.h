#pragma once
/* Accepts callers' connections on a worker's listeners, and gives them to libmicrohttpd. */
#include "net/acceptor.h"

struct downstream;

/* Most connections above listen.max_connections that a worker keeps until they have sent a
 * request (over TLS: after the handshake), at most for CONN_REFUSED_GRACE_MS; then they get a
 * 503. Any more get the 503 at once, unasked; over TLS they are closed. */
#define ACCEPT_REFUSED_MAX 1024
/* Most connections that one listener accepts in one turn of the loop. */
#define ACCEPT_BATCH 64

/* A connection on one of the worker's listeners; arg is its downstream (acceptor_fn). */
void accept_on_accepted(void *arg, const struct listener *from, int fd,
                        const struct sockaddr *addr, socklen_t len);

/* Prepares d->handovers and d->tls_bridges; call it before anything is accepted. Thread: the
 * worker's, or before it starts. */
void accept_init(struct downstream *d);

#pragma once
/* Accepts what waits on a worker's listeners, and leads it to libmicrohttpd. */
#include "net/acceptor.h"

struct downstream;

/* Connections above listen.max_connections that are given the time to shake hands and to send a
 * request, whose answer then is a 503; those above that get it right away (over TLS: nothing).
 */
#define ACCEPT_REFUSED_MAX 1024
/* Accepted in one turn at most, of one listener. */
#define ACCEPT_BATCH 64

/* A connection on one of the worker's listeners; arg is its downstream (acceptor_fn). */
void accept_on_accepted(void *arg, const struct listener *from, int fd,
                        const struct sockaddr *addr, socklen_t len);

/* Takes TLS into use. */
void accept_init(struct downstream *d);

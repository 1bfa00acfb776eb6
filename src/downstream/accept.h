#pragma once
/* Accepts what waits on a worker's listeners, and leads it to libmicrohttpd. */
#include "event/loop.h"

struct downstream;

/* Connections above listen.max_connections that are given the time to shake hands and to send a
 * request, whose answer then is a 503; those above that get it right away (over TLS: nothing).
 */
#define ACCEPT_REFUSED_MAX 1024
/* Accepted in one turn at most. */
#define ACCEPT_BATCH 64

/* Of a worker's listener (loop_io_start callback). */
void accept_on_acceptable(struct loop_io *w, uint32_t events);

/* Takes the worker's tunnels into use. */
void accept_init(struct downstream *d);

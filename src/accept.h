#pragma once
/* Accepts what waits on a worker's listeners, and leads it to libmicrohttpd. */
#include "loop.h"

struct worker;

/* Of a worker's listener (loop_watch callback). */
void accept_on_acceptable(struct loop_watch *w, uint32_t events);

/* Takes the worker's tunnels into use. */
void accept_init(struct worker *w);

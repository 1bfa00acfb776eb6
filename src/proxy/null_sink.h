#pragma once
/* The sink of a request whose caller has left: it takes everything and gives it to nobody. The relay
 * goes on with it until it is known what became of the request. Thread: worker. */
#include "proxy/response_sink.h"

/* In place of `from`, whose facts it takes over (the status that was given, how much), so that the
 * log can tell them. */
void null_sink_init(struct response_sink *s, const struct response_sink *from);

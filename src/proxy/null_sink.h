#pragma once
/* The sink of a request whose caller has left, or already has its whole answer: it accepts
 * everything and discards it. The relay continues with it until the outcome of the request is
 * known, or its body is sent. Thread: worker. */
#include "proxy/response_sink.h"

/* Replaces `from`, whose state (the status that was given, how many bytes) is copied for the
 * log. */
void null_sink_init(struct response_sink *s, const struct response_sink *from);

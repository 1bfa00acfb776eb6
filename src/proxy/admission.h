#pragma once
/* Decides what happens to a request whose head is complete: where it goes, whether it may go
 * on, and its request id for logs and errors. */
#include "http/request_check.h"
#include "proxy/relay.h"

/* A request's head, as it was received. */
struct admission_request {
    const char *method;
    const struct header_field *fields; /* not copied; they stay until relay_end */
    size_t count;
    struct request_check_result check;
};

/* Starts the request, parks it, answers it here, or makes it fail. Thread: the relay's. */
void admission_on_head(struct relay *r, const struct admission_request *request);

#pragma once
/* What becomes of a request whose head is whole: who it is for, whether it may go on, and the
 * name it goes by in logs and errors. */
#include "http/request_check.h"
#include "proxy/relay.h"

/* A request's head, as it was received. */
struct admission_request {
    const char *method;
    const struct header_field *fields; /* stay where they are until relay_end */
    size_t count;
    struct request_check_result check;
};

/* Starts the request, parks it, answers it here, or makes it fail. Thread: the relay's. */
void admission_on_head(struct relay *r, const struct admission_request *request);

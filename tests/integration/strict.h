#pragma once
/* A strict HTTP/1.1 parser: whatever a gateway receives, what it sends must pass it. */
#include "bytes.h"

struct strict {
    const char *wrong; /* the fault; NULL: none; a literal */
    size_t length;     /* of the message; 0: it is not complete yet */
    int status;        /* of an answer */
};

/* Checks the request at the start of what a gateway sent. */
struct strict strict_request(const char *data, size_t len);
/* Checks the answer at the start of what was received; ended: nothing more will come, and it
 * was not a reset. */
struct strict strict_answer(const char *data, size_t len, bool ended);

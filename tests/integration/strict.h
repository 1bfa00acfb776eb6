#pragma once
/* A reader of HTTP/1.1 that forgives nothing: what a gateway sends on, or gives back, has to be
 * like this whatever it was given. */
#include "bytes.h"

struct strict {
    const char *wrong; /* what, or NULL; a literal */
    size_t length;     /* of the message; 0: it is not whole yet */
    int status;        /* of an answer */
};

/* The request at the start of what a gateway sent. */
struct strict strict_request(const char *data, size_t len);
/* The answer at the start of what came back; ended: nothing more will come, and it was no
 * reset. */
struct strict strict_answer(const char *data, size_t len, bool ended);

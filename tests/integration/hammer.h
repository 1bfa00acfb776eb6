#pragma once
/* Steady load: a thread with some keep-alive connections, each of which sends the next
 * request as soon as it has the answer, until the test stops it. */
#include "bytes.h"

struct hammer;

struct hammer_result {
    size_t answers;  /* complete ones */
    size_t failures; /* of these, other than 200; and connections that ended or were not made */
    struct bytes first; /* the first failure, as received */
};

/* The request is sent unchanged; its answers must have a Content-Length. */
struct hammer *hammer_start(int port, size_t connections, const char *request);
/* Whether at least n answers have come since the start, before the deadline. */
bool hammer_wait(struct hammer *h, size_t n, int ms);
size_t hammer_answers(struct hammer *h);
/* Sends no more, waits for the answers that are due, and ends. The caller frees `first` of
 * the result. */
struct hammer_result hammer_stop(struct hammer *h);

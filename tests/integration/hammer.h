#pragma once
/* Callers that never rest: a thread with some keep-alive connections, each of which sends the
 * next request as soon as it has the answer, for as long as a test lets them. */
#include "bytes.h"

struct hammer;

struct hammer_result {
    size_t answers;  /* whole ones */
    size_t failures; /* of these, other than 200; and connections that ended or never began */
    struct bytes first; /* the first failure, as received */
};

/* The request is sent as it is; its answers must have a Content-Length. */
struct hammer *hammer_start(int port, size_t connections, const char *request);
/* At least n answers have come since the start by then. */
bool hammer_wait(struct hammer *h, size_t n, int ms);
size_t hammer_answers(struct hammer *h);
/* Sends no more, takes the answers that are still due, ends. Owns: bytes_free(&first). */
struct hammer_result hammer_stop(struct hammer *h);

#pragma once
/* The failure of an attempt to get an answer from the upstream: what the caller is told,
 * whose fault it is, and whether the request may have been carried out. Pure. */
#include "base/base.h"
#include "base/failure.h"
#include "http/response_check.h"
#include "net/leg_error.h"

/* What is known about one attempt. */
struct upstream_attempt {
    bool sending; /* a connection was there, and writing was about to begin */
    bool reused;  /* the connection had carried another request before */
    /* on failure: the upstream may have processed it: a byte of it may have left, and the
     * upstream has not said that it did nothing with it (RFC 9113 section 8.7) */
    bool wrote;
    bool began; /* a part of the answer was received */
    /* the answer was ended by the end of the connection, so it may be incomplete */
    bool unconfirmed;
    bool starved;                     /* no descriptor was left for a connection */
    bool limited;                     /* upstream.max_connections were in use all the time */
    bool name_silent;                 /* no name server answered in time */
    char error_text[CURL_ERROR_SIZE]; /* libcurl's error message */
    struct leg_facts facts;           /* if the connection could not be opened */
};

/* The failure of an attempt that ended with `code` after `head` of an answer was received. */
struct failure upstream_error(const struct upstream_attempt *a,
                              const struct response_check *head, CURLcode code);

/* Whether `code` means that the connection was lost, which does not matter to an answer that
 * is complete. */
bool upstream_error_lost(CURLcode code);

#pragma once
/* What an attempt to have the upstream answer came to when it failed: what the caller is told,
 * whose fault it is, and whether the request may have been carried out. Pure. */
#include "base/base.h"
#include "base/failure.h"
#include "http/response_check.h"
#include "net/leg_error.h"

/* What is known of one attempt. */
struct upstream_attempt {
    bool sending;     /* it was about to be written: there was a connection */
    bool reused;      /* its connection had carried another request before */
    bool wrote;       /* when it has failed: a byte of it may have left */
    bool began;       /* something of the answer has come */
    bool unconfirmed; /* the answer ended with its connection, which does not say that this
                         was all */
    bool starved;     /* there was no descriptor for a connection */
    bool limited;     /* upstream.max_connections were in use all the time */
    bool name_silent; /* no name server answered in time */
    char error_text[CURL_ERROR_SIZE]; /* libcurl's own words about a failure */
    struct leg_facts facts;           /* of a connection that could not be opened */
};

/* The failure of an attempt that ended with `code` and has had `head` of an answer. */
struct failure upstream_error(const struct upstream_attempt *a,
                              const struct response_check *head, CURLcode code);

/* Whether `code` says that the connection was lost, which an answer that is all there
 * outlives. */
bool upstream_error_lost(CURLcode code);

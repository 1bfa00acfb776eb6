#pragma once
/* A TLS connection of libcurl's that takes in as much as there is with one read, instead of a
 * read for each record's head and one for its body.
 *
 * What OpenSSL has taken in and not given out yet shows on no descriptor: libcurl would wait
 * for the socket, in vain. So whoever begins this must have libcurl read again for as long as
 * readahead_holds says so. */
#include <curl/curl.h>

#include "base/base.h"

struct readahead;

/* Once, before any thread. Returns 0 or -ENOMEM. */
int readahead_global_init(void) MUST_CHECK;

/* For the connection of a running transfer, inside one of its callbacks, unless it has been
 * begun already or there is no TLS. *holder is set, and set to NULL when the TLS connection is
 * freed. on_bytes(arg) is called whenever bytes have come, from within libcurl.
 * Thread: the transfer's, as for all of these. */
void readahead_begin(CURL *easy, struct readahead **holder, void (*on_bytes)(void *arg),
                     void *arg);

/* Whether a whole record may be held: there are bytes, and the socket has not been found empty
 * since they came (then they are a record's beginning, and the socket will tell of the rest).
 */
bool readahead_holds(const struct readahead *a);

/* Neither the holder nor on_bytes is used any more. Takes NULL. */
void readahead_forget(struct readahead *a);

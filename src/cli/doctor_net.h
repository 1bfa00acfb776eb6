#pragma once
/* Plain connections for doctor, each with a deadline, without any HTTP library: so that it can be
 * told which of the addresses fails. Deadlines are times of clock_ms(). */
#include <netdb.h>

#include "base/base.h"
#include "base/buf.h"

/* "203.0.113.7" */
void doctor_address(const struct addrinfo *a, char *out, size_t size);
/* Connects to one address after the other and closes again. Appends what came of each to
 * `text`. Returns 0 or the -errno of the last. */
int doctor_connect(const struct addrinfo *found, int64_t deadline_ms, struct buf *text);

#pragma once
/* Plain connections for doctor, each with a deadline. They are made without an HTTP library,
 * to find out which of the addresses fails. Deadlines are times of clock_ms(). */
#include <netdb.h>

#include "base/base.h"
#include "base/buf.h"

/* "203.0.113.7" */
void doctor_address(const struct addrinfo *a, char *out, size_t size);
/* Connects to each address in turn and closes again. Appends the result for each to `text`.
 * Returns 0 or the -errno of the last. */
int doctor_connect(const struct addrinfo *found, int64_t deadline_ms, struct buf *text);

#pragma once
/* A listening TCP socket from "HOST:PORT". */
#include <stddef.h>

enum { LISTENER_ADDRESS_SIZE = 80 };

/* Returns the socket, with the address it really has in `actual`; or -1 after a line on
 * stderr. */
int listener_open(const char *host_port, char actual[LISTENER_ADDRESS_SIZE]);

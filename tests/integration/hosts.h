#pragma once
/* Names of a test's own: the program runs in a mount namespace with another /etc/hosts (the
 * machine's is not touched). And addresses at which packets are lost. */
#include <stdbool.h>
#include <stddef.h>

/* From now on each start of the program sees these names. False: no such namespace can be made
 * here; told on stderr. */
bool hosts_begin(const char *text);
/* Other names, for programs that run already, too. */
void hosts_write(const char *text);
void hosts_end(void);

/* An address that takes no connection and refuses none: a queue that is full. "127.0.0.2" or
 * "::1". -1: the machine has no such address. Close with black_hole_end. */
struct black_hole {
    int fd[8];
    size_t count;
};
bool black_hole_begin(struct black_hole *s, const char *address, int port);
void black_hole_end(struct black_hole *s);

/* From now on the name server that those programs ask says nothing. False: that may not be. */
bool silent_name_server_begin(struct black_hole *s);

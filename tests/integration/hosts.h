#pragma once
/* Host names for a test: the program runs in a mount namespace with another /etc/hosts (the
 * machine's is not changed). Also addresses that do not answer. */
#include <stdbool.h>
#include <stddef.h>

/* From now on the program is started with these names. False: no such namespace can be made
 * here; the reason is on stderr. */
bool hosts_begin(const char *text);
/* Changes the names, also for programs that run already. */
void hosts_write(const char *text);
void hosts_end(void);

/* An address that neither accepts nor refuses connections, because its queue is full.
 * "127.0.0.2" or "::1". -1: the machine has no such address. Close it with black_hole_end. */
struct black_hole {
    int fd[8];
    size_t count;
};
bool black_hole_begin(struct black_hole *s, const char *address, int port);
void black_hole_end(struct black_hole *s);

/* From now on the name server of those programs does not answer. False: it is not possible. */
bool silent_name_server_begin(struct black_hole *s);

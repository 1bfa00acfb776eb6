#pragma once
/* Names of a test's own: the program runs in a mount namespace with another /etc/hosts (the
 * machine's is not touched). And addresses that swallow what is sent to them. */
#include <stdbool.h>
#include <stddef.h>

/* From now on each start of the program sees these names. False: no such namespace can be made
 * here; told on stderr. */
bool hosts_begin(const char *text);
/* Other names, for programs that run already, too. */
void hosts_write(const char *text);
void hosts_end(void);

/* An address that takes no connection and refuses none: a queue that is full. "127.0.0.2" or
 * "::1". -1: the machine has no such address. Close with swallow_end. */
struct swallow {
    int fd[8];
    size_t count;
};
bool swallow_begin(struct swallow *s, const char *address, int port);
void swallow_end(struct swallow *s);

/* From now on the name server that those programs ask says nothing. False: that may not be. */
bool silent_name_server_begin(struct swallow *s);

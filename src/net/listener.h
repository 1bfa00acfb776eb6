#pragma once
/* Listening sockets from `listen.address` and `admin.address` entries. */
#include <sys/types.h>

#include "base/base.h"
#include "base/buf.h"

struct listener {
    int fd;
    int port;   /* as bound; -1: a unix socket */
    char *name; /* "127.0.0.1:8080", "unix:/run/x.sock": for the ready line */
    char *path; /* of a unix socket, to remove it at the end; NULL: none */
    dev_t device;
    ino_t inode; /* of that file as it was made: what is there later may not be ours */
};

/* Binds "host:port", "[v6]:port" or "unix:/path" and listens, non-blocking. `shared` opens it
 * with SO_REUSEPORT so that several workers can have one each; pass the port that came out of
 * the first for the others. Returns 0, or -errno with one line in `error`. Thread: control,
 * before others start (the umask is the process's).
 *
 * A unix socket has exactly `socket_mode` from the moment it is there. A socket that nobody
 * listens on is replaced; one that is in use, or may be, and every other kind of file, a
 * symbolic link among them, is left alone and an error. Of two programs that start at once on
 * one path one gets it. */
struct listener_options {
    const char *address;
    int port; /* > 0: instead of the one in the address */
    bool shared;
    int64_t socket_mode;
};
int listener_open(struct listener *l, const struct listener_options *o,
                  struct buf *error) MUST_CHECK;

/* Closes; removes the file of a unix socket when it is still the one that `l` made. Takes a
 * zeroed one with fd -1. */
void listener_close(struct listener *l);

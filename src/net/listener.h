#pragma once
/* Listening sockets: one for a unix socket's path or a numeric address, one for each address
 * of a name; or one that was opened by somebody else and passed to this process. */
#include <sys/types.h>

#include "base/base.h"
#include "base/buf.h"

/* In one set: the addresses of all names together. */
#define LISTENERS_MAX 16

struct listener {
    int fd;
    int port; /* as bound; -1: a unix socket */
    /* All threads accept from one queue, by duplicates of one descriptor: a unix socket, or one
     * that was passed. Else each has a queue of its own (SO_REUSEPORT). */
    bool shared;
    unsigned owner; /* the user's; a twin has it, too; 0 at first */
    bool passed; /* it stays the service manager's: never shut down, its file never removed */
    char *name;  /* "127.0.0.1:8080", "unix:/run/x.sock": for the ready line */
    char *path;  /* of a unix socket, to remove it at the end; NULL: none */
    dev_t device;
    ino_t inode; /* of that file as it was made: what is there later may not be ours */
};

/* Zeroed: empty. */
struct listeners {
    struct listener item[LISTENERS_MAX];
    size_t count;
};

struct listener_options {
    const char *address;   /* as the user wrote it, for errors */
    const char *host;      /* a name or an address, without brackets; or */
    const char *unix_path; /* not NULL: a path */
    int port;              /* 0: a free one, the same on each address of the name */
    int64_t socket_mode;   /* of a unix socket */
};

/* Binds and listens, non-blocking, and adds what came of it. Returns 0, or -errno with one line
 * without its end in `error`; the set is as it was then. Thread: control, before others start
 * (the umask is the process's); a name is looked up, which may take seconds.
 *
 * An address is bound once: what the set has already is left out, and so is an address that
 * this machine does not have (as ::1 in a container) when the name has others. Nobody else can
 * listen on the same port, not even another instance that starts at the same moment, and a
 * connection that comes early waits in the queue.
 *
 * A unix socket has exactly `socket_mode` from the moment it is there. A socket that nobody
 * listens on is replaced; one that is in use, or may be, and every other kind of file, a
 * symbolic link among them, is left alone and an error. Of two programs that start at once on
 * one path one gets it. */
int listeners_add(struct listeners *s, const struct listener_options *o,
                  struct buf *error) MUST_CHECK;

/* Adds a socket that listens already and was passed to this process; it becomes non-blocking and
 * is closed on exec. Owns: fd, on success. Returns 0, or -errno with what is wrong with it in
 * `error`. Thread: control, before others start. */
int listeners_adopt(struct listeners *s, int fd, struct buf *error) MUST_CHECK;

/* Another listener for what `first` of this process listens on, so that another thread can
 * accept too: over TCP a socket among which the kernel shares out the connections
 * (SO_REUSEPORT); of a unix socket and of one that was passed, a duplicate of the descriptor.
 * Returns as listeners_add. */
int listener_twin(struct listener *first, struct listener *twin, struct buf *error) MUST_CHECK;

/* The address as a Host names it, "127.0.0.1" or "[::1]", for `host`. False: it is a unix socket,
 * or listens on every address of the machine. */
bool listener_host(const struct listener *l, char host[64]);
/* Whether only this machine reaches it: a unix socket, or a loopback address. */
bool listener_is_local(const struct listener *l);

/* Appends the names, by commas. */
void listeners_names(const struct listeners *s, struct buf *out);

/* Closes; removes the file of a unix socket when it is still the one that was made. Takes a
 * closed one (fd -1). */
void listener_close(struct listener *l);
/* Closes all; empty then. */
void listeners_done(struct listeners *s);

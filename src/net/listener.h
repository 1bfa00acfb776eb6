#pragma once
/* Listening sockets: one for a unix socket's path or a numeric address, one for each address
 * of a name; or one that another process opened and passed to this one. Thread: control, for
 * all functions here. */
#include <sys/types.h>

#include "base/base.h"
#include "base/buf.h"

/* Most listeners in one set: the addresses of all names together. */
#define LISTENERS_MAX 16

struct listener {
    int fd;
    int port; /* as bound; -1: a unix socket */
    /* All threads accept from one queue, through duplicates of one descriptor: a unix
     * socket, or one that was passed. Otherwise each thread has a queue of its own
     * (SO_REUSEPORT). */
    bool shared;
    /* number of the caller whose own address this is, from 1, see config.owners; 0: none.
     * Set by the user of this file, and copied by listener_twin. */
    unsigned owner;
    /* it belongs to the service manager: never shut down, its file never removed */
    bool passed;
    char *name; /* "127.0.0.1:8080", "unix:/run/x.sock": for the log */
    char *path; /* of a unix socket, to remove it at the end; NULL: none */
    dev_t device;
    ino_t inode; /* identify the file that was created: another may be there later */
};

/* Zeroed: empty. */
struct listeners {
    struct listener item[LISTENERS_MAX];
    size_t count;
};

struct listener_options {
    const char *address;   /* as the user wrote it, for errors */
    const char *unix_path; /* path of a unix socket; NULL: TCP */
    const char *host;      /* for TCP: a name, or an address without brackets */
    int port;              /* 0: a free one, the same on each address of the name */
    int64_t socket_mode;   /* of a unix socket */
};

/* Binds and listens, non-blocking, and adds the listeners to the set. Returns 0, or -errno
 * with one line (without newline) in `error`; the set is unchanged then. Thread: control,
 * before others start (the umask belongs to the process); a name is resolved, which may take
 * seconds.
 *
 * An address is bound once: one that the set has already is skipped, and so is one that this
 * machine does not have (such as ::1 in a container) if the name has others. Nobody else can
 * listen on the same port, not even another instance that starts at the same moment, and a
 * connection that comes early waits in the queue.
 *
 * A unix socket has exactly `socket_mode` from the moment it exists. A socket file that
 * nobody listens on is replaced. One that is or may be in use, and any other kind of file
 * (also a symbolic link), is left alone and is an error. Of two programs that start at the
 * same time with one path only one gets it. */
int listeners_add(struct listeners *s, const struct listener_options *o,
                  struct buf *error) MUST_CHECK;

/* Adds a socket that listens already and was passed to this process; makes it non-blocking
 * and close-on-exec. Owns fd on success. Returns 0, or -errno with what is wrong with it in
 * `error`. Thread: control, before others start. */
int listeners_adopt(struct listeners *s, int fd, struct buf *error) MUST_CHECK;

/* Makes another listener for the address of `first`, so that another thread can accept too.
 * TCP: a second socket, and the kernel distributes the connections (SO_REUSEPORT); a unix
 * socket or a passed one: a duplicate of the descriptor. Returns like listeners_add. */
int listener_twin(struct listener *first, struct listener *twin, struct buf *error) MUST_CHECK;

/* Writes the address as it appears in a Host field, "127.0.0.1" or "[::1]". False: it is a
 * unix socket, or listens on every address of the machine. */
bool listener_host(const struct listener *l, char host[64]);
/* Whether only this machine can reach it: a unix socket, or a loopback address. */
bool listener_is_local(const struct listener *l);

/* Appends the names, separated by commas. */
void listeners_names(const struct listeners *s, struct buf *out);

/* Closes it, and removes the file of a unix socket if it is still the one that was created.
 * Takes a closed one (fd -1). */
void listener_close(struct listener *l);
/* Closes all; the set is empty then. */
void listeners_done(struct listeners *s);

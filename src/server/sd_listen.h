#pragma once
/* Sockets that the service manager has opened and passed to this process, by systemd's protocol
 * (sd_listen_fds(3)): LISTEN_FDS descriptors from 3 on, each with a name in LISTEN_FDNAMES. They
 * stay open from one run of the program to the next, so that a restart refuses no connection.
 * Thread: control. */
#include "base/buf.h"
#include "net/listener.h"

/* The descriptors and their names. Zeroed: there are none. */
struct sd_listen {
    struct listeners listen; /* of the name "listen": for callers */
    struct listeners admin;  /* of the name "admin" */
};

/* Takes LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES out of the environment, and the descriptors in
 * when they are meant for this process; before anything else is opened and before other threads
 * start. Returns 0, or -errno with one line in `error` that names the descriptor; sd_listen_done
 * is due in both cases, unless the sets were taken over. */
int sd_listen_take(struct sd_listen *s, struct buf *error) MUST_CHECK;
void sd_listen_done(struct sd_listen *s);

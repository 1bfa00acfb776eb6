#pragma once
/* Sockets that the service manager has opened and passed to this process, by systemd's
 * protocol (sd_listen_fds(3)): LISTEN_FDS descriptors from 3 on, with names in
 * LISTEN_FDNAMES. They stay open when the program is restarted, so that a restart refuses no
 * connection. Thread: control. */
#include "base/buf.h"
#include "net/listener.h"

/* The sockets that were passed. Zeroed: none. */
struct sd_listen {
    struct listeners listen; /* those named "listen": for callers */
    struct listeners admin;  /* those named "admin" */
};

/* Removes LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES from the environment, and takes the
 * descriptors if they are meant for this process. Call it before anything else is opened and
 * before other threads start. Returns 0, or -errno with one line in `error` that names the
 * descriptor. Call sd_listen_done in both cases, unless the sets were taken over. */
int sd_listen_take(struct sd_listen *s, struct buf *error) MUST_CHECK;
void sd_listen_done(struct sd_listen *s);

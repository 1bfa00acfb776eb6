#pragma once
/* What the process gives up once it has started: with Landlock all files but those named
 * here, and all TCP connections but those to the ports named here; with seccomp the system
 * calls that the program never uses. This cannot be undone. */
#include "base/base.h"
#include "base/buf.h"

#define SANDBOX_PORTS_MAX 16

struct sandbox_path {
    char *path;
    enum sandbox_use { SANDBOX_READ, SANDBOX_REMOVE } use;
};

struct sandbox_rules {
    struct sandbox_path *path;
    size_t paths, room;
    int port[SANDBOX_PORTS_MAX];
    size_t ports;
};

/* Allows reading a file, and any file that replaces it later: allows its directory, and
 * those of the symbolic links on the path to it, with everything below. For a directory that
 * is shared with others (/, /etc, /tmp, the home directory and the like) only the file
 * itself as it is now. The file need not exist yet if its directory does. Takes NULL. */
void sandbox_may_read(struct sandbox_rules *r, const char *path);
/* Allows reading a file, or everything below a directory; does nothing if it does not exist. */
void sandbox_may_read_beneath(struct sandbox_rules *r, const char *path);
/* Allows removing the file, and with it other files in its directory. */
void sandbox_may_remove(struct sandbox_rules *r, const char *path);
/* Allows TCP connections to that port, on any host. */
void sandbox_may_connect(struct sandbox_rules *r, int port);
/* Frees; takes a zeroed one. */
void sandbox_rules_done(struct sandbox_rules *r);

/* Restricts the calling thread, and those that it creates, to what was allowed above and to
 * what every program needs: system libraries, the files for name resolution. Call it once,
 * while there is only one thread. Appends what is in force to `name` ("landlock(abi
 * 7)+seccomp", "seccomp", "none"), and what the kernel does not offer, and why, to
 * `missing`. Returns whether all of it is in force. Thread: control. */
bool sandbox_enter(struct sandbox_rules *r, struct buf *name, struct buf *missing) MUST_CHECK;

/* Whether the sandbox, and not the file's own permissions, keeps the process from reading
 * that file; from connecting to that port. False before sandbox_enter. Thread: control. */
bool sandbox_hides(const char *path);
bool sandbox_bars(int port);

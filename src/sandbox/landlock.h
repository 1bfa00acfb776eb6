#pragma once
/* What the process gives up once it has started: with Landlock every file but those named here
 * and every TCP connection but to the ports named here; with seccomp what no part of the
 * program ever asks of the kernel. It cannot be taken back. */
#include "base/base.h"
#include "base/buf.h"

#define SANDBOX_PATHS_MAX 128
#define SANDBOX_PORTS_MAX 16

struct sandbox_rules {
    struct sandbox_path {
        char *path;
        enum sandbox_use { SANDBOX_READ, SANDBOX_REMOVE } use;
    } path[SANDBOX_PATHS_MAX];
    size_t paths;
    int port[SANDBOX_PORTS_MAX];
    size_t ports;
};

/* A file may be read, and whatever comes to stand in its place: its directory and those of the
 * symbolic links on the way to it, with all that is beneath. Of a directory that is shared with
 * others (/, /etc, /tmp, the home directory and their like) only the file itself, as it is now.
 * One that is not there yet counts too, if its directory is. Takes NULL. */
void sandbox_may_read(struct sandbox_rules *r, const char *path);
/* All that is beneath a directory, or a file; nothing when it is not there. */
void sandbox_may_read_beneath(struct sandbox_rules *r, const char *path);
/* The file may be removed, and with it the others in its directory. */
void sandbox_may_remove(struct sandbox_rules *r, const char *path);
/* TCP connections to that port, anywhere. */
void sandbox_may_connect(struct sandbox_rules *r, int port);
/* Frees; takes a zeroed one. */
void sandbox_rules_done(struct sandbox_rules *r);

/* From here on the calling thread and those it makes can do no more than that, beside what
 * every program needs: system libraries, the files of name resolution. To be called once, while
 * there is one thread. Appends what is in force to `name` ("landlock(abi 7)+seccomp",
 * "seccomp", "none") and what the kernel does not offer, and why, to `missing`. Returns whether
 * all of it is in force. Thread: control. */
bool sandbox_enter(struct sandbox_rules *r, struct buf *name, struct buf *missing) MUST_CHECK;

/* Whether it is the sandbox that keeps the process from reading that file, not the file's own
 * permissions; from connecting to that port. False before sandbox_enter. Thread: control. */
bool sandbox_hides(const char *path);
bool sandbox_bars(int port);

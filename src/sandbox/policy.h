#pragma once
/* The sandbox for a process with these settings. */
#include "base/buf.h"
#include "config/config.h"
#include "net/listener.h"

/* For a process that listens on these: `callers`, and `admin`, which may be empty. Gives up what is not needed any more once everything is open and before other threads are
 * started, when process.sandbox says so. Appends what the ready line says ("landlock(abi
 * 7)+seccomp", "off") to `name`. What the kernel does not offer is one line of the log, no
 * failure. Thread: control. */
void policy_enforce(const struct config *c, const struct listeners *callers,
                    const struct listeners *admin, struct buf *name);

/* Whether the sandbox lets this process connect to every port that these settings lead to; it
 * is closed to those that were not named when it was entered. Calls `barred` with each one that
 * is not, and the key that leads there. Thread: control. */
bool policy_reaches(const struct config *c,
                    void (*barred)(void *arg, const char *key, int port), void *arg) MUST_CHECK;

/* Name resolution reads files anew when they change, and one that was put in the place of
 * another cannot be read any more. Logs that once, if that is how it is. Thread: control. */
void policy_check_resolver(void);

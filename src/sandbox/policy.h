#pragma once
/* The sandbox for a process with these settings. */
#include "base/buf.h"
#include "config/config.h"

/* Gives up what is not needed any more once everything is open and before other threads are
 * started, when process.sandbox says so. Appends what the ready line says ("landlock(abi
 * 7)+seccomp", "off") to `name`. What the kernel does not offer is one line of the log, no
 * failure. Thread: control. */
void policy_enforce(const struct config *c, struct buf *name);

/* Name resolution reads files anew when they change, and one that was put in the place of
 * another cannot be read any more. Logs that once, if that is how it is. Thread: control. */
void policy_check_resolver(void);

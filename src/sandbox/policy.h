#pragma once
/* Decides which rights a process with these settings needs, and gives up all others. */
#include "base/buf.h"
#include "config/config.h"
#include "net/listener.h"

/* Enters the sandbox if process.sandbox says so: gives up every right that is no longer
 * needed. Call it when all listeners are open and before other threads are started. The
 * process listens on `callers` and on `admin`, which may be empty. Appends to `name` what
 * the ready line reports ("landlock(abi 7)+seccomp", "off"). What the kernel does not offer
 * is logged in one line and is not an error. Thread: control. */
void policy_enforce(const struct config *c, const struct listeners *callers,
                    const struct listeners *admin, struct buf *name);

/* Whether this process may connect to every port that these settings name. In a sandbox it
 * may only connect to the ports that were named when it was entered. Calls `barred` for each
 * port that is not allowed, with the setting that names it. Thread: control. */
bool policy_reaches(const struct config *c,
                    void (*barred)(void *arg, const char *key, int port), void *arg) MUST_CHECK;

/* Checks whether the files for name resolution can still be read: the sandbox allows the
 * files that existed when it was entered, not others that have replaced them since. Logs it
 * once if they cannot. Thread: control. */
void policy_check_resolver(void);

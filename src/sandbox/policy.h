#pragma once
/* Which rights a process with these settings needs, and giving up all others. */
#include "base/buf.h"
#include "config/config.h"
#include "net/listener.h"

/* Enters the sandbox, if process.sandbox says so: gives up every right that is not needed any
 * more. To be called when all listeners are open and before other threads are started. The
 * process listens on `callers` and on `admin`, which may be empty. Appends to `name` what the
 * ready line says ("landlock(abi 7)+seccomp", "off"). What the kernel does not offer is told in
 * one line of the log, and is no failure. Thread: control. */
void policy_enforce(const struct config *c, const struct listeners *callers,
                    const struct listeners *admin, struct buf *name);

/* Whether this process may connect to every port that these settings name. In a sandbox it may
 * connect only to the ports that were named when it was entered. Calls `barred` with each port
 * that it may not, and the setting that names it. Thread: control. */
bool policy_reaches(const struct config *c,
                    void (*barred)(void *arg, const char *key, int port), void *arg) MUST_CHECK;

/* Looks whether the files that name resolution needs can still be read: the sandbox allows the
 * files that were there when it was entered, not others that were put in their place since. Logs
 * that once, if it is so. Thread: control. */
void policy_check_resolver(void);

#pragma once
/* Stops a worker thread of the program under test in accept4(2) for as long as a test wants.
 * The kernel asks the test about each such call (seccomp user notification, Linux 5.5); as
 * long as it does not answer, the thread really hangs. This needs no privileges, and nothing
 * in the program knows about it. */
#include <stdbool.h>

#include "proxy.h"

/* Call it first in main: in the process between the test and the proxy it does not return. */
void hold_main(int argc, char **argv);

/* Makes the workers of the next proxy that is started stoppable. False, with the reason:
 * this kernel does not support it. */
bool hold_begin(const char **why);
/* Call it after that proxy was started. */
bool hold_attach(const char **why);
/* The next worker that calls accept4 hangs. */
void hold_next(void);
/* Waits until one hangs and returns its number; -1: not before the deadline. */
int hold_worker(int ms);
/* Lets it go on. */
void hold_release(void);
/* Call it after the proxy has exited: without the test the kernel answers each accept4 with
 * ENOSYS. */
void hold_end(void);

#pragma once
/* Holds a worker thread of the program under test in accept4(2), for as long as a test wants:
 * the kernel asks us about each such call (seccomp's user notification, Linux 5.5), and an
 * answer that does not come is a thread that really hangs. Needs no rights, and nothing in the
 * program knows of it. */
#include <stdbool.h>

#include "proxy.h"

/* To be called first in main: in the process between us and the proxy it does not return. */
void hold_main(int argc, char **argv);

/* The next proxy started is one whose workers can be held. False, with the reason: this kernel
 * cannot do it. */
bool hold_begin(const char **why);
/* After that proxy has been started. */
bool hold_attach(const char **why);
/* From now on the next worker that accepts hangs. */
void hold_next(void);
/* Its number, once it does; -1: not by then. */
int hold_worker(int ms);
/* It goes on. */
void hold_release(void);
/* After the proxy has left: without us the kernel answers each accept4 with ENOSYS. */
void hold_end(void);

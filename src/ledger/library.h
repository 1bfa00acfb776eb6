#pragma once
/* Shared libraries that only a ledger needs. Without one they cost neither memory nor time at the
 * start, and need not be installed. Where the program was linked with their archives
 * (LEDGER_LINKED, the image), nothing is loaded. */
#include "base/buf.h"

/* A function of a library, and where its address goes: to a pointer to such a function. */
struct library_function {
    const char *name;
    void *at;
};

/* Loads a library by its soname, and finds the functions; it stays loaded. May be called again.
 * Before the sandbox closes, which forbids to map what is to be run. Returns 0, or -ENOENT with a
 * sentence in `error` that names the package of Debian that has it. Thread: the only one. */
int library_load(const char *soname, const char *package,
                 const struct library_function *function, size_t count,
                 struct buf *error) MUST_CHECK;

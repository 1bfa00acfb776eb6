#pragma once
/* Loads shared libraries that only a ledger needs. Without a ledger they take neither memory
 * nor start-up time, and need not be installed. If the program was linked with their static
 * versions (LEDGER_LINKED, in the image), nothing is loaded. */
#include "base/buf.h"

/* A function of a library, and the function pointer that gets its address. */
struct library_function {
    const char *name;
    void *at;
};

/* Loads a library by its soname and finds the functions; it stays loaded. May be called
 * again. Call it before the sandbox is entered, which forbids mapping code. Returns 0, or
 * -ENOENT with a sentence in `error` that names the Debian package. Thread: there must be no
 * other. */
int library_load(const char *soname, const char *package,
                 const struct library_function *function, size_t count,
                 struct buf *error) MUST_CHECK;

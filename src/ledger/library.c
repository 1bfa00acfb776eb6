/* Loads a shared library and fills in a table of its functions. */
#include "ledger/library.h"

#include <dlfcn.h>
#include <errno.h>

int library_load(const char *soname, const char *package,
                 const struct library_function *function, size_t count, struct buf *error)
{
    void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

    if (library == NULL) {
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): it is the only thread */
        const char *why = dlerror();

        (void)buf_addf(error, "%s cannot be loaded, which this ledger needs: install %s (%s)",
                       soname, package, why);
        return -ENOENT;
    }
    for (size_t i = 0; i < count; i++) {
        void **at = function[i].at; /* POSIX, dlsym: a function's address as a void * */

        *at = dlsym(library, function[i].name);
        if (*at == NULL) {
            (void)buf_addf(error, "%s has no function %s: install a newer %s", soname,
                           function[i].name, package);
            return -ENOENT;
        }
    }
    return 0;
}

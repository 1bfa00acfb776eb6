/* The table of libpq's functions: loaded at run time, or filled in by the linker. */
#include "ledger/libpq.h"

#ifdef LEDGER_LINKED

#define LINKED(name) .name = name,
struct libpq libpq = { LIBPQ_FUNCTIONS(LINKED) };

int libpq_load(struct buf *error)
{
    (void)error;
    return 0;
}

#else

#include <errno.h>

#include "ledger/library.h"

struct libpq libpq;

int libpq_load(struct buf *error)
{
#define FUNCTION(name) { #name, &libpq.name },
    static const struct library_function functions[] = { LIBPQ_FUNCTIONS(FUNCTION) };
    static bool is_loaded;

    if (!is_loaded)
        is_loaded =
            library_load("libpq.so.5", "libpq5", functions, ARRAY_LEN(functions), error) == 0;
    return is_loaded ? 0 : -ENOENT;
}

#endif

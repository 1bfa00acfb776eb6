/* header_local_location on any value: what it returns is a path and never another host. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const origins[] = { "https://api.1shotapi.dev", "http://[::1]:8080" };
    char *value = malloc(size + 1);

    if (value == NULL)
        abort();
    if (size > 0)
        memcpy(value, data, size);
    value[size] = '\0';
    for (size_t i = 0; i < sizeof origins / sizeof *origins; i++) {
        const char *path = header_local_location(value, origins[i]);
        if (path != NULL && (path[0] != '/' || path[1] == '/' || path[1] == '\\'))
            abort();
    }
    free(value);
    return 0;
}

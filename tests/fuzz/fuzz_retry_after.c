/* header_retry_after on any bytes: not understood, or a wait of at most a day. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t clocks[] = { 0, 1700000000, 4102444800, -1, INT64_MAX, INT64_MIN };

    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        int64_t s = header_retry_after((const char *)data, size, clocks[i]);
        if (s < -1 || s > 24 * 60 * 60)
            abort();
    }
    return 0;
}

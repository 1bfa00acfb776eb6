/* token_request_secret on any body: it reads nothing behind it, finds a secret only where there is
 * the name of one, and finds it twice in the same way. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/token_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char out[TOKEN_REQUEST_SECRET_MAX], again[TOKEN_REQUEST_SECRET_MAX];
    char *body =
        malloc(size > 0 ? size : 1); /* of just that size, so that a step too far is seen */

    if (body == NULL)
        abort();
    if (size > 0)
        memcpy(body, data, size);
    size_t len = token_request_secret(body, size, out);

    if (len > sizeof out || (len > 0 && memmem(body, size, "client_secret", 13) == NULL))
        abort();
    if (token_request_secret(body, size, again) != len || memcmp(out, again, len) != 0)
        abort();
    free(body);
    return 0;
}

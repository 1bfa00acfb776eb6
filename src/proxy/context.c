/* The functions of a context. */
#include "proxy/context.h"

#include <string.h>
#include <sys/random.h>

#include "base/ascii.h"

/* Random bytes are fetched in bulk: one system call serves many requests. */
static bool random_bytes(struct context *ctx, unsigned char *out, size_t n)
{
    if (ctx->random_left < n) {
        if (getrandom(ctx->random, sizeof ctx->random, 0) != sizeof ctx->random)
            return false;
        ctx->random_left = sizeof ctx->random;
    }
    ctx->random_left -= n;
    memcpy(out, ctx->random + ctx->random_left, n);
    return true;
}

void context_request_id(struct context *ctx, char out[CONTEXT_REQUEST_ID_BYTES])
{
    const char *hex = ascii_hex_digits;
    unsigned char random[(CONTEXT_REQUEST_ID_BYTES - 1) / 2];
    size_t n = 0;

    if (random_bytes(ctx, random, sizeof random))
        for (size_t i = 0; i < sizeof random; i++) {
            out[n++] = hex[random[i] >> 4];
            out[n++] = hex[random[i] & 15];
        }
    out[n] = '\0';
}

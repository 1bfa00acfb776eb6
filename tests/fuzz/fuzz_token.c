/* token_parse on any bytes: it ends, and what it accepts is safe to put into a header. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "token/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char prefix[] = "Authorization: Bearer ";
    const struct token_rules rules = { .default_lifetime_ms = 300000,
                                       .now_ms = 1,
                                       .generation = 1 };
    const char *why = NULL;
    struct token *t = token_parse((const char *)data, size, &rules, &why);

    require((t == NULL) == (why != NULL));
    if (t == NULL)
        return 0;

    const char *header = secret_text(t->header);
    size_t len = secret_len(t->header);
    require(strlen(header) == len);
    require(strncmp(header, prefix, sizeof prefix - 1) == 0);
    require(len > sizeof prefix - 1 && len <= sizeof prefix - 1 + TOKEN_LENGTH_MAX);
    for (size_t i = sizeof prefix - 1; i < len; i++)
        require(header[i] > ' ' && header[i] < 0x7f && strchr("\"\\,;:", header[i]) == NULL);
    require(t->expires_ms > rules.now_ms);
    require(t->expires_ms - rules.now_ms <= TOKEN_LIFETIME_MAX_MS);
    token_unref(t);
    return 0;
}

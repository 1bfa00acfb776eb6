/* What the ledger reads of callers and of its store: keys in fields and bodies, kept heads. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "ledger/head.h"
#include "ledger/key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A key that was found is one, whatever it was found in. */
static void check(const struct ledger_key *key, bool visible)
{
    if (key->len == 0 || key->len > LEDGER_KEY_MAX || key->text[key->len] != '\0' ||
        strlen(key->text) != key->len)
        abort();
    for (size_t i = 0; i < key->len; i++)
        if (visible ? !ascii_is_visible(key->text[i]) : (unsigned char)key->text[i] <= ' ')
            abort();
}

/* The same key, in quotes, is found again. */
static void quote(const struct ledger_key *key)
{
    char value[2 * LEDGER_KEY_MAX + 2];
    struct ledger_key again;
    size_t n = 0;

    value[n++] = '"';
    for (size_t i = 0; i < key->len; i++) {
        if (key->text[i] == '"' || key->text[i] == '\\')
            value[n++] = '\\';
        value[n++] = key->text[i];
    }
    value[n++] = '"';
    const struct header_field f = { "Idempotency-Key", value, 15, n };

    if (ledger_key_from_header(&again, &f, 1) != LEDGER_KEY_FOUND || again.len != key->len ||
        memcmp(again.text, key->text, key->len) != 0)
        abort();
}

static void read_head(const char *text, size_t size)
{
    struct arena arena;
    size_t count = 0;

    arena_init(&arena, 1 << 20);
    const struct header_field *fields = ledger_head_read(&arena, text, size, &count);

    for (size_t i = 0; fields != NULL && i < count; i++)
        if (memchr(fields[i].value, '\n', fields[i].value_len) != NULL ||
            memchr(fields[i].value, '\r', fields[i].value_len) != NULL ||
            strlen(fields[i].value) != fields[i].value_len)
            abort();
    arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ledger_key_source memo = { "/memo", "idem:" }, deep = { "/a/0/b", "" };
    const char *text = (const char *)data;
    const struct header_field f = { "Idempotency-Key", size == 0 ? "" : text, 15, size };
    struct ledger_key key;

    if (ledger_key_from_header(&key, &f, 1) == LEDGER_KEY_FOUND) {
        check(&key, true);
        quote(&key);
    }
    if (ledger_key_from_body(&key, &memo, f.value, size) == LEDGER_KEY_FOUND)
        check(&key, false);
    if (ledger_key_from_body(&key, &deep, f.value, size) == LEDGER_KEY_FOUND)
        check(&key, false);
    read_head(f.value, size);
    return 0;
}

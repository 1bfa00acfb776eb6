#pragma once
/* What the tests of the ledger share: a payment, and a store, which is a SQLite file that is made by
 * the program's own command, in a directory beside the test program (/tmp may lie in memory, which a
 * ledger refuses). */

/* A request that moves money, and a key for it. */
#define PATH "/methods/0e1f6a4c-0d6c-4f0e-9d3e-1c6f8d1f2a3b/execute"
#define PAY "{\"amount\":1}"
#define KEY "Idempotency-Key: 8e03978e-40d5-43e8-bc93-6894a57f9324\r\n"

struct store {
    char dir[256];      /* 0700 */
    char settings[512]; /* "ledger.store = ...", for world_options */
};

/* Makes it. more: further settings of the world, a line each, or NULL; they are in s->settings, too.
 * A failure fails the test. */
void store_make(struct store *s, const char *more);
/* Removes it with all that is in the directory. */
void store_remove(struct store *s);
/* Declares one that ends with its block; to be declared before the world that uses it. */
#define STORE(name) struct store name __attribute__((cleanup(store_remove))) = { .dir = "" }

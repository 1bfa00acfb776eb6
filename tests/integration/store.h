#pragma once
/* The store of a ledger for a test: a SQLite file that is made by the program's own command, in a
 * directory beside the test program (/tmp may lie in memory, which a ledger refuses). */

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

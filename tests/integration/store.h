#pragma once
/* What the tests of the ledger share: a payment, and a store, an SQLite file that the
 * program's own command creates in a directory beside the test program (/tmp may be in
 * memory, which a ledger refuses). */
#include "harness.h"

/* A request that moves money, and a key for it. */
#define PATH "/methods/0e1f6a4c-0d6c-4f0e-9d3e-1c6f8d1f2a3b/execute"
#define PAY "{\"amount\":1}"
#define KEY "Idempotency-Key: 8e03978e-40d5-43e8-bc93-6894a57f9324\r\n"

struct store {
    char dir[256];      /* 0700 */
    char settings[512]; /* "ledger.store = ...", for world_options */
};

/* Creates it. more: further settings of the world, a line each, or NULL; they are in
 * s->settings, too. A failure fails the test. */
void store_make(struct store *s, const char *more);
/* Removes its directory with everything in it. */
void store_remove(struct store *s);
/* Declares one that is removed at the end of its block; declare it before the world that
 * uses it. */
#define STORE(name) struct store name __attribute__((cleanup(store_remove))) = { .dir = "" }

/* Sends the payment with this key. */
void store_pay(const struct world *w, const char *key, struct answer *a);
/* The same; returns the status. */
int store_pay_status(const struct world *w, const char *key);

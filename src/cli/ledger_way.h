#pragma once
/* The way to the ledger for a command: the socket of the proxy that has the store, or the store
 * itself when no proxy has it or it is PostgreSQL's. */
#include "config/config.h"
#include "ledger/control_client.h"
#include "ledger/store.h"

struct ledger_way {
    const struct store_type *type;
    struct store *store;           /* NULL: ... */
    struct control_client control; /* ... by the socket of a proxy */
};

struct store_options ledger_way_options(const struct config *c);

/* Returns whether there is a way; else why not is in `error`. ledger_way_close is due in both
 * cases. */
bool ledger_way_open(struct ledger_way *w, const struct config *c, struct buf *error);
/* Takes a zeroed one. */
void ledger_way_close(struct ledger_way *w);
#define auto_way __attribute__((cleanup(ledger_way_close)))

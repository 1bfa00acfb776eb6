#pragma once
/* How a command reaches the ledger: by the socket of the proxy that uses the store, or by
 * the store itself if no proxy uses it or if it is in PostgreSQL. */
#include "config/config.h"
#include "ledger/control_client.h"
#include "ledger/store.h"

struct ledger_way {
    const struct store_type *type;
    struct store *store;           /* NULL: ... */
    struct control_client control; /* ... use the socket of a proxy */
};

struct store_options ledger_way_options(const struct config *c);

/* Returns whether it succeeded; if not, the reason is in `error`. Call ledger_way_close in
 * both cases. */
bool ledger_way_open(struct ledger_way *w, const struct config *c, struct buf *error);
/* Takes a zeroed one. */
void ledger_way_close(struct ledger_way *w);
#define auto_way __attribute__((cleanup(ledger_way_close)))

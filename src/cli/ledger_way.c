/* Opens the ledger for a command: first asks whether a proxy listens beside the store. */
#include "cli/ledger_way.h"

#include <errno.h>

#include "ledger/control.h"
#include "ledger/stores.h"

/* Time for a proxy that is just ending or starting. */
#define LOCK_WAIT_MS 3000

struct store_options ledger_way_options(const struct config *c)
{
    return (struct store_options){ .url = c->ledger.store,
                                   .ca_file = c->ledger.store_ca_file,
                                   .password_file = c->ledger.store_password_file,
                                   .instance = "command",
                                   .timeout_ms = c->ledger.store_timeout_ms,
                                   .wait_ms = LOCK_WAIT_MS,
                                   .by_command = true };
}

bool ledger_way_open(struct ledger_way *w, const struct config *c, struct buf *error)
{
    const struct store_options o = ledger_way_options(c);
    auto_free char *path = control_path(o.url);

    *w = (struct ledger_way){ .type = store_type_of(o.url), .control.fd = -1 };
    int err = path == NULL ? -ENOENT : control_client_open(&w->control, path, error);

    if (err != -ENOENT)
        return err == 0;
    return w->type->open(&w->store, &o, error) == STORE_OK;
}

void ledger_way_close(struct ledger_way *w)
{
    if (w->type == NULL)
        return;
    control_client_close(&w->control);
    w->type->close(w->store);
}

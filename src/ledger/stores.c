/* The list of stores. */
#include "ledger/stores.h"

#include "ledger/store_postgresql.h"
#include "ledger/store_sqlite.h"

static const struct store_type *const types[] = { &store_sqlite, &store_postgresql };

const struct store_type *store_type_of(const char *url)
{
    size_t len = strcspn(url, ":");

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strlen(types[i]->scheme) == len && memcmp(types[i]->scheme, url, len) == 0)
            return types[i];
    return NULL;
}

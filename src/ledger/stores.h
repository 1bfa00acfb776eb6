#pragma once
/* Which stores there are. */
#include "ledger/store.h"

/* The type that a URL names, or NULL. Thread: any. */
const struct store_type *store_type_of(const char *url);

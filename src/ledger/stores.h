#pragma once
/* The list of stores. */
#include "ledger/store.h"

/* The type for a URL, or NULL. Thread: any. */
const struct store_type *store_type_of(const char *url);

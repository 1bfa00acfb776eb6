#pragma once
/* The ledger in an SQLite file, for exactly one process. */
#include "ledger/store.h"

extern const struct store_type store_sqlite;

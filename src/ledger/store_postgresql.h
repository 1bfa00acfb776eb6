#pragma once
/* The ledger in a PostgreSQL database, for several replicas at once. */
#include "ledger/store.h"

extern const struct store_type store_postgresql;

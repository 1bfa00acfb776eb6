#pragma once
/* The data that the status page shows. */
#include "admin/health.h"
#include "admin/status.h"
#include "stats/history.h"
#include "stats/recent_failures.h"

/* Everything is borrowed. */
struct content {
    const struct status *status;
    const struct health *health;
    const struct health_since *since;
    const struct history *history;
    const struct history_totals *totals;
    const struct recent_failures *failures;
    const char *listen; /* the addresses as bound */
};

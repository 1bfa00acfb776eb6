#pragma once
/* The status page: one HTML document with nothing from outside, made anew for each request from
 * what the control thread knows. Thread: control. */
#include "admin/health.h"
#include "admin/status.h"
#include "base/base.h"
#include "base/buf.h"
#include "stats/history.h"
#include "stats/recent_failures.h"

/* Larger it cannot become: everything a peer or the configuration can make long is cut. */
#define PAGE_BYTES_MAX (768 * 1024)
/* Of the settings in print; what is longer is cut. */
#define PAGE_CONFIG_BYTES (48 * 1024)

/* What it shows; all of it borrowed. */
struct page {
    const struct status *status;
    const struct health *verdict;
    const struct health_since *since;
    const struct history *history;
    const struct history_totals *totals;
    const struct recent_failures *failures;
    const char *listen; /* the addresses that are bound */
};

/* The value of Content-Security-Policy that goes with it: nothing may load and nothing may run
 * but the style and the script that are in the document, known by their hashes, and the page
 * asking for itself. The text stays. */
const char *page_policy(void);

/* The document, appended. Returns 0, -EMSGSIZE or -ENOMEM. */
int page_render(const struct page *p, struct buf *out) MUST_CHECK;

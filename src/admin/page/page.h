#pragma once
/* The status page: one HTML document with nothing from outside, made anew for each request from
 * what the control thread knows. Thread: control. */
#include "admin/page/content.h"
#include "base/base.h"
#include "base/buf.h"

/* Larger it cannot become: everything a peer or the configuration can make long is cut. */
#define PAGE_BYTES_MAX (768 * 1024)

/* The value of Content-Security-Policy that goes with it: nothing may load and nothing may run
 * but the style and the script that are in the document, known by their hashes, and the page
 * asking for itself. The text stays. */
const char *page_policy(void);

/* The document, appended. Returns 0, -EMSGSIZE or -ENOMEM. */
int page_render(const struct content *c, struct buf *out) MUST_CHECK;

#pragma once
/* The status page: one HTML document that loads nothing from elsewhere, made for each
 * request from what the control thread knows. Thread: control. */
#include "admin/page/content.h"
#include "base/base.h"
#include "base/buf.h"

/* It cannot become larger: everything that a peer or the configuration can make long is cut. */
#define PAGE_BYTES_MAX (768 * 1024)

/* The value of Content-Security-Policy for it: nothing may be loaded or run except the style
 * and the script in the document, identified by their hashes, and the page may fetch itself.
 * The text is permanent. */
const char *page_policy(void);

/* Appends the document. Returns 0, -EMSGSIZE or -ENOMEM. */
int page_render(const struct content *c, struct buf *out) MUST_CHECK;

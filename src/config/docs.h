#pragma once
/* Prints the settings. Each function returns 0 or the error of buf_add. */
#include "base/buf.h"
#include "config/settings.h"

/* The effective settings as an ini file with every key; secrets as ******. */
int config_print(const struct config *c, struct buf *out) MUST_CHECK;

/* conf/oneshot-proxy.ini: every key with its default and its help, commented out. */
int config_print_reference(struct buf *out) MUST_CHECK;

/* The table of keys for the documentation, as Markdown. */
int config_print_markdown(struct buf *out) MUST_CHECK;

/* oneshot-proxy.ini(5), as roff. */
int config_print_man(struct buf *out) MUST_CHECK;

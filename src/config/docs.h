#pragma once
/* The settings in print. Each returns 0 or what buf_add says. */
#include "base/buf.h"
#include "config/settings.h"

/* The effective settings as an ini file, each key, secrets as ******. */
int config_print(const struct config *c, struct buf *out) MUST_CHECK;

/* conf/oneshot-proxy.ini: every key with its default and its help, commented out. */
int config_print_reference(struct buf *out) MUST_CHECK;

/* The table of keys for the documents, as Markdown. */
int config_print_markdown(struct buf *out) MUST_CHECK;

/* oneshot-proxy.ini(5), as roff. */
int config_print_man(struct buf *out) MUST_CHECK;

#pragma once
/* What goes beyond one value: hosts, URLs, files, pairs. For the config_*.c files only. */
#include "config/ini.h"

/* Reports whatever is wrong with the config as loaded, and fills in what follows from other
 * settings (origin, base path, token.url, allowed hosts, the contents of the `_file`s). */
void config_check(struct config_load *load);

/* Its part for upstream and token.url. */
void config_check_urls(struct config_load *load);

/* Its part for inbound TLS; after the files have been looked at. */
void config_check_tls(struct config_load *load);

/* Whether the key is one of inbound TLS, and its file holds something else now. */
bool config_tls_differs(const struct config *a, const struct config *b,
                        const struct config_key *key);

#define KEY(section, name) config_find(#section, #name)

/* Takes in the certificate and key files of the upstream's side, after the checks above. */
void config_check_pem(struct config_load *load);
void config_pem_clear(struct config *c);
/* Whether the key is one of them, and its file holds something else now. */
bool config_pem_differs(const struct config *a, const struct config *b,
                        const struct config_key *key);

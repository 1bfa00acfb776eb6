#pragma once
/* The two listeners: the API itself, and a plain one where a test can ask what happened. */
#include <stdbool.h>
#include <stdint.h>

#include "token.h"

struct server_settings {
    const char *listen, *admin;    /* HOST:PORT; admin may be NULL */
    const char *certificate, *key; /* PEM text; both NULL: plain HTTP */
    bool log;                      /* one line per request on stderr */
    struct token_settings token;
};

struct server;

/* Starts both, each on a thread of its own. Returns NULL after a line on stderr. */
struct server *server_start(const struct server_settings *settings);

/* Ends the connections and frees everything. Takes NULL. */
void server_stop(struct server *server);

/* The addresses actually bound, "127.0.0.1:34567"; the admin one "" without a listener. */
const char *server_address(const struct server *server);
const char *server_admin_address(const struct server *server);

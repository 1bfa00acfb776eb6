#pragma once
/* Parses the URL of a PostgreSQL store:
 * postgresql://user@host[:port][,host[:port]]/database. Thread: any. */
#include "base/base.h"

#define CONFIG_STORE_HOSTS_MAX 8
#define CONFIG_STORE_PORT 5432 /* PostgreSQL's default */

struct config_store_url {
    char user[64], database[64];
    struct config_store_host {
        char name[256]; /* without brackets; "/DIRECTORY": the unix socket in that directory */
        int port;
    } host[CONFIG_STORE_HOSTS_MAX];
    size_t hosts;
};

/* User, database and the directory of a unix socket may contain escapes
 * (%2Frun%2Fpostgresql). Returns NULL, or what is wrong with it (a literal; it contains
 * nothing of the text). */
const char *config_store_url_split(const char *text, struct config_store_url *out);

/* Whether the text is such a URL at all, correct or not. */
bool config_store_url_is(const char *text);

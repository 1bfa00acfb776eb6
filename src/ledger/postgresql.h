#pragma once
/* One connection to PostgreSQL on which every wait has a deadline, and which knows whether the
 * server has warned: libpq, non-blocking, for one thread that waits.
 *
 *     pg_connect -> pg_send, pg_send ..., pg_sync -> pg_result, pg_result ... -> pg_connect ...
 *                                                        |
 *                    lost: `conn` is NULL from then on <-+
 *
 * libpq reads much from its surroundings (PG* variables, service and password files, certificates
 * in the home directory). None of that counts here: pg_forget_environment, and parameters that name
 * what is not there. */
#include "base/buf.h"
#include "config/store_url.h"
#include "ledger/libpq.h"
#include "net/lookup.h"

struct pg {
    PGconn *conn; /* NULL: not connected */
    struct config_store_url url;
    char *ca_file, *password_file; /* NULL: the system's; none */
    int64_t timeout_ms;
    int64_t deadline_ms; /* of what is done now; see pg_within */
    int hurry_fd;        /* borrowed; readable: the proxy is ending. -1: none */
    bool hurried;        /* it was: each wait is a short one now */
    struct lookup *lookup[CONFIG_STORE_HOSTS_MAX]; /* of a host's name; NULL: none under way */
    bool warned;       /* the server has sent a WARNING since this was last set to false */
    struct buf *error; /* borrowed: where a failure puts its sentence; its first one stays */
};

/* The parameters of a statement, in the order of their $1, $2 ... What is added is borrowed until
 * pg_send. */
#define PG_PARAMS_MAX 20
struct pg_params {
    int count;
    const char *value[PG_PARAMS_MAX];
    int length[PG_PARAMS_MAX], binary[PG_PARAMS_MAX];
    char number[PG_PARAMS_MAX][24];
};

/* Removes every PG* variable. Thread: control, while there is no other. */
void pg_forget_environment(void);

/* The time for what follows, from now on: `ms` for all of it. */
void pg_within(struct pg *p, int64_t ms);

/* Connects to the first of the hosts, and of the addresses of each, that answers and that
 * `is_good` takes, each in its share of the time that is left. `is_good` may ask the server; it says
 * what is wrong in p->error, and with *final that another host would not help. Returns 0,
 * -ENOTCONN, or -EPERM: there was a server, and it was not good. */
int pg_connect(struct pg *p, bool (*is_good)(struct pg *p, void *arg, bool *final),
               void *arg) MUST_CHECK;
/* Takes one that is not connected. */
void pg_disconnect(struct pg *p);
/* Disconnects, and frees what it owns. */
void pg_done(struct pg *p);

void pg_add_text(struct pg_params *a, const char *text); /* NULL: SQL's NULL */
void pg_add_int(struct pg_params *a, int64_t number);
void pg_add_bytes(struct pg_params *a, const void *bytes, size_t n); /* NULL: SQL's NULL */

/* Queues a statement, `a` NULL: without parameters; its rows come in binary form. The connection is
 * in pipeline mode: nothing need be waited for in between. False: lost. */
bool pg_send(struct pg *p, const char *sql, const struct pg_params *a) MUST_CHECK;
/* Queues the end of what the server skips when a statement fails; its result is one of its own,
 * PGRES_PIPELINE_SYNC. False: lost. */
bool pg_sync(struct pg *p) MUST_CHECK;

/* The result of the next statement that was queued. NULL: lost, or not in time, and what the
 * server did with what was queued is not known. The caller clears it. */
PGresult *pg_result(struct pg *p) MUST_CHECK;

/* One statement by itself. NULL: lost, or it failed (still connected then); p->error says why. */
PGresult *pg_query(struct pg *p, const char *sql, const struct pg_params *a) MUST_CHECK;

/* One statement by itself whose rows are taken one at a time, since there may be many: pg_row until
 * it returns NULL, which is the end unless `failed` says otherwise. The caller clears each. */
bool pg_send_rows(struct pg *p, const char *sql, const struct pg_params *a) MUST_CHECK;
PGresult *pg_row(struct pg *p, bool *failed) MUST_CHECK;

/* Whether it is what was asked for, rows or none. Otherwise p->error says why, in the server's
 * words but without values. */
bool pg_is_good(struct pg *p, const PGresult *r);
/* A failed statement whose transaction is certain not to be committed: the server itself said so,
 * and is not ending. */
bool pg_is_definite(const PGresult *r);

/* Puts a sentence into p->error, unless there is one. */
void pg_say(struct pg *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Of a row in binary form. */
int64_t pg_int(const PGresult *r, int row, int column); /* smallint to bigint; NULL: 0 */
char *pg_text(const PGresult *r, int row, int column);  /* a copy; NULL: NULL */

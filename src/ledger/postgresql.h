#pragma once
/* One connection to PostgreSQL, with a deadline for every wait: libpq, non-blocking, for one
 * thread that waits. It also notes whether the server has sent a warning.
 *
 *     pg_connect -> pg_send, pg_send ..., pg_sync -> pg_result, pg_result ... -> pg_connect ...
 *                                                        |
 *                    lost: `conn` is NULL from then on <-+
 *
 * libpq takes much from its environment (PG* variables, service and password files,
 * certificates in the home directory). None of that counts here: see pg_forget_environment,
 * and the parameters that name files that do not exist. */
#include "base/buf.h"
#include "config/store_url.h"
#include "ledger/libpq.h"
#include "net/lookup.h"

struct pg {
    PGconn *conn; /* NULL: not connected */
    struct config_store_url url;
    char *ca_file, *password_file; /* NULL: the system's; no password */
    int64_t timeout_ms;
    int64_t deadline_ms; /* of the present operation; see pg_within */
    int hurry_fd;        /* borrowed; readable when the proxy is ending. -1: none */
    bool hurried;        /* the proxy is ending: every wait is short now */
    /* resolving a host's name; NULL: not in progress */
    struct lookup *lookup[CONFIG_STORE_HOSTS_MAX];
    bool warned;       /* the server has sent a WARNING since this was last set to false */
    struct buf *error; /* borrowed: gets a sentence about a failure; the first one stays */
};

/* The parameters of a statement, in the order $1, $2 ... Values that are added are borrowed
 * until pg_send. */
#define PG_PARAMS_MAX 20
struct pg_params {
    int count;
    const char *value[PG_PARAMS_MAX];
    int length[PG_PARAMS_MAX], binary[PG_PARAMS_MAX];
    char number[PG_PARAMS_MAX][24];
};

/* Removes every PG* variable. Thread: control, while there is no other. */
void pg_forget_environment(void);

/* Sets the deadline of what follows: `ms` from now on for all of it. */
void pg_within(struct pg *p, int64_t ms);

/* Connects to the first of the hosts, and of their addresses, that answers and that
 * `is_good` accepts, each for its share of the remaining time. `is_good` may ask the server;
 * it puts what is wrong into p->error, and sets *final if another host would not help.
 * Returns 0, -ENOTCONN, or -EPERM: a server answered and was not accepted. */
int pg_connect(struct pg *p, bool (*is_good)(struct pg *p, void *arg, bool *final),
               void *arg) MUST_CHECK;
/* Takes one that is not connected. */
void pg_disconnect(struct pg *p);
/* Disconnects, and frees what it owns. */
void pg_done(struct pg *p);

void pg_add_text(struct pg_params *a, const char *text); /* NULL: SQL's NULL */
void pg_add_int(struct pg_params *a, int64_t number);
void pg_add_bytes(struct pg_params *a, const void *bytes, size_t n); /* NULL: SQL's NULL */

/* Queues a statement, `a` NULL: without parameters; rows come in binary form. The connection
 * is in pipeline mode: there is no need to wait in between. False: lost. */
bool pg_send(struct pg *p, const char *sql, const struct pg_params *a) MUST_CHECK;
/* Queues a synchronisation point: when a statement fails, the server skips everything up to
 * here. It has a result of its own, PGRES_PIPELINE_SYNC. False: lost. */
bool pg_sync(struct pg *p) MUST_CHECK;

/* The result of the next queued statement. NULL: lost, or not in time, and it is not known
 * what the server did with the queued statements. The caller clears it. */
PGresult *pg_result(struct pg *p) MUST_CHECK;

/* Runs one statement. NULL: lost, or it failed (then still connected); p->error says why. */
PGresult *pg_query(struct pg *p, const char *sql, const struct pg_params *a) MUST_CHECK;

/* Runs one statement whose rows are read one at a time, since there may be many: call pg_row
 * until it returns NULL, which is the end unless `failed` says otherwise. The caller clears
 * each row with PQclear. pg_send_rows returns false: lost. */
bool pg_send_rows(struct pg *p, const char *sql, const struct pg_params *a) MUST_CHECK;
PGresult *pg_row(struct pg *p, bool *failed) MUST_CHECK;

/* Whether the result is what was asked for, with rows or without. Otherwise p->error says
 * why, in the server's own text but without values. */
bool pg_is_good(struct pg *p, const PGresult *r);
/* Whether a failed statement's transaction was certainly not committed: the server itself
 * said so, and is not ending. */
bool pg_is_definite(const PGresult *r);
/* A failed statement that would have made a second row of a key that is there but once. */
bool pg_is_unique_violation(const PGresult *r);

/* Puts a sentence into p->error, unless there is one already. */
void pg_say(struct pg *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Read values of a row in binary form. */
int64_t pg_int(const PGresult *r, int row, int column); /* smallint to bigint; NULL: 0 */
char *pg_text(const PGresult *r, int row, int column);  /* a copy; NULL: NULL */

/* One connection to PostgreSQL, driven by poll with a deadline. */
#include "ledger/postgresql.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "config/files.h"
#include "config/url.h"
#include "net/trust_store.h"

/* A file that cannot be: libpq is told that its files are there, and not to look at home. */
#define NO_FILE "/dev/null/none"

void pg_forget_environment(void)
{
    for (char **e = environ; e != NULL && *e != NULL;) {
        size_t len = strcspn(*e, "=");
        char name[64];

        if (strncmp(*e, "PG", 2) != 0 || len >= sizeof name) {
            e++;
            continue;
        }
        (void)snprintf(name, sizeof name, "%.*s", (int)len, *e);
        (void)unsetenv(name); /* NOLINT(concurrency-mt-unsafe): there is one thread */
        e = environ;
    }
}

void pg_say(struct pg *p, const char *fmt, ...)
{
    char text[512];
    va_list args;

    if (p->error == NULL || buf_unread(p->error) > 0)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    text[strcspn(text, "\r\n")] = '\0';
    (void)buf_addf(p->error, "%s", text);
}

void pg_within(struct pg *p, int64_t ms)
{
    p->deadline_ms = clock_ms() + ms;
}

/* --- waiting ------------------------------------------------------------------------------- */

/* Returns whether the descriptor is ready by then. */
static bool wait_for(PGconn *conn, short events, int64_t until_ms)
{
    struct pollfd fd = { .fd = PQsocket(conn), .events = events };

    for (;;) {
        int64_t left = until_ms - clock_ms();
        int n = left <= 0 ? 0 : poll(&fd, 1, (int)base_min(left, INT32_MAX));

        if (n > 0)
            return true;
        if (left <= 0 || (n < 0 && errno != EINTR))
            return false;
    }
}

static void lost(struct pg *p, const char *what)
{
    const char *why = p->conn == NULL ? "" : PQerrorMessage(p->conn);

    pg_say(p, "%s%s%s", what, *why != '\0' ? ": " : "", why);
    pg_disconnect(p);
}

void pg_disconnect(struct pg *p)
{
    if (p->conn != NULL)
        PQfinish(p->conn);
    p->conn = NULL;
}

/* Sends what is queued and takes in what comes, until a result is there. */
static bool pump(struct pg *p)
{
    if (p->conn == NULL)
        return false;
    for (;;) {
        int unsent = PQflush(p->conn);

        if (unsent < 0)
            break;
        if (PQisBusy(p->conn) == 0)
            return true;
        if (!wait_for(p->conn, (short)(POLLIN | (unsent > 0 ? POLLOUT : 0)), p->deadline_ms)) {
            lost(p, "PostgreSQL did not answer in time");
            return false;
        }
        if (PQconsumeInput(p->conn) == 0)
            break;
    }
    lost(p, "the connection to PostgreSQL was lost");
    return false;
}

/* --- connecting ---------------------------------------------------------------------------- */

/* Notices of all kinds; libpq would write them to standard error. */
static void on_notice(void *arg, const PGresult *r)
{
    struct pg *p = arg;
    const char *severity = PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED);

    if (severity == NULL || strcmp(severity, "WARNING") != 0)
        return;
    p->warned = true;
    pg_say(p, "PostgreSQL warned: %s", PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) ?: "");
}

static PGconn *start(struct pg *p, const struct config_store_host *host, const char *password)
{
    bool local = host->name[0] == '/' || config_is_loopback(host->name);
    const char *ca = p->ca_file, *directory = NULL;
    char port[8], timeout[24];

    if (ca == NULL && !local)
        trust_store_find(&ca, &directory);
    (void)snprintf(port, sizeof port, "%d", host->port);
    (void)snprintf(timeout, sizeof timeout, "%lld", (long long)p->timeout_ms);
    const char *const parameter[][2] = {
        { "host", host->name },
        { "port", port },
        { "user", p->url.user },
        { "dbname", p->url.database },
        { "password", password },
        { "passfile", NO_FILE },
        { "application_name", "oneshot-proxy" },
        { "client_encoding", "UTF8" },
        /* On this machine nobody listens in between; a server that wants TLS gets it. */
        { "sslmode", local && p->ca_file == NULL ? "allow" : "verify-full" },
        { "sslrootcert", ca == NULL ? NO_FILE : ca },
        { "sslcert", NO_FILE },
        { "sslkey", NO_FILE },
        { "sslcrl", NO_FILE },
        { "gssencmode", "disable" },
        { "keepalives_idle", "10" },
        { "keepalives_interval", "5" },
        { "keepalives_count", "3" },
        { "tcp_user_timeout", timeout },
    };
    const char *name[ARRAY_LEN(parameter) + 1] = { NULL };
    const char *value[ARRAY_LEN(parameter) + 1] = { NULL };

    for (size_t i = 0; i < ARRAY_LEN(parameter); i++) {
        name[i] = parameter[i][0];
        value[i] = parameter[i][1];
    }
    return PQconnectStartParams(name, value, 0);
}

static bool finish(struct pg *p, int64_t until_ms)
{
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;

    if (p->conn == NULL || PQstatus(p->conn) == CONNECTION_BAD)
        return false;
    while (status == PGRES_POLLING_READING || status == PGRES_POLLING_WRITING) {
        if (!wait_for(p->conn, status == PGRES_POLLING_READING ? POLLIN : POLLOUT, until_ms)) {
            pg_say(p, "PostgreSQL could not be reached in time");
            return false;
        }
        status = PQconnectPoll(p->conn);
    }
    return status == PGRES_POLLING_OK && PQsetnonblocking(p->conn, 1) == 0 &&
           PQenterPipelineMode(p->conn) == 1;
}

static bool connect_to(struct pg *p, const struct config_store_host *host, int64_t until_ms)
{
    struct secret *password = NULL;

    if (p->password_file != NULL) {
        password = config_read_secret_file(p->password_file, p->error);
        if (password == NULL)
            return false;
    }
    p->conn = start(p, host, password == NULL ? NULL : secret_text(password));
    secret_free(password);
    if (p->conn != NULL)
        (void)PQsetNoticeReceiver(p->conn, on_notice, p);
    if (finish(p, until_ms))
        return true;
    lost(p, "PostgreSQL cannot be reached");
    return false;
}

int pg_connect(struct pg *p, bool (*is_good)(struct pg *p, void *arg, bool *final), void *arg)
{
    const int64_t until_ms = p->deadline_ms;
    bool refused = false;

    for (size_t i = 0; i < p->url.hosts; i++) {
        int64_t share = (until_ms - clock_ms()) / (int64_t)(p->url.hosts - i);
        bool final = false;

        if (p->error != NULL && i > 0)
            buf_clear(p->error); /* of the host before */
        pg_within(p, share);
        bool good = connect_to(p, &p->url.host[i], p->deadline_ms) && is_good(p, arg, &final);
        p->deadline_ms = until_ms;
        if (good)
            return 0;
        refused = refused || p->conn != NULL; /* else it was lost while being asked */
        pg_disconnect(p);
        if (final)
            break;
    }
    return refused ? -EPERM : -ENOTCONN;
}

/* --- statements ---------------------------------------------------------------------------- */

static void add(struct pg_params *a, const char *value, size_t n, int binary)
{
    assert(a->count < PG_PARAMS_MAX && n <= INT32_MAX);
    a->value[a->count] = value;
    a->length[a->count] = (int)n;
    a->binary[a->count++] = binary;
}

void pg_add_text(struct pg_params *a, const char *text)
{
    add(a, text, 0, 0);
}

void pg_add_int(struct pg_params *a, int64_t number)
{
    (void)snprintf(a->number[a->count], sizeof a->number[0], "%lld", (long long)number);
    add(a, a->number[a->count], 0, 0);
}

void pg_add_bytes(struct pg_params *a, const void *bytes, size_t n)
{
    add(a, bytes, n, 1);
}

bool pg_send(struct pg *p, const char *sql, const struct pg_params *a)
{
    static const struct pg_params none;

    if (a == NULL)
        a = &none;
    if (PQsendQueryParams(p->conn, sql, a->count, NULL, a->value, a->length, a->binary, 1) == 1)
        return true;
    lost(p, "PostgreSQL took no statement");
    return false;
}

bool pg_sync(struct pg *p)
{
    if (PQpipelineSync(p->conn) == 1)
        return true;
    lost(p, "PostgreSQL took no statement");
    return false;
}

/* A fatal error ends the connection, and so does whatever is between us and the server. */
static bool ends_connection(const PGresult *r)
{
    const char *severity = PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED);

    return PQresultStatus(r) == PGRES_FATAL_ERROR &&
           (severity == NULL || strcmp(severity, "ERROR") != 0);
}

PGresult *pg_result(struct pg *p)
{
    PGresult *result = pump(p) ? PQgetResult(p->conn) : NULL;

    if (result == NULL) {
        if (p->conn != NULL)
            lost(p, "PostgreSQL sent no result");
        return NULL;
    }
    if (ends_connection(result)) {
        (void)pg_is_good(p, result);
        PQclear(result);
        lost(p, "the connection to PostgreSQL was lost");
        return NULL;
    }
    if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
        return result;
    /* Behind each statement's result there is a NULL. */
    PGresult *more = NULL;
    while (pump(p) && (more = PQgetResult(p->conn)) != NULL)
        PQclear(more);
    if (p->conn != NULL)
        return result;
    PQclear(result);
    return NULL;
}

PGresult *pg_query(struct pg *p, const char *sql, const struct pg_params *a)
{
    if (!pg_send(p, sql, a) || !pg_sync(p))
        return NULL;

    PGresult *result = pg_result(p), *sync = result == NULL ? NULL : pg_result(p);

    if (sync == NULL || !pg_is_good(p, result)) {
        PQclear(result);
        result = NULL;
    }
    PQclear(sync);
    return result;
}

bool pg_send_rows(struct pg *p, const char *sql, const struct pg_params *a)
{
    return pg_send(p, sql, a) && PQsetSingleRowMode(p->conn) == 1 && pg_sync(p);
}

PGresult *pg_row(struct pg *p, bool *failed)
{
    PGresult *r = pump(p) ? PQgetResult(p->conn) : NULL;

    *failed = r == NULL || (PQresultStatus(r) != PGRES_SINGLE_TUPLE && !pg_is_good(p, r));
    if (r != NULL && PQresultStatus(r) == PGRES_SINGLE_TUPLE)
        return r;
    PQclear(r);
    /* Behind the last row there is a result without any, a NULL, and the synchronisation. */
    r = pump(p) ? PQgetResult(p->conn) : NULL;
    PQclear(r);
    r = p->conn == NULL ? NULL : pg_result(p);
    *failed = *failed || r == NULL;
    PQclear(r);
    return NULL;
}

bool pg_is_good(struct pg *p, const PGresult *r)
{
    ExecStatusType status = PQresultStatus(r);

    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return true;
    if (status != PGRES_PIPELINE_ABORTED)
        pg_say(p, "PostgreSQL refused: %s (%s)",
               PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) ?: "no reason given",
               PQresultErrorField(r, PG_DIAG_SQLSTATE) ?: "no code");
    return false;
}

/* Classes of error codes (PostgreSQL's manual, appendix A) after which it is open what became of a
 * commit: 08 is the connection, 40003 and 57 that the server does not know or is ending. */
bool pg_is_definite(const PGresult *r)
{
    const char *code = PQresultErrorField(r, PG_DIAG_SQLSTATE);

    return PQresultStatus(r) == PGRES_FATAL_ERROR && code != NULL &&
           strncmp(code, "08", 2) != 0 && strncmp(code, "57P", 3) != 0 &&
           strcmp(code, "40003") != 0;
}

/* --- rows ---------------------------------------------------------------------------------- */

int64_t pg_int(const PGresult *r, int row, int column)
{
    const unsigned char *bytes = (const unsigned char *)PQgetvalue(r, row, column);
    int len = PQgetlength(r, row, column);
    uint64_t n = 0;

    if (PQgetisnull(r, row, column) || len < 1 || len > 8)
        return 0;
    for (int i = 0; i < len; i++)
        n = n << 8 | bytes[i];
    /* The sign of a shorter number. */
    if (len < 8 && (bytes[0] & 0x80) != 0)
        n |= ~UINT64_C(0) << (8 * len);
    return (int64_t)n;
}

char *pg_text(const PGresult *r, int row, int column)
{
    if (PQgetisnull(r, row, column))
        return NULL;
    char *copy = strndup(PQgetvalue(r, row, column), (size_t)PQgetlength(r, row, column));
    if (copy == NULL)
        abort();
    return copy;
}

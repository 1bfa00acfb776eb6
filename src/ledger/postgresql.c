/* One connection to PostgreSQL, driven by poll with a deadline. */
#include "ledger/postgresql.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "config/files.h"
#include "config/url.h"
#include "net/trust_store.h"

/* A path that cannot exist: keeps libpq from looking for files in the home directory. */
#define NO_FILE "/dev/null/none"
/* Longest wait once the proxy is ending. */
#define HURRY_MS 1000
/* Bytes of what is wrong with all servers together. */
#define REFUSALS_MAX 1024

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
    p->deadline_ms = clock_ms() + (p->hurried ? base_min(ms, HURRY_MS) : ms);
}

/* --- waiting ------------------------------------------------------------------------------ */

/* Shortens all waits, since the proxy is ending. */
static void hurry(struct pg *p)
{
    p->hurried = true;
    p->deadline_ms = base_min(p->deadline_ms, clock_ms() + HURRY_MS);
}

/* Waits until the connection is ready. False: not in time. */
static bool wait_for(struct pg *p, short events)
{
    struct pollfd fd[2] = { { .fd = libpq.PQsocket(p->conn), .events = events },
                            { .fd = p->hurried ? -1 : p->hurry_fd, .events = POLLIN } };

    for (;;) {
        int64_t left = p->deadline_ms - clock_ms();
        int n = left <= 0 ? 0 : poll(fd, ARRAY_LEN(fd), (int)base_min(left, INT32_MAX));

        if (n > 0 && fd[0].revents != 0)
            return true;
        if (left <= 0 || (n < 0 && errno != EINTR))
            return false;
        if (n > 0) {
            hurry(p);
            fd[1].fd = -1;
        }
    }
}

static void lost(struct pg *p, const char *what)
{
    const char *why = p->conn == NULL ? "" : libpq.PQerrorMessage(p->conn);

    pg_say(p, "%s%s%s", what, *why != '\0' ? ": " : "", why);
    pg_disconnect(p);
}

void pg_disconnect(struct pg *p)
{
    if (p->conn != NULL)
        libpq.PQfinish(p->conn);
    p->conn = NULL;
}

/* Sends what is queued and receives, until a result is there. */
static bool pump(struct pg *p)
{
    if (p->conn == NULL)
        return false;
    for (;;) {
        int unsent = libpq.PQflush(p->conn);

        if (unsent < 0)
            break;
        if (libpq.PQisBusy(p->conn) == 0)
            return true;
        if (!wait_for(p, (short)(POLLIN | (unsent > 0 ? POLLOUT : 0)))) {
            lost(p, "PostgreSQL did not answer in time");
            return false;
        }
        if (libpq.PQconsumeInput(p->conn) == 0)
            break;
    }
    lost(p, "the connection to PostgreSQL was lost");
    return false;
}

/* --- connecting --------------------------------------------------------------------------- */

/* Notices of all levels; libpq would print them to standard error. */
static void on_notice(void *arg, const PGresult *r)
{
    struct pg *p = arg;
    const char *severity = libpq.PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED);

    if (severity == NULL || strcmp(severity, "WARNING") != 0)
        return;
    p->warned = true;
    pg_say(p, "PostgreSQL warned: %s",
           libpq.PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) ?: "");
}

/* `address` NULL: use the host's name as it is. */
static PGconn *start(struct pg *p, const struct config_store_host *host, const char *address,
                     const char *password)
{
    bool local = host->name[0] == '/' || config_is_loopback(host->name);
    const char *ca = p->ca_file, *directory = NULL;
    char port[8], timeout[24];

    if (ca == NULL && !local)
        trust_store_find(&ca, &directory);
    (void)snprintf(port, sizeof port, "%d", host->port);
    (void)snprintf(timeout, sizeof timeout, "%lld", (long long)p->timeout_ms);
    const char *const parameter[][2] = {
        { "host", host->name }, /* the name that the certificate must have */
        { "hostaddr", address },
        { "port", port },
        { "user", p->url.user },
        { "dbname", p->url.database },
        { "password", password },
        { "passfile", NO_FILE },
        { "application_name", "oneshot-proxy" },
        { "client_encoding", "UTF8" },
        /* On the same machine nobody can listen in; a server that insists on TLS gets it. */
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
    return libpq.PQconnectStartParams(name, value, 0);
}

static bool finish(struct pg *p)
{
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;

    if (p->conn == NULL || libpq.PQstatus(p->conn) == CONNECTION_BAD)
        return false;
    while (status == PGRES_POLLING_READING || status == PGRES_POLLING_WRITING) {
        if (!wait_for(p, status == PGRES_POLLING_READING ? POLLIN : POLLOUT)) {
            pg_say(p, "PostgreSQL could not be reached in time");
            return false;
        }
        status = libpq.PQconnectPoll(p->conn);
    }
    return status == PGRES_POLLING_OK && libpq.PQsetnonblocking(p->conn, 1) == 0 &&
           libpq.PQenterPipelineMode(p->conn) == 1;
}

static bool connect_to(struct pg *p, const struct config_store_host *host, const char *address)
{
    struct secret *password = NULL;

    if (p->password_file != NULL) {
        password = config_read_secret_file(p->password_file, p->error);
        if (password == NULL)
            return false;
    }
    p->conn = start(p, host, address, password == NULL ? NULL : secret_text(password));
    secret_free(password);
    if (p->conn != NULL)
        (void)libpq.PQsetNoticeReceiver(p->conn, on_notice, p);
    if (finish(p))
        return true;
    lost(p, "PostgreSQL cannot be reached");
    return false;
}

/* The search for a usable server. */
struct choice {
    bool (*is_good)(struct pg *p, void *arg, bool *final);
    void *arg;
    bool refused; /* a server answered, and was not usable */
    bool final;
    struct buf refusals; /* why, for each of those */
};

/* Keeps why a server was refused: what is wrong with those that are tried after it is less
 * important, since it may end by itself. */
static void keep_refusal(struct pg *p, struct choice *c, const struct config_store_host *host)
{
    c->refused = true;
    if (p->error == NULL || buf_unread(p->error) == 0)
        return;
    if (buf_unread(&c->refusals) > 0)
        (void)buf_addf(&c->refusals, "; ");
    if (p->url.hosts > 1)
        (void)buf_addf(&c->refusals, "%s:%d: ", host->name, host->port);
    (void)buf_addf(&c->refusals, "%s", buf_text(p->error));
}

/* Tries one server, for at most that time. */
static bool try_server(struct pg *p, struct choice *c, const struct config_store_host *host,
                       const char *address, int64_t ms)
{
    const int64_t until_ms = p->deadline_ms;

    if (p->error != NULL)
        buf_clear(p->error); /* of the previous attempt */
    pg_within(p, ms);
    bool good = connect_to(p, host, address) && c->is_good(p, c->arg, &c->final);
    p->deadline_ms = until_ms;
    if (good)
        return true;
    if (p->conn != NULL) /* otherwise it was lost while it was being asked */
        keep_refusal(p, c, host);
    pg_disconnect(p);
    return false;
}

/* Whether it is a name: libpq would resolve it itself, without a time limit. */
static bool is_name(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];

    return host[0] != '/' && inet_pton(AF_INET, host, address) != 1 &&
           inet_pton(AF_INET6, host, address) != 1;
}

/* The addresses of a host. NULL: there are none, or not in time; the next call continues to
 * wait. */
static const struct addrinfo *look_up(struct pg *p, size_t i, int64_t until_ms)
{
    const struct config_store_host *host = &p->url.host[i];
    const struct addrinfo *found = NULL;
    int rc = EAI_MEMORY;

    if (p->lookup[i] == NULL)
        p->lookup[i] = lookup_start(host->name, host->port);
    if (p->lookup[i] != NULL)
        rc = lookup_wait(p->lookup[i], until_ms, p->hurried ? -1 : p->hurry_fd, &found);
    if (rc != 0)
        pg_say(p, "%s cannot be looked up: %s", host->name,
               rc == -ETIMEDOUT ? "the name servers did not answer in time" : gai_strerror(rc));
    if (rc != 0 && rc != -ETIMEDOUT) {
        lookup_free(p->lookup[i]);
        p->lookup[i] = NULL;
    }
    return found;
}

/* Tries each address for its share of the time: a name may stand for several servers. */
static bool try_addresses(struct pg *p, struct choice *c, size_t i, int64_t until_ms)
{
    const struct addrinfo *found = look_up(p, i, until_ms);
    char address[NI_MAXHOST];
    int64_t left = 0;
    bool good = false;

    for (const struct addrinfo *a = found; a != NULL; a = a->ai_next)
        left++;
    for (const struct addrinfo *a = found; a != NULL && !good && !c->final;
         a = a->ai_next, left--)
        good = getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof address, NULL, 0,
                           NI_NUMERICHOST) == 0 &&
               try_server(p, c, &p->url.host[i], address, (until_ms - clock_ms()) / left);
    if (found != NULL) {
        lookup_free(p->lookup[i]);
        p->lookup[i] = NULL;
    }
    return good;
}

/* Tries the hosts in their order. */
static bool try_hosts(struct pg *p, struct choice *c)
{
    bool good = false;

    for (size_t i = 0; i < p->url.hosts && !good && !c->final; i++) {
        int64_t now_ms = clock_ms();
        int64_t share_ms = (p->deadline_ms - now_ms) / (int64_t)(p->url.hosts - i);

        good = is_name(p->url.host[i].name) ? try_addresses(p, c, i, now_ms + share_ms)
                                            : try_server(p, c, &p->url.host[i], NULL, share_ms);
    }
    return good;
}

int pg_connect(struct pg *p, bool (*is_good)(struct pg *p, void *arg, bool *final), void *arg)
{
    struct choice c = { .is_good = is_good, .arg = arg };

    buf_init(&c.refusals, REFUSALS_MAX);
    bool good = try_hosts(p, &c);

    if (!good && buf_unread(&c.refusals) > 0) {
        buf_clear(p->error);
        (void)buf_addf(p->error, "%s", buf_text(&c.refusals));
    }
    buf_done(&c.refusals);
    return good ? 0 : c.refused ? -EPERM : -ENOTCONN;
}

void pg_done(struct pg *p)
{
    pg_disconnect(p);
    for (size_t i = 0; i < ARRAY_LEN(p->lookup); i++)
        lookup_free(p->lookup[i]);
    free(p->ca_file);
    free(p->password_file);
}

/* --- statements --------------------------------------------------------------------------- */

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
    if (libpq.PQsendQueryParams(p->conn, sql, a->count, NULL, a->value, a->length, a->binary,
                                1) == 1)
        return true;
    lost(p, "PostgreSQL took no statement");
    return false;
}

bool pg_sync(struct pg *p)
{
    if (libpq.PQpipelineSync(p->conn) == 1)
        return true;
    lost(p, "PostgreSQL took no statement");
    return false;
}

/* Whether the connection has ended: by a fatal error, or by something between us and the
 * server. */
static bool ends_connection(const PGresult *r)
{
    const char *severity = libpq.PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED);

    return libpq.PQresultStatus(r) == PGRES_FATAL_ERROR &&
           (severity == NULL || strcmp(severity, "ERROR") != 0);
}

PGresult *pg_result(struct pg *p)
{
    PGresult *result = pump(p) ? libpq.PQgetResult(p->conn) : NULL;

    if (result == NULL) {
        if (p->conn != NULL)
            lost(p, "PostgreSQL sent no result");
        return NULL;
    }
    if (ends_connection(result)) {
        (void)pg_is_good(p, result);
        libpq.PQclear(result);
        lost(p, "the connection to PostgreSQL was lost");
        return NULL;
    }
    if (libpq.PQresultStatus(result) == PGRES_PIPELINE_SYNC)
        return result;
    /* After the result of each statement there is a NULL. */
    PGresult *more = NULL;
    while (pump(p) && (more = libpq.PQgetResult(p->conn)) != NULL)
        libpq.PQclear(more);
    if (p->conn != NULL)
        return result;
    libpq.PQclear(result);
    return NULL;
}

PGresult *pg_query(struct pg *p, const char *sql, const struct pg_params *a)
{
    if (!pg_send(p, sql, a) || !pg_sync(p))
        return NULL;

    PGresult *result = pg_result(p), *sync = result == NULL ? NULL : pg_result(p);

    if (sync == NULL || !pg_is_good(p, result)) {
        libpq.PQclear(result);
        result = NULL;
    }
    libpq.PQclear(sync);
    return result;
}

bool pg_send_rows(struct pg *p, const char *sql, const struct pg_params *a)
{
    return pg_send(p, sql, a) && libpq.PQsetSingleRowMode(p->conn) == 1 && pg_sync(p);
}

PGresult *pg_row(struct pg *p, bool *failed)
{
    PGresult *r = pump(p) ? libpq.PQgetResult(p->conn) : NULL;

    *failed = r == NULL || (libpq.PQresultStatus(r) != PGRES_SINGLE_TUPLE && !pg_is_good(p, r));
    if (r != NULL && libpq.PQresultStatus(r) == PGRES_SINGLE_TUPLE)
        return r;
    libpq.PQclear(r);
    /* After the last row there is a result without rows, a NULL, and the synchronisation. */
    r = pump(p) ? libpq.PQgetResult(p->conn) : NULL;
    libpq.PQclear(r);
    r = p->conn == NULL ? NULL : pg_result(p);
    *failed = *failed || r == NULL;
    libpq.PQclear(r);
    return NULL;
}

bool pg_is_good(struct pg *p, const PGresult *r)
{
    ExecStatusType status = libpq.PQresultStatus(r);

    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return true;
    if (status != PGRES_PIPELINE_ABORTED)
        pg_say(p, "PostgreSQL refused: %s (%s)",
               libpq.PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) ?: "no reason given",
               libpq.PQresultErrorField(r, PG_DIAG_SQLSTATE) ?: "no code");
    return false;
}

/* After these error codes (PostgreSQL's manual, appendix A) it is not known whether a commit
 * succeeded: class 08 (connection), 40003 (the server does not know) and class 57 (it is
 * ending). */
bool pg_is_definite(const PGresult *r)
{
    const char *code = libpq.PQresultErrorField(r, PG_DIAG_SQLSTATE);

    return libpq.PQresultStatus(r) == PGRES_FATAL_ERROR && code != NULL &&
           strncmp(code, "08", 2) != 0 && strncmp(code, "57P", 3) != 0 &&
           strcmp(code, "40003") != 0;
}

bool pg_is_unique_violation(const PGresult *r)
{
    const char *code = libpq.PQresultErrorField(r, PG_DIAG_SQLSTATE);

    return code != NULL && strcmp(code, "23505") == 0;
}

/* --- rows --------------------------------------------------------------------------------- */

int64_t pg_int(const PGresult *r, int row, int column)
{
    const unsigned char *bytes = (const unsigned char *)libpq.PQgetvalue(r, row, column);
    int len = libpq.PQgetlength(r, row, column);
    uint64_t n = 0;

    if (libpq.PQgetisnull(r, row, column) || len < 1 || len > 8)
        return 0;
    for (int i = 0; i < len; i++)
        n = n << 8 | bytes[i];
    /* Sign extension of a shorter number. */
    if (len < 8 && (bytes[0] & 0x80) != 0)
        n |= ~UINT64_C(0) << (8 * len);
    return (int64_t)n;
}

char *pg_text(const PGresult *r, int row, int column)
{
    if (libpq.PQgetisnull(r, row, column))
        return NULL;
    char *copy =
        strndup(libpq.PQgetvalue(r, row, column), (size_t)libpq.PQgetlength(r, row, column));
    if (copy == NULL)
        abort();
    return copy;
}

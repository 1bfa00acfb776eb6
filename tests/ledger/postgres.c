/* Starts, ends and asks a PostgreSQL server for tests. */
#include "postgres.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_S 60
#define SETTINGS_MAX 16

struct postgres {
    char directory[64]; /* holds the cluster, data.password and the log */
    char data[80], log[80], password_file[96];
    char url[160], answer[1024];
    int port;
    pid_t pid;
};

static void run_shell(const char *command)
{
    int rc = system(command); /* NOLINT(cert-env33-c,concurrency-mt-unsafe): of a test */

    (void)rc;
}

static void fail(const struct postgres *p, const char *what)
{
    char command[128];

    (void)fprintf(stderr, "postgres: %s\n--- its log ---\n", what);
    (void)fflush(stderr);
    (void)snprintf(command, sizeof command, "tail -n 40 %s >&2", p->log);
    run_shell(command);
    _exit(1);
}

static void wait_a_moment(void)
{
    const struct timespec moment = { .tv_nsec = 10000000 };

    (void)nanosleep(&moment, NULL);
}

static int64_t now_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

/* One below those that the kernel gives to connections, which nobody else takes by chance;
 * any, where there are few of those. */
static int free_port(unsigned round)
{
    int low = 32768;
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");

    if (f != NULL) {
        char line[64];

        if (fgets(line, sizeof line, f) != NULL)
            low = (int)strtol(line, NULL, 10);
        (void)fclose(f);
    }
    for (int i = 0;; i++) {
        int below = (int)(((unsigned)getpid() * 7 + round * 131 + (unsigned)i) % 8000);
        int port = low > 10000 ? low - 1 - below : 0;
        socklen_t len = sizeof(struct sockaddr_in);
        struct sockaddr_in a = { .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool found = bind(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
                     getsockname(fd, (struct sockaddr *)&a, &len) == 0;

        (void)close(fd);
        if (found)
            return ntohs(a.sin_port);
    }
}

static void become_server(const struct postgres *p, const char *const *settings)
{
    char port[12];
    const char *argv[SETTINGS_MAX + 4] = { SOURCE_DIR "/tests/ledger/postgres.sh", p->data,
                                           port };
    size_t n = 3;
    int log = open(p->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    (void)snprintf(port, sizeof port, "%d", p->port);
    while (settings != NULL && *settings != NULL && n < SETTINGS_MAX + 3)
        argv[n++] = *settings++;
    (void)dup2(log, STDOUT_FILENO);
    (void)dup2(log, STDERR_FILENO);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* while it is the script */
    (void)execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

static bool has_ended(struct postgres *p)
{
    if (p->pid > 0 && waitpid(p->pid, NULL, WNOHANG) == p->pid)
        p->pid = -1;
    return p->pid < 0;
}

/* False: it has ended instead, as when the port was taken in between. */
static bool run(struct postgres *p, const char *const *settings)
{
    const int64_t until = now_s() + DEADLINE_S;
    const char *one = NULL;

    p->pid = fork();
    if (p->pid == 0)
        become_server(p, settings);
    while (one == NULL && now_s() < until && !has_ended(p)) {
        wait_a_moment();
        one = postgres_may(p, "postgres", "SELECT 1");
    }
    if (one == NULL && !has_ended(p))
        fail(p, "does not answer");
    return one != NULL;
}

void postgres_again(struct postgres *p, const char *const *settings)
{
    for (unsigned round = 0; !run(p, settings); round++) {
        if (round == 5)
            fail(p, "does not start");
        p->port = free_port(round + 1);
    }
}

struct postgres *postgres_start(const char *const *settings)
{
    struct postgres *p = calloc(1, sizeof *p);
    const char *tmp = getenv("TMPDIR"); /* NOLINT(concurrency-mt-unsafe): nobody sets it */

    if (p == NULL)
        abort();
    (void)snprintf(p->directory, sizeof p->directory, "%s/postgres-XXXXXX",
                   tmp == NULL || strlen(tmp) > 40 ? "/tmp" : tmp);
    if (mkdtemp(p->directory) == NULL || chmod(p->directory, 0711) != 0)
        fail(p, "no directory");
    (void)snprintf(p->data, sizeof p->data, "%s/data", p->directory);
    (void)snprintf(p->log, sizeof p->log, "%s/log", p->directory);
    (void)snprintf(p->password_file, sizeof p->password_file, "%s.password", p->data);
    p->port = free_port(0);
    postgres_again(p, settings);
    return p;
}

void postgres_end(struct postgres *p, int how)
{
    const int64_t until = now_s() + DEADLINE_S;

    if (!has_ended(p))
        (void)kill(p->pid, how);
    while (!has_ended(p)) {
        if (now_s() > until)
            fail(p, "does not end");
        wait_a_moment();
    }
}

void postgres_restart(struct postgres *p, int how, const char *const *settings)
{
    postgres_end(p, how);
    postgres_again(p, settings);
}

void postgres_stop(struct postgres *p)
{
    char command[128];

    if (p == NULL)
        return;
    postgres_end(p, SIGQUIT);
    (void)snprintf(command, sizeof command, "rm -rf %s", p->directory);
    run_shell(command);
    free(p);
}

void postgres_signal(struct postgres *p, int signal)
{
    char command[128];

    /* Each of its processes leads a group of its own. */
    (void)snprintf(command, sizeof command, "kill -%d %d $(ps -o pid= --ppid %d)", signal,
                   (int)p->pid, (int)p->pid);
    run_shell(command);
}

int postgres_port(const struct postgres *p)
{
    return p->port;
}

const char *postgres_password_file(const struct postgres *p)
{
    return p->password_file;
}

const char *postgres_may(struct postgres *p, const char *database, const char *sql)
{
    char url[160];
    const char *answer = NULL;

    (void)snprintf(url, sizeof url,
                   "postgresql://postgres@127.0.0.1:%d/"
                   "%s?connect_timeout=10&options=-cclient_min_messages%%3Derror",
                   p->port, database);
    PGconn *c = PQconnectdb(url);
    PGresult *r = PQstatus(c) == CONNECTION_OK ? PQexec(c, sql) : NULL;
    ExecStatusType status = PQresultStatus(r);

    p->answer[0] = '\0';
    if (status == PGRES_TUPLES_OK && PQntuples(r) > 0)
        (void)snprintf(p->answer, sizeof p->answer, "%s", PQgetvalue(r, 0, 0));
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        answer = p->answer;
    PQclear(r);
    PQfinish(c);
    return answer;
}

const char *postgres_ask(struct postgres *p, const char *database, const char *sql)
{
    const char *answer = postgres_may(p, database, sql);

    if (answer == NULL)
        fail(p, sql);
    return answer;
}

bool postgres_wait(struct postgres *p, const char *database, const char *sql,
                   const char *answer)
{
    const int64_t until = now_s() + DEADLINE_S / 2;

    while (now_s() < until) {
        const char *now = postgres_may(p, database, sql);

        if (now != NULL && strcmp(now, answer) == 0)
            return true;
        wait_a_moment();
    }
    return false;
}

const char *postgres_url(struct postgres *p, const char *database)
{
    char sql[128];

    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM pg_database WHERE datname = '%s'",
                   database);
    bool there = strcmp(postgres_ask(p, "postgres", sql), "1") == 0;
    (void)snprintf(sql, sizeof sql, "CREATE DATABASE %s", database);
    if (!there)
        (void)postgres_ask(p, "postgres", sql);
    (void)snprintf(p->url, sizeof p->url, "postgresql://postgres@127.0.0.1:%d/%s", p->port,
                   database);
    return p->url;
}

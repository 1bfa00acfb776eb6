#pragma once
/* A real PostgreSQL for tests, on the loopback address (postgres.sh), and the questions that a test
 * asks it past the program. Every failure ends the test program with the server's log. */
#include <stdbool.h>
#include <stddef.h>

struct postgres;

/* A server with a fresh cluster, which answers. `settings` are "name=value", NULL at the end; NULL:
 * none. It ends with the thread that started it. */
struct postgres *postgres_start(const char *const *settings);
/* Ends it and starts it again with the same data and these settings. `how`: SIGINT in good order;
 * SIGQUIT as if the power had failed, but for what the kernel has still to write. */
void postgres_restart(struct postgres *p, int how, const char *const *settings);
/* The same in two steps. */
void postgres_end(struct postgres *p, int how);
void postgres_again(struct postgres *p, const char *const *settings);
/* Ends it, removes its files and frees. Takes NULL. */
void postgres_stop(struct postgres *p);
/* To all of its processes: SIGSTOP, SIGCONT. */
void postgres_signal(struct postgres *p, int signal);

int postgres_port(const struct postgres *p);
/* "postgresql://postgres@127.0.0.1:PORT/DATABASE"; made when it is not there. Lives as long as p. */
const char *postgres_url(struct postgres *p, const char *database);
/* Of the role `guarded`. */
const char *postgres_password_file(const struct postgres *p);

/* Runs SQL as superuser; the first column of the first row, "" for none. Lives until the next call.
 * _may: NULL when it fails. */
const char *postgres_ask(struct postgres *p, const char *database, const char *sql);
const char *postgres_may(struct postgres *p, const char *database, const char *sql);
/* Asks until the answer is that; false: not within 30 s. */
bool postgres_wait(struct postgres *p, const char *database, const char *sql,
                   const char *answer);

#pragma once
/* The program under test: started as a user starts it, and watched through its log. */
#include <sys/types.h>

#include "bytes.h"

struct proxy;

struct proxy_options {
    const char *const *env; /* "NAME=value" entries, NULL at the end; NULL: none */
    bool no_file;           /* without --config: everything comes from the environment */
    bool no_wait;           /* return before the ready line */
};

/* Writes the ini into a directory of its own, starts the program with an environment that
 * contains nothing else, and waits for its ready line. A failure fails the test with the
 * log. */
struct proxy *proxy_start(const char *ini, const struct proxy_options *options);
/* Sends SIGTERM; it must exit with 0 in time, without a sanitizer report. */
void proxy_stop(struct proxy *p);
/* For teardowns: prints the log to stderr, sends SIGKILL, frees. */
void proxy_kill(struct proxy *p);
/* Sends a signal. After SIGSTOP it returns when each of its threads has stopped. */
void proxy_signal(struct proxy *p, int signal);
/* The exit status, 128 + n for a signal, -1: still running at the deadline. Frees nothing.
 * Fails the test if the program has written to its standard input, which is a file that it
 * could write to, and if a sanitizer's report is in its log. */
int proxy_wait_exit(struct proxy *p, int ms);
/* After proxy_wait_exit: whether the kernel wrote a core file. */
bool proxy_dumped_core(const struct proxy *p);
/* Call it after proxy_wait_exit: frees the proxy. */
void proxy_free(struct proxy *p);

/* The port of the first address in the ready line. */
int proxy_port(const struct proxy *p);
/* The port of the admin listener. */
int proxy_admin_port(struct proxy *p);
pid_t proxy_pid(const struct proxy *p);
/* The directory of the ini file; it is removed with all files at the end. */
const char *proxy_dir(const struct proxy *p);
long proxy_rss_kib(const struct proxy *p);
/* -1: before Linux 6.2 only root can count the descriptors of a process that is not
 * dumpable. */
int proxy_descriptors(const struct proxy *p);

/* A pattern is "key=value key=value ..." in any order, as written in the log; a line matches
 * if it contains all of them. */
size_t proxy_log_count(struct proxy *p, const char *pattern);
/* Waits until at least n lines match. */
bool proxy_log_wait(struct proxy *p, const char *pattern, size_t n, int ms);
/* Copies the value of a field in the index-th line that matches; false: no such line or
 * field. */
bool proxy_log_field(struct proxy *p, const char *pattern, size_t index, const char *key,
                     char *out, size_t cap);
bool proxy_log_contains(struct proxy *p, const char *needle);
/* A copy of everything that was written; the caller frees it. */
struct bytes proxy_log_copy(struct proxy *p);

/* A single run of a command. */
struct run {
    int code; /* exit status, -1: did not end in time (killed) */
    struct bytes out, err;
};
/* argv without the program's name, ended by NULL. Fails the test if a signal ends the program,
 * and if a sanitizer's report is in what it wrote to stderr. */
struct run run_proxy(const char *const *argv, const char *const *env);
void run_free(struct run *r);

/* Whether this build has the address sanitizer: it needs more memory and time. */
bool sanitized(void);

#pragma once
/* The program under test: started as a user starts it, watched through its log. */
#include <sys/types.h>

#include "bytes.h"

struct proxy;

struct proxy_options {
    const char *const *env; /* "NAME=value" entries, NULL at the end; NULL: none */
    bool no_file;           /* without --config: everything comes from the environment */
    bool no_wait;           /* return before the ready line */
};

/* Writes the ini into a directory of its own, starts the binary with an environment that holds
 * nothing else, waits for its ready line. A failure fails the test with the log. */
struct proxy *proxy_start(const char *ini, const struct proxy_options *options);
/* SIGTERM; it must leave with 0 in time, with nothing to say from a sanitizer. */
void proxy_stop(struct proxy *p);
/* For teardowns: the log to stderr, SIGKILL, free. */
void proxy_kill(struct proxy *p);
/* After SIGSTOP each of its threads stands still. */
void proxy_signal(struct proxy *p, int signal);
/* The exit status, 128 + n for a signal, -1: still running by then. Frees nothing. Fails the
 * test when the program wrote to its standard input, which is a file it could write to. */
int proxy_wait_exit(struct proxy *p, int ms);
/* After proxy_wait_exit: whether the kernel wrote a core file. */
bool proxy_dumped_core(const struct proxy *p);
/* After proxy_wait_exit: forgets the proxy. */
void proxy_free(struct proxy *p);

/* The port of the first address in the ready line. */
int proxy_port(const struct proxy *p);
/* The port of the admin listener. */
int proxy_admin_port(struct proxy *p);
pid_t proxy_pid(const struct proxy *p);
/* The directory that the ini is in; it is removed with all files at the end. */
const char *proxy_dir(const struct proxy *p);
long proxy_rss_kib(const struct proxy *p);
/* -1: before Linux 6.2 only root can count those of a process that is not dumpable. */
int proxy_descriptors(const struct proxy *p);

/* A pattern is "key=value key=value ..." in any order, as written in the log; a line matches
 * when all are in it. */
size_t proxy_log_count(struct proxy *p, const char *pattern);
/* At least n lines match by then. */
bool proxy_log_wait(struct proxy *p, const char *pattern, size_t n, int ms);
/* The value of a field in the index-th line that matches; false: no such line or field. */
bool proxy_log_field(struct proxy *p, const char *pattern, size_t index, const char *key,
                     char *out, size_t cap);
bool proxy_log_contains(struct proxy *p, const char *needle);
/* All that was written, copied; the caller frees. */
struct bytes proxy_log_copy(struct proxy *p);

/* One run to its end, for the command line. */
struct run {
    int code; /* exit status, 128 + signal, -1: did not end in time (killed) */
    struct bytes out, err;
};
/* argv without the program, NULL at the end. */
struct run run_proxy(const char *const *argv, const char *const *env);
void run_free(struct run *r);

/* True when this build has the address sanitizer: memory grows faster, time goes slower. */
bool sanitized(void);

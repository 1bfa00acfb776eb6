#pragma once
/* What proxy.c, proxy_log.c and run.c share. */
#include <pthread.h>

#include "proxy.h"

struct proxy {
    pid_t pid;
    int pid_fd, log_fd, port;
    int in_fd; /* its stdin: an empty file that it could write to, but must not */
    char dir[64];
    pthread_t reader;
    pthread_mutex_t lock; /* for the log */
    pthread_cond_t changed;
    struct bytes log;
    bool log_ended, exited, dumped_core;
    int exit_code;
    struct proxy *next;
};

/* Locks the log after reading everything that the program has written so far, so that
 * nothing is missed because the reader's thread did not run yet. */
void proxy_lock_log(struct proxy *p);

/* Its three standard streams; -1: /dev/null. */
struct spawn_streams {
    int in_fd, out_fd, err_fd;
};

/* Starts the binary. */
pid_t spawn_proxy(const char *const *argv, const char *const *env,
                  const struct spawn_streams *streams);

/* Fails the test, with the text, if a sanitizer's report is in what the program said. */
void assert_no_sanitizer_spoke(const struct bytes *said);

/* The teardown ends what a failed test leaves running. */
void harness_register_proxy(struct proxy *p);
void harness_forget_proxy(struct proxy *p);

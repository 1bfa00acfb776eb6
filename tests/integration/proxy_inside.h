#pragma once
/* What proxy.c, proxy_log.c and run.c share. */
#include <pthread.h>

#include "proxy.h"

struct proxy {
    pid_t pid;
    int pid_fd, log_fd, port;
    int in_fd; /* its stdin: an empty file that it could write to, and must not */
    char dir[64];
    pthread_t reader;
    pthread_mutex_t lock; /* of the log */
    pthread_cond_t changed;
    struct bytes log;
    bool log_ended, exited, dumped_core;
    int exit_code;
    struct proxy *next;
};

/* Locks the log, with all in it that the program has written so far: what happened before an answer
 * is not missed because the reader's thread has not had its turn. */
void proxy_lock_log(struct proxy *p);

/* Where its three standard streams lead; -1: to /dev/null. */
struct spawn_streams {
    int in_fd, out_fd, err_fd;
};

/* Starts the binary. */
pid_t spawn_proxy(const char *const *argv, const char *const *env,
                  const struct spawn_streams *streams);

/* What a failed test leaves behind is ended by the teardown. */
void harness_register_proxy(struct proxy *p);
void harness_forget_proxy(struct proxy *p);

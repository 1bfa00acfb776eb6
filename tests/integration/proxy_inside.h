#pragma once
/* What proxy.c, proxy_log.c and run.c share. */
#include <pthread.h>

#include "proxy.h"

struct proxy {
    pid_t pid;
    int pid_fd, log_fd, port;
    char dir[64];
    pthread_t reader;
    pthread_mutex_t lock; /* of the log */
    pthread_cond_t changed;
    struct bytes log;
    bool log_ended, exited, dumped_core;
    int exit_code;
    struct proxy *next;
};

/* Starts the binary; stdout goes to out_fd (-1: /dev/null), stderr to err_fd. */
pid_t spawn_proxy(const char *const *argv, const char *const *env, int out_fd, int err_fd);

/* What a failed test leaves behind is ended by the teardown. */
void harness_register_proxy(struct proxy *p);
void harness_forget_proxy(struct proxy *p);

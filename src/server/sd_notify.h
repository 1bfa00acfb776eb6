#pragma once
/* Messages to the service manager by systemd's sd_notify protocol (NOTIFY_SOCKET): ready,
 * reloading, stopping, a status line, and signs of life for the watchdog (WATCHDOG_USEC).
 * Without a service manager nothing is sent. Thread: control. */
#include <sys/socket.h>
#include <sys/un.h>

#include "base/base.h"
#include "event/loop.h"

#define SD_NOTIFY_MESSAGE_MAX 512
#define SD_NOTIFY_WAITING_MAX 8

struct sd_notify {
    struct loop *loop;
    int fd; /* -1: there is no service manager */
    struct sockaddr_un addr;
    socklen_t addr_len;
    struct loop_timer timer; /* for the watchdog */
    int64_t watchdog_ms;     /* half of what the manager allows; 0: no watchdog */
    bool (*is_alive)(void *arg);
    void *arg;
    char status[400]; /* the last one sent */
    /* Messages for which the socket was full, oldest first; tried again. */
    char waiting[SD_NOTIFY_WAITING_MAX][SD_NOTIFY_MESSAGE_MAX];
    size_t waiting_count;
    struct loop_timer retry;
};

/* Removes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID from the environment; call it before
 * other threads start. is_alive is asked before each sign of life: none is sent if it says
 * no. */
void sd_notify_init(struct sd_notify *n, struct loop *l, bool (*is_alive)(void *arg),
                    void *arg);
void sd_notify_done(struct sd_notify *n);

/* Start-up, or a reload, is done. Signs of life begin. */
void sd_notify_ready(struct sd_notify *n);
void sd_notify_reloading(struct sd_notify *n);
/* The end has begun and takes at most at_most_ms. */
void sd_notify_stopping(struct sd_notify *n, int64_t at_most_ms);
/* The line that `systemctl status` shows; sent only when it has changed. */
void sd_notify_status(struct sd_notify *n, const char *fmt, ...) PRINTF_LIKE(2, 3);

#pragma once
/* What the service manager is told, by systemd's sd_notify protocol (NOTIFY_SOCKET): ready,
 * reloading, stopping, a line of status, and that the program is alive (WATCHDOG_USEC). Without
 * a service manager nothing is sent. Thread: control. */
#include <sys/socket.h>
#include <sys/un.h>

#include "base/base.h"
#include "event/loop.h"

#define SD_NOTIFY_MESSAGE_MAX 512
#define SD_NOTIFY_WAITING_MAX 8

struct sd_notify {
    struct loop *loop;
    int fd; /* -1: nobody to tell */
    struct sockaddr_un addr;
    socklen_t addr_len;
    struct loop_timer timer; /* the watchdog's */
    int64_t watchdog_ms;     /* half of what the manager allows; 0: none wanted */
    bool (*is_alive)(void *arg);
    void *arg;
    char status[200]; /* sent last */
    /* What the manager had no room for, the oldest first; tried again until it has. */
    char waiting[SD_NOTIFY_WAITING_MAX][SD_NOTIFY_MESSAGE_MAX];
    size_t waiting_count;
    struct loop_timer retry;
};

/* Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment, before other
 * threads start. is_alive is asked before each sign of life: none is given when it says no. */
void sd_notify_init(struct sd_notify *n, struct loop *l, bool (*is_alive)(void *arg),
                    void *arg);
void sd_notify_done(struct sd_notify *n);

/* Start-up, or a reload, is over. Signs of life begin. */
void sd_notify_ready(struct sd_notify *n);
void sd_notify_reloading(struct sd_notify *n);
/* The end has begun and takes at most so long. */
void sd_notify_stopping(struct sd_notify *n, int64_t at_most_ms);
/* What `systemctl status` shows; sent when it differs from the last. */
void sd_notify_status(struct sd_notify *n, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Tells the service manager the state of the program: one datagram for each message, sent to
 * the socket that it named. If the socket is full it is tried again, since a manager that
 * never gets READY=1 ends the service; if it is gone, messages are dropped. */
#include "server/sd_notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"

#define RETRY_MS 100

/* False: the socket is full. */
static bool send_now(const struct sd_notify *n, const char *message)
{
    if (sendto(n->fd, message, strlen(message), MSG_NOSIGNAL | MSG_DONTWAIT,
               (const struct sockaddr *)&n->addr, n->addr_len) >= 0)
        return true;
    if (errno == EAGAIN || errno == ENOBUFS)
        return false;
    log_debug("notify_failed", log_str("detail", strerrordesc_np(errno)));
    return true;
}

static void drop_oldest(struct sd_notify *n)
{
    n->waiting_count--;
    memmove(n->waiting[0], n->waiting[1], n->waiting_count * sizeof n->waiting[0]);
}

static void on_retry(struct loop_timer *t)
{
    struct sd_notify *n = CONTAINER_OF(t, struct sd_notify, retry);

    while (n->waiting_count > 0 && send_now(n, n->waiting[0]))
        drop_oldest(n);
    if (n->waiting_count > 0)
        loop_timer_set(n->loop, t, loop_now(n->loop) + RETRY_MS);
}

/* Sends a message after those that wait. */
static void send_message(struct sd_notify *n, const char *message)
{
    if (n->fd < 0 || (n->waiting_count == 0 && send_now(n, message)))
        return;
    if (n->waiting_count == SD_NOTIFY_WAITING_MAX) {
        log_warn("notify_failed", log_str("detail", "the service manager does not read what it "
                                                    "is told; the oldest is given up"));
        drop_oldest(n);
    }
    (void)snprintf(n->waiting[n->waiting_count++], sizeof n->waiting[0], "%s", message);
    loop_timer_set(n->loop, &n->retry, loop_now(n->loop) + RETRY_MS);
}

/* A sign of life is not repeated when the socket is full: the next one follows soon. */
static void on_timer(struct loop_timer *t)
{
    struct sd_notify *n = CONTAINER_OF(t, struct sd_notify, timer);

    if (n->is_alive(n->arg))
        (void)send_now(n, "WATCHDOG=1");
    loop_timer_set(n->loop, t, loop_now(n->loop) + n->watchdog_ms);
}

/* A copy of the variable's value. The variable is removed, since it is not meant for child
 * processes. */
static char *take(const char *name, char *out, size_t size)
{
    const char *value = getenv(name); /* NOLINT(concurrency-mt-unsafe): no threads yet */

    (void)snprintf(out, size, "%s", value != NULL ? value : "");
    (void)unsetenv(name); /* NOLINT(concurrency-mt-unsafe) */
    return out;
}

/* "/path", or "@name" for an abstract socket. */
static bool take_socket(struct sd_notify *n, const char *name)
{
    size_t len = strlen(name);

    if ((name[0] != '/' && name[0] != '@') || len >= sizeof n->addr.sun_path)
        return false;
    n->addr.sun_family = AF_UNIX;
    memcpy(n->addr.sun_path, name, len + 1);
    if (name[0] == '@')
        n->addr.sun_path[0] = '\0';
    n->addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] == '/'));
    n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The sandbox allows messages to an abstract socket only on a socket that was connected
     * before. */
    if (n->fd >= 0 && name[0] == '@')
        (void)connect(n->fd, (const struct sockaddr *)&n->addr, n->addr_len);
    return n->fd >= 0;
}

void sd_notify_init(struct sd_notify *n, struct loop *l, bool (*is_alive)(void *arg), void *arg)
{
    char name[256], usec[32], pid[32];

    *n = (struct sd_notify){
        .loop = l,
        .fd = -1,
        .timer.on_due = on_timer,
        .retry.on_due = on_retry,
        .is_alive = is_alive,
        .arg = arg,
    };
    (void)take("NOTIFY_SOCKET", name, sizeof name);
    (void)take("WATCHDOG_USEC", usec, sizeof usec);
    (void)take("WATCHDOG_PID", pid, sizeof pid);
    if (name[0] == '\0')
        return;
    if (!take_socket(n, name)) {
        log_warn("notify_socket", log_str("detail", "NOTIFY_SOCKET cannot be used; the service "
                                                    "manager will not hear from this process"));
        return;
    }
    if (pid[0] == '\0' || strtoll(pid, NULL, 10) == getpid())
        n->watchdog_ms = base_max(0, strtoll(usec, NULL, 10)) / 2000;
}

void sd_notify_done(struct sd_notify *n)
{
    if (n->loop == NULL)
        return;
    loop_timer_clear(n->loop, &n->timer);
    on_retry(&n->retry); /* the last attempt */
    loop_timer_clear(n->loop, &n->retry);
    if (n->fd >= 0)
        (void)close(n->fd);
    n->fd = -1;
}

void sd_notify_ready(struct sd_notify *n)
{
    send_message(n, "READY=1");
    if (n->fd >= 0 && n->watchdog_ms > 0 && n->timer.slot == 0)
        loop_timer_set(n->loop, &n->timer, loop_now(n->loop));
}

void sd_notify_reloading(struct sd_notify *n)
{
    char message[SD_NOTIFY_MESSAGE_MAX];
    struct timespec now = { 0 };

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* in the manager's clock, not ours */
    (void)snprintf(message, sizeof message, "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
                   (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    send_message(n, message);
}

void sd_notify_stopping(struct sd_notify *n, int64_t at_most_ms)
{
    char message[SD_NOTIFY_MESSAGE_MAX];

    /* Otherwise its own time limit (TimeoutStopSec) could be shorter than drain_timeout. */
    (void)snprintf(message, sizeof message,
                   "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64
                   "\nSTATUS=Stopping: what runs is finished",
                   at_most_ms * 1000);
    send_message(n, message);
}

void sd_notify_status(struct sd_notify *n, const char *fmt, ...)
{
    char message[SD_NOTIFY_MESSAGE_MAX], text[sizeof n->status];
    va_list args;

    if (n->fd < 0)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p < ' ') /* a newline would begin another field */
            *p = ' ';
    if (strcmp(text, n->status) == 0)
        return;
    memcpy(n->status, text, sizeof text);
    (void)snprintf(message, sizeof message, "STATUS=%s", text);
    send_message(n, message);
}

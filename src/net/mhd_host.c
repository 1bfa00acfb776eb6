/* Runs a libmicrohttpd daemon on a loop of ours (its external epoll mode).
 *
 * Its epoll descriptor is level-triggered for us but edge-triggered inside: data that it has
 * read but not handled shows only in MHD_get_timeout, where 0 means "run me again".
 * MHD_resume_connection only sets a mark; the connection goes on in the next MHD_run, also
 * when called during a run. That is what `due` is for.
 *
 * A suspended connection costs three system calls (out of MHD's epoll set, back into it, and
 * a read that finds nothing). So a short wait is better spent unsuspended, "polling": then
 * MHD calls the handler in each MHD_run, the handler returns without an answer, and
 * MHD_get_timeout is always 0. To avoid a busy loop, MHD is run again only if a callback did
 * something: it calls mhd_host_busy. That misses one case, a head that fills the receive
 * buffer to its last byte; a timer covers it.
 */
#include "net/mhd_host.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* Timeout for a connection that must have one but must not be ended by it: ten years. */
#define FAR_S (10U * 365 * 24 * 3600)

/* While connections are polling, MHD is run at least this often. */
#define POLL_LOOK_MS 5

static void on_event(struct loop_io *io, uint32_t events)
{
    (void)events;
    CONTAINER_OF(io, struct mhd_host, io)->due = true;
}

static void on_timer(struct loop_timer *t)
{
    CONTAINER_OF(t, struct mhd_host, timer)->due = true;
}

/* Whether the loaded library is older than that version, given as 9.75 for "0.9.75". It may
 * be another one than this was compiled with. */
static bool is_before(long minor, long patch)
{
    char *end = NULL;
    long loaded[3] = { 0 };
    const char *at = MHD_get_version();

    for (size_t i = 0; i < ARRAY_LEN(loaded); i++) {
        loaded[i] = strtol(at, &end, 10);
        at = *end == '.' ? end + 1 : end;
    }
    return loaded[0] == 0 && (loaded[1] < minor || (loaded[1] == minor && loaded[2] < patch));
}

static enum MHD_OPTION strict_option(void)
{
#if MHD_VERSION >= 0x00097701
    if (!is_before(9, 78))
        return MHD_OPTION_CLIENT_DISCIPLINE_LVL;
#endif
    return MHD_OPTION_STRICT_FOR_CLIENT;
}

/* What libmicrohttpd logs is not wanted. But both versions log a line with the status before
 * they answer a request by themselves, and there is no other way to learn of that in time. */
static void on_logged(void *arg, const char *format, va_list values)
{
    static const char own_answer[] = "Error processing request (HTTP response code is %u";
    const struct mhd_host *h = arg;

    if (h->on_own_answer != NULL && strncmp(format, own_answer, sizeof own_answer - 1) == 0)
        h->on_own_answer(h->arg, va_arg(values, unsigned));
}

int mhd_host_init(struct mhd_host *h, struct loop *l, const struct mhd_host_options *o)
{
    /* MHD_ALLOW_SUSPEND_RESUME also asks for a wake-up descriptor, which is only of use to
     * other threads. There are none, and without it a resume costs no system call. */
    unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_TURBO |
                     MHD_USE_ERROR_LOG |
                     ((unsigned)MHD_ALLOW_SUSPEND_RESUME & ~(unsigned)MHD_USE_ITC);
    struct MHD_OptionItem items[8] = { 0 };
    size_t n = 0;

    *h = (struct mhd_host){ .loop = l,
                            .on_own_answer = o->on_own_answer,
                            .arg = o->arg,
                            .is_lenient = is_before(9, 77),
                            .timeout_s = (unsigned)((o->idle_timeout_ms + 999) / 1000),
                            .io = { .on_event = on_event },
                            .timer = { .on_due = on_timer } };
    items[n++] = (struct MHD_OptionItem){ MHD_OPTION_CONNECTION_LIMIT,
                                          (intptr_t)o->connection_limit, NULL };
    items[n++] =
        (struct MHD_OptionItem){ MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)h->timeout_s, NULL };
    items[n++] = (struct MHD_OptionItem){ strict_option(), 1, NULL };
    items[n] = (struct MHD_OptionItem){ MHD_OPTION_END, 0, NULL };

    h->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, o->on_request, o->arg, MHD_OPTION_EXTERNAL_LOGGER, on_logged, h,
        MHD_OPTION_NOTIFY_COMPLETED, o->on_completed, o->arg, MHD_OPTION_NOTIFY_CONNECTION,
        o->on_connection, o->arg, MHD_OPTION_URI_LOG_CALLBACK, o->on_target, o->arg,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, o->pool_bytes, MHD_OPTION_ARRAY, items,
        MHD_OPTION_END);
    if (h->daemon == NULL)
        return -ENOMEM;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    h->io.fd = info->epoll_fd;
    return loop_io_start(l, &h->io, EPOLLIN);
}

void mhd_host_done(struct mhd_host *h)
{
    if (h->daemon == NULL)
        return;
    loop_io_stop(h->loop, &h->io);
    loop_timer_clear(h->loop, &h->timer);
    MHD_stop_daemon(h->daemon);
    *h = (struct mhd_host){ .daemon = NULL };
}

int mhd_host_take(struct mhd_host *h, int fd, const struct sockaddr *addr, socklen_t len)
{
    h->due = true;
    return MHD_add_connection(h->daemon, fd, addr, len) == MHD_YES ? 0 : -errno;
}

static void arm(struct mhd_host *h)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms = POLL_LOOK_MS;

    if (h->polling == 0 && MHD_get_timeout(h->daemon, &timeout_ms) != MHD_YES)
        return;
    /* Activity only moves it forward: re-arm when it is not armed, or would fire too late. */
    int64_t due_ms = loop_now(h->loop) + (int64_t)timeout_ms;
    if (h->timer.slot == 0 || h->timer.due_ms > due_ms)
        loop_timer_set(h->loop, &h->timer, due_ms);
}

bool mhd_host_turn(struct mhd_host *h)
{
    /* A connection that MHD always finds ready must not keep the loop from its other work. */
    enum { RUNS_MAX = 16 };
    MHD_UNSIGNED_LONG_LONG timeout_ms = 0;
    bool more = true;

    if (!h->due)
        return false;
    for (int i = 0; i < RUNS_MAX && (more || h->due); i++) {
        h->due = h->busy = false;
        h->runs++;
        (void)MHD_run(h->daemon);
        more = (h->polling == 0 || h->busy) &&
               MHD_get_timeout(h->daemon, &timeout_ms) == MHD_YES && timeout_ms == 0;
    }
    h->due = h->due || more;
    if (!h->due)
        arm(h);
    return true;
}

void mhd_host_close_soon(struct mhd_host *h, struct MHD_Connection *c)
{
    /* MHD checks connections with the common timeout only while the oldest of them has
     * expired; those with a timeout of their own in every run. */
    (void)MHD_set_connection_option(c, MHD_CONNECTION_OPTION_TIMEOUT,
                                    h->timeout_s == 0 ? FAR_S : h->timeout_s + 1);
    h->due = true;
}

void mhd_host_close_stuck(struct mhd_host *h, struct MHD_Connection *c)
{
    (void)MHD_set_connection_option(c, MHD_CONNECTION_OPTION_TIMEOUT, 1U);
    h->due = true;
}

void mhd_host_resume(struct mhd_host *h, struct MHD_Connection *c)
{
    MHD_resume_connection(c);
    h->due = true;
}

const char *mhd_host_library_version(void)
{
    return MHD_get_version();
}

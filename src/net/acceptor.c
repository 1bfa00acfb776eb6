/* Accepts connections on a set of listeners. */
#include "net/acceptor.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"

/* How long to stop accepting when descriptors or memory have run out. */
#define PAUSE_MS 100

static int watch(struct acceptor *a)
{
    int err = 0;

    for (size_t i = 0; i < a->count && err == 0; i++) {
        struct acceptor_socket *s = &a->socket[i];

        /* Threads that share a queue: wake only one of them for a connection. */
        err = loop_io_start(a->loop, &s->io,
                            EPOLLIN | (s->listener->shared ? (uint32_t)EPOLLEXCLUSIVE : 0));
    }
    return err;
}

static void unwatch(struct acceptor *a)
{
    for (size_t i = 0; i < a->count; i++)
        loop_io_stop(a->loop, &a->socket[i].io);
}

/* Stops accepting for a while. */
static void rest(struct acceptor *a, int err)
{
    log_warn("descriptors_exhausted", log_str("detail", strerrordesc_np(err)));
    unwatch(a);
    loop_timer_set(a->loop, &a->pause, loop_now(a->loop) + PAUSE_MS);
}

static void on_pause_over(struct loop_timer *t)
{
    struct acceptor *a = CONTAINER_OF(t, struct acceptor, pause);
    int err = watch(a);

    /* To watch a socket needs memory of the kernel, which may still be short. */
    if (err != 0)
        rest(a, -err);
}

/* Accepts one connection. Returns 0 or -errno; -EAGAIN: none waits. */
static int accept_one(struct acceptor_socket *s)
{
    struct acceptor *a = s->acceptor;
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    int fd = accept4(s->io.fd, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return -errno;
    a->on_accepted(a->arg, s->listener, fd, (struct sockaddr *)&addr, len);
    return 0;
}

static void on_acceptable(struct loop_io *io, uint32_t events)
{
    struct acceptor_socket *s = CONTAINER_OF(io, struct acceptor_socket, io);
    struct acceptor *a = s->acceptor;
    int err = 0;

    (void)events;
    for (int i = 0; i < a->batch && err == 0; i++)
        err = accept_one(s);
    if (base_ran_out(-err))
        rest(a, -err);
}

/* More than a listen queue (listener.c) can hold. */
#define QUEUE_MAX 4096

/* Empties the queue. A connection that ended while it waited does not stop this. */
static void accept_all(struct acceptor_socket *s)
{
    int err = 0;

    for (int i = 0; i < QUEUE_MAX && (err == 0 || err == -ECONNABORTED || err == -EINTR); i++)
        err = accept_one(s);
}

void acceptor_close(struct acceptor *a)
{
    unwatch(a);
    loop_timer_clear(a->loop, &a->pause);
    for (size_t i = 0; i < a->count; i++) {
        struct acceptor_socket *s = &a->socket[i];

        if (s->listener->passed) /* what waits is for the next instance */
            continue;
        accept_all(s);
        (void)shutdown(s->io.fd, SHUT_RDWR);
        /* In a unix socket a client that waits for a place in the full queue is not woken by
         * the shutdown, only by an accept. So accept again, until nobody waits. */
        if (s->listener->shared)
            accept_all(s);
    }
    a->count = 0;
}

int acceptor_init(struct acceptor *a, struct loop *l, const struct acceptor_options *o)
{
    assert(o->count <= LISTENERS_MAX);
    *a = (struct acceptor){ .loop = l,
                            .count = o->count,
                            .batch = o->batch,
                            .pause.on_due = on_pause_over,
                            .on_accepted = o->on_accepted,
                            .arg = o->arg };
    for (size_t i = 0; i < a->count; i++)
        a->socket[i] = (struct acceptor_socket){ .io = { .fd = o->listeners[i].fd,
                                                         .on_event = on_acceptable },
                                                 .acceptor = a,
                                                 .listener = &o->listeners[i] };
    return watch(a);
}

void acceptor_done(struct acceptor *a)
{
    if (a->loop == NULL)
        return;
    unwatch(a);
    loop_timer_clear(a->loop, &a->pause);
    *a = (struct acceptor){ .loop = NULL };
}

/* A lock-free stack that the receiver takes whole and turns round. The eventfd is written
 * only by the mail that finds the box empty, so a burst costs one wake-up. */
#include "event/mailbox.h"

#include <errno.h>
#include <sys/eventfd.h>

static void deliver(struct mailbox *m)
{
    struct mail *mail = atomic_exchange_explicit(&m->newest, NULL, memory_order_acquire);
    struct mail *oldest = NULL;

    while (mail != NULL) {
        struct mail *next = mail->next;

        mail->next = oldest;
        oldest = mail;
        mail = next;
    }
    while (oldest != NULL) {
        struct mail *next = oldest->next;

        oldest->run(oldest);
        oldest = next;
    }
}

static void on_event(struct loop_io *w, uint32_t events)
{
    uint64_t count;

    (void)events;
    /* Before taking the mail: one that comes in between wakes us again. */
    ssize_t n = read(w->fd, &count, sizeof count);

    (void)n; /* what could not be read wakes us again */
    deliver(CONTAINER_OF(w, struct mailbox, watch));
}

int mailbox_init(struct mailbox *m, struct loop *l)
{
    *m = (struct mailbox){ .loop = l, .watch = { .on_event = on_event } };
    m->watch.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (m->watch.fd < 0)
        return -errno;
    return loop_io_start(l, &m->watch, EPOLLIN);
}

void mailbox_done(struct mailbox *m)
{
    if (m->loop == NULL)
        return;
    deliver(m);
    loop_io_stop(m->loop, &m->watch);
    (void)close(m->watch.fd);
    *m = (struct mailbox){ .loop = NULL };
}

#define WAKE_TRIES 100

void mailbox_send(struct mailbox *m, struct mail *mail)
{
    const uint64_t one = 1;
    struct mail *before = atomic_load_explicit(&m->newest, memory_order_relaxed);

    do
        mail->next = before;
    while (!atomic_compare_exchange_weak_explicit(&m->newest, &before, mail,
                                                  memory_order_release, memory_order_relaxed));
    if (before != NULL)
        return;
    /* The counter cannot overflow: the receiver clears it. A call may be interrupted, by a
     * tracer even with an odd code. */
    for (int tries = 0; tries < WAKE_TRIES; tries++)
        if (write(m->watch.fd, &one, sizeof one) == sizeof one)
            return;
    abort();
}

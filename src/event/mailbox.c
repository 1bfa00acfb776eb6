/* Messages to a loop's thread, without a lock.
 *
 * A lock-free stack; the receiver takes the whole stack and reverses it:
 *
 *     newest -> mail -> mail -> BOTTOM     open
 *     newest -> NULL                       closed
 *
 * Only mail that finds the mailbox empty writes to the eventfd, so a burst of mail costs one
 * wake-up. */
#include "event/mailbox.h"

#include <errno.h>
#include <sys/eventfd.h>

/* Below the oldest mail of an open mailbox. Never run, never freed. */
static struct mail BOTTOM;

/* Replaces the stack by `next_state` (&BOTTOM or NULL) and returns what was in it, oldest
 * first, with a NULL at the end. */
static struct mail *take_all(struct mailbox *m, struct mail *next_state)
{
    struct mail *mail = atomic_exchange_explicit(&m->newest, next_state, memory_order_acquire);
    struct mail *oldest = NULL;

    while (mail != NULL && mail != &BOTTOM) {
        struct mail *next = mail->next;

        mail->next = oldest;
        oldest = mail;
        mail = next;
    }
    return oldest;
}

static void on_event(struct loop_io *io, uint32_t events)
{
    struct mailbox *m = CONTAINER_OF(io, struct mailbox, wakeup);
    uint64_t count;

    (void)events;
    /* Cleared before the mail is taken: mail that arrives in between wakes us again. */
    ssize_t n = read(io->fd, &count, sizeof count);

    (void)n; /* if the read failed, the descriptor stays readable and wakes us again */
    for (struct mail *mail = take_all(m, &BOTTOM), *next; mail != NULL; mail = next) {
        next = mail->next;
        mail->run(mail);
        mail->free(mail);
    }
}

int mailbox_init(struct mailbox *m, struct loop *l)
{
    *m = (struct mailbox){ .loop = l, .wakeup = { .on_event = on_event } };
    m->wakeup.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int err = m->wakeup.fd < 0 ? -errno : loop_io_start(l, &m->wakeup, EPOLLIN);
    if (err == 0)
        atomic_store_explicit(&m->newest, &BOTTOM, memory_order_release);
    return err;
}

void mailbox_close(struct mailbox *m)
{
    for (struct mail *mail = take_all(m, NULL), *next; mail != NULL; mail = next) {
        next = mail->next;
        mail->free(mail);
    }
}

void mailbox_done(struct mailbox *m)
{
    if (m->loop == NULL)
        return;
    mailbox_close(m);
    loop_io_stop(m->loop, &m->wakeup);
    if (m->wakeup.fd >= 0)
        (void)close(m->wakeup.fd);
    m->wakeup.fd = -1;
    m->loop = NULL;
}

#define WAKE_TRIES 100

/* The counter cannot overflow, since the receiver clears it. A tracer may interrupt the
 * call, even with an unusual error code. */
static void wake(const struct mailbox *m)
{
    const uint64_t one = 1;

    for (int tries = 0; tries < WAKE_TRIES; tries++)
        if (write(m->wakeup.fd, &one, sizeof one) == sizeof one)
            return;
    abort();
}

void mailbox_send(struct mailbox *m, struct mail *mail)
{
    struct mail *before = atomic_load_explicit(&m->newest, memory_order_relaxed);

    do {
        if (before == NULL) {
            mail->free(mail);
            return;
        }
        mail->next = before;
    } while (!atomic_compare_exchange_weak_explicit(
        &m->newest, &before, mail, memory_order_release, memory_order_relaxed));
    if (before == &BOTTOM)
        wake(m);
}

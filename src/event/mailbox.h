#pragma once
/* Messages to a loop's thread: a function and what it needs, run once by the receiving thread.
 * Many threads may send. Everything else that crosses threads in this program crosses in here.
 *
 *     zeroed --init--> open --close--> closed --done--> as if zeroed
 *
 * Only an open mailbox delivers, and only while its loop turns. What is sent to any other is
 * freed without being run, so that no message can reach what is gone already. */
#include <stdatomic.h>

#include "base/base.h"
#include "event/loop.h"

struct mail {
    struct mail *next;
    void (*run)(
        struct mail *m); /* does what it is for; at most once. Thread: the receiver's. */
    /* Frees what embeds the mail and what that owns; exactly once, behind `run` or instead of
     * it. Thread: the receiver's, or the sender's when the mailbox is closed. */
    void (*free)(struct mail *m);
};

struct mailbox {
    struct loop *loop;
    struct loop_io wakeup;         /* an eventfd */
    _Atomic(struct mail *) newest; /* NULL: closed */
};

/* Returns 0 or -errno; closed then. Thread: the receiver's, or before it starts. */
int mailbox_init(struct mailbox *m, struct loop *l) MUST_CHECK;

/* From now on nothing is delivered: what waits is freed, and so is what others still send.
 * Thread: the receiver's, or after it has ended. */
void mailbox_close(struct mailbox *m);

/* Closes it and gives its descriptor back. No thread may be inside mailbox_send any more; later
 * ones may call it. Takes a zeroed one. Thread: as of mailbox_close. */
void mailbox_done(struct mailbox *m);

/* Hands the mail over; mails of one sender arrive in order. A closed mailbox frees it.
 * Thread: any. */
void mailbox_send(struct mailbox *m, struct mail *mail);

/* `free` of a mail that is the first member of allocated memory that owns nothing else. */
static inline void mail_free(struct mail *m)
{
    free(m);
}

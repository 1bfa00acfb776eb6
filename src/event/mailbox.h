#pragma once
/* Messages to a loop's thread: a function and its data, run once by the receiving thread. Many
 * threads may send. Nearly everything that passes from one thread to another goes through here.
 *
 *     zeroed --init--> open --close--> closed --done--> as if zeroed
 *
 * Only an open mailbox delivers, and only while its loop runs. Mail sent to any other is freed
 * without being run, so that it cannot reach an object that is gone. */
#include <stdatomic.h>

#include "base/base.h"
#include "event/loop.h"

struct mail {
    struct mail *next;
    void (*run)(
        struct mail *m); /* does what it is for; at most once. Thread: the receiver's. */
    /* Frees the object that embeds the mail, and what it owns; called exactly once, after
     * `run` or instead of it. Thread: the receiver's, or the sender's when the mailbox is
     * closed. */
    void (*free)(struct mail *m);
};

struct mailbox {
    struct loop *loop;
    struct loop_io wakeup;         /* an eventfd */
    _Atomic(struct mail *) newest; /* NULL: closed */
};

/* Returns 0 or -errno (the mailbox is closed then). Thread: the receiver's, or before it
 * starts. */
int mailbox_init(struct mailbox *m, struct loop *l) MUST_CHECK;

/* Stops delivery: waiting mail is freed, and so is all that is sent later. Thread: the
 * receiver's, or after it has ended. */
void mailbox_close(struct mailbox *m);

/* Closes it and frees its descriptor. No thread may be inside mailbox_send at that moment;
 * later calls are allowed. Takes a zeroed one. Thread: as for mailbox_close. */
void mailbox_done(struct mailbox *m);

/* Sends mail. Mail of one sender arrives in order. A closed mailbox frees it. Thread: any. */
void mailbox_send(struct mailbox *m, struct mail *mail);

/* A `free` for mail that is the first member of an allocated object that owns nothing else. */
static inline void mail_free(struct mail *m)
{
    free(m);
}

#pragma once
/* Mail to a loop: a function and what it needs, run once by the receiving thread. Many may
 * send. Everything else that crosses threads in this program crosses in here. */
#include <stdatomic.h>

#include "base/base.h"
#include "event/loop.h"

struct mail {
    struct mail *next;
    void (*run)(struct mail *m); /* Thread: the receiver's. Owns: frees what embeds the mail. */
};

struct mailbox {
    struct loop *loop;
    struct loop_io watch; /* an eventfd */
    _Atomic(struct mail *) newest;
};

/* Returns 0 or -errno. Thread: the receiver's, or before it starts. */
int mailbox_init(struct mailbox *m, struct loop *l) MUST_CHECK;

/* Runs what is left, then closes. Nobody may send any more. */
void mailbox_done(struct mailbox *m);

/* Hands the mail over; mails of one sender arrive in order. Thread: any. */
void mailbox_send(struct mailbox *m, struct mail *mail);

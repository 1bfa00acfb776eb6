#pragma once
/* One thread's event loop: descriptors, timers, and a hook that runs after every batch of
 * events. Nothing in it is shared; only its own thread may call it. */
#include <sys/epoll.h>

#include "base/base.h"

struct loop_io {
    int fd;
    uint32_t events; /* EPOLL*; 0: not registered */
    void (*on_event)(struct loop_io *io, uint32_t events);
};

struct loop_timer {
    int64_t due_ms;
    size_t slot;                          /* position in the heap, from 1; 0: not armed */
    unsigned round;                       /* the loop's round in which it was armed */
    void (*on_due)(struct loop_timer *t); /* may free the timer */
};

#define LOOP_BATCH 256
/* An idle loop wakes up this often, to show that it is alive. */
#define LOOP_IDLE_MS 1000
/* One that does not turn for longer than this stood still: it was blocked, or the process or the
 * machine was suspended. */
#define LOOP_STILL_MS (2 * LOOP_IDLE_MS)

struct loop {
    int epoll_fd;
    bool stopping;
    struct loop_timer **heap; /* 1-based binary heap on due_ms */
    size_t timers, heap_cap;
    unsigned round; /* number of the round of due timers */
    struct epoll_event batch[LOOP_BATCH];
    int batch_len, batch_pos;
    int64_t now_ms;           /* time of this turn; see loop_now */
    int64_t resumed_ms;       /* the first turn after it last stood still; 0: it never did */
    _Atomic int64_t alive_ms; /* when the last turn began, for the health check */
    bool (*on_turn)(
        void *arg); /* after each batch; returns true when it wants to run again at once */
    void *on_turn_arg;
};

/* Returns 0 or -errno. */
int loop_init(struct loop *l) MUST_CHECK;
void loop_done(struct loop *l);

/* Registers io->fd for `events`, or changes them. Level-triggered unless EPOLLET is set.
 * Returns 0 or -errno. */
int loop_io_start(struct loop *l, struct loop_io *io, uint32_t events);

/* Call it before the descriptor is closed. Events of this batch for it are dropped. Takes
 * one that is not registered. */
void loop_io_stop(struct loop *l, struct loop_io *io);

/* Arms or re-arms; a due time in the past fires in the next turn. */
void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t due_ms);
/* Takes one that is not armed. */
void loop_timer_clear(struct loop *l, struct loop_timer *t);

/* Runs until loop_stop. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);

/* Whether every event that the kernel had at the start of this turn was delivered; the last
 * one may be about to be. False before that, and after a full batch: the kernel may have
 * more. */
static inline bool loop_all_delivered(const struct loop *l)
{
    return l->batch_pos >= l->batch_len && l->batch_len < LOOP_BATCH;
}

/* The time of this turn. */
static inline int64_t loop_now(const struct loop *l)
{
    return l->now_ms;
}

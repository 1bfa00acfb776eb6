/* Waits for descriptors and timers and calls their owners: epoll for descriptors, a binary
 * heap for timers.
 *
 *   +--> sleep until an event or the first timer
 *   |    call each descriptor's on_event
 *   |    call each due timer
 *   +--- on_turn: the owner does what the callbacks have left for it
 *
 * A callback may stop and free any loop_io: loop_io_stop removes its events from the batch
 * that is being processed. The time is read once per turn. */
#include "event/loop.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/log.h"

int loop_init(struct loop *l)
{
    *l = (struct loop){ .epoll_fd = epoll_create1(EPOLL_CLOEXEC) };
    if (l->epoll_fd < 0)
        return -errno;
    l->now_ms = clock_ms();
    atomic_init(&l->alive_ms, l->now_ms);
    return 0;
}

void loop_done(struct loop *l)
{
    if (l->epoll_fd >= 0)
        (void)close(l->epoll_fd);
    free(l->heap);
    *l = (struct loop){ .epoll_fd = -1 };
}

int loop_io_start(struct loop *l, struct loop_io *io, uint32_t events)
{
    struct epoll_event ev = { .events = events, .data.ptr = io };

    if (events == io->events)
        return 0;
    int op = io->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

    /* A library may have closed the descriptor without telling us, and got the same number
     * again. */
    if (epoll_ctl(l->epoll_fd, op, io->fd, &ev) != 0 &&
        !(errno == ENOENT && epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, io->fd, &ev) == 0) &&
        !(errno == EEXIST && epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, io->fd, &ev) == 0))
        return -errno;
    io->events = events;
    return 0;
}

void loop_io_stop(struct loop *l, struct loop_io *io)
{
    if (io->events == 0)
        return;
    (void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
    io->events = 0;
    for (int i = l->batch_pos; i < l->batch_len; i++)
        if (l->batch[i].data.ptr == io)
            l->batch[i].data.ptr = NULL;
}

static void place(struct loop *l, size_t slot, struct loop_timer *t)
{
    l->heap[slot] = t;
    t->slot = slot;
}

static void sift_up(struct loop *l, size_t slot, struct loop_timer *t)
{
    for (; slot > 1 && l->heap[slot / 2]->due_ms > t->due_ms; slot /= 2)
        place(l, slot, l->heap[slot / 2]);
    place(l, slot, t);
}

static void sift_down(struct loop *l, size_t slot, struct loop_timer *t)
{
    for (size_t child; (child = slot * 2) <= l->timers; slot = child) {
        if (child < l->timers && l->heap[child + 1]->due_ms < l->heap[child]->due_ms)
            child++;
        if (l->heap[child]->due_ms >= t->due_ms)
            break;
        place(l, slot, l->heap[child]);
    }
    place(l, slot, t);
}

static void heap_grow(struct loop *l)
{
    size_t cap = l->heap_cap == 0 ? 64 : l->heap_cap * 2;
    struct loop_timer **heap = realloc(l->heap, (cap + 1) * sizeof(struct loop_timer *));

    if (heap == NULL)
        abort();
    l->heap = heap;
    l->heap_cap = cap;
}

void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t due_ms)
{
    t->round = l->round;
    if (t->slot == 0) {
        if (l->timers == l->heap_cap)
            heap_grow(l);
        t->due_ms = due_ms;
        sift_up(l, ++l->timers, t);
        return;
    }
    int64_t before = t->due_ms;

    t->due_ms = due_ms;
    if (due_ms < before)
        sift_up(l, t->slot, t);
    else if (due_ms > before)
        sift_down(l, t->slot, t);
}

void loop_timer_clear(struct loop *l, struct loop_timer *t)
{
    if (t->slot == 0)
        return;
    size_t slot = t->slot;
    struct loop_timer *last = l->heap[l->timers--];

    t->slot = 0;
    if (last == t)
        return;
    if (slot > 1 && l->heap[slot / 2]->due_ms > last->due_ms)
        sift_up(l, slot, last);
    else
        sift_down(l, slot, last);
}

static int sleep_ms(const struct loop *l, bool again)
{
    if (again)
        return 0;
    if (l->timers == 0)
        return LOOP_IDLE_MS;
    /* The clock is rounded down to milliseconds, so a sleep of n could end just short of n:
     * add one. */
    int64_t left = l->heap[1]->due_ms - clock_ms();
    return left <= 0 ? 0 : (int)base_min(left + 1, LOOP_IDLE_MS);
}

static void take_time(struct loop *l)
{
    int64_t before_ms = l->now_ms;

    l->now_ms = clock_ms();
    if (l->now_ms - before_ms > LOOP_STILL_MS)
        l->resumed_ms = l->now_ms;
    atomic_store_explicit(&l->alive_ms, l->now_ms, memory_order_relaxed);
}

static void run_timers(struct loop *l)
{
    /* Only timers armed before this round, so that a timer that re-arms itself for now
     * cannot keep the loop from its descriptors. on_due may free its timer. */
    l->round++;
    while (l->timers > 0 && l->heap[1]->due_ms <= l->now_ms && l->heap[1]->round != l->round) {
        struct loop_timer *t = l->heap[1];

        loop_timer_clear(l, t);
        t->on_due(t);
    }
}

/* This many failed waits in a row mean a broken descriptor. A single failure is treated like
 * an empty wait: when a tracer detaches from a thread, ENOSYS may appear in place of EINTR. */
#define WAIT_FAILURES_MAX 100

void loop_run(struct loop *l)
{
    bool again = false;
    int failures = 0;

    while (!l->stopping) {
        log_flush();
        int n = epoll_wait(l->epoll_fd, l->batch, LOOP_BATCH, sleep_ms(l, again));
        failures = n < 0 && errno != EINTR ? failures + 1 : 0;
        if (failures == WAIT_FAILURES_MAX)
            abort();
        take_time(l);
        l->batch_len = n < 0 ? 0 : n;
        for (l->batch_pos = 0; l->batch_pos < l->batch_len;) {
            struct epoll_event *ev = &l->batch[l->batch_pos++];
            struct loop_io *io = ev->data.ptr;

            if (io != NULL)
                io->on_event(io, ev->events);
        }
        run_timers(l);
        again = l->on_turn != NULL && l->on_turn(l->on_turn_arg);
    }
    log_flush();
}

void loop_stop(struct loop *l)
{
    l->stopping = true;
}

/* The event loop: timers with the test's own clock, descriptors with pipes, mail with
 * threads. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "event/loop.h"
#include "event/mailbox.h"
#include "unit.h"

/* The test's clock: the linker takes this one. It goes on by a millisecond at each look, so a
 * loop that waits for a timer gets there without waiting. */
static int64_t now_ms;

int64_t clock_ms(void)
{
    return now_ms++;
}

/* Its neighbours in clock.o, so that the whole object is replaced. */
int64_t clock_us(void)
{
    return now_ms * 1000;
}

int64_t clock_wall_s(void)
{
    return now_ms / 1000;
}

/* And these instead of the C library's: they fail when the test wants them to. */
static int failing_waits;
static _Atomic int failing_writes, writes;

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
ssize_t write(int fd, const void *bytes, size_t n)
{
    writes++;
    if (failing_writes > 0) {
        failing_writes--;
        errno = ENOSYS;
        return -1;
    }
    return syscall(SYS_write, fd, bytes, n);
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int epoll_wait(int fd, struct epoll_event *events, int n, int timeout_ms)
{
    if (failing_waits > 0) {
        failing_waits--;
        errno = ENOSYS;
        return -1;
    }
    return epoll_pwait(fd, events, n, timeout_ms, NULL);
}

struct note {
    struct loop_timer timer;
    struct loop *loop;
    char name;
    int64_t again_ms; /* re-arm to that time, once */
    struct note *clears;
    bool last;
};

static char order[64];

static void note(char name)
{
    size_t n = strlen(order);
    assert_true(n + 1 < sizeof order);
    order[n] = name;
    order[n + 1] = '\0';
}

static void on_due(struct loop_timer *t)
{
    struct note *n = CONTAINER_OF(t, struct note, timer);

    note(n->name);
    if (n->clears != NULL)
        loop_timer_clear(n->loop, &n->clears->timer);
    if (n->again_ms != 0) {
        loop_timer_set(n->loop, t, n->again_ms);
        n->again_ms = 0;
    }
    if (n->last)
        loop_stop(n->loop);
}

static int set_up(void **state)
{
    static struct loop loop;

    memset(&loop, 0, sizeof loop);
    order[0] = '\0';
    now_ms = 1000;
    writes = 0;
    assert_int_equal(loop_init(&loop), 0);
    *state = &loop;
    return 0;
}

static int tear_down(void **state)
{
    loop_done(*state);
    return 0;
}

static struct note timer(struct loop *l, char name)
{
    return (struct note){ .timer.on_due = on_due, .loop = l, .name = name };
}

static void timers_fire_in_the_order_of_their_times_whatever_they_were_set_in(void **state)
{
    struct loop *l = *state;
    static const int64_t due[] = { 1050, 1010, 1090, 1030, 1070, 1020, 1080, 1060, 1040 };
    struct note notes[9];

    for (size_t i = 0; i < 9; i++) {
        notes[i] = timer(l, (char)('a' + (due[i] - 1010) / 10));
        loop_timer_set(l, &notes[i].timer, due[i]);
    }
    notes[2].last = true;
    loop_run(l);
    assert_string_equal(order, "abcdefghi");
}

static void a_wait_that_fails_now_and_then_is_taken_for_an_empty_one(void **state)
{
    struct loop *l = *state;
    struct note first = timer(l, 'a'), last = timer(l, 'b');

    last.last = true;
    loop_timer_set(l, &first.timer, 1010);
    loop_timer_set(l, &last.timer, 1050);
    failing_waits = 20;
    loop_run(l);
    assert_string_equal(order, "ab");
    assert_int_equal(failing_waits, 0);
}

/* After a suspend it takes a moment until all threads go on: who judges them has to know. */
static void a_loop_that_stood_still_says_since_when_it_goes_on(void **state)
{
    struct loop *l = *state;
    struct note n = timer(l, 'n');
    static const int64_t gone_ms[] = { 0, LOOP_IDLE_MS, LOOP_STILL_MS + 1, LOOP_IDLE_MS };
    int64_t resumed_ms = 0;

    n.last = true;
    for (size_t i = 0; i < sizeof gone_ms / sizeof *gone_ms; i++) {
        l->stopping = false;
        loop_timer_set(l, &n.timer, 1);
        now_ms += gone_ms[i];
        loop_run(l);
        if (gone_ms[i] > LOOP_STILL_MS)
            resumed_ms = l->now_ms;
        assert_int_equal(l->resumed_ms, resumed_ms);
    }
}

static void a_timer_that_is_set_again_fires_once_at_the_new_time(void **state)
{
    struct loop *l = *state;
    struct note later = timer(l, 'l'), sooner = timer(l, 's'), end = timer(l, 'e');

    end.last = true;
    loop_timer_set(l, &later.timer, 1010);
    loop_timer_set(l, &sooner.timer, 1090);
    loop_timer_set(l, &end.timer, 1100);
    loop_timer_set(l, &later.timer, 1080);
    loop_timer_set(l, &sooner.timer, 1020);
    loop_run(l);
    assert_string_equal(order, "sle");
}

static void a_cleared_timer_never_fires_even_when_it_was_due_in_the_same_turn(void **state)
{
    struct loop *l = *state;
    struct note first = timer(l, 'f'), victim = timer(l, 'v'), end = timer(l, 'e');

    first.clears = &victim;
    end.last = true;
    loop_timer_set(l, &first.timer, 1001);
    loop_timer_set(l, &victim.timer, 1002);
    loop_timer_set(l, &end.timer, 1003);
    now_ms = 1500; /* all three are due */
    loop_run(l);
    assert_string_equal(order, "fe");
    loop_timer_clear(l, &victim.timer); /* one that is not armed is taken */
}

static void a_timer_that_sets_itself_to_now_does_not_keep_the_others_waiting(void **state)
{
    struct loop *l = *state;
    struct note greedy = timer(l, 'g'), end = timer(l, 'e');

    greedy.again_ms = 1; /* long past */
    end.last = true;
    loop_timer_set(l, &greedy.timer, 1001);
    loop_timer_set(l, &end.timer, 1002);
    loop_run(l);
    assert_string_equal(order, "gge");
}

struct short_lived {
    struct loop_timer timer;
    struct loop *loop;
};

static void free_oneself(struct loop_timer *t)
{
    struct short_lived *s = CONTAINER_OF(t, struct short_lived, timer);
    struct loop *l = s->loop;

    memset(s, 0xa5, sizeof *s); /* as memory that is used again */
    free(s);
    loop_stop(l);
}

static void a_timer_may_be_freed_when_it_fires(void **state)
{
    struct loop *l = *state;
    struct short_lived *s = calloc(1, sizeof *s);

    assert_non_null(s);
    s->loop = l;
    s->timer.on_due = free_oneself;
    loop_timer_set(l, &s->timer, 1010);
    loop_run(l);
    assert_int_equal(l->timers, 0);
}

static void a_hundred_timers_set_and_cleared_at_random_keep_their_order(void **state)
{
    struct loop *l = *state;
    struct note notes[100];
    uint32_t seed = 7;
    size_t armed = 0;

    for (size_t i = 0; i < 100; i++)
        notes[i] = timer(l, '.');
    for (int round = 0; round < 2000; round++) {
        seed = seed * 1664525u + 1013904223u;
        struct note *n = &notes[(seed >> 8) % 100];
        if ((seed >> 20) % 3 == 0)
            loop_timer_clear(l, &n->timer);
        else
            loop_timer_set(l, &n->timer, 2000 + (int64_t)((seed >> 12) % 5000));
        for (size_t slot = 2; slot <= l->timers; slot++)
            assert_true(l->heap[slot / 2]->due_ms <= l->heap[slot]->due_ms);
    }
    for (size_t i = 0; i < 100; i++)
        armed += notes[i].timer.slot != 0;
    assert_int_equal(l->timers, armed);
    for (size_t i = 0; i < 100; i++)
        loop_timer_clear(l, &notes[i].timer);
    assert_int_equal(l->timers, 0);
}

struct pipe_end {
    struct loop_io watch;
    struct loop *loop;
    struct pipe_end *other;
};

static void on_readable(struct loop_io *w, uint32_t events)
{
    struct pipe_end *p = CONTAINER_OF(w, struct pipe_end, watch);

    assert_true(events & EPOLLIN);
    note('r');
    loop_io_stop(p->loop, &p->other->watch);
    loop_stop(p->loop);
}

static void an_event_of_a_descriptor_that_was_just_unwatched_is_dropped(void **state)
{
    struct loop *l = *state;
    int a[2], b[2];

    assert_int_equal(pipe(a) | pipe(b), 0);
    struct pipe_end one = { .watch = { .fd = a[0], .on_event = on_readable }, .loop = l };
    struct pipe_end two = { .watch = { .fd = b[0], .on_event = on_readable }, .loop = l };
    one.other = &two;
    two.other = &one;
    assert_int_equal(loop_io_start(l, &one.watch, EPOLLIN), 0);
    assert_int_equal(loop_io_start(l, &two.watch, EPOLLIN), 0);
    assert_int_equal(write(a[1], "x", 1) + write(b[1], "x", 1), 2);
    loop_run(l); /* both are ready in one batch; whichever comes first ends the other's watch */
    assert_string_equal(order, "r");
    loop_io_stop(l, &one.watch); /* takes what is not registered */
    loop_io_stop(l, &two.watch);
    for (int i = 0; i < 2; i++)
        assert_int_equal(close(a[i]) | close(b[i]), 0);
}

static void a_watch_on_a_closed_descriptor_is_an_error(void **state)
{
    struct loop_io w = { .fd = -1, .on_event = on_readable };
    assert_int_equal(loop_io_start(*state, &w, EPOLLIN), -EBADF);
}

static void a_descriptor_that_was_closed_behind_the_loops_back_is_watched_again(void **state)
{
    struct loop *l = *state;
    int a[2];

    assert_int_equal(pipe(a), 0);
    struct pipe_end one = { .watch = { .fd = a[0], .on_event = on_readable }, .loop = l };
    one.other = &one;
    assert_int_equal(loop_io_start(l, &one.watch, EPOLLIN), 0);
    assert_int_equal(close(a[0]) | close(a[1]), 0);
    assert_int_equal(pipe(a), 0);
    assert_int_equal(a[0], one.watch.fd); /* the same number, another pipe */
    assert_int_equal(loop_io_start(l, &one.watch, EPOLLIN | EPOLLRDHUP), 0);
    assert_int_equal(write(a[1], "x", 1), 1);
    loop_run(l);
    assert_string_equal(order, "r");
    assert_int_equal(close(a[0]) | close(a[1]), 0);
}

static bool three_turns(void *arg)
{
    struct loop *l = arg;

    note('t');
    if (strlen(order) == 3)
        loop_stop(l);
    return true;
}

static void the_hook_that_wants_to_run_again_does_not_sleep(void **state)
{
    struct loop *l = *state;

    l->on_turn = three_turns;
    l->on_turn_arg = l;
    struct note first = timer(l, 'x');
    loop_timer_set(l, &first.timer, 1000);
    loop_run(l);
    assert_string_equal(order, "xtt");
}

#define SENDERS 4
#define LETTERS 1000

struct letter {
    struct mail mail;
    struct reader *to;
    unsigned sender, number;
};
struct reader {
    struct mailbox box;
    struct loop *loop;
    unsigned next[SENDERS];
    unsigned got;
    _Atomic unsigned freed;
};

static void letter_arrived(struct mail *m)
{
    struct letter *l = CONTAINER_OF(m, struct letter, mail);
    struct reader *r = l->to;

    assert_int_equal(l->number, r->next[l->sender]++);
    if (++r->got == SENDERS * LETTERS)
        loop_stop(r->loop);
}

static void letter_free(struct mail *m)
{
    struct letter *l = CONTAINER_OF(m, struct letter, mail);

    l->to->freed++;
    free(l);
}

struct sender {
    struct reader *to;
    unsigned index;
};

static void *send_all(void *arg)
{
    struct sender *s = arg;

    for (unsigned i = 0; i < LETTERS; i++) {
        struct letter *l = calloc(1, sizeof *l);
        if (l == NULL)
            abort();
        *l = (struct letter){ .mail = { .run = letter_arrived, .free = letter_free },
                              .to = s->to,
                              .sender = s->index,
                              .number = i };
        mailbox_send(&s->to->box, &l->mail);
    }
    return NULL;
}

static void mail_of_many_threads_arrives_once_and_in_each_senders_order(void **state)
{
    struct reader r = { .loop = *state };
    pthread_t threads[SENDERS];
    struct sender senders[SENDERS];

    assert_int_equal(mailbox_init(&r.box, r.loop), 0);
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){ &r, i };
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
    loop_run(r.loop);
    for (unsigned i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(r.got, SENDERS * LETTERS);
    mailbox_done(&r.box);
    assert_int_equal(r.freed, SENDERS * LETTERS);
}

static struct loop *woken;

static void wake(struct mail *m)
{
    (void)m;
    loop_stop(woken);
}

/* It is on the test's stack. */
static void leave_alone(struct mail *m)
{
    (void)m;
}

static void a_wake_up_that_fails_at_first_still_comes(void **state)
{
    struct mail mail = { .run = wake, .free = leave_alone };
    struct mailbox box;

    woken = *state;
    assert_int_equal(mailbox_init(&box, woken), 0);
    failing_writes = 20;
    mailbox_send(&box, &mail);
    assert_int_equal(failing_writes, 0);
    loop_run(woken);
    mailbox_done(&box);
}

static void a_closed_mailbox_runs_none_of_what_waits_and_frees_all(void **state)
{
    struct reader r = { .loop = *state };

    assert_int_equal(mailbox_init(&r.box, r.loop), 0);
    (void)send_all(&(struct sender){ &r, 2 });
    mailbox_close(&r.box);
    assert_int_equal(r.freed, LETTERS);
    mailbox_done(&r.box);
    assert_int_equal(r.got, 0);
    assert_int_equal(r.freed, LETTERS);
}

/* Once such a message went to descriptor 0, which is the program's standard input. */
static void
what_is_sent_to_a_mailbox_that_is_closed_gone_or_zeroed_is_freed_at_once(void **state)
{
    struct reader r = { .loop = *state };

    (void)send_all(&(struct sender){ &r, 1 });
    assert_int_equal(r.freed, LETTERS);
    assert_int_equal(mailbox_init(&r.box, r.loop), 0);
    mailbox_close(&r.box);
    (void)send_all(&(struct sender){ &r, 1 });
    assert_int_equal(r.freed, 2 * LETTERS);
    mailbox_done(&r.box);
    (void)send_all(&(struct sender){ &r, 1 });
    assert_int_equal(r.freed, 3 * LETTERS);
    mailbox_done(&r.box);
    assert_int_equal(writes, 0);
    assert_int_equal(r.got, 0);
}

static void a_mailbox_may_be_closed_while_others_send(void **state)
{
    struct reader r = { .loop = *state };
    pthread_t threads[SENDERS];
    struct sender senders[SENDERS];

    assert_int_equal(mailbox_init(&r.box, r.loop), 0);
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){ &r, i };
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
    while (r.freed < LETTERS / 2)
        mailbox_close(&r.box);
    for (unsigned i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    mailbox_done(&r.box);
    assert_int_equal(r.freed, SENDERS * LETTERS);
    assert_int_equal(r.got, 0);
}

#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(timers_fire_in_the_order_of_their_times_whatever_they_were_set_in),
        LOOP_TEST(a_wait_that_fails_now_and_then_is_taken_for_an_empty_one),
        LOOP_TEST(a_loop_that_stood_still_says_since_when_it_goes_on),
        LOOP_TEST(a_timer_that_is_set_again_fires_once_at_the_new_time),
        LOOP_TEST(a_cleared_timer_never_fires_even_when_it_was_due_in_the_same_turn),
        LOOP_TEST(a_timer_that_sets_itself_to_now_does_not_keep_the_others_waiting),
        LOOP_TEST(a_timer_may_be_freed_when_it_fires),
        LOOP_TEST(a_hundred_timers_set_and_cleared_at_random_keep_their_order),
        LOOP_TEST(an_event_of_a_descriptor_that_was_just_unwatched_is_dropped),
        LOOP_TEST(a_descriptor_that_was_closed_behind_the_loops_back_is_watched_again),
        LOOP_TEST(a_watch_on_a_closed_descriptor_is_an_error),
        LOOP_TEST(the_hook_that_wants_to_run_again_does_not_sleep),
        LOOP_TEST(mail_of_many_threads_arrives_once_and_in_each_senders_order),
        LOOP_TEST(a_wake_up_that_fails_at_first_still_comes),
        LOOP_TEST(a_closed_mailbox_runs_none_of_what_waits_and_frees_all),
        LOOP_TEST(what_is_sent_to_a_mailbox_that_is_closed_gone_or_zeroed_is_freed_at_once),
        LOOP_TEST(a_mailbox_may_be_closed_while_others_send),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

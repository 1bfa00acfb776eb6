/* acceptor.c: real listeners and connections, on a loop of the test. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/syscall.h>

#include "base/clock.h"
#include "net/acceptor.h"
#include "unit.h"

#define CLIENTS_MAX 300
#define SOON_MS 15000

/* Instead of the C library's: valgrind has a limit on descriptors of its own making. */
static bool out_of_descriptors;

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    if (out_of_descriptors) {
        errno = EMFILE;
        return -1;
    }
    return (int)syscall(SYS_accept4, fd, addr, len, flags);
}

/* How many of the next calls that would watch a socket fail. */
static int failing_watches;

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event)
{
    if (op == EPOLL_CTL_ADD && failing_watches > 0) {
        failing_watches--;
        errno = ENOMEM;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epoll_fd, op, fd, event);
}

struct stage {
    struct loop loop;
    struct listeners listeners;
    struct acceptor acceptor;
    struct loop_timer deadline;
    int client[CLIENTS_MAX], accepted[CLIENTS_MAX];
    size_t clients, count, wanted;
};

static void on_accepted(void *arg, const struct listener *from, int fd,
                        const struct sockaddr *addr, socklen_t len)
{
    struct stage *s = arg;

    (void)addr;
    (void)len;
    assert_ptr_equal(from, &s->listeners.item[0]);
    assert_true(s->count < CLIENTS_MAX);
    s->accepted[s->count++] = fd;
    if (s->count == s->wanted)
        loop_stop(&s->loop);
}

static void on_deadline(struct loop_timer *t)
{
    loop_stop(&CONTAINER_OF(t, struct stage, deadline)->loop);
}

static int set_up(void **state)
{
    static struct stage s;
    struct buf error;

    s = (struct stage){ .deadline.on_due = on_deadline };
    failing_watches = 0;
    buf_init(&error, 1024);
    assert_int_equal(loop_init(&s.loop), 0);
    assert_int_equal(listeners_add(&s.listeners,
                                   &(struct listener_options){ .address = "127.0.0.1:0",
                                                               .host = "127.0.0.1" },
                                   &error),
                     0);
    buf_done(&error);
    assert_int_equal(acceptor_init(&s.acceptor, &s.loop,
                                   &(struct acceptor_options){ .listeners = s.listeners.item,
                                                               .count = s.listeners.count,
                                                               .batch = 10,
                                                               .on_accepted = on_accepted,
                                                               .arg = &s }),
                     0);
    *state = &s;
    return 0;
}

static int tear_down(void **state)
{
    struct stage *s = *state;

    acceptor_done(&s->acceptor);
    acceptor_done(&s->acceptor);
    listeners_done(&s->listeners);
    loop_timer_clear(&s->loop, &s->deadline);
    loop_done(&s->loop);
    for (size_t i = 0; i < s->clients; i++)
        (void)close(s->client[i]);
    for (size_t i = 0; i < s->count; i++)
        (void)close(s->accepted[i]);
    return 0;
}

/* 0 or the errno of connecting. */
static int call_in(struct stage *s)
{
    const struct sockaddr_in addr = { .sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)s->listeners.item[0].port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    s->client[s->clients++] = fd;
    return connect(fd, (const struct sockaddr *)&addr, sizeof addr) == 0 ? 0 : errno;
}

static void run_until(struct stage *s, size_t wanted)
{
    s->wanted = wanted;
    s->loop.stopping = false;
    loop_timer_set(&s->loop, &s->deadline, clock_ms() + SOON_MS);
    loop_run(&s->loop);
    assert_int_equal(s->count, wanted);
}

static void more_than_one_batch_is_accepted_in_later_turns(void **state)
{
    struct stage *s = *state;

    for (int i = 0; i < 35; i++)
        assert_int_equal(call_in(s), 0);
    run_until(s, 35);
}

/* Without descriptors it rests, and goes on by itself when there are some. */
static void when_descriptors_have_run_out_it_rests_and_then_goes_on(void **state)
{
    struct stage *s = *state;

    assert_int_equal(call_in(s), 0);
    out_of_descriptors = true;
    s->loop.stopping = false;
    loop_timer_set(&s->loop, &s->deadline, clock_ms()); /* one turn */
    loop_run(&s->loop);
    out_of_descriptors = false;
    bool rests = s->acceptor.pause.slot != 0 && s->acceptor.socket[0].io.events == 0;

    assert_true(rests);
    assert_int_equal(s->count, 0);
    run_until(s, 1);
}

/* Memory may be short for longer than it rests: it tries again until it is there. */
static void it_goes_on_also_when_its_sockets_cannot_be_watched_at_once(void **state)
{
    struct stage *s = *state;

    assert_int_equal(call_in(s), 0);
    out_of_descriptors = true;
    s->loop.stopping = false;
    loop_timer_set(&s->loop, &s->deadline, clock_ms()); /* one turn */
    loop_run(&s->loop);
    out_of_descriptors = false;
    failing_watches = 3;
    run_until(s, 1);
    assert_int_equal(failing_watches, 0);
    assert_int_equal(s->acceptor.pause.slot, 0);
}

static void who_is_in_the_queue_when_it_closes_is_accepted_and_later_ones_refused(void **state)
{
    struct stage *s = *state;

    for (int i = 0; i < 200; i++)
        assert_int_equal(call_in(s), 0);
    acceptor_close(&s->acceptor);
    assert_int_equal(s->count, 200);
    assert_int_equal(call_in(s), ECONNREFUSED);
}

/* It is the service manager's: whoever has it too goes on with it. */
static void of_a_socket_that_was_passed_the_queue_is_left_to_the_next(void **state)
{
    struct stage *s = *state;

    s->listeners.item[0].shared = s->listeners.item[0].passed = true;
    for (int i = 0; i < 20; i++)
        assert_int_equal(call_in(s), 0);
    acceptor_close(&s->acceptor);
    assert_int_equal(s->count, 0);
    assert_int_equal(call_in(s), 0);
    acceptor_done(&s->acceptor);
    assert_int_equal(acceptor_init(&s->acceptor, &s->loop,
                                   &(struct acceptor_options){ .listeners = s->listeners.item,
                                                               .count = s->listeners.count,
                                                               .batch = 10,
                                                               .on_accepted = on_accepted,
                                                               .arg = s }),
                     0);
    run_until(s, 21);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(more_than_one_batch_is_accepted_in_later_turns),
        T(when_descriptors_have_run_out_it_rests_and_then_goes_on),
        T(it_goes_on_also_when_its_sockets_cannot_be_watched_at_once),
        T(who_is_in_the_queue_when_it_closes_is_accepted_and_later_ones_refused),
        T(of_a_socket_that_was_passed_the_queue_is_left_to_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

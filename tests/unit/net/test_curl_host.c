/* curl_host.c: what is known about the addresses of a name if none of them gave a
 * connection. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/curl_host.h"
#include "unit.h"

#define SOCKETS_MAX 16
#define CONNECT_MS 1000

/* Two addresses with the same port: the first swallows what is sent to it, the second
 * refuses. */
struct addresses {
    int fd[SOCKETS_MAX];
    size_t count;
    int port;
};

static int open_socket(struct addresses *a)
{
    assert_true(a->count < SOCKETS_MAX);
    a->fd[a->count] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(a->fd[a->count] >= 0);
    return a->fd[a->count++];
}

/* Binds two sockets to one port that is free at both addresses. */
static void bind_both(struct addresses *a, struct sockaddr_in *silent)
{
    int64_t until_ms = clock_ms() + 30000;
    struct sockaddr_in refusing;
    socklen_t len = sizeof *silent;
    bool bound;

    do { /* another program may have the port at the other address */
        a->count = 0;
        *silent = (struct sockaddr_in){ .sin_family = AF_INET };
        (void)inet_pton(AF_INET, "127.0.0.2", &silent->sin_addr);
        assert_int_equal(bind(open_socket(a), (struct sockaddr *)silent, len), 0);
        assert_int_equal(getsockname(a->fd[0], (struct sockaddr *)silent, &len), 0);
        refusing = *silent;
        (void)inet_pton(AF_INET, "127.0.0.3", &refusing.sin_addr);
        bound = bind(open_socket(a), (struct sockaddr *)&refusing, len) == 0;
        for (; !bound && a->count > 0; a->count--)
            (void)close(a->fd[a->count - 1]);
    } while (!bound && clock_ms() < until_ms);
    assert_true(bound);
}

static void addresses_begin(struct addresses *a)
{
    struct sockaddr_in silent;
    struct pollfd last = { .events = POLLOUT };

    bind_both(a, &silent);
    assert_int_equal(listen(a->fd[0], 0), 0);
    do { /* nobody accepts: once the queue is full, nothing is answered */
        last.fd = open_socket(a);
        (void)connect(last.fd, (struct sockaddr *)&silent, sizeof silent);
    } while (poll(&last, 1, 200) == 1);
    a->port = ntohs(silent.sin_port);
}

static void addresses_end(struct addresses *a)
{
    while (a->count > 0)
        (void)close(a->fd[--a->count]);
}

struct attempt {
    struct loop loop;
    struct curl_host host;
    struct curl_host_transfer transfer;
    int64_t began_ms;
    bool stood_still;
    CURLcode code;
    unsigned opened, silent; /* as on_done saw them */
};

static void on_done(struct curl_host_transfer *t, CURLcode code)
{
    struct attempt *a = CONTAINER_OF(t, struct attempt, transfer);

    a->code = code;
    a->opened = t->opened;
    a->silent = t->silent;
    loop_stop(&a->loop);
}

/* While the first address is tried, the process does not get to run for more than half of
 * the time; then libcurl happens to look first, as it does when something comes on another
 * connection. */
static bool stand_still(void *arg)
{
    struct attempt *a = arg;
    int running;

    if (a->stood_still || a->host.opened == 0)
        return false;
    a->stood_still = true;
    while (clock_ms() < a->began_ms + CONNECT_MS * 6 / 10)
        continue;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    for (int i = 0; i < 2;
         i++) /* it closes a socket with one look and opens the next with another */
        (void)curl_multi_socket_all(a->host.curl, &running);
#pragma GCC diagnostic pop
    return true;
}

/* Starts it; NULL: the URL's host is an address. */
static void attempt_begin(struct attempt *a, const char *url, struct curl_slist *names,
                          int64_t connect_ms)
{
    const struct curl_host_settings settings = { .proxy = "none",
                                                 .connect_timeout_ms = connect_ms };

    assert_int_equal(curl_host_global_init(), 0);
    assert_int_equal(loop_init(&a->loop), 0);
    a->loop.on_turn_arg = a;
    assert_int_equal(curl_host_init(&a->host, &a->loop, 1), 0);
    a->transfer = (struct curl_host_transfer){ .easy = curl_easy_init(),
                                               .connect_timeout_ms = connect_ms,
                                               .on_done = on_done };
    assert_int_equal(curl_host_setup(&a->host, a->transfer.easy, &settings), 0);
    (void)curl_easy_setopt(a->transfer.easy, CURLOPT_URL, url);
    (void)curl_easy_setopt(a->transfer.easy, CURLOPT_RESOLVE, names);
    a->began_ms = clock_ms();
    assert_int_equal(curl_host_add(&a->host, &a->transfer), 0);
}

static void attempt_end(struct attempt *a)
{
    curl_easy_cleanup(a->transfer.easy);
    curl_host_done(&a->host);
    loop_done(&a->loop);
    curl_global_cleanup();
}

static void a_silent_address_is_told_as_silent_however_late_the_process_looks(void **state)
{
    struct addresses addresses = { 0 };
    struct attempt a = { 0 };
    char url[64], names[96];

    (void)state;
    addresses_begin(&addresses);
    (void)snprintf(url, sizeof url, "http://api.test:%d/", addresses.port);
    (void)snprintf(names, sizeof names, "api.test:%d:127.0.0.2,127.0.0.3", addresses.port);
    struct curl_slist *resolve = curl_slist_append(NULL, names);

    attempt_begin(&a, url, resolve, CONNECT_MS);
    a.loop.on_turn = stand_still;
    loop_run(&a.loop);
    assert_true(a.stood_still);
    /* where the time is over nothing else may be said: the silent one could have had more of
     * it */
    if (a.code != CURLE_OPERATION_TIMEDOUT) {
        assert_int_equal(a.code, CURLE_COULDNT_CONNECT);
        assert_int_equal(a.opened, 2);
        assert_int_equal(a.silent, 1);
    }
    attempt_end(&a);
    curl_slist_free_all(resolve);
    addresses_end(&addresses);
}

static void on_too_late(struct loop_timer *t)
{
    (void)t;
    fail_msg("the end of the time to connect went unnoticed");
}

/* libcurl counts from its own first look, which is in the turn in which the time is over. */
static void an_attempt_that_begins_when_its_time_is_over_ends(void **state)
{
    struct addresses addresses = { 0 };
    struct attempt a = { 0 };
    struct loop_timer too_late = { .on_due = on_too_late };
    char url[64];

    (void)state;
    addresses_begin(&addresses);
    (void)snprintf(url, sizeof url, "http://127.0.0.2:%d/", addresses.port);
    attempt_begin(&a, url, NULL, 20);
    loop_timer_set(&a.loop, &too_late, a.began_ms + 30000);
    while (clock_ms() < a.began_ms + 40)
        continue;
    loop_run(&a.loop);
    assert_int_equal(a.code, CURLE_OPERATION_TIMEDOUT);
    loop_timer_clear(&a.loop, &too_late);
    attempt_end(&a);
    addresses_end(&addresses);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_address_is_told_as_silent_however_late_the_process_looks),
        cmocka_unit_test(an_attempt_that_begins_when_its_time_is_over_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

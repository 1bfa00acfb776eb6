/* While the program starts: callers that connect early are served, and of two instances on
 * one port only one gets it. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"

#define ROUNDS 20
#define ADDRESS "127.0.0.12" /* nobody else gets a port there meanwhile */

/* A port that was free a moment ago. */
static int free_port(void)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = inet_addr(ADDRESS) };
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    (void)close(fd);
    return ntohs(addr.sin_port);
}

struct early {
    int port;
    int64_t deadline_ms;
    int error; /* of the connection, once there is one; 0: an answer came */
    char answer[16];
};

/* Connects as soon as somebody listens, and asks. */
static void *connect_early(void *arg)
{
    struct early *e = arg;
    const struct sockaddr_in addr = { .sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)e->port),
                                      .sin_addr.s_addr = inet_addr(ADDRESS) };
    const struct timeval patience = { .tv_sec = SOON_MS / 1000 };
    static const char request[] = "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";
    int fd;
    for (;;) {
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (const struct sockaddr *)&addr, sizeof addr) == 0)
            break;
        e->error = errno;
        (void)close(fd);
        if (e->error != ECONNREFUSED || now_ms() >= e->deadline_ms)
            return NULL;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    e->error = 0;
    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0 ||
        recv(fd, e->answer, sizeof e->answer - 1, 0) < 0)
        e->error = errno;
    (void)close(fd);
    return NULL;
}

static void who_connects_while_it_starts_is_served(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        WORLD(w);
        struct early e = { .port = free_port(), .deadline_ms = now_ms() + SOON_MS };
        pthread_t thread;
        char settings[128];
        (void)snprintf(settings, sizeof settings,
                       "listen.address = " ADDRESS ":%d\nprocess.workers = %d\n", e.port,
                       1 + i % 4);
        struct world_options options = { .settings = settings, .no_proxy = true };
        world_start(&w, &options);
        assert_int_equal(pthread_create(&thread, NULL, connect_early, &e), 0);
        world_proxy(&w, &options);
        (void)pthread_join(thread, NULL);
        if (e.error != 0 || strncmp(e.answer, "HTTP/1.1 200", 12) != 0)
            fail_msg("start %d: \"%s\" %s", i, e.answer, strerrorname_np(e.error));
        world_end(&w);
    }
}

/* Whether it is ready, or has left with 1 because the port is taken. */
static bool got_the_port(struct proxy *p)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    do {
        if (proxy_log_wait(p, "event=ready", 1, 1))
            return true;
        int code = proxy_wait_exit(p, 1);
        if (code >= 0) {
            assert_int_equal(code, 1);
            assert_true(proxy_log_contains(p, "Address already in use"));
            return false;
        }
    } while (now_ms() < deadline_ms);
    fail_msg("neither ready nor gone");
    return false;
}

static void of_two_that_start_at_once_on_one_port_one_gets_it(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct proxy *p[2];
        char settings[128];
        size_t got = 0;
        (void)snprintf(settings, sizeof settings,
                       "listen.address = " ADDRESS ":%d\nprocess.workers = 4\n", free_port());
        struct bytes ini = world_ini("http://127.0.0.1:1/v0", "http://127.0.0.1:1/t", settings);
        for (size_t k = 0; k < 2; k++)
            p[k] = proxy_start(bytes_text(&ini), &(struct proxy_options){ .no_wait = true });
        for (size_t k = 0; k < 2; k++)
            got += got_the_port(p[k]);
        assert_int_equal(got, 1);
        for (size_t k = 0; k < 2; k++)
            proxy_free(p[k]);
        bytes_free(&ini);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_connects_while_it_starts_is_served),
        TEST(of_two_that_start_at_once_on_one_port_one_gets_it),
    };
    return RUN_TESTS(tests);
}

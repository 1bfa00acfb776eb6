#pragma once
/* What the tests of the upstream side share: a loop, a pool and settings in one thread, and
 * a peer on a loopback socket that the test controls byte by byte. The test turns the loop
 * by hand, so it decides what happens between two turns. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "config/config.h"
#include "event/loop.h"
#include "net/curl_host.h"
#include "unit.h"
#include "upstream/h1_client.h"
#include "upstream/h2_client.h"

/* Time runs by itself until it is stopped, and a test may move it forward. */
static int64_t clock_ahead_ms, clock_stopped_us;

int64_t clock_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (clock_stopped_us != 0 ? clock_stopped_us
                                  : (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000) +
           clock_ahead_ms * 1000;
}

/* Do not wait for anything while it is stopped: the deadline of UNTIL would never come. */
static inline void clock_stop(void)
{
    clock_stopped_us = clock_us() - clock_ahead_ms * 1000;
}

static inline void clock_go_on(void)
{
    clock_stopped_us = 0;
}

int64_t clock_ms(void)
{
    return clock_us() / 1000;
}

int64_t clock_wall_s(void)
{
    return 1700000000;
}

#define CONNS_MAX 8

struct scripted {
    struct loop loop;
    struct curl_host curl;
    struct conn_pool pool;
    struct exchange_host host;
    struct h2_host h2_host;
    struct config *config;
    int listener;

    /* the peer's ends of all connections that were made, in order */
    int fd[CONNS_MAX];
    struct buf got[CONNS_MAX]; /* received on it */
    bool ended[CONNS_MAX];     /* nothing more comes on it */
    size_t conns;
};

static bool scripted_on_turn(void *arg)
{
    struct scripted *s = arg;
    bool more = true;

    for (int i = 0; more && i < 32; i++) {
        more = curl_host_turn(&s->curl);
        more |= conn_pool_turn(&s->pool);
    }
    loop_stop(&s->loop);
    return false;
}

static void scripted_on_tick(struct loop_timer *t)
{
    (void)t;
}

/* Turns the loop once, without waiting. */
static inline void turn(struct scripted *s)
{
    struct loop_timer tick = { .on_due = scripted_on_tick };

    loop_timer_set(&s->loop, &tick, 0);
    s->loop.stopping = false;
    loop_run(&s->loop);
    loop_timer_clear(&s->loop, &tick);
}

/* What a peer always does: accepts, and receives. */
static inline void peer_take(struct scripted *s)
{
    /* small: valgrind looks at each byte of it for each call */
    static char bytes[4096];

    for (int fd; (fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        assert_true(s->conns < CONNS_MAX);
        buf_init(&s->got[s->conns], 8 << 20);
        s->ended[s->conns] = false;
        s->fd[s->conns++] = fd;
    }
    for (size_t i = 0; i < s->conns; i++) {
        ssize_t n = 1;

        while (s->fd[i] >= 0 && !s->ended[i] &&
               (n = recv(s->fd[i], bytes, sizeof bytes, 0)) > 0)
            assert_int_equal(buf_add(&s->got[i], bytes, (size_t)n), 0);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            s->ended[i] = true;
    }
}

/* Reaching this means failure, under valgrind on a busy machine too. */
#define SOON_MS 60000

/* Turns the loop until `condition` holds; more turns do no harm. */
#define UNTIL(s, condition)                        \
    do {                                           \
        int64_t until_ms_ = clock_ms() + SOON_MS;  \
        while (!(condition)) {                     \
            if (clock_ms() > until_ms_)            \
                fail_msg("never: %s", #condition); \
            turn(s);                               \
            peer_take(s);                          \
        }                                          \
    } while (0)

/* After this many turns everything has happened that needs nothing more from the peer. */
static inline void settle(struct scripted *s)
{
    for (int i = 0; i < 4; i++) {
        turn(s);
        peer_take(s);
    }
}

static inline void peer_say(struct scripted *s, size_t conn, const void *bytes, size_t n)
{
    if (n > 0)
        assert_int_equal(send(s->fd[conn], bytes, n, MSG_NOSIGNAL), n);
}

/* In order, or by a reset. */
static inline void peer_close(struct scripted *s, size_t conn, bool reset)
{
    const struct linger hard = { .l_onoff = 1 };

    if (s->fd[conn] < 0)
        return;
    if (reset)
        (void)setsockopt(s->fd[conn], SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    (void)close(s->fd[conn]);
    s->fd[conn] = -1;
}

static inline bool peer_has(struct scripted *s, size_t conn, const char *text)
{
    return conn < s->conns && strstr(buf_text(&s->got[conn]), text) != NULL;
}

/* How many requests it has received at least the beginning of, on all connections. */
static inline unsigned peer_requests(struct scripted *s)
{
    unsigned count = 0;

    for (size_t i = 0; i < s->conns; i++)
        for (const char *p = buf_text(&s->got[i]); (p = strstr(p, " /v0/it HTTP/1.1\r\n")); p++)
            count++;
    return count;
}

/* settings: more lines for the section [upstream]. */
static inline void scripted_start_with(struct scripted *s, const struct conn_pool_user *user,
                                       size_t kept, const char *settings)
{
    static bool once;
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    char text[512];
    struct config_report report;

    memset(s, 0, sizeof *s);
    if (!once)
        assert_int_equal(curl_host_global_init(), 0);
    once = true;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(s->listener, 16), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&at, &len), 0);
    int n = snprintf(text, sizeof text,
                     "[upstream]\nbase_url = http://127.0.0.1:%d/v0\nproxy = none\n"
                     "%s%s"
                     "[token]\nclient_id = id\nclient_secret = secret\n",
                     ntohs(at.sin_port),
                     strstr(settings, "keepalive") == NULL ? "keepalive = 5s\n" : "", settings);
    config_report_init(&report);
    s->config = config_load_text("test", text, (size_t)n, &report);
    config_report_done(&report);
    assert_non_null(s->config);
    assert_int_equal(loop_init(&s->loop), 0);
    assert_int_equal(curl_host_init(&s->curl, &s->loop, 8), 0);
    conn_pool_init(&s->pool, &s->curl, kept, user);
    h2_host_init(&s->h2_host, &s->pool);
    s->host = (struct exchange_host){ .loop = &s->loop,
                                      .curl = &s->curl,
                                      .conn_pool = &s->pool,
                                      .h1 = &h1_client,
                                      .h2 = &h2_client,
                                      .h2_host = &s->h2_host };
    s->loop.on_turn = scripted_on_turn;
    s->loop.on_turn_arg = s;
    turn(s);
}

static inline void scripted_start(struct scripted *s, const struct conn_pool_user *user,
                                  size_t kept)
{
    scripted_start_with(s, user, kept, "");
}

/* No exchange may be running. */
static inline void scripted_stop(struct scripted *s)
{
    h2_host_done(&s->h2_host);
    assert_true(TAILQ_EMPTY(&s->pool.woken));
    conn_pool_done(&s->pool);
    assert_int_equal(s->pool.count, 0);
    curl_host_done(&s->curl);
    loop_done(&s->loop);
    config_unref(s->config);
    for (size_t i = 0; i < s->conns; i++) {
        peer_close(s, i, false);
        buf_done(&s->got[i]);
    }
    (void)close(s->listener);
}

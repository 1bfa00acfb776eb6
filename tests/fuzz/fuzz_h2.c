/* Any frames from an upstream, through the real HTTP/2 client: a session with three exchanges on
 * it, on a loopback connection whose other end is played here.
 *
 * An input is a script of frames, each one byte, a length and a payload:
 *
 *     byte    low four bits: the type (RFC 9113 section 6); the next two: the stream (none, or one of
 *             the three); the last two: END_STREAM or ACK, and END_HEADERS
 *     length  one byte; 0xFF: what follows is not a frame but bytes as they are, all of the rest
 *
 * After each frame everything happens that can. A frame of type 10 is none: its length says what the
 * user of the exchanges does (takes its answer, gives up, says more of its body, waits).
 *
 * Whatever the script: each request ends at most once; one that may move money is never written
 * again unless its stream was refused; a whole answer has a final head. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "config/config.h"
#include "event/loop.h"
#include "net/curl_host.h"
#include "seen.h"
#include "upstream/conn_pool.h"
#include "upstream/exchange.h"
#include "upstream/h1_client.h"
#include "upstream/h2_client.h"

#define EXCHANGES 3
#define CONNS_MAX 32
#define FRAMES_MAX 200
#define WINDOW_BYTES 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct trial {
    struct exchange x;
    struct exchange_body body;
    struct buf answer;
    struct arena arena;
    unsigned sendings, ends;
    bool whole, running;
};

static struct {
    bool started;
    int listener;
    struct loop loop;
    struct curl_host curl;
    struct conn_pool pool;
    struct h2_host h2_host;
    struct exchange_host host;
    struct config *config;
    struct trial trial[EXCHANGES];
    int fd[CONNS_MAX];
    size_t conns;
    bool
        refused; /* a stream may have been refused, or a connection be gone before it was used */
    int64_t now_us;
} h = { .now_us = 1000000000 };

int64_t clock_us(void)
{
    return h.now_us;
}

int64_t clock_ms(void)
{
    return h.now_us / 1000;
}

int64_t clock_wall_s(void)
{
    return 1700000000;
}

static void on_sending(struct exchange *x)
{
    CONTAINER_OF(x, struct trial, x)->sendings++;
}

static void on_nothing(struct exchange *x)
{
    (void)x;
}

static void on_end(struct exchange *x, const struct failure *f)
{
    struct trial *t = CONTAINER_OF(x, struct trial, x);

    t->ends++;
    t->whole = f == NULL;
    require(f != NULL || exchange_has_head(x));
}

static const struct exchange_user user = {
    .on_sending = on_sending, .on_head = on_nothing, .on_progress = on_nothing, .on_end = on_end
};

/* --- the loop and the other end ---------------------------------------------------------- */

static bool on_turn(void *arg)
{
    (void)arg;
    for (int i = 0; i < 8; i++) {
        bool more = curl_host_turn(&h.curl);

        if (!conn_pool_turn(&h.pool) && !more)
            break;
    }
    loop_stop(&h.loop);
    return false;
}

static void on_tick(struct loop_timer *t)
{
    (void)t;
}

static void turn(void)
{
    static char bytes[65536];
    struct loop_timer tick = { .on_due = on_tick };

    h.now_us += 20;
    loop_timer_set(&h.loop, &tick, 0);
    h.loop.stopping = false;
    loop_run(&h.loop);
    loop_timer_clear(&h.loop, &tick);
    for (int fd; h.conns < CONNS_MAX &&
                 (fd = accept4(h.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;)
        h.fd[h.conns++] = fd;
    for (size_t i = 0; i < h.conns; i++)
        while (h.fd[i] >= 0 && recv(h.fd[i], bytes, sizeof bytes, 0) > 0)
            continue;
}

static void settle(void)
{
    for (int i = 0; i < 3; i++)
        turn();
}

static void say(const void *bytes, size_t n)
{
    if (h.conns > 0 && n > 0)
        (void)!send(h.fd[h.conns - 1], bytes, n, MSG_NOSIGNAL);
}

static void say_frame(uint8_t first, const uint8_t *payload, size_t n)
{
    uint8_t flags = (uint8_t)((first >> 6 & 1) | (first >> 7) * 4);
    uint8_t stream = (uint8_t)((first >> 4 & 3) == 0 ? 0 : (first >> 4 & 3) * 2 - 1);
    uint8_t frame[9 + 255] = { 0, 0, (uint8_t)n, first & 15, flags, 0, 0, 0, stream };

    memcpy(frame + 9, payload, n);
    say(frame, 9 + n);
}

/* --- the exchanges ------------------------------------------------------------------------ */

static void begin(size_t which)
{
    static const char *const methods[EXCHANGES] = { "GET", "POST", "POST" };
    struct trial *t = &h.trial[which];
    bool streams = which == 2;

    memset(t, 0, sizeof *t);
    arena_init(&t->arena, 512 * 1024);
    buf_init(&t->answer, WINDOW_BYTES);
    buf_init(&t->body.bytes, 1 << 20);
    exchange_init(&t->x, &(struct exchange_options){ .host = &h.host,
                                                     .user = &user,
                                                     .body = &t->body,
                                                     .answer_body = &t->answer,
                                                     .arena = &t->arena });
    t->body.kept = true;
    t->body.ended = !streams;
    if (which > 0 && buf_add_str(&t->body.bytes, "{}") != 0)
        abort();
    const struct exchange_request request = {
        .config = h.config,
        .method = methods[which],
        .prefix = "/v0",
        .path = "/it",
        .head = { .host = h.config->upstream.authority,
                  .authorization = "Authorization: Bearer fuzz",
                  .body_bytes = streams      ? -1
                                : which == 0 ? 0
                                             : 2 },
        .resendable = which == 0,
    };
    t->running = exchange_start(&t->x, &request) == FAIL_NONE;
}

static void end(struct trial *t)
{
    exchange_cancel(&t->x);
    require(t->ends <= 1);
    require(t->sendings <= (h.refused || t->x.request.resendable ? 2U : 1U));
    exchange_done(&t->x);
    buf_done(&t->answer);
    buf_done(&t->body.bytes);
    arena_done(&t->arena);
}

static void act(uint8_t how)
{
    struct trial *t = &h.trial[how % EXCHANGES];

    switch (how / EXCHANGES % 6) {
    case 0:
        buf_clear(&t->answer);
        exchange_go_on(&t->x);
        break;
    case 1:
        exchange_cancel(&t->x);
        break;
    case 2:
        if (!t->body.ended && buf_add_str(&t->body.bytes, "more of it") == 0)
            exchange_go_on(&t->x);
        break;
    case 3:
        t->body.ended = true;
        exchange_go_on(&t->x);
        break;
    case 4:
        t->body.discard = true;
        exchange_go_on(&t->x);
        break;
    default:
        h.now_us += (int64_t)how * 100000;
        break;
    }
}

static void play(const uint8_t *data, size_t size)
{
    for (size_t at = 0, frames = 0; at + 2 <= size && frames < FRAMES_MAX; frames++) {
        uint8_t first = data[at++], n = data[at++];

        if (n == 0xFF) {
            h.refused = true; /* by what bytes, nobody knows here */
            say(data + at, size - at);
            at = size;
        } else if ((first & 15) == 10) {
            act(n);
        } else {
            n = (uint8_t)base_min(n, (int64_t)(size - at));
            h.refused |= (first & 15) == 3 || (first & 15) == 7;
            say_frame(first, data + at, n);
            at += n;
        }
        settle();
    }
}

static void start(void)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof addr;
    struct config_report report;
    char text[256];

    (void)signal(SIGPIPE, SIG_IGN);
    h.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool ok = h.listener >= 0 && bind(h.listener, (struct sockaddr *)&addr, sizeof addr) == 0 &&
              listen(h.listener, 64) == 0 &&
              getsockname(h.listener, (struct sockaddr *)&addr, &len) == 0;
    require(ok);
    int n = snprintf(text, sizeof text,
                     "[upstream]\nbase_url=http://127.0.0.1:%d/v0\nproxy=none\nhttp_version=2\n"
                     "[token]\nclient_id=fuzz\nclient_secret=secret\n",
                     ntohs(addr.sin_port));
    config_report_init(&report);
    h.config = config_load_text("fuzz", text, (size_t)n, &report);
    config_report_done(&report);
    require(h.config != NULL);
    int err = curl_host_global_init();
    if (err == 0)
        err = loop_init(&h.loop);
    require(err == 0);
    h.loop.on_turn = on_turn;
    h.started = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!h.started)
        start();
    int err = curl_host_init(&h.curl, &h.loop, 8);
    require(err == 0);
    conn_pool_init(&h.pool, &h.curl, 8, &h1_client_user);
    h2_host_init(&h.h2_host, &h.pool);
    h.host = (struct exchange_host){ .loop = &h.loop,
                                     .curl = &h.curl,
                                     .conn_pool = &h.pool,
                                     .h1 = &h1_client,
                                     .h2 = &h2_client,
                                     .h2_host = &h.h2_host };
    h.refused = false;
    h.conns = 0;
    for (size_t i = 0; i < EXCHANGES; i++)
        begin(i);
    for (int i = 0; i < 20 && h.trial[EXCHANGES - 1].sendings == 0; i++)
        turn();
    say("\0\0\0\4\0\0\0\0\0\0\0\0\4\1\0\0\0\0", 18); /* SETTINGS, and ours are known */
    settle();
    play(data, size);
    settle();
    for (size_t i = 0; i < EXCHANGES; i++)
        end(&h.trial[i]);
    settle();
    h2_host_done(&h.h2_host);
    conn_pool_done(&h.pool);
    require(h.pool.count == 0);
    curl_host_done(&h.curl);
    for (size_t i = 0; i < h.conns; i++)
        (void)close(h.fd[i]);
    return 0;
}

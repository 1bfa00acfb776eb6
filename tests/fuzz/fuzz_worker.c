/* Any bytes from callers and from an upstream, through the real worker: its loop,
 * libmicrohttpd, request_check, relay and both HTTP clients, with a clock that only moves when
 * everything is quiet.
 *
 *     callers (socket pairs) --> worker --> upstream (loopback), both played here
 *
 * An input is a script. Bytes go to where the last command said (to a caller at first); 0xFF
 * and a letter is a command, and all that can happen happens before the next one:
 *
 *     C U   bytes of the newest caller; of the newest upstream connection
 *     O     another caller (four at most)
 *     A B   32 KiB more of the caller, of the upstream
 *     E X   the newest caller sends no more; is gone
 *     D R   the newest upstream connection is ended; is reset
 *     P Q   callers stop reading what comes; read again
 *     T L   the next deadline comes; a minute passes
 *     N G F a new token; none, and one is on its way; none, and none will come
 *     K     refusals of the present token are to be passed on
 *     Z     other settings
 *     S V   answers say "Connection: close"; whoever waits is told that there will be no answer
 *     H     settings with HTTP/2 to the upstream, which begins with SETTINGS then; with Z: no more
 *     I     what follows is one frame of the newest upstream connection: a byte as in fuzz_h2.c,
 *           and the payload
 *     W M J to the newest request of HTTP/2: a whole answer, a refusal, half an answer
 *
 * Whatever the script: nothing is left when its callers have gone, the upstream saw whole
 * requests of the proxy's making only, and no more unsafe ones than callers made (and than were
 * refused by HTTP/2's means), and no caller saw the token. The worker lives on from input to input, but for curl's part. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "proxy/relay.h"
#include "seen_h2.h"
#include "server/worker.h"

#define CLIENTS_MAX 4
#define UPSTREAMS_MAX 16
#define BULK_BYTES 32768
/* More than a script can bring: STEPS_MAX times BULK_BYTES. */
#define PEER_BYTES_MAX (8 << 20)
#define STEPS_MAX 200
/* Turns of the loop in one step, and with nothing happening before a step is over. */
#define TURNS_MAX 400
#define TURNS_QUIET 3
#define CONFIGS 3
#define CONFIG_H2 2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One end that is played here. */
struct peer {
    int fd; /* -1: none */
    bool ending;
    struct buf out, in;
};

static struct {
    bool started;
    int listener;
    struct config *config[CONFIGS];
    struct worker_shared shared;
    struct worker worker;
    bool (*worker_turn)(void *arg);
    struct loop_timer kick;
    int64_t now_us;
    uint64_t generation;
    struct token *token; /* the last one given; a reference */
    struct peer caller[CLIENTS_MAX], upstream[UPSTREAMS_MAX];
    size_t callers, upstreams;
    struct buf early; /* for an upstream connection that is not there yet */
    bool early_end, reading;
    bool may_refuse; /* what was said over HTTP/2 may mean that a request was not looked at */
    unsigned config_now, turns, quiet;
} h = { .now_us = 1000000000, .reading = true };

/* All of the program's time. */
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
    return 1700000000 + h.now_us / 1000000;
}

int64_t clock_wall_ms(void)
{
    return clock_wall_s() * 1000;
}

int64_t clock_wall_ns(void)
{
    return clock_wall_ms() * 1000000;
}

static void ignore_want(void *arg)
{
    (void)arg;
}

static void ignore_generation(void *arg, uint64_t generation)
{
    (void)arg;
    (void)generation;
}

/* --- the peers ------------------------------------------------------------------------- */

static void peer_open(struct peer *p, int fd)
{
    *p = (struct peer){ .fd = fd };
    buf_init(&p->out, PEER_BYTES_MAX);
    buf_init(&p->in, PEER_BYTES_MAX);
}

static void peer_close(struct peer *p, bool reset)
{
    const struct linger hard = { .l_onoff = 1, .l_linger = 0 };

    if (p->fd < 0)
        return;
    if (reset)
        (void)setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    (void)close(p->fd);
    p->fd = -1;
}

/* More than a peer may say is left out. */
static void say(struct buf *out, const void *bytes, size_t n)
{
    if (buf_add(out, bytes, n) != 0)
        return;
}

/* Whether anything moved. */
static bool peer_pump(struct peer *p, bool reads)
{
    char bytes[16384];
    ssize_t n;
    bool moved = false;

    if (p->fd < 0)
        return false;
    while (buf_unread(&p->out) > 0 &&
           (n = send(p->fd, buf_front(&p->out), buf_unread(&p->out), MSG_NOSIGNAL)) > 0) {
        buf_consume(&p->out, (size_t)n);
        moved = true;
    }
    if (p->ending && buf_unread(&p->out) == 0) {
        (void)shutdown(p->fd, SHUT_WR);
        p->ending = false;
        moved = true;
    }
    while (reads && (n = recv(p->fd, bytes, sizeof bytes, 0)) > 0) {
        int err = buf_add(&p->in, bytes, (size_t)n);
        require(err == 0);
        moved = true;
    }
    return moved;
}

static struct peer *newest(struct peer *peers, size_t count)
{
    return count > 0 && peers[count - 1].fd >= 0 ? &peers[count - 1] : NULL;
}

static void caller_open(void)
{
    const struct sockaddr_un nameless = { .sun_family = AF_UNIX };
    int pair[2];

    if (h.callers == CLIENTS_MAX)
        return;
    int rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair);
    require(rc == 0);
    peer_open(&h.caller[h.callers++], pair[0]);
    rc = handover_give(&h.worker.downstream.handovers, pair[1],
                       (struct handover){ .kind = HANDOVER_UNIX },
                       (const struct sockaddr *)&nameless, sizeof(sa_family_t));
    require(rc == 0);
}

static bool upstream_accept(void)
{
    int fd = accept4(h.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return false;
    require(h.upstreams < UPSTREAMS_MAX);
    struct peer *p = &h.upstream[h.upstreams++];
    peer_open(p, fd);
    if (h.config_now == CONFIG_H2)
        say(&p->out, "\0\0\0\4\0\0\0\0", 9); /* SETTINGS, empty */
    int err = buf_add(&p->out, buf_front(&h.early), buf_unread(&h.early));
    require(err == 0);
    p->ending = h.early_end;
    h.early_end = false;
    buf_clear(&h.early);
    return true;
}

/* --- turns ----------------------------------------------------------------------------- */

/* The next deadline, which comes by itself when it is nearer than `within_ms`. */
static bool pass_time(int64_t within_ms)
{
    struct loop *l = &h.worker.ctx.loop;

    if (l->timers == 0 || l->heap[1]->due_ms > clock_ms() + within_ms)
        return false;
    h.now_us = base_max(h.now_us, l->heap[1]->due_ms * 1000);
    return true;
}

static bool on_turn(void *arg)
{
    bool busy = h.worker_turn(arg) || h.worker.ctx.loop.batch_len > 0;

    h.now_us += 20;
    busy |= h.upstreams < UPSTREAMS_MAX && upstream_accept();
    for (size_t i = 0; i < h.callers; i++)
        busy |= peer_pump(&h.caller[i], h.reading);
    for (size_t i = 0; i < h.upstreams; i++)
        busy |= peer_pump(&h.upstream[i], true);
    busy |= pass_time(2);
    h.quiet = busy ? 0 : h.quiet + 1;
    if (h.quiet >= TURNS_QUIET || ++h.turns >= TURNS_MAX)
        loop_stop(&h.worker.ctx.loop);
    return true; /* the loop never sleeps */
}

static void on_kick(struct loop_timer *t)
{
    (void)t;
}

/* Lets everything happen that can. */
static void settle(void)
{
    h.turns = h.quiet = 0;
    h.worker.ctx.loop.stopping = false;
    loop_timer_set(&h.worker.ctx.loop, &h.kick, clock_ms());
    loop_run(&h.worker.ctx.loop);
}

/* --- the script ------------------------------------------------------------------------ */

static void give_token(void)
{
    char json[128];
    const char *why = NULL;
    int n = snprintf(json, sizeof json,
                     "{\"access_token\":\"fuzz-%llu\",\"token_type\":\"Bearer\","
                     "\"expires_in\":3600}",
                     (unsigned long long)++h.generation);
    struct token_view view = {
        .token = token_parse(
            json, (size_t)n,
            &(struct token_rules){ .now_ms = clock_ms(), .generation = h.generation }, &why),
        .other = h.token,
        .other_good = h.generation % 3 != 0,
        .doubted = { h.generation - 1 },
    };

    require(view.token != NULL);
    worker_send_view(&h.worker, &view);
    token_unref(h.token);
    h.token = view.token;
}

/* Refusals of the token are passed on for a second. */
static void pass_refusals(void)
{
    struct token_view view = { .token = h.token,
                               .failing = h.token == NULL,
                               .passthrough_generation = h.generation,
                               .passthrough_until_ms = clock_ms() + 1000 };

    worker_send_view(&h.worker, &view);
}

static void give_none(bool failing)
{
    struct token_view view = { .failing = failing,
                               .failure = failure_make(FAIL_TOKEN_TIMEOUT, "No token.") };

    worker_send_view(&h.worker, &view);
}

static void upstream_says(const void *bytes, size_t n)
{
    h.may_refuse |= h.config_now == CONFIG_H2; /* by what bytes, nobody knows here */
    struct peer *p = newest(h.upstream, h.upstreams);

    say(p == NULL ? &h.early : &p->out, bytes, n);
}

static void frame(uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t n)
{
    struct peer *p = newest(h.upstream, h.upstreams);
    const uint8_t head[9] = {
        (uint8_t)(n >> 16),      (uint8_t)(n >> 8),      (uint8_t)n,     type, flags, 0,
        (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream
    };

    h.may_refuse |= type == NGHTTP2_RST_STREAM || type == NGHTTP2_GOAWAY;
    if (p == NULL)
        return;
    say(&p->out, head, sizeof head);
    say(&p->out, payload, n);
}

static void frame_of(const uint8_t *bytes, size_t n)
{
    if (n == 0)
        return;
    uint32_t stream = (bytes[0] >> 4 & 3) == 0 ? 0 : (uint32_t)(bytes[0] >> 4 & 3) * 2 - 1;

    frame(bytes[0] & 15, (uint8_t)((bytes[0] >> 6 & 1) | (bytes[0] >> 7) * 4), stream,
          bytes + 1, n - 1);
}

static void answer_h2(uint8_t letter)
{
    struct peer *p = newest(h.upstream, h.upstreams);
    struct seen seen = { .requests = 0 };
    uint32_t stream = 0;

    if (p != NULL && seen_h2_begins(buf_front(&p->in), buf_unread(&p->in)))
        stream = seen_h2_connection(&seen, buf_front(&p->in), buf_unread(&p->in));
    if (stream == 0)
        return;
    if (letter == 'M') {
        frame(NGHTTP2_RST_STREAM, 0, stream, "\0\0\0\7", 4); /* REFUSED_STREAM */
        return;
    }
    frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, stream, "\x88", 1); /* :status 200 */
    frame(NGHTTP2_DATA, letter == 'W' ? NGHTTP2_FLAG_END_STREAM : 0, stream, "body", 4);
}

static void caller_says(const void *bytes, size_t n)
{
    struct peer *p = newest(h.caller, h.callers);

    if (p == NULL && n > 0) {
        caller_open();
        p = newest(h.caller, h.callers);
    }
    if (p != NULL)
        say(&p->out, bytes, n);
}

static void command_peer(uint8_t letter)
{
    static const char bulk[BULK_BYTES];
    struct peer *c = newest(h.caller, h.callers), *u = newest(h.upstream, h.upstreams);

    if (letter == 'O')
        caller_open();
    else if (letter == 'A')
        caller_says(bulk, sizeof bulk);
    else if (letter == 'B')
        upstream_says(bulk, sizeof bulk);
    else if (letter == 'E' && c != NULL)
        c->ending = true;
    else if (letter == 'X' && c != NULL)
        peer_close(c, false);
    else if (letter == 'D' && u != NULL)
        u->ending = true;
    else if (letter == 'D')
        h.early_end = true;
    else if (letter == 'R' && u != NULL)
        peer_close(u, true);
    else if (letter == 'P' || letter == 'Q')
        h.reading = letter == 'Q';
}

static void use_config(unsigned which)
{
    h.config_now = which;
    worker_send_config(&h.worker, h.config[which]);
}

static void command(uint8_t letter)
{
    struct worker *w = &h.worker;

    switch (letter) {
    case 'T':
        (void)pass_time(INT64_MAX / 2);
        break;
    case 'L':
        for (int i = 0; i < 30; i++) {
            h.now_us += 2000000;
            settle();
        }
        break;
    case 'N':
        give_token();
        break;
    case 'G':
    case 'F':
        give_none(letter == 'F');
        break;
    case 'K':
        pass_refusals();
        break;
    case 'Z':
        use_config(h.config_now == 0 ? 1 : 0);
        break;
    case 'H':
        use_config(h.config_now == CONFIG_H2 ? 0 : CONFIG_H2);
        break;
    case 'W':
    case 'M':
    case 'J':
        answer_h2(letter);
        break;
    case 'S':
        worker_send_drain(w);
        break;
    case 'V':
        worker_send_give_up(w);
        break;
    default:
        command_peer(letter);
        break;
    }
}

static void play(const uint8_t *data, size_t size)
{
    uint8_t to = 'C';

    for (size_t at = 0, steps = 0; at < size && steps < STEPS_MAX; steps++) {
        const uint8_t *mark = memchr(data + at, 0xFF, size - at);
        size_t n = mark == NULL ? size - at : (size_t)(mark - (data + at));

        if (to == 'U')
            upstream_says(data + at, n);
        else if (to == 'I')
            frame_of(data + at, n);
        else
            caller_says(data + at, n);
        if (n > 0)
            settle();
        at += n + 1;
        if (at < size) {
            uint8_t letter = data[at++];

            if (letter == 'C' || letter == 'U' || letter == 'I')
                to = letter;
            else
                command(letter);
            settle();
        }
    }
}

/* --- before and after ------------------------------------------------------------------ */

static void start(void)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof addr;
    struct config_report report;

    (void)signal(SIGPIPE, SIG_IGN);
    log_setup(LOG_ERROR, LOG_LOGFMT);
    h.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool ok = h.listener >= 0 && bind(h.listener, (struct sockaddr *)&addr, sizeof addr) == 0 &&
              listen(h.listener, 64) == 0 &&
              getsockname(h.listener, (struct sockaddr *)&addr, &len) == 0;
    require(ok);
    for (size_t i = 0; i < CONFIGS; i++) {
        char text[1024];
        int n = snprintf(text, sizeof text,
                         "[listen]\nmax_connections=3\nmax_header_size=4k\nmax_headers=20\n"
                         "max_body_size=%s\nallowed_origins=https://app.example\n"
                         "[upstream]\nbase_url=http://127.0.0.1:%d%s\nproxy=none\nreplay=%s\n"
                         "replay_limit=1k\nmax_in_flight=2\ntoken_refused_statuses=401,403\n"
                         "http_version=%s\n"
                         "[token]\nclient_id=fuzz\nclient_secret=secret\n[log]\nlevel=error\n",
                         i == 0 ? "0" : "40k", ntohs(addr.sin_port), i == 0 ? "/v0" : "",
                         i == 0 ? "all" : "safe", i == CONFIG_H2 ? "2" : "1.1");

        config_report_init(&report);
        h.config[i] = config_load_text("fuzz", text, (size_t)n, &report);
        if (h.config[i] == NULL)
            (void)fputs(report.message[0].text, stderr);
        require(h.config[i] != NULL);
        config_report_done(&report);
    }
    h.shared.on_want = h.shared.on_drained = ignore_want;
    h.shared.on_refused = h.shared.on_accepted = ignore_generation;
    int err =
        conn_limit_init(&h.shared.upstream_connections, h.config[0]->upstream.max_connections);
    if (err == 0)
        err = curl_host_global_init();
    if (err == 0)
        err = worker_init(&h.worker, 0, &h.shared, h.config[0], NULL, 0);
    require(err == 0);
    h.worker_turn = h.worker.ctx.loop.on_turn;
    h.worker.ctx.loop.on_turn = on_turn;
    h.kick.on_due = on_kick;
    buf_init(&h.early, PEER_BYTES_MAX);
    h.started = true;
}

/* Everybody leaves; all requests and connections must be over soon. */
static void leave(void)
{
    struct worker *w = &h.worker;

    for (size_t i = 0; i < h.callers; i++)
        peer_close(&h.caller[i], false);
    for (size_t i = 0; i < h.upstreams; i++)
        peer_close(&h.upstream[i], true);
    for (int i = 0; w->ctx.running_count > 0 || !LIST_EMPTY(&w->downstream.conns); i++) {
        require(i < 100);
        settle();
        (void)pass_time(INT64_MAX / 2);
        for (size_t k = 0; k < h.upstreams; k++)
            peer_close(&h.upstream[k], true);
    }
    require(TAILQ_EMPTY(&w->ctx.parked) && w->downstream.refused_count == 0);
    require(h.shared.in_flight == 0 && h.shared.connections == 0);
}

static void judge(const uint8_t *data, size_t size, uint64_t started, uint64_t replays,
                  uint64_t sent)
{
    struct seen seen = { .requests = 0 };
    bool known = memmem(data, size, "fuzz-", 5) != NULL;

    for (size_t i = 0; i < h.upstreams; i++) {
        const char *in = buf_front(&h.upstream[i].in);
        size_t n = buf_unread(&h.upstream[i].in);

        if (seen_h2_begins(in, n))
            (void)seen_h2_connection(&seen, in, n);
        else
            seen_connection(&seen, in, n);
        buf_done(&h.upstream[i].in);
        buf_done(&h.upstream[i].out);
    }
    require(seen.requests <= sent);
    require(seen.unsafe <= (started + replays) * (h.may_refuse ? 2 : 1));
    for (size_t i = 0; i < h.callers; i++) {
        const char *in = buf_front(&h.caller[i].in);
        size_t n = buf_unread(&h.caller[i].in);

        require(n < 7 || memcmp(in, "HTTP/1.", 7) == 0);
        require(known || memmem(in, n, "fuzz-", 5) == NULL);
        buf_done(&h.caller[i].in);
        buf_done(&h.caller[i].out);
    }
}

/* As before the first input, so that an input means the same wherever it stands: curl's part is
 * made anew, since it would use a connection again that was reset. */
static void restore(void)
{
    struct worker *w = &h.worker;

    relay_free_pool(&w->ctx);
    h2_host_forget(&w->ctx.h2);
    conn_pool_forget(&w->ctx.conn_pool);
    curl_host_done(&w->ctx.multi);
    int err = curl_host_init(&w->ctx.multi, &w->ctx.loop,
                             (long)h.config[0]->upstream.max_connections);
    require(err == 0);
    h.callers = h.upstreams = 0;
    h.early_end = h.may_refuse = false;
    h.reading = true;
    buf_clear(&h.early);
    if (h.config_now != 0)
        use_config(0);
    w->ctx.draining = w->ctx.giving_up = false;
    w->ctx.passthrough_generation = 0;
    give_token();
    settle();
}

static uint64_t counted(enum metrics_counter which)
{
    return atomic_load(&h.worker.ctx.metrics.counter[which]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!h.started)
        start();
    restore();
    uint64_t started = counted(M_requests_started), replays = counted(M_replays),
             sent = counted(M_upstream_requests);

    play(data, size);
    leave();
    judge(data, size, counted(M_requests_started) - started, counted(M_replays) - replays,
          counted(M_upstream_requests) - sent);
    return 0;
}

/* A model of money: thousands of unsafe requests against an upstream whose connections die at
 * random, before, while and after a request is read, over HTTP/1.1 and HTTP/2. Each request has
 * a number; the upstream counts how often it began to read it, refused it unread, and carried
 * it out. Whatever happened: carried out at most once, and the caller is told the truth.
 *
 *     8 callers at a time -> proxy -> an upstream that draws each request's fate
 *
 * And a table of those that are carried out and answered before their body is whole, by what
 * the caller does then: it stalls, goes on, breaks a chunk, or leaves. Whatever it does,
 * what it is told is the upstream's answer, or that the outcome is unknown.
 *
 * MONEY_SEED=n draws other fates, MONEY_REQUESTS=n as many as that for each version (5,000;
 * 2,000 where a sanitizer slows them down). */
#include <stdatomic.h>
#include <unistd.h>

#include "harness.h"
#include "later.h"

#define ROUND 8
#define MOST 200000
#define MUCH 400000

/* By the request's number; written by the upstream's threads. */
static _Atomic unsigned char seen[MOST], refused[MOST], done[MOST];
static _Atomic int drawn[MOST];
static uint32_t seed;

struct dice {
    uint64_t state;
};

static uint32_t dice_roll(struct dice *d, uint32_t below)
{
    d->state = d->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(d->state >> 33) % below;
}

static struct dice dice_for(uint64_t number)
{
    struct dice d = { .state = ((uint64_t)seed << 32) ^ (number * 0x9e3779b97f4a7c15u) };
    (void)dice_roll(&d, 2);
    return d;
}

static long number_after(const char *text, const char *mark)
{
    const char *at = strstr(text, mark);
    if (at == NULL)
        return -1;
    long n = strtol(at + strlen(mark), NULL, 10);
    return n >= 0 && n < MOST ? n : -1;
}

/* What becomes of a request over HTTP/1.1, with its share of 100. */
enum fate {
    FATE_ANSWER,
    FATE_ANSWER_LAST,    /* with Connection: close */
    FATE_ANSWER_AND_DIE, /* as if the connection would stay, and then it is closed */
    FATE_CLOSE,          /* carried out, no answer */
    FATE_RESET,
    FATE_INTERIM,   /* carried out, 103, no answer */
    FATE_HALF_HEAD, /* carried out, an answer cut in its head */
    FATE_HALF_BODY, /* ... in its body, too long to have been held back till the cut */
    /* never carried out: */
    FATE_IDLE_DEATH, /* the connection is closed while nothing runs on it */
    FATE_CUT_HEAD,   /* dies after some bytes of the head */
    FATE_CUT_BODY,   /* ... of the body */
    FATE_EARLY,      /* 409 before the body is read */
    FATE_401,
};
static const struct {
    enum fate fate;
    uint32_t share;
} fates[] = {
    { FATE_ANSWER, 52 },   { FATE_ANSWER_LAST, 4 }, { FATE_ANSWER_AND_DIE, 8 },
    { FATE_CLOSE, 5 },     { FATE_RESET, 4 },       { FATE_INTERIM, 2 },
    { FATE_HALF_HEAD, 3 }, { FATE_HALF_BODY, 3 },   { FATE_IDLE_DEATH, 7 },
    { FATE_CUT_HEAD, 5 },  { FATE_CUT_BODY, 4 },    { FATE_EARLY, 2 },
    { FATE_401, 1 },
};

static enum fate draw(struct dice *d)
{
    uint32_t at = dice_roll(d, 100);
    for (size_t i = 0; i < sizeof fates / sizeof *fates; i++) {
        if (at < fates[i].share)
            return fates[i].fate;
        at -= fates[i].share;
    }
    return FATE_ANSWER;
}

/* Reads up to n bytes, then ends the connection one way or the other. */
static void cut(struct peer_conn *c, struct dice *d, size_t n)
{
    char got[512];
    long have = peer_read(c, got, n < sizeof got ? n : sizeof got - 1);
    if (have > 0 && c->requests == 0) {
        got[have] = '\0';
        long id = number_after(got, "/pay/");
        if (id >= 0 && strstr(got, " HTTP/1.1") != NULL)
            seen[id]++;
    }
    if (dice_roll(d, 2) == 0)
        peer_reset(c);
}

/* An answer of MUCH bytes, of which not all come. */
static bool half_body(struct peer_conn *c, const char *text)
{
    struct bytes out = { 0 };
    bytes_addf(&out, "HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%s", MUCH, text);
    bytes_fill(&out, ' ', MUCH / 2);
    (void)peer_write(c, out.data, out.len);
    bytes_free(&out);
    return false;
}

/* After the request was carried out. False: the connection is over. */
static bool answer(struct peer_conn *c, enum fate fate, long id)
{
    char body[64], head[160];
    int n = snprintf(body, sizeof body, "{\"paid\":%ld}", id);
    bool last = fate == FATE_ANSWER_LAST;
    (void)snprintf(head, sizeof head, "HTTP/1.1 201 Created\r\nContent-Length: %d\r\n%s\r\n", n,
                   last ? "Connection: close\r\n" : "");
    switch (fate) {
    case FATE_ANSWER:
    case FATE_ANSWER_LAST:
    case FATE_ANSWER_AND_DIE:
        return peer_puts(c, head) && peer_puts(c, body) && fate == FATE_ANSWER;
    case FATE_INTERIM:
        (void)peer_puts(c, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
        return false;
    case FATE_HALF_HEAD:
        head[strlen(head) - 3] = '\0';
        (void)peer_puts(c, head);
        return false;
    case FATE_HALF_BODY:
        return half_body(c, body);
    case FATE_RESET:
        peer_reset(c);
        return false;
    default:
        return false;
    }
}

static void serve(struct peer_conn *c, void *arg)
{
    struct dice d = dice_for(c->number);
    bool goes_on = true;

    (void)arg;
    while (goes_on) {
        enum fate fate = draw(&d);
        if (fate == FATE_IDLE_DEATH && c->requests > 0)
            return;
        if (fate == FATE_CUT_HEAD) {
            cut(c, &d, 1 + dice_roll(&d, 200));
            return;
        }
        struct peer_request *r = peer_read_head(c);
        long id = r == NULL ? -1 : number_after(r->target, "/pay/");
        if (id < 0)
            return;
        seen[id]++;
        drawn[id] = (int)fate;
        if (fate == FATE_CUT_BODY) {
            if (r->chunked || r->content_length > 0)
                cut(c, &d, 1 + dice_roll(&d, 500));
            return;
        }
        if (fate == FATE_EARLY) {
            (void)peer_puts(c, "HTTP/1.1 409 Conflict\r\nContent-Length: 5\r\n"
                               "Connection: close\r\n\r\nearly");
            peer_read_eof(c);
            return;
        }
        if (!peer_read_body(c, r))
            return;
        if (fate == FATE_401) {
            refused[id]++;
            goes_on = peer_answer(c, 401, NULL, "refused");
            continue;
        }
        done[id]++;
        goes_on = answer(c, fate, id);
    }
}

/* HTTP/2: the number is in the body, since header blocks are not decoded here. */
#define STREAMS 64
struct stream {
    uint32_t id;
    struct bytes body;
};

static struct stream *stream_of(struct stream *streams, uint32_t id)
{
    struct stream *free_one = NULL;
    for (size_t i = 0; i < STREAMS; i++) {
        if (streams[i].id == id)
            return &streams[i];
        if (streams[i].id == 0 && free_one == NULL)
            free_one = &streams[i];
    }
    if (free_one != NULL) {
        free_one->id = id;
        bytes_clear(&free_one->body);
    }
    return free_one;
}

/* As half_body: more than is held back, less than the caller's window. */
static bool half_body_h2(struct peer_conn *c, uint32_t stream, const char *text)
{
    struct bytes out = { 0 };
    bytes_add_str(&out, text);
    bytes_fill(&out, ' ', 16000);
    bool ok = h2_write_head(c, stream, 200, false);
    for (int i = 0; ok && i < 3; i++)
        ok = h2_write_frame(c, H2_DATA, 0, stream, out.data, out.len);
    bytes_free(&out);
    return false;
}

/* A whole request and what becomes of it. False: the connection is over. */
static bool decide(struct peer_conn *c, struct dice *d, uint32_t stream, long id)
{
    uint32_t fate = dice_roll(d, 100);
    char body[64];

    seen[id]++;
    drawn[id] = (int)fate;
    if (fate < 4) {
        refused[id]++;
        return h2_reset(c, stream, fate < 3 ? H2_REFUSED_STREAM : H2_HTTP_1_1_REQUIRED);
    }
    if (fate < 7) {
        refused[id]++;
        (void)h2_goaway(c, stream - 2, H2_NO_ERROR);
        return false;
    }
    done[id]++;
    (void)snprintf(body, sizeof body, "{\"paid\":%ld}", id);
    if (fate < 10)
        return h2_reset(c, stream, H2_CANCEL);
    if (fate < 13) {
        (void)h2_goaway(c, stream, H2_NO_ERROR);
        return false;
    }
    if (fate < 17)
        return false;
    if (fate < 20)
        return h2_write_head(c, stream, 200, false) && h2_reset(c, stream, H2_CANCEL);
    if (fate < 23) {
        return half_body_h2(c, stream, body);
    }
    bool answered = h2_answer(c, stream, 200, body);
    if (fate < 26) {
        (void)h2_goaway(c, stream, H2_NO_ERROR);
        return false;
    }
    return answered && fate >= 28;
}

static void serve_h2(struct peer_conn *c, void *arg)
{
    struct dice d = dice_for(c->number);
    struct stream streams[STREAMS] = { { 0 } };
    struct h2_frame f = { 0 };
    bool goes_on = h2_begin(c);

    (void)arg;
    while (goes_on && h2_read_frame(c, &f) && h2_housekeep(c, &f)) {
        if (f.type != H2_HEADERS && f.type != H2_DATA)
            continue;
        struct stream *s = stream_of(streams, f.stream);
        if (s == NULL)
            break;
        if (f.type == H2_HEADERS && dice_roll(&d, 100) < 2)
            break; /* dies before the body */
        if (f.type == H2_DATA)
            bytes_add(&s->body, f.payload.data, f.payload.len);
        if (!(f.flags & H2_END_STREAM))
            continue;
        long id = number_after(bytes_text(&s->body), "id=");
        if (id >= 0)
            goes_on = decide(c, &d, s->id, id);
        s->id = 0;
    }
    for (size_t i = 0; i < STREAMS; i++)
        bytes_free(&streams[i].body);
    bytes_free(&f.payload);
}

static void send_one(struct client *c, struct dice *d, long id, bool h2)
{
    static const char *const methods[] = { "POST", "PUT", "PATCH", "DELETE", "PAY" };
    struct bytes body = { 0 }, out = { 0 };
    uint32_t kind = dice_roll(d, 8), method = dice_roll(d, 5);

    if (h2 || kind > 1) {
        bytes_addf(&body, "id=%ld;", id);
        bytes_fill(&body, 'x', kind == 7 ? 100000 : dice_roll(d, 2000));
    }
    bytes_addf(&out, "%s /pay/%ld HTTP/1.1\r\nHost: localhost\r\n", methods[method], id);
    if (body.len > 0 && kind % 2 == 0)
        bytes_addf(&out, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n0\r\n\r\n", body.len,
                   bytes_text(&body));
    else if (body.len > 0 || kind == 0)
        bytes_addf(&out, "Content-Length: %zu\r\n\r\n%s", body.len, bytes_text(&body));
    else
        bytes_add_str(&out, "\r\n");
    /* An early answer may end the connection while the body still goes out. */
    (void)client_try_send(c, out.data, out.len, SOON_MS);
    bytes_free(&body);
    bytes_free(&out);
}

static size_t executed, unknown, told_undone, cut_short, refused_whole;

/* Is that answer the truth about that request? */
static void judge(const struct answer *a, long id)
{
    const char *body = bytes_text(&a->body);
    char right[64];

    if (done[id] > 1)
        fail_msg("seed %u: request %ld was carried out %d times", seed, id, done[id]);
    if (seen[id] > 1 + refused[id])
        fail_msg("seed %u: request %ld reached the upstream %d times", seed, id, seen[id]);
    executed += done[id];
    (void)snprintf(right, sizeof right, "{\"paid\":%ld}", id);
    switch (a->status) {
    case 200:
    case 201:
        cut_short += a->end == ANSWER_CUT;
        if (done[id] == 1 && a->end == ANSWER_WHOLE && strcmp(body, right) == 0)
            return;
        if (done[id] == 1 && a->end == ANSWER_CUT &&
            strncmp(body, right, a->body.len < strlen(right) ? a->body.len : strlen(right)) ==
                0)
            return;
        break;
    case 409:
        refused_whole++;
        if (done[id] == 0 && strcmp(body, "early") == 0)
            return;
        break;
    case 401:
        refused_whole++;
        if (done[id] == 0 && strcmp(body, "refused") == 0)
            return;
        break;
    case 502:
        if (strstr(body, "\"stage\":\"upstream\"") == NULL)
            break;
        if (strstr(body, "outcome unknown") != NULL) {
            unknown++;
            return;
        }
        told_undone++;
        if (done[id] == 0)
            return;
        break;
    default:
        break;
    }
    fail_msg("seed %u: request %ld, fate %d, carried out %d times, seen %d times, refused %d "
             "times, was "
             "answered (end %d) with %d %s",
             seed, id, drawn[id], done[id], seen[id], refused[id], (int)a->end, a->status,
             body);
}

static bool usable(const struct answer *a)
{
    return a->end == ANSWER_WHOLE && strcmp(answer_header(a, "Connection"), "close") != 0;
}

static size_t from_environment(const char *name, size_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : (size_t)strtoul(text, NULL, 10);
}

static void play(struct world *w, bool h2)
{
    size_t total = from_environment("MONEY_REQUESTS", sanitized() ? 2000 : 5000);
    struct client callers[ROUND];
    struct answer a = { 0 };
    struct dice d = dice_for(0);
    long id = 0;

    assert_true(total < MOST);
    for (size_t i = 0; i < MOST; i++)
        seen[i] = refused[i] = done[i] = 0;
    executed = unknown = told_undone = cut_short = refused_whole = 0;
    for (size_t i = 0; i < ROUND; i++)
        client_open(&callers[i], w->port);
    while ((size_t)id < total) {
        for (size_t i = 0; i < ROUND; i++)
            send_one(&callers[i], &d, id + (long)i, h2);
        for (size_t i = 0; i < ROUND; i++) {
            client_read(&callers[i], &a, false, SOON_MS);
            judge(&a, id + (long)i);
            if (!usable(&a)) {
                client_close(&callers[i]);
                client_open(&callers[i], w->port);
            }
        }
        id += ROUND;
    }
    for (size_t i = 0; i < ROUND; i++)
        client_close(&callers[i]);
    /* Whatever the proxy might still have sent again has been seen when it is gone. */
    proxy_stop(w->proxy);
    w->proxy = NULL;
    for (long i = 0; i < id; i++)
        if (done[i] > 1 || seen[i] > 1 + refused[i])
            fail_msg("seed %u: request %ld reached the upstream %d times in the end", seed, i,
                     seen[i]);
    print_message(
        "%ld unsafe requests over HTTP/%s, seed %u: carried out %zu, never one twice; "
        "told: unknown %zu, not done %zu, cut %zu, refused %zu\n",
        id, h2 ? "2" : "1.1", seed, executed, unknown, told_undone, cut_short, refused_whole);
    /* The dice must have reached every kind of end. How often is a matter of load too: a death
     * over HTTP/2 takes along whatever else runs on the connection, a cut answer for one. */
    assert_true(executed > total / 4 && unknown > total / 50 && (h2 || cut_short > 0));
    answer_free(&a);
}

static void
over_http_1_1_thousands_of_payments_are_made_at_most_once_and_told_truly(void **state)
{
    (void)state;
    WORLD(w);
    world_start(&w, &(struct world_options){ .serve = serve, .settings = "log.access = no\n" });
    play(&w, false);
}

static void over_http_2_thousands_of_payments_are_made_at_most_once_and_told_truly(void **state)
{
    (void)state;
    WORLD(w);
    world_start(&w, &(struct world_options){
                        .serve = serve_h2,
                        .cert = CERT_VALID,
                        .h2 = true,
                        .settings = "upstream.http_version = 2\nlog.access = no\n" });
    play(&w, true);
}

/* --- answered before the body is whole ---------------------------------------------------- */

enum inbound { INBOUND_TCP, INBOUND_TLS, INBOUND_UNIX, INBOUND_COUNT };
enum deed { DEED_STALL, DEED_GO_ON, DEED_BREAK, DEED_LEAVE, DEED_COUNT };
enum upstream_then { THEN_READS_ON, THEN_STOPS, THEN_CLOSES, THEN_COUNT };

static const char *const deed_name[] = { "stalls", "goes on", "breaks a chunk", "leaves" };

/* Where upstreams that stop reading stay. */
static struct gate never;

/* One request. The target tells what the upstream does: /early/ID?THEN. Whether another one may
 * follow: one that was read whole leaves the connection usable. */
static bool serve_early_one(struct peer_conn *c)
{
    struct peer_request *r = peer_read_head(c);
    long id = r == NULL ? -1 : number_after(r->target, "/early/");
    char body[64], head[160];

    if (id < 0)
        return false;
    seen[id]++;
    done[id]++;
    int n = snprintf(body, sizeof body, "{\"paid\":%ld}", id);
    (void)snprintf(head, sizeof head, "HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%s", n,
                   body);
    (void)peer_puts(c, head);
    long then = number_after(r->target, "?");
    if (then == THEN_STOPS)
        (void)gate_pass(&never, c);
    bool whole = then == THEN_READS_ON && peer_read_body(c, r);
    bytes_free(&r->body);
    return whole;
}

static void serve_early(struct peer_conn *c, void *arg)
{
    (void)arg;
    while (serve_early_one(c))
        ;
}

/* The same over HTTP/2, where only reading on is played: the number is in the body. */
static void serve_early_h2(struct peer_conn *c, void *arg)
{
    struct h2_frame f = { 0 };
    bool goes_on = h2_begin(c);

    (void)arg;
    while (goes_on && h2_read_frame(c, &f) && h2_housekeep(c, &f)) {
        long id = f.type == H2_DATA ? number_after(bytes_text(&f.payload), "early=") : -1;
        char body[64];
        if (id < 0)
            continue;
        seen[id]++;
        done[id]++;
        (void)snprintf(body, sizeof body, "{\"paid\":%ld}", id);
        goes_on = h2_answer(c, f.stream, 200, body);
    }
    bytes_free(&f.payload);
}

struct early {
    enum inbound inbound;
    enum deed deed;
    enum upstream_then then;
    bool chunked;
    const char *path; /* of the unix socket */
};

#define EARLY_BYTES (20 * 1024 * 1024)
/* listen.body_timeout and upstream.idle_timeout */
#define DEADLINE_MS 60000
static char filler[65536];

/* The rest of a large body, for as long as somebody takes it; its end too when it all went. */
static void go_on(struct client *c, const struct early *e)
{
    size_t left = EARLY_BYTES;
    int ms = e->then == THEN_READS_ON ? SOON_MS : 300;
    while (left > 0) {
        size_t n = left < sizeof filler ? left : sizeof filler;
        if (e->chunked && client_try_send(c, "10000\r\n", 7, ms) < 7)
            return;
        if (client_try_send(c, filler, n, ms) < n)
            return;
        if (e->chunked && client_try_send(c, "\r\n", 2, ms) < 2)
            return;
        left -= n;
    }
    if (e->chunked)
        (void)client_try_send(c, "0\r\n\r\n", 5, ms);
}

static void judge_early(const struct answer *a, const struct early *e, long id)
{
    const char *body = bytes_text(&a->body);
    char right[64];

    (void)snprintf(right, sizeof right, "{\"paid\":%ld}", id);
    if (done[id] > 1 || seen[id] > 1)
        fail_msg("request %ld was carried out %d times", id, done[id]);
    bool given = a->status == 201 && a->end == ANSWER_WHOLE && strcmp(body, right) == 0 &&
                 strcmp(answer_header(a, "Connection"), "close") == 0;
    /* Over HTTP/2 libcurl keeps the end of an answer without a length to itself until the
     * request has ended too: what it has told is given, and cut. */
    if (a->status == 200)
        given = (a->end == ANSWER_WHOLE || a->end == ANSWER_CUT) && strcmp(body, right) == 0;
    /* A connection that was reset may have taken the answer with it. */
    bool untold = e->then == THEN_CLOSES && a->status == 502 &&
                  strstr(body, "outcome unknown") != NULL &&
                  strstr(body, "\"retryable\":false") != NULL;
    if (!given && !untold)
        fail_msg("by way %d, body %s, upstream %d, the caller %s: request %ld, carried out %d "
                 "times, was answered (end %d) with %d %s",
                 (int)e->inbound, e->chunked ? "in chunks" : "by length", (int)e->then,
                 deed_name[e->deed], id, done[id], (int)a->end, a->status, body);
}

/* What the program waits for comes no more: its deadlines are there at once. */
static void let_deadlines_pass(const struct world *w, struct later *later)
{
    struct client wakes;

    later_by(later, DEADLINE_MS + 1000);
    client_open(&wakes, w->port);
    client_close(&wakes);
}

static void early_one(struct world *w, const struct early *e, long id, struct later *later)
{
    struct client c;
    struct answer a = { 0 };
    struct bytes out = { 0 };

    if (e->inbound == INBOUND_TLS)
        assert_true(client_open_tls(&c, w->port, NULL));
    else if (e->inbound == INBOUND_UNIX)
        client_open_unix(&c, e->path);
    else
        client_open(&c, w->port);
    bytes_addf(&out, "POST /early/%ld?%d HTTP/1.1\r\nHost: localhost\r\n", id, (int)e->then);
    if (e->chunked)
        bytes_addf(&out, "Transfer-Encoding: chunked\r\n\r\n10\r\nearly=%-10ld\r\n", id);
    else
        bytes_addf(&out, "Content-Length: %d\r\n\r\nearly=%-10ld", EARLY_BYTES + 16, id);
    client_send(&c, out.data, out.len);
    /* The answer is here while the body is not: what follows comes behind it. */
    if (client_fill(&c, SOON_MS) != 1)
        fail_msg("no early answer to request %ld", id);
    if (e->deed == DEED_GO_ON)
        go_on(&c, e);
    else if (e->deed == DEED_BREAK)
        (void)client_try_send(&c, "this is not a chunk\r\n", 21, SOON_MS);
    if (e->deed == DEED_LEAVE) {
        client_reset(&c);
    } else {
        let_deadlines_pass(w, later);
        client_read(&c, &a, false, SOON_MS);
        judge_early(&a, e, id);
    }
    client_close(&c);
    answer_free(&a);
    bytes_free(&out);
}

static void play_early(enum inbound inbound, bool h2)
{
    LATER(later);
    WORLD(w);
    static struct cert_files files;
    char dir[] = "/tmp/oneshot-money-XXXXXX", path[64], settings[512];
    size_t n = 0, played = 0;
    long id = 0;

    for (size_t i = 0; i < MOST; i++)
        seen[i] = refused[i] = done[i] = 0;
    gate_init(&never);
    memset(filler, 'x', sizeof filler);
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/socket", dir);
    n += (size_t)snprintf(settings + n, sizeof settings - n,
                          "listen.body_timeout = %dms\nupstream.idle_timeout = %dms\n%s",
                          DEADLINE_MS, DEADLINE_MS, h2 ? "upstream.http_version = 2\n" : "");
    if (inbound == INBOUND_TLS) {
        certs_write(&files, CERT_VALID);
        n += (size_t)snprintf(settings + n, sizeof settings - n,
                              "listen.tls_certificate = %s\nlisten.tls_key = %s\n",
                              files.certificate, files.key);
    }
    if (inbound == INBOUND_UNIX)
        (void)snprintf(settings + n, sizeof settings - n,
                       "listen.address = 127.0.0.1:0, unix:%s\n", path);
    world_start(&w, &(struct world_options){ .serve = h2 ? serve_early_h2 : serve_early,
                                             .cert = h2 ? CERT_VALID : CERT_NONE,
                                             .h2 = h2,
                                             .env = later.env,
                                             .settings = settings });
    for (int deed = 0; deed < DEED_COUNT; deed++)
        for (int then = 0; then < (h2 ? 1 : (int)THEN_COUNT); then++)
            for (int chunked = 0; chunked < 2; chunked++) {
                if (deed == DEED_BREAK && !chunked)
                    continue;
                early_one(&w,
                          &(struct early){ inbound, (enum deed)deed, (enum upstream_then)then,
                                           chunked != 0, path },
                          id++, &later);
                played++;
            }
    /* What is logged is what was told: nobody is said to have left but those who did. */
    size_t left = h2 ? 2 : 6;
    if (!proxy_log_wait(w.proxy, "event=access", played, SOON_MS))
        fail_msg("%zu of %zu requests are in the log", proxy_log_count(w.proxy, "event=access"),
                 played);
    assert_true(proxy_log_count(w.proxy, "event=access aborted=caller") <= left);
    assert_true(
        proxy_log_count(w.proxy, h2 ? "event=access status=200" : "event=access status=201") +
            proxy_log_count(w.proxy, "event=access status=502 stage=upstream") ==
        played);
    proxy_stop(w.proxy);
    w.proxy = NULL;
    (void)unlink(path);
    (void)rmdir(dir);
    for (long i = 0; i < id; i++)
        if (done[i] > 1 || seen[i] > 1)
            fail_msg("request %ld reached the upstream %d times in the end", i, seen[i]);
}

static void a_payment_that_is_answered_before_its_body_is_whole_is_told_truly(void **state)
{
    (void)state;
    for (int inbound = 0; inbound < INBOUND_COUNT; inbound++)
        play_early((enum inbound)inbound, false);
}

static void
over_http_2_one_that_is_answered_before_its_body_is_whole_is_told_truly(void **state)
{
    (void)state;
    for (int inbound = 0; inbound < INBOUND_COUNT; inbound++)
        play_early((enum inbound)inbound, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(over_http_1_1_thousands_of_payments_are_made_at_most_once_and_told_truly),
        TEST(a_payment_that_is_answered_before_its_body_is_whole_is_told_truly),
        TEST(over_http_2_one_that_is_answered_before_its_body_is_whole_is_told_truly),
        TEST(over_http_2_thousands_of_payments_are_made_at_most_once_and_told_truly),
    };
    seed = (uint32_t)from_environment("MONEY_SEED", 1);
    return RUN_TESTS(tests);
}

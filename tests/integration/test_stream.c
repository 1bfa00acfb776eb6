/* Bodies larger than memory, slow on either side; callers that leave. Rows:
 * tests/hostile/README.md. */
#include <poll.h>
#include <stdatomic.h>

#include "harness.h"

#define PIECE 65536
#define MIB (1024L * 1024)

/* How much goes each way, and what memory may grow by meanwhile. */
static long volume(void)
{
    return sanitized() ? 256 * MIB : 1024 * MIB;
}

static void assert_flat(struct proxy *p, long before_kib, const char *when)
{
    long grown = proxy_rss_kib(p) - before_kib;
    if (grown > (sanitized() ? 131072 : 8192))
        fail_msg("%ld KiB more memory %s", grown, when);
}

/* Every byte of the stream tells its place: the same 23 letters over and over. */
#define PERIOD 23
static char letters[PIECE + PERIOD];

static void fill_marks(char *piece, long at)
{
    memcpy(piece, letters + at % PERIOD, PIECE);
}

static bool marks_right(const char *data, size_t n, long at)
{
    for (size_t done = 0, part; done < n; done += part) {
        part = n - done < PIECE ? n - done : PIECE;
        if (memcmp(data + done, letters + (at + (long)done) % PERIOD, part) != 0)
            return false;
    }
    return true;
}

struct flow {
    atomic_long moved; /* by the peer */
    struct gate gate;  /* the peer moves the first MiB, then waits here */
    bool chunked;
    atomic_bool broken, ended;
};

/* Waits until nothing moves any more: whoever is faster has filled all buffers. */
static void wait_for_standstill(struct flow *f)
{
    long before;
    int64_t deadline_ms = now_ms() + SOON_MS;
    do {
        before = f->moved;
        int64_t quiet_ms = now_ms() + 300;
        while (f->moved == before && now_ms() < quiet_ms)
            (void)poll(NULL, 0, 10);
    } while (f->moved != before && now_ms() < deadline_ms);
}

static void serve_download(struct peer_conn *c, void *arg)
{
    struct flow *f = arg;
    char head[128], piece[PIECE + 16];
    const struct peer_request *r;
    while ((r = peer_read_request(c)) != NULL) {
        if (strcmp(r->target, "/v0/down") != 0) {
            (void)peer_answer(c, 200, NULL, "small");
            continue;
        }
        long total = volume();
        (void)snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %ld\r\n\r\n",
                       total);
        (void)peer_puts(c, f->chunked ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                      : head);
        for (long at = 0; at < total; at += PIECE) {
            size_t n = 0;
            if (f->chunked)
                n = (size_t)snprintf(piece, sizeof piece, "%x\r\n", PIECE);
            fill_marks(piece + n, at);
            n += PIECE;
            if (f->chunked) {
                memcpy(piece + n, "\r\n", 2);
                n += 2;
            }
            if (!peer_write(c, piece, n)) {
                f->broken = true;
                return;
            }
            f->moved += PIECE;
        }
        if (f->chunked)
            (void)peer_puts(c, "0\r\n\r\n");
        f->ended = true;
    }
}

/* Reads a download to its end, checking each byte, with standstills on the way. */
static void read_marks(struct world *w, struct client *c, struct flow *f, long total,
                       long before_kib)
{
    struct chunked framing = { 0 };
    struct bytes plain = { 0 };
    long at = 0, pause_at = MIB;
    while (at < total) {
        if (at >= pause_at && at < 400 * MIB) {
            wait_for_standstill(f);
            assert_flat(w->proxy, before_kib, "while the caller does not read");
            assert_true(f->moved - at < 64 * MIB); /* the rest waits at the upstream */
            pause_at += 200 * MIB;
        }
        assert_int_equal(client_fill(c, SOON_MS), 1);
        if (f->chunked) {
            (void)chunked_take(&framing, &c->in, &plain);
            assert_false(framing.broken);
        } else {
            bytes_add(&plain, c->in.data, c->in.len);
            bytes_clear(&c->in);
        }
        if (!marks_right(bytes_text(&plain), plain.len, at))
            fail_msg("wrong bytes behind %ld", at);
        at += (long)plain.len;
        bytes_clear(&plain);
    }
    assert_int_equal(at, total);
    while (f->chunked && !chunked_take(&framing, &c->in, &plain))
        assert_int_equal(client_fill(c, SOON_MS), 1);
    bytes_free(&plain);
}

static void download(bool chunked)
{
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    static struct flow f;
    f = (struct flow){ .chunked = chunked };
    world_start(&w, &(struct world_options){ .serve = serve_download, .arg = &f });
    http_get(w.port, "/warm", &a);
    long before_kib = proxy_rss_kib(w.proxy);
    client_open(&c, w.port);
    client_puts(&c, "GET /down HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read_head(&c, &a, SOON_MS);
    assert_int_equal(a.status, 200);
    if (!chunked)
        assert_int_equal(a.content_length, volume());
    read_marks(&w, &c, &f, volume(), before_kib);
    assert_flat(w.proxy, before_kib, "after the download");
    client_call(&c, "GET", "/small", NULL, NULL, &a);
    assert_string_equal(bytes_text(&a.body), "small");
    client_close(&c);
    answer_free(&a);
}

/* A large download that the caller reads slowly: the memory stays flat, and the upstream waits.
 * (row 35) */
static void a_download_with_a_length_stays_flat_with_a_slow_reader(void **state)
{
    (void)state;
    download(false);
}

/* The same for a download whose length is not known. (row 35) */
static void a_chunked_download_stays_flat_with_a_slow_reader(void **state)
{
    (void)state;
    download(true);
}

static void serve_upload(struct peer_conn *c, void *arg)
{
    struct flow *f = arg;
    char piece[PIECE];
    struct peer_request *r;
    while ((r = peer_read_head(c)) != NULL) {
        if (strcmp(r->target, "/v0/up") != 0) {
            (void)peer_read_body(c, r);
            (void)peer_answer(c, 200, NULL, "small");
            continue;
        }
        struct chunked framing = { 0 };
        struct bytes raw = { 0 }, plain = { 0 };
        long at = 0;
        bool waited = false, whole = false;
        while (!whole) {
            if (at >= MIB && !waited)
                waited = gate_pass(&f->gate, c);
            long n = peer_read(c, piece, sizeof piece);
            if (n <= 0) {
                f->broken = true;
                break;
            }
            bytes_add(r->chunked ? &raw : &plain, piece, (size_t)n);
            if (r->chunked)
                whole = chunked_take(&framing, &raw, &plain) || framing.broken;
            if (!marks_right(bytes_text(&plain), plain.len, at))
                f->broken = true;
            at += (long)plain.len;
            bytes_clear(&plain);
            f->moved = at;
            if (!r->chunked)
                whole = at >= r->content_length;
        }
        bytes_free(&raw);
        bytes_free(&plain);
        f->ended = whole && !framing.broken;
        (void)peer_answer(c, 200, NULL, "got it");
    }
}

/* The stream from `from` up to `to`, as it goes over the wire. */
static void add_marks(struct bytes *out, long from, long to, bool chunked)
{
    static char piece[PIECE];
    for (long at = from; at < to; at += PIECE) {
        if (chunked)
            bytes_addf(out, "%x\r\n", PIECE);
        fill_marks(piece, at);
        bytes_add(out, piece, PIECE);
        if (chunked)
            bytes_add_str(out, "\r\n");
    }
}

static void upload(bool chunked)
{
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    static struct flow f;
    f = (struct flow){ .chunked = chunked };
    gate_init(&f.gate);
    world_start(&w, &(struct world_options){ .serve = serve_upload,
                                             .arg = &f,
                                             .receive_buffer = 65536,
                                             .settings = "listen.body_timeout = 60s\n" });
    http_get(w.port, "/warm", &a);
    long before_kib = proxy_rss_kib(w.proxy);
    char head[160];
    client_open(&c, w.port);
    if (chunked)
        (void)snprintf(
            head, sizeof head,
            "POST /up HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    else
        (void)snprintf(head, sizeof head,
                       "POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: %ld\r\n\r\n",
                       volume());
    client_puts(&c, head);
    /* the upstream stops reading after a MiB; fill whatever lies between */
    struct bytes more = { 0 };
    add_marks(&more, 0, 64 * MIB, chunked);
    size_t sent = client_try_send(&c, more.data, more.len, 300);
    assert_true(sent < more.len); /* back-pressure reached the caller */
    assert_flat(w.proxy, before_kib, "while the upstream does not read");
    gate_open(&f.gate);
    client_send(&c, more.data + sent, more.len - sent);
    for (long at = 64 * MIB; at < volume(); at += 16 * MIB) {
        bytes_clear(&more);
        add_marks(&more, at, at + 16 * MIB, chunked);
        client_send(&c, more.data, more.len);
    }
    bytes_free(&more);
    if (chunked)
        client_puts(&c, "0\r\n\r\n");
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), "got it");
    assert_true(f.ended);
    assert_false(f.broken);
    assert_int_equal(f.moved, volume());
    assert_flat(w.proxy, before_kib, "after the upload");
    client_call(&c, "GET", "/small", NULL, NULL, &a);
    assert_string_equal(bytes_text(&a.body), "small");
    client_close(&c);
    answer_free(&a);
}

/* A large upload that the upstream reads slowly: the memory stays flat, and the caller waits.
 * (row 36) */
static void an_upload_with_a_length_stays_flat_with_a_slow_upstream(void **state)
{
    (void)state;
    upload(false);
}

/* The same for an upload whose length is not known. (row 36) */
static void an_upload_of_unknown_length_stays_flat_with_a_slow_upstream(void **state)
{
    (void)state;
    upload(true);
}

int main(void)
{
    for (size_t i = 0; i < sizeof letters; i++)
        letters[i] = (char)('a' + i % PERIOD);
    const struct CMUnitTest tests[] = {
        TEST(a_download_with_a_length_stays_flat_with_a_slow_reader),
        TEST(a_chunked_download_stays_flat_with_a_slow_reader),
        TEST(an_upload_with_a_length_stays_flat_with_a_slow_upstream),
        TEST(an_upload_of_unknown_length_stays_flat_with_a_slow_upstream),
    };
    return RUN_TESTS(tests);
}

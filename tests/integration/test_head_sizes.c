/* Request heads of every mixture and size, in pieces: a head within the limits passes
 * unchanged, and one beyond them is refused at once with the same problem, whichever
 * library's memory it would have filled. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"

#define HEAD_MAX (32 * 1024)
#define TARGET_MAX (16 * 1024)
#define FIELDS_MAX 100
#define HEADER_TIMEOUT "60s"
#define AT_ONCE_MS 30000 /* half of that; a machine under load may take seconds */

enum transport { OVER_TCP, OVER_TLS, OVER_UNIX };

/* A world that is reached in that way, and in plain TCP for what paces it. */
struct place {
    struct world w;
    enum transport transport;
    char dir[64], path[96], settings[1024];
    struct client pace;
};

static void place_open(struct place *p, enum transport transport)
{
    struct cert_files files = { .serial = 0 };

    *p = (struct place){ .transport = transport };
    (void)snprintf(p->dir, sizeof p->dir, "%s", "/tmp/oneshot-heads-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->path, sizeof p->path, "%s/proxy.sock", p->dir);
    int n = snprintf(p->settings, sizeof p->settings,
                     "process.workers = 1\nlisten.address = 127.0.0.1:0, unix:%s\n"
                     "listen.header_timeout = " HEADER_TIMEOUT "\n",
                     p->path);
    if (transport == OVER_TLS) {
        certs_write(&files, CERT_VALID);
        (void)snprintf(p->settings + n, sizeof p->settings - (size_t)n,
                       "listen.tls_certificate = %s\nlisten.tls_key = %s\n", files.certificate,
                       files.key);
    }
    world_start(&p->w, &(struct world_options){ .settings = p->settings });
    client_open_unix(&p->pace, p->path);
}

static void place_close(struct place *p)
{
    client_close(&p->pace);
    world_end(&p->w);
    (void)unlink(p->path);
    assert_int_equal(rmdir(p->dir), 0);
}

static void open_to(struct place *p, struct client *c)
{
    if (p->transport == OVER_TLS)
        assert_true(client_open_tls(c, p->w.port, NULL));
    else if (p->transport == OVER_UNIX)
        client_open_unix(c, p->path);
    else
        client_open(c, p->w.port);
    if (p->transport != OVER_UNIX) { /* each piece at once */
        const int on = 1;
        assert_int_equal(setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    }
}

/* When it returns, the only worker has read what was sent before. */
static void pace(struct place *p)
{
    struct answer a = { 0 };
    client_call(&p->pace, "OPTIONS", "*", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    answer_free(&a);
}

/* --- heads --------------------------------------------------------------------------- */

static uint32_t draw(uint64_t *seed, uint32_t below)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(*seed >> 33) % below;
}

static void fill(struct bytes *to, const char *unit, size_t n)
{
    size_t len = strlen(unit);
    for (size_t i = 0; i < n; i++)
        bytes_add(to, &unit[i % len], 1);
}

struct head {
    struct bytes bytes;
    size_t target_bytes, fields;
};

#define ONE_OF(array, seed) ((array)[draw(seed, sizeof(array) / sizeof *(array))])

static void add_field(struct head *h, const char *name, const char *unit, size_t n)
{
    bytes_addf(&h->bytes, "%s: ", name);
    fill(&h->bytes, unit, n);
    bytes_addf(&h->bytes, "\r\n");
    h->fields++;
}

/* Sizes gather around what fits, the library's first read (20 KiB), its memory (40 KiB), and
 * far beyond. */
static void draw_head(struct head *h, uint64_t *seed)
{
    static const size_t targets[] = { 8,     40,    2000,  9000,  16000,
                                      16384, 16385, 20000, 49000, 70000 };
    static const size_t totals[] = { 0,     0,     1000,  8000,  20400,  20600, 32768,
                                     32769, 36000, 40960, 60000, 120000, 300000 };
    static const size_t fields[] = { 0, 1, 3, 25, 98, 99, 100, 700, 5000 };
    static const char *const arguments[] = { "a&", "&", "id=12345&", "%20=%", "a=b;c?d&", "x" };
    static const char *const cookies[] = { "a;", "a=1; ", ";", "session=0123456789abcdef; ",
                                           "x" };
    size_t target = ONE_OF(targets, seed), total = ONE_OF(totals, seed);
    size_t small = ONE_OF(fields, seed), cookie_fields = draw(seed, 4);

    *h = (struct head){ .target_bytes = target };
    if (draw(seed, 3) > 0 && target > TARGET_MAX)
        h->target_bytes = target = 12;
    if (draw(seed, 3) > 0 && small > 98)
        small = 5;
    bytes_addf(&h->bytes, "GET /v0/x?");
    fill(&h->bytes, ONE_OF(arguments, seed), target < 8 ? 0 : target - strlen("/v0/x?"));
    bytes_addf(&h->bytes, " HTTP/1.1\r\nHost: localhost\r\n");
    h->fields = 1;
    for (size_t i = 0; i < small; i++)
        add_field(h, draw(seed, 2) ? "a" : "X-Field", "1", draw(seed, 8));
    for (size_t i = 0; i < cookie_fields; i++)
        add_field(h, draw(seed, 2) ? "cooKIE" : "Cookie", ONE_OF(cookies, seed),
                  draw(seed, 2) ? draw(seed, 3000) : draw(seed, 16000));
    /* up to the size that was drawn, exactly */
    if (total > h->bytes.len + strlen("X-Rest: \r\n\r\n"))
        add_field(h, draw(seed, 2) ? "X-Rest" : "Cookie", ONE_OF(cookies, seed),
                  total - h->bytes.len - strlen("X-Rest: \r\n\r\n"));
    bytes_addf(&h->bytes, "\r\n");
}

static int expected(const struct head *h)
{
    if (h->target_bytes > TARGET_MAX)
        return 414;
    if (h->bytes.len > HEAD_MAX || h->fields > FIELDS_MAX)
        return 431;
    return 200;
}

/* In up to four pieces, or in many. */
static void send_in_pieces(struct place *p, struct client *c, const struct bytes *head,
                           uint64_t *seed)
{
    size_t pieces = draw(seed, 5), many = draw(seed, 8) == 0 ? 1 + draw(seed, 3000) : 0, at = 0;

    for (size_t i = 0; at < head->len; i++) {
        size_t left = head->len - at, n = left;
        if (many > 0 && i < 40)
            n = many < left ? many : left;
        else if (i < pieces)
            n = 1 + (draw(seed, 2) ? draw(seed, 100) : draw(seed, 30000)) % left;
        if (client_try_send(c, head->data + at, n, SOON_MS) != n)
            return; /* refused meanwhile */
        at += n;
        if (at < head->len && draw(seed, 2))
            pace(p);
    }
}

/* --- tests ---------------------------------------------------------------------------- */

static void assert_arrived(const struct peer_request *r, const struct head *h)
{
    const char *sent = bytes_text(&h->bytes), *got = r == NULL ? "" : bytes_text(&r->head);
    size_t line = strcspn(sent, "\r");
    size_t sent_cookies = 0, got_cookies = 0;

    assert_non_null(r);
    assert_memory_equal(got, sent, line);
    for (const char *at = sent; (at = strcasestr(at, "\r\ncookie: ")) != NULL; at++)
        sent_cookies++;
    for (const char *at = got; (at = strcasestr(at, "\r\ncookie: ")) != NULL; at++)
        got_cookies++;
    assert_int_equal(got_cookies, sent_cookies);
}

static void assert_logged(struct place *p, const struct answer *a)
{
    char line[128];

    (void)snprintf(line, sizeof line, "event=access stage=request status=%d request_id=%s",
                   a->status, answer_header(a, "X-Request-Id"));
    if (!proxy_log_wait(p->w.proxy, line, 1, SOON_MS))
        fail_msg("not in the log: %s", line);
}

static void try_heads(enum transport transport, size_t count)
{
    static const char *const names[] = { "TCP", "TLS", "unix" };
    struct place p;
    struct client c;
    size_t passed = 0, refused = 0;
    bool used = false;

    place_open(&p, transport);
    open_to(&p, &c);
    for (size_t i = 0; i < count; i++) {
        uint64_t seed = i * 7919 + (uint64_t)transport;
        struct head h;
        struct answer a = { 0 };
        draw_head(&h, &seed);
        if (!used || draw(&seed, 3) == 0) {
            client_close(&c);
            open_to(&p, &c);
        }
        int64_t before_ms = now_ms();
        send_in_pieces(&p, &c, &h.bytes, &seed);
        client_read(&c, &a, false, SOON_MS);
        if (a.status != expected(&h) || now_ms() - before_ms > AT_ONCE_MS)
            fail_msg("%s, head %zu: %zu bytes, target %zu, %zu fields: %d, not %d\n%s%s",
                     names[transport], i, h.bytes.len, h.target_bytes, h.fields, a.status,
                     expected(&h), bytes_text(&a.head), bytes_text(&a.body));
        if (a.status == 200) {
            assert_arrived(peer_request(p.w.api, "GET *", passed++), &h);
        } else {
            assert_problem(&a, a.status, "request", "http_request_error");
            assert_logged(&p, &a);
            assert_int_equal(c.in.len, 0); /* no second answer behind it */
            refused++;
        }
        used = answer_header(&a, "Connection")[0] == '\0';
        answer_free(&a);
        bytes_free(&h.bytes);
    }
    client_close(&c);
    assert_int_equal(peer_count(p.w.api, ""), passed);
    assert_true(passed > count / 10 && refused > count / 10);
    place_close(&p);
}

static void heads_over_tcp(void **state)
{
    (void)state;
    try_heads(OVER_TCP, 300);
}

static void heads_over_tls(void **state)
{
    (void)state;
    try_heads(OVER_TLS, 200);
}

static void heads_over_a_unix_socket(void **state)
{
    (void)state;
    try_heads(OVER_UNIX, 200);
}

/* The largest head, of as many fields as there may be. */
static struct bytes largest_head(const char *method, size_t body_bytes)
{
    struct bytes head = { 0 };

    bytes_addf(&head, "%s /v0/x HTTP/1.1\r\nHost: localhost\r\n", method);
    size_t fields = 1;
    if (body_bytes > 0) {
        bytes_addf(&head, "Content-Length: %zu\r\n", body_bytes);
        fields++;
    }
    for (; fields < FIELDS_MAX - 1; fields++)
        bytes_addf(&head, "a: 1\r\n");
    bytes_addf(&head, "X-Rest: ");
    fill(&head, "x", HEAD_MAX - head.len - strlen("\r\n\r\n"));
    bytes_addf(&head, "\r\n\r\n");
    assert_int_equal(head.len, HEAD_MAX);
    return head;
}

/* Beside it the library's memory still has room: for pieces of a body, and for an answer of the
 * proxy's own. */
static void the_largest_head_leaves_room_for_a_body_and_an_answer(void **state)
{
    enum { BODY_BYTES = 100000 };
    static const struct {
        const char *method;
        size_t body_bytes;
        int status;
    } cases[] = { { "GET", 0, 200 }, { "POST", BODY_BYTES, 200 }, { "TRACE", 0, 405 } };
    (void)state;
    for (enum transport transport = OVER_TCP; transport <= OVER_UNIX; transport++) {
        struct place p;
        place_open(&p, transport);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            for (int used = 0; used <= 1; used++) {
                struct bytes head = largest_head(cases[i].method, cases[i].body_bytes);
                struct answer a = { 0 };
                struct client c;
                open_to(&p, &c);
                if (used)
                    client_call(&c, "GET", "/v0/first", NULL, NULL, &a);
                fill(&head, "b", cases[i].body_bytes);
                client_send(&c, head.data, head.len);
                client_read(&c, &a, false, SOON_MS);
                if (a.status != cases[i].status)
                    fail_msg("%s: %d %s", cases[i].method, a.status, bytes_text(&a.body));
                if (a.status == 405)
                    assert_problem(&a, 405, "request", "http_request_error");
                client_close(&c);
                answer_free(&a);
                bytes_free(&head);
            }
        const struct peer_request *r = peer_request(p.w.api, "POST *", 1);
        assert_non_null(r);
        assert_int_equal(r->body.len, BODY_BYTES);
        place_close(&p);
    }
}

/* One at its limit does not take another one along that has only begun. */
static void a_head_that_is_refused_is_the_one_that_is_too_large(void **state)
{
    static const char *const begun[] = {
        "GE",
        "GET /v0/x HTTP/1.1\r\nHost: localhost\r\n",
        "GET /v0/x HTTP/1.1\r\nX-A: 1\r\nHo",
    };
    static const char *const rest[] = { "T /v0/x HTTP/1.1\r\nHost: localhost\r\n\r\n", "\r\n",
                                        "st: localhost\r\n\r\n" };
    (void)state;
    for (enum transport transport = OVER_TCP; transport <= OVER_UNIX; transport++) {
        struct place p;
        struct client others[6], c;
        struct answer a = { 0 };
        place_open(&p, transport);
        for (size_t i = 0; i < 6; i++) {
            open_to(&p, &others[i]);
            if (i >= 3) { /* not its first */
                client_call(&others[i], "GET", "/v0/first", NULL, NULL, &a);
                assert_int_equal(a.status, 200);
            }
            client_puts(&others[i], begun[i % 3]);
        }
        pace(&p);
        for (int fields = 0; fields <= 1; fields++)
            for (int used = 0; used <= 1; used++) {
                struct bytes large = { 0 };
                open_to(&p, &c);
                if (used)
                    client_call(&c, "GET", "/v0/first", NULL, NULL, &a);
                bytes_addf(&large, fields ? "GET /v0/x HTTP/1.1\r\nX-A: " : "GET /v0/");
                fill(&large, "x", 90000);
                (void)client_try_send(&c, large.data, large.len, SOON_MS);
                client_read(&c, &a, false, SOON_MS);
                assert_problem(&a, fields ? 431 : 414, "request", "http_request_error");
                client_close(&c);
                bytes_free(&large);
            }
        for (size_t i = 0; i < 6; i++) {
            client_puts(&others[i], rest[i % 3]);
            client_read(&others[i], &a, false, SOON_MS);
            assert_int_equal(a.status, 200);
            client_close(&others[i]);
        }
        answer_free(&a);
        place_close(&p);
    }
}

/* Trailers without end get a 431 of libmicrohttpd's own, which does not say whose they are: no
 * other caller is taken for it. */
static void trailers_too_large_of_one_caller_end_no_other(void **state)
{
    (void)state;
    struct place p;
    struct client c, other;
    struct answer a = { 0 };
    struct bytes trailers = { 0 };
    place_open(&p, OVER_UNIX);
    bytes_addf(&trailers, "0\r\n");
    fill(&trailers, "a: 1\r\n", 90000);
    open_to(&p, &other);
    client_puts(&other, "GET /v0/oth");
    open_to(&p, &c);
    client_puts(&c, "POST /v0/x HTTP/1.1\r\nHost: localhost\r\n"
                    "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    pace(&p);
    (void)client_try_send(&c, trailers.data, trailers.len, SOON_MS);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 431);
    client_close(&c);
    client_puts(&other, "er HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read(&other, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    client_close(&other);
    answer_free(&a);
    bytes_free(&trailers);
    place_close(&p);
}

/* The memory of a connection that ends is gone before the one beside it is looked at for
 * being too large: those two come to the program in the same moment. */
static void connections_that_end_beside_a_head_too_large_harm_nobody(void **state)
{
    static const char last[] =
        "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    (void)state;
    for (enum transport transport = OVER_TCP; transport <= OVER_UNIX; transport++) {
        struct place p;
        struct answer a = { 0 };
        place_open(&p, transport);
        for (int leave = 0; leave <= 1; leave++) {
            struct bytes large = { 0 };
            struct client ending[4], c;
            bytes_addf(&large, "GET /v0/x HTTP/1.1\r\nHost: localhost\r\n");
            fill(&large, "a: 1\r\n", 15000); /* far more of them than there is memory for */
            for (size_t i = 0; i < 4; i++) {
                open_to(&p, &ending[i]);
                client_call(&ending[i], "GET", "/v0/first", NULL, NULL, &a);
                assert_int_equal(a.status, 200);
            }
            open_to(&p, &c);
            pace(&p);
            proxy_signal(p.w.proxy, SIGSTOP);
            for (size_t i = 0; i < 4; i++)
                if (leave)
                    client_close(&ending[i]);
                else
                    client_puts(&ending[i], last);
            client_send(&c, large.data, large.len);
            proxy_signal(p.w.proxy, SIGCONT);
            client_read(&c, &a, false, SOON_MS);
            assert_problem(&a, 431, "request", "http_request_error");
            assert_logged(&p, &a);
            client_close(&c);
            for (size_t i = 0; i < 4 && !leave; i++) {
                client_read(&ending[i], &a, false, SOON_MS);
                assert_int_equal(a.status, 200);
                assert_true(client_closed(&ending[i], SOON_MS));
                assert_int_equal(ending[i].in.len, 0);
                client_close(&ending[i]);
            }
            pace(&p); /* it lives */
            bytes_free(&large);
        }
        answer_free(&a);
        place_close(&p);
    }
}

/* A page of empty lines in front of a request moves where the library receives it to. What
 * rests behind that must not be looked for where it is not. */
static void a_page_of_empty_lines_before_a_request_harms_nobody(void **state)
{
    (void)state;
    WORLD(w);
    struct client c[4];
    struct answer a = { 0 };
    struct bytes lines = { 0 };
    world_start(&w, &(struct world_options){ .answer = NULL });
    fill(&lines, "\r\n", 4096);
    for (size_t i = 0; i < 4; i++) {
        client_open(&c[i], w.port);
        client_send(&c[i], lines.data, lines.len);
        client_call(&c[i], "GET", "/x", NULL, NULL, &a);
        if (a.status != 400) /* libmicrohttpd 1.0 takes one such line */
            assert_int_equal(a.status, 200);
    }
    /* longer than connections keep the memory of their last request */
    struct client patient;
    client_open(&patient, w.port);
    assert_int_equal(client_fill(&patient, 2500), -1);
    for (size_t i = 0; i < 4; i++) {
        if (a.status == 200)
            client_call(&c[i], "GET", "/x", NULL, NULL, &a);
        client_close(&c[i]);
    }
    client_call(&patient, "GET", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    client_close(&patient);
    bytes_free(&lines);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(heads_over_tcp),
        TEST(heads_over_tls),
        TEST(heads_over_a_unix_socket),
        TEST(the_largest_head_leaves_room_for_a_body_and_an_answer),
        TEST(a_head_that_is_refused_is_the_one_that_is_too_large),
        TEST(trailers_too_large_of_one_caller_end_no_other),
        TEST(connections_that_end_beside_a_head_too_large_harm_nobody),
        TEST(a_page_of_empty_lines_before_a_request_harms_nobody),
    };
    return RUN_TESTS(tests);
}

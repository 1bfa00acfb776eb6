/* An upstream that violates HTTP/2: what the caller gets then, and that other requests on
 * the same connection get their answers. What must never be sent twice is in
 * test_money_h2.c. Row 54 of tests/hostile/README.md. */
#include <stdatomic.h>

#include "harness.h"

/* A header block by hand: literals without indexing, new names (RFC 7541 section 6.2.2). */
static void add_field(struct bytes *block, const char *name, const char *value)
{
    char lengths[2] = { (char)strlen(name), (char)strlen(value) };
    bytes_fill(block, 0, 1);
    bytes_add(block, &lengths[0], 1);
    bytes_add_str(block, name);
    bytes_add(block, &lengths[1], 1);
    bytes_add_str(block, value);
}

static void write_head(struct peer_conn *c, uint32_t stream, const char *name,
                       const char *value)
{
    struct bytes block = { 0 };
    bytes_add(&block, "\x88", 1); /* :status 200 */
    add_field(&block, name, value);
    (void)h2_write_frame(c, H2_HEADERS, H2_END_HEADERS, stream, block.data, block.len);
    bytes_free(&block);
}

static void write_data(struct peer_conn *c, uint32_t stream, const char *text, bool end)
{
    (void)h2_write_frame(c, H2_DATA, end ? H2_END_STREAM : 0, stream, text, strlen(text));
}

enum fault {
    FAULT_LENGTH_SHORT, /* content-length 10, five bytes */
    FAULT_LENGTH_LONG,  /* content-length 2, five bytes */
    FAULT_CLOSE_IN_BODY,
    FAULT_RESET_IN_BODY,
    FAULT_GOAWAY_IN_BODY, /* with an error, then the end */
    FAULT_SETTINGS,       /* of a length that none can have */
    FAULT_HEADERS_ON_0,
    FAULT_DATA_FIRST, /* before any head */
    FAULT_HUGE_FRAME, /* longer than we allow */
    FAULT_PUSH,
    FAULT_GARBAGE,
    FAULT_COUNT
};

static void commit(struct peer_conn *c, uint32_t stream, enum fault fault)
{
    static const char push[] = "\0\0\0\2\x82\x84\x87";
    static char huge[1 << 20];
    switch (fault) {
    case FAULT_LENGTH_SHORT:
        write_head(c, stream, "content-length", "10");
        write_data(c, stream, "short", true);
        break;
    case FAULT_LENGTH_LONG:
        write_head(c, stream, "content-length", "2");
        write_data(c, stream, "short", true);
        break;
    case FAULT_CLOSE_IN_BODY:
    case FAULT_RESET_IN_BODY:
    case FAULT_GOAWAY_IN_BODY:
        write_head(c, stream, "x-a", "1");
        write_data(c, stream, "short", false);
        if (fault == FAULT_RESET_IN_BODY)
            (void)h2_reset(c, stream, H2_CANCEL);
        if (fault == FAULT_GOAWAY_IN_BODY)
            (void)h2_goaway(c, stream, 2);
        if (fault != FAULT_RESET_IN_BODY)
            peer_close(c);
        break;
    case FAULT_SETTINGS:
        (void)h2_write_frame(c, H2_SETTINGS, 0, 0, "12345", 5);
        break;
    case FAULT_HEADERS_ON_0:
        (void)h2_write_frame(c, H2_HEADERS, H2_END_HEADERS, 0, "\x88", 1);
        break;
    case FAULT_DATA_FIRST:
        write_data(c, stream, "early", true);
        break;
    case FAULT_HUGE_FRAME:
        (void)h2_write_frame(c, H2_DATA, H2_END_STREAM, stream, huge, sizeof huge);
        break;
    case FAULT_PUSH:
        (void)h2_write_frame(c, 5, H2_END_HEADERS, stream, push, sizeof push - 1);
        break;
    case FAULT_GARBAGE:
    case FAULT_COUNT:
        (void)peer_puts(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        break;
    }
}

static atomic_int posts;

static void serve_fault(struct peer_conn *c, void *arg)
{
    const enum fault *fault = arg;
    if (!h2_begin(c))
        return;
    uint32_t stream;
    size_t body;
    while ((stream = h2_read_request(c, &body)) != 0) {
        if (body == 0) { /* a GET, which may come again on a new connection */
            (void)h2_answer(c, stream, 200, "fine");
        } else {
            atomic_fetch_add(&posts, 1);
            commit(c, stream, *fault);
        }
    }
}

static void start(struct world *w, peer_serve_fn serve, void *arg)
{
    world_start(w, &(struct world_options){ .serve = serve,
                                            .arg = arg,
                                            .cert = CERT_VALID,
                                            .h2 = true,
                                            .settings = "upstream.http_version = 2\n"
                                                        "upstream.idle_timeout = 20s\n"
                                                        "upstream.response_timeout = 20s\n" });
}

/* Resets, GOAWAY, wrong lengths, bad frames: 502, or a cut where the answer has begun, and the
 * next request is served. (row 54) */
static void a_broken_exchange_is_told_or_cut_and_the_next_one_is_fine(void **state)
{
    (void)state;
    for (enum fault fault = 0; fault < FAULT_COUNT; fault++) {
        WORLD(w);
        struct answer a = { 0 };
        start(&w, serve_fault, &fault);
        for (int i = 0; i < 2; i++) {
            http_get(w.port, "/fine", &a);
            assert_int_equal(a.status, 200);
            assert_string_equal(bytes_text(&a.body), "fine");
            http_call(w.port, "POST", "/broken", NULL, "{}", &a);
            bool told = a.end == ANSWER_WHOLE && (a.status == 502 || a.status == 504);
            if (!told && a.end != ANSWER_CUT && a.end != ANSWER_NONE)
                fail_msg("fault %d: status %d, end %d: %s", (int)fault, a.status, (int)a.end,
                         bytes_text(&a.body));
        }
        assert_int_equal(atomic_exchange(&posts, 0), 2); /* each once */
        answer_free(&a);
    }
}

static const char *const odd_fields[][2] = {
    { "x-a", "1\r\nX-Injected: 1" },
    { "x-a\r\nx-injected", "1" },
    { "connection", "x-a" },
    { "transfer-encoding", "chunked" },
    { "keep-alive", "5" },
    { "upgrade", "x" },
    { "X-Upper", "1" },
    { "x a", "1" },
    { "", "1" },
    { "x-a", "a\nb" },
    { ":status", "204" },
    { ":path", "/" },
};

static void serve_odd_field(struct peer_conn *c, void *arg)
{
    const size_t *which = arg;
    uint32_t stream;
    if (!h2_begin(c))
        return;
    while ((stream = h2_read_request(c, NULL)) != 0) {
        write_head(c, stream, odd_fields[*which][0], odd_fields[*which][1]);
        write_data(c, stream, "body", true);
    }
}

/* Fields that HTTP/2 forbids are dropped or refused, as long as nothing of them comes out at
 * the other end. (row 54) */
static void fields_that_cannot_be_in_http2_do_not_come_out_in_http1(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof odd_fields / sizeof *odd_fields; i++) {
        WORLD(w);
        struct client c;
        struct answer a = { 0 };
        start(&w, serve_odd_field, &i);
        client_open(&c, w.port);
        client_call(&c, "GET", "/x", NULL, NULL, &a);
        if (a.end == ANSWER_WHOLE && a.status == 200)
            assert_string_equal(bytes_text(&a.body), "body");
        else if (a.end == ANSWER_WHOLE && a.status != 502)
            fail_msg("%d for %s: %s", a.status, odd_fields[i][0], odd_fields[i][1]);
        static const char *const gone[] = { "X-Injected", "Keep-Alive", "Upgrade", ":path" };
        for (size_t k = 0; k < sizeof gone / sizeof *gone; k++)
            assert_int_equal(answer_header_count(&a, gone[k]), 0);
        assert_string_not_equal(answer_header(&a, "Connection"), "x-a");
        assert_lacks(bytes_text(&a.head), "\na\nb");
        assert_int_equal(c.in.len, 0);
        client_close(&c);
        answer_free(&a);
    }
}

/* Two streams of one connection: the second is reset, then the first is answered. */
static void serve_pair(struct peer_conn *c, void *arg)
{
    (void)arg;
    if (!h2_begin(c))
        return;
    uint32_t first = h2_read_request(c, NULL);
    if (!h2_answer(c, first, 200, "fine"))
        return;
    for (int i = 0; i < 3; i++) {
        uint32_t kept = h2_read_request(c, NULL);
        uint32_t lost = h2_read_request(c, NULL);
        (void)h2_reset(c, lost, i == 0 ? H2_CANCEL : 2);
        (void)h2_answer(c, kept, 200, "kept");
    }
    while (h2_read_request(c, NULL) != 0) {
    }
}

/* A stream that the upstream resets does not disturb the other streams of its connection.
 * (row 54) */
static void a_reset_stream_leaves_its_neighbours_alone(void **state)
{
    (void)state;
    WORLD(w);
    struct client kept, lost;
    struct answer a = { 0 };
    start(&w, serve_pair, NULL);
    http_get(w.port, "/prime", &a);
    assert_int_equal(a.status, 200);
    for (size_t i = 0; i < 3; i++) {
        client_open(&kept, w.port);
        client_open(&lost, w.port);
        client_puts(&kept,
                    "POST /kept HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
        assert_true(peer_wait_complete(w.api, "", 2 + 2 * i, SOON_MS));
        client_call(&lost, "POST", "/lost", NULL, "{}", &a);
        assert_int_equal(a.status, 502);
        client_read(&kept, &a, false, SOON_MS);
        assert_int_equal(a.status, 200);
        assert_string_equal(bytes_text(&a.body), "kept");
        client_close(&kept);
        client_close(&lost);
    }
    assert_int_equal(peer_connections(w.api), 1);
    answer_free(&a);
}

/* Resets an upload as soon as its head is there. */
static void serve_reset_upload(struct peer_conn *c, void *arg)
{
    atomic_uint *error = arg;
    bool has_body;
    uint32_t stream;
    if (!h2_begin(c))
        return;
    while ((stream = h2_read_head(c, &has_body)) != 0) {
        if (has_body)
            (void)h2_reset(c, stream, *error);
        else
            (void)h2_answer(c, stream, 200, "fine");
    }
}

/* The upstream resets the stream of an upload while it runs. The libcurl of Debian 12 is in the
 * range of a use after free here, which the build with the address sanitizer would show.
 * (row 54) */
static void an_upload_that_is_reset_while_it_streams_ends_well(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    static atomic_uint error;
    char piece[4096];
    memset(piece, 'x', sizeof piece);
    start(&w, serve_reset_upload, &error);
    for (int i = 0; i < 60; i++) {
        static const unsigned errors[] = { H2_REFUSED_STREAM, H2_HTTP_1_1_REQUIRED, H2_CANCEL };
        struct client c;
        error = errors[i % 3];
        client_open(&c, w.port);
        client_puts(
            &c, i % 2 ? "POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: 81920\r\n\r\n"
                      : "POST /up HTTP/1.1\r\nHost: localhost\r\n"
                        "Transfer-Encoding: chunked\r\n\r\n");
        for (int k = 0; k < 20; k++) {
            if (i % 2 == 0)
                (void)client_try_send(&c, "1000\r\n", 6, 1000);
            (void)client_try_send(&c, piece, sizeof piece, 1000);
            if (i % 2 == 0)
                (void)client_try_send(&c, "\r\n", 2, 1000);
        }
        if (i % 2 == 0)
            (void)client_try_send(&c, "0\r\n\r\n", 5, 1000);
        client_read(&c, &a, false, SOON_MS);
        if (a.status != 502)
            fail_msg("round %d: status %d, end %d", i, a.status, (int)a.end);
        client_close(&c);
        http_get(w.port, "/fine", &a);
        if (a.status != 200 && a.status != 502)
            fail_msg("round %d: %d for the neighbour", i, a.status);
    }
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_broken_exchange_is_told_or_cut_and_the_next_one_is_fine),
        TEST(fields_that_cannot_be_in_http2_do_not_come_out_in_http1),
        TEST(a_reset_stream_leaves_its_neighbours_alone),
        TEST(an_upload_that_is_reset_while_it_streams_ends_well),
    };
    return RUN_TESTS(tests);
}

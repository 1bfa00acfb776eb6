/* As test_money.c, over HTTP/2: at most one stream for a request that moves money. Rows:
 * tests/hostile/README.md. */
#include "harness.h"

enum fate {
    FATE_CLOSE,         /* the connection ends after the request was read */
    FATE_CANCEL,        /* its stream is reset */
    FATE_REFUSED,       /* ... with REFUSED_STREAM: certainly not executed */
    FATE_GOAWAY,        /* GOAWAY that covers the stream, then the end */
    FATE_GOAWAY_BEFORE, /* GOAWAY that does not: certainly not executed */
};

struct script {
    enum fate fate;
    bool always; /* on every connection; else on the first only */
};

/* The first request of all is answered, then the fate befalls each. */
static void serve_h2(struct peer_conn *c, void *arg)
{
    const struct script *script = arg;
    if (!h2_begin(c))
        return;
    uint32_t stream;
    while ((stream = h2_read_request(c, NULL)) != 0) {
        bool first = c->number == 1 && c->requests == 1;
        if (first || (c->number > 1 && !script->always)) {
            (void)h2_answer(c, stream, 200, "fine");
            continue;
        }
        if (script->fate == FATE_CANCEL) {
            (void)h2_reset(c, stream, H2_CANCEL);
        } else if (script->fate == FATE_REFUSED) {
            (void)h2_reset(c, stream, H2_REFUSED_STREAM);
        } else {
            if (script->fate == FATE_GOAWAY)
                (void)h2_goaway(c, stream, H2_NO_ERROR);
            if (script->fate == FATE_GOAWAY_BEFORE)
                (void)h2_goaway(c, stream - 2, H2_NO_ERROR);
            return;
        }
    }
}

static void start(struct world *w, struct script *script)
{
    struct answer a = { 0 };
    world_start(w, &(struct world_options){ .serve = serve_h2,
                                            .arg = script,
                                            .cert = CERT_VALID,
                                            .h2 = true,
                                            .settings = "upstream.http_version = 2\n" });
    http_get(w->port, "/prime", &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), "fine");
    answer_free(&a);
}

static const struct {
    const char *method, *body;
} unsafe_calls[] = {
    { "POST", "{\"amount\":1}" },  { "POST", NULL },   { "PUT", "{\"amount\":1}" },
    { "PATCH", "{\"amount\":1}" }, { "DELETE", NULL }, { "PUT", "" },
};

static void lose(enum fate fate)
{
    for (size_t i = 0; i < sizeof unsafe_calls / sizeof *unsafe_calls; i++) {
        WORLD(w);
        struct answer a = { 0 };
        struct script script = { .fate = fate };
        start(&w, &script);
        http_call(w.port, unsafe_calls[i].method, "/money", NULL, unsafe_calls[i].body, &a);
        if (a.status != 502)
            fail_msg("%s got %d", unsafe_calls[i].method, a.status);
        assert_int_equal(a.status, 502);
        assert_contains(answer_header(&a, "Proxy-Status"), "oneshot-proxy; error=");
        assert_problem_detail(&a, "outcome unknown");
        assert_int_equal(peer_count(w.api, ""), 2); /* the first one and this */
        answer_free(&a);
    }
}

static void an_unsafe_request_lost_with_its_connection_is_sent_once(void **state)
{
    (void)state;
    lose(FATE_CLOSE);
}

/* The upstream resets the stream of a request that is not safe to repeat: it was sent once.
 * (row 54) */
static void an_unsafe_request_on_a_reset_stream_is_sent_once(void **state)
{
    (void)state;
    lose(FATE_CANCEL);
}

/* A GOAWAY says that a request may have been processed: one that is not safe to repeat was sent
 * once. (row 54) */
static void an_unsafe_request_covered_by_a_goaway_is_sent_once(void **state)
{
    (void)state;
    lose(FATE_GOAWAY);
}

static void a_get_lost_with_its_connection_is_repeated_once(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    struct script script = { .fate = FATE_CLOSE };
    start(&w, &script);
    http_get(w.port, "/read", &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), "fine");
    assert_int_equal(peer_count(w.api, ""), 3);
    answer_free(&a);
}

/* REFUSED_STREAM, or a GOAWAY, says that a request was not processed: any request may be
 * repeated, and is at most once. (row 54) */
static void a_refused_stream_is_repeated_at_most_once(void **state)
{
    (void)state;
    static const enum fate fates[] = { FATE_REFUSED, FATE_GOAWAY_BEFORE };
    for (size_t f = 0; f < sizeof fates / sizeof *fates; f++) {
        for (size_t i = 0; i < sizeof unsafe_calls / sizeof *unsafe_calls; i++) {
            WORLD(w);
            struct answer a = { 0 };
            struct script script = { .fate = fates[f], .always = true };
            start(&w, &script);
            http_call(w.port, unsafe_calls[i].method, "/money", NULL, unsafe_calls[i].body, &a);
            assert_int_equal(a.status, 502);
            size_t sent = peer_count(w.api, "") - 1;
            if (sent < 1 || sent > 2)
                fail_msg("%s was sent %zu times", unsafe_calls[i].method, sent);
            answer_free(&a);
        }
    }
}

static void requests_with_and_without_a_body_go_through(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    struct script script = { .fate = FATE_CLOSE };
    start(&w, &script);
    http_get(w.port, "/breaks-the-first-connection", &a);
    for (size_t i = 0; i < sizeof unsafe_calls / sizeof *unsafe_calls; i++) {
        http_call(w.port, unsafe_calls[i].method, "/fine", NULL, unsafe_calls[i].body, &a);
        assert_int_equal(a.status, 200);
        assert_string_equal(bytes_text(&a.body), "fine");
    }
    assert_int_equal(peer_connections(w.api), 2);
    answer_free(&a);
}

/* Answers with how long the body was. */
static void serve_h2_lengths(struct peer_conn *c, void *arg)
{
    uint32_t stream;
    size_t got;
    (void)arg;
    if (!h2_begin(c))
        return;
    while ((stream = h2_read_request(c, &got)) != 0) {
        char text[32];
        (void)snprintf(text, sizeof text, "%zu bytes", got);
        (void)h2_answer(c, stream, 200, text);
    }
}

/* HTTP/2 has no chunks: what frames them for HTTP/1.1 must not get into the body. */
static void a_chunked_body_arrives_without_its_chunks_whatever_its_head_takes(void **state)
{
    (void)state;
    static const int heads[] = { 10, 24000 };
    WORLD(w);
    world_start(&w, &(struct world_options){ .serve = serve_h2_lengths,
                                             .cert = CERT_VALID,
                                             .h2 = true,
                                             .settings = "upstream.http_version = 2\n" });
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct bytes request = { 0 };
        struct answer a = { 0 };
        bytes_add_str(&request, "POST /money HTTP/1.1\r\nHost: localhost\r\nX-Long: ");
        bytes_fill(&request, 'h', (size_t)heads[i]);
        bytes_add_str(&request, "\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                                "9\r\n0\r\n\r\nGET \r\n9c40\r\n");
        bytes_fill(&request, 'b', 40000);
        bytes_add_str(&request, "\r\n0\r\n\r\n");
        http_raw(w.port, bytes_text(&request), &a);
        assert_int_equal(a.status, 200);
        assert_string_equal(bytes_text(&a.body), "40009 bytes");
        answer_free(&a);
        bytes_free(&request);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_unsafe_request_lost_with_its_connection_is_sent_once),
        TEST(an_unsafe_request_on_a_reset_stream_is_sent_once),
        TEST(an_unsafe_request_covered_by_a_goaway_is_sent_once),
        TEST(a_get_lost_with_its_connection_is_repeated_once),
        TEST(a_refused_stream_is_repeated_at_most_once),
        TEST(requests_with_and_without_a_body_go_through),
        TEST(a_chunked_body_arrives_without_its_chunks_whatever_its_head_takes),
    };
    return RUN_TESTS(tests);
}

/* Answers of the upstream that are not HTTP, or that can be read in two ways: 502, and
 * nothing of them reaches the caller. Rows: tests/hostile/README.md. */
#include "harness.h"

/* The raw bytes for the n-th case are asked for by its number: GET /n. */
struct reply {
    const char *bytes;
    size_t len; /* 0: a string */
};

struct replies {
    const struct reply *reply;
    size_t count;
};

static void answer_raw(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    const struct replies *all = arg;
    size_t n = strtoul(r->target + strlen("/v0/"), NULL, 10);
    if (n < all->count) {
        const struct reply *x = &all->reply[n];
        (void)peer_write(c, x->bytes, x->len ? x->len : strlen(x->bytes));
    }
    peer_close(c);
}

static void assert_all_502(const struct reply *reply, size_t count, const char *error)
{
    struct replies all = { reply, count };
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .answer = answer_raw, .arg = &all });
    for (size_t i = 0; i < count; i++) {
        char target[32];
        (void)snprintf(target, sizeof target, "/%zu", i);
        http_call(w.port, "POST", target, NULL, "{}", &a);
        if (a.end != ANSWER_WHOLE || a.status != 502)
            fail_msg("status %d (end %d) for:\n%.200s", a.status, (int)a.end, reply[i].bytes);
        if (strncmp(answer_header(&a, "Proxy-Status"), "oneshot-proxy; error=", 21) != 0 ||
            strstr(answer_header(&a, "Proxy-Status"), error) == NULL)
            fail_msg("%s for:\n%.200s", answer_header(&a, "Proxy-Status"), reply[i].bytes);
        char value[64];
        json_member(&a.body, "stage", value, sizeof value);
        assert_string_equal(value, "upstream");
        assert_int_equal(peer_count(w.api, ""), i + 1); /* one send each */
    }
    answer_free(&a);
}
#define ALL_502(table, error) assert_all_502(table, sizeof(table) / sizeof *(table), error)

#define OK "HTTP/1.1 200 OK\r\n"
#define R(text)       \
    {                 \
        .bytes = text \
    }
#define RAW(text)                              \
    {                                          \
        .bytes = text, .len = sizeof(text) - 1 \
    }

/* An answer that is not HTTP, or of another version, or with a bad status: 502. (row 46) */
static void what_is_not_http_is_502(void **state)
{
    (void)state;
    static const struct reply table[] = {
        R("SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        R("<html>an answer of HTTP/0.9</html>"),
        R("HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n"),
        R("HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n"),
        R("HTTP/1.1 000 Zero\r\nContent-Length: 0\r\n\r\n"),
        R("HTTP/1.1 1000 High\r\nContent-Length: 0\r\n\r\n"),
        R("HTTP/1.1 600 Beyond\r\nContent-Length: 0\r\n\r\n"),
        R("HTTP/3.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        R("ICY 200 OK\r\nContent-Length: 0\r\n\r\n"),
        R("HTTP/2 200\r\nContent-Length: 0\r\n\r\n"),
    };
    ALL_502(table, "http_");
}

/* An answer with control characters, no colon or no name in a field: 502. (row 46) */
static void fields_that_may_not_stand_in_a_head_are_502(void **state)
{
    (void)state;
    static const struct reply table[] = {
        R(OK "no colon\r\nContent-Length: 0\r\n\r\n"),
        R(OK ": nameless\r\nContent-Length: 0\r\n\r\n"),
        R(OK "X-A : 1\r\nContent-Length: 0\r\n\r\n"),
        R(OK "X A: 1\r\nContent-Length: 0\r\n\r\n"),
        R(OK "X-A: 1\r\n folded\r\nContent-Length: 0\r\n\r\n"),
        R(OK "X-A: a\rb\r\nContent-Length: 0\r\n\r\n"),
        R(OK "X-A: a\x01\r\nContent-Length: 0\r\n\r\n"),
        RAW(OK "X-A: a\0b\r\nContent-Length: 0\r\n\r\n"),
        RAW(OK "X-\0A: b\r\nContent-Length: 0\r\n\r\n"),
    };
    ALL_502(table, "http_");
}

/* An answer whose lengths contradict each other, or are none: 502. (row 47) */
static void an_ambiguous_length_is_502(void **state)
{
    (void)state;
    static const struct reply table[] = {
        R(OK "Content-Length: 2\r\nContent-Length: 4\r\n\r\nabcd"),
        R(OK "Content-Length: 2, 4\r\n\r\nabcd"),
        R(OK "Content-Length: +2\r\n\r\nab"),
        R(OK "Content-Length: -2\r\n\r\nab"),
        R(OK "Content-Length: 0x2\r\n\r\nab"),
        R(OK "Content-Length: two\r\n\r\nab"),
        R(OK "Content-Length: 99999999999999999999999\r\n\r\nab"),
        R(OK "Content-Length:\r\n\r\nab"),
        R(OK "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
        R(OK "Transfer-Encoding: gzip\r\n\r\nab"),
        R(OK "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
        R(OK "Transfer-Encoding: chunked, chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
        R(OK "Transfer-Encoding: xchunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
    };
    ALL_502(table, "http_protocol_error");
}

/* An answer with the same Content-Length twice is passed on with one. (row 47) */
static void the_same_length_twice_is_one(void **state)
{
    (void)state;
    static const struct reply table[] = {
        R(OK "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
    };
    struct replies all = { table, 1 };
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .answer = answer_raw, .arg = &all });
    http_get(w.port, "/0", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(answer_header_count(&a, "Content-Length"), 1);
    assert_string_equal(bytes_text(&a.body), "ok");
    answer_free(&a);
}

/* A 101 that nobody asked for, and a 407, which is between the proxy and its own upstream: 502.
 * (rows 23, 51) */
static void answers_that_no_gateway_can_pass_are_502(void **state)
{
    (void)state;
    static const struct reply table[] = {
        R("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
        R("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n"
          "Content-Length: 0\r\n\r\n"),
    };
    ALL_502(table, "http_protocol_error");
}

/* An answer that ends before or inside its head: 502. (row 44) */
static void an_answer_cut_inside_its_head_is_502(void **state)
{
    (void)state;
    static const struct reply table[] = {
        R("H"),
        R("HTTP/1.1 20"),
        R("HTTP/1.1 200 OK"),
        R(OK),
        R(OK "Content-Length: 0"),
        R(OK "Content-Length: 0\r\n"),
        R(OK "X-A: 1\r\nX-B:"),
    };
    ALL_502(table, "http_response_incomplete");
}

/* A head of an answer that is too large, or does not end: 502. (row 48) */
static void a_head_without_measure_is_502(void **state)
{
    (void)state;
    static char large[80000], many[16000];
    size_t n = (size_t)snprintf(large, sizeof large, OK "Content-Length: 0\r\n");
    for (int i = 0; i < 70; i++)
        n += (size_t)snprintf(large + n, sizeof large - n, "X-%d: %01000d\r\n", i, i);
    (void)snprintf(large + n, sizeof large - n, "\r\n");
    n = (size_t)snprintf(many, sizeof many, OK "Content-Length: 0\r\n");
    for (int i = 0; i < 200; i++)
        n += (size_t)snprintf(many + n, sizeof many - n, "X-%d: 1\r\n", i);
    (void)snprintf(many + n, sizeof many - n, "\r\n");
    static const struct reply table[] = { R(large), R(many) };
    ALL_502(table, "http_response_header_section_size");
}

/* Answers of 1xx without end: 502. (row 42) */
static void interim_answers_without_end_are_502(void **state)
{
    (void)state;
    static struct bytes flood;
    for (int i = 0; i < 500; i++)
        bytes_add_str(&flood, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
    struct reply table[] = { { .bytes = flood.data, .len = flood.len } };
    ALL_502(table, "http_");
    bytes_free(&flood);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_not_http_is_502),
        TEST(fields_that_may_not_stand_in_a_head_are_502),
        TEST(an_ambiguous_length_is_502),
        TEST(the_same_length_twice_is_one),
        TEST(answers_that_no_gateway_can_pass_are_502),
        TEST(an_answer_cut_inside_its_head_is_502),
        TEST(a_head_without_measure_is_502),
        TEST(interim_answers_without_end_are_502),
    };
    return RUN_TESTS(tests);
}

/* Which parts of an upstream's answer reach the caller. Rows: tests/hostile/README.md. */
#include "harness.h"

/* The API answers a target with the raw bytes that the test gave for it. */
struct canned {
    const char *target; /* of the upstream */
    const char *bytes;
    size_t len; /* 0: a string */
    bool close; /* behind it */
};

static void answer_canned(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    for (const struct canned *x = arg; x->target != NULL; x++) {
        if (strcmp(r->target, x->target) == 0) {
            (void)peer_write(c, x->bytes, x->len ? x->len : strlen(x->bytes));
            if (x->close)
                peer_close(c);
            return;
        }
    }
    (void)peer_answer(c, 404, NULL, "no such answer");
}

static void start(struct world *w, const struct canned *answers)
{
    world_start(w, &(struct world_options){ .answer = answer_canned,
                                            .arg = (void *)(uintptr_t)answers });
}

/* Fields of an answer keep their order, number and bytes; only hop-by-hop ones are removed.
 * (rows 19, 26, 28) */
static void fields_come_back_unchanged_but_for_the_hop_by_hop_ones(void **state)
{
    (void)state;
    static const struct canned answers[] = { { .target = "/v0/f",
                                               .bytes =
                                                   "HTTP/1.1 200 OK\r\n"
                                                   "Date: Tue, 01 Jan 2030 00:00:00 GMT\r\n"
                                                   "Server: theirs/1\r\n"
                                                   "Set-Cookie: a=1; Path=/\r\n"
                                                   "X-Latin: caf\xe9\r\n"
                                                   "Set-Cookie: b=2; Path=/\r\n"
                                                   "Connection: X-Secret, keep-alive\r\n"
                                                   "X-Secret: 1\r\n"
                                                   "Keep-Alive: timeout=5\r\n"
                                                   "Proxy-Connection: keep-alive\r\n"
                                                   "Upgrade: h2c\r\n"
                                                   "Trailer: X-T\r\n"
                                                   "ETag: \"x\"\r\n"
                                                   "X-Empty:\r\n"
                                                   "Content-Type: application/json\r\n"
                                                   "Content-Length: 2\r\n\r\n{}" },
                                             { 0 } };
    static const char *const gone[] = { "X-Secret", "Keep-Alive", "Proxy-Connection", "Upgrade",
                                        "Trailer" };
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    char value[64];
    start(&w, answers);
    client_open(&c, w.port);
    client_call(&c, "GET", "/f", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), "{}");
    assert_int_equal(a.content_length, 2);
    const char *head = bytes_text(&a.head);
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        if (head_count(head, gone[i]) != 0)
            fail_msg("%s came through:\n%s", gone[i], head);
    assert_int_equal(head_count(head, "Date"), 1);
    assert_string_equal(answer_header(&a, "Date"), "Tue, 01 Jan 2030 00:00:00 GMT");
    assert_string_equal(answer_header(&a, "Server"), "theirs/1");
    assert_string_equal(answer_header(&a, "ETag"), "\"x\"");
    assert_string_equal(answer_header(&a, "X-Latin"), "caf\xe9");
    assert_int_equal(head_count(head, "Set-Cookie"), 2);
    assert_string_equal(answer_header(&a, "Set-Cookie"), "a=1; Path=/");
    assert_true(head_value(head, "Set-Cookie", 1, value, sizeof value));
    assert_string_equal(value, "b=2; Path=/");
    client_close(&c);
    answer_free(&a);
}

/* A field of an answer without a value is passed on. (row 26) */
static void an_empty_field_of_an_answer_is_kept(void **state)
{
    (void)state;
    static const struct canned answers[] = {
        { .target = "/v0/f",
          .bytes = "HTTP/1.1 200 OK\r\nX-Empty:\r\nContent-Length: 0\r\n\r\n" },
        { 0 }
    };
    WORLD(w);
    struct answer a = { 0 };
    start(&w, answers);
    http_get(w.port, "/f", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(answer_header_count(&a, "X-Empty"), 1);
    answer_free(&a);
}

/* A body that is compressed is passed on as it is. (row 28) */
static void a_compressed_body_is_not_touched(void **state)
{
    (void)state;
    static const char raw[] =
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
        "Content-Length: 12\r\n\r\n\x1f\x8b\x08\x00\x00\x01\xff\r\n\x00zz";
    static const struct canned answers[] = {
        { .target = "/v0/gz", .bytes = raw, .len = sizeof raw - 1 }, { 0 }
    };
    WORLD(w);
    struct answer a = { 0 };
    start(&w, answers);
    http_call(w.port, "GET", "/gz", "Accept-Encoding: gzip\r\n", NULL, &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_header(&a, "Content-Encoding"), "gzip");
    assert_int_equal(a.body.len, 12);
    assert_memory_equal(a.body.data, raw + sizeof raw - 1 - 12, 12);
    answer_free(&a);
}

/* Answers to HEAD, 204, 304 and a length of 0 have no body, and the next answer on the
 * connection is still found. (row 27) */
static void answers_without_a_body_keep_their_lengths_and_the_connection(void **state)
{
    (void)state;
    static const struct canned answers[] = {
        { .target = "/v0/head",
          .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nX-A: h\r\n\r\n" },
        { .target = "/v0/204", .bytes = "HTTP/1.1 204 No Content\r\nX-A: n\r\n\r\n" },
        { .target = "/v0/304",
          .bytes = "HTTP/1.1 304 Not Modified\r\nETag: \"t\"\r\nContent-Length: 77\r\n\r\n" },
        { .target = "/v0/0", .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" },
        { .target = "/v0/end", .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend" },
        { 0 }
    };
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    start(&w, answers);
    client_open(&c, w.port);
    client_call(&c, "HEAD", "/head", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.content_length, 1234);
    client_call(&c, "GET", "/204", NULL, NULL, &a);
    assert_int_equal(a.status, 204);
    assert_int_equal(answer_header_count(&a, "Content-Length"), 0);
    assert_int_equal(answer_header_count(&a, "Transfer-Encoding"), 0);
    client_call(&c, "GET", "/304", NULL, NULL, &a);
    assert_int_equal(a.status, 304);
    assert_string_equal(answer_header(&a, "ETag"), "\"t\"");
    assert_string_equal(answer_header(&a, "Content-Length"), "77");
    client_call(&c, "DELETE", "/0", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.content_length, 0);
    client_call(&c, "GET", "/end", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), "end");
    client_close(&c);
    answer_free(&a);
}

/* Where the upstream says no length there is none to be made up, and no end of a body that is
 * not there. */
static void answers_without_a_body_or_a_length_get_neither(void **state)
{
    (void)state;
    static const struct canned answers[] = {
        { .target = "/v0/head", .bytes = "HTTP/1.1 200 OK\r\nX-A: h\r\n\r\n" },
        { .target = "/v0/head/chunked",
          .bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" },
        { .target = "/v0/304", .bytes = "HTTP/1.1 304 Not Modified\r\nETag: \"t\"\r\n\r\n" },
        { 0 }
    };
    WORLD(w);
    struct answer a = { 0 };
    start(&w, answers);
    for (size_t i = 0; answers[i].target != NULL; i++) {
        struct client c;
        char request[128];
        (void)snprintf(request, sizeof request,
                       "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                       i < 2 ? "HEAD" : "GET", answers[i].target);
        client_open(&c, w.port);
        client_puts(&c, request);
        client_read(&c, &a, true, SOON_MS);
        assert_int_equal(a.status, i < 2 ? 200 : 304);
        assert_int_equal(answer_header_count(&a, "Content-Length"), 0);
        while (client_fill(&c, SOON_MS) > 0)
            ;
        assert_int_equal(c.in.len, 0);
        client_close(&c);
    }
    answer_free(&a);
}

static void a_chunked_answer_and_one_until_close_arrive_whole(void **state)
{
    (void)state;
    static const struct canned answers[] = {
        { .target = "/v0/chunked",
          .bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "1;ext=1\r\na\r\n5\r\nbcdef\r\n0\r\nX-T: 1\r\n\r\n" },
        { .target = "/v0/close", .bytes = "HTTP/1.1 200 OK\r\n\r\nuntil close", .close = true },
        { .target = "/v0/old", .bytes = "HTTP/1.0 200 OK\r\nX-A: 1\r\n\r\nold", .close = true },
        { .target = "/v0/nothing",
          .bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
        { 0 }
    };
    static const char *const cases[][2] = { { "/chunked", "abcdef" },
                                            { "/close", "until close" },
                                            { "/old", "old" },
                                            { "/nothing", "" } };
    WORLD(w);
    struct answer a = { 0 };
    start(&w, answers);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        http_get(w.port, cases[i][0], &a);
        assert_int_equal(a.status, 200);
        assert_int_equal(a.end, ANSWER_WHOLE);
        assert_string_equal(bytes_text(&a.body), cases[i][1]);
    }
    answer_free(&a);
}

/* Answers of 4xx and 5xx are passed on as they are. (row 51) */
static void error_answers_of_the_upstream_pass_byte_for_byte(void **state)
{
    (void)state;
    static const int statuses[] = {
        400, 402, 403, 404, 408, 409, 422, 429, 500, 502, 503, 504
    };
    static const char body[] = "{\"type\":\"X\",  \"message\":\"m\",\"data\":1}\n";
    static char raw[sizeof statuses / sizeof *statuses][256];
    static char targets[sizeof statuses / sizeof *statuses][16];
    static struct canned answers[sizeof statuses / sizeof *statuses + 1];
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        (void)snprintf(targets[i], sizeof targets[i], "/v0/%d", statuses[i]);
        (void)snprintf(
            raw[i], sizeof raw[i],
            "HTTP/1.1 %d Theirs\r\nRetry-After: 7\r\nContent-Type: application/json"
            "\r\nContent-Length: 38\r\n\r\n{\"type\":\"X\",  \"message\":\"m\",\"data\":1}\n",
            statuses[i]);
        answers[i] = (struct canned){ .target = targets[i], .bytes = raw[i] };
    }
    WORLD(w);
    struct answer a = { 0 };
    start(&w, answers);
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        http_get(w.port, targets[i], &a);
        assert_int_equal(a.status, statuses[i]);
        assert_string_equal(answer_header(&a, "Content-Type"), "application/json");
        assert_string_equal(answer_header(&a, "Retry-After"), "7");
        assert_string_equal(bytes_text(&a.body), body);
        if (statuses[i] == 403)
            assert_string_equal(answer_header(&a, "Proxy-Status"),
                                "oneshot-proxy; received-status=403");
        else
            assert_lacks(answer_header(&a, "Proxy-Status"), "error=");
    }
    answer_free(&a);
}

static char location_head[256];

static void answer_location(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)arg;
    const char *to = strstr(r->target, "to=");
    char headers[600];
    (void)snprintf(headers, sizeof headers, "Location: %s%s\r\n",
                   strstr(r->target, "self=1") ? location_head : "", to ? to + 3 : "");
    (void)peer_answer(c, strstr(r->target, "created") ? 201 : 307, headers, "");
}

/* Redirects are passed on, not followed. (row 51) */
static void redirects_are_not_followed_and_lead_back_here(void **state)
{
    (void)state;
    static const struct {
        const char *target, *location;
    } cases[] = {
        { "/r?self=1&to=/v0/next?x=1", "/v0/next?x=1" },
        { "/created?self=1&to=/v0/made/7", "/v0/made/7" },
        { "/r?to=/v0/relative", "/v0/relative" },
        { "/r?to=next", "next" },
        { "/r?to=https://elsewhere.example/v0/x", "https://elsewhere.example/v0/x" },
    };
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .answer = answer_location, .no_proxy = true });
    (void)snprintf(location_head, sizeof location_head, "%s", peer_url(w.api));
    world_proxy(&w, &(struct world_options){ 0 });
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        http_get(w.port, cases[i].target, &a);
        assert_true(a.status == 307 || a.status == 201);
        assert_string_equal(answer_header(&a, "Location"), cases[i].location);
        assert_int_equal(answer_header_count(&a, "Location"), 1);
    }
    assert_int_equal(peer_count(w.api, ""), sizeof cases / sizeof *cases);
    answer_free(&a);
}

/* Answers of 1xx before the final one leave it whole. (row 42) */
static void interim_answers_do_not_disturb_the_final_one(void **state)
{
    (void)state;
    static const struct canned answers[] = {
        { .target = "/v0/hints",
          .bytes = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
                   "HTTP/1.1 102 Processing\r\n\r\n"
                   "HTTP/1.1 200 OK\r\nX-Final: 1\r\nContent-Length: 2\r\n\r\nok" },
        { 0 }
    };
    WORLD(w);
    struct answer a = { 0 };
    start(&w, answers);
    http_get(w.port, "/hints", &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), "ok");
    assert_string_equal(answer_header(&a, "X-Final"), "1");
    assert_int_equal(answer_header_count(&a, "Link"), 0);
    answer_free(&a);
}

/* What they hold is dropped: many large ones take no room from the final answer. */
static void large_interim_answers_take_no_room(void **state)
{
    (void)state;
    struct canned answers[2] = { { .target = "/v0/hints" } };
    WORLD(w);
    struct answer a = { 0 };
    struct bytes text = { 0 };
    for (int i = 0; i < 90; i++) {
        bytes_add_str(&text, "HTTP/1.1 103 Early Hints\r\nLink: <");
        bytes_fill(&text, 'x', 8000);
        bytes_add_str(&text, ">\r\n\r\n");
    }
    bytes_add_str(&text, "HTTP/1.1 200 OK\r\nX-Final: 1\r\nContent-Length: 2\r\n\r\nok");
    answers[0].bytes = bytes_text(&text);
    start(&w, answers);
    http_get(w.port, "/hints", &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_header(&a, "X-Final"), "1");
    assert_int_equal(answer_header_count(&a, "Link"), 0);
    world_end(&w);
    answer_free(&a);
    bytes_free(&text);
}

/* More than lies in all buffers on the way, so that the interim answer is read before the
 * body's end. */
#define UPLOAD_BYTES (24 * 1024 * 1024)

/* 103 before the body is read; then, all of it read, the final answer or none. */
static void serve_interim_first(struct peer_conn *c, void *arg)
{
    const bool *answers = arg;
    struct peer_request *r = peer_read_head(c);
    if (r == NULL || !peer_puts(c, "HTTP/1.1 103 Early Hints\r\n\r\n") || !peer_read_body(c, r))
        return;
    if (*answers)
        (void)peer_answer(c, 200, "X-Final: 1\r\n", "ok");
}

static void upload(struct client *c, bool chunked)
{
    static char block[65536];
    char head[128];
    (void)snprintf(head, sizeof head, "POST /up HTTP/1.1\r\nHost: localhost\r\n%s: ",
                   chunked ? "Transfer-Encoding" : "Content-Length");
    client_puts(c, head);
    (void)snprintf(head, sizeof head, "%d\r\n\r\n", UPLOAD_BYTES);
    client_puts(c, chunked ? "chunked\r\n\r\n" : head);
    for (size_t sent = 0; sent < UPLOAD_BYTES; sent += sizeof block) {
        if (chunked)
            client_puts(c, "10000\r\n");
        client_send(c, block, sizeof block);
        if (chunked)
            client_puts(c, "\r\n");
    }
    if (chunked)
        client_puts(c, "0\r\n\r\n");
}

/* The upstream has begun to answer while the body still came; what it says once the body is
 * whole, or that it says nothing, reaches the caller. */
static void an_interim_answer_to_half_an_upload_does_not_swallow_the_final_one(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        WORLD(w);
        struct answer a = { 0 };
        struct client c;
        bool answers = i == 0;
        world_start(&w,
                    &(struct world_options){ .serve = serve_interim_first, .arg = &answers });
        client_open(&c, w.port);
        upload(&c, answers);
        client_read(&c, &a, false, SOON_MS);
        assert_int_equal(a.status, answers ? 200 : 502);
        if (answers)
            assert_string_equal(bytes_text(&a.body), "ok");
        else
            assert_problem_detail(&a, "outcome unknown");
        assert_int_equal(peer_count(w.api, ""), 1);
        client_close(&c);
        answer_free(&a);
    }
}

static void a_large_head_below_the_limits_passes(void **state)
{
    (void)state;
    static char raw[60000];
    size_t n = (size_t)snprintf(raw, sizeof raw, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n");
    for (int i = 0; i < 150; i++)
        n += (size_t)snprintf(raw + n, sizeof raw - n, "X-%d: %0300d\r\n", i, i);
    (void)snprintf(raw + n, sizeof raw - n, "\r\n");
    static const struct canned answers[] = { { .target = "/v0/big", .bytes = raw }, { 0 } };
    WORLD(w);
    struct answer a = { 0 };
    start(&w, answers);
    http_get(w.port, "/big", &a);
    assert_int_equal(a.status, 200);
    for (int i = 0; i < 150; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "X-%d", i);
        assert_int_equal(strlen(answer_header(&a, name)), 300);
    }
    answer_free(&a);
}

static void one_request_id_comes_back_whatever_the_upstream_says(void **state)
{
    (void)state;
    static char large[40000];
    int n =
        snprintf(large, sizeof large,
                 "HTTP/1.1 200 OK\r\nX-Request-Id: theirs\r\nContent-Length: 0\r\nX-Large: ");
    memset(large + n, 'x', sizeof large - (size_t)n - 5);
    memcpy(large + sizeof large - 5, "\r\n\r\n", 5);
    const struct canned answers[] = {
        { .target = "/v0/with",
          .bytes = "HTTP/1.1 200 OK\r\nX-Request-Id: theirs\r\nContent-Length: 0\r\n\r\n" },
        { .target = "/v0/without", .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" },
        { .target = "/v0/large", .bytes = large },
        { 0 },
    };
    static const char *const ids[] = { NULL, "X-Request-Id: mine\r\n" };
    WORLD(w);
    struct answer a = { 0 };
    start(&w, answers);
    for (size_t i = 0; answers[i].target != NULL; i++)
        for (size_t k = 0; k < sizeof ids / sizeof *ids; k++) {
            http_call(w.port, "GET", answers[i].target, ids[k], NULL, &a);
            assert_int_equal(a.status, 200);
            assert_int_equal(answer_header_count(&a, "X-Request-Id"), 1);
        }
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fields_come_back_unchanged_but_for_the_hop_by_hop_ones),
        TEST(an_empty_field_of_an_answer_is_kept),
        TEST(a_compressed_body_is_not_touched),
        TEST(answers_without_a_body_keep_their_lengths_and_the_connection),
        TEST(answers_without_a_body_or_a_length_get_neither),
        TEST(a_chunked_answer_and_one_until_close_arrive_whole),
        TEST(error_answers_of_the_upstream_pass_byte_for_byte),
        TEST(redirects_are_not_followed_and_lead_back_here),
        TEST(interim_answers_do_not_disturb_the_final_one),
        TEST(large_interim_answers_take_no_room),
        TEST(an_interim_answer_to_half_an_upload_does_not_swallow_the_final_one),
        TEST(one_request_id_comes_back_whatever_the_upstream_says),
        TEST(a_large_head_below_the_limits_passes),
    };
    return RUN_TESTS(tests);
}

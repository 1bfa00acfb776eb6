/* An upstream that cannot be reached, is slow, or breaks off, in each way. Rows:
 * tests/hostile/README.md. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"
#include "later.h"

/* An upstream that refuses the connection, or whose name is not known: 502. (row 43) */
static void an_upstream_that_refuses_or_has_no_name_is_502(void **state)
{
    (void)state;
    static const struct {
        const char *settings, *error;
    } cases[] = {
        { "upstream.base_url = http://127.0.0.1:1/v0\n", "connection_refused" },
        { "upstream.base_url = https://no-such-host.invalid/v0\n", "dns_error" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WORLD(w);
        struct answer a = { 0 };
        world_start(&w, &(struct world_options){ .settings = cases[i].settings });
        http_call(w.port, "POST", "/x", NULL, "{}", &a);
        assert_problem(&a, 502, "upstream", cases[i].error);
        assert_lacks(bytes_text(&a.body), "outcome unknown");
        answer_free(&a);
    }
}

/* A listener whose queue is full: the kernel drops what else wants to connect. */
static int full_listener(int *port, int fillers[], size_t n)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    for (size_t i = 0; i < n; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], (struct sockaddr *)&address, sizeof address);
    }
    return fd;
}

/* An upstream that does not accept the connection: 504, with the name of the setting.
 * (row 43) */
static void connecting_without_end_is_504_and_names_the_key(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    int port, fillers[8];
    int fd = full_listener(&port, fillers, 8);
    char settings[160];
    (void)snprintf(
        settings, sizeof settings,
        "upstream.base_url = http://127.0.0.1:%d/v0\nupstream.connect_timeout = 300ms\n", port);
    world_start(&w, &(struct world_options){ .settings = settings });
    http_call(w.port, "POST", "/x", NULL, "{}", &a);
    assert_problem(&a, 504, "upstream", "connection_timeout");
    assert_problem_detail(&a, "connect_timeout");
    for (size_t i = 0; i < 8; i++)
        (void)close(fillers[i]);
    (void)close(fd);
    answer_free(&a);
}

/* An upstream whose certificate is not right gets nothing, and the caller 502. (row 52) */
static void a_certificate_that_is_not_right_is_502(void **state)
{
    (void)state;
    static const enum cert_kind kinds[] = { CERT_EXPIRED, CERT_WRONG_NAME, CERT_SELF_SIGNED };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        WORLD(w);
        struct answer a = { 0 };
        world_start(&w, &(struct world_options){ .cert = kinds[i] });
        http_get(w.port, "/x", &a);
        assert_problem(&a, 502, "upstream", "tls_certificate_error");
        assert_int_equal(peer_count(w.api, ""), 0); /* no token went to a stranger */
        answer_free(&a);
    }
}

static void a_sound_certificate_is_accepted(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char value[64];
    world_start(&w, &(struct world_options){ .cert = CERT_VALID });
    for (int i = 0; i < 3; i++) {
        http_call(w.port, "POST", "/x", NULL, "tls", &a);
        assert_int_equal(a.status, 200);
        assert_string_equal(bytes_text(&a.body), "tls");
    }
    assert_int_equal(peer_connections(w.api), 1);
    assert_true(head_value(bytes_text(&peer_request(w.api, "", 0)->head), "Host", 0, value,
                           sizeof value));
    assert_string_equal(value, peer_url(w.api) + strlen("https://"));
    answer_free(&a);
}

static void serve_plain_text(struct peer_conn *c, void *arg)
{
    (void)arg;
    (void)peer_puts(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
}

static void an_upstream_that_speaks_no_tls_is_502(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char settings[128];
    struct world_options options = { .no_proxy = true,
                                     .settings = settings,
                                     .serve = serve_plain_text };
    world_start(&w, &options);
    (void)snprintf(settings, sizeof settings, "upstream.base_url = https://127.0.0.1:%d/v0\n",
                   peer_port(w.api));
    world_proxy(&w, &options);
    http_get(w.port, "/x", &a);
    assert_problem(&a, 502, "upstream", "tls_protocol_error");
    assert_int_equal(peer_count(w.api, ""), 0);
    answer_free(&a);
}

/* Writes what the target asks for and then says nothing more. arg: an open gate, which tells
 * when it is written, or NULL. */
static void serve_part(struct peer_conn *c, void *arg)
{
    const struct peer_request *r = peer_read_request(c);
    if (r == NULL)
        return;
    if (strcmp(r->target, "/v0/head") == 0)
        (void)peer_puts(c, "HTTP/1.1 200 OK\r\nContent-");
    if (strcmp(r->target, "/v0/body") == 0)
        (void)peer_puts(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbeginning");
    if (arg != NULL)
        (void)gate_pass(arg, c);
    peer_read_eof(c);
}

/* An upstream that does not begin to answer: 504. (row 49) */
static void an_upstream_without_a_first_byte_is_504(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w,
                &(struct world_options){ .serve = serve_part,
                                         .settings = "upstream.response_timeout = 300ms\n" });
    http_call(w.port, "POST", "/nothing", NULL, "{}", &a);
    assert_problem(&a, 504, "upstream", "http_response_timeout");
    assert_problem_detail(&a, "response_timeout");
    assert_true(peer_wait_closed_to(w.api, 0, SOON_MS)); /* it is not used again */
    http_get(w.port, "/nothing", &a);
    assert_problem(&a, 504, "upstream", "http_response_timeout");
    assert_true(peer_wait(w.api, "", 2, SOON_MS));
    assert_int_equal(peer_count(w.api, ""), 2);
    answer_free(&a);
}

/* An upstream that stops in the head of its answer: 504. (row 49) */
static void an_upstream_that_stalls_in_its_head_is_504(void **state)
{
    (void)state;
    static struct gate written;
    LATER(later);
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    gate_init(&written);
    gate_open(&written);
    world_start(&w, &(struct world_options){ .serve = serve_part,
                                             .arg = &written,
                                             .env = later.env,
                                             .settings = "upstream.response_timeout = 5m\n" });
    client_open(&c, w.port);
    client_puts(&c, "POST /head HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    assert_true(gate_wait_arrived(&written, 1, SOON_MS));
    for (int turns = 0; turns < 3; turns++) { /* the one worker sees what was sent */
        if (turns == 2)
            later_by(&later, 301 * 1000);
        http_call(w.port, "TRACE", "/x", NULL, NULL, &a);
        assert_int_equal(a.status, 405);
    }
    client_read(&c, &a, false, SOON_MS);
    assert_problem(&a, 504, "upstream", "connection_read_timeout");
    assert_problem_detail(&a, "response_timeout");
    assert_int_equal(peer_count(w.api, ""), 1);
    client_close(&c);
    answer_free(&a);
}

/* An upstream that stops in the body of its answer: aborted, so that the caller does not take
 * it for whole. (row 45) */
static void an_upstream_that_stalls_in_its_body_is_cut_off(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .serve = serve_part,
                                             .settings = "upstream.idle_timeout = 300ms\n" });
    client_open(&c, w.port);
    client_call(&c, "GET", "/body", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.end, ANSWER_CUT);
    assert_string_equal(bytes_text(&a.body), "beginning");
    assert_true(proxy_log_wait(w.proxy, "event=access error=upstream-stalled", 1, SOON_MS));
    client_close(&c);
    answer_free(&a);
}

#define OK "HTTP/1.1 200 OK\r\n"

static const struct {
    const char *bytes;
    bool reset;
} cuts[] = {
    { OK "Content-Length: 10\r\n\r\nshort", false },
    { OK "Content-Length: 10\r\n\r\nshort", true },
    { OK "Content-Length: 10\r\n\r\n", false },
    { OK "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", false },
    { OK "Transfer-Encoding: chunked\r\n\r\n5\r\nsho", false },
    { OK "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n", false },
    { OK "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", true },
    { OK "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nzz\r\nbad\r\n0\r\n\r\n", false },
    { OK "Transfer-Encoding: chunked\r\n\r\n5\r\nshortlong\r\n0\r\n\r\n", false },
};

static void answer_cut(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)arg;
    size_t n = strtoul(r->target + strlen("/v0/"), NULL, 10);
    (void)peer_puts(c, cuts[n].bytes);
    if (cuts[n].reset)
        peer_reset(c);
    else
        peer_close(c);
}

/* An upstream that closes in the body of its answer: aborted, so that the caller does not take
 * it for whole. (row 45) */
static void a_body_cut_short_is_never_ended_cleanly(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .answer = answer_cut });
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        char target[32];
        (void)snprintf(target, sizeof target, "/%zu", i);
        http_get(w.port, target, &a);
        /* where nothing has gone out yet, saying so is even better */
        bool told = a.end == ANSWER_WHOLE && a.status == 502;
        bool cut = a.end == ANSWER_CUT || a.end == ANSWER_NONE;
        if (!told && !cut)
            fail_msg("case %zu: end %d, status %d:\n%s%s", i, (int)a.end, a.status,
                     bytes_text(&a.head), bytes_text(&a.body));
        assert_int_equal(peer_count(w.api, ""), i + 1);
    }
    answer_free(&a);
}

static void answer_too_much(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)arg;
    if (strcmp(r->target, "/v0/more") == 0)
        (void)peer_puts(c,
                        OK "Content-Length: 2\r\n\r\nok" OK "Content-Length: 6\r\n\r\npoison");
    else
        (void)peer_answer(c, 200, NULL, "clean");
}

/* Bytes that follow an answer are not the answer to the next request. (row 50) */
static void bytes_behind_an_answer_poison_nothing(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .answer = answer_too_much });
    client_open(&c, w.port);
    client_call(&c, "GET", "/more", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), "ok");
    client_close(&c);
    for (int i = 0; i < 3; i++) {
        http_get(w.port, "/next", &a);
        assert_int_equal(a.status, 200);
        assert_string_equal(bytes_text(&a.body), "clean");
    }
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_upstream_that_refuses_or_has_no_name_is_502),
        TEST(connecting_without_end_is_504_and_names_the_key),
        TEST(a_certificate_that_is_not_right_is_502),
        TEST(a_sound_certificate_is_accepted),
        TEST(an_upstream_that_speaks_no_tls_is_502),
        TEST(an_upstream_without_a_first_byte_is_504),
        TEST(an_upstream_that_stalls_in_its_head_is_504),
        TEST(an_upstream_that_stalls_in_its_body_is_cut_off),
        TEST(a_body_cut_short_is_never_ended_cleanly),
        TEST(bytes_behind_an_answer_poison_nothing),
    };
    return RUN_TESTS(tests);
}

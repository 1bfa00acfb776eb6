/* Calls that move money: a request that may have reached the upstream is never sent twice.
 * Rows: tests/hostile/README.md. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "harness.h"

/* What becomes of a request after the first of its connection, or of each on /always. */
enum fate { FATE_CLOSE, FATE_RESET, FATE_HALF_HEAD };

static void end_it(struct peer_conn *c, enum fate fate)
{
    if (fate == FATE_HALF_HEAD)
        (void)peer_puts(c, "HTTP/1.1 2");
    if (fate == FATE_RESET)
        peer_reset(c);
    else
        peer_close(c);
}

/* Answers the first request of the first connection; there the second is read whole and the
 * connection ends. Later connections answer all but /always. */
static void serve_and_die(struct peer_conn *c, void *arg)
{
    const enum fate *fate = arg;
    const struct peer_request *r;
    while ((r = peer_read_request(c)) != NULL) {
        bool always = strstr(r->target, "/always") != NULL;
        if (always || (c->number == 1 && c->requests > 1)) {
            end_it(c, *fate);
            return;
        }
        (void)peer_answer(c, 200, NULL, "fine");
    }
}

struct call {
    const char *method, *body;
    bool chunked;
};

static const struct call unsafe_calls[] = {
    { "POST", "{\"amount\":1}", false },
    { "POST", NULL, false },
    { "POST", "", false },
    { "PUT", "{\"amount\":1}", false },
    { "PUT", NULL, false },
    { "PATCH", "{\"amount\":1}", false },
    { "PATCH", NULL, false },
    { "DELETE", NULL, false },
    { "DELETE", "{\"why\":1}", false },
    { "POST", "{\"amount\":1}", true },
    { "PROPFIND", NULL, false },
};

static void call(struct world *w, const struct call *how, const char *target, struct answer *a)
{
    if (!how->chunked) {
        http_call(w->port, how->method, target, NULL, how->body, a);
        return;
    }
    char request[512];
    (void)snprintf(request, sizeof request,
                   "%s %s HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
                   "Connection: close\r\n\r\n%zx\r\n%s\r\n0\r\n\r\n",
                   how->method, target, strlen(how->body), how->body);
    http_raw(w->port, request, a);
}

static void assert_lost(const struct answer *a, const struct call *how)
{
    if (a->status != 502)
        fail_msg("%s %s got %d", how->method, how->body ? how->body : "without a body",
                 a->status);
    assert_problem(a, 502, "upstream", "connection_terminated");
    assert_problem_detail(a, "outcome unknown");
    assert_int_equal(answer_header_count(a, "Retry-After"), 0);
}

static void lose_on_reuse(enum fate fate)
{
    for (size_t i = 0; i < sizeof unsafe_calls / sizeof *unsafe_calls; i++) {
        const struct call *how = &unsafe_calls[i];
        char pattern[64];
        (void)snprintf(pattern, sizeof pattern, "%s /v0/money", how->method);
        WORLD(w);
        struct answer a = { 0 };
        world_start(&w, &(struct world_options){ .serve = serve_and_die, .arg = &fate });
        http_get(w.port, "/prime", &a);
        assert_int_equal(a.status, 200);
        call(&w, how, "/money", &a);
        assert_lost(&a, how);
        assert_int_equal(peer_request(w.api, pattern, 0)->connection, 1); /* it was reused */
        /* something later went through, so a second send would have been seen by now */
        http_get(w.port, "/later", &a);
        assert_int_equal(a.status, 200);
        assert_int_equal(peer_count(w.api, pattern), 1);
        answer_free(&a);
    }
}

/* A pooled connection dies after the upstream has read a request that is not safe to repeat: it
 * was sent once, and the caller gets 502. (row 53) */
static void an_unsafe_request_lost_on_a_reused_connection_is_sent_once(void **state)
{
    (void)state;
    lose_on_reuse(FATE_CLOSE);
}

static void an_unsafe_request_reset_on_a_reused_connection_is_sent_once(void **state)
{
    (void)state;
    lose_on_reuse(FATE_RESET);
}

static void an_unsafe_request_lost_on_a_fresh_connection_is_sent_once(void **state)
{
    (void)state;
    static const enum fate fates[] = { FATE_CLOSE, FATE_RESET };
    for (size_t f = 0; f < sizeof fates / sizeof *fates; f++) {
        WORLD(w);
        struct answer a = { 0 };
        enum fate fate = fates[f];
        world_start(&w, &(struct world_options){ .serve = serve_and_die, .arg = &fate });
        for (size_t i = 0; i < sizeof unsafe_calls / sizeof *unsafe_calls; i++) {
            call(&w, &unsafe_calls[i], "/always", &a);
            assert_lost(&a, &unsafe_calls[i]);
        }
        assert_int_equal(peer_count(w.api, ""), sizeof unsafe_calls / sizeof *unsafe_calls);
        answer_free(&a);
    }
}

static void half_an_answer_to_an_unsafe_request_is_not_repeated(void **state)
{
    (void)state;
    static const char *const methods[] = { "POST", "PUT", "DELETE" };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        WORLD(w);
        struct answer a = { 0 };
        enum fate fate = FATE_HALF_HEAD;
        char pattern[64];
        (void)snprintf(pattern, sizeof pattern, "%s /v0/money", methods[i]);
        world_start(&w, &(struct world_options){ .serve = serve_and_die, .arg = &fate });
        http_get(w.port, "/prime", &a);
        http_call(w.port, methods[i], "/money", NULL, NULL, &a);
        assert_int_equal(a.status, 502);
        assert_int_equal(peer_count(w.api, pattern), 1);
        answer_free(&a);
    }
}

/* A pooled connection dies under a request that is safe to repeat: it is sent once more, and
 * not again. (row 53) */
static void a_safe_request_lost_on_a_reused_connection_is_repeated_once(void **state)
{
    (void)state;
    static const char *const methods[] = { "GET", "HEAD", "OPTIONS" };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        WORLD(w);
        struct answer a = { 0 };
        enum fate fate = FATE_CLOSE;
        char pattern[64];
        (void)snprintf(pattern, sizeof pattern, "%s /v0/read", methods[i]);
        world_start(&w, &(struct world_options){ .serve = serve_and_die, .arg = &fate });
        http_get(w.port, "/prime", &a);
        http_call(w.port, methods[i], "/read", NULL, NULL, &a);
        if (a.status != 200)
            fail_msg("%s got %d", methods[i], a.status);
        assert_int_equal(peer_count(w.api, pattern), 2);
        assert_int_equal(peer_request(w.api, pattern, 1)->connection, 2);
        answer_free(&a);
    }
}

static void a_safe_request_is_not_repeated_without_end(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    enum fate fate = FATE_CLOSE;
    world_start(&w, &(struct world_options){ .serve = serve_and_die, .arg = &fate });
    http_get(w.port, "/always", &a);
    assert_problem(&a, 502, "upstream", "connection_terminated");
    assert_int_equal(peer_count(w.api, "GET /v0/always"), 1); /* a fresh one: no repeat */
    http_get(w.port, "/prime", &a);
    assert_int_equal(a.status, 200);
    http_get(w.port, "/always?again", &a);
    assert_problem(&a, 502, "upstream", "connection_terminated");
    assert_int_equal(peer_count(w.api, "GET /v0/always?again"), 2);
    answer_free(&a);
}

/* Answers one request a connection and closes, without saying so; *arg: the end is in the same
 * packet as the answer. */
static void serve_one(struct peer_conn *c, void *arg)
{
    const int *together = arg;
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, together, sizeof *together);
    if (peer_read_request(c) != NULL)
        (void)peer_answer(c, 200, NULL, "fine");
}

static void die_while_idle(int together)
{
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .serve = serve_one, .arg = &together });
    for (size_t i = 0; i < sizeof unsafe_calls / sizeof *unsafe_calls; i++) {
        call(&w, &unsafe_calls[i], "/idle", &a);
        if (a.status != 200)
            fail_msg("%s got %d", unsafe_calls[i].method, a.status);
        assert_true(peer_wait_closed_to(w.api, 0, SOON_MS));
    }
    assert_int_equal(peer_count(w.api, ""), sizeof unsafe_calls / sizeof *unsafe_calls);
    answer_free(&a);
}

static void a_connection_that_died_while_idle_costs_no_request(void **state)
{
    (void)state;
    die_while_idle(0);
}

static void a_connection_that_died_with_its_answer_costs_no_request(void **state)
{
    (void)state;
    die_while_idle(1);
}

static void a_request_of_which_no_byte_was_sent_is_tried_once_more(void **state)
{
    (void)state;
    static const struct {
        const char *method, *body;
    } cases[] = { { "POST", "{\"amount\":1}" }, { "GET", NULL }, { "DELETE", NULL } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WORLD(w);
        struct answer a = { 0 };
        /* closed before its TLS handshake: nothing of the request can have left */
        world_start(&w, &(struct world_options){ .cert = CERT_VALID, .drop_first = 1 });
        http_call(w.port, cases[i].method, "/once", NULL, cases[i].body, &a);
        assert_int_equal(a.status, 200);
        assert_int_equal(peer_count(w.api, ""), 1);
        assert_string_equal(bytes_text(&peer_request(w.api, "", 0)->body),
                            cases[i].body ? cases[i].body : "");
        answer_free(&a);
    }
}

static void the_second_failure_before_the_first_byte_is_told(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .cert = CERT_VALID, .drop_first = 100 });
    http_call(w.port, "POST", "/once", NULL, "x", &a);
    assert_int_equal(a.status, 502);
    assert_lacks(bytes_text(&a.body), "outcome unknown");
    assert_int_equal(peer_connections(w.api), 2);
    answer_free(&a);
}

/* A proxy on the way, which is the API too: behind CONNECT it answers two requests and closes,
 * and waits until the other side has closed as well. A kernel that is short of memory for
 * sockets does not send the end behind bytes that are not acknowledged until it sends those
 * again, hundreds of milliseconds later; a POST in between would be lost.
 * So many times as *arg says, a CONNECT is met by the end. */
static void serve_behind_connect(struct peer_conn *c, void *arg)
{
    atomic_int *closes = arg;
    if (peer_read_request(c) == NULL || atomic_fetch_sub(closes, 1) > 0)
        return;
    (void)peer_puts(c, "HTTP/1.1 200 Connected\r\n\r\n");
    for (int i = 0; i < 2 && peer_read_request(c) != NULL; i++)
        (void)peer_answer(c, 200, NULL, "fine");
    peer_finish_writing(c);
    peer_read_eof(c);
}

/* What earlier requests on a used connection left behind is no sign that this one was sent. */
static void a_request_that_gets_no_connection_was_not_sent_whatever_was_before(void **state)
{
    (void)state;
    if (by_handshake("the proxy on the way speaks in plain text"))
        skip();
    for (int failures = 1; failures <= 2; failures++) {
        static atomic_int closes;
        WORLD(w);
        struct answer a = { 0 };
        char settings[96];
        closes = 0;
        world_start(&w, &(struct world_options){
                            .serve = serve_behind_connect, .arg = &closes, .no_proxy = true });
        (void)snprintf(settings, sizeof settings, "token.proxy = none\nupstream.proxy = %s\n",
                       peer_url(w.api));
        world_proxy(&w, &(struct world_options){ .settings = settings });
        for (int i = 0; i < 2; i++) {
            http_get(w.port, "/prime", &a);
            assert_int_equal(a.status, 200);
        }
        assert_true(peer_wait_closed_to(w.api, 0, SOON_MS));
        closes = failures;
        http_call(w.port, "POST", "/money", NULL, "x", &a);
        if (a.status != (failures == 1 ? 200 : 502))
            fail_msg("%d (%d): %s", a.status, (int)a.end, bytes_text(&a.body));
        assert_int_equal(peer_count(w.api, "CONNECT"), 3);
        assert_int_equal(peer_count(w.api, "POST"), failures == 1);
        if (failures == 2) {
            assert_problem_detail(&a, "The outbound proxy ended the connection");
            assert_lacks(bytes_text(&a.body), "outcome unknown");
        }
        answer_free(&a);
    }
}

/* Not even the first write of a request takes a byte: by then nothing else tells what was sent.
 */
static void start_with_first_send(struct world *w, const char *how, peer_serve_fn serve)
{
    static char env_how[32];
    static const char *const env[] = { "LD_PRELOAD=" FIRST_SEND, env_how, NULL };
    static enum fate fate = FATE_CLOSE;
    if (by_handshake("first_send.so looks for plain text"))
        skip();
    (void)snprintf(env_how, sizeof env_how, "FIRST_SEND=%s", how);
    world_start(w, &(struct world_options){ .serve = serve, .arg = &fate, .env = env });
}

static void serve_all(struct peer_conn *c, void *arg)
{
    (void)arg;
    while (peer_read_request(c) != NULL)
        (void)peer_answer(c, 200, NULL, "fine");
}

static void an_unsafe_request_whose_first_write_had_to_wait_is_sent_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof unsafe_calls / sizeof *unsafe_calls; i++) {
        const struct call *how = &unsafe_calls[i];
        WORLD(w);
        struct answer a = { 0 };
        start_with_first_send(&w, "wait", serve_and_die);
        http_get(w.port, "/prime", &a);
        assert_int_equal(a.status, 200);
        call(&w, how, "/first", &a);
        assert_lost(&a, how);
        http_get(w.port, "/later", &a);
        assert_int_equal(a.status, 200);
        assert_int_equal(peer_count(w.api, " /v0/first"), 1);
        assert_int_equal(peer_request(w.api, " /v0/first", 0)->connection, 1);
        answer_free(&a);
    }
}

/* The i-th unsafe call, as the i-th of its target: answered, and there as it was sent. */
static void assert_arrives(struct world *w, size_t i)
{
    const struct call *how = &unsafe_calls[i];
    struct answer a = { 0 };
    call(w, how, "/first", &a);
    if (a.status != 200)
        fail_msg("%s %s got %d", how->method, how->body ? how->body : "without a body",
                 a.status);
    assert_string_equal(bytes_text(&peer_request(w->api, " /v0/first", i)->body),
                        how->body ? how->body : "");
    answer_free(&a);
}

static void a_request_whose_first_write_has_to_wait_arrives_whole(void **state)
{
    (void)state;
    WORLD(w);
    start_with_first_send(&w, "wait", serve_all);
    for (size_t i = 0; i < sizeof unsafe_calls / sizeof *unsafe_calls; i++)
        assert_arrives(&w, i);
}

/* libcurl gives TLS 16 KiB of a head at a time. */
static void a_chunked_body_behind_a_head_of_many_writes_keeps_its_framing(void **state)
{
    (void)state;
    static const enum cert_kind certs[] = { CERT_NONE, CERT_VALID };
    for (size_t k = 0; k < sizeof certs / sizeof *certs; k++) {
        WORLD(w);
        struct answer a = { 0 };
        char head[24000], body[40000], request[sizeof head + sizeof body + 400];
        memset(head, 'h', sizeof head - 1);
        memset(body, 'b', sizeof body - 1);
        head[sizeof head - 1] = body[sizeof body - 1] = '\0';
        world_start(&w, &(struct world_options){
                            .serve = serve_all,
                            .cert = certs[k],
                            .settings = "upstream.http_version = 1.1\n",
                        });
        (void)snprintf(request, sizeof request,
                       "POST /first HTTP/1.1\r\nHost: localhost\r\nX-Long: %s\r\n"
                       "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                       "9\r\n0\r\n\r\nGET \r\n%zx\r\n%s\r\n0\r\n\r\n",
                       head, strlen(body), body);
        http_raw(w.port, request, &a);
        assert_int_equal(a.status, 200);
        const struct peer_request *r = peer_request(w.api, "", 0);
        assert_true(r->chunked);
        assert_int_equal(r->body.len, 9 + strlen(body));
        assert_memory_equal(r->body.data, "0\r\n\r\nGET b", 10);
        assert_int_equal(peer_count(w.api, ""), 1);
        answer_free(&a);
    }
}

static void a_first_write_that_fails_on_a_reused_connection_goes_out_on_another(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    start_with_first_send(&w, "fail", serve_all);
    for (size_t i = 0; i < sizeof unsafe_calls / sizeof *unsafe_calls; i++) {
        http_get(w.port, "/prime", &a);
        assert_int_equal(a.status, 200);
        assert_arrives(&w, i);
    }
    assert_int_equal(peer_count(w.api, " /v0/first"),
                     sizeof unsafe_calls / sizeof *unsafe_calls);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_unsafe_request_lost_on_a_reused_connection_is_sent_once),
        TEST(an_unsafe_request_reset_on_a_reused_connection_is_sent_once),
        TEST(an_unsafe_request_lost_on_a_fresh_connection_is_sent_once),
        TEST(half_an_answer_to_an_unsafe_request_is_not_repeated),
        TEST(a_safe_request_lost_on_a_reused_connection_is_repeated_once),
        TEST(a_safe_request_is_not_repeated_without_end),
        TEST(a_connection_that_died_while_idle_costs_no_request),
        TEST(a_connection_that_died_with_its_answer_costs_no_request),
        TEST(a_request_of_which_no_byte_was_sent_is_tried_once_more),
        TEST(the_second_failure_before_the_first_byte_is_told),
        TEST(a_request_that_gets_no_connection_was_not_sent_whatever_was_before),
        TEST(an_unsafe_request_whose_first_write_had_to_wait_is_sent_once),
        TEST(a_request_whose_first_write_has_to_wait_arrives_whole),
        TEST(a_chunked_body_behind_a_head_of_many_writes_keeps_its_framing),
        TEST(a_first_write_that_fails_on_a_reused_connection_goes_out_on_another),
    };
    return RUN_TESTS(tests);
}

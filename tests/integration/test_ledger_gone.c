/* The ledger when somebody leaves, dies or is not there: a caller, the upstream, the token
 * endpoint, the program itself. Whatever happens, a key is executed once, and a retry is
 * told the truth. */
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"
#include "later.h"
#include "store.h"

static struct gate gate;
static _Atomic unsigned executions;

/* Carries it out, and answers when the gate is open. */
static void answer_late(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)r;
    (void)arg;
    ++executions;
    if (gate_pass(&gate, c))
        (void)peer_answer(c, 200, "Content-Type: application/json\r\n", "{\"paid\":1}");
}

/* Carries it out, and ends the connection without a word. */
static void carry_out_and_leave(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)r;
    (void)arg;
    ++executions;
    peer_close(c);
}

/* A store and a program that uses it; settings: further ones, or NULL; env: the program's. */
static void begin_with(struct world *w, struct store *s, const char *settings,
                       api_answer_fn answer, const char *const *env)
{
    gate_init(&gate);
    executions = 0;
    store_make(s, settings);
    world_start(
        w, &(struct world_options){ .settings = s->settings, .answer = answer, .env = env });
}

static void begin(struct world *w, struct store *s, const char *settings, api_answer_fn answer)
{
    begin_with(w, s, settings, answer, NULL);
}

static void pay(const struct world *w, struct answer *a)
{
    http_call(w->port, "POST", PATH, KEY, PAY, a);
}

/* Sends it on a connection that stays open. */
static void pay_begin(const struct world *w, struct client *c)
{
    char request[512];

    (void)snprintf(request, sizeof request,
                   "POST " PATH " HTTP/1.1\r\nHost: localhost\r\n" KEY
                   "Content-Length: %zu\r\n\r\n" PAY,
                   strlen(PAY));
    client_open(c, w->port);
    client_puts(c, request);
}

/* One that the API has carried out and has not answered yet. */
static void pay_and_wait(const struct world *w, struct client *c)
{
    pay_begin(w, c);
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
}

static void assert_type(const struct answer *a, int status, const char *slug)
{
    char type[128], wanted[128];

    json_member(&a->body, "type", type, sizeof type);
    (void)snprintf(wanted, sizeof wanted, "urn:oneshot-proxy:%s", slug);
    if (a->status != status || strcmp(type, wanted) != 0)
        fail_msg("expected %d %s, got %d\n%s%s", status, slug, a->status, bytes_text(&a->head),
                 bytes_text(&a->body));
}

static void assert_replayed(const struct answer *a)
{
    assert_int_equal(a->status, 200);
    assert_string_equal(answer_header(a, "Idempotent-Replayed"), "true");
    assert_string_equal(bytes_text(&a->body), "{\"paid\":1}");
}

/* Until the program has no connection of a caller's any more, and this many requests under
 * way. */
static void wait_until_alone(const struct world *w, int in_flight)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    struct answer a = { 0 };
    char wanted[64];

    (void)snprintf(wanted, sizeof wanted, "oneshot_proxy_requests_in_flight %d\n", in_flight);
    for (;;) {
        http_get(proxy_admin_port(w->proxy), "/metrics", &a);
        if (strstr(bytes_text(&a.body), "oneshot_proxy_connections 0\n") != NULL &&
            strstr(bytes_text(&a.body), wanted) != NULL)
            break;
        if (!ask_again(deadline_ms))
            fail_msg("the program is never alone with %d requests", in_flight);
    }
    answer_free(&a);
}

/* The program is started again with the same store. */
static void start_again(struct world *w, const struct store *s)
{
    world_proxy(w, &(struct world_options){ .settings = s->settings });
}

static void a_key_under_way_is_told_so(void **state)
{
    (void)state;
    STORE(s);
    WORLD(w);
    begin(&w, &s, NULL, answer_late);
    struct client first;
    struct answer a = { 0 };
    pay_and_wait(&w, &first);
    pay(&w, &a);
    assert_type(&a, 409, "idempotency-in-flight");
    assert_string_equal(answer_header(&a, "Retry-After"), "2");
    assert_contains(bytes_text(&a.body), "\"retryable\":true");
    gate_open(&gate);
    client_read(&first, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    client_close(&first);
    pay(&w, &a);
    assert_replayed(&a);
    assert_int_equal(executions, 1);
    answer_free(&a);
}

static void a_caller_that_gives_up_gets_the_answer_by_its_retry(void **state)
{
    (void)state;
    STORE(s);
    WORLD(w);
    begin(&w, &s, "admin.address = 127.0.0.1:0\nclasses.table = 1shot", answer_late);
    struct client first;
    struct answer a = { 0 };
    pay_and_wait(&w, &first);
    client_close(&first);
    wait_until_alone(&w, 1);
    pay(&w, &a);
    assert_type(&a, 409, "idempotency-in-flight");
    gate_open(&gate);
    assert_true(proxy_log_wait(
        w.proxy, "event=access status=499 aborted=caller outcome=answered", 1, SOON_MS));
    wait_until_alone(&w, 0);
    pay(&w, &a);
    assert_replayed(&a);
    assert_int_equal(executions, 1);
    /* what became of it is known, though its caller was not told */
    http_get(proxy_admin_port(w.proxy), "/metrics", &a);
    assert_contains(bytes_text(&a.body),
                    "oneshot_proxy_outcome_unknown_total{class=\"money\"} 0\n");
    answer_free(&a);
}

static void an_upstream_that_leaves_after_it_was_carried_out_is_asked_no_more(void **state)
{
    (void)state;
    STORE(s);
    WORLD(w);
    begin(&w, &s, NULL, carry_out_and_leave);
    struct answer a = { 0 };
    pay(&w, &a);
    assert_problem(&a, 502, "upstream", "connection_terminated");
    for (int i = 0; i < 3; i++) {
        pay(&w, &a);
        assert_type(&a, 409, "idempotency-outcome-unknown");
    }
    assert_int_equal(executions, 1);
    answer_free(&a);
}

static void a_program_that_is_killed_leaves_an_unknown_outcome(void **state)
{
    (void)state;
    STORE(s);
    WORLD(w);
    begin(&w, &s, NULL, answer_late);
    struct client first;
    struct answer a = { 0 };
    pay_and_wait(&w, &first);
    proxy_signal(w.proxy, SIGKILL);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 128 + SIGKILL);
    proxy_free(w.proxy);
    client_close(&first);
    gate_open(&gate);
    start_again(&w, &s);
    for (int i = 0; i < 2; i++) {
        pay(&w, &a);
        assert_type(&a, 409, "idempotency-outcome-unknown");
    }
    assert_int_equal(executions, 1);
    assert_true(proxy_log_wait(w.proxy, "event=ledger_orphans", 1, SOON_MS));
    answer_free(&a);
}

static void answers_outlive_the_program(void **state)
{
    (void)state;
    STORE(s);
    WORLD(w);
    begin(&w, &s, NULL, answer_late);
    gate_open(&gate);
    struct answer a = { 0 };
    pay(&w, &a);
    assert_int_equal(a.status, 200);
    proxy_stop(w.proxy);
    start_again(&w, &s);
    pay(&w, &a);
    assert_replayed(&a);
    assert_int_equal(executions, 1);
    answer_free(&a);
}

static void a_stored_answer_needs_no_token(void **state)
{
    (void)state;
    STORE(s);
    WORLD(w);
    begin(&w, &s, "token.wait_timeout = 100ms", answer_late);
    gate_open(&gate);
    struct answer a = { 0 };
    pay(&w, &a);
    proxy_stop(w.proxy);
    tokens_hold(w.tokens);
    world_proxy(&w, &(struct world_options){ .settings = s.settings, .hold_tokens = true });
    pay(&w, &a);
    assert_replayed(&a);
    /* and one that is not there is not claimed */
    http_call(w.port, "POST", PATH, "Idempotency-Key: other\r\n", PAY, &a);
    assert_problem(&a, 504, "token", "connection_read_timeout");
    assert_int_equal(proxy_log_count(w.proxy, "event=access ledger=claimed"), 0);
    tokens_release(w.tokens);
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    http_call(w.port, "POST", PATH, "Idempotency-Key: other\r\n", PAY, &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(executions, 2);
    answer_free(&a);
}

static void a_stop_ends_what_runs_and_the_rest_is_unknown(void **state)
{
    (void)state;
    STORE(s);
    WORLD(w);
    begin(&w, &s, "process.drain_timeout = 1s", answer_late);
    struct client first;
    struct answer a = { 0 };
    pay_and_wait(&w, &first);
    proxy_signal(w.proxy, SIGTERM);
    client_read(&first, &a, false, SOON_MS);
    assert_problem(&a, 504, "upstream", "http_response_timeout");
    assert_contains(bytes_text(&a.body), "\"retryable\":false");
    client_close(&first);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    proxy_free(w.proxy);
    gate_open(&gate);
    start_again(&w, &s);
    pay(&w, &a);
    assert_type(&a, 409, "idempotency-outcome-unknown");
    assert_int_equal(executions, 1);
    answer_free(&a);
}

static void a_stop_waits_for_an_exchange_whose_caller_has_left(void **state)
{
    (void)state;
    STORE(s);
    WORLD(w);
    begin(&w, &s, "admin.address = 127.0.0.1:0", answer_late);
    struct client first;
    struct answer a = { 0 };
    pay_and_wait(&w, &first);
    client_close(&first);
    wait_until_alone(&w, 1);
    proxy_signal(w.proxy, SIGTERM);
    assert_true(proxy_log_wait(w.proxy, "event=draining", 1, SOON_MS));
    gate_open(&gate);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    proxy_free(w.proxy);
    start_again(&w, &s);
    pay(&w, &a);
    assert_replayed(&a);
    assert_int_equal(executions, 1);
    answer_free(&a);
}

/* The first half of an answer, then nothing until the gate opens. */
static void answer_in_halves(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)r;
    (void)arg;
    ++executions;
    (void)peer_puts(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"pai");
    if (gate_pass(&gate, c))
        (void)peer_puts(c, "d\":1}");
}

static void a_caller_that_leaves_inside_its_answer_gets_all_of_it_later(void **state)
{
    (void)state;
    STORE(s);
    WORLD(w);
    begin(&w, &s, NULL, answer_in_halves);
    struct client first;
    struct answer a = { 0 };
    pay_begin(&w, &first);
    client_read_head(&first, &a, SOON_MS);
    assert_int_equal(a.status, 200);
    client_reset(&first);
    gate_open(&gate);
    assert_true(
        proxy_log_wait(w.proxy, "event=access ledger=claimed outcome=answered", 1, SOON_MS));
    pay(&w, &a);
    assert_replayed(&a);
    assert_int_equal(executions, 1);
    answer_free(&a);
}

#define PIECE_BYTES 16384
#define THE_END 1000
static _Atomic unsigned pieces;  /* of the answer, that are to be sent */
static _Atomic unsigned arrived; /* pieces that have reached the program's system */

/* Waits until all that was sent on the connection is acknowledged. */
static void wait_acknowledged(const struct peer_conn *c)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    int n = 1;

    while (ioctl(c->fd, TIOCOUTQ, &n) == 0 && n > 0 && ask_again(deadline_ms))
        ;
}

/* An answer whose head is so large that it goes past libmicrohttpd, a piece at a time. */
static void answer_by_pieces(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    static char field[1024], piece[PIECE_BYTES];
    bool ok = true;

    (void)arg;
    if (strcmp(r->method, "GET") == 0) {
        (void)peer_answer(c, 200, NULL, "");
        return;
    }
    ++executions;
    memset(field, 'f', sizeof field - 1);
    ok = peer_puts(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n");
    for (int i = 0; i < 40 && ok; i++)
        ok = peer_puts(c, "X-Field: ") && peer_puts(c, field) && peer_puts(c, "\r\n");
    ok = ok && peer_puts(c, "\r\n");
    for (unsigned sent = 0; ok && gate_pass(&gate, c);) {
        if (pieces == THE_END) {
            peer_close(c);
            return;
        }
        if (sent < pieces) {
            ok = peer_write(c, piece, sizeof piece);
            wait_acknowledged(c);
            arrived = ++sent;
            continue;
        }
        gate_shut(&gate);
        if (sent < pieces) /* one more was asked for just now */
            gate_open(&gate);
    }
}

static size_t unread(const struct client *c)
{
    int n = 0;

    assert_int_equal(ioctl(c->fd, FIONREAD, &n), 0);
    return (size_t)n;
}

/* Whether the first n pieces lie there for the caller, all of them. One thread of the program
 * does all of it: it reads the last one, and passes on what there is room for, before it
 * answers requests that come later. */
static bool all_lie_there(const struct world *w, const struct client *c, unsigned n)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    struct answer a = { 0 };

    while (arrived < n)
        assert_true(ask_again(deadline_ms));
    for (int i = 0; i < 3; i++)
        http_get(w->port, "/chains", &a);
    answer_free(&a);
    return unread(c) >= (size_t)n * PIECE_BYTES;
}

/* It stands still inside a piece of the answer, and has read all that came. When it looks
 * again there is room for more, and the caller has closed its side: both at once. */
static void a_caller_that_makes_room_and_leaves_at_once_harms_nobody(void **state)
{
    static char place[160], settings[256];

    (void)state;
    STORE(s);
    WORLD(w);
    struct client first;
    struct answer a = { 0 };
    gate_init(&gate);
    executions = pieces = arrived = 0;
    (void)snprintf(place, sizeof place, "/tmp/oneshot-ledger-gone-%d", (int)getpid());
    (void)snprintf(settings, sizeof settings,
                   "process.workers = 1\nlisten.address = 127.0.0.1:0, unix:%s", place);
    store_make(&s, settings);
    world_start(&w,
                &(struct world_options){ .settings = s.settings, .answer = answer_by_pieces });
    client_open_unix(&first, place);
    client_puts(&first, "POST " PATH " HTTP/1.1\r\nHost: localhost\r\n" KEY
                        "Content-Length: 12\r\n\r\n" PAY);
    client_read_head(&first, &a, SOON_MS);
    assert_int_equal(a.status, 200);
    do {
        pieces++;
        gate_open(&gate);
    } while (all_lie_there(&w, &first, pieces));
    proxy_signal(w.proxy, SIGSTOP);
    while (unread(&first) > 0)
        assert_int_equal(client_fill(&first, SOON_MS), 1);
    assert_int_equal(shutdown(first.fd, SHUT_WR), 0);
    proxy_signal(w.proxy, SIGCONT);
    assert_true(client_closed(&first, SOON_MS));
    client_close(&first);
    pay(&w, &a);
    assert_type(&a, 409, "idempotency-in-flight");
    pieces = THE_END;
    gate_open(&gate);
    assert_true(proxy_log_wait(
        w.proxy, "event=access status=200 aborted=caller outcome=answered", 1, SOON_MS));
    assert_int_equal(executions, 1);
    answer_free(&a);
}

/* Carries everything out; a stream is refused, or answered when the gate is open. */
static void serve_h2(struct peer_conn *c, void *arg)
{
    const bool *refuses = arg;
    uint32_t stream;

    if (!h2_begin(c))
        return;
    while ((stream = h2_read_request(c, NULL)) != 0) {
        ++executions;
        if (*refuses)
            (void)h2_reset(c, stream, H2_REFUSED_STREAM);
        else if (gate_pass(&gate, c))
            (void)h2_answer(c, stream, 200, "{\"paid\":1}");
    }
}

static void begin_h2(struct world *w, struct store *s, const char *settings, bool *refuses,
                     const char *const *env)
{
    gate_init(&gate);
    executions = 0;
    store_make(s, settings);
    world_start(w, &(struct world_options){ .settings = s->settings,
                                            .env = env,
                                            .serve = serve_h2,
                                            .arg = refuses,
                                            .cert = CERT_VALID,
                                            .h2 = true });
}

#define H2 "upstream.http_version = 2\n"

static void an_answer_that_does_not_begin_in_time_is_unknown(void **state)
{
    static const char *const ways[] = { "upstream.response_timeout = 5m",
                                        H2 "upstream.response_timeout = 5m" };
    (void)state;
    static bool refuses;
    for (int h2 = 0; h2 < 2; h2++) {
        LATER(later);
        STORE(s);
        WORLD(w);
        if (h2 != 0)
            begin_h2(&w, &s, ways[h2], &refuses, later.env);
        else
            begin_with(&w, &s, ways[h2], answer_late, later.env);
        struct client first;
        struct answer a = { 0 };
        pay_and_wait(&w, &first);
        assert_true(later_until_heard(&later, &first, 301 * 1000));
        client_read(&first, &a, false, SOON_MS);
        assert_problem(&a, 504, "upstream", "http_response_timeout");
        client_close(&first);
        for (int i = 0; i < 2; i++) {
            pay(&w, &a);
            assert_type(&a, 409, "idempotency-outcome-unknown");
        }
        assert_int_equal(executions, 1);
        gate_open(&gate);
        answer_free(&a);
    }
}

static void over_http_2_a_caller_that_gives_up_gets_the_answer_by_its_retry(void **state)
{
    (void)state;
    static bool refuses;
    STORE(s);
    WORLD(w);
    begin_h2(&w, &s, H2 "admin.address = 127.0.0.1:0", &refuses, NULL);
    struct client first;
    struct answer a = { 0 };
    pay_and_wait(&w, &first);
    client_close(&first);
    wait_until_alone(&w, 1);
    gate_open(&gate);
    wait_until_alone(&w, 0);
    pay(&w, &a);
    assert_replayed(&a);
    assert_int_equal(executions, 1);
    answer_free(&a);
}

/* REFUSED_STREAM says that nothing was done (RFC 9113 section 8.7). */
static void a_refused_stream_frees_the_key(void **state)
{
    (void)state;
    static bool refuses = true;
    STORE(s);
    WORLD(w);
    begin_h2(&w, &s, H2, &refuses, NULL);
    struct answer a = { 0 };
    pay(&w, &a);
    assert_int_equal(a.status, 502);
    assert_true(proxy_log_wait(w.proxy, "event=access outcome=released", 1, SOON_MS));
    unsigned before = executions;
    pay(&w, &a);
    assert_int_equal(a.status, 502);
    assert_true(executions > before);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answer_that_does_not_begin_in_time_is_unknown),
        TEST(over_http_2_a_caller_that_gives_up_gets_the_answer_by_its_retry),
        TEST(a_refused_stream_frees_the_key),
        TEST(a_key_under_way_is_told_so),
        TEST(a_caller_that_gives_up_gets_the_answer_by_its_retry),
        TEST(an_upstream_that_leaves_after_it_was_carried_out_is_asked_no_more),
        TEST(a_program_that_is_killed_leaves_an_unknown_outcome),
        TEST(answers_outlive_the_program),
        TEST(a_stored_answer_needs_no_token),
        TEST(a_stop_ends_what_runs_and_the_rest_is_unknown),
        TEST(a_stop_waits_for_an_exchange_whose_caller_has_left),
        TEST(a_caller_that_leaves_inside_its_answer_gets_all_of_it_later),
        TEST(a_caller_that_makes_room_and_leaves_at_once_harms_nobody),
    };
    return RUN_TESTS(tests);
}

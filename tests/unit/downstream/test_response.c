/* response.c: the head of an answer is the same for both ways, and nothing that
 * libmicrohttpd writes by itself ends up in it. Uses the real libmicrohttpd, handler.c,
 * conn.c and sockets; the relay is defined here. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "downstream/downstream.h"
#include "downstream/handler.h"
#include "downstream/response.h"
#include "proxy/admission.h"
#include "unit.h"

/* --- the relay ---------------------------------------------------------------------------- */

static struct relay relay;
static struct response_sink *sink;
static struct buf down;
static struct arena arena;
static struct {
    bool woken, gone, lost, discards, ended;
    size_t refused, ends, body_bytes;
    size_t room; /* how much of the body is taken now; 0: all */
    bool full;
    int status;
    struct failure refusal;
} seen;

struct relay *relay_new(struct context *ctx, struct response_sink *s, const char *target)
{
    (void)ctx;
    (void)target;
    sink = s;
    sink->body = &down;
    sink->arena = &arena;
    return &relay;
}

void admission_on_head(struct relay *r, const struct admission_request *request)
{
    (void)r;
    (void)request;
    sink->request_id = "the-name";
}

void relay_on_refused(struct relay *r, const struct failure *f, const char *request_id)
{
    (void)r;
    (void)request_id;
    seen.refused++;
    seen.refusal = *f;
    sink->status = failure_status(f);
}

size_t relay_on_body(struct relay *r, const char *bytes, size_t n)
{
    (void)r;
    (void)bytes;
    if (seen.full)
        n = 0;
    else if (seen.room > 0) {
        n = n < seen.room ? n : seen.room;
        seen.full = true;
    }
    seen.body_bytes += n;
    return n;
}

void relay_on_body_end(struct relay *r)
{
    (void)r;
    seen.ended = seen.woken = true;
}

void relay_on_body_lost(struct relay *r)
{
    (void)r;
    seen.lost = true;
}

void relay_on_caller_gone(struct relay *r)
{
    (void)r;
    seen.gone = true;
}

void relay_wake(struct relay *r)
{
    (void)r;
    seen.woken = true;
}

void relay_end(struct relay *r)
{
    (void)r;
    seen.ends++;
    seen.status = sink->status;
    sink = NULL; /* it goes with the connection */
}

void relay_on_answer_taken(struct relay *r)
{
    (void)r;
}

const char *relay_target(const struct relay *r)
{
    (void)r;
    return "/x";
}

bool relay_expects_body(const struct relay *r)
{
    (void)r;
    return true;
}

bool relay_waits_for_token(const struct relay *r)
{
    (void)r;
    return false;
}

bool relay_takes_body(const struct relay *r)
{
    (void)r;
    return !seen.full;
}

bool relay_passes_body_on(const struct relay *r)
{
    (void)r;
    return !seen.discards;
}

bool relay_wants_rest(const struct relay *r)
{
    (void)r;
    return !seen.ended && !seen.lost;
}

bool relay_is_stuck(const struct relay *r)
{
    (void)r;
    return false;
}

bool relay_is_abandoned(const struct relay *r)
{
    (void)r;
    return seen.gone;
}

/* --- the caller --------------------------------------------------------------------------- */

static struct context ctx;
static struct config config;
static struct downstream downstream;
static _Atomic int64_t connections;
static int caller;
static char in[65536];
static size_t in_len;

static int setup(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof seen);
    memset(&ctx, 0, sizeof ctx);
    memset(&downstream, 0, sizeof downstream);
    config = (struct config){ .listen = { .max_connections = 10,
                                          .max_header_size_bytes = 8192,
                                          .max_headers = 100,
                                          .header_timeout_ms = 10000,
                                          .idle_timeout_ms = 10000 } };
    arena_init(&arena, 65536);
    buf_init(&down, 65536);
    connections = 0;
    ctx.config = &config;
    downstream.ctx = &ctx;
    downstream.user = &handler_conn_user;
    downstream.connections = &connections;
    LIST_INIT(&downstream.conns);
    handovers_init(&downstream.handovers, &downstream.mhd_host);
    caller = -1;
    in_len = 0;
    int err = loop_init(&ctx.loop);
    mhd_pool_init(&downstream.mhd_pool, &ctx.loop, 24576);
    recent_failures_outbox_init(&ctx.failures, &ctx.loop, NULL);
    return err != 0 ? err
                    : mhd_host_init(
                          &downstream.mhd_host, &ctx.loop,
                          &(struct mhd_host_options){ .pool_bytes = 24576,
                                                      .connection_limit = 10,
                                                      .idle_timeout_ms = 10000,
                                                      .on_request = handler_on_request,
                                                      .on_completed = handler_on_completed,
                                                      .on_target = handler_on_target,
                                                      .on_connection = handler_on_connection,
                                                      .arg = &downstream });
}

/* All that can be done is done. */
static void settle(void)
{
    for (int i = 0; i < 10; i++) {
        downstream.mhd_host.due = true;
        (void)mhd_host_turn(&downstream.mhd_host);
        if (sink != NULL && seen.ends == 0)
            sink->ops->resume(sink);
        seen.woken = false;
    }
}

static int teardown(void **state)
{
    (void)state;
    if (seen.ends == 0 && sink != NULL) {
        seen.gone = true;
        sink->ops->close(sink);
        settle();
    }
    (void)close(caller);
    settle();
    mhd_host_done(&downstream.mhd_host);
    handovers_done(&downstream.handovers);
    mhd_pool_done(&downstream.mhd_pool);
    recent_failures_outbox_done(&ctx.failures);
    loop_done(&ctx.loop);
    buf_done(&down);
    arena_done(&arena);
    sink = NULL;
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void send_text(const char *text)
{
    assert_int_equal(send(caller, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    settle();
}

/* A connection of which that is known, and which has sent this before libmicrohttpd gets it. */
static void connect_known(struct handover known, const char *text)
{
    struct sockaddr_un nameless = { .sun_family = AF_UNIX };
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
                     0);
    caller = pair[0];
    assert_int_equal(send(caller, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    assert_int_equal(handover_give(&downstream.handovers, pair[1], known,
                                   (const struct sockaddr *)&nameless, sizeof(sa_family_t)),
                     0);
    settle();
}

static void connect_caller(void)
{
    connect_known((struct handover){ .kind = HANDOVER_UNIX }, "");
}

/* What has come; whether the connection has ended too. */
static bool receive(void)
{
    settle();
    for (;;) {
        ssize_t n = recv(caller, in + in_len, sizeof in - 1 - in_len, 0);
        if (n <= 0) {
            in[in_len] = '\0';
            return n == 0 || errno == ECONNRESET;
        }
        in_len += (size_t)n;
    }
}

/* --- heads -------------------------------------------------------------------------------- */

#define F(n, v)                                                                          \
    {                                                                                    \
        .name = (n), .value = (v), .name_len = sizeof(n) - 1, .value_len = sizeof(v) - 1 \
    }

static const struct header_field fields[] = { F("Content-Type", "text/plain"), F("X-Empty", ""),
                                              F("Set-Cookie", "a=1"), F("Set-Cookie", "b=2") };
static const struct header_field dated[] = { F("Date", "Tue, 15 Nov 1994 08:12:31 GMT") };

struct head_case {
    struct response_head head;
    struct failure failure;
    const char *body;
};

static void give(const struct head_case *c)
{
    if (c->failure.kind != FAIL_NONE) {
        sink->ops->reject(sink, &c->failure);
    } else {
        assert_int_equal(buf_add_str(&down, c->body), 0);
        sink->ops->begin(sink, &c->head);
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The head that came, with its fields sorted and the time left out. */
static void normal_head(char *out, size_t size)
{
    char *line[64], *rest = NULL;
    size_t n = 0, len = 0;
    char *end = strstr(in, "\r\n\r\n");

    if (end == NULL)
        fail_msg("no head in: %s", in);
    *end = '\0';
    for (char *at = strtok_r(in, "\r\n", &rest); at != NULL;
         at = strtok_r(NULL, "\r\n", &rest)) {
        size_t k = strlen(at);
        while (k > 0 && at[k - 1] == ' ')
            at[--k] = '\0';
        if (strncmp(at, "Date: ", 6) == 0 && strstr(at, "1994") == NULL)
            at[6] = '\0';
        line[n++] = at;
    }
    qsort(line + 1, n - 1, sizeof *line, by_text);
    out[0] = '\0';
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(out + len, size - len, "%s\n", line[i]);
}

/* early: before the body is all here. */
static void head_by(const struct head_case *c, bool early, char *out, size_t size)
{
    void *state = NULL;

    assert_int_equal(setup(&state), 0);
    ctx.draining = true; /* so that Connection: close is said either way */
    connect_caller();
    send_text("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n");
    send_text(early ? "o" : "ok");
    give(c);
    (void)receive();
    assert_int_equal(seen.ended, !early);
    normal_head(out, size);
    (void)teardown(&state);
}

static void both_ways_give_the_same_head(void **state)
{
    struct head_case cases[] = {
        { .head = { 201, fields, ARRAY_LEN(fields), 100, 2, false, false }, .body = "hi" },
        { .head = { 200, fields, 1, 100, -1, false, false }, .body = "hi" },
        { .head = { 200, dated, 1, 100, 0, false, false }, .body = "" },
        { .head = { 401, fields, 1, 100, 0, false, false }, .body = "" },
        { .head = { 403, NULL, 0, 100, 0, false, false }, .body = "" },
        { .head = { 204, NULL, 0, 100, -1, true, false }, .body = "" },
        { .head = { 304, fields, 1, 100, 5, true, false }, .body = "" },
        { .failure = failure_make(FAIL_TOKEN_REFUSED, "No.") },
        { .failure = failure_make(FAIL_METHOD_DENIED, "No.") },
        { .failure = failure_make(FAIL_OVERLOAD, "Later.") },
    };
    (void)state;
    cases[ARRAY_LEN(cases) - 1].failure.retry_after_s = 7;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char through[4096], past[4096];
        head_by(&cases[i], false, through, sizeof through);
        head_by(&cases[i], true, past, sizeof past);
        if (strcmp(through, past) != 0)
            fail_msg("case %zu: through libmicrohttpd\n%s\npast it\n%s", i, through, past);
        assert_non_null(strstr(past, "\nX-Request-Id: the-name\n"));
        assert_non_null(strstr(past, "\nConnection: close\n"));
    }
}

static void what_a_failure_tells_is_in_its_head(void **state)
{
    struct failure f = failure_make(FAIL_TOKEN_REFUSED, "No.");
    struct buf out;
    (void)state;
    buf_init(&out, 8192);
    assert_int_equal(response_message(&out, &f, "its-name"), 0);
    const char *text = buf_text(&out);
    assert_ptr_equal(strstr(text, "HTTP/1.1 401 Unauthorized\r\n"), text);
    assert_non_null(strstr(text, "\r\nX-Request-Id: its-name\r\n"));
    assert_non_null(strstr(text, "\r\nWWW-Authenticate: Bearer realm=\"oneshot-proxy\"\r\n"));
    assert_non_null(
        strstr(text, "\r\nProxy-Status: oneshot-proxy; error=proxy_configuration_error\r\n"));
    assert_non_null(strstr(text, "\r\nConnection: close\r\n"));
    assert_non_null(strstr(text, "\r\nDate: "));
    buf_done(&out);
}

/* RFC 9209 section 2 */
static void proxy_status_begins_with_those_nearer_to_the_origin(void **state)
{
    struct header_field theirs[] = { { "Proxy-Status", "their-cdn", 12, 9 },
                                     { "Server", "x", 6, 1 } };
    struct header_field all[ARRAY_LEN(theirs) + RESPONSE_OWN_FIELDS_MAX];
    struct response_text text;
    size_t at[2] = { 0 }, found = 0;

    (void)state;
    size_t count = response_fields(all, &text,
                                   &(struct response_input){ .status = 401,
                                                             .fields = theirs,
                                                             .count = ARRAY_LEN(theirs),
                                                             .request_id = "its-name" });
    for (size_t i = 0; i < count; i++)
        if (header_is(&all[i], "proxy-status")) {
            assert_true(found < ARRAY_LEN(at));
            at[found++] = i;
        }
    assert_int_equal(found, 2);
    assert_string_equal(all[at[0]].value, "their-cdn");
    assert_string_equal(all[at[1]].value, "oneshot-proxy; received-status=401");
}

/* --- an early answer and the rest of the body --------------------------------------------- */

static const struct head_case streamed = { .head = { 200, NULL, 0, 10, -1, false, false },
                                           .body = "one" };

static void begin_early(void)
{
    connect_caller();
    send_text("POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
              "5\r\nhello\r\n");
    assert_int_equal(seen.body_bytes, 5);
    give(&streamed);
    assert_false(receive());
    assert_non_null(strstr(in, "\r\n\r\n3\r\none"));
}

static void the_rest_of_a_body_is_read_while_its_answer_is_written(void **state)
{
    (void)state;
    begin_early();
    send_text("6\r\n world\r\n");
    assert_int_equal(seen.body_bytes, 11);
    assert_int_equal(buf_add_str(&down, "two"), 0);
    assert_false(receive());
    assert_non_null(strstr(in, "3\r\none\r\n3\r\ntwo"));
    send_text("0\r\n\r\n");
    assert_true(seen.ended);
    assert_false(receive());
    sink->ops->end(sink, RESPONSE_WHOLE);
    assert_true(receive());
    assert_non_null(strstr(in, "3\r\ntwo\r\n0\r\n\r\n"));
    assert_int_equal(seen.ends, 1);
    assert_false(seen.gone);
}

static void a_broken_chunk_does_not_break_the_answer(void **state)
{
    (void)state;
    begin_early();
    send_text("this is no chunk\r\n\r\n");
    assert_int_equal(seen.ends, 0);
    assert_int_equal(buf_add_str(&down, "two"), 0);
    sink->ops->end(sink, RESPONSE_WHOLE);
    settle();
    seen.lost = true; /* as the relay's clock finds out */
    assert_true(receive());
    assert_non_null(strstr(in, "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"));
    assert_null(strstr(in + 1, "HTTP/1.1"));
    assert_int_equal(seen.ends, 1);
    assert_int_equal(seen.refused, 0);
    assert_int_equal(seen.status, 200);
}

static void a_caller_that_sends_no_more_still_gets_its_answer(void **state)
{
    (void)state;
    begin_early();
    assert_int_equal(shutdown(caller, SHUT_WR), 0);
    settle();
    assert_true(seen.lost);
    assert_int_equal(buf_add_str(&down, "two"), 0);
    sink->ops->end(sink, RESPONSE_WHOLE);
    assert_true(receive());
    assert_non_null(strstr(in, "3\r\ntwo\r\n0\r\n\r\n"));
    assert_false(seen.gone);
}

/* Its end comes in the same moment as its last byte: nothing of it is lost. */
static void a_caller_that_closes_after_its_last_byte_has_sent_all(void **state)
{
    static const char rest[] = "6\r\n world\r\n0\r\n\r\n";
    (void)state;
    begin_early();
    sink->ops->end(sink, RESPONSE_WHOLE);
    assert_false(receive());
    assert_int_equal(send(caller, rest, sizeof rest - 1, MSG_NOSIGNAL), sizeof rest - 1);
    assert_int_equal(close(caller), 0);
    caller = -1;
    settle();
    assert_int_equal(seen.body_bytes, 11);
    assert_true(seen.ended);
    assert_false(seen.lost);
    assert_int_equal(seen.ends, 1);
}

/* ... and what libmicrohttpd keeps, because nobody takes it for now, still counts. */
static void the_end_of_a_caller_waits_for_what_was_not_taken_yet(void **state)
{
    static const char rest[] = "6\r\n world\r\n0\r\n\r\n";
    (void)state;
    begin_early();
    seen.room = 2;
    assert_int_equal(send(caller, rest, sizeof rest - 1, MSG_NOSIGNAL), sizeof rest - 1);
    assert_int_equal(shutdown(caller, SHUT_WR), 0);
    settle();
    assert_true(sink->held);
    assert_int_equal(seen.body_bytes, 7);
    assert_false(seen.lost);
    seen.room = 0;
    seen.full = false;
    settle();
    assert_int_equal(seen.body_bytes, 11);
    assert_true(seen.ended);
    assert_false(seen.lost);
}

static void a_caller_that_has_left_is_found_by_writing(void **state)
{
    (void)state;
    begin_early();
    (void)close(caller);
    caller = -1;
    assert_int_equal(buf_add_str(&down, "two"), 0);
    settle();
    assert_true(seen.gone);
    assert_int_equal(seen.ends, 1);
}

static void a_cut_answer_has_no_end(void **state)
{
    (void)state;
    begin_early();
    sink->ops->end(sink, RESPONSE_CUT);
    assert_true(receive());
    assert_null(strstr(in, "\r\n0\r\n"));
    assert_int_equal(seen.ends, 1);
}

/* Before an answer a broken chunk is the caller's fault: libmicrohttpd says so, and it is told
 * what it was. */
static void a_broken_chunk_without_an_answer_is_noted(void **state)
{
    (void)state;
    connect_caller();
    send_text("POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    send_text("this is no chunk\r\n\r\n");
    assert_true(receive());
    assert_ptr_equal(strstr(in, "HTTP/1.1 400"), in);
    assert_int_equal(seen.refused, 1);
    assert_int_equal(seen.refusal.kind, FAIL_BAD_REQUEST);
    assert_int_equal(seen.ends, 1);
    assert_false(seen.gone); /* it was not the caller who ended it */
}

static void a_connection_of_which_it_is_not_known_whose_it_is_is_closed_unread(void **state)
{
    static const struct handover unknown[] = { { .kind = HANDOVER_UNKNOWN },
                                               /* its bridge has ended */
                                               { .kind = HANDOVER_TLS, .owner = 1 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        connect_known(unknown[i], "POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_true(receive());
        assert_int_equal(in_len, 0);
        assert_null(sink); /* no request began */
        assert_int_equal(seen.ends, 0);
        assert_true(LIST_EMPTY(&downstream.conns));
        assert_int_equal(connections, 0);
        (void)close(caller);
    }
    caller = -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways_give_the_same_head),
        cmocka_unit_test(what_a_failure_tells_is_in_its_head),
        cmocka_unit_test(proxy_status_begins_with_those_nearer_to_the_origin),
        T(the_rest_of_a_body_is_read_while_its_answer_is_written),
        T(a_broken_chunk_does_not_break_the_answer),
        T(a_caller_that_sends_no_more_still_gets_its_answer),
        T(a_caller_that_closes_after_its_last_byte_has_sent_all),
        T(the_end_of_a_caller_waits_for_what_was_not_taken_yet),
        T(a_caller_that_has_left_is_found_by_writing),
        T(a_cut_answer_has_no_end),
        T(a_broken_chunk_without_an_answer_is_noted),
        T(a_connection_of_which_it_is_not_known_whose_it_is_is_closed_unread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

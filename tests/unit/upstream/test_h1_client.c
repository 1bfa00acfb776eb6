/* HTTP/1.1 byte by byte: how the client reads every kind of framing, cut at every place,
 * what it sends, when it sends again (almost never), and which connections it reuses. */
#include <netinet/tcp.h>

#include "scripted.h"

/* One request and what became of it. */
struct trial {
    struct exchange x;
    struct exchange_body body;
    struct buf answer;
    struct arena arena;
    unsigned sendings, heads, ends, progress;
    bool whole, claimed;
    struct failure failure;
};

static void on_sending(struct exchange *x)
{
    CONTAINER_OF(x, struct trial, x)->sendings++;
}

static void on_head(struct exchange *x)
{
    CONTAINER_OF(x, struct trial, x)->heads++;
}

static void on_progress(struct exchange *x)
{
    CONTAINER_OF(x, struct trial, x)->progress++;
}

static void on_end(struct exchange *x, const struct failure *f)
{
    struct trial *t = CONTAINER_OF(x, struct trial, x);

    t->ends++;
    t->whole = f == NULL;
    if (f != NULL)
        t->failure = *f;
}

static const struct exchange_user user = {
    .on_sending = on_sending, .on_head = on_head, .on_progress = on_progress, .on_end = on_end
};

#define WINDOW_BYTES 65536
#define TOKEN "c2VjcmV0LXRva2Vu"

/* Starts a request whose body, of this length (-1: chunked), begins with these bytes. */
static void trial_start(struct scripted *s, struct trial *t, const char *method,
                        int64_t body_bytes, const char *bytes, size_t n)
{
    static const struct header_field fields[] = { { "Accept", "*/*", 6, 3 } };

    arena_init(&t->arena, 512 * 1024);
    buf_init(&t->answer, WINDOW_BYTES);
    buf_init(&t->body.bytes, 8 << 20);
    assert_int_equal(buf_add(&t->body.bytes, bytes, n), 0);
    exchange_init(&t->x, &(struct exchange_options){ .host = &s->host,
                                                     .user = &user,
                                                     .body = &t->body,
                                                     .answer_body = &t->answer,
                                                     .arena = &t->arena });
    const struct exchange_request request = {
        .config = s->config,
        .method = method,
        .prefix = "/v0",
        .path = "/it",
        .head = { .fields = fields,
                  .count = 1,
                  .host = s->config->upstream.authority,
                  .authorization = "Authorization: Bearer " TOKEN,
                  .body_bytes = body_bytes },
        .resendable = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0,
        .is_head = strcmp(method, "HEAD") == 0,
        .claimed = t->claimed,
    };
    assert_int_equal(exchange_start(&t->x, &request), FAIL_NONE);
    assert_int_equal(t->sendings + t->heads + t->ends, 0); /* nothing comes from within */
}

static void trial_end(struct trial *t)
{
    exchange_cancel(&t->x);
    /* Nothing of the token stays behind in what is kept for the next request. */
    const struct h1_client *h = t->x.h1;
    if (h->out.data != NULL)
        assert_null(memmem(h->out.data, h->out.cap, TOKEN, strlen(TOKEN)));
    exchange_done(&t->x);
    buf_done(&t->answer);
    buf_done(&t->body.bytes);
    arena_done(&t->arena);
    memset(t, 0, sizeof *t);
}

/* A request with a body that is all here, or (NULL) without one. */
static void trial_begin(struct scripted *s, struct trial *t, const char *method,
                        const char *body)
{
    size_t n = body == NULL ? 0 : strlen(body);

    t->body.kept = t->body.ended = true;
    trial_start(s, t, method, (int64_t)n, body == NULL ? "" : body, n);
}

/* Begins, and lets the peer have the whole request on its connection number `conn`. */
static void ask(struct scripted *s, struct trial *t, size_t conn, const char *method,
                const char *body)
{
    unsigned before = peer_requests(s);

    trial_begin(s, t, method, body);
    UNTIL(s, peer_requests(s) == before + 1 && peer_has(s, conn, body == NULL ? "" : body));
    assert_int_equal(s->conns, conn + 1);
}

#define OK "HTTP/1.1 200 OK\r\n"

enum ending { REUSED, CLOSED, UNTIL_CLOSE };

static const struct framing {
    const char *method, *bytes;
    int status;
    const char *body;
    enum ending ending;
} framings[] = {
    { "GET", OK "Content-Length: 5\r\n\r\nhello", 200, "hello", REUSED },
    { "GET", OK "Content-Length: 0\r\n\r\n", 200, "", REUSED },
    { "GET", OK "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", 200,
      "hello", REUSED },
    { "GET", OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", 200,
      "hello", REUSED },
    { "GET", OK "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, "", REUSED },
    { "GET", OK "X: 1\r\n\r\nhello", 200, "hello", UNTIL_CLOSE },
    { "GET", "HTTP/1.0 200 OK\r\n\r\nhello", 200, "hello", UNTIL_CLOSE },
    { "GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", CLOSED },
    { "GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", 200,
      "hello", REUSED },
    { "GET", OK "Connection: x, Close\r\nContent-Length: 5\r\n\r\nhello", 200, "hello",
      CLOSED },
    { "HEAD", OK "Content-Length: 5\r\n\r\n", 200, "", REUSED },
    { "HEAD", OK "Transfer-Encoding: chunked\r\n\r\n", 200, "", REUSED },
    { "GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", REUSED },
    { "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204, "", REUSED },
    { "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, "", CLOSED },
    { "GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", 204, "", CLOSED },
    { "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, "", REUSED },
    { "POST",
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok", 201,
      "ok", REUSED },
    { "POST",
      "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" OK
      "Content-Length: 2\r\n\r\nok",
      200, "ok", REUSED },
    { "POST", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno", 401, "no", REUSED },
    { "POST", "HTTP/1.1 503 Unavailable\nContent-Length: 2\n\nno", 503, "no", REUSED },
};

static void assert_answer(struct trial *t, const struct framing *f, const char *where)
{
    if (t->ends != 1 || !t->whole || t->heads != 1 || t->sendings != 1 ||
        t->x.head.status != f->status || strcmp(buf_text(&t->answer), f->body) != 0)
        fail_msg("%s, %s: ends %u whole %d heads %u sendings %u status %d body '%s' (%s)",
                 f->bytes, where, t->ends, t->whole, t->heads, t->sendings, t->x.head.status,
                 buf_text(&t->answer), t->failure.detail);
}

static void every_framing_is_understood_however_it_is_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(framings); i++) {
        const struct framing *f = &framings[i];
        size_t n = strlen(f->bytes);

        for (size_t cut = i % unit_step(); cut <= n; cut += unit_step()) {
            struct scripted s;
            struct trial t = { 0 };
            char where[32];

            scripted_start(&s, &h1_client_user, 8);
            (void)snprintf(where, sizeof where, "cut at %zu", cut);
            ask(&s, &t, 0, f->method, strcmp(f->method, "POST") == 0 ? "{}" : NULL);
            peer_say(&s, 0, f->bytes, cut);
            turn(&s);
            peer_say(&s, 0, f->bytes + cut, n - cut);
            if (f->ending == UNTIL_CLOSE) {
                turn(&s);
                assert_int_equal(t.ends, 0);
                peer_close(&s, 0, false);
            }
            UNTIL(&s, t.ends > 0);
            assert_answer(&t, f, where);
            assert_int_equal(s.pool.count, f->ending == REUSED ? 1 : 0);
            trial_end(&t);
            scripted_stop(&s);
        }
    }
}

static void every_byte_alone_is_understood_too(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(framings); i++) {
        const struct framing *f = &framings[i];
        struct scripted s;
        struct trial t = { 0 };

        scripted_start(&s, &h1_client_user, 8);
        ask(&s, &t, 0, f->method, strcmp(f->method, "POST") == 0 ? "{}" : NULL);
        for (const char *p = f->bytes; *p != '\0'; p++) {
            peer_say(&s, 0, p, 1);
            turn(&s);
        }
        if (f->ending == UNTIL_CLOSE)
            peer_close(&s, 0, false);
        UNTIL(&s, t.ends > 0);
        assert_answer(&t, f, "byte by byte");
        trial_end(&t);
        scripted_stop(&s);
    }
}

/* An answer that ends too early is a failure whose outcome is unknown, and never a reason to
 * send the request again once a byte of the answer was here. */
static void an_answer_that_ends_too_early_is_never_whole_and_never_asked_for_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(framings); i++) {
        const struct framing *f = &framings[i];
        size_t n = strlen(f->bytes);
        /* What is measured by the connection's end may end anywhere, but not by a reset. */
        size_t in_order = f->ending == UNTIL_CLOSE ? n - strlen(f->body) : n;
        size_t by_reset = f->ending == UNTIL_CLOSE ? n + 1 : n;

        for (int reset = 0; reset < 2; reset++)
            for (size_t cut = i % unit_step(); cut < (reset ? by_reset : in_order);
                 cut += unit_step()) {
                struct scripted s;
                struct trial t = { 0 };

                scripted_start(&s, &h1_client_user, 8);
                ask(&s, &t, 0, f->method, strcmp(f->method, "POST") == 0 ? "{}" : NULL);
                peer_say(&s, 0, f->bytes, cut);
                turn(&s); /* a reset may throw away what was not read */
                peer_close(&s, 0, reset);
                UNTIL(&s, t.ends > 0);
                settle(&s);
                if (t.whole || t.ends != 1 || t.sendings != 1 || s.conns != 1)
                    fail_msg("%.*s|: whole %d sendings %u connections %zu", (int)cut, f->bytes,
                             t.whole, t.sendings, s.conns);
                assert_false(failure_info(t.failure.kind)->retryable);
                assert_non_null(strstr(t.failure.detail, "outcome unknown"));
                assert_int_equal(s.pool.count, 0);
                trial_end(&t);
                scripted_stop(&s);
            }
    }
}

static void what_is_not_http_is_refused_and_the_connection_closed(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        enum failure_kind kind;
    } cases[] = {
        { "SSH-2.0-x\r\n", FAIL_UPSTREAM_PROTOCOL },
        { "HTTP/2 200\r\n\r\n", FAIL_UPSTREAM_PROTOCOL },
        { OK "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", FAIL_UPSTREAM_PROTOCOL },
        { OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
          FAIL_UPSTREAM_PROTOCOL },
        { OK "Transfer-Encoding: chunked\r\n\r\nzz\r\n", FAIL_UPSTREAM_PROTOCOL },
        { OK "Transfer-Encoding: chunked\r\n\r\n2\r\nokX\r\n", FAIL_UPSTREAM_PROTOCOL },
        { "HTTP/1.1 101 Switching\r\n\r\n", FAIL_UPSTREAM_PROTOCOL },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct scripted s;
        struct trial t = { 0 };

        scripted_start(&s, &h1_client_user, 8);
        ask(&s, &t, 0, "GET", NULL);
        peer_say(&s, 0, cases[i].bytes, strlen(cases[i].bytes));
        UNTIL(&s, t.ends > 0);
        settle(&s);
        assert_false(t.whole);
        if (t.failure.kind != cases[i].kind)
            fail_msg("%s: %s", cases[i].bytes, t.failure.detail);
        assert_int_equal(s.conns, 1);
        assert_int_equal(s.pool.count, 0);
        trial_end(&t);
        scripted_stop(&s);
    }
}

static void bytes_behind_an_answer_end_the_connection(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(framings); i++) {
        const struct framing *f = &framings[i];
        struct scripted s;
        struct trial t = { 0 };
        char bytes[512];

        if (f->ending == UNTIL_CLOSE)
            continue;
        scripted_start(&s, &h1_client_user, 8);
        ask(&s, &t, 0, f->method, strcmp(f->method, "POST") == 0 ? "{}" : NULL);
        int n = snprintf(bytes, sizeof bytes, "%s" OK "\r\n", f->bytes);
        peer_say(&s, 0, bytes, (size_t)n);
        UNTIL(&s, t.ends > 0);
        assert_answer(&t, f, "with more behind it");
        settle(&s);
        assert_int_equal(s.pool.count, 0);
        trial_end(&t);
        scripted_stop(&s);
    }
}

#define FINE OK "Content-Length: 2\r\n\r\nok"

/* A connection that has carried one request and is idle. */
static void warm(struct scripted *s)
{
    struct trial t = { 0 };

    ask(s, &t, 0, "GET", NULL);
    peer_say(s, 0, FINE, strlen(FINE));
    UNTIL(s, t.ends > 0);
    assert_true(t.whole);
    trial_end(&t);
    assert_int_equal(s->pool.count, 1);
    buf_clear(&s->got[0]);
}

static void a_connection_is_used_again_after_a_whole_answer(void **state)
{
    (void)state;
    struct scripted s;
    struct trial t = { 0 };

    scripted_start(&s, &h1_client_user, 8);
    warm(&s);
    for (int i = 0; i < 3; i++) {
        buf_clear(&s.got[0]);
        ask(&s, &t, 0, "POST", "{}");
        assert_true(t.x.attempt.reused);
        peer_say(&s, 0, FINE, strlen(FINE));
        UNTIL(&s, t.ends > 0);
        assert_true(t.whole);
        trial_end(&t);
    }
    scripted_stop(&s);
}

static void what_came_on_an_idle_connection_is_never_taken_for_an_answer(void **state)
{
    (void)state;
    for (int seen = 0; seen < 2; seen++) {
        struct scripted s;
        struct trial t = { 0 };

        scripted_start(&s, &h1_client_user, 8);
        warm(&s);
        clock_ahead_ms += 1000; /* the loop may not have told of it yet */
        turn(&s);
        peer_say(&s, 0, FINE, strlen(FINE));
        if (seen)
            turn(&s);
        ask(&s, &t, 1, "POST", "{}");
        assert_int_equal(t.ends, 0);
        peer_say(&s, 1, OK "Content-Length: 4\r\n\r\nmine", strlen(OK) + 25);
        UNTIL(&s, t.ends > 0);
        assert_string_equal(buf_text(&t.answer), "mine");
        trial_end(&t);
        scripted_stop(&s);
    }
}

/* --- never twice ------------------------------------------------------------------------- */

enum death {
    DIES_UNSEEN,  /* a reset before the request is written, which nobody has noticed yet */
    DIES_SILENT,  /* after the request was read, without a byte of an answer */
    DIES_HEAD,    /* inside the answer's head */
    DIES_INTERIM, /* after an interim answer */
    DIES_BODY,    /* inside the answer's body */
};

/* Whether the peer has read any byte of a request on that connection. */
static bool reached(struct scripted *s, size_t conn)
{
    return conn < s->conns && buf_unread(&s->got[conn]) > 0;
}

static void die(struct scripted *s, size_t conn, enum death how, bool reset)
{
    static const char *const said[] = { [DIES_UNSEEN] = "",
                                        [DIES_SILENT] = "",
                                        [DIES_HEAD] = "HTTP/1.1 20",
                                        [DIES_INTERIM] = "HTTP/1.1 102 Processing\r\n\r\n",
                                        [DIES_BODY] = OK "Content-Length: 9\r\n\r\nok" };

    peer_say(s, conn, said[how], strlen(said[how]));
    if (*said[how] != '\0')
        turn(s);
    peer_close(s, conn, reset);
}

struct fate {
    bool pooled; /* the connection has carried a request before */
    enum death how;
    bool reset; /* it ends by a reset, not in order */
    bool safe, kept;
    const char *body;
};

/* A second attempt, where there is one, meets the same end. */
static void meet(const struct fate *f)
{
    struct scripted s;
    struct trial t = { 0 };
    bool first_reached = f->how != DIES_UNSEEN;
    bool may = (f->kept || f->body == NULL) &&
               (!first_reached || (f->safe && f->pooled && f->how == DIES_SILENT));

    scripted_start(&s, &h1_client_user, 8);
    if (f->pooled)
        warm(&s);
    trial_begin(&s, &t, f->safe ? "GET" : "POST", f->body);
    t.body.kept = f->kept;
    if (first_reached)
        UNTIL(&s, peer_requests(&s) == 1);
    die(&s, 0, f->how, f->reset);
    UNTIL(&s, t.ends > 0 || reached(&s, 1));
    bool again = t.ends == 0;
    if (again) {
        die(&s, 1, first_reached ? f->how : DIES_SILENT, f->reset);
        UNTIL(&s, t.ends > 0);
    }
    settle(&s);
    if (t.whole || again != may || s.conns != (again ? 2U : 1U) || t.ends != 1 ||
        t.sendings != (again ? 2U : 1U))
        fail_msg("pooled %d death %d reset %d safe %d kept %d body %.2s: again %d connections "
                 "%zu sendings %u whole %d: %s",
                 f->pooled, (int)f->how, f->reset, f->safe, f->kept,
                 f->body == NULL ? "-" : f->body, again, s.conns, t.sendings, t.whole,
                 t.failure.detail);
    if (first_reached || again)
        assert_false(failure_info(t.failure.kind)->retryable);
    trial_end(&t);
    scripted_stop(&s);
}

/* Every way a connection can die, on a new connection and on one from the pool, for a safe
 * and an unsafe request, with bodies of several sizes that are kept or not: an unsafe
 * request reaches the peer once at most; a safe one a second time only from a pooled
 * connection that died without a byte of an answer; and nothing is sent three times. */
static void nothing_is_sent_twice_that_may_have_been_carried_out(void **state)
{
    (void)state;
    static char large[200001];
    memset(large, 'b', sizeof large - 1);
    const char *const bodies[] = { NULL, "{}", large };

    for (enum death how = DIES_UNSEEN; how <= DIES_BODY; how++)
        for (unsigned bits = 0; bits < 16; bits++)
            for (size_t body = 0; body < ARRAY_LEN(bodies); body++) {
                const struct fate f = { .pooled = (bits & 1) != 0,
                                        .how = how,
                                        .reset = (bits & 2) != 0,
                                        .safe = (bits & 4) != 0,
                                        .kept = (bits & 8) != 0,
                                        .body = bodies[body] };

                /* Only of a pooled connection the client knows before it writes, and only a
                 * reset shows then that nothing was taken. */
                if (how != DIES_UNSEEN || (f.pooled && f.reset))
                    meet(&f);
            }
}

static void a_second_attempt_gives_its_answer_as_if_it_were_the_first(void **state)
{
    (void)state;
    struct scripted s;
    struct trial t = { 0 };

    scripted_start(&s, &h1_client_user, 8);
    warm(&s);
    ask(&s, &t, 0, "GET", NULL);
    peer_close(&s, 0, false);
    UNTIL(&s, peer_has(&s, 1, "\r\n\r\n"));
    peer_say(&s, 1, FINE, strlen(FINE));
    UNTIL(&s, t.ends > 0);
    assert_true(t.whole);
    assert_false(t.x.attempt.reused);
    assert_int_equal(t.sendings, 2);
    assert_string_equal(buf_text(&t.answer), "ok");
    trial_end(&t);
    scripted_stop(&s);
}

static void nobody_there_is_tried_once_more_and_told_as_such(void **state)
{
    (void)state;
    struct scripted s;
    struct trial t = { 0 };

    scripted_start(&s, &h1_client_user, 8);
    (void)close(s.listener);
    s.listener = -1;
    trial_begin(&s, &t, "POST", "{}");
    UNTIL(&s, t.ends > 0);
    assert_int_equal(t.failure.kind, FAIL_UPSTREAM_CONNECT);
    assert_int_equal(t.sendings, 0);
    assert_int_equal(s.curl.opened, 2);
    assert_true(failure_info(t.failure.kind)->retryable);
    trial_end(&t);
    scripted_stop(&s);
}

/* --- the body of the request ------------------------------------------------------------- */

/* Bytes 0 to 49 are small letters, 50 to 99 large ones, and so on. */
#define FIRST_HALF "abcdefghijklmnopqrstuvwabcdefghijklmnopqrstuvwabcd"
#define SECOND_HALF "EFGHIJKLMNOPQRSTUVWABCDEFGHIJKLMNOPQRSTUVWABCDEFGH"
static char pattern(size_t i)
{
    return (char)((i / 50 % 2 == 0 ? 'a' : 'A') + i % 23);
}

/* Adds to the body up to a window, as a relay does. Returns how much is added in total. */
static size_t feed(struct trial *t, size_t fed, size_t total)
{
    static char piece[WINDOW_BYTES];
    size_t room = WINDOW_BYTES - exchange_body_unsent(&t->x);
    size_t n = room < total - fed ? room : total - fed;

    for (size_t i = 0; i < n; i++)
        piece[i] = pattern(fed + i);
    assert_int_equal(buf_add(&t->body.bytes, piece, n), 0);
    fed += n;
    t->body.ended = fed == total;
    return fed;
}

static void assert_uploaded(struct scripted *s, bool chunked, size_t total)
{
    const char *p = strstr(buf_text(&s->got[0]), "\r\n\r\n");
    size_t got = 0;

    assert_non_null(p);
    p += 4;
    for (size_t left = total; left > 0 || chunked;) {
        size_t n = left;

        if (chunked) {
            char *end = NULL;
            n = strtoul(p, &end, 16);
            p = end + 2;
            if (n == 0)
                break;
        }
        for (size_t i = 0; i < n; i++, got++)
            if (*p++ != pattern(got))
                fail_msg("another byte at %zu", got);
        left -= n;
        p += chunked ? 2 : 0;
    }
    assert_int_equal(got, total);
}

static void a_body_larger_than_the_window_arrives_whole(void **state)
{
    (void)state;
    enum { TOTAL = 1 << 20 };

    for (int chunked = 0; chunked < 2; chunked++) {
        struct scripted s;
        struct trial t = { 0 };
        size_t fed = 0;

        scripted_start(&s, &h1_client_user, 8);
        trial_start(&s, &t, "POST", chunked ? -1 : TOTAL, "", 0);
        for (int64_t until_ms = clock_ms() + SOON_MS;
             !t.body.ended || exchange_body_unsent(&t.x) > 0;) {
            assert_true(clock_ms() < until_ms);
            fed = feed(&t, fed, TOTAL);
            exchange_go_on(&t.x);
            assert_true(buf_unread(&t.body.bytes) <= WINDOW_BYTES);
            turn(&s);
            peer_take(&s);
        }
        UNTIL(&s,
              buf_unread(&s.got[0]) >= TOTAL && (!chunked || peer_has(&s, 0, "\r\n0\r\n\r\n")));
        settle(&s);
        assert_uploaded(&s, chunked, TOTAL);
        peer_say(&s, 0, FINE, strlen(FINE));
        UNTIL(&s, t.ends > 0);
        assert_true(t.whole);
        assert_int_equal(s.pool.count, 1);
        trial_end(&t);
        scripted_stop(&s);
    }
}

/* --- early answers ----------------------------------------------------------------------- */

/* Half of a body of 100 bytes, and the answer. */
static void answer_early(struct scripted *s, struct trial *t, const char *answer, bool chunked)
{
    trial_start(s, t, "POST", chunked ? -1 : 100, FIRST_HALF, 50);
    UNTIL(s, peer_has(s, 0, FIRST_HALF));
    peer_say(s, 0, answer, strlen(answer));
}

static void after_an_early_answer_below_400_the_upload_goes_on(void **state)
{
    (void)state;
    for (int chunked = 0; chunked < 2; chunked++) {
        struct scripted s;
        struct trial t = { 0 };

        scripted_start(&s, &h1_client_user, 8);
        answer_early(&s, &t, "HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok", chunked);
        UNTIL(&s, t.ends > 0);
        assert_true(t.whole);
        assert_true(exchange_is_sending(&t.x));
        assert_false(t.x.rest_unwanted);
        (void)feed(&t, 50, 100);
        exchange_go_on(&t.x);
        UNTIL(&s,
              peer_has(&s, 0, SECOND_HALF) && (!chunked || peer_has(&s, 0, "\r\n0\r\n\r\n")));
        assert_false(exchange_is_sending(&t.x));
        assert_int_equal(t.ends, 1);
        assert_int_equal(s.pool.count, 1); /* a whole answer to a whole request */
        trial_end(&t);
        scripted_stop(&s);
    }
}

static void while_an_answer_streams_the_upload_goes_on(void **state)
{
    (void)state;
    struct scripted s;
    struct trial t = { 0 };

    scripted_start(&s, &h1_client_user, 8);
    answer_early(&s, &t, OK "Content-Length: 10\r\n\r\nfirst", false);
    UNTIL(&s, buf_unread(&t.answer) == 5);
    (void)feed(&t, 50, 100);
    exchange_go_on(&t.x);
    UNTIL(&s, peer_has(&s, 0, SECOND_HALF));
    assert_int_equal(t.ends, 0);
    peer_say(&s, 0, "later", 5);
    UNTIL(&s, t.ends > 0);
    assert_true(t.whole);
    assert_int_equal(s.pool.count, 1);
    trial_end(&t);
    scripted_stop(&s);
}

static void after_an_early_answer_that_refuses_nothing_more_is_sent(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 503 Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
        OK "Connection: close\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nno",
    };
    for (size_t i = 0; i < ARRAY_LEN(answers); i++)
        for (int chunked = 0; chunked < 2; chunked++) {
            struct scripted s;
            struct trial t = { 0 };

            scripted_start(&s, &h1_client_user, 8);
            char most[256];
            size_t n = strlen(answers[i]) - 1;

            (void)snprintf(most, sizeof most, "%.*s", (int)n, answers[i]);
            answer_early(&s, &t, most, chunked);
            UNTIL(&s, t.heads > 0);
            assert_true(t.x.rest_unwanted);
            (void)feed(&t, 50, 100);
            exchange_go_on(&t.x);
            settle(&s);
            peer_say(&s, 0, answers[i] + n, 1);
            UNTIL(&s, t.ends > 0);
            assert_true(t.whole);
            assert_false(exchange_is_sending(&t.x));
            assert_int_equal(s.pool.count, 0);
            /* What was thrown away is not ended as if it were whole. */
            assert_false(peer_has(&s, 0, SECOND_HALF));
            assert_false(peer_has(&s, 0, "\r\n0\r\n\r\n"));
            trial_end(&t);
            scripted_stop(&s);
        }
}

static void an_upstream_that_leaves_after_an_early_answer_ends_the_upload(void **state)
{
    (void)state;
    for (int reset = 0; reset < 2; reset++) {
        struct scripted s;
        struct trial t = { 0 };

        scripted_start(&s, &h1_client_user, 8);
        answer_early(&s, &t, FINE, false);
        UNTIL(&s, t.ends > 0);
        peer_close(&s, 0, reset);
        UNTIL(&s, t.x.rest_unwanted);
        assert_false(exchange_is_sending(&t.x));
        assert_int_equal(t.ends, 1);
        assert_true(t.whole);
        assert_int_equal(s.pool.count, 0);
        trial_end(&t);
        scripted_stop(&s);
    }
}

static void a_user_that_discards_the_rest_ends_the_upload(void **state)
{
    (void)state;
    struct scripted s;
    struct trial t = { 0 };

    scripted_start(&s, &h1_client_user, 8);
    answer_early(&s, &t, FINE, true);
    UNTIL(&s, t.ends > 0);
    t.body.discard = t.body.ended = true;
    exchange_go_on(&t.x);
    assert_false(exchange_is_sending(&t.x));
    settle(&s);
    assert_false(peer_has(&s, 0, "\r\n0\r\n\r\n"));
    assert_int_equal(s.pool.count, 0);
    trial_end(&t);
    scripted_stop(&s);
}

/* --- windows and time -------------------------------------------------------------------- */

static void an_answer_larger_than_the_window_waits_for_room(void **state)
{
    (void)state;
    enum { TOTAL = 300000 };
    static char bytes[TOTAL];
    struct scripted s;
    struct trial t = { 0 };
    size_t got = 0, said = 0;

    for (size_t i = 0; i < TOTAL; i++)
        bytes[i] = pattern(i);
    scripted_start(&s, &h1_client_user, 8);
    ask(&s, &t, 0, "GET", NULL);
    peer_say(&s, 0, OK "Content-Length: 300000\r\n\r\n", strlen(OK) + 26);
    while (got < TOTAL) {
        ssize_t n = said == TOTAL ? 0 : send(s.fd[0], bytes + said, TOTAL - said, MSG_DONTWAIT);

        said += n > 0 ? (size_t)n : 0;
        turn(&s);
        assert_true(buf_unread(&t.answer) <= WINDOW_BYTES);
        if (t.x.wants_room || t.ends > 0) { /* the user takes all that is there */
            size_t here = buf_unread(&t.answer);

            assert_memory_equal(buf_front(&t.answer), bytes + got, here);
            got += here;
            buf_consume(&t.answer, here);
            exchange_go_on(&t.x);
        }
    }
    UNTIL(&s, t.ends > 0);
    assert_true(t.whole);
    trial_end(&t);
    scripted_stop(&s);
}

static void a_whole_interim_answer_is_progress_and_a_dripping_head_is_none(void **state)
{
    (void)state;
    struct scripted s;
    struct trial t = { 0 };

    scripted_start(&s, &h1_client_user, 8);
    ask(&s, &t, 0, "POST", "{}");
    int64_t before_ms = t.x.progress_ms;

    clock_ahead_ms += 1000;
    peer_say(&s, 0, "HTTP/1.1 102 Processing\r\nX: ", 28);
    settle(&s);
    assert_int_equal(t.x.progress_ms, before_ms);
    peer_say(&s, 0, "1\r\n\r\n", 5);
    settle(&s);
    assert_true(t.x.progress_ms >= before_ms + 1000);
    before_ms = t.x.progress_ms;
    for (const char *p = OK "X-A: 1\r\nX-B: 2\r\nContent-Length: 0\r\n\r"; *p != '\0'; p++) {
        clock_ahead_ms += 100;
        peer_say(&s, 0, p, 1);
        turn(&s);
    }
    assert_int_equal(t.x.progress_ms, before_ms);
    peer_say(&s, 0, "\n", 1);
    UNTIL(&s, t.ends > 0);
    assert_true(t.x.progress_ms > before_ms);
    trial_end(&t);
    scripted_stop(&s);
}

static void a_cancelled_exchange_says_nothing_more(void **state)
{
    (void)state;
    for (int step = 0; step < 4; step++) {
        struct scripted s;
        struct trial t = { 0 };

        scripted_start(&s, &h1_client_user, 8);
        trial_begin(&s, &t, "POST", "{}");
        if (step > 0)
            turn(&s);
        if (step > 1)
            UNTIL(&s, peer_requests(&s) == 1);
        if (step > 2) {
            peer_say(&s, 0, OK "Content-Length: 9\r\n\r\nok", strlen(OK) + 23);
            UNTIL(&s, t.heads > 0);
        }
        exchange_cancel(&t.x);
        exchange_cancel(&t.x);
        exchange_go_on(&t.x);
        settle(&s);
        assert_int_equal(t.ends, 0);
        assert_int_equal(s.pool.count, 0);
        trial_end(&t);
        scripted_stop(&s);
    }
}

/* In the ledger: nothing of it may arrive once its outcome is unknown. */
static void a_claimed_request_that_is_given_up_ends_by_a_reset(void **state)
{
    (void)state;
    for (int claimed = 0; claimed < 2; claimed++) {
        struct scripted s;
        struct trial t = { .claimed = claimed != 0 };
        unsigned timeout_ms = 0;
        socklen_t len = sizeof timeout_ms;
        char byte;

        scripted_start(&s, &h1_client_user, 8);
        ask(&s, &t, 0, "POST", "{}");
        assert_int_equal(getsockopt(((struct h1_client *)t.x.h1)->conn->io.fd, IPPROTO_TCP,
                                    TCP_USER_TIMEOUT, &timeout_ms, &len),
                         0);
        assert_int_equal(timeout_ms, claimed != 0 ? s.config->upstream.response_timeout_ms : 0);
        exchange_cancel(&t.x);
        for (int i = 0; i < 8; i++)
            turn(&s);
        ssize_t n = recv(s.fd[0], &byte, 1, 0);
        assert_int_equal(n, claimed != 0 ? -1 : 0);
        if (claimed != 0)
            assert_int_equal(errno, ECONNRESET);
        trial_end(&t);
        scripted_stop(&s);
    }
}

/* It is not the caller's pace that decides when it is all here. */
static void into_a_larger_buffer_an_answer_is_read_to_its_end(void **state)
{
    (void)state;
    enum { TOTAL = 250000 };
    static char bytes[TOTAL];
    struct scripted s;
    struct trial t = { 0 };
    size_t said = 0;

    scripted_start(&s, &h1_client_user, 8);
    ask(&s, &t, 0, "GET", NULL);
    t.answer.limit = 256 * 1024 + WINDOW_BYTES;
    peer_say(&s, 0, OK "Content-Length: 250000\r\n\r\n", strlen(OK) + 26);
    while (said < TOTAL) {
        ssize_t n = send(s.fd[0], bytes + said, TOTAL - said, MSG_DONTWAIT);

        said += n > 0 ? (size_t)n : 0;
        turn(&s);
        exchange_go_on(&t.x);
    }
    UNTIL(&s, t.ends > 0);
    assert_true(t.whole);
    assert_int_equal(buf_unread(&t.answer), TOTAL);
    trial_end(&t);
    scripted_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_framing_is_understood_however_it_is_cut),
        cmocka_unit_test(every_byte_alone_is_understood_too),
        cmocka_unit_test(
            an_answer_that_ends_too_early_is_never_whole_and_never_asked_for_again),
        cmocka_unit_test(what_is_not_http_is_refused_and_the_connection_closed),
        cmocka_unit_test(bytes_behind_an_answer_end_the_connection),
        cmocka_unit_test(a_connection_is_used_again_after_a_whole_answer),
        cmocka_unit_test(what_came_on_an_idle_connection_is_never_taken_for_an_answer),
        cmocka_unit_test(nothing_is_sent_twice_that_may_have_been_carried_out),
        cmocka_unit_test(a_second_attempt_gives_its_answer_as_if_it_were_the_first),
        cmocka_unit_test(nobody_there_is_tried_once_more_and_told_as_such),
        cmocka_unit_test(a_body_larger_than_the_window_arrives_whole),
        cmocka_unit_test(after_an_early_answer_below_400_the_upload_goes_on),
        cmocka_unit_test(while_an_answer_streams_the_upload_goes_on),
        cmocka_unit_test(after_an_early_answer_that_refuses_nothing_more_is_sent),
        cmocka_unit_test(an_upstream_that_leaves_after_an_early_answer_ends_the_upload),
        cmocka_unit_test(a_user_that_discards_the_rest_ends_the_upload),
        cmocka_unit_test(an_answer_larger_than_the_window_waits_for_room),
        cmocka_unit_test(a_whole_interim_answer_is_progress_and_a_dripping_head_is_none),
        cmocka_unit_test(a_cancelled_exchange_says_nothing_more),
        cmocka_unit_test(a_claimed_request_that_is_given_up_ends_by_a_reset),
        cmocka_unit_test(into_a_larger_buffer_an_answer_is_read_to_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

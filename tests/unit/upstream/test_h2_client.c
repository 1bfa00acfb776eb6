/* HTTP/2 frame by frame, without a proxy around it: how the client handles every kind of
 * answer, what it sends and when it sends again, and how it handles a malicious upstream. */
#include <nghttp2/nghttp2.h>

#include "event/mailbox.h"
#include "scripted.h"

/* One request and what became of it. */
struct trial {
    struct exchange x;
    struct exchange_body body;
    struct buf answer;
    struct arena arena;
    unsigned sendings, heads, ends;
    bool whole;
    struct failure failure;
    void (*then)(struct trial *t); /* called when it has ended */
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
    (void)x;
}

static void on_end(struct exchange *x, const struct failure *f)
{
    struct trial *t = CONTAINER_OF(x, struct trial, x);

    t->ends++;
    t->whole = f == NULL;
    if (f != NULL)
        t->failure = *f;
    if (t->then != NULL)
        t->then(t);
}

static bool frozen;

static bool may_send(struct exchange *x)
{
    (void)x;
    return !frozen;
}

static const struct exchange_user user = { .may_send = may_send,
                                           .on_sending = on_sending,
                                           .on_head = on_head,
                                           .on_progress = on_progress,
                                           .on_end = on_end };

#define WINDOW_BYTES 65536
#define TOKEN "c2VjcmV0LXRva2Vu"

static struct scripted world;

/* Starts a request whose body, of this length (-1: unknown), begins with these bytes. */
static void trial_start(struct trial *t, const char *method, int64_t body_bytes,
                        const char *bytes)
{
    static const struct header_field fields[] = { { "Accept", "*/*", 6, 3 } };

    arena_init(&t->arena, 512 * 1024);
    buf_init(&t->answer, WINDOW_BYTES);
    buf_init(&t->body.bytes, 8 << 20);
    assert_int_equal(buf_add_str(&t->body.bytes, bytes), 0);
    exchange_init(&t->x, &(struct exchange_options){ .host = &world.host,
                                                     .user = &user,
                                                     .body = &t->body,
                                                     .answer_body = &t->answer,
                                                     .arena = &t->arena });
    const struct exchange_request request = {
        .config = world.config,
        .method = method,
        .prefix = "/v0",
        .path = "/it",
        .head = { .fields = fields,
                  .count = 1,
                  .host = world.config->upstream.authority,
                  .authorization = "Authorization: Bearer " TOKEN,
                  .body_bytes = body_bytes },
        .resendable = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0,
        .is_head = strcmp(method, "HEAD") == 0,
    };
    assert_int_equal(exchange_start(&t->x, &request), FAIL_NONE);
    assert_int_equal(t->sendings + t->heads + t->ends, 0); /* nothing comes from within */
}

/* A request with a body that is all here, or (NULL) without one. */
static void trial_begin(struct trial *t, const char *method, const char *body)
{
    t->body.kept = t->body.ended = true;
    trial_start(t, method, body == NULL ? 0 : (int64_t)strlen(body), body == NULL ? "" : body);
}

static void trial_end(struct trial *t)
{
    exchange_cancel(&t->x);
    exchange_done(&t->x);
    buf_done(&t->answer);
    buf_done(&t->body.bytes);
    arena_done(&t->arena);
    memset(t, 0, sizeof *t);
}

static void begin_world(void)
{
    scripted_start_with(&world, &h1_client_user, 8, "http_version = 2\n");
}

/* --- the peer --------------------------------------------------------------------------- */

enum { DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8 };

/* As many as the socket takes; a peer that was hung up on says nothing. */
static void say_frame(size_t conn, uint8_t type, uint8_t flags, uint32_t stream,
                      const void *payload, size_t n)
{
    uint8_t frame[9 + 16384];

    assert_true(n <= 16384);
    memcpy(frame,
           (uint8_t[9]){ (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, type, flags,
                         (uint8_t)(stream >> 24), (uint8_t)(stream >> 16),
                         (uint8_t)(stream >> 8), (uint8_t)stream },
           9);
    if (n > 0)
        memcpy(frame + 9, payload, n);
    (void)!send(world.fd[conn], frame, 9 + n, MSG_NOSIGNAL);
}

static void say_u32(size_t conn, uint8_t type, uint32_t stream, uint32_t value)
{
    const uint8_t bytes[] = { (uint8_t)(value >> 24), (uint8_t)(value >> 16),
                              (uint8_t)(value >> 8), (uint8_t)value };

    say_frame(conn, type, 0, stream, bytes, sizeof bytes);
}

static void say_setting(size_t conn, uint8_t id, uint32_t value)
{
    const uint8_t bytes[] = { 0,
                              id,
                              (uint8_t)(value >> 24),
                              (uint8_t)(value >> 16),
                              (uint8_t)(value >> 8),
                              (uint8_t)value };

    say_frame(conn, SETTINGS, 0, 0, bytes, sizeof bytes);
}

static void say_goaway(size_t conn, uint32_t last, uint32_t error)
{
    const uint8_t bytes[] = { (uint8_t)(last >> 24),  (uint8_t)(last >> 16),
                              (uint8_t)(last >> 8),   (uint8_t)last,
                              (uint8_t)(error >> 24), (uint8_t)(error >> 16),
                              (uint8_t)(error >> 8),  (uint8_t)error };

    say_frame(conn, GOAWAY, 0, 0, bytes, sizeof bytes);
}

/* A header block of names and values that follow each other, NULL at the end; literals without
 * indexing (RFC 7541 section 6.2.2). */
static size_t block_of(uint8_t *out, const char *const *fields)
{
    size_t n = 0;

    for (; fields[0] != NULL; fields += 2) {
        out[n++] = 0;
        for (int i = 0; i < 2; i++) {
            size_t len = strlen(fields[i]);

            out[n++] = (uint8_t)len;
            memcpy(out + n, fields[i], len);
            n += len;
        }
    }
    return n;
}

#define FIELDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void say_head(size_t conn, uint32_t stream, uint8_t flags, const char *const *fields)
{
    uint8_t block[2048];

    say_frame(conn, HEADERS, END_HEADERS | flags, stream, block, block_of(block, fields));
}

static void say_answer(size_t conn, uint32_t stream, const char *body)
{
    say_head(conn, stream, 0, FIELDS(":status", "200"));
    say_frame(conn, DATA, END_STREAM, stream, body, strlen(body));
}

struct frame {
    uint8_t type, flags;
    uint32_t stream;
    const uint8_t *payload;
    size_t n;
};

/* The frames that came on a connection, one after the other. at: 0 at first. */
static bool next_frame(size_t conn, size_t *at, struct frame *f)
{
    const struct buf *got = &world.got[conn];
    const uint8_t *p = (const uint8_t *)buf_front(got);

    if (*at == 0)
        *at = 24; /* the preface */
    if (buf_unread(got) < *at + 9)
        return false;
    p += *at;
    *f = (struct frame){ .type = p[3],
                         .flags = p[4],
                         .stream = (uint32_t)(p[5] & 0x7f) << 24 | (uint32_t)p[6] << 16 |
                                   (uint32_t)p[7] << 8 | p[8],
                         .payload = p + 9,
                         .n = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2] };
    *at += 9 + f->n;
    return buf_unread(got) >= *at;
}

/* How many frames of this type came, of a stream (-1: any); those with a flag only, if
 * given. */
static unsigned frames(size_t conn, uint8_t type, int64_t stream, uint8_t flag)
{
    struct frame f;
    unsigned count = 0;
    size_t at = 0;

    if (conn >= world.conns)
        return 0;
    while (next_frame(conn, &at, &f))
        count +=
            f.type == type && (stream < 0 || f.stream == stream) && (f.flags & flag) == flag;
    return count;
}

static unsigned heads(size_t conn)
{
    return frames(conn, HEADERS, -1, 0);
}

/* What came in an error's place: of RST_STREAM, of a stream, or of GOAWAY. -1: none. */
static int64_t error_of(size_t conn, uint8_t type, uint32_t stream)
{
    struct frame f;
    size_t at = 0;
    int64_t error = -1;

    while (next_frame(conn, &at, &f))
        if (f.type == type && f.stream == stream)
            error = f.payload[f.n - 2] << 8 | f.payload[f.n - 1];
    return error;
}

static size_t data_bytes(size_t conn, uint32_t stream)
{
    struct frame f;
    size_t at = 0, n = 0;

    while (next_frame(conn, &at, &f))
        n += f.type == DATA && f.stream == stream ? f.n : 0;
    return n;
}

/* A connection that says its SETTINGS, with the first request on it. */
static void ask(struct trial *t, size_t conn, const char *method, const char *body)
{
    unsigned before = heads(conn);

    trial_begin(t, method, body);
    UNTIL(&world, heads(conn) == before + 1);
}

static void settings(size_t conn)
{
    say_frame(conn, SETTINGS, 0, 0, NULL, 0);
}

/* A connection that has carried one request, on stream 1. */
static void warm(void)
{
    struct trial t = { 0 };

    ask(&t, 0, "GET", NULL);
    settings(0);
    say_frame(0, SETTINGS, ACK, 0, NULL, 0);
    say_answer(0, 1, "ok");
    UNTIL(&world, t.ends > 0);
    assert_true(t.whole);
    trial_end(&t);
}

/* --- answers ---------------------------------------------------------------------------- */

/* What the peer says of stream 1; HEADERS of fields, then DATA. */
static const struct saying {
    const char *name, *method;
    const char *head[3][6]; /* interim ones first */
    const char *body, *trailer[4];
    int status; /* 0: refused, and the stream reset */
} sayings[] = {
    { "a body", "GET", { { ":status", "200" } }, "hello", { 0 }, 200 },
    { "a length", "GET", { { ":status", "200", "content-length", "5" } }, "hello", { 0 }, 200 },
    { "an empty one", "GET", { { ":status", "200", "content-length", "0" } }, "", { 0 }, 200 },
    { "a head alone", "GET", { { ":status", "404" } }, NULL, { 0 }, 404 },
    { "204", "GET", { { ":status", "204" } }, NULL, { 0 }, 204 },
    { "304", "GET", { { ":status", "304", "content-length", "9" } }, NULL, { 0 }, 304 },
    { "HEAD", "HEAD", { { ":status", "200", "content-length", "9" } }, NULL, { 0 }, 200 },
    { "interim answers",
      "GET",
      { { ":status", "103", "link", "</x>" }, { ":status", "100" }, { ":status", "200" } },
      "hello",
      { 0 },
      200 },
    { "trailers", "GET", { { ":status", "200" } }, "hello", { "x-t", "1" }, 200 },
    { "blanks around a value",
      "GET",
      { { ":status", "200", "x-a", " b " } },
      "ok",
      { 0 },
      200 },
    { "short of its length",
      "GET",
      { { ":status", "200", "content-length", "6" } },
      "hello",
      { 0 },
      0 },
    { "longer than its length",
      "GET",
      { { ":status", "200", "content-length", "4" } },
      "hello",
      { 0 },
      0 },
    { "HEAD with a body", "HEAD", { { ":status", "200" } }, "hello", { 0 }, 0 },
    { "204 with a body", "GET", { { ":status", "204" } }, "hello", { 0 }, 0 },
    { "304 with a body", "GET", { { ":status", "304" } }, "hello", { 0 }, 0 },
    { "no status", "GET", { { "x-a", "1" } }, "hello", { 0 }, 0 },
    { "two statuses", "GET", { { ":status", "200", ":status", "200" } }, "hello", { 0 }, 0 },
    { "a status of two digits", "GET", { { ":status", "20" } }, "hello", { 0 }, 0 },
    { "a status of 600", "GET", { { ":status", "600" } }, "hello", { 0 }, 0 },
    { "101", "GET", { { ":status", "101" } }, "hello", { 0 }, 0 },
    { "407", "GET", { { ":status", "407" } }, "hello", { 0 }, 0 },
    { "a status behind a field", "GET", { { "x-a", "1", ":status", "200" } }, "", { 0 }, 0 },
    { "a pseudo-field of requests",
      "GET",
      { { ":status", "200", ":path", "/" } },
      "",
      { 0 },
      0 },
    { "a name in capitals", "GET", { { ":status", "200", "X-A", "1" } }, "", { 0 }, 0 },
    { "a blank in a name", "GET", { { ":status", "200", "x a", "1" } }, "", { 0 }, 0 },
    { "an empty name", "GET", { { ":status", "200", "", "1" } }, "", { 0 }, 0 },
    { "a line end in a value",
      "GET",
      { { ":status", "200", "x-a", "1\r\nx-b: 2" } },
      "",
      { 0 },
      0 },
    { "connection", "GET", { { ":status", "200", "connection", "x" } }, "", { 0 }, 0 },
    { "a transfer coding",
      "GET",
      { { ":status", "200", "transfer-encoding", "chunked" } },
      "",
      { 0 },
      0 },
    { "two lengths",
      "GET",
      { { ":status", "200", "content-length", "5", "content-length", "6" } },
      "hello",
      { 0 },
      0 },
    { "no number as length",
      "GET",
      { { ":status", "200", "content-length", "5x" } },
      "hello",
      { 0 },
      0 },
    { "a status in trailers", "GET", { { ":status", "200" } }, "ok", { ":status", "200" }, 0 },
};

static void every_way_to_answer_is_understood_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sayings); i++) {
        const struct saying *w = &sayings[i];
        struct trial t = { 0 };
        size_t last = 0;

        begin_world();
        ask(&t, 0, w->method, NULL);
        settings(0);
        while (last < 2 && w->head[last + 1][0] != NULL)
            last++;
        for (size_t k = 0; k <= last; k++) {
            const char *fields[7] = { 0 };

            memcpy(fields, w->head[k], sizeof w->head[k]);
            say_head(0, 1, k == last && w->body == NULL ? END_STREAM : 0, fields);
        }
        if (w->body != NULL)
            say_frame(0, DATA, w->trailer[0] == NULL ? END_STREAM : 0, 1, w->body,
                      strlen(w->body));
        if (w->trailer[0] != NULL)
            say_head(0, 1, END_STREAM, FIELDS(w->trailer[0], w->trailer[1]));
        UNTIL(&world, t.ends > 0);
        settle(&world);
        if (t.ends != 1 || t.sendings != 1 || t.whole != (w->status != 0) ||
            (t.whole && t.x.head.status != w->status) || world.conns != 1)
            fail_msg("%s: ends %u whole %d sendings %u status %d (%s)", w->name, t.ends,
                     t.whole, t.sendings, t.x.head.status, t.failure.detail);
        if (t.whole && w->body != NULL)
            assert_string_equal(buf_text(&t.answer), w->body);
        if (!t.whole) {
            assert_int_equal(error_of(0, RST, 1), NGHTTP2_PROTOCOL_ERROR);
            assert_false(failure_info(t.failure.kind)->retryable);
        }
        trial_end(&t);

        /* The connection is as good as before, whatever became of the stream. */
        ask(&t, 0, "GET", NULL);
        say_answer(0, 3, "next");
        UNTIL(&world, t.ends > 0);
        assert_true(t.whole);
        assert_string_equal(buf_text(&t.answer), "next");
        trial_end(&t);
        scripted_stop(&world);
    }
}

static void the_request_says_what_it_has_to_and_the_token_once(void **state)
{
    (void)state;
    nghttp2_hd_inflater *inflater;
    struct trial t = { 0 };
    struct frame f = { 0 };
    size_t at = 0;
    char text[1024] = "";

    begin_world();
    ask(&t, 0, "GET", NULL);
    assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
    do
        assert_true(next_frame(0, &at, &f));
    while (f.type != HEADERS);
    assert_int_equal(f.flags, END_STREAM | END_HEADERS);
    for (int flags = 0; (flags & NGHTTP2_HD_INFLATE_FINAL) == 0;) {
        nghttp2_nv nv = { .name = NULL };
        ssize_t n = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, f.payload, f.n, 1);

        assert_true(n >= 0);
        f.payload += n;
        f.n -= (size_t)n;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0)
            continue;
        size_t len = strlen(text);
        (void)snprintf(text + len, sizeof text - len, "%s=%s\n", nv.name, nv.value);
        if (strcmp((char *)nv.name, "authorization") == 0)
            assert_int_equal(nv.flags, NGHTTP2_NV_FLAG_NO_INDEX);
    }
    assert_non_null(strstr(text, ":method=GET\n:scheme=http\n:authority=127.0.0.1:"));
    assert_non_null(strstr(text, ":path=/v0/it\n"));
    assert_non_null(strstr(text, "\naccept=*/*\n"));
    assert_non_null(strstr(text, "\nauthorization=Bearer " TOKEN "\n"));
    assert_null(strstr(text, "\nhost="));
    assert_null(strstr(text, "connection"));
    nghttp2_hd_inflate_del(inflater);
    trial_end(&t);
    scripted_stop(&world);
}

/* --- never twice ------------------------------------------------------------------------ */

enum loss { REFUSED, ABOVE_GOAWAY, BELOW_GOAWAY, RESET, CLOSED, CUT, REFUSED_AFTER_100 };

static const struct {
    enum loss loss;
    bool again, again_get; /* whether a POST, a GET on a used connection is sent once more */
} losses[] = {
    { REFUSED, true, true },
    { ABOVE_GOAWAY, true, true },
    { BELOW_GOAWAY, false, true },
    { RESET, false, false },
    { CLOSED, false, true },
    { CUT, false, true },
    { REFUSED_AFTER_100, false, false },
};

static void lose(enum loss loss, size_t conn, uint32_t stream)
{
    if (loss == REFUSED_AFTER_100)
        say_head(conn, stream, 0, FIELDS(":status", "100"));
    if (loss == REFUSED || loss == REFUSED_AFTER_100)
        say_u32(conn, RST, stream, NGHTTP2_REFUSED_STREAM);
    if (loss == RESET)
        say_u32(conn, RST, stream, NGHTTP2_INTERNAL_ERROR);
    if (loss == ABOVE_GOAWAY || loss == BELOW_GOAWAY)
        say_goaway(conn, loss == ABOVE_GOAWAY ? stream - 2 : stream, NGHTTP2_NO_ERROR);
    if (loss == BELOW_GOAWAY || loss == CLOSED || loss == CUT)
        peer_close(&world, conn, loss == CUT);
}

static void only_what_the_upstream_cannot_have_looked_at_is_sent_again_and_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(losses); i++)
        for (int get = 0; get < 2; get++) {
            struct trial t = { 0 };
            bool again = get ? losses[i].again_get : losses[i].again;

            begin_world();
            warm();
            ask(&t, 0, get ? "GET" : "POST", get ? NULL : "{}");
            lose(losses[i].loss, 0, 3);
            settle(&world);
            if (again) {
                UNTIL(&world, heads(0) + heads(1) == 3);
                size_t conn = world.conns - 1;
                lose(losses[i].loss, conn, conn == 0 ? 5 : 1); /* not a third time */
                if (conn == 1 && losses[i].loss == ABOVE_GOAWAY)
                    peer_close(&world, conn, false);
            }
            UNTIL(&world, t.ends > 0);
            settle(&world);
            if (t.sendings != 1U + again || heads(0) + heads(1) + heads(2) != 2U + again ||
                t.whole)
                fail_msg("loss %zu, get %d: %u sendings", i, get, t.sendings);
            trial_end(&t);
            scripted_stop(&world);
        }
}

static void what_was_never_written_is_sent_again(void **state)
{
    (void)state;
    struct trial t = { 0 };

    begin_world();
    warm();
    clock_ahead_ms += 100; /* too long ago for the loop's word to be trusted */
    settle(&world);
    /* Its end is here before the request is. */
    peer_close(&world, 0, false);
    trial_begin(&t, "POST", "{}");
    UNTIL(&world, heads(1) == 1);
    settings(1);
    say_answer(1, 1, "ok");
    UNTIL(&world, t.ends > 0);
    assert_true(t.whole);
    assert_int_equal(t.sendings, 1);
    trial_end(&t);
    scripted_stop(&world);
}

/* --- several on one connection ---------------------------------------------------------- */

static void many_share_a_connection_and_each_gets_its_own_answer(void **state)
{
    (void)state;
    static struct trial t[100];

    begin_world();
    warm();
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        trial_begin(&t[i], i % 2 ? "GET" : "POST", i % 2 ? NULL : "{}");
    UNTIL(&world, heads(0) == 1 + ARRAY_LEN(t));
    for (size_t i = ARRAY_LEN(t); i-- > 0;) {
        char text[24];

        (void)snprintf(text, sizeof text, "%zu", i);
        if (i == 50)
            say_u32(0, RST, 3 + 2 * (uint32_t)i, NGHTTP2_INTERNAL_ERROR);
        else
            say_answer(0, 3 + 2 * (uint32_t)i, text);
    }
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        char text[16];

        (void)snprintf(text, sizeof text, "%zu", i);
        UNTIL(&world, t[i].ends > 0);
        assert_int_equal(t[i].whole, i != 50);
        assert_string_equal(buf_text(&t[i].answer), i == 50 ? "" : text);
        trial_end(&t[i]);
    }
    assert_int_equal(world.conns, 1);
    scripted_stop(&world);
}

static void the_upstreams_limit_of_streams_opens_further_connections(void **state)
{
    (void)state;
    struct trial t[3] = { 0 };

    begin_world();
    ask(&t[0], 0, "GET", NULL);
    say_setting(0, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1);
    UNTIL(&world, frames(0, SETTINGS, 0, ACK) == 1);
    trial_begin(&t[1], "POST", "{}");
    trial_begin(&t[2], "POST", "{}");
    /* The second one expects as few, before it is told. */
    UNTIL(&world, world.conns == 3 && heads(1) == 1 && heads(2) == 1);
    for (size_t i = 0; i < 3; i++) {
        if (i > 0)
            say_setting(i, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1);
        say_answer(i, 1, "ok");
        UNTIL(&world, t[0].ends + t[1].ends + t[2].ends == i + 1);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_true(t[i].whole);
        assert_int_equal(t[i].sendings, 1);
        trial_end(&t[i]);
    }
    scripted_stop(&world);
}

/* SETTINGS that come after the requests were queued and before they were written. */
static void what_exceeds_a_limit_told_late_goes_to_another_connection(void **state)
{
    (void)state;
    struct trial t[2] = { 0 };

    begin_world();
    warm();
    trial_begin(&t[0], "POST", "{}");
    trial_begin(&t[1], "POST", "{}");
    say_setting(0, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1);
    (void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    UNTIL(&world, heads(0) + heads(1) == 3);
    settle(&world);
    /* Either both had left before, or the second has a connection of its own. */
    if (heads(1) == 1) {
        settings(1);
        say_answer(1, 1, "b");
    } else
        say_answer(0, 5, "b");
    say_answer(0, 3, "a");
    UNTIL(&world, t[0].ends + t[1].ends == 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(t[i].whole);
        assert_string_equal(buf_text(&t[i].answer), i == 0 ? "a" : "b");
        trial_end(&t[i]);
    }
    scripted_stop(&world);
}

static void
an_upstream_that_allows_no_stream_fails_each_request_after_two_connections(void **state)
{
    (void)state;
    struct trial t = { 0 };
    size_t told = 0;

    begin_world();
    warm();
    say_setting(0, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0);
    settle(&world);
    trial_begin(&t, "POST", "{}");
    for (int64_t until_ms = clock_ms() + SOON_MS; t.ends == 0 && clock_ms() < until_ms;) {
        turn(&world);
        peer_take(&world);
        for (; told + 1 < world.conns; told++)
            say_setting(told + 1, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0);
        for (size_t c = 1; c < world.conns; c++)
            if (heads(c) > 0 && t.ends == 0)
                say_u32(c, RST, 1, NGHTTP2_REFUSED_STREAM);
    }
    UNTIL(&world, t.ends > 0);
    assert_false(t.whole);
    assert_true(world.conns <= 3);
    trial_end(&t);
    scripted_stop(&world);
}

/* While one session is at work on what came, another must not read into the same place. */
static void a_retry_from_within_leaves_what_else_came_alone(void **state)
{
    (void)state;
    struct trial t[2] = { 0 };
    uint8_t bytes[256];
    size_t n = 0;

    begin_world();
    /* Two connections, of which the first is idle and the second has two streams. */
    ask(&t[0], 0, "GET", NULL);
    say_setting(0, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1);
    UNTIL(&world, frames(0, SETTINGS, 0, ACK) == 1);
    trial_begin(&t[1], "GET", NULL);
    UNTIL(&world, heads(1) == 1);
    say_setting(1, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2);
    say_answer(1, 1, "ok");
    UNTIL(&world, t[1].ends == 1 && frames(1, SETTINGS, 0, ACK) == 1);
    trial_end(&t[1]);
    struct trial other = { 0 };
    trial_begin(&t[1], "POST", "{}");
    UNTIL(&world, heads(1) == 2);
    trial_begin(&other, "POST", "{}");
    UNTIL(&world, heads(1) == 3);
    say_answer(0, 1, "ok");
    UNTIL(&world, t[0].ends == 1);
    trial_end(&t[0]);

    /* The first refuses its stream and the other is answered in the same read; meanwhile
     * something that looks like frames waits on the idle connection. */
    uint8_t junk[9 * 8];
    for (size_t i = 0; i < sizeof junk; i += 9)
        memcpy(junk + i, "\0\0\0\xee\0\0\0\0\0", 9); /* of a type that nobody knows */
    clock_ahead_ms += 100;                           /* the idle one is to be looked at */
    memcpy(bytes, "\0\0\10\7\0\0\0\0\0\0\0\0\5\0\0\0\0", 17); /* GOAWAY */
    n = 17;
    memcpy(bytes + n, "\0\0\4\3\0\0\0\0\3\0\0\0\7", 13);
    n += 13;
    memcpy(bytes + n, "\0\0\1\1\4\0\0\0\5\x88", 10);
    n += 10;
    memcpy(bytes + n, "\0\0\2\0\1\0\0\0\5ok", 11);
    n += 11;
    peer_say(&world, 1, bytes, n);
    peer_say(&world, 0, junk, sizeof junk);
    UNTIL(&world, other.ends == 1);
    assert_true(other.whole);
    assert_string_equal(buf_text(&other.answer), "ok");
    assert_int_equal(t[1].ends, 0);
    UNTIL(&world, heads(0) + heads(1) + heads(2) == 5);
    trial_end(&other);
    trial_end(&t[1]);
    scripted_stop(&world);
}

static struct trial second;

static void start_second(struct trial *t)
{
    (void)t;
    trial_begin(&second, "POST", "{}");
}

static void cancel_second(struct trial *t)
{
    (void)t;
    exchange_cancel(&second.x);
}

static void one_that_ends_may_start_and_cancel_others_on_the_same_connection(void **state)
{
    (void)state;
    static const enum loss ways[] = { RESET, CLOSED, REFUSED_AFTER_100, BELOW_GOAWAY };

    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        struct trial t = { .then = start_second };

        begin_world();
        warm();
        ask(&t, 0, "POST", "{}");
        lose(ways[i], 0, 3);
        UNTIL(&world, t.ends == 1 && heads(0) + heads(1) == 3);
        trial_end(&t);
        t.then = cancel_second;
        size_t conn = world.conns - 1;
        trial_begin(&t, "POST", "{}");
        UNTIL(&world, heads(0) + heads(1) == 4);
        peer_close(&world, conn, true);
        UNTIL(&world, t.ends == 1 || second.ends == 1);
        settle(&world);
        trial_end(&second);
        trial_end(&t);
        scripted_stop(&world);
    }
}

/* --- a connection that takes nothing --------------------------------------------------------- */

/* The client's socket that takes nothing; -1: each does. */
static int full_fd = -1;
static bool fill_next; /* the next one that is written to */

/* Instead of the C library's, for libcurl too, but by its. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
ssize_t send(int fd, const void *bytes, size_t n, int flags)
{
    bool is_peers = false;

    for (size_t i = 0; i < world.conns; i++)
        is_peers |= world.fd[i] == fd;
    if (fill_next && !is_peers) {
        full_fd = fd;
        fill_next = false;
    }
    if (fd != full_fd)
        return sendto(fd, bytes, n, flags, NULL, 0);
    errno = EAGAIN;
    return -1;
}

/* A request that is made and not taken, on stream 3; and another behind it. */
static void ask_behind(struct trial *ahead, struct trial *behind)
{
    begin_world();
    warm();
    fill_next = true;
    trial_begin(ahead, "POST", "an upload");
    settle(&world);
    assert_int_equal(ahead->sendings, 1);
    assert_true(full_fd >= 0);
    trial_begin(behind, "POST", "{}");
    settle(&world);
    assert_int_equal(behind->sendings, 0);
}

/* There is room again, and something else to be answered. */
static void make_room(void)
{
    full_fd = -1;
    say_frame(0, PING, 0, 0, "12345678", 8);
}

static void answer_stream(struct trial *t, size_t conn, uint32_t stream)
{
    say_answer(conn, stream, "ok");
    UNTIL(&world, t->ends > 0);
    assert_true(t->whole);
    trial_end(t);
}

static void behind_a_full_connection_a_request_waits_for_room(void **state)
{
    struct trial ahead = { 0 }, behind = { 0 };

    (void)state;
    ask_behind(&ahead, &behind);
    make_room();
    UNTIL(&world, data_bytes(0, 5) == 2 && frames(0, PING, 0, ACK) == 1);
    assert_int_equal(behind.sendings, 1);
    assert_int_equal(data_bytes(0, 3), strlen("an upload"));
    answer_stream(&behind, 0, 5);
    answer_stream(&ahead, 0, 3);
    scripted_stop(&world);
}

static void behind_a_full_connection_a_request_is_asked_about_again(void **state)
{
    struct trial ahead = { 0 }, behind = { 0 };

    (void)state;
    ask_behind(&ahead, &behind);
    frozen = true;
    make_room();
    UNTIL(&world, behind.ends > 0 && frames(0, PING, 0, ACK) == 1);
    frozen = false;
    assert_int_equal(behind.failure.kind, FAIL_FROZEN);
    assert_int_equal(behind.sendings, 0);
    trial_end(&behind);
    answer_stream(&ahead, 0, 3);
    assert_int_equal(heads(0), 2);
    scripted_stop(&world);
}

static void from_behind_a_full_connection_that_is_silent_a_request_moves(void **state)
{
    struct trial ahead = { 0 }, behind = { 0 };

    (void)state;
    ask_behind(&ahead, &behind);
    for (int i = 0; i < 2; i++) {
        clock_ahead_ms += 6000;
        settle(&world);
    }
    UNTIL(&world, data_bytes(1, 1) == 2);
    assert_int_equal(behind.sendings, 1);
    settings(1);
    answer_stream(&behind, 1, 1);
    trial_end(&ahead);
    full_fd = -1;
    scripted_stop(&world);
}

/* --- bodies and windows ----------------------------------------------------------------- */

static void a_discarded_body_never_ends_as_if_it_were_whole(void **state)
{
    (void)state;
    struct trial t = { 0 };

    begin_world();
    warm();
    trial_start(&t, "POST", -1, "begun");
    UNTIL(&world, heads(0) == 2 && data_bytes(0, 3) == 5);
    t.body.discard = true;
    exchange_go_on(&t.x);
    settle(&world);
    assert_int_equal(frames(0, DATA, 3, END_STREAM), 0);
    say_head(0, 3, END_STREAM, FIELDS(":status", "200"));
    UNTIL(&world, t.ends == 1);
    settle(&world);
    assert_true(t.whole);
    assert_int_equal(frames(0, DATA, 3, END_STREAM), 0);
    assert_int_equal(error_of(0, RST, 3), NGHTTP2_CANCEL);
    trial_end(&t);
    scripted_stop(&world);
}

static void after_an_early_answer_the_rest_is_sent_and_after_a_refusal_it_is_not(void **state)
{
    (void)state;
    for (int refused = 0; refused < 2; refused++) {
        struct trial t = { 0 };

        begin_world();
        warm();
        trial_start(&t, "POST", 10, "begun");
        UNTIL(&world, heads(0) == 2 && data_bytes(0, 3) == 5);
        say_head(0, 3, END_STREAM, FIELDS(":status", refused ? "413" : "200"));
        UNTIL(&world, t.ends == 1);
        assert_true(t.whole);
        assert_int_equal(exchange_is_sending(&t.x), !refused);
        assert_int_equal(buf_add_str(&t.body.bytes, " more"), 0);
        t.body.ended = true;
        exchange_go_on(&t.x);
        settle(&world);
        assert_int_equal(frames(0, DATA, 3, END_STREAM), !refused);
        assert_int_equal(error_of(0, RST, 3), refused ? NGHTTP2_CANCEL : -1);
        assert_false(exchange_is_sending(&t.x));
        trial_end(&t);
        scripted_stop(&world);
    }
}

/* What nghttp2 has made is not yet sent: a session that takes no more requests stays for it. */
static void the_end_of_an_upload_behind_an_early_answer_outlives_its_session(void **state)
{
    (void)state;
    struct trial t = { 0 };

    begin_world();
    warm();
    trial_start(&t, "POST", 10, "begun");
    UNTIL(&world, heads(0) == 2 && data_bytes(0, 3) == 5);
    say_head(0, 3, END_STREAM, FIELDS(":status", "202"));
    UNTIL(&world, t.ends == 1);
    assert_true(t.whole);
    fill_next = true;
    assert_int_equal(buf_add_str(&t.body.bytes, " more"), 0);
    t.body.ended = true;
    exchange_go_on(&t.x);
    settle(&world);
    assert_true(full_fd >= 0);
    assert_true(exchange_is_sending(&t.x));
    h2_host_forget(&world.h2_host);
    settle(&world);
    assert_false(world.ended[0]);
    make_room();
    UNTIL(&world, frames(0, DATA, 3, END_STREAM) == 1);
    UNTIL(&world, !exchange_is_sending(&t.x) && world.ended[0]);
    assert_int_equal(data_bytes(0, 3), 10);
    assert_int_equal(error_of(0, RST, 3), -1);
    trial_end(&t);
    scripted_stop(&world);
}

static void a_body_without_window_does_not_move_because_others_do(void **state)
{
    (void)state;
    struct trial stuck = { 0 }, other = { 0 };
    char *bytes = calloc(1, 70001);

    begin_world();
    warm();
    memset(bytes, 'x', 70000);
    stuck.body.ended = true;
    trial_start(&stuck, "POST", 70000, bytes);
    free(bytes);
    UNTIL(&world, data_bytes(0, 3) == 65535);
    settle(&world);
    int64_t moved_ms = stuck.x.progress_ms;
    clock_ahead_ms += 3000;
    turn(&world);
    ask(&other, 0, "GET", NULL);
    settle(&world);
    assert_int_equal(stuck.x.progress_ms, moved_ms);
    assert_int_equal(data_bytes(0, 3), 65535);
    trial_end(&other);
    trial_end(&stuck);
    scripted_stop(&world);
}

/* More than all windows, given up in the middle, again and again. */
static void what_a_cancelled_exchange_had_taken_is_given_back_to_the_connection(void **state)
{
    (void)state;
    static uint8_t piece[16384];
    struct trial t = { 0 };

    begin_world();
    warm();
    for (uint32_t stream = 3; stream < 3 + 2 * 300; stream += 2) {
        ask(&t, 0, "GET", NULL);
        say_head(0, stream, 0, FIELDS(":status", "200"));
        for (int i = 0; i < 4; i++) { /* 65535 in all */
            say_frame(0, DATA, 0, stream, piece, i == 3 ? 16383 : 16384);
            settle(&world);
        }
        UNTIL(&world, buf_unread(&t.answer) == 65535);
        trial_end(&t);
        UNTIL(&world, error_of(0, RST, stream) == NGHTTP2_CANCEL);
        buf_consume(&world.got[0], 0);
    }
    ask(&t, 0, "GET", NULL);
    say_answer(0, 603, "ok");
    UNTIL(&world, t.ends == 1);
    assert_true(t.whole);
    assert_int_equal(world.conns, 1);
    /* 300 streams of 64 KiB are more than the window of 16 MiB. */
    assert_true(frames(0, WINDOW, 0, 0) >= 2);
    trial_end(&t);
    scripted_stop(&world);
}

static void a_caller_that_does_not_read_holds_the_stream_and_nobody_else(void **state)
{
    (void)state;
    static uint8_t piece[16384];
    struct trial slow = { 0 }, other = { 0 };

    begin_world();
    warm();
    ask(&slow, 0, "GET", NULL);
    say_head(0, 3, 0, FIELDS(":status", "200"));
    for (int i = 0; i < 4; i++) {
        say_frame(0, DATA, 0, 3, piece, i == 3 ? 16383 : 16384);
        settle(&world);
    }
    UNTIL(&world, buf_unread(&slow.answer) == 65535);
    assert_int_equal(frames(0, WINDOW, 3, 0), 0);
    ask(&other, 0, "GET", NULL);
    say_answer(0, 5, "ok");
    UNTIL(&world, other.ends == 1);
    assert_true(other.whole);
    clock_ahead_ms += 90000; /* while which the upstream was not allowed to say anything */
    settle(&world);
    assert_int_equal(frames(0, WINDOW, 3, 0), 0);
    buf_consume(&slow.answer, 65535);
    exchange_go_on(&slow.x);
    assert_int_equal(slow.x.progress_ms, loop_now(&world.loop));
    UNTIL(&world, frames(0, WINDOW, 3, 0) == 1);
    trial_end(&other);
    trial_end(&slow);
    scripted_stop(&world);
}

/* --- games ------------------------------------------------------------------------------ */

static const struct game {
    const char *name;
    uint8_t type, flags;
    uint32_t stream;
    const char *payload;
    size_t n;
    int times;
    bool in_answer; /* after the head of the answer */
} games[] = {
    { "PING", PING, 0, 0, "12345678", 8, 20000, false },
    { "SETTINGS", SETTINGS, 0, 0, "", 0, 20000, false },
    { "PRIORITY", PRIORITY, 0, 3, "\0\0\0\0\1", 5, 20000, false },
    { "WINDOW_UPDATE", WINDOW, 0, 0, "\0\0\0\1", 4, 20000, false },
    { "empty DATA", DATA, 0, 3, "", 0, 20000, true },
    { "padded DATA", DATA, PADDED, 3, "\1\0", 2, 20000, true },
    { "RST_STREAM of an old stream", RST, 0, 1, "\0\0\0\1", 4, 20000, false },
    { "interim answers", HEADERS, END_HEADERS, 3,
      "\x08\x03"
      "103",
      5, 200, false },
    { "too much window", WINDOW, 0, 0, "\x7f\xff\xff\xff", 4, 2, false },
    { "no window", WINDOW, 0, 0, "\0\0\0\0", 4, 1, false },
    { "PUSH_PROMISE", PUSH, END_HEADERS, 3, "\0\0\0\2\x82\x84\x87", 7, 1, false },
    { "HEADERS on stream 0", HEADERS, END_HEADERS, 0, "\x88", 1, 1, false },
    { "HEADERS of an idle stream", HEADERS, END_HEADERS, 99, "\x88", 1, 1, false },
    { "DATA on stream 0", DATA, 0, 0, "x", 1, 1, false },
    { "a CONTINUATION alone", CONTINUATION, END_HEADERS, 3, "\x88", 1, 1, false },
    { "broken compression", HEADERS, END_HEADERS, 3, "\xff\xff\xff\xff\xff\xff", 6, 1, false },
    { "SETTINGS of five bytes", SETTINGS, 0, 0, "12345", 5, 1, false },
    { "an ACK with a payload", SETTINGS, ACK, 0, "123456", 6, 1, false },
    { "a window of 2^31", SETTINGS, 0, 0, "\0\4\x80\0\0\0", 6, 1, false },
    { "a frame size of 1", SETTINGS, 0, 0, "\0\5\0\0\0\1", 6, 1, false },
    { "push allowed", SETTINGS, 0, 0, "\0\2\0\0\0\2", 6, 1, false },
    { "PING of seven bytes", PING, 0, 0, "1234567", 7, 1, false },
    { "PING on a stream", PING, 0, 3, "12345678", 8, 1, false },
    { "RST_STREAM of three bytes", RST, 0, 3, "123", 3, 1, false },
    { "RST_STREAM of stream 0", RST, 0, 0, "\0\0\0\1", 4, 1, false },
    { "RST_STREAM of an idle stream", RST, 0, 99, "\0\0\0\1", 4, 1, false },
    { "GOAWAY on a stream", GOAWAY, 0, 3, "\0\0\0\0\0\0\0\0", 8, 1, false },
    { "more padding than bytes", DATA, PADDED, 3, "\x09x", 2, 1, true },
};

static void games_end_the_connection_and_the_request_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(games); i++) {
        const struct game *g = &games[i];
        struct trial t = { 0 };

        begin_world();
        warm();
        ask(&t, 0, "POST", "{}");
        if (g->in_answer)
            say_head(0, 3, 0, FIELDS(":status", "200"));
        for (int k = 0; k < g->times && t.ends == 0; k++) {
            say_frame(0, g->type, g->flags, g->stream, g->payload, g->n);
            if (k % 500 == 0)
                settle(&world);
        }
        for (int64_t until_ms = clock_ms() + SOON_MS; t.ends == 0 && clock_ms() < until_ms;)
            settle(&world);
        if (t.whole || t.ends != 1 || t.sendings != 1 || world.conns != 1 ||
            failure_info(t.failure.kind)->retryable)
            fail_msg("%s: ends %u whole %d sendings %u connections %zu: %s", g->name, t.ends,
                     t.whole, t.sendings, world.conns, t.failure.detail);
        trial_end(&t);
        scripted_stop(&world);
    }
}

static void what_is_pushed_before_it_is_forbidden_is_not_taken_for_the_answer(void **state)
{
    (void)state;
    struct trial t = { 0 };

    begin_world();
    ask(&t, 0, "GET", NULL);
    settings(0);
    say_frame(0, PUSH, END_HEADERS, 1, "\0\0\0\2\x82\x84\x87", 7);
    say_head(0, 2, 0, FIELDS(":status", "404"));
    say_frame(0, DATA, END_STREAM, 2, "pushed", 6);
    say_answer(0, 1, "ok");
    UNTIL(&world, t.ends == 1);
    settle(&world);
    assert_true(t.whole);
    assert_int_equal(t.x.head.status, 200);
    assert_string_equal(buf_text(&t.answer), "ok");
    trial_end(&t);
    scripted_stop(&world);
}

static void frames_that_nobody_knows_are_skipped_and_give_no_time(void **state)
{
    (void)state;
    struct trial t = { 0 };

    begin_world();
    warm();
    ask(&t, 0, "POST", "{}");
    int64_t moved_ms = t.x.progress_ms;
    for (int i = 0; i < 20000; i++) {
        say_frame(0, 0xee, 0xff, i % 2 ? 3 : 0, "x", 1);
        clock_ahead_ms += i % 500 == 0;
        if (i % 500 == 0)
            settle(&world);
    }
    settle(&world);
    assert_int_equal(t.x.progress_ms, moved_ms);
    say_answer(0, 3, "ok");
    UNTIL(&world, t.ends == 1);
    assert_true(t.whole);
    trial_end(&t);
    scripted_stop(&world);
}

static void a_head_without_end_is_refused_within_bounds(void **state)
{
    (void)state;
    uint8_t block[1000];
    struct trial t = { 0 };
    char value[101];

    memset(value, 'v', 100);
    value[100] = '\0';
    for (int bare = 0; bare < 2; bare++) {
        begin_world();
        warm();
        ask(&t, 0, "POST", "{}");
        say_frame(0, HEADERS, 0, 3, "\x88", 1);
        size_t n = bare ? 0 : block_of(block, FIELDS("x-a", value, "x-b", value));
        for (int i = 0; i < 20000 && t.ends == 0; i++) {
            say_frame(0, CONTINUATION, 0, 3, block, n);
            if (i % 100 == 0)
                settle(&world);
        }
        UNTIL(&world, t.ends == 1);
        assert_false(t.whole);
        settle(&world);
        trial_end(&t);
        scripted_stop(&world);
    }
}

/* A neighbour's fault is not told as one's own. */
static void a_stream_that_breaks_rules_is_not_held_against_the_others(void **state)
{
    (void)state;
    struct trial bad = { 0 }, good = { 0 };

    begin_world();
    warm();
    ask(&bad, 0, "POST", "{}");
    ask(&good, 0, "POST", "{}");
    say_head(0, 3, 0, FIELDS(":status", "200", "connection", "x"));
    UNTIL(&world, bad.ends == 1);
    assert_int_equal(bad.failure.kind, FAIL_UPSTREAM_PROTOCOL);
    peer_close(&world, 0, false);
    UNTIL(&world, good.ends == 1);
    assert_int_equal(good.failure.kind, FAIL_UPSTREAM_LOST);
    trial_end(&bad);
    trial_end(&good);
    scripted_stop(&world);
}

/* --- the connection's life --------------------------------------------------------------- */

static void a_connection_that_is_silent_gets_no_further_requests(void **state)
{
    (void)state;
    struct trial t = { 0 }, next = { 0 };

    begin_world();
    warm();
    ask(&t, 0, "POST", "{}");
    for (int i = 0; i < 3; i++) { /* an answer to the PING is enough */
        clock_ahead_ms += 5001;
        UNTIL(&world, frames(0, PING, 0, 0) == (unsigned)i + 1);
        say_frame(0, PING, ACK, 0, "\0\0\0\0\0\0\0\0", 8);
        settle(&world);
    }
    ask(&next, 0, "POST", "{}");
    say_answer(0, 5, "ok");
    UNTIL(&world, next.ends == 1);
    trial_end(&next);
    for (int i = 0; i < 3; i++) {
        clock_ahead_ms += 5001;
        settle(&world);
    }
    trial_begin(&next, "POST", "{}");
    UNTIL(&world, heads(1) == 1);
    /* Those that are on it may still be answered; then it is closed. */
    say_answer(0, 3, "late");
    UNTIL(&world, t.ends == 1);
    assert_true(t.whole);
    UNTIL(&world, world.ended[0]);
    trial_end(&t);
    trial_end(&next);
    scripted_stop(&world);
}

/* Nobody reads at the other end: a body fills all that lies between, and what comes behind it is not
 * sent. Its connection gives no sign of life, either. */
static void what_a_silent_connection_does_not_take_goes_to_another_one(void **state)
{
    (void)state;
    enum { BODY_BYTES = 8000000 };
    struct trial stuck = { 0 }, behind = { 0 };
    char *bytes = calloc(1, BODY_BYTES + 1);
    size_t here = 0;

    begin_world();
    warm();
    say_setting(0, 4, 0x7fffffff);
    say_u32(0, WINDOW, 0, 0x70000000);
    settle(&world);
    memset(bytes, 'x', BODY_BYTES);
    world.ended[0] = true; /* nothing more is taken from it */
    stuck.body.ended = true;
    trial_start(&stuck, "POST", BODY_BYTES, bytes);
    free(bytes);
    do {
        here = exchange_body_unsent(&stuck.x);
        settle(&world);
    } while (exchange_body_unsent(&stuck.x) < here);
    assert_true(here > 0);
    trial_begin(&behind, "POST", "{}");
    settle(&world);
    assert_int_equal(behind.sendings, 0);
    for (int i = 0; i < 2; i++) {
        clock_ahead_ms += 5001;
        settle(&world);
    }
    UNTIL(&world, heads(1) == 1);
    settings(1);
    say_answer(1, 1, "ok");
    UNTIL(&world, behind.ends == 1);
    assert_true(behind.whole);
    assert_int_equal(behind.sendings, 1);
    assert_int_equal(stuck.ends, 0); /* it may still be answered */
    trial_end(&behind);
    trial_end(&stuck);
    scripted_stop(&world);
}

static void an_idle_connection_is_closed_when_its_time_is_up(void **state)
{
    (void)state;
    begin_world();
    warm();
    assert_int_equal(world.pool.count, 1);
    clock_ahead_ms += 5001;
    UNTIL(&world, world.ended[0]);
    assert_int_equal(world.pool.count, 0);
    assert_int_equal(error_of(0, GOAWAY, 0), NGHTTP2_NO_ERROR);
    scripted_stop(&world);
}

static void after_goaway_what_is_under_way_ends_and_the_next_goes_elsewhere(void **state)
{
    (void)state;
    struct trial t = { 0 }, next = { 0 };

    begin_world();
    warm();
    ask(&t, 0, "POST", "{}");
    say_goaway(0, 3, NGHTTP2_NO_ERROR);
    settle(&world);
    trial_begin(&next, "POST", "{}");
    UNTIL(&world, heads(1) == 1);
    say_answer(0, 3, "old");
    say_answer(1, 1, "new");
    UNTIL(&world, t.ends + next.ends == 2);
    assert_string_equal(buf_text(&t.answer), "old");
    UNTIL(&world, world.ended[0]);
    trial_end(&t);
    trial_end(&next);
    scripted_stop(&world);
}

static void one_that_is_cancelled_while_connecting_leaves_nothing_behind(void **state)
{
    (void)state;
    struct trial t = { 0 };

    begin_world();
    trial_begin(&t, "POST", "{}");
    trial_end(&t);
    assert_int_equal(world.pool.count, 0);
    /* Nor one whose HEADERS are queued and not written. */
    warm();
    trial_begin(&t, "POST", "{}");
    trial_end(&t);
    settle(&world);
    assert_int_equal(frames(0, HEADERS, 3, 0), 0);
    scripted_stop(&world);
}

/* For whoever has to tell what may have been carried out. */
static void one_that_is_given_up_says_whether_it_was_sent(void **state)
{
    (void)state;
    struct trial t = { 0 };

    begin_world();
    warm();
    trial_begin(&t, "POST", "{}");
    exchange_cancel(&t.x);
    assert_false(t.x.attempt.wrote);
    trial_end(&t);
    settle(&world);
    ask(&t, 0, "POST", "{}");
    exchange_cancel(&t.x);
    assert_true(t.x.attempt.wrote);
    trial_end(&t);
    scripted_stop(&world);
}

static void other_settings_take_another_connection(void **state)
{
    (void)state;
    struct trial t = { 0 }, next = { 0 };

    begin_world();
    warm();
    ask(&t, 0, "POST", "{}");
    h2_host_forget(&world.h2_host);
    trial_begin(&next, "POST", "{}");
    UNTIL(&world, heads(1) == 1);
    say_answer(0, 3, "old");
    UNTIL(&world, t.ends == 1 && world.ended[0]);
    assert_true(t.whole);
    trial_end(&t);
    trial_end(&next);
    scripted_stop(&world);
}

/* --- upstream.max_connections, when there is another worker ------------------------------- */

static struct conn_limit limit;
static struct mailbox mailbox;

/* The other worker: it wants one connection. */
static struct other {
    struct conn_limit_user user;
    struct conn_waiter waiter;
    bool has; /* its permit */
} other;

static void on_other_granted(struct conn_limit_user *u, struct conn_waiter *w)
{
    (void)u;
    CONTAINER_OF(w, struct other, waiter)->has = true;
}

static void on_other_wanted(struct conn_limit_user *u)
{
    (void)u; /* it has none that is idle */
}

/* One connection for both. */
static void begin_limited_world(const char *settings)
{
    char text[200];

    (void)snprintf(text, sizeof text, "http_version = 2\n%s", settings);
    scripted_start_with(&world, &h1_client_user, 8, text);
    other = (struct other){ .user = { .mailbox = &mailbox,
                                      .on_granted = on_other_granted,
                                      .on_wanted = on_other_wanted } };
    assert_int_equal(mailbox_init(&mailbox, &world.loop), 0);
    assert_int_equal(conn_limit_init(&limit, 1), 0);
    world.pool.limit.mailbox = &mailbox;
    conn_limit_join(&limit, &world.pool.limit);
    conn_limit_join(&limit, &other.user);
}

static void end_limited_world(void)
{
    conn_limit_cancel(&other.waiter);
    if (other.has)
        conn_limit_give(&other.user);
    conn_limit_leave(&other.user);
    mailbox_done(&mailbox);
    scripted_stop(&world);
    conn_limit_done(&limit);
}

static void other_takes(void)
{
    other.has = conn_limit_take(&other.user, &other.waiter);
}

static void other_gives(void)
{
    other.has = false;
    conn_limit_give(&other.user);
}

static void a_connection_without_requests_is_closed_for_another_worker(void **state)
{
    (void)state;
    begin_limited_world("keepalive = 1h\n");
    warm();
    other_takes();
    assert_false(other.has);
    UNTIL(&world, other.has);
    UNTIL(&world, world.ended[0]);
    end_limited_world();
}

/* A connection that is never without a request would never be free. */
static void one_that_is_in_use_takes_no_more_requests_while_another_worker_waits(void **state)
{
    (void)state;
    struct trial first = { 0 }, follower = { 0 };

    begin_limited_world("keepalive = 1h\nconnect_timeout = 1h\n");
    warm();
    ask(&first, 0, "POST", "{}");
    other_takes();
    settle(&world);
    assert_false(other.has);
    trial_begin(&follower, "POST", "{}");
    settle(&world);
    assert_int_equal(follower.sendings, 0);
    say_answer(0, 3, "ok");
    UNTIL(&world, first.ends == 1 && other.has);
    assert_true(first.whole);
    settle(&world);
    assert_int_equal(follower.sendings, 0); /* it is not the other's turn to wait */
    assert_int_equal(world.conns, 1);
    other_gives();
    UNTIL(&world, heads(1) == 1);
    settings(1);
    say_answer(1, 1, "ok");
    UNTIL(&world, follower.ends == 1);
    assert_true(follower.whole);
    trial_end(&first);
    trial_end(&follower);
    end_limited_world();
}

/* Somebody else has one to spare, or waits for one of its own that is being closed. */
static void the_only_one_of_a_worker_goes_on_if_there_are_enough_for_all(void **state)
{
    (void)state;
    struct trial first = { 0 }, follower = { 0 };

    begin_limited_world("keepalive = 1h\nconnect_timeout = 1h\n");
    limit.max = 2;
    warm();
    ask(&first, 0, "POST", "{}");
    other_takes();
    settle(&world);
    trial_begin(&follower, "POST", "{}");
    UNTIL(&world, heads(0) == 3);
    assert_int_equal(follower.sendings, 1);
    say_answer(0, 3, "ok");
    UNTIL(&world, first.ends == 1);
    settle(&world);
    assert_false(other.has);
    say_answer(0, 5, "ok");
    UNTIL(&world, follower.ends == 1 && other.has); /* it is idle */
    trial_end(&first);
    trial_end(&follower);
    end_limited_world();
}

/* One of its two takes no more requests, but has one that is slow. */
static void one_of_two_is_given_up_although_the_other_is_being_replaced(void **state)
{
    (void)state;
    struct trial slow = { 0 }, busy = { 0 }, follower = { 0 };

    begin_limited_world("keepalive = 1h\nconnect_timeout = 1h\n");
    limit.max = limit.left = 2;
    warm();
    ask(&slow, 0, "POST", "{}");
    say_goaway(0, 3, NGHTTP2_NO_ERROR);
    settle(&world);
    trial_begin(&busy, "POST", "{}");
    UNTIL(&world, heads(1) == 1);
    settings(1);
    other_takes();
    settle(&world);
    assert_false(other.has);
    trial_begin(&follower, "POST", "{}");
    settle(&world);
    assert_int_equal(follower.sendings, 0);
    say_answer(1, 1, "ok");
    UNTIL(&world, busy.ends == 1 && other.has);
    settle(&world);
    assert_int_equal(follower.sendings, 0); /* it waits for the slow one, or for the other */
    say_answer(0, 3, "ok");
    UNTIL(&world, slow.ends == 1 && heads(2) == 1);
    say_answer(2, 1, "ok");
    UNTIL(&world, follower.ends == 1);
    trial_end(&slow);
    trial_end(&busy);
    trial_end(&follower);
    end_limited_world();
}

/* It has carried out what waited for it: as many as there were. */
static void
who_waits_for_a_connection_at_its_turn_is_served_before_it_is_given_away(void **state)
{
    (void)state;
    struct trial t[3] = { 0 };

    begin_limited_world("connect_timeout = 1h\n");
    other_takes();
    assert_true(other.has);
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        trial_begin(&t[i], "POST", "{}");
    settle(&world);
    other_gives();
    other_takes(); /* again, behind them */
    UNTIL(&world, heads(0) == ARRAY_LEN(t));
    settings(0);
    settle(&world);
    assert_false(other.has);
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        say_answer(0, (uint32_t)(2 * i + 1), "ok");
    UNTIL(&world, other.has);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        assert_true(t[i].whole);
        trial_end(&t[i]);
    }
    end_limited_world();
}

static void each_request_waits_for_a_connection_as_long_as_it_may(void **state)
{
    (void)state;
    struct trial first = { 0 }, follower = { 0 };

    begin_limited_world("connect_timeout = 1h\n");
    other_takes();
    trial_begin(&first, "POST", "{}");
    settle(&world);
    clock_ahead_ms += 2400000;
    turn(&world);
    trial_begin(&follower, "POST", "{}"); /* on the same connection that is to be made */
    clock_ahead_ms += 2400000;
    UNTIL(&world, first.ends == 1);
    assert_int_equal(first.failure.kind, FAIL_OVERLOAD);
    assert_non_null(strstr(first.failure.detail, "upstream.max_connections"));
    settle(&world);
    assert_int_equal(follower.ends, 0);
    other_gives();
    UNTIL(&world, heads(0) == 1);
    settings(0);
    say_answer(0, 1, "ok");
    UNTIL(&world, follower.ends == 1);
    assert_true(follower.whole);
    trial_end(&first);
    trial_end(&follower);
    /* And the last one, too, is told. */
    h2_host_forget(&world.h2_host);
    UNTIL(&world, world.ended[0]);
    other_takes();
    assert_true(other.has);
    trial_begin(&first, "POST", "{}");
    clock_ahead_ms += 3600001;
    UNTIL(&world, first.ends == 1);
    assert_int_equal(first.failure.kind, FAIL_OVERLOAD);
    assert_int_equal(world.pool.count, 0);
    trial_end(&first);
    end_limited_world();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_to_answer_is_understood_or_refused),
        cmocka_unit_test(the_request_says_what_it_has_to_and_the_token_once),
        cmocka_unit_test(only_what_the_upstream_cannot_have_looked_at_is_sent_again_and_once),
        cmocka_unit_test(what_was_never_written_is_sent_again),
        cmocka_unit_test(many_share_a_connection_and_each_gets_its_own_answer),
        cmocka_unit_test(the_upstreams_limit_of_streams_opens_further_connections),
        cmocka_unit_test(what_exceeds_a_limit_told_late_goes_to_another_connection),
        cmocka_unit_test(
            an_upstream_that_allows_no_stream_fails_each_request_after_two_connections),
        cmocka_unit_test(a_retry_from_within_leaves_what_else_came_alone),
        cmocka_unit_test(one_that_ends_may_start_and_cancel_others_on_the_same_connection),
        cmocka_unit_test(a_discarded_body_never_ends_as_if_it_were_whole),
        cmocka_unit_test(after_an_early_answer_the_rest_is_sent_and_after_a_refusal_it_is_not),
        cmocka_unit_test(the_end_of_an_upload_behind_an_early_answer_outlives_its_session),
        cmocka_unit_test(behind_a_full_connection_a_request_waits_for_room),
        cmocka_unit_test(behind_a_full_connection_a_request_is_asked_about_again),
        cmocka_unit_test(from_behind_a_full_connection_that_is_silent_a_request_moves),
        cmocka_unit_test(a_body_without_window_does_not_move_because_others_do),
        cmocka_unit_test(what_a_cancelled_exchange_had_taken_is_given_back_to_the_connection),
        cmocka_unit_test(a_caller_that_does_not_read_holds_the_stream_and_nobody_else),
        cmocka_unit_test(games_end_the_connection_and_the_request_once),
        cmocka_unit_test(what_is_pushed_before_it_is_forbidden_is_not_taken_for_the_answer),
        cmocka_unit_test(frames_that_nobody_knows_are_skipped_and_give_no_time),
        cmocka_unit_test(a_head_without_end_is_refused_within_bounds),
        cmocka_unit_test(a_stream_that_breaks_rules_is_not_held_against_the_others),
        cmocka_unit_test(a_connection_that_is_silent_gets_no_further_requests),
        cmocka_unit_test(what_a_silent_connection_does_not_take_goes_to_another_one),
        cmocka_unit_test(an_idle_connection_is_closed_when_its_time_is_up),
        cmocka_unit_test(after_goaway_what_is_under_way_ends_and_the_next_goes_elsewhere),
        cmocka_unit_test(one_that_is_cancelled_while_connecting_leaves_nothing_behind),
        cmocka_unit_test(one_that_is_given_up_says_whether_it_was_sent),
        cmocka_unit_test(other_settings_take_another_connection),
        cmocka_unit_test(a_connection_without_requests_is_closed_for_another_worker),
        cmocka_unit_test(one_that_is_in_use_takes_no_more_requests_while_another_worker_waits),
        cmocka_unit_test(the_only_one_of_a_worker_goes_on_if_there_are_enough_for_all),
        cmocka_unit_test(one_of_two_is_given_up_although_the_other_is_being_replaced),
        cmocka_unit_test(
            who_waits_for_a_connection_at_its_turn_is_served_before_it_is_given_away),
        cmocka_unit_test(each_request_waits_for_a_connection_as_long_as_it_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

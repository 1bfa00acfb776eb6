/* A connection that ends is closed at once, also if older connections are idle:
 * libmicrohttpd looks only at the oldest, unless something happens. Rows:
 * tests/hostile/README.md. */
#include <sys/socket.h>

#include "harness.h"
#include "later.h"

#define NEIGHBOURS 3

/* What the target asks for, in ways that end with the connection. */
static void answer_ending(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    static const struct {
        const char *target, *head;
        bool cut; /* ends before it is whole */
    } ways[] = {
        { "/v0/until-the-end", "HTTP/1.1 200 OK\r\n\r\n", false },
        { "/v0/measured", "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", true },
        { "/v0/chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n61a80\r\n",
          true },
    };
    struct bytes body = { 0 };
    (void)arg;
    bytes_fill(&body, 'x', 400000);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (strcmp(r->target, ways[i].target) != 0)
            continue;
        (void)peer_puts(c, ways[i].head);
        (void)peer_write(c, body.data, body.len);
        peer_close(c);
    }
    bytes_free(&body);
    if (c->fd >= 0)
        (void)peer_answer(c, 200, NULL, "fine");
}

static void open_neighbours(struct world *w, struct client *c)
{
    struct answer a = { 0 };
    for (size_t i = 0; i < NEIGHBOURS; i++) {
        client_open(&c[i], w->port);
        client_call(&c[i], "GET", "/fine", NULL, NULL, &a);
        assert_int_equal(a.status, 200);
    }
    answer_free(&a);
}

/* They are as they were. */
static void close_neighbours(struct client *c)
{
    struct answer a = { 0 };
    for (size_t i = 0; i < NEIGHBOURS; i++) {
        client_call(&c[i], "GET", "/fine", NULL, NULL, &a);
        assert_int_equal(a.status, 200);
        client_close(&c[i]);
    }
    answer_free(&a);
}

/* An answer that is cut in its body is cut for the caller at once, also where older connections
 * of other callers are idle. (row 45) */
static void an_answer_that_is_cut_ends_beside_idle_neighbours(void **state)
{
    (void)state;
    static const char *const targets[] = { "/measured", "/chunked" };
    static const char *const versions[] = { "1.1", "1.0" };
    WORLD(w);
    struct client idle[NEIGHBOURS];
    struct answer a = { 0 };
    char request[128];
    world_start(&w, &(struct world_options){ .answer = answer_ending });
    open_neighbours(&w, idle);
    for (size_t i = 0; i < 4; i++) {
        (void)snprintf(request, sizeof request, "GET %s HTTP/%s\r\nHost: localhost\r\n\r\n",
                       targets[i / 2], versions[i % 2]);
        http_raw(w.port, request, &a);
        if (a.end != ANSWER_CUT)
            fail_msg("end %d, status %d, %zu bytes for %s", (int)a.end, a.status, a.body.len,
                     request);
    }
    close_neighbours(idle);
    answer_free(&a);
}

static void an_answer_to_an_old_caller_ends_beside_idle_neighbours(void **state)
{
    (void)state;
    WORLD(w);
    struct client idle[NEIGHBOURS];
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .answer = answer_ending });
    open_neighbours(&w, idle);
    for (int i = 0; i < 3; i++) {
        http_raw(w.port, "GET /until-the-end HTTP/1.0\r\nHost: localhost\r\n\r\n", &a);
        assert_int_equal(a.status, 200);
        assert_int_equal(a.end, ANSWER_WHOLE);
        assert_int_equal(a.body.len, 400000);
    }
    close_neighbours(idle);
    answer_free(&a);
}

/* A connection that we end inside a body gives its place back at once. */
static void a_refused_upload_gives_its_place_back_beside_idle_neighbours(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\npart",
        "POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "GET /x HTTP/1.1\r\nX: ",
    };
    LATER(later);
    WORLD(w);
    struct client idle[NEIGHBOURS], c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .answer = answer_ending,
                                             .env = later.env,
                                             .settings = "listen.max_connections = 4\n"
                                                         "listen.body_timeout = 1m\n"
                                                         "listen.header_timeout = 1m\n"
                                                         "listen.idle_timeout = 24h\n" });
    open_neighbours(&w, idle);
    for (size_t i = 0; i < 9; i++) {
        client_open(&c, w.port);
        client_puts(&c, requests[i % 3]);
        assert_true(later_until_heard(&later, &c, 61000));
        assert_true(client_closed(&c, SOON_MS));
        client_close(&c);
        /* the one place that is left is free again as soon as the loop has turned */
        int64_t deadline_ms = now_ms() + SOON_MS;
        do
            http_get(w.port, "/fine", &a);
        while (a.status == 503 && now_ms() < deadline_ms);
        if (a.status != 200)
            fail_msg("%d behind %s", a.status, requests[i % 3]);
    }
    close_neighbours(idle);
    answer_free(&a);
}

/* Its end comes together with its request: no event of its own to libmicrohttpd. */
static void a_caller_that_has_nothing_more_to_say_is_let_go(void **state)
{
    (void)state;
    LATER(later);
    WORLD(w);
    struct client idle[NEIGHBOURS], c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .answer = answer_ending,
                                             .env = later.env,
                                             .settings = "listen.header_timeout = 1m\n"
                                                         "listen.idle_timeout = 24h\n" });
    open_neighbours(&w, idle);
    for (int i = 0; i < 30; i++) {
        client_open(&c, w.port);
        client_puts(&c, "GET /fine HTTP/1.1\r\nHost: localhost\r\n\r\n");
        (void)shutdown(c.fd, SHUT_WR);
        client_read(&c, &a, false, SOON_MS);
        if (a.end != ANSWER_NONE) /* to leave so early may count as leaving */
            assert_int_equal(a.status, 200);
        assert_true(later_until_heard(&later, &c, 61000));
        assert_true(client_closed(&c, SOON_MS));
        client_close(&c);
    }
    close_neighbours(idle);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answer_that_is_cut_ends_beside_idle_neighbours),
        TEST(an_answer_to_an_old_caller_ends_beside_idle_neighbours),
        TEST(a_caller_that_has_nothing_more_to_say_is_let_go),
        TEST(a_refused_upload_gives_its_place_back_beside_idle_neighbours),
    };
    return RUN_TESTS(tests);
}

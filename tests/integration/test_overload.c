/* More than there is room for: callers, descriptors, memory; and callers or upstreams that
 * are stuck. Those above a limit are told so at once, and those within it notice nothing.
 * Rows: tests/hostile/README.md. */
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "harness.h"

static void answer_held(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    if (strncmp(r->target, "/v0/held", 8) != 0 || gate_pass(arg, c))
        api_echo(c, r, NULL);
}

#define HELD "GET /held HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

/* Callers above the limit of connections are told so, whether they ask for something or say
 * nothing at all. (row 68) */
static void callers_above_the_limit_are_told_while_those_inside_wait(void **state)
{
    (void)state;
    enum { LIMIT = 20, ABOVE = 50 };
    WORLD(w);
    static struct gate gate;
    gate_init(&gate);
    world_start(&w, &(struct world_options){ .answer = answer_held,
                                             .arg = &gate,
                                             .settings = "listen.max_connections = 20\n" });
    struct crowd *inside = crowd_start(w.port, LIMIT, HELD);
    assert_true(gate_wait_arrived(&gate, LIMIT, SOON_MS));
    struct crowd *asking = crowd_start(w.port, ABOVE, HELD);
    struct crowd *silent = crowd_start(w.port, ABOVE, "");
    assert_true(crowd_finish(asking, SOON_MS));
    assert_true(crowd_finish(silent, SOON_MS));
    assert_int_equal(crowd_count(asking, 503), ABOVE);
    assert_int_equal(crowd_count(silent, 503), ABOVE);
    assert_int_equal(crowd_containing(asking, "Retry-After: 1"), ABOVE);
    assert_int_equal(crowd_containing(silent, "Retry-After: 1"), ABOVE);
    assert_int_equal(crowd_containing(asking, "error=connection_limit_reached"), ABOVE);
    assert_int_equal(gate.arrived, LIMIT);
    gate_open(&gate);
    assert_true(crowd_finish(inside, SOON_MS));
    assert_int_equal(crowd_count(inside, 200), LIMIT);
    crowd_free(inside);
    crowd_free(asking);
    crowd_free(silent);
}

/* Far more than are given a place to wait for their answer in. */
static void a_flood_of_callers_above_the_limit_is_still_answered(void **state)
{
    (void)state;
    enum { ABOVE = 2500 };
    WORLD(w);
    struct client inside;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = "listen.max_connections = 1\n" });
    client_open(&inside, w.port);
    client_call(&inside, "GET", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    struct crowd *flood = crowd_start(w.port, ABOVE, "");
    client_call(&inside, "GET", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    assert_true(crowd_finish(flood, 4 * SOON_MS));
    assert_int_equal(crowd_count(flood, 503), ABOVE);
    crowd_free(flood);
    client_close(&inside);
    answer_free(&a);
}

/* Hundreds of callers that send their heads or bodies byte by byte get 408 in time, and others
 * are served meanwhile. (row 37) */
static void hundreds_of_slow_callers_end_in_408_and_hinder_nobody(void **state)
{
    (void)state;
    enum { SLOW = 250 };
    WORLD(w);
    struct client live;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = "listen.header_timeout = 1s\n"
                                                         "listen.body_timeout = 1s\n" });
    client_open(&live, w.port);
    struct crowd *heads =
        crowd_start(w.port, SLOW, "GET /x HTTP/1.1\r\nHost: localhost\r\nX: ");
    struct crowd *bodies = crowd_start(
        w.port, SLOW, "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf");
    for (int i = 0; i < 100; i++) {
        client_call(&live, "GET", "/live", NULL, NULL, &a);
        assert_int_equal(a.status, 200);
    }
    assert_true(crowd_finish(heads, SOON_MS));
    assert_true(crowd_finish(bodies, SOON_MS));
    assert_int_equal(crowd_count(heads, 408), SLOW);
    assert_int_equal(crowd_count(bodies, 408), SLOW);
    client_call(&live, "GET", "/live", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    crowd_free(heads);
    crowd_free(bodies);
    client_close(&live);
    answer_free(&a);
}

/* Milliseconds of processor time so far (proc(5), stat). */
static long cpu_ms(const struct proxy *p)
{
    char path[64], text[1024];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)proxy_pid(p));
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    size_t n = fread(text, 1, sizeof text - 1, file);
    text[n] = '\0';
    (void)fclose(file);
    const char *at = strrchr(text, ')');
    unsigned long user = 0, system = 0;
    assert_non_null(at);
    assert_int_equal(
        sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system),
        2);
    return (long)((user + system) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK));
}

static void limit(const struct proxy *p, __rlimit_resource_t what, rlim_t most)
{
    struct rlimit now;
    assert_int_equal(prlimit(proxy_pid(p), what, NULL, &now), 0);
    now.rlim_cur = most;
    assert_int_equal(prlimit(proxy_pid(p), what, &now, NULL), 0);
}

/* No descriptors left: no crash, no busy loop, and it recovers when there are some again.
 * (row 69) */
static void without_descriptors_nothing_spins_or_dies_and_it_recovers(void **state)
{
    (void)state;
    enum { CALLERS = 200 };
    WORLD(w);
    struct client live;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = "listen.idle_timeout = 60s\n" });
    if (proxy_descriptors(w.proxy) < 0) {
        (void)fprintf(stderr, "SKIPPED: its descriptors cannot be counted here\n");
        skip();
    }
    client_open(&live, w.port);
    client_call(&live, "GET", "/live", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    struct rlimit before;
    assert_int_equal(prlimit(proxy_pid(w.proxy), RLIMIT_NOFILE, NULL, &before), 0);
    limit(w.proxy, RLIMIT_NOFILE, (rlim_t)proxy_descriptors(w.proxy) + 9);
    struct crowd *crowd =
        crowd_start(w.port, CALLERS,
                    "GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n");
    assert_true(proxy_log_wait(w.proxy, "event=descriptors_exhausted", 1, SOON_MS));
    long cpu_before_ms = cpu_ms(w.proxy);
    int64_t began_ms = now_ms();
    while (now_ms() - began_ms < 1500) {
        /* who is inside is served all the while, or told why not */
        client_call(&live, "GET", "/live", NULL, NULL, &a);
        if (a.status != 200)
            assert_problem(&a, 503, "proxy", "connection_limit_reached");
        (void)poll(NULL, 0, 50);
    }
    long used_ms = cpu_ms(w.proxy) - cpu_before_ms;
    if (used_ms > (now_ms() - began_ms) / 3)
        fail_msg("%ld ms of processor time while there was nothing to do", used_ms);
    limit(w.proxy, RLIMIT_NOFILE, before.rlim_cur);
    int64_t deadline_ms = now_ms() + SOON_MS;
    struct client late;
    client_open(&late, w.port);
    client_call(&late, "GET", "/late", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    client_close(&late);
    while (crowd_count(crowd, 200) + crowd_count(crowd, 503) < CALLERS &&
           now_ms() < deadline_ms)
        (void)crowd_finish(crowd, 100);
    if (crowd_count(crowd, 200) + crowd_count(crowd, 503) != CALLERS)
        fail_msg("%zu served and %zu told of %d", crowd_count(crowd, 200),
                 crowd_count(crowd, 503), CALLERS);
    crowd_free(crowd);
    client_close(&live);
    answer_free(&a);
}

#define PIECES 200
#define PIECE 65536

static void answer_large(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    static const char piece[PIECE];
    (void)arg;
    if (strcmp(r->target, "/v0/large") != 0) {
        (void)peer_answer(c, 200, NULL, "small");
        return;
    }
    char head[96];
    (void)snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n",
                   PIECES * PIECE);
    (void)peer_puts(c, head);
    for (int i = 0; i < PIECES && peer_write(c, piece, sizeof piece); i++) {
    }
}

/* Waits until nothing comes into the proxy any more: all buffers are full. */
static void wait_for_standstill(const struct proxy *p)
{
    long before;
    int64_t deadline_ms = now_ms() + SOON_MS;
    do {
        before = cpu_ms(p);
        (void)poll(NULL, 0, 300);
    } while (cpu_ms(p) - before > 20 && now_ms() < deadline_ms);
}

/* What a download costs in memory whose caller does not read. (rows 35, 71) */
static void many_downloads_that_stand_still_cost_little_and_hinder_nobody(void **state)
{
    (void)state;
    enum { STREAMS = 100 };
    WORLD(w);
    struct client stuck[STREAMS], live;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .answer = answer_large,
                                             .settings = "listen.send_timeout = 1h\n"
                                                         "upstream.idle_timeout = 1h\n" });
    http_get(w.port, "/warm", &a);
    long before_kib = proxy_rss_kib(w.proxy);
    for (size_t i = 0; i < STREAMS; i++) {
        client_open(&stuck[i], w.port);
        client_puts(&stuck[i], "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client_read_head(&stuck[i], &a, SOON_MS);
        assert_int_equal(a.status, 200);
    }
    wait_for_standstill(w.proxy);
    long grown_kib = (proxy_rss_kib(w.proxy) - before_kib) / STREAMS;
    if (grown_kib > (sanitized() ? 4096 : 1024))
        fail_msg("%ld KiB for a download that stands still", grown_kib);
    client_open(&live, w.port);
    for (int i = 0; i < 100; i++) {
        client_call(&live, "GET", "/live", NULL, NULL, &a);
        assert_int_equal(a.status, 200);
    }
    /* every second is read to its end after all, the others are given up */
    for (size_t i = 0; i < STREAMS; i++) {
        if (i % 2 != 0) {
            client_reset(&stuck[i]);
            continue;
        }
        size_t left = (size_t)PIECES * PIECE;
        while (left > 0) {
            size_t n = stuck[i].in.len < left ? stuck[i].in.len : left;
            left -= n;
            bytes_clear(&stuck[i].in);
            if (left > 0)
                assert_int_equal(client_fill(&stuck[i], SOON_MS), 1);
        }
        client_close(&stuck[i]);
    }
    client_call(&live, "GET", "/live", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    client_close(&live);
    answer_free(&a);
}

static long address_space_kib(const struct proxy *p)
{
    char path[64], line[256];
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)proxy_pid(p));
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    long kib = -1;
    while (kib < 0 && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "VmSize:", 7) == 0)
            kib = strtol(line + 7, NULL, 10);
    (void)fclose(file);
    return kib;
}

/* No memory left: what does not fit is refused or ended, what has begun goes on, and afterwards
 * all is as it was. (row 71) */
static void without_memory_new_work_fails_and_old_work_goes_on(void **state)
{
    (void)state;
    enum { STREAMS = 500 };
    WORLD(w);
    static struct client many[STREAMS];
    struct client live;
    struct answer a = { 0 };
    size_t served = 0, told = 0, closed = 0;
    if (sanitized()) /* the sanitizer's allocator ends the process */
        skip();
    world_start(&w, &(struct world_options){ .answer = answer_large });
    client_open(&live, w.port);
    client_call(&live, "GET", "/live", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    struct rlimit before;
    assert_int_equal(prlimit(proxy_pid(w.proxy), RLIMIT_AS, NULL, &before), 0);
    limit(w.proxy, RLIMIT_AS, (rlim_t)address_space_kib(w.proxy) * 1024);
    for (size_t i = 0; i < STREAMS; i++) {
        client_open(&many[i], w.port);
        (void)client_try_send(&many[i], "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n", 41,
                              1000);
    }
    for (size_t i = 0; i < STREAMS; i++) {
        client_read_head(&many[i], &a, SOON_MS);
        served += a.status == 200;
        told += a.status >= 500;
        closed += a.end == ANSWER_NONE || a.end == ANSWER_CUT;
    }
    printf("without memory: %zu served, %zu told, %zu closed\n", served, told, closed);
    assert_int_equal(proxy_wait_exit(w.proxy, 0), -1);
    for (int i = 0; i < 20; i++) { /* told, or closed; and the next one may try again */
        client_call(&live, "GET", "/live", NULL, NULL, &a);
        assert_true(a.status == 200 || a.status >= 500 || a.end == ANSWER_NONE);
        if (a.end != ANSWER_WHOLE || strcmp(answer_header(&a, "Connection"), "close") == 0) {
            client_close(&live);
            client_open(&live, w.port);
        }
    }
    for (size_t i = 0; i < STREAMS; i++)
        client_reset(&many[i]);
    limit(w.proxy, RLIMIT_AS, before.rlim_cur);
    for (int i = 0; i < 20; i++) {
        http_get(w.port, "/after", &a);
        assert_int_equal(a.status, 200);
    }
    client_close(&live);
    answer_free(&a);
}

/* Each in its own way never goes on: before TLS, in the head, in the body. */
static void serve_stuck(struct peer_conn *c, void *arg)
{
    const struct peer_request *r;
    (void)arg;
    while ((r = peer_read_request(c)) != NULL) {
        if (strcmp(r->target, "/v0/live") == 0) {
            (void)peer_answer(c, 200, NULL, "live");
            continue;
        }
        if (strcmp(r->target, "/v0/head") == 0)
            (void)peer_puts(c, "HTTP/1.1 200 OK\r\nX-");
        if (strcmp(r->target, "/v0/body") == 0)
            (void)peer_puts(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
        peer_read_eof(c);
    }
}

/* Whatever is stuck, in whatever state (suspended connections among them), a live caller is
 * served. (row 73) */
static void nothing_that_is_stuck_holds_up_a_live_caller(void **state)
{
    (void)state;
    enum { EACH = 50 };
    static const char *const ways[] = {
        "GET /silent HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /head HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /body HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf",
        "GET /x HTTP/1.1\r\nHost: localhost\r\nX-",
        "GET /silent HTTP/1.1\r\nHost: localhost\r\n\r\nGET /next HTTP/1.1\r\n",
        "",
    };
    struct crowd *stuck[sizeof ways / sizeof *ways];
    WORLD(w);
    struct client live;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .serve = serve_stuck });
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        stuck[i] = crowd_start(w.port, EACH, ways[i]);
    assert_true(peer_wait(w.api, "GET /v0/silent", 2 * EACH, SOON_MS));
    client_open(&live, w.port);
    long cpu_before_ms = cpu_ms(w.proxy);
    int64_t began_ms = now_ms();
    for (int i = 0; i < 200; i++) {
        client_call(&live, i % 2 ? "POST" : "GET", "/live", NULL, i % 2 ? "{}" : NULL, &a);
        assert_int_equal(a.status, 200);
        http_get(w.port, "/live", &a);
        assert_int_equal(a.status, 200);
    }
    (void)poll(NULL, 0, 500);
    long used_ms = cpu_ms(w.proxy) - cpu_before_ms;
    if (used_ms > now_ms() - began_ms)
        fail_msg("%ld ms of processor time", used_ms);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        crowd_free(stuck[i]);
    client_close(&live);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(callers_above_the_limit_are_told_while_those_inside_wait),
        TEST(a_flood_of_callers_above_the_limit_is_still_answered),
        TEST(hundreds_of_slow_callers_end_in_408_and_hinder_nobody),
        TEST(without_descriptors_nothing_spins_or_dies_and_it_recovers),
        TEST(many_downloads_that_stand_still_cost_little_and_hinder_nobody),
        TEST(without_memory_new_work_fails_and_old_work_goes_on),
        TEST(nothing_that_is_stuck_holds_up_a_live_caller),
    };
    return RUN_TESTS(tests);
}

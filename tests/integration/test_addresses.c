/* Names with several addresses, some of which do not answer, and names that move: for the
 * upstream and for the token endpoint. The program runs in a mount namespace with another
 * /etc/hosts. Skipped where no such namespace can be made. */
#include "harness.h"
#include "hosts.h"

/* The resolver puts addresses in front that are near 127.0.0.1; the living one is far. */
#define LIVING "127.0.0.65"
#define LIVING_HOST 64

static bool possible;

static int make_names(void **state)
{
    (void)state;
    possible = hosts_begin(LIVING " api.test tokens.test\n");
    return 0;
}

static int unmake_names(void **state)
{
    (void)state;
    hosts_end();
    return 0;
}

#define DEAD_MAX 4

/* A world whose upstream and token endpoint are reached by names of several addresses. */
struct named {
    struct world w;
    struct black_hole dead[2 * DEAD_MAX];
};

static void named_end(struct named *n)
{
    peer_host = 0;
    world_end(&n->w);
    for (size_t i = 0; i < sizeof n->dead / sizeof *n->dead; i++)
        black_hole_end(&n->dead[i]);
}

struct named_options {
    const char *dead[DEAD_MAX]; /* black holes, for both names */
    const char *settings;
    enum cert_kind cert;
    bool h2;
};

/* False: the machine lacks one of the addresses. */
static bool named_start(struct named *n, const struct named_options *o)
{
    struct world_options options = { .no_proxy = true, .cert = o->cert, .h2 = o->h2 };
    struct bytes names = { 0 }, settings = { 0 };
    bool all = true;

    peer_host = LIVING_HOST;
    world_start(&n->w, &options);
    int api = peer_port(n->w.api), tokens = peer_port(tokens_peer(n->w.tokens));

    for (size_t i = 0; i < DEAD_MAX && o->dead[i] != NULL; i++) {
        bytes_addf(&names, "%s api.test tokens.test\n", o->dead[i]);
        all = all && black_hole_begin(&n->dead[2 * i], o->dead[i], api) &&
              black_hole_begin(&n->dead[2 * i + 1], o->dead[i], tokens);
    }
    bytes_addf(&names, LIVING " api.test tokens.test\n");
    hosts_write(bytes_text(&names));
    bytes_addf(&settings,
               "upstream.base_url = %s:%d/v0\nupstream.allow_plaintext = yes\n"
               "token.url = http://tokens.test:%d/token\n%s",
               o->cert == CERT_NONE ? "http://api.test" : "https://api.test", api, tokens,
               o->settings == NULL ? "" : o->settings);
    options.settings = bytes_text(&settings);
    if (all)
        world_proxy(&n->w, &options);
    bytes_free(&names);
    bytes_free(&settings);
    if (!all)
        (void)fprintf(stderr, "SKIPPED: a part, for an address that this machine has not\n");
    return all;
}

#define NAMED(name) struct named name __attribute__((cleanup(named_end))) = { 0 }

/* Asks until the answer has that status, or says that. A process that did not get to run for
 * the whole of connect_timeout has tried fewer addresses than there are, or has not even
 * learnt them, and is right to say that the time was over: nothing else may be said instead. */
static void ask_until(struct named *n, const char *method, const char *target, int status,
                      const char *detail, struct answer *a)
{
    for (int64_t until_ms = now_ms() + SOON_MS;;) {
        http_call(n->w.port, method, target, NULL, method[0] == 'P' ? "{}" : NULL, a);
        if (a->status == status ||
            (detail != NULL && strstr(bytes_text(&a->body), detail) != NULL))
            return;
        if (now_ms() > until_ms)
            fail_msg("never: the last answer was %d %s", a->status, bytes_text(&a->body));
        if (a->status == 504)
            assert_problem(a, 504, "upstream", "connection_timeout");
        else
            assert_problem(a, 502, "upstream", "dns_timeout");
    }
}

/* The default of connect_timeout, and shorter ones. */
static void another_address_is_tried_while_there_is_time(void **state)
{
    static const struct named_options cases[] = {
        { .dead = { "127.0.0.2" } },
        { .dead = { "127.0.0.2", "127.0.0.3" } },
        { .dead = { "127.0.0.2", "127.0.0.3", "127.0.0.4" },
          .settings = "upstream.connect_timeout = 2s\n" },
        { .dead = { "127.0.0.2", "127.0.0.3", "127.0.0.4" },
          .settings = "upstream.connect_timeout = 1s\n" },
        { .dead = { "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5" } },
        { .dead = { "::1" } },
        { .dead = { "::1", "127.0.0.2", "127.0.0.3" } },
        { .dead = { "127.0.0.2", "127.0.0.3" }, .cert = CERT_VALID },
        { .dead = { "127.0.0.2", "127.0.0.3" },
          .cert = CERT_VALID,
          .h2 = true,
          .settings = "upstream.http_version = 2\n" },
    };
    (void)state;
    if (!possible)
        skip();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        NAMED(n);
        struct answer a = { 0 };
        if (!named_start(&n, &cases[i]))
            continue;
        assert_true(proxy_log_wait(n.w.proxy, "event=token_obtained", 1, SOON_MS));
        ask_until(&n, "POST", "/chains", 200, NULL, &a);
        assert_int_equal(peer_count(n.w.api, cases[i].h2 ? "H2 /" : "POST /v0/chains"), 1);
        answer_free(&a);
    }
}

/* Each in its own way: the answer tells that there are several, and doctor which did what. */
static void addresses_that_fail_differently_are_told_apart(void **state)
{
    (void)state;
    if (!possible)
        skip();
    NAMED(n);
    struct answer a = { 0 };
    struct black_hole silent = { 0 };
    assert_true(named_start(
        &n, &(struct named_options){ .settings = "upstream.connect_timeout = 1s\n" }));
    assert_true(proxy_log_wait(n.w.proxy, "event=token_obtained", 1, SOON_MS));
    assert_true(black_hole_begin(&silent, "127.0.0.2", peer_port(n.w.api)));
    hosts_write("127.0.0.2 api.test\n127.0.0.3 api.test\n" LIVING " tokens.test\n");
    /* one that refuses is not asked again, so that the other one decides when the time is
     * over */
    ask_until(&n, "GET", "/x", 0, "2 addresses", &a);
    assert_true(a.status == 502 || a.status == 504);
    char ini[160];
    (void)snprintf(ini, sizeof ini, "%s/oneshot-proxy.ini", proxy_dir(n.w.proxy));
    const char *const argv[] = { "doctor", "--config", ini, NULL };
    struct run r = run_proxy(argv, NULL);
    assert_contains(bytes_text(&r.out), "127.0.0.2: ");
    assert_contains(bytes_text(&r.out), "127.0.0.3: ");
    run_free(&r);
    answer_free(&a);
    black_hole_end(&silent);
}

/* As the program does. */
static void doctor_tries_the_other_addresses_too(void **state)
{
    (void)state;
    if (!possible)
        skip();
    NAMED(n);
    char ini[160];
    if (!named_start(&n, &(struct named_options){ .dead = { "127.0.0.2", "127.0.0.3" },
                                                  .cert = CERT_VALID }))
        skip();
    (void)snprintf(ini, sizeof ini, "%s/oneshot-proxy.ini", proxy_dir(n.w.proxy));
    const char *const argv[] = { "doctor", "--config", ini, NULL };
    struct run r = run_proxy(argv, NULL);
    if (r.code != 0)
        fail_msg("doctor left with %d:\n%s", r.code, bytes_text(&r.out));
    assert_contains(bytes_text(&r.out), "200, the token is accepted");
    run_free(&r);
}

static void addresses_that_are_all_silent_are_told_as_a_connect_timeout(void **state)
{
    (void)state;
    if (!possible)
        skip();
    for (size_t dead = 1; dead <= 3; dead++) {
        NAMED(n);
        struct answer a = { 0 };
        struct black_hole more[3] = { 0 };
        struct bytes names = { 0 };
        assert_true(named_start(
            &n, &(struct named_options){ .settings = "upstream.connect_timeout = 1s\n" }));
        assert_true(proxy_log_wait(n.w.proxy, "event=token_obtained", 1, SOON_MS));
        for (size_t i = 0; i < dead; i++) {
            char address[32];
            (void)snprintf(address, sizeof address, "127.0.0.%zu", 2 + i);
            assert_true(black_hole_begin(&more[i], address, peer_port(n.w.api)));
            bytes_addf(&names, "%s api.test\n", address);
        }
        hosts_write(bytes_text(&names));
        int64_t before_ms = now_ms();
        ask_until(&n, "GET", "/x", 504, NULL, &a);
        int64_t took_ms = now_ms() - before_ms;
        assert_problem(&a, 504, "upstream", "connection_timeout");
        assert_problem_detail(&a, "upstream.connect_timeout");
        assert_true(took_ms >= 900);
        assert_true(took_ms < SOON_MS); /* a bound, whatever the machine does meanwhile */
        answer_free(&a);
        bytes_free(&names);
        for (size_t i = 0; i < dead; i++)
            black_hole_end(&more[i]);
    }
}

/* The name is asked for again after each failed connect, not after a minute. */
static void a_name_that_moves_is_followed_once_the_old_address_fails(void **state)
{
    (void)state;
    if (!possible)
        skip();
    for (int silent = 0; silent < 2; silent++) {
        NAMED(n);
        struct answer a = { 0 };
        struct black_hole old = { 0 };
        assert_true(named_start(&n, &(struct named_options){ .settings = NULL }));
        assert_true(proxy_log_wait(n.w.proxy, "event=token_obtained", 1, SOON_MS));
        if (silent)
            assert_true(black_hole_begin(&old, "127.0.0.2", peer_port(n.w.api)));
        hosts_write("127.0.0.2 api.test tokens.test\n"); /* refuses, or is a black hole */
        http_get(n.w.port, "/x", &a);
        assert_true(a.status == 502 || a.status == 504);
        hosts_write(LIVING " api.test tokens.test\n");
        http_get(n.w.port, "/x", &a);
        assert_int_equal(a.status, 200);
        answer_free(&a);
        black_hole_end(&old);
    }
}

static void a_name_server_that_is_silent_is_told_as_such(void **state)
{
    (void)state;
    if (!possible)
        skip();
    NAMED(n);
    struct answer a = { 0 };
    struct black_hole server;
    if (!silent_name_server_begin(&server)) {
        black_hole_end(&server);
        (void)fprintf(stderr, "SKIPPED: port 53 cannot be taken here\n");
        skip();
    }
    assert_true(named_start(
        &n, &(struct named_options){ .settings = "upstream.connect_timeout = 1s\n" }));
    assert_true(proxy_log_wait(n.w.proxy, "event=token_obtained", 1, SOON_MS));
    hosts_write("127.0.0.1 localhost\n");
    http_get(n.w.port, "/x", &a);
    assert_problem(&a, 502, "upstream", "dns_timeout");
    assert_problem_detail(&a, "No name server answered in time");
    proxy_stop(n.w.proxy);
    struct world_options options = { .settings = "upstream.connect_timeout = 1s\n"
                                                 "token.url = http://tokens.test:1/token\n"
                                                 "upstream.allow_plaintext = yes\n" };
    world_proxy(&n.w, &options);
    assert_true(
        proxy_log_wait(n.w.proxy, "event=token_fetch_failed error=token-dns", 1, SOON_MS));
    assert_true(proxy_log_contains(n.w.proxy, "No name server answered in time"));
    answer_free(&a);
    black_hole_end(&server);
}

/* The address still answers, so only the age of its connection tells that it is not to be used
 * any more. */
static void a_name_that_moves_is_followed_when_the_connection_is_old(void **state)
{
    static const struct named_options cases[] = {
        { .settings = "upstream.max_connection_age = 1s\n" },
        { .settings = "upstream.max_connection_age = 1s\n", .cert = CERT_VALID },
        { .settings = "upstream.max_connection_age = 1s\nupstream.http_version = 2\n",
          .cert = CERT_VALID,
          .h2 = true },
    };
    (void)state;
    if (!possible)
        skip();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        NAMED(n);
        struct answer a = { 0 };
        assert_true(named_start(&n, &cases[i]));
        assert_true(proxy_log_wait(n.w.proxy, "event=token_obtained", 1, SOON_MS));
        http_get(n.w.port, "/x", &a);
        assert_int_equal(a.status, 200);
        hosts_write("127.0.0.2 api.test\n"); /* refuses */
        for (int64_t until_ms = now_ms() + SOON_MS; a.status == 200 && now_ms() < until_ms;)
            http_get(n.w.port, "/x", &a);
        assert_problem(&a, 502, "upstream", "connection_refused");
        hosts_write(LIVING " api.test\n");
        http_get(n.w.port, "/x", &a);
        assert_int_equal(a.status, 200);
        answer_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(another_address_is_tried_while_there_is_time),
        TEST(addresses_that_fail_differently_are_told_apart),
        TEST(doctor_tries_the_other_addresses_too),
        TEST(addresses_that_are_all_silent_are_told_as_a_connect_timeout),
        TEST(a_name_server_that_is_silent_is_told_as_such),
        TEST(a_name_that_moves_is_followed_once_the_old_address_fails),
        TEST(a_name_that_moves_is_followed_when_the_connection_is_old),
    };
    return cmocka_run_group_tests(tests, make_names, unmake_names);
}

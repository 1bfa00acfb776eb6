/* upstream.proxy: outbound proxies, from the environment or set by name, for the token and
 * for requests. */
#include <stdatomic.h>

#include "connect_proxy.h"
#include "harness.h"

/* base64 of "user:canary-pass" */
#define CREDENTIALS "user:canary-pass"
#define BASIC "Basic dXNlcjpjYW5hcnktcGFzcw=="

struct setting {
    struct connect_proxy *outbound;
    char variable[128];
    const char *env[4];
};

static void set_up(struct setting *s, const struct connect_proxy_options *o, const char *name,
                   const char *credentials, const char *other)
{
    s->outbound = connect_proxy_start(o);
    (void)snprintf(s->variable, sizeof s->variable, "%s=http://%s%s127.0.0.1:%d", name,
                   credentials, *credentials != '\0' ? "@" : "",
                   connect_proxy_port(s->outbound));
    s->env[0] = s->variable;
    s->env[1] = other;
    s->env[2] = NULL;
}

static void get(int port, int status)
{
    struct answer a = { 0 };
    http_get(port, "/x", &a);
    assert_int_equal(a.status, status);
    answer_free(&a);
}

/* How often the outbound proxy was asked to connect to that peer. */
static size_t asked_for(struct setting *s, struct peer *p)
{
    char pattern[64];
    (void)snprintf(pattern, sizeof pattern, "CONNECT localhost:%d", peer_port(p));
    return peer_count(connect_proxy_peer(s->outbound), pattern);
}

static void https_proxy_carries_the_token_call_and_the_requests(void **state)
{
    (void)state;
    static const char *const names[] = { "HTTPS_PROXY", "https_proxy", "ALL_PROXY" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        WORLD(w);
        struct setting s;
        set_up(&s, NULL, names[i], "", NULL);
        world_start(&w, &(struct world_options){ .cert = CERT_VALID,
                                                 .token_cert = CERT_VALID,
                                                 .env = s.env,
                                                 .settings = "upstream.proxy = env\n" });
        get(w.port, 200);
        assert_int_equal(asked_for(&s, w.api), 1);
        assert_int_equal(asked_for(&s, tokens_peer(w.tokens)), 1);
        get(w.port, 200); /* on the same connection */
        assert_int_equal(peer_connections(connect_proxy_peer(s.outbound)), 2);
        world_end(&w);
        connect_proxy_stop(s.outbound);
    }
}

static void http_is_tunnelled_too_so_that_the_proxy_sees_no_token(void **state)
{
    (void)state;
    WORLD(w);
    struct setting s;
    char pattern[64];
    set_up(&s, NULL, "http_proxy", "", NULL);
    world_start(&w,
                &(struct world_options){ .env = s.env, .settings = "upstream.proxy = env\n" });
    get(w.port, 200);
    (void)snprintf(pattern, sizeof pattern, "CONNECT 127.0.0.1:%d", peer_port(w.api));
    assert_int_equal(peer_count(connect_proxy_peer(s.outbound), pattern), 1);
    assert_int_equal(peer_count(connect_proxy_peer(s.outbound), "GET *"), 0);
    world_end(&w);
    connect_proxy_stop(s.outbound);
}

static void no_proxy_exempts_a_host(void **state)
{
    (void)state;
    WORLD(w);
    struct setting s;
    set_up(&s, NULL, "HTTPS_PROXY", "", "NO_PROXY=other.example, localhost");
    world_start(&w, &(struct world_options){ .cert = CERT_VALID,
                                             .token_cert = CERT_VALID,
                                             .env = s.env,
                                             .settings = "upstream.proxy = env\n" });
    get(w.port, 200);
    assert_int_equal(peer_connections(connect_proxy_peer(s.outbound)), 0);
    world_end(&w);
    connect_proxy_stop(s.outbound);
}

static void an_exception_with_a_port_exempts_that_port(void **state)
{
    (void)state;
    WORLD(w);
    struct setting s;
    char exception[64];
    struct world_options options = { .cert = CERT_VALID,
                                     .token_cert = CERT_VALID,
                                     .settings = "upstream.proxy = env\n",
                                     .no_proxy = true };
    world_start(&w, &options);
    (void)snprintf(exception, sizeof exception, "NO_PROXY=other:1, localhost:%d",
                   peer_port(w.api));
    set_up(&s, NULL, "HTTPS_PROXY", "", exception);
    options.env = s.env;
    world_proxy(&w, &options);
    get(w.port, 200);
    assert_int_equal(asked_for(&s, w.api), 0);
    assert_int_equal(asked_for(&s, tokens_peer(w.tokens)), 1);
    world_end(&w);
    connect_proxy_stop(s.outbound);
}

static void none_ignores_the_environment(void **state)
{
    (void)state;
    WORLD(w);
    struct setting s;
    set_up(&s, NULL, "HTTPS_PROXY", "", "ALL_PROXY=http://127.0.0.1:1");
    world_start(&w, &(struct world_options){ .cert = CERT_VALID,
                                             .token_cert = CERT_VALID,
                                             .env = s.env,
                                             .settings = "upstream.proxy = none\n" });
    get(w.port, 200);
    assert_int_equal(peer_connections(connect_proxy_peer(s.outbound)), 0);
    world_end(&w);
    connect_proxy_stop(s.outbound);
}

static void the_token_endpoint_may_have_another_way(void **state)
{
    (void)state;
    WORLD(w);
    struct setting s;
    set_up(&s, NULL, "HTTPS_PROXY", "", NULL);
    world_start(&w, &(struct world_options){
                        .cert = CERT_VALID,
                        .token_cert = CERT_VALID,
                        .env = s.env,
                        .settings = "upstream.proxy = env\ntoken.proxy = none\n" });
    get(w.port, 200);
    assert_int_equal(asked_for(&s, w.api), 1);
    assert_int_equal(asked_for(&s, tokens_peer(w.tokens)), 0);
    world_end(&w);
    connect_proxy_stop(s.outbound);
}

static void assert_shows_nothing(const char *text)
{
    assert_lacks(text, "canary");
    assert_lacks(text, "dXNlcjpjYW5hcnkt");
}

static void credentials_in_the_url_are_sent_and_never_shown(void **state)
{
    (void)state;
    const struct connect_proxy_options demand = { .authorization = BASIC };
    for (int named = 0; named < 2; named++) {
        WORLD(w);
        struct setting s;
        char settings[160] = "upstream.proxy = env\n", ini[160];
        set_up(&s, &demand, "HTTPS_PROXY", CREDENTIALS, NULL);
        if (named)
            (void)snprintf(settings, sizeof settings,
                           "upstream.proxy = http://" CREDENTIALS "@127.0.0.1:%d\n",
                           connect_proxy_port(s.outbound));
        world_start(&w, &(struct world_options){ .cert = CERT_VALID,
                                                 .token_cert = CERT_VALID,
                                                 .env = named ? NULL : s.env,
                                                 .settings = settings });
        get(w.port, 200);
        /* it is for the outbound proxy only */
        const struct peer_request *r = peer_request(w.api, " /v0/x", 0);
        assert_non_null(r);
        assert_int_equal(head_count(bytes_text(&r->head), "Proxy-Authorization"), 0);
        struct bytes log = proxy_log_copy(w.proxy);
        assert_shows_nothing(bytes_text(&log));
        bytes_free(&log);
        (void)snprintf(ini, sizeof ini, "%s/oneshot-proxy.ini", proxy_dir(w.proxy));
        const char *const argv[] = { "--print-config", "--config", ini, NULL };
        struct run print = run_proxy(argv, named ? NULL : s.env);
        assert_int_equal(print.code, 0);
        assert_shows_nothing(bytes_text(&print.out));
        assert_shows_nothing(bytes_text(&print.err));
        if (named)
            assert_contains(bytes_text(&print.out), "@127.0.0.1:");
        run_free(&print);
        world_end(&w);
        connect_proxy_stop(s.outbound);
    }
}

/* What --check and a start say, which both fail. */
static void assert_refused(const char *ini, const char *const *env)
{
    const char *const check[] = { "--check", "--config", ini, NULL };
    const char *const start[] = { "--config", ini, NULL };
    const char *const *const lines[] = { check, start };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct run r = run_proxy(lines[i], env);
        assert_int_not_equal(r.code, 0);
        assert_contains(bytes_text(&r.err), "must be percent-encoded");
        assert_shows_nothing(bytes_text(&r.out));
        assert_shows_nothing(bytes_text(&r.err));
        run_free(&r);
    }
}

/* libcurl would repeat the whole URL in its message. */
static void a_password_that_is_not_encoded_is_refused_and_never_shown(void **state)
{
    (void)state;
    WORLD(w);
    const char *const env[] = { "HTTPS_PROXY=http://user:canary-pass/x@127.0.0.1:1", NULL };
    char ini[160];
    struct world_options options = { .cert = CERT_VALID,
                                     .token_cert = CERT_VALID,
                                     .settings = "upstream.proxy = env\n" };
    world_start(&w, &options);
    (void)snprintf(ini, sizeof ini, "%s/oneshot-proxy.ini", proxy_dir(w.proxy));
    assert_refused(ini, env);
    options.settings = "upstream.proxy = http://user:canary-pass?x@127.0.0.1:1\n";
    world_reload(&w, &options, "reload_refused");
    assert_refused(ini, NULL);
    get(w.port, 200);
    struct bytes log = proxy_log_copy(w.proxy);
    assert_contains(bytes_text(&log), "must be percent-encoded");
    assert_shows_nothing(bytes_text(&log));
    bytes_free(&log);
    world_end(&w);
}

static void a_proxy_of_an_unknown_scheme_fails_without_its_credentials(void **state)
{
    (void)state;
    WORLD(w);
    static const char *const env[] = { "HTTPS_PROXY=ftp://user:canary-pass@127.0.0.1:1", NULL };
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){
                        .cert = CERT_VALID,
                        .env = env,
                        .settings = "upstream.proxy = env\ntoken.proxy = none\n" });
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 502);
    assert_shows_nothing(bytes_text(&a.body));
    answer_free(&a);
    struct bytes log = proxy_log_copy(w.proxy);
    assert_shows_nothing(bytes_text(&log));
    bytes_free(&log);
    world_end(&w);
}

static void a_proxy_that_refuses_is_a_502_without_its_credentials(void **state)
{
    (void)state;
    const struct connect_proxy_options kinds[] = { { .authorization = "Basic other" },
                                                   { .refuse_with = 403 } };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        WORLD(w);
        struct setting s;
        struct answer a = { 0 };
        set_up(&s, &kinds[i], "HTTPS_PROXY", CREDENTIALS, NULL);
        world_start(&w, &(struct world_options){
                            .cert = CERT_VALID,
                            .env = s.env,
                            .settings = "upstream.proxy = env\ntoken.proxy = none\n" });
        http_get(w.port, "/x", &a);
        assert_int_equal(a.status, 502);
        assert_shows_nothing(bytes_text(&a.body));
        assert_int_equal(peer_count(w.api, ""), 0);
        struct bytes log = proxy_log_copy(w.proxy);
        assert_shows_nothing(bytes_text(&log));
        bytes_free(&log);
        answer_free(&a);
        world_end(&w);
        connect_proxy_stop(s.outbound);
    }
}

/* The token endpoint is reached by upstream.proxy where there is no token.proxy. */
static void a_failure_names_the_proxy_setting_that_counts(void **state)
{
    (void)state;
    static const char *const keys[] = { "upstream.proxy", "token.proxy" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        WORLD(w);
        struct answer a = { 0 };
        char settings[96], words[96];
        struct connect_proxy *outbound = connect_proxy_start(
            &(struct connect_proxy_options){ .authorization = "Basic other" });
        (void)snprintf(settings, sizeof settings, "%s = http://127.0.0.1:%d\n", keys[i],
                       connect_proxy_port(outbound));
        (void)snprintf(words, sizeof words, "(407): put them into %s, or", keys[i]);
        world_start(&w, &(struct world_options){ .cert = CERT_VALID,
                                                 .token_cert = CERT_VALID,
                                                 .settings = settings });
        http_get(w.port, "/x", &a);
        assert_problem(&a, 502, "token", "destination_unavailable");
        assert_problem_detail(&a, words);
        answer_free(&a);
        world_end(&w);
        connect_proxy_stop(outbound);
    }
}

static atomic_bool offers_h2;

/* A TLS handshake that goes no further than its first message, with the protocols it offers. */
static void serve_hello(struct peer_conn *c, void *arg)
{
    char hello[4096];
    long n = peer_read(c, hello, sizeof hello);

    (void)arg;
    if (n > 0 && memmem(hello, (size_t)n, "\x02h2", 3) != NULL)
        atomic_store(&offers_h2, true);
}

/* CONNECT is HTTP/1.1, and a proxy that took up the offer would not understand it. */
static void an_outbound_proxy_is_not_offered_the_upstreams_http2(void **state)
{
    (void)state;
    WORLD(w);
    char settings[256];
    struct peer *outbound = peer_start(&(struct peer_options){ .serve = serve_hello });

    atomic_store(&offers_h2, false);
    (void)snprintf(settings, sizeof settings,
                   "upstream.http_version = 2\nupstream.proxy = https://localhost:%d\n"
                   "token.proxy = none\n",
                   peer_port(outbound));
    world_start(
        &w, &(struct world_options){ .cert = CERT_VALID, .h2 = true, .settings = settings });
    get(w.port, 502);
    assert_true(peer_connections(outbound) > 0);
    peer_stop(outbound);
    assert_false(atomic_load(&offers_h2));
}

static void serve_h2(struct peer_conn *c, void *arg)
{
    uint32_t stream;
    size_t body;

    (void)arg;
    if (!h2_begin(c))
        return;
    while ((stream = h2_read_request(c, &body)) != 0)
        if (!h2_answer(c, stream, 200, "fine"))
            return;
}

/* Of the certificates and the offer that are meant for the API none is taken for the proxy's. */
static void an_exempt_host_is_spoken_to_as_without_a_proxy_with_tls(void **state)
{
    (void)state;
    static const char *const env[] = { "HTTPS_PROXY=https://127.0.0.1:1", "NO_PROXY=localhost",
                                       NULL };
    for (int h2 = 0; h2 < 2; h2++) {
        WORLD(w);
        char settings[96];
        (void)snprintf(settings, sizeof settings,
                       "upstream.proxy = env\nupstream.http_version = %s\n", h2 ? "2" : "1.1");
        world_start(&w, &(struct world_options){ .cert = CERT_VALID,
                                                 .token_cert = CERT_VALID,
                                                 .h2 = h2,
                                                 .serve = h2 ? serve_h2 : NULL,
                                                 .env = env,
                                                 .settings = settings });
        get(w.port, 200);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(https_proxy_carries_the_token_call_and_the_requests),
        TEST(an_outbound_proxy_is_not_offered_the_upstreams_http2),
        TEST(an_exempt_host_is_spoken_to_as_without_a_proxy_with_tls),
        TEST(http_is_tunnelled_too_so_that_the_proxy_sees_no_token),
        TEST(no_proxy_exempts_a_host),
        TEST(an_exception_with_a_port_exempts_that_port),
        TEST(none_ignores_the_environment),
        TEST(the_token_endpoint_may_have_another_way),
        TEST(credentials_in_the_url_are_sent_and_never_shown),
        TEST(a_password_that_is_not_encoded_is_refused_and_never_shown),
        TEST(a_proxy_of_an_unknown_scheme_fails_without_its_credentials),
        TEST(a_proxy_that_refuses_is_a_502_without_its_credentials),
        TEST(a_failure_names_the_proxy_setting_that_counts),
    };
    return RUN_TESTS(tests);
}

/* The status page of the real program: its content, and that text from peers stays text.
 * ./dev page tests its appearance in a browser. */
#include <openssl/evp.h>
#include <signal.h>

#include "harness.h"

static void answer_by_target(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)arg;
    if (strstr(r->target, "/lost") != NULL)
        peer_close(c);
    else if (strstr(r->target, "/401") != NULL)
        (void)peer_answer(c, 401, NULL, CANARY "-body");
    else if (strstr(r->target, "/503") != NULL)
        (void)peer_answer(c, 503, NULL, CANARY "-body");
    else
        (void)peer_answer(c, 200, NULL, "twelve bytes");
}

static int admin_port(struct world *w)
{
    char value[128];
    assert_true(proxy_log_field(w->proxy, "event=ready", 0, "admin", value, sizeof value));
    char *colon = strrchr(value, ':');
    assert_non_null(colon);
    return (int)strtol(colon + 1, NULL, 10);
}

static void start(struct world *w, const char *settings)
{
    char all[1024];
    (void)snprintf(all, sizeof all, "admin.address = 127.0.0.1:0\n%s",
                   settings == NULL ? "" : settings);
    world_start(w, &(struct world_options){ .answer = answer_by_target, .settings = all });
}

/* The page as text; the caller frees the answer. */
static const char *get_page(struct world *w, struct answer *a)
{
    http_get(admin_port(w), "/", a);
    assert_int_equal(a->status, 200);
    return bytes_text(&a->body);
}

/* Asks until the page has the text: failures travel from the workers. */
static const char *page_with(struct world *w, struct answer *a, const char *text)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    do
        if (strstr(get_page(w, a), text) != NULL)
            return bytes_text(&a->body);
    while (ask_again(deadline_ms));
    fail_msg("the page never had \"%s\":\n%s", text, bytes_text(&a->body));
    return NULL;
}

/* "sha256-..." of what stands between the tags. */
static void hash_of(const char *page, const char *from, const char *to, char out[64])
{
    const char *begin = strstr(page, from);
    assert_non_null(begin);
    begin += strlen(from);
    const char *end = strstr(begin, to);
    assert_non_null(end);
    unsigned char digest[32], text[45];
    assert_int_equal(EVP_Digest(begin, (size_t)(end - begin), digest, NULL, EVP_sha256(), NULL),
                     1);
    (void)EVP_EncodeBlock(text, digest, sizeof digest);
    (void)snprintf(out, 64, "'sha256-%s'", (const char *)text);
}

static void the_policy_lets_only_the_pages_own_style_and_script_be(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char policy[1024], style[64], script[64];
    start(&w, NULL);
    const char *page = get_page(&w, &a);
    assert_string_equal(answer_header(&a, "Content-Type"), "text/html; charset=utf-8");
    assert_string_equal(answer_header(&a, "Cache-Control"), "no-store");
    assert_string_equal(answer_header(&a, "X-Content-Type-Options"), "nosniff");
    assert_string_equal(answer_header(&a, "Referrer-Policy"), "no-referrer");
    assert_int_equal(answer_header_count(&a, "Content-Security-Policy"), 1);
    (void)snprintf(policy, sizeof policy, "%s", answer_header(&a, "Content-Security-Policy"));
    assert_contains(policy, "default-src 'none';");
    assert_contains(policy, "frame-ancestors 'none'");
    assert_lacks(policy, "unsafe");
    hash_of(page, "<style>", "</style>", style);
    hash_of(page, "<script>", "</script>", script);
    assert_contains(policy, style);
    assert_contains(policy, script);
    answer_free(&a);
}

static void head_gets_the_length_and_a_query_is_passed_over(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    start(&w, NULL);
    http_get(admin_port(&w), "/?" CANARY "=<script>", &a);
    assert_int_equal(a.status, 200);
    assert_lacks(bytes_text(&a.body), CANARY);
    client_open(&c, admin_port(&w));
    client_puts(&c, "HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    client_read(&c, &a, true, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_true(a.content_length > 10000);
    client_close(&c);
    answer_free(&a);
}

static void with_a_token_and_no_failures_all_is_well(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    start(&w, NULL);
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    const char *page = page_with(&w, &a, ">All is well</h2>");
    assert_contains(page, "59 min");
    assert_contains(page, "number 1, lives for 1 h");
    assert_contains(page, "None since the start.");
    assert_contains(page, "client_secret = ******");
    assert_lacks(page, CANARY);
    answer_free(&a);
}

static void a_failure_is_shown_with_what_an_operator_needs(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    start(&w, NULL);
    http_call(w.port, "POST", "/v0/lost?secret=" CANARY, "X-Request-Id: id-lost\r\n", "{}", &a);
    assert_int_equal(a.status, 502);
    http_call(w.port, "GET", "/v0/503", "X-Request-Id: id-503\r\n", NULL, &a);
    assert_int_equal(a.status, 503);
    (void)page_with(&w, &a, "id-lost");
    const char *page = page_with(&w, &a, "id-503");
    assert_contains(page, "<code>POST /v0/lost</code>");
    assert_contains(page, "<code>GET /v0/503</code>");
    assert_contains(page, ">upstream</span>");
    assert_contains(page, "Check whether it was carried out before sending it again");
    assert_contains(page, "upstream-lost");
    assert_contains(page, ">Some requests fail at the upstream</h2>");
    assert_lacks(page, CANARY);
    answer_free(&a);
}

static void what_a_peer_sends_stays_text(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    start(&w, NULL);
    http_raw(w.port,
             "GET /<script>alert(1)</script>\"'& HTTP/1.1\r\nHost: 127.0.0.1\r\n"
             "X-Request-Id: <i>1\"'\r\nConnection: close\r\n\r\n",
             &a);
    assert_int_equal(a.status, 400);
    http_raw(w.port,
             "GET /\xff\xc3\xa4 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", &a);
    (void)page_with(&w, &a, "&lt;i&gt;1&quot;&#39;");
    const char *page = page_with(&w, &a, "<code>GET /\\xff\\xc3\\xa4</code>");
    assert_contains(page, "<code>GET /&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;");
    assert_lacks(page, "<script>alert");
    assert_lacks(page, "<i>");
    answer_free(&a);
}

static void a_caller_that_never_finishes_its_head_is_on_the_list(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    start(&w, "listen.header_timeout = 200ms\n");
    client_open(&c, w.port);
    client_puts(&c, "GET /slow");
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 408);
    const char *page = page_with(&w, &a, "head-timeout");
    assert_contains(page, "listen.header_timeout");
    client_close(&c);
    answer_free(&a);
}

static void a_storm_of_failures_leaves_the_last_twenty(void **state)
{
    (void)state;
    enum { CALLERS = 150 };
    WORLD(w);
    struct answer a = { 0 };
    start(&w, "process.workers = 2\n");
    struct crowd *crowd = crowd_start(
        w.port, CALLERS,
        "GET /v0/stormy HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert_true(crowd_finish(crowd, SOON_MS * 2));
    assert_int_equal(crowd_count(crowd, 421), CALLERS);
    crowd_free(crowd);
    http_raw(w.port,
             "GET /v0/stormy HTTP/1.1\r\nHost: evil.example\r\nX-Request-Id: the-last\r\n"
             "Connection: close\r\n\r\n",
             &a);
    const char *page = page_with(&w, &a, "the-last");
    assert_contains(page, ">All is well</h2>"); /* but for the callers */
    assert_contains(page, "Callers got 151 requests wrong");
    size_t shown = 0;
    for (const char *p = page; (p = strstr(p, "<code>GET /v0/stormy</code>")) != NULL; p++)
        shown++;
    assert_int_equal(shown, 20);
    answer_free(&a);
}

/* The number behind the sample in /metrics. */
static double metric(const char *metrics, const char *sample)
{
    char line[256];
    (void)snprintf(line, sizeof line, "\n%s ", sample);
    const char *found = strstr(metrics, line);
    if (found == NULL)
        fail_msg("/metrics has no %s", sample);
    return strtod(found + strlen(line), NULL);
}

static void the_page_and_the_metrics_tell_the_same(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 }, metrics = { 0 };
    start(&w, NULL);
    for (int i = 0; i < 7; i++)
        http_get(w.port, "/x", &a);
    http_call(w.port, "POST", "/x", NULL, "abcde", &a);
    http_get(w.port, "/503", &a);
    http_raw(w.port, "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", &a);
    (void)page_with(&w, &a, "host-not-allowed");
    http_get(admin_port(&w), "/metrics", &metrics);
    const char *text = bytes_text(&metrics.body);
    assert_true(
        metric(text,
               "oneshot_proxy_requests_total{method=\"safe\",status=\"2xx\",stage=\"none\"}") ==
        7);
    const char *page = get_page(&w, &a);
    assert_contains(page, "<data value=\"8\" data-metric=\"oneshot_proxy_requests_total"
                          "{status=&quot;2xx&quot;,stage=&quot;none&quot;}\">8</data>");
    assert_contains(page, "<data value=\"1\" data-metric=\"oneshot_proxy_requests_total"
                          "{status=&quot;5xx&quot;,stage=&quot;none&quot;}\">1</data>");
    assert_contains(page, "<data value=\"1\" data-metric=\"oneshot_proxy_requests_total"
                          "{status=&quot;4xx&quot;,stage=&quot;request&quot;}\">1</data>");
    assert_contains(
        page, "<data value=\"5\" data-metric=\"oneshot_proxy_request_body_bytes_total\">");
    assert_true(metric(text, "oneshot_proxy_request_body_bytes_total") == 5);
    answer_free(&a);
    answer_free(&metrics);
}

static void refused_credentials_are_named_as_the_fault(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    struct world_options o = { .answer = answer_by_target,
                               .no_proxy = true,
                               .settings = "admin.address = 127.0.0.1:0\n" };
    world_start(&w, &o);
    tokens_always(w.tokens,
                  (struct token_answer){ .status = 401, .body = "{\"error\":\"" CANARY "\"}" });
    world_proxy(&w, &o);
    const char *page = page_with(&w, &a, ">No token: requests fail</h2>");
    assert_contains(page, "the configuration (client credentials)");
    assert_contains(page, "check token.client_id and token.client_secret");
    assert_contains(page, "None is held");
    assert_contains(page, ">failed</span>");
    assert_lacks(page, CANARY);
    answer_free(&a);
}

static void an_upstream_that_refuses_every_token_is_not_called_well(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    start(&w, "token.retry_min = 1ms\n");
    int64_t deadline_ms = now_ms() + SOON_MS;
    for (;;) {
        http_get(w.port, "/v0/401", &a);
        assert_int_equal(a.status, 401);
        if (strstr(get_page(&w, &a), ">The upstream refuses the tokens</h2>") != NULL)
            break;
        assert_true(ask_again(deadline_ms));
    }
    const char *page = page_with(&w, &a, "<code>GET /v0/401</code>");
    assert_contains(page, ">refused</span>");
    assert_contains(page, "the configuration (client credentials)");
    assert_lacks(page, CANARY);
    answer_free(&a);
}

static void a_refused_reload_is_on_the_page_until_one_succeeds(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    struct world_options o = { .answer = answer_by_target,
                               .settings = "admin.address = 127.0.0.1:0\nlog.level = loud\n" };
    start(&w, NULL);
    world_reload(&w, &o, "reload_refused");
    const char *page = page_with(&w, &a, ">The last reload was refused</h2>");
    assert_contains(page, "oneshot-proxy.ini:");
    assert_contains(page, "log.level: ");
    assert_contains(page, "The settings from before it are still in force.");
    assert_lacks(page, CANARY);
    /* a secret that has slipped to a line of its own */
    o.settings = "admin.address = 127.0.0.1:0\nlog." CANARY "slipped = x\n";
    world_reload(&w, &o, "reload_refused");
    page = page_with(&w, &a, "unknown key (see the log)");
    assert_lacks(page, CANARY);
    o.settings = "admin.address = 127.0.0.1:0\n";
    world_reload(&w, &o, "reloaded");
    assert_lacks(page_with(&w, &a, ">All is well</h2>"), "reload was refused");
    answer_free(&a);
}

static void while_it_drains_it_says_so(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    start(&w, "process.drain_delay = 60s\nprocess.drain_timeout = 60s\n");
    assert_contains(get_page(&w, &a), ">All is well</h2>");
    proxy_signal(w.proxy, SIGTERM);
    const char *page = page_with(&w, &a, ">Stopping</h2>");
    assert_contains(page, "nobody");
    answer_free(&a);
    proxy_signal(w.proxy, SIGTERM);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 1);
    proxy_free(w.proxy);
    w.proxy = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_policy_lets_only_the_pages_own_style_and_script_be),
        TEST(head_gets_the_length_and_a_query_is_passed_over),
        TEST(with_a_token_and_no_failures_all_is_well),
        TEST(a_failure_is_shown_with_what_an_operator_needs),
        TEST(what_a_peer_sends_stays_text),
        TEST(a_caller_that_never_finishes_its_head_is_on_the_list),
        TEST(a_storm_of_failures_leaves_the_last_twenty),
        TEST(the_page_and_the_metrics_tell_the_same),
        TEST(refused_credentials_are_named_as_the_fault),
        TEST(an_upstream_that_refuses_every_token_is_not_called_well),
        TEST(a_refused_reload_is_on_the_page_until_one_succeeds),
        TEST(while_it_drains_it_says_so),
    };
    return RUN_TESTS(tests);
}

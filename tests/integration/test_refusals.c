/* Requests that are refused before anything is sent: who may use the port, and what a
 * request must look like. Each refused request is followed by a second one, which must not
 * be served. Rows: tests/hostile/README.md. */
#include "harness.h"

#define LURE "GET /lure HTTP/1.1\r\nHost: localhost\r\n\r\n"

struct refusal {
    const char *request;
    size_t len;               /* 0: a string */
    int status, other_status; /* other: as right as the first, 0: none */
    const char *error; /* NULL: the library may have answered, its body is not looked at */
};

static void assert_refused(struct world *w, const struct refusal *x)
{
    struct client c;
    struct answer a = { 0 };
    client_open(&c, w->port);
    client_send(&c, x->request, x->len ? x->len : strlen(x->request));
    (void)client_try_send(&c, LURE, sizeof LURE - 1, 100);
    client_read(&c, &a, false, SOON_MS);
    if (a.status != x->status && (x->other_status == 0 || a.status != x->other_status))
        fail_msg("expected %d, got %d (end %d) for:\n%s", x->status, a.status, (int)a.end,
                 x->request);
    if (x->error != NULL) {
        assert_problem(&a, a.status, "request", x->error);
        assert_true(a.body.len <= 1024);
    }
    assert_string_equal(answer_header(&a, "Connection"), "close");
    assert_true(client_closed(&c, SOON_MS));
    assert_int_equal(peer_count(w->api, ""), 0);
    client_close(&c);
    answer_free(&a);
}

static void assert_all_refused(const struct refusal *x, size_t n, const char *settings)
{
    WORLD(w);
    world_start(&w, &(struct world_options){ .settings = settings });
    for (size_t i = 0; i < n; i++)
        assert_refused(&w, &x[i]);
}
#define ALL_REFUSED(table, settings) \
    assert_all_refused(table, sizeof(table) / sizeof *(table), settings)

#define GET(target) "GET " target " HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define HEAD_OF(fields) "GET /x HTTP/1.1\r\n" fields "\r\n"

/* A Host that is not in the list gets 421: a web page may have had its name point here.
 * (row 33) */
static void a_host_that_is_not_allowed_is_421(void **state)
{
    (void)state;
    static const struct refusal table[] = {
        { .request = HEAD_OF("Host: evil.example\r\n"), .status = 421 },
        { .request = HEAD_OF("Host: localhost.evil.example\r\n"), .status = 421 },
        { .request = HEAD_OF("Host: 127.0.0.1.nip.io\r\n"), .status = 421 },
        { .request = HEAD_OF("Host: 10.0.0.1\r\n"), .status = 421 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct refusal x = table[i];
        x.error = "http_request_denied";
        assert_all_refused(&x, 1, NULL);
    }
}

static void allowed_hosts_are_served(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char request[256];
    static const char *const names[] = { "localhost", "127.0.0.1", "[::1]", "LocalHost" };
    world_start(&w, &(struct world_options){ 0 });
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (int with_port = 0; with_port < 2; with_port++) {
            char port[16] = "";
            if (with_port)
                (void)snprintf(port, sizeof port, ":%d", w.port);
            (void)snprintf(request, sizeof request,
                           "GET /x HTTP/1.1\r\nHost: %s%s\r\nConnection: close\r\n\r\n",
                           names[i], port);
            http_raw(w.port, request, &a);
            if (a.status != 200)
                fail_msg("%d for %s", a.status, request);
        }
    }
    world_end(&w);
    world_start(&w,
                &(struct world_options){ .settings = "listen.allowed_hosts = gw.internal\n" });
    http_raw(w.port, "GET /x HTTP/1.1\r\nHost: gw.internal\r\nConnection: close\r\n\r\n", &a);
    assert_int_equal(a.status, 200);
    world_end(&w);
    world_start(&w, &(struct world_options){ .settings = "listen.allowed_hosts = *\n" });
    http_raw(w.port, "GET /x HTTP/1.1\r\nHost: any.example:77\r\nConnection: close\r\n\r\n",
             &a);
    assert_int_equal(a.status, 200);
    answer_free(&a);
}

/* What a browser sends for another site's page (Origin, Sec-Fetch-Site) gets 403. (row 33) */
static void a_web_page_is_refused_unless_its_origin_is_listed(void **state)
{
    (void)state;
    static const struct refusal table[] = {
        { .request = HEAD_OF("Host: localhost\r\nOrigin: http://evil.example\r\n"),
          .status = 403,
          .error = "http_request_denied" },
        { .request = HEAD_OF("Host: localhost\r\nOrigin: null\r\n"),
          .status = 403,
          .error = "http_request_denied" },
        { .request = "OPTIONS /x HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n"
                     "Access-Control-Request-Method: POST\r\n\r\n",
          .status = 403,
          .error = "http_request_denied" },
    };
    ALL_REFUSED(table, NULL);
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){
                        .settings = "listen.allowed_origins = https://a.example\n" });
    http_call(w.port, "GET", "/x", "Origin: https://a.example\r\n", NULL, &a);
    assert_int_equal(a.status, 200);
    http_call(w.port, "GET", "/x", "Origin: https://b.example\r\n", NULL, &a);
    assert_problem(&a, 403, "request", "http_request_denied");
    assert_int_equal(answer_header_count(&a, "Access-Control-Allow-Origin"), 0);
    world_end(&w);
    world_start(&w, &(struct world_options){ .settings = "listen.allowed_origins = *\n" });
    http_call(w.port, "GET", "/x", "Origin: https://b.example\r\n", NULL, &a);
    assert_int_equal(a.status, 200);
    answer_free(&a);
}

static void a_required_header_must_be_there_and_goes_no_further(void **state)
{
    (void)state;
    static const char settings[] = "listen.require_header = X-Proxy-Key: open sesame\n";
    static const struct refusal table[] = {
        { .request = GET("/x"), .status = 403, .error = "http_request_denied" },
        { .request = HEAD_OF("Host: localhost\r\nX-Proxy-Key: open\r\n"),
          .status = 403,
          .error = "http_request_denied" },
    };
    ALL_REFUSED(table, settings);
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = settings });
    http_call(w.port, "GET", "/x", "x-proxy-key: open sesame\r\n", NULL, &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(head_count(bytes_text(&peer_request(w.api, "", 0)->head), "X-Proxy-Key"),
                     0);
    answer_free(&a);
}

/* CONNECT and TRACE get 405. (row 31) */
static void methods_that_are_no_business_of_a_gateway_are_405(void **state)
{
    (void)state;
    static const struct refusal table[] = {
        { .request = "TRACE /x HTTP/1.1\r\nHost: localhost\r\n\r\n",
          .status = 405,
          .error = "http_request_error" },
        { .request = "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n",
          .status = 405,
          .error = "http_request_error" },
    };
    ALL_REFUSED(table, "listen.allowed_hosts = *\n");
}

/* Dots and encoded slashes that would leave the base path, control characters, fragments and
 * bad escapes: 400. (rows 29, 32) */
static void targets_that_climb_or_hide_are_400(void **state)
{
    (void)state;
    static const char *const targets[] = {
        "/v0/../x",   "/..",     "/.",          "/v0/./x",  "/v0/%2e%2e/x",
        "/v0/.%2E/x", "/v0/%2e", "/x/..;a=1/y", "/v0/..?x", "/a%2fb",
        "/a%5cb",     "/a\\b",   "/a%00b",      "/a#b",     "/a%zzb",
        "/a%4",       "*",       "x",           "@evil/",   "/b\x7f",
        "/a\xc3\xa9", "/a|b",    "/a\"b",       "/a<b>",
    };
    WORLD(w);
    world_start(&w, &(struct world_options){ 0 });
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        char request[256];
        (void)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
                       targets[i]);
        assert_refused(&w, &(struct refusal){ .request = request,
                                              .status = 400,
                                              .error = "http_request_error" });
    }
}

/* A request with our own entry in its Via field has come in a loop: 508. (row 24) */
static void a_request_that_came_through_here_before_is_508(void **state)
{
    (void)state;
    static const struct refusal table[] = {
        { .request = HEAD_OF("Host: localhost\r\nVia: 1.1 oneshot-proxy\r\n"),
          .status = 508,
          .error = "proxy_loop_detected" },
        { .request = HEAD_OF("Host: localhost\r\nVia: 1.0 a, 1.1 oneshot-proxy, 1.1 b\r\n"),
          .status = 508,
          .error = "proxy_loop_detected" },
    };
    ALL_REFUSED(table, NULL);
}

/* Expect with anything but 100-continue: 417. (row 22) */
static void an_expectation_of_something_else_is_417(void **state)
{
    (void)state;
    static const struct refusal table[] = {
        { .request = "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
                     "Expect: 200-ok\r\n\r\n",
          .status = 417,
          .error = "http_request_error" },
    };
    ALL_REFUSED(table, NULL);
}

/* A request that is refused here costs no token. (row 33) */
static void a_refusal_needs_no_token(void **state)
{
    (void)state;
    WORLD(w);
    world_start(&w, &(struct world_options){ .hold_tokens = true });
    assert_refused(&w, &(struct refusal){ .request = HEAD_OF("Host: evil.example\r\n"),
                                          .status = 421,
                                          .error = "http_request_denied" });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_host_that_is_not_allowed_is_421),
        TEST(allowed_hosts_are_served),
        TEST(a_web_page_is_refused_unless_its_origin_is_listed),
        TEST(a_required_header_must_be_there_and_goes_no_further),
        TEST(methods_that_are_no_business_of_a_gateway_are_405),
        TEST(targets_that_climb_or_hide_are_400),
        TEST(a_request_that_came_through_here_before_is_508),
        TEST(an_expectation_of_something_else_is_417),
        TEST(a_refusal_needs_no_token),
    };
    return RUN_TESTS(tests);
}

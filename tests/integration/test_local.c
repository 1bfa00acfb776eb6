/* Access to a port on loopback by those who should not have it: a web page under a rebound
 * name or under the port's right name, and a tool that was tricked into fetching a URL. None
 * of them may use a token or reach the API. Rows: tests/hostile/README.md. */
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"

struct attempt {
    const char *request;
    int status;
};

/* Sends each on a connection of its own. A refusal comes with nothing a page could read, and is
 * the end of the connection. */
static void assert_attempts(struct world *w, const struct attempt *x, size_t n)
{
    size_t served = peer_count(w->api, ""), fetched = tokens_fetches(w->tokens);
    for (size_t i = 0; i < n; i++) {
        struct client c;
        struct answer a = { 0 };
        client_open(&c, w->port);
        client_puts(&c, x[i].request);
        client_read(&c, &a, strncmp(x[i].request, "HEAD ", 5) == 0, SOON_MS);
        if (a.status != x[i].status)
            fail_msg("expected %d, got %d (end %d) for:\n%s", x[i].status, a.status, (int)a.end,
                     x[i].request);
        if (x[i].status == 200) {
            served++;
        } else {
            assert_problem(&a, x[i].status, "request",
                           x[i].status == 400 ? "http_request_error" : "http_request_denied");
            assert_true(client_closed(&c, SOON_MS));
        }
        assert_lacks(bytes_text(&a.head), "Access-Control-");
        client_close(&c);
        answer_free(&a);
    }
    assert_int_equal(peer_count(w->api, ""), served);
    assert_int_equal(tokens_fetches(w->tokens), fetched);
}
#define ATTEMPTS(w, table) assert_attempts(w, table, sizeof(table) / sizeof *(table))

#define HOST(name) "GET /x HTTP/1.1\r\nHost: " name "\r\n\r\n"
#define WITH(fields) \
    "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n" fields "\r\n"

static void a_rebound_name_is_421_whatever_it_looks_like(void **state)
{
    (void)state;
    static const struct attempt table[] = {
        { HOST("evil.example"), 421 },
        { HOST("evil.example:8080"), 421 },
        { HOST("localhost.evil"), 421 },
        { HOST("localhost.evil.example:80"), 421 },
        { HOST("evil.localhost"), 421 },
        { HOST("xlocalhost"), 421 },
        { HOST("localhost-"), 421 },
        { HOST("127.0.0.1.nip.io"), 421 },
        { HOST("127.0.0.1.evil.example"), 421 },
        { HOST("127.0.0.2"), 421 },
        { HOST("0.0.0.0"), 421 },
        { HOST("10.0.0.1"), 421 },
        { HOST("169.254.169.254"), 421 },
        /* other spellings of an allowed address are other names */
        { HOST("localhost."), 421 },
        { HOST("127.0.0.1."), 421 },
        { HOST("127.1"), 421 },
        { HOST("2130706433"), 421 },
        { HOST("0x7f000001"), 421 },
        { HOST("0177.0.0.1"), 421 },
        { HOST("%6cocalhost"), 421 },
        { HOST("[0:0:0:0:0:0:0:1]"), 421 },
        { HOST("[::ffff:127.0.0.1]"), 421 },
        { HOST("[::]"), 421 },
        { HOST("api.1shotapi.dev"), 421 },
        /* not hosts at all */
        { HOST("localhost@evil.example"), 400 },
        { HOST("evil.example, localhost"), 400 },
        { HOST("localhost evil.example"), 400 },
        { HOST("localhost/evil"), 400 },
        { HOST("localhost:80:80"), 400 },
        { HOST("localhost:99999"), 400 },
        { HOST("[::1"), 400 },
        { HOST("::1"), 400 },
        { HOST("local\xc4\xb1host"), 400 },
        { HOST(""), 400 },
        { "GET /x HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400 },
        { "GET /x HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\n\r\n", 400 },
        /* whatever else is said about the host */
        { HOST("evil.example\r\nX-Forwarded-Host: localhost"), 421 },
        { HOST("evil.example\r\nForwarded: host=localhost"), 421 },
        /* not even what is answered here */
        { "POST /token HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n", 421 },
        { "OPTIONS /x HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421 },
    };
    WORLD(w);
    world_start(&w, &(struct world_options){ 0 });
    ATTEMPTS(&w, table);
}

static void an_allowed_name_is_right_with_any_port(void **state)
{
    (void)state;
    static const struct attempt table[] = {
        { HOST("localhost"), 200 },   { HOST("LOCALHOST"), 200 },
        { HOST("localhost:"), 200 },  { HOST("localhost:1"), 200 },
        { HOST("127.0.0.1"), 200 },   { HOST("127.0.0.1:9"), 200 },
        { HOST("[::1]"), 200 },       { HOST("[::1]:443"), 200 },
        { HOST(" localhost "), 200 }, { HOST("localhost:65535"), 200 }
    };
    static const struct attempt configured[] = {
        { HOST("gw.internal"), 200 },       { HOST("GW.Internal:7"), 200 },
        { HOST("fixed.internal:81"), 200 }, { HOST("fixed.internal:82"), 421 },
        { HOST("fixed.internal"), 421 },    { HOST("std.internal"), 200 },
        { HOST("std.internal:443"), 200 },  { HOST("std.internal:8443"), 421 },
        { HOST("[2001:db8::1]:5"), 200 },   { HOST("localhost"), 421 },
        { HOST("127.0.0.1"), 200 }, /* the host in listen.address */
    };
    WORLD(w);
    world_start(&w, &(struct world_options){ 0 });
    ATTEMPTS(&w, table);
    world_end(&w);
    world_start(&w, &(struct world_options){
                        .settings = "listen.allowed_hosts = gw.internal, fixed.internal:81, "
                                    "std.internal:443, [2001:db8::1]\n" });
    ATTEMPTS(&w, configured);
}

static void an_absolute_target_is_judged_by_its_authority(void **state)
{
    (void)state;
    static const struct attempt table[] = {
        { "GET http://evil.example/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 421 },
        { "GET http://evil.example/x HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421 },
        { "GET https://localhost.evil/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 421 },
        { "GET http://localhost@evil.example/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400 },
        { "GET http://evil.example\\@localhost/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400 },
        { "GET ftp://localhost/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400 },
        { "GET HTTP://LOCALHOST:1/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 200 },
        /* RFC 9112 section 3.2.2: Host is not looked at then; Origin is */
        { "GET http://localhost/x HTTP/1.1\r\nHost: localhost:5\r\n\r\n", 200 },
        { "GET http://localhost/x HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil\r\n\r\n",
          403 },
    };
    WORLD(w);
    world_start(&w, &(struct world_options){ 0 });
    ATTEMPTS(&w, table);
}

static void a_real_client_under_a_rebound_name_gets_nothing(void **state)
{
    (void)state;
    WORLD(w);
    char command[256], line[64] = "";
    world_start(&w, &(struct world_options){ 0 });
    size_t fetched = tokens_fetches(w.tokens);
    (void)snprintf(command, sizeof command,
                   "curl -q -sS -o /dev/null -w '%%{http_code}' --noproxy '*' "
                   "--resolve evil.example:%d:127.0.0.1 -d a=1 http://evil.example:%d/x",
                   w.port, w.port);
    FILE *curl = popen(command, "r");
    assert_non_null(curl);
    if (fgets(line, sizeof line, curl) == NULL)
        line[0] = '\0';
    assert_int_equal(pclose(curl), 0);
    assert_string_equal(line, "421");
    assert_int_equal(peer_count(w.api, ""), 0);
    assert_int_equal(tokens_fetches(w.tokens), fetched);
}

static void a_web_page_that_calls_the_port_by_its_name_is_403(void **state)
{
    (void)state;
    static const struct attempt table[] = {
        { WITH("Origin: http://evil.example\r\n"), 403 },
        { WITH("Origin: null\r\n"), 403 },
        { WITH("Origin: http://localhost\r\n"), 403 }, /* another local server's page */
        { WITH("Origin: http://127.0.0.1:3000\r\n"), 403 },
        { WITH("Origin:\r\n"), 403 },
        { WITH("origin: file://\r\n"), 403 },
        { WITH("Origin: chrome-extension://abc\r\n"), 403 },
        { WITH("Sec-Fetch-Site: cross-site\r\n"), 403 },
        { WITH("sec-fetch-site: Cross-Site\r\n"), 403 },
        { WITH("Sec-Fetch-Site: same-site\r\n"), 403 },
        { WITH("Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site\r\n"), 403 },
        { WITH("Sec-Fetch-Site: same-origin\r\nOrigin: http://evil.example\r\n"), 403 },
        /* a form posted by a page, in each of the encodings that need no preflight */
        { WITH("Origin: http://evil.example\r\n"
               "Content-Type: application/x-www-form-urlencoded\r\n"),
          403 },
        { WITH("Origin: http://evil.example\r\nContent-Type: text/plain\r\n"), 403 },
        { WITH("Origin: http://evil.example\r\n"
               "Content-Type: multipart/form-data; boundary=x\r\n"),
          403 },
        /* an image, a navigation */
        { "GET /x HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n"
          "Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n\r\n",
          403 },
        { "GET /x HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n"
          "Sec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\n\r\n",
          403 },
        { "GET /x HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n"
          "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
          403 },
        /* naming the field in Connection does not hide it */
        { WITH("Connection: Origin\r\nOrigin: http://evil.example\r\n"), 403 },
        { "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
          "Origin: http://evil.example\r\n\r\n",
          403 },
        /* programs are no pages */
        { WITH(""), 200 },
        { WITH("Sec-Fetch-Mode: cors\r\n"), 200 }, /* Node's fetch */
        { WITH("Sec-Fetch-Site: none\r\n"), 200 },
        { WITH("Sec-Fetch-Site: same-origin\r\n"), 200 },
        { WITH("Referer: http://evil.example/\r\n"), 200 },
    };
    WORLD(w);
    world_start(&w, &(struct world_options){ 0 });
    ATTEMPTS(&w, table);
}

/* A preflight of a browser gets no CORS field and costs no token. (row 33) */
static void a_preflight_learns_nothing(void **state)
{
    (void)state;
    static const struct attempt table[] = {
        { "OPTIONS /x HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n"
          "Access-Control-Request-Method: POST\r\n"
          "Access-Control-Request-Headers: content-type\r\n\r\n",
          403 },
        { "OPTIONS /x HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n"
          "Access-Control-Request-Method: POST\r\n"
          "Access-Control-Request-Private-Network: true\r\n\r\n",
          403 },
    };
    WORLD(w);
    world_start(&w, &(struct world_options){ 0 });
    ATTEMPTS(&w, table);
}

static void a_listed_origin_is_served_and_only_that(void **state)
{
    (void)state;
    static const struct attempt table[] = {
        { WITH("Origin: https://app.example\r\nSec-Fetch-Site: cross-site\r\n"), 200 },
        { WITH("Origin: HTTPS://App.Example\r\n"), 200 },
        { WITH("Origin: http://app.example\r\n"), 403 },
        { WITH("Origin: https://app.example:444\r\n"), 403 },
        { WITH("Origin: https://app.example.evil\r\n"), 403 },
        { WITH("Origin: https://app.example/\r\n"), 403 },
        { WITH("Origin: https://app.example https://evil.example\r\n"), 403 },
        { WITH("Origin: https://app.example\r\nOrigin: https://evil.example\r\n"), 403 },
        { WITH("Origin: null\r\n"), 403 },
        { WITH("Sec-Fetch-Site: cross-site\r\n"), 403 },
    };
    WORLD(w);
    world_start(&w, &(struct world_options){
                        .settings = "listen.allowed_origins = https://app.example\n" });
    ATTEMPTS(&w, table);
}

#define KEY "s3same-" CANARY
#define REQUIRE "listen.require_header = X-Proxy-Key: " KEY "\n"

static void without_the_required_header_nothing_goes(void **state)
{
    (void)state;
    static const struct attempt table[] = {
        { WITH(""), 403 },
        { WITH("X-Proxy-Key:\r\n"), 403 },
        { WITH("X-Proxy-Key: x\r\n"), 403 },
        { WITH("X-Proxy-Key: s3same\r\n"), 403 },
        { WITH("X-Proxy-Key: " KEY "x\r\n"), 403 },
        { WITH("X-Proxy-Key: x" KEY "\r\n"), 403 },
        { WITH("X-Proxy-Key: S3SAME-" CANARY "\r\n"), 403 },
        { WITH("X-Proxy-Key: " KEY ", " KEY "\r\n"), 403 },
        { WITH("X-Proxy-Key: " KEY "\r\nX-Proxy-Key: " KEY "\r\n"), 403 },
        { WITH("X-Proxy-Key: x\r\nX-Proxy-Key: " KEY "\r\n"), 403 },
        { WITH("X_Proxy_Key: " KEY "\r\n"), 403 },
        { WITH("X-Proxy-Keys: " KEY "\r\n"), 403 },
        { WITH("Cookie: X-Proxy-Key=" KEY "\r\n"), 403 },
        { "POST /x?X-Proxy-Key=" KEY " HTTP/1.1\r\nHost: localhost\r\n\r\n", 403 },
        { "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 403 },
        { "GET http://localhost/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 403 },
        { WITH("X-Proxy-Key: " KEY "\r\n"), 200 },
        { WITH("x-proxy-key: \t" KEY "  \r\n"), 200 },
        { WITH("Connection: X-Proxy-Key\r\nX-Proxy-Key: " KEY "\r\n"), 200 },
        /* it is no excuse for the other checks */
        { WITH("X-Proxy-Key: " KEY "\r\nOrigin: http://evil.example\r\n"), 403 },
    };
    WORLD(w);
    world_start(&w, &(struct world_options){ .settings = REQUIRE });
    ATTEMPTS(&w, table);
    for (size_t i = 0; i < 3; i++) {
        const struct peer_request *r = peer_request(w.api, "", i);
        assert_lacks(bytes_text(&r->head), KEY);
        assert_int_equal(head_count(bytes_text(&r->head), "X-Proxy-Key"), 0);
    }
    struct bytes log = proxy_log_copy(w.proxy);
    assert_lacks(bytes_text(&log), "s3same-");
    bytes_free(&log);
}

static void the_lists_are_reloaded_for_open_connections_too(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    client_open(&c, w.port);
    client_call(&c, "GET", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    world_reload(&w, &(struct world_options){ .settings = REQUIRE }, "reloaded");
    int64_t deadline_ms = now_ms() + SOON_MS; /* the worker hears of it a little later */
    do
        client_call(&c, "GET", "/x", NULL, NULL, &a);
    while (a.status == 200 && now_ms() < deadline_ms);
    assert_problem(&a, 403, "request", "http_request_denied");
    client_close(&c);
    http_call(w.port, "GET", "/x", "X-Proxy-Key: " KEY "\r\n", NULL, &a);
    assert_int_equal(a.status, 200);
    world_reload(&w,
                 &(struct world_options){ .settings = "listen.allowed_hosts = gw.internal\n" },
                 "reloaded");
    do
        http_get(w.port, "/x", &a);
    while (a.status != 421 && now_ms() < deadline_ms);
    assert_problem(&a, 421, "request", "http_request_denied");
    assert_problem_detail(&a, "listen.allowed_hosts");
    http_raw(w.port, "GET /x HTTP/1.1\r\nHost: gw.internal\r\nConnection: close\r\n\r\n", &a);
    assert_int_equal(a.status, 200);
    answer_free(&a);
}

static bool has_ipv6(void)
{
    struct sockaddr_in6 loopback = { .sin6_family = AF_INET6,
                                     .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&loopback, sizeof loopback) == 0;
    if (fd >= 0)
        (void)close(fd);
    return ok;
}

/* Listening on an address that other machines reach gets one warning. (row 34) */
static void an_address_that_others_reach_gets_one_warning(void **state)
{
    (void)state;
    static const struct {
        const char *setting;
        size_t warnings;
        bool ipv6;
    } cases[] = { { "listen.address = 127.0.0.1:0\n", 0, false },
                  { "listen.address = 0.0.0.0:0, 127.0.0.1:0\n", 1, false },
                  { "listen.address = [::1]:0\n", 0, true },
                  { "listen.address = [::]:0\n", 1, true } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WORLD(w);
        if (cases[i].ipv6 && !has_ipv6()) {
            (void)fprintf(stderr, "SKIPPED %s: no IPv6 here\n", cases[i].setting);
            continue;
        }
        world_start(&w, &(struct world_options){ .settings = cases[i].setting });
        assert_int_equal(proxy_log_count(w.proxy, "level=warn"), cases[i].warnings);
        if (cases[i].warnings > 0)
            assert_true(proxy_log_contains(w.proxy, "acts with the credentials"));
    }
}

/* The loopback address of IPv6 is listened on and served. (row 34) */
static void a_caller_by_ipv6_is_served(void **state)
{
    (void)state;
    if (!has_ipv6()) {
        (void)fprintf(stderr, "SKIPPED: no IPv6 here\n");
        skip();
    }
    WORLD(w);
    char command[256], line[64] = "";
    world_start(&w, &(struct world_options){ .settings = "listen.address = [::1]:0\n" });
    (void)snprintf(
        command, sizeof command,
        "curl -q -sS -o /dev/null -w '%%{http_code}' --noproxy '*' http://[::1]:%d/x", w.port);
    FILE *curl = popen(command, "r");
    assert_non_null(curl);
    if (fgets(line, sizeof line, curl) == NULL)
        line[0] = '\0';
    assert_int_equal(pclose(curl), 0);
    assert_string_equal(line, "200");
}

static int status_at(const char *address, int port, const char *host)
{
    char command[256], line[64] = "";

    (void)snprintf(command, sizeof command,
                   "curl -q -sS -o /dev/null -w '%%{http_code}' --noproxy '*' -H 'Host: %s' "
                   "http://%s:%d/x",
                   host, address, port);
    FILE *curl = popen(command, "r");
    assert_non_null(curl);
    if (fgets(line, sizeof line, curl) == NULL)
        line[0] = '\0';
    assert_int_equal(pclose(curl), 0);
    return (int)strtol(line, NULL, 10);
}

/* A page can have a name of its own lead to that address, but not be one that comes by it. */
static void the_address_of_a_name_that_is_listened_on_may_be_asked_by(void **state)
{
    static const char *const env[] = { "LD_PRELOAD=" NAMES, NULL };
    static const char settings[] = "listen.address = gateway.test:0\n";
    (void)state;
    WORLD(w);
    world_start(&w, &(struct world_options){ .settings = settings, .env = env });
    for (int i = 0; i < 2; i++) {
        assert_int_equal(status_at("127.0.0.5", w.port, "gateway.test"), 200);
        assert_int_equal(status_at("127.0.0.5", w.port, "127.0.0.5"), 200);
        assert_int_equal(status_at("127.0.0.5", w.port, "127.0.0.5:9"), 200);
        assert_int_equal(status_at("127.0.0.5", w.port, "127.0.0.6"), 421);
        assert_int_equal(status_at("127.0.0.5", w.port, "evil.example"), 421);
        if (i == 0) /* the address is not in the file, and stays */
            world_reload(&w, &(struct world_options){ .settings = settings }, "reloaded");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_rebound_name_is_421_whatever_it_looks_like),
        TEST(an_allowed_name_is_right_with_any_port),
        TEST(an_absolute_target_is_judged_by_its_authority),
        TEST(a_real_client_under_a_rebound_name_gets_nothing),
        TEST(a_web_page_that_calls_the_port_by_its_name_is_403),
        TEST(a_preflight_learns_nothing),
        TEST(a_listed_origin_is_served_and_only_that),
        TEST(without_the_required_header_nothing_goes),
        TEST(the_lists_are_reloaded_for_open_connections_too),
        TEST(an_address_that_others_reach_gets_one_warning),
        TEST(a_caller_by_ipv6_is_served),
        TEST(the_address_of_a_name_that_is_listened_on_may_be_asked_by),
    };
    return RUN_TESTS(tests);
}

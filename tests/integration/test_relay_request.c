/* Which parts of a request reach the upstream: target and header fields. Rows:
 * tests/hostile/README.md. */
#include "harness.h"

/* The request that the upstream got for a target of its own. */
static const char *head_at(struct world *w, const char *pattern)
{
    if (!peer_wait(w->api, pattern, 1, SOON_MS))
        fail_msg("%s did not reach the upstream", pattern);
    return bytes_text(&peer_request(w->api, pattern, 0)->head);
}

static void assert_field(const char *head, const char *name, const char *wanted)
{
    char value[4096];
    if (!head_value(head, name, 0, value, sizeof value))
        fail_msg("no %s in:\n%s", name, head);
    assert_string_equal(value, wanted);
}

/* The API's host and port. */
static const char *authority(const struct world *w)
{
    return strstr(peer_url(w->api), "://") + 3;
}

/* The base path is put in front where it is absent, and the query stays as it is.
 * (rows 29, 32) */
static void every_target_arrives_below_the_base_path(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "/chains", "/v0/chains" },
        { "/v0/chains", "/v0/chains" },
        { "/v0", "/v0" },
        { "/v0?a=1", "/v0?a=1" },
        { "/v0/", "/v0/" },
        { "/", "/v0/" },
        { "/v01/x", "/v0/v01/x" },
        { "/V0/x", "/v0/V0/x" },
        { "//chains", "/v0/chains" },
        { "///v0/chains", "/v0/chains" },
        { "/chains//x/", "/v0/chains//x/" },
        { "/chains?", "/v0/chains?" },
        { "/chains?q=%2e%2E%2f&name=pay+%26+go+%2B1?x=..//",
          "/v0/chains?q=%2e%2E%2f&name=pay+%26+go+%2B1?x=..//" },
        { "/a%20b%C3%A9;p=1,2/~x:@!$&'()*+", "/v0/a%20b%C3%A9;p=1,2/~x:@!$&'()*+" },
        { "/a...b/.x/..y/x.", "/v0/a...b/.x/..y/x." },
    };
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        http_get(w.port, cases[i][0], &a);
        if (a.status != 200)
            fail_msg("%s got %d", cases[i][0], a.status);
        const struct peer_request *r = peer_request(w.api, "", i);
        assert_non_null(r);
        assert_string_equal(r->target, cases[i][1]);
    }
    answer_free(&a);
}

static void without_a_base_path_targets_stay_as_they_are(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char settings[128];
    struct world_options options = { .no_proxy = true, .settings = settings };
    world_start(&w, &options);
    (void)snprintf(settings, sizeof settings, "upstream.base_url = %s\n", peer_url(w.api));
    world_proxy(&w, &options);
    http_get(w.port, "/chains?x=1", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(peer_count(w.api, "GET /chains?x=1"), 1);
    answer_free(&a);
}

static void a_long_query_arrives_whole(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    struct bytes target = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    bytes_add_str(&target, "/v0/wallets/1/signature/erc712?types=");
    bytes_fill(&target, 'x', 6000);
    http_get(w.port, bytes_text(&target), &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(peer_request(w.api, "", 0)->target, bytes_text(&target));
    bytes_free(&target);
    answer_free(&a);
}

/* An absolute target is accepted for our own host and the upstream's. (row 30) */
static void an_absolute_target_of_ours_or_of_the_upstream_is_accepted(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char request[256];
    world_start(&w, &(struct world_options){ 0 });
    (void)snprintf(request, sizeof request,
                   "GET http://localhost:%d/own?x=1 HTTP/1.1\r\nHost: localhost\r\n"
                   "Connection: close\r\n\r\n",
                   w.port);
    http_raw(w.port, request, &a);
    assert_int_equal(a.status, 200);
    (void)snprintf(request, sizeof request,
                   "GET %s/v0/theirs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                   peer_url(w.api));
    http_raw(w.port, request, &a);
    assert_int_equal(a.status, 200);
    assert_field(head_at(&w, "GET /v0/own?x=1"), "Host", authority(&w));
    assert_field(head_at(&w, "GET /v0/theirs"), "Host", authority(&w));
    http_raw(w.port,
             "GET http://elsewhere.example/x HTTP/1.1\r\nHost: localhost\r\n"
             "Connection: close\r\n\r\n",
             &a);
    assert_true(a.status == 421 || a.status == 400);
    assert_int_equal(peer_count(w.api, ""), 2);
    answer_free(&a);
}

/* Repeated, empty and 8-bit fields of a request keep their order, number and bytes. (row 26) */
static void fields_pass_unchanged_and_in_order(void **state)
{
    (void)state;
    static const char fields[] = "X-One: 1\r\n"
                                 "Accept: text/plain;q=0.5, */*\r\n"
                                 "x-two:  two words  \r\n"
                                 "Cookie: a=1\r\n"
                                 "X-One: again, \"quoted\"\r\n"
                                 "Cookie: b=2\r\n"
                                 "User-Agent: tester/1.0\r\n"
                                 "Accept-Encoding: gzip, deflate\r\n"
                                 "X-Latin: caf\xe9\r\n"
                                 "X-Forwarded-For: 10.0.0.1\r\n"
                                 "X-Empty:\r\n"
                                 "If-None-Match: W/\"x\"\r\n";
    static const char *const wanted[] = { "X-One: 1",
                                          "Accept: text/plain;q=0.5, */*",
                                          "x-two: two words",
                                          "Cookie: a=1",
                                          "X-One: again, \"quoted\"",
                                          "Cookie: b=2",
                                          "User-Agent: tester/1.0",
                                          "Accept-Encoding: gzip, deflate",
                                          "X-Latin: caf\xe9",
                                          "X-Forwarded-For: 10.0.0.1",
                                          "X-Empty:",
                                          "If-None-Match: W/\"x\"" };
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    http_call(w.port, "GET", "/fields", fields, NULL, &a);
    assert_int_equal(a.status, 200);
    const char *at = head_at(&w, "GET /v0/fields");
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        char line[128];
        (void)snprintf(line, sizeof line, "\r\n%s", wanted[i]);
        const char *found = strstr(at, line);
        if (found == NULL)
            fail_msg("\"%s\" is missing or out of order:\n%s", wanted[i],
                     head_at(&w, "GET /v0/fields"));
        at = found + strlen(line);
        while (*at == ' ')
            at++;
        assert_memory_equal(at, "\r\n", 2);
    }
    answer_free(&a);
}

static void nothing_is_added_that_the_contract_does_not_name(void **state)
{
    (void)state;
    static const char *const allowed[] = { "Host", "Authorization", "Via", "X-Request-Id" };
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    http_get(w.port, "/bare", &a);
    http_call(w.port, "POST", "/bare", NULL, "x", &a);
    const char *head = head_at(&w, "GET /v0/bare");
    size_t lines = 0;
    for (const char *at = head; (at = strstr(at, "\r\n")) != NULL; at += 2)
        lines++;
    assert_int_equal(lines, 2 + sizeof allowed / sizeof *allowed);
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        assert_int_equal(head_count(head, allowed[i]), 1);
    assert_field(head, "Host", authority(&w));
    assert_field(head, "Via", "1.1 oneshot-proxy");
    assert_field(head, "Authorization", "Bearer " CANARY "-token-1");
    assert_int_equal(head_count(head_at(&w, "POST /v0/bare"), "Content-Type"), 0);
    assert_int_equal(head_count(head_at(&w, "POST /v0/bare"), "Expect"), 0);
    answer_free(&a);
}

/* Hop-by-hop fields of a request, and those that its Connection field names, are removed.
 * (rows 18, 19) */
static void hop_by_hop_fields_stay_here(void **state)
{
    (void)state;
    static const char *const gone[] = { "Connection",
                                        "Keep-Alive",
                                        "Proxy-Connection",
                                        "Proxy-Authorization",
                                        "TE",
                                        "Trailer",
                                        "Upgrade",
                                        "X-Nominated",
                                        "HTTP2-Settings",
                                        "Proxy_Authorization",
                                        "Keep_Alive" };
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    http_raw(w.port,
             "GET /hop HTTP/1.1\r\nHost: localhost\r\n"
             "Connection: close, x-NOMINATED, HTTP2-Settings, Upgrade, authorization, via\r\n"
             "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n"
             "Proxy-Authorization: Basic eDp5\r\nTE: trailers\r\nTrailer: X-T\r\n"
             "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nX-Nominated: 1\r\nX-Kept: 1\r\n"
             "Proxy_Authorization: Basic eDp5\r\nKeep_Alive: 1\r\n\r\n",
             &a);
    assert_int_equal(a.status, 200);
    const char *head = head_at(&w, "GET /v0/hop");
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        if (head_count(head, gone[i]) != 0)
            fail_msg("%s went through:\n%s", gone[i], head);
    assert_int_equal(head_count(head, "X-Kept"), 1);
    assert_int_equal(head_count(head, "Authorization"), 1);
    assert_int_equal(head_count(head, "Via"), 1);
    answer_free(&a);
}

/* The upstream gets exactly one Authorization, which is ours, whatever the caller sends, and
 * though it says `Connection: authorization`. (rows 18, 20) */
static void the_callers_authorization_is_replaced_by_exactly_one(void **state)
{
    (void)state;
    static const char *const theirs[] = {
        "Authorization: Bearer placeholder\r\n",
        "AUTHORIZATION: Basic dTpw\r\nauthorization: Bearer second\r\n",
        "Connection: Authorization\r\nAuthorization: x\r\n",
        "Authorization:\r\n",
    };
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++) {
        http_call(w.port, "GET", "/auth", theirs[i], NULL, &a);
        assert_int_equal(a.status, 200);
        const char *head = bytes_text(&peer_request(w.api, "", i)->head);
        assert_int_equal(head_count(head, "Authorization"), 1);
        assert_field(head, "Authorization", "Bearer " CANARY "-token-1");
    }
    answer_free(&a);
}

/* A Via of others is passed on, followed by ours. (row 24) */
static void a_via_of_others_is_kept_and_ours_follows(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char value[64];
    world_start(&w, &(struct world_options){ 0 });
    http_call(w.port, "GET", "/via", "Via: 1.0 fred, 1.1 oneshot-proxy-2\r\n", NULL, &a);
    assert_int_equal(a.status, 200);
    const char *head = head_at(&w, "GET /v0/via");
    assert_field(head, "Via", "1.0 fred, 1.1 oneshot-proxy-2");
    assert_true(head_value(head, "Via", 1, value, sizeof value));
    assert_string_equal(value, "1.1 oneshot-proxy");
    answer_free(&a);
}

static void the_request_id_is_taken_over_or_made_and_comes_back(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char made[160];
    world_start(&w, &(struct world_options){ 0 });
    http_call(w.port, "GET", "/id/theirs", "X-Request-Id: abc-123\r\n", NULL, &a);
    assert_string_equal(answer_header(&a, "X-Request-Id"), "abc-123");
    assert_field(head_at(&w, "GET /v0/id/theirs"), "X-Request-Id", "abc-123");
    assert_int_equal(head_count(head_at(&w, "GET /v0/id/theirs"), "X-Request-Id"), 1);
    http_get(w.port, "/id/made", &a);
    (void)snprintf(made, sizeof made, "%s", answer_header(&a, "X-Request-Id"));
    assert_true(strlen(made) >= 8);
    assert_field(head_at(&w, "GET /v0/id/made"), "X-Request-Id", made);
    http_get(w.port, "/id/other", &a);
    assert_string_not_equal(answer_header(&a, "X-Request-Id"), made);
    answer_free(&a);
}

/* Methods other than CONNECT and TRACE are forwarded. (row 31) */
static void any_other_method_goes_through(void **state)
{
    (void)state;
    static const char *const methods[] = { "GET",    "POST",    "PUT",     "PATCH",
                                           "DELETE", "OPTIONS", "PROPFIND" };
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        http_call(w.port, methods[i], "/any", NULL, NULL, &a);
        if (a.status != 200)
            fail_msg("%s got %d", methods[i], a.status);
        const struct peer_request *r = peer_request(w.api, "", i);
        assert_string_equal(r->method, methods[i]);
    }
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_target_arrives_below_the_base_path),
        TEST(without_a_base_path_targets_stay_as_they_are),
        TEST(a_long_query_arrives_whole),
        TEST(an_absolute_target_of_ours_or_of_the_upstream_is_accepted),
        TEST(fields_pass_unchanged_and_in_order),
        TEST(nothing_is_added_that_the_contract_does_not_name),
        TEST(hop_by_hop_fields_stay_here),
        TEST(the_callers_authorization_is_replaced_by_exactly_one),
        TEST(a_via_of_others_is_kept_and_ours_follows),
        TEST(the_request_id_is_taken_over_or_made_and_comes_back),
        TEST(any_other_method_goes_through),
    };
    return RUN_TESTS(tests);
}

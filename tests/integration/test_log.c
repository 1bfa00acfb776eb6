/* The log: one line per request with what an operator needs, and never a secret. Rows:
 * tests/hostile/README.md. */
#include <openssl/evp.h>
#include <signal.h>

#include "harness.h"

static void answer_by_target(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)arg;
    if (strstr(r->target, "/lost") != NULL)
        peer_close(c);
    else if (strstr(r->target, "/401") != NULL)
        (void)peer_answer(c, 401, NULL, "no");
    else if (strstr(r->target, "/bad") != NULL) {
        (void)peer_puts(c, "HTTP/1.1 200 OK\r\nX-Echo : " CANARY "-echo\r\n\r\n");
        peer_close(c);
    } else
        (void)peer_answer(c, 200, NULL, "twelve bytes");
}

static void field(struct world *w, const char *pattern, const char *key, char *out, size_t cap)
{
    if (!proxy_log_wait(w->proxy, pattern, 1, SOON_MS))
        fail_msg("no line with %s", pattern);
    if (!proxy_log_field(w->proxy, pattern, 0, key, out, cap))
        fail_msg("no %s in the line with %s", key, pattern);
}

static void assert_milliseconds(const char *value)
{
    size_t whole = strspn(value, "0123456789");
    if (whole == 0 || value[whole] != '.' || strspn(value + whole + 1, "0123456789") != 3 ||
        value[whole + 4] != '\0')
        fail_msg("not milliseconds with three decimals: %s", value);
}

static void the_ready_line_names_the_addresses(void **state)
{
    (void)state;
    WORLD(w);
    char value[128], wanted[64];
    world_start(&w, &(struct world_options){ .settings = "process.workers = 2\n" });
    field(&w, "event=ready", "listen", value, sizeof value);
    (void)snprintf(wanted, sizeof wanted, "127.0.0.1:%d", w.port);
    assert_string_equal(value, wanted);
    field(&w, "event=ready", "workers", value, sizeof value);
    assert_string_equal(value, "2");
    field(&w, "event=ready", "level", value, sizeof value);
    assert_string_equal(value, "info");
    field(&w, "event=ready", "ts", value, sizeof value);
    assert_int_equal(strlen(value), strlen("2026-11-24T09:10:11.123Z"));
}

static void several_addresses_are_all_bound(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char value[128];
    world_start(&w, &(struct world_options){
                        .settings = "listen.address = 127.0.0.1:0, 127.0.0.2:0\n" });
    field(&w, "event=ready", "listen", value, sizeof value);
    char *comma = strchr(value, ',');
    assert_non_null(comma);
    char *colon = strrchr(comma, ':');
    assert_non_null(colon);
    *comma = '\0';
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    int other = (int)strtol(colon + 1, NULL, 10);
    assert_int_equal(strncmp(comma + 1, "127.0.0.2:", 10), 0);
    assert_int_not_equal(other, 0);
    answer_free(&a);
}

static void an_access_line_says_what_happened(void **state)
{
    (void)state;
    static const char *const durations[] = { "total_ms", "token_ms", "upstream_ms" };
    WORLD(w);
    struct answer a = { 0 };
    char value[128];
    world_start(&w, &(struct world_options){ .answer = answer_by_target });
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    http_call(w.port, "POST", "/chains?secret=" CANARY "-query", "X-Request-Id: id-1\r\n",
              "abc", &a);
    assert_int_equal(a.status, 200);
    static const char line[] = "event=access request_id=id-1 method=POST status=200 attempts=1 "
                               "generation=1 bytes_in=3 bytes_out=12";
    field(&w, line, "path", value, sizeof value);
    assert_true(strcmp(value, "/chains") == 0 || strcmp(value, "/v0/chains") == 0);
    for (size_t i = 0; i < 3; i++) {
        field(&w, line, durations[i], value, sizeof value);
        assert_milliseconds(value);
    }
    assert_false(proxy_log_field(w.proxy, line, 0, "stage", value, sizeof value));
    assert_false(proxy_log_field(w.proxy, line, 0, "error", value, sizeof value));
    assert_false(proxy_log_contains(w.proxy, CANARY));
    answer_free(&a);
}

static void an_access_line_names_the_failure_and_its_stage(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .answer = answer_by_target });
    http_call(w.port, "POST", "/lost", "X-Request-Id: id-lost\r\n", "{}", &a);
    assert_true(proxy_log_wait(w.proxy,
                               "event=access request_id=id-lost status=502 stage=upstream "
                               "error=upstream-lost attempts=1",
                               1, SOON_MS));
    assert_true(
        proxy_log_wait(w.proxy, "event=upstream_failed request_id=id-lost", 1, SOON_MS));
    http_raw(w.port, "GET /x HTTP/1.1\r\nHost: evil.example\r\n\r\n", &a);
    assert_true(proxy_log_wait(
        w.proxy, "event=access status=421 stage=request error=host-not-allowed", 1, SOON_MS));
    http_get(w.port, "/401", &a);
    assert_int_equal(a.status, 401);
    assert_true(proxy_log_wait(w.proxy, "event=access status=401 attempts=2", 1, SOON_MS));
    assert_true(proxy_log_wait(w.proxy, "event=token_suspect generation=1", 1, SOON_MS));
    answer_free(&a);
}

static void the_access_log_can_be_off_and_levels_hide(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = "log.access = no\n" });
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    proxy_signal(w.proxy, SIGTERM);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    assert_int_equal(proxy_log_count(w.proxy, "event=access"), 0);
    assert_int_equal(proxy_log_count(w.proxy, "event=stopped"), 1);
    answer_free(&a);
}

static void no_peer_can_forge_a_line(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .answer = answer_by_target });
    http_call(w.port, "GET", "/x%0aevent=forged", "X-Request-Id: a\" event=forged b=\"\r\n",
              NULL, &a);
    http_call(w.port, "GET", "/y", "X-Request-Id: \xff\xfe event=forged\r\n", NULL, &a);
    assert_true(proxy_log_wait(w.proxy, "event=access", 2, SOON_MS));
    assert_int_equal(proxy_log_count(w.proxy, "event=forged"), 0);
    answer_free(&a);
}

/* Every line is an object of its own; enough to tell JSON from logfmt. */
static void a_refused_url_is_not_logged_with_its_password(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ 0 });
    http_raw(w.port,
             "GET http://me:" CANARY "@evil.example/x HTTP/1.1\r\nHost: localhost\r\n\r\n", &a);
    assert_int_equal(a.status, 400);
    assert_true(proxy_log_wait(w.proxy, "event=access status=400 path=-", 1, SOON_MS));
    assert_false(proxy_log_contains(w.proxy, CANARY));
    answer_free(&a);
}

static void json_lines_are_objects(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    struct world_options options = { .no_proxy = true };
    world_start(&w, &options);
    char base[128], token[128];
    (void)snprintf(base, sizeof base, "%s/v0", peer_url(w.api));
    (void)snprintf(token, sizeof token, "%s/v0/token", peer_url(tokens_peer(w.tokens)));
    struct bytes ini = world_ini(base, token, "log.format = json\n");
    w.proxy = proxy_start(bytes_text(&ini), &(struct proxy_options){ .no_wait = true });
    bytes_free(&ini);
    assert_true(tokens_wait(w.tokens, 1, SOON_MS));
    proxy_signal(w.proxy, SIGTERM);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    struct bytes log = proxy_log_copy(w.proxy);
    assert_contains(bytes_text(&log), "\"event\":\"ready\"");
    assert_contains(bytes_text(&log), "\"listen\":\"127.0.0.1:");
    assert_contains(bytes_text(&log), "\"event\":\"stopped\"");
    char *rest = log.data, *line;
    while ((line = strsep(&rest, "\n")) != NULL)
        if (*line != '\0' && (line[0] != '{' || line[strlen(line) - 1] != '}'))
            fail_msg("not an object: %s", line);
    bytes_free(&log);
    answer_free(&a);
}

/* The secret in the forms it has on the wire. */
static void assert_no_secret_in(const struct bytes *text)
{
    unsigned char encoded[128];
    static const char pair[] = CLIENT_ID ":" CLIENT_SECRET;
    (void)EVP_EncodeBlock(encoded, (const unsigned char *)pair, (int)strlen(pair));
    assert_lacks(bytes_text(text), CANARY);
    assert_lacks(bytes_text(text), (const char *)encoded);
    assert_lacks(bytes_text(text), "Authorization");
}

/* Secret and token are neither in the log nor in an answer, whatever fails. (row 81) */
static void faults_of_all_kinds_leak_nothing(void **state)
{
    (void)state;

    static const char *const styles[] = { "token.auth_style = body\n",
                                          "token.auth_style = basic\n" };
    static const char *const targets[] = { "/fine", "/lost", "/401", "/bad", "/../x", "/a%00" };
    for (size_t i = 0; i < 2; i++) {
        WORLD(w);
        struct answer a = { 0 };
        struct bytes said = { 0 }, settings = { 0 };
        struct world_options options = { .answer = answer_by_target, .no_proxy = true };
        bytes_addf(&settings,
                   "log.level = debug\n%stoken.retry_min = 50ms\ntoken.retry_max = 50ms\n",
                   styles[i]);
        options.settings = bytes_text(&settings);
        world_start(&w, &options);
        tokens_push(w.tokens, (struct token_answer){
                                  .status = 400, .body = "{\"data\":\"" CLIENT_SECRET "\"}" });
        tokens_push(w.tokens, (struct token_answer){ .status = 200,
                                                     .body = "{\"access_token\":\"" CANARY });
        tokens_push(w.tokens, (struct token_answer){ .what = TOKEN_RESET });
        tokens_push(w.tokens, (struct token_answer){ .status = 401, .body = CLIENT_SECRET });
        world_proxy(&w, &options);
        http_get(w.port, "/early", &a);
        bytes_add(&said, bytes_text(&a.body), a.body.len);
        assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
        for (size_t t = 0; t < sizeof targets / sizeof *targets; t++) {
            char target[128];
            (void)snprintf(target, sizeof target, "%s?key=" CANARY "-query", targets[t]);
            http_call(w.port, "POST", target,
                      "Authorization: Bearer " CANARY "-caller\r\nCookie: " CANARY
                      "-cookie\r\n",
                      CANARY "-body", &a);
            bytes_add(&said, bytes_text(&a.head), a.head.len);
            bytes_add(&said, bytes_text(&a.body), a.body.len);
        }
        http_raw(w.port,
                 "GET /" CANARY "-path HTTP/1.1\r\nHost: evil.example\r\n"
                 "Authorization: Basic " CANARY "\r\n\r\n",
                 &a);
        bytes_add(&said, bytes_text(&a.body), a.body.len);
        assert_no_secret_in(&said);
        proxy_signal(w.proxy, SIGTERM);
        assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
        struct bytes log = proxy_log_copy(w.proxy);
        /* the path of a request is no secret and stands in the access line */
        char *path;
        while ((path = strstr(bytes_text(&log), CANARY "-path")) != NULL)
            memset(path, '.', strlen(CANARY "-path"));
        assert_no_secret_in(&log);
        bytes_free(&log);
        bytes_free(&said);
        bytes_free(&settings);
        answer_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_ready_line_names_the_addresses),
        TEST(several_addresses_are_all_bound),
        TEST(an_access_line_says_what_happened),
        TEST(an_access_line_names_the_failure_and_its_stage),
        TEST(the_access_log_can_be_off_and_levels_hide),
        TEST(no_peer_can_forge_a_line),
        TEST(a_refused_url_is_not_logged_with_its_password),
        TEST(json_lines_are_objects),
        TEST(faults_of_all_kinds_leak_nothing),
    };
    return RUN_TESTS(tests);
}

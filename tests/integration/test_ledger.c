/* The ledger, against the running program with a real store: a key is executed once, and
 * retries get the first answer, or are told why not. What happens when somebody leaves or
 * dies is in test_ledger_gone.c. */
#include <unistd.h>

#include "harness.h"
#include "store.h"

static _Atomic unsigned executions; /* how often the API was asked */

/* An API that answers by the target: status-N in it is the status, any other gives 201 with
 * fields and a body that say which execution it was. */
static void answer_by_target(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)arg;
    unsigned n = ++executions;
    char head[256], body[128];

    const char *status = strstr(r->target, "status-");
    if (status != NULL) {
        (void)peer_answer(c, (int)strtol(status + strlen("status-"), NULL, 10),
                          "Retry-After: 1\r\n", "no");
        return;
    }
    (void)snprintf(
        head, sizeof head,
        "Content-Type: application/json\r\nSet-Cookie: a=%u\r\nX-Request-Id: up-%u\r\n"
        "ETag: \"e%u\"\r\nLocation: /v0/executions/%u\r\n",
        n, n, n, n);
    (void)snprintf(body, sizeof body, "{\"execution\":%u,\"bytes\":\"%zu\"}", n, r->body.len);
    (void)peer_answer(c, 201, head, body);
}

/* A store and a program that uses it; settings: further ones, or NULL; answer NULL: the API
 * echoes. */
static void begin(struct world *w, struct store *s, const char *settings, api_answer_fn answer)
{
    executions = 0;
    store_make(s, settings);
    world_start(w, &(struct world_options){ .settings = s->settings, .answer = answer });
}

static void pay(const struct world *w, const char *headers, const char *body, struct answer *a)
{
    http_call(w->port, "POST", PATH, headers, body, a);
}

/* A problem about an entry of the ledger. */
static void assert_entry(const struct answer *a, int status, const char *slug,
                         const char *state, const char *retryable)
{
    char value[256], type[128];

    assert_problem(a, status, "request",
                   status == 409 ? "http_request_denied" : "http_request_error");
    (void)snprintf(type, sizeof type, "urn:oneshot-proxy:%s", slug);
    json_member(&a->body, "type", value, sizeof value);
    assert_string_equal(value, type);
    json_member(&a->body, "retryable", value, sizeof value);
    assert_string_equal(value, retryable);
    assert_contains(bytes_text(&a->body), "\"ledger\":{\"id\":\"");
    json_member(&a->body, "state", value, sizeof value);
    assert_string_equal(value, state);
    json_member(&a->body, "first_seen", value, sizeof value);
    assert_int_equal(strlen(value), strlen("2026-11-28T19:46:14Z"));
    assert_problem_detail(a, "Repeating with this key will not execute it again");
}

static void a_retry_gets_the_first_answer_byte_for_byte(void **state)
{
    (void)state;
    STORE(s);
    WORLD(w);
    begin(&w, &s, "admin.address = 127.0.0.1:0", answer_by_target);
    struct answer first = { 0 }, again = { 0 };
    pay(&w, KEY "Accept-Encoding: gzip\r\n", PAY, &first);
    assert_int_equal(first.status, 201);
    assert_int_equal(answer_header_count(&first, "Idempotent-Replayed"), 0);
    assert_string_equal(answer_header(&first, "X-Request-Id"), "up-1");
    const struct peer_request *r = peer_request(w.api, "POST *", 0);
    assert_contains(bytes_text(&r->head), "\r\nAccept-Encoding: identity\r\n");
    assert_lacks(bytes_text(&r->head), "gzip");
    assert_contains(bytes_text(&r->head), KEY);
    /* in quotes it is the same key */
    pay(&w, "idempotency-key: \"8e03978e-40d5-43e8-bc93-6894a57f9324\"\r\nX-Request-Id: r2\r\n",
        PAY, &again);
    assert_int_equal(again.status, 201);
    assert_int_equal(again.body.len, first.body.len);
    assert_memory_equal(again.body.data, first.body.data, first.body.len);
    assert_string_equal(answer_header(&again, "Idempotent-Replayed"), "true");
    assert_string_equal(answer_header(&again, "X-Original-Request-Id"), "up-1");
    assert_string_equal(answer_header(&again, "X-Request-Id"), "r2");
    assert_string_equal(answer_header(&again, "Content-Type"), "application/json");
    assert_string_equal(answer_header(&again, "ETag"), "\"e1\"");
    assert_string_equal(answer_header(&again, "Location"), "/v0/executions/1");
    assert_int_equal(answer_header_count(&again, "Set-Cookie"), 0);
    assert_int_equal(answer_header_count(&again, "Proxy-Status"), 0);
    assert_int_equal(answer_header_count(&again, "Date"), 1);
    assert_int_equal(executions, 1);
    /* what is seen from outside */
    assert_true(
        proxy_log_wait(w.proxy, "event=access ledger=claimed outcome=answered", 1, SOON_MS));
    assert_true(proxy_log_wait(w.proxy, "event=access ledger=replayed attempts=0", 1, SOON_MS));
    char one[64], two[64];
    assert_true(proxy_log_field(w.proxy, "ledger=claimed", 0, "ledger_id", one, sizeof one));
    assert_true(proxy_log_field(w.proxy, "ledger=replayed", 0, "ledger_id", two, sizeof two));
    assert_string_equal(one, two);
    assert_false(proxy_log_contains(w.proxy, "8e03978e"));
    struct answer m = { 0 };
    /* An outcome is counted a moment after its commit. */
    int64_t deadline_ms = now_ms() + SOON_MS;
    do
        http_get(proxy_admin_port(w.proxy), "/metrics", &m);
    while (strstr(bytes_text(&m.body),
                  "oneshot_proxy_ledger_outcomes_total{outcome=\"answered\"} 1\n") == NULL &&
           ask_again(deadline_ms));
    assert_contains(bytes_text(&m.body), "oneshot_proxy_ledger_up 1\n");
    assert_contains(bytes_text(&m.body),
                    "oneshot_proxy_ledger_requests_total{result=\"claimed\"} 1\n");
    assert_contains(bytes_text(&m.body),
                    "oneshot_proxy_ledger_requests_total{result=\"replayed\"} 1\n");
    assert_contains(bytes_text(&m.body),
                    "oneshot_proxy_ledger_outcomes_total{outcome=\"answered\"} 1\n");
    assert_contains(bytes_text(&m.body), "oneshot_proxy_ledger_claim_seconds_count ");
    http_get(proxy_admin_port(w.proxy), "/readyz", &m);
    assert_contains(bytes_text(&m.body), "\"ledger\":\"up\"");
    http_get(proxy_admin_port(w.proxy), "/", &m);
    assert_contains(bytes_text(&m.body), ">Ledger</h2>");
    answer_free(&m);
    answer_free(&first);
    answer_free(&again);
}

static void another_request_with_the_same_key_is_refused(void **state)
{
    (void)state;
    STORE(s);
    WORLD(w);
    begin(&w, &s, NULL, answer_by_target);
    struct answer a = { 0 };
    pay(&w, KEY, PAY, &a);
    pay(&w, KEY, "{\"amount\":2}", &a);
    assert_entry(&a, 422, "idempotency-key-reused", "answered", "false");
    http_call(w.port, "PUT", PATH, KEY, PAY, &a);
    assert_entry(&a, 422, "idempotency-key-reused", "answered", "false");
    http_call(w.port, "POST", PATH "?x=1", KEY, PAY, &a);
    assert_entry(&a, 422, "idempotency-key-reused", "answered", "false");
    assert_int_equal(executions, 1);
    assert_true(proxy_log_wait(w.proxy, "event=ledger_reused", 3, SOON_MS));
    /* safe methods have no keys */
    http_call(w.port, "GET", PATH, KEY, NULL, &a);
    assert_int_equal(a.status, 201);
    assert_int_equal(executions, 2);
    answer_free(&a);
}

static void keys_that_are_none_are_refused_and_nothing_is_sent(void **state)
{
    static const struct {
        const char *headers, *body;
        int status;
        const char *type, *words;
    } rows[] = {
        { "Idempotency-Key: a b\r\n", PAY, 400, "idempotency-key-malformed", "visible ASCII" },
        { "Idempotency-Key: \"a\";x=1\r\n", PAY, 400, "idempotency-key-malformed", "string" },
        { "Idempotency-Key: \r\n", PAY, 400, "idempotency-key-malformed", "empty" },
        { "Idempotency-Key: a\r\nIdempotency-Key: a\r\n", PAY, 400, "idempotency-key-malformed",
          "two" },
        { "Idempotency-Key: a\r\n", "{\"memo\":\"idem:b\"}", 400, "idempotency-key-malformed",
          "different" },
        { NULL, "{\"memo\":\"idem: x\"}", 400, "idempotency-key-malformed", "empty" },
        { NULL, "{\"memo\":\"idem:b M\xfcller\"}", 400, "idempotency-key-malformed", "UTF-8" },
        { NULL, PAY, 400, "idempotency-key-required", "ledger.require_key" },
        { NULL, NULL, 400, "idempotency-key-required", "ledger.require_key" },
    };
    (void)state;
    STORE(s);
    WORLD(w);
    begin(&w, &s,
          "ledger.keys = header, body:/memo\nledger.require_key = money\n"
          "ledger.max_request = 1k",
          NULL);
    struct answer a = { 0 };
    char type[128], large[2048] = "{\"a\":\"";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pay(&w, rows[i].headers, rows[i].body, &a);
        assert_problem(&a, rows[i].status, "request", "http_request_error");
        json_member(&a.body, "type", type, sizeof type);
        assert_string_equal(type + strlen("urn:oneshot-proxy:"), rows[i].type);
        assert_problem_detail(&a, rows[i].words);
    }
    memset(large + 6, 'x', 1500);
    memcpy(large + 1506, "\"}", 3);
    pay(&w, KEY, large, &a);
    assert_problem(&a, 413, "request", "http_request_error");
    assert_problem_detail(&a, "ledger.max_request");
    pay(&w, NULL, large, &a); /* a money path, where the body may have one */
    assert_problem(&a, 413, "request", "http_request_error");
    assert_int_equal(peer_count(w.api, ""), 0);
    /* what is not money needs none, and may be large */
    http_call(w.port, "POST", "/chains", NULL, large, &a);
    assert_int_equal(a.status, 200);
    assert_true(proxy_log_wait(w.proxy, "event=access ledger=malformed", 7, SOON_MS));
    assert_true(proxy_log_wait(w.proxy, "event=access ledger=required", 2, SOON_MS));
    answer_free(&a);
}

static void a_memo_is_a_key(void **state)
{
    (void)state;
    STORE(s);
    WORLD(w);
    begin(&w, &s, "ledger.keys = header, body:/memo", answer_by_target);
    struct answer a = { 0 };
    static const char memo[] = "{\"amount\":1,\"memo\":\"idem:8e03 salary March\"}";
    for (int i = 0; i < 2; i++) {
        pay(&w, NULL, memo, &a);
        assert_int_equal(a.status, 201);
        assert_int_equal(answer_header_count(&a, "Idempotent-Replayed"), i);
    }
    pay(&w, "Idempotency-Key: 8e03\r\n", memo, &a); /* both name one key */
    assert_int_equal(answer_header_count(&a, "Idempotent-Replayed"), 1);
    assert_int_equal(executions, 1);
    for (int i = 0; i < 2; i++) { /* two equal salaries are two payments */
        pay(&w, NULL, "{\"amount\":1,\"memo\":\"salary March\"}", &a);
        assert_int_equal(answer_header_count(&a, "Idempotent-Replayed"), 0);
    }
    assert_int_equal(executions, 3);
    for (int i = 0; i < 2; i++) { /* many a reader of JSON overlooks the byte order mark */
        pay(&w, NULL, "\xef\xbb\xbf{\"memo\":\"idem:9f\"}", &a);
        assert_int_equal(answer_header_count(&a, "Idempotent-Replayed"), i);
    }
    assert_int_equal(executions, 4);
    answer_free(&a);
}

static void what_was_not_carried_out_may_be_sent_again(void **state)
{
    (void)state;
    static const char limited[] = "/methods/status-429/x";
    STORE(s);
    WORLD(w);
    begin(&w, &s, NULL, answer_by_target);
    struct answer a = { 0 };
    executions = 0;
    for (unsigned i = 1; i <= 3; i++) {
        http_call(w.port, "POST", limited, KEY, PAY, &a);
        assert_int_equal(a.status, 429);
        assert_string_equal(bytes_text(&a.body), "no");
        assert_string_equal(answer_header(&a, "Retry-After"), "1"); /* untouched */
        assert_int_equal(executions, i);
    }
    assert_true(
        proxy_log_wait(w.proxy, "event=access status=429 outcome=released", 3, SOON_MS));
    answer_free(&a);
}

static void a_server_error_leaves_the_outcome_unknown(void **state)
{
    static const char *const paths[] = { "/methods/status-500/x", "/methods/status-503/x" };
    (void)state;
    STORE(s);
    WORLD(w);
    begin(&w, &s, "admin.address = 127.0.0.1:0", answer_by_target);
    struct answer a = { 0 };
    char key[64];
    for (size_t i = 0; i < 2; i++) {
        executions = 0;
        (void)snprintf(key, sizeof key, "Idempotency-Key: k%zu\r\n", i);
        http_call(w.port, "POST", paths[i], key, PAY, &a);
        assert_int_equal(a.status, i == 0 ? 500 : 503);
        assert_string_equal(bytes_text(&a.body), "no"); /* untouched */
        for (int n = 0; n < 2; n++) {
            http_call(w.port, "POST", paths[i], key, PAY, &a);
            assert_entry(&a, 409, "idempotency-outcome-unknown", "unknown", "false");
            assert_problem_detail(&a, "transactions?createdAfter=");
            assert_int_equal(answer_header_count(&a, "Retry-After"), 0);
            assert_non_null(
                strstr(bytes_text(&a.body), i == 0 ? "\"status\":500}" : "\"status\":503}"));
        }
        assert_int_equal(executions, 1);
    }
    assert_true(proxy_log_wait(w.proxy, "event=ledger_unknown cause=server-error", 2, SOON_MS));
    answer_free(&a);
}

/* Refuses the first token, whatever comes with it. */
static void refuse_first_token(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)arg;

    if (api_token_of(r) == 1) {
        (void)peer_answer(c, 401, NULL, "old");
        return;
    }
    ++executions;
    (void)peer_answer(c, 200, NULL, "paid");
}

static void a_refused_token_is_repeated_inside_the_same_entry(void **state)
{
    (void)state;
    STORE(s);
    WORLD(w);
    begin(&w, &s, NULL, refuse_first_token);
    struct answer a = { 0 };
    for (int i = 0; i < 2; i++) {
        pay(&w, KEY, PAY, &a);
        assert_int_equal(a.status, 200);
        assert_string_equal(bytes_text(&a.body), "paid");
        assert_int_equal(answer_header_count(&a, "Idempotent-Replayed"), i);
    }
    assert_int_equal(peer_count(w.api, "POST *"), 2);
    assert_int_equal(executions, 1);
    assert_int_equal(proxy_log_count(w.proxy, "event=access ledger=claimed"), 1);
    answer_free(&a);
}

static void refused_twice_the_key_is_free(void **state)
{
    (void)state;
    STORE(s);
    WORLD(w);
    begin(&w, &s, "upstream.replay = none", refuse_first_token);
    struct answer a = { 0 };
    pay(&w, KEY, PAY, &a);
    assert_int_equal(a.status, 401);
    assert_string_equal(bytes_text(&a.body), "old");
    assert_true(tokens_wait(w.tokens, 2, SOON_MS));
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 2, SOON_MS));
    pay(&w, KEY, PAY, &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(answer_header_count(&a, "Idempotent-Replayed"), 0);
    assert_int_equal(executions, 1);
    answer_free(&a);
}

static void nobody_there_frees_the_key(void **state)
{
    (void)state;
    STORE(s);
    WORLD(w);
    begin(&w, &s, NULL, NULL);
    peer_stop_listening(w.api);
    struct answer a = { 0 };
    for (size_t i = 0; i < 2; i++) { /* the second is a new request */
        pay(&w, KEY, PAY, &a);
        assert_problem(&a, 502, "upstream", "connection_refused");
    }
    assert_true(
        proxy_log_wait(w.proxy, "event=access ledger=claimed outcome=released", 2, SOON_MS));
    answer_free(&a);
}

/* An answer above max_answer, in pieces. */
static void answer_large(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)arg;
    static char piece[65536];

    (void)r;
    ++executions;
    memset(piece, 'x', sizeof piece);
    (void)peer_puts(c, "HTTP/1.1 200 OK\r\nContent-Length: 327680\r\n\r\n");
    for (int i = 0; i < 5; i++)
        (void)peer_write(c, piece, sizeof piece);
}

static void a_large_answer_is_given_whole_and_not_kept(void **state)
{
    (void)state;
    STORE(s);
    WORLD(w);
    begin(&w, &s, NULL, answer_large);
    struct answer a = { 0 };
    pay(&w, KEY, PAY, &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body.len, 327680);
    pay(&w, KEY, PAY, &a);
    assert_entry(&a, 409, "idempotency-answer-not-kept", "answered", "false");
    assert_contains(bytes_text(&a.body), "\"status\":200}");
    assert_int_equal(executions, 1);
    answer_free(&a);
}

static void a_journal_records_what_has_no_key(void **state)
{
    (void)state;
    STORE(s);
    WORLD(w);
    begin(&w, &s, "ledger.journal = money", answer_by_target);
    struct answer a = { 0 };
    for (unsigned i = 1; i <= 2; i++) {
        pay(&w, NULL, PAY, &a);
        assert_int_equal(a.status, 201);
        assert_int_equal(executions, i);
    }
    http_call(w.port, "POST", "/chains", NULL, PAY, &a);
    assert_int_equal(a.status, 201);
    assert_true(
        proxy_log_wait(w.proxy, "event=access ledger=claimed outcome=answered", 2, SOON_MS));
    assert_int_equal(proxy_log_count(w.proxy, "event=access ledger=claimed"), 2);
    answer_free(&a);
}

static void call_on(int port, const char *headers, struct answer *a)
{
    http_call(port, "POST", PATH, headers, PAY, a);
}

static void keys_belong_to_callers_and_rights_come_before_replays(void **state)
{
    (void)state;
    char more[1024];
    executions = 0;
    STORE(s);
    store_make(&s, "classes.table = 1shot");
    (void)snprintf(more, sizeof more,
                   "[caller one]\naddress = unix:%s/one\nallow = read, money\n"
                   "[caller two]\naddress = unix:%s/two\nallow = read, money\n"
                   "[caller reader]\naddress = unix:%s/reader\nallow = read\n"
                   "[caller other]\nallow = read\n",
                   s.dir, s.dir, s.dir);
    WORLD(w);
    world_start(&w, &(struct world_options){
                        .settings = s.settings, .answer = answer_by_target, .more = more });
    static const struct {
        const char *caller;
        int status, replayed;
    } rows[] = { { "one", 201, 0 }, { "one", 201, 1 },    { "two", 201, 0 },
                 { "two", 201, 1 }, { "reader", 403, 0 }, { "one", 201, 1 } };
    struct answer a = { 0 };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct client c;
        char path[320], request[512];

        (void)snprintf(path, sizeof path, "%s/%s", s.dir, rows[i].caller);
        (void)snprintf(request, sizeof request,
                       "POST " PATH " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" KEY
                       "Content-Length: %zu\r\n\r\n" PAY,
                       strlen(PAY));
        client_open_unix(&c, path);
        client_puts(&c, request);
        client_read(&c, &a, false, SOON_MS);
        client_close(&c);
        assert_int_equal(a.status, rows[i].status);
        assert_int_equal(answer_header_count(&a, "Idempotent-Replayed"), rows[i].replayed);
    }
    call_on(w.port, KEY, &a);
    assert_int_equal(a.status, 403);
    assert_int_equal(executions, 2);
    answer_free(&a);
}

/* Which of the libraries that only a ledger needs the proxy has in its memory. */
static bool has_library(const struct world *w, const char *name)
{
    char path[64], line[1024];
    bool has = false;

    (void)snprintf(path, sizeof path, "/proc/%d/maps", (int)proxy_pid(w->proxy));
    FILE *maps = fopen(path, "re");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps) != NULL)
        has = has || strstr(line, name) != NULL;
    (void)fclose(maps);
    return has;
}

static void only_a_ledger_loads_what_a_ledger_needs(void **state)
{
    (void)state;
    if (geteuid() != 0) /* nobody else may look into a process that leaves no core files */
        skip();
    STORE(s);
    store_make(&s, "");
    WORLD(without);
    WORLD(with);
    world_start(&without, &(struct world_options){ .settings = "" });
    world_start(&with, &(struct world_options){ .settings = s.settings });
    assert_false(has_library(&without, "/libsqlite3.so"));
    assert_true(has_library(&with, "/libsqlite3.so"));
    assert_false(has_library(&without, "/libpq.so"));
    assert_false(has_library(&with, "/libpq.so"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_retry_gets_the_first_answer_byte_for_byte),
        TEST(another_request_with_the_same_key_is_refused),
        TEST(keys_that_are_none_are_refused_and_nothing_is_sent),
        TEST(a_memo_is_a_key),
        TEST(what_was_not_carried_out_may_be_sent_again),
        TEST(a_server_error_leaves_the_outcome_unknown),
        TEST(a_refused_token_is_repeated_inside_the_same_entry),
        TEST(refused_twice_the_key_is_free),
        TEST(nobody_there_frees_the_key),
        TEST(a_large_answer_is_given_whole_and_not_kept),
        TEST(a_journal_records_what_has_no_key),
        TEST(keys_belong_to_callers_and_rights_come_before_replays),
        TEST(only_a_ledger_loads_what_a_ledger_needs),
    };
    return RUN_TESTS(tests);
}

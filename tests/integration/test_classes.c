/* Request classes in the log and the metrics, and which requests may be sent twice when a
 * pooled connection turns out to be dead. */
#include "harness.h"

#define ADMIN "admin.address = 127.0.0.1:0\n"
#define U "6f1c0de0-aaaa-4bbb-8ccc-dddddddddddd"

static void admin_get(struct world *w, const char *path, struct answer *a)
{
    http_get(proxy_admin_port(w->proxy), path, a);
    assert_int_equal(a->status, 200);
}

static void without_a_table_nothing_is_said_of_classes(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = ADMIN });
    http_get(w.port, "/chains", &a);
    assert_int_equal(a.status, 200);
    assert_true(proxy_log_wait(w.proxy, "event=access", 1, SOON_MS));
    assert_int_equal(proxy_log_count(w.proxy, "event=access class=read"), 0);
    admin_get(&w, "/metrics", &a);
    assert_lacks(bytes_text(&a.body), "class=");
    admin_get(&w, "/", &a);
    assert_lacks(bytes_text(&a.body), "id=\"classes\"");
    answer_free(&a);
}

static const struct {
    const char *method, *target, *headers, *body, *class;
} requests[] = {
    { "GET", "/chains", NULL, NULL, "read" },
    { "GET", "/v0/chains?page=2", NULL, NULL, "read" },
    { "POST", "/methods/" U "/read", NULL, "{}", "simulate" },
    { "PUT", "/webhooks/endpoints/" U "/rotate", NULL, NULL, "create" },
    { "DELETE", "/methods/" U, NULL, NULL, "change" },
    { "GET", "/wallets/" U "/signature/erc3009?amount=1", NULL, NULL, "sign" },
    { "POST", "/methods/" U "/execute", NULL, "{}", "money" },
    { "POST", "/methods/" U "/execute/", NULL, "{}", "unknown" },
    { "GET", "/methods/" U "?%5fmethod=DELETE", NULL, NULL, "unknown" },
    { "POST", "/methods/" U "/read", "X-HTTP-Method-Override: PUT\r\n", "{}", "unknown" },
    { "POST", "/methods/" U "/read", "Content-Type: application/x-www-form-urlencoded\r\n",
      "a=b", "unknown" },
};

static void the_log_and_the_metrics_tell_the_class_of_each_request(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char class[32];
    world_start(&w, &(struct world_options){ .settings = ADMIN "classes.table = 1shot" });
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        http_call(w.port, requests[i].method, requests[i].target, requests[i].headers,
                  requests[i].body, &a);
        assert_int_equal(a.status, 200);
        assert_true(proxy_log_wait(w.proxy, "event=access", i + 1, SOON_MS));
        assert_true(proxy_log_field(w.proxy, "event=access", i, "class", class, sizeof class));
        assert_string_equal(class, requests[i].class);
    }
    http_call(w.port, "POST", "/token", NULL, "{}", &a);
    assert_int_equal(a.status, 200);
    admin_get(&w, "/metrics", &a);
    const char *text = bytes_text(&a.body);
    assert_contains(text, "oneshot_proxy_class_results_total{class=\"money\",status=\"2xx\","
                          "stage=\"none\"} 1\n");
    assert_contains(text, "oneshot_proxy_class_results_total{class=\"unknown\",status=\"2xx\","
                          "stage=\"none\"} 4\n");
    assert_contains(text, "oneshot_proxy_outcome_unknown_total{class=\"money\"} 0\n");
    admin_get(&w, "/", &a);
    assert_contains(bytes_text(&a.body), "id=\"classes\"");
    answer_free(&a);
}

/* Answers the first request of each connection, reads the second, and is gone. */
static void serve_once(struct peer_conn *c, void *arg)
{
    (void)arg;
    if (peer_read_request(c) == NULL || !peer_answer(c, 200, NULL, "ok"))
        return;
    (void)peer_read_request(c);
}

struct repeat_case {
    const char *settings, *method, *target, *body;
    int status; /* 200: it was sent once more */
};

static void is_repeated(const struct repeat_case *k)
{
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .serve = serve_once, .settings = k->settings });
    http_get(w.port, "/chains", &a);
    assert_int_equal(a.status, 200);
    http_call(w.port, k->method, k->target, NULL, k->body, &a);
    if (a.status != k->status)
        fail_msg("%s %s: %d", k->method, k->target, a.status);
    if (k->status == 502) {
        assert_contains(bytes_text(&a.body), "outcome unknown");
        assert_int_equal(peer_connections(w.api), 1);
    }
    if (k->status == 502 && strstr(k->settings, "table") != NULL) {
        assert_true(proxy_log_wait(w.proxy, "event=access", 2, SOON_MS));
        admin_get(&w, "/metrics", &a);
        assert_contains(bytes_text(&a.body), "oneshot_proxy_outcome_unknown_total{class=");
        assert_contains(bytes_text(&a.body), "\"} 1\n");
    }
    answer_free(&a);
}

static void with_a_table_only_what_reads_is_repeated_on_a_dead_connection(void **state)
{
#define ONE ADMIN "process.workers = 1\n"
#define TABLE ONE "classes.table = 1shot"
    static const struct repeat_case cases[] = {
        { ONE, "GET", "/wallets/" U "/signature/permit2", NULL, 200 },
        { TABLE, "GET", "/wallets/" U "/signature/permit2", NULL, 502 },
        { TABLE, "GET", "/wallets/" U, NULL, 200 },
        { TABLE, "OPTIONS", "/wallets/" U "/signature/permit2", NULL, 200 },
        { TABLE, "GET", "/nothing", NULL, 502 },
        { TABLE, "POST", "/methods/" U "/read", "{}", 502 },
        { TABLE "\nclasses.repeat_simulate = yes", "POST", "/methods/" U "/read", "{}", 200 },
        { TABLE "\nclasses.repeat_simulate = yes", "POST", "/methods/" U "/execute", "{}",
          502 },
        { TABLE "\nclasses.repeat_simulate = yes\nclasses.simulate = POST /things", "POST",
          "/things", "{}", 502 },
        { ONE "classes.table = methods", "GET", "/anything/at/all", NULL, 200 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        is_repeated(&cases[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_a_table_nothing_is_said_of_classes),
        TEST(the_log_and_the_metrics_tell_the_class_of_each_request),
        TEST(with_a_table_only_what_reads_is_repeated_on_a_dead_connection),
    };
    return RUN_TESTS(tests);
}

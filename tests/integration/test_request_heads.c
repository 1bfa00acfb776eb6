/* Heads made of whatever fits the limits pass; what is more is refused at once. */
#include "harness.h"

#define HEAD_MAX (32 * 1024)
#define TARGET_MAX (16 * 1024)

/* A head of `target` bytes of arguments, `cookies` bytes of cookies and `fields` further
 * fields, in pieces of that size. */
struct mix {
    size_t target, cookies, fields;
    const char *argument, *cookie;
};

static void fill(struct bytes *to, const char *unit, size_t n)
{
    size_t len = strlen(unit);

    for (size_t i = 0; i + len <= n; i += len)
        bytes_add(to, unit, len);
}

static struct bytes head_of(const struct mix *m)
{
    struct bytes head = { 0 };

    bytes_addf(&head, "GET /v0/x");
    if (m->target > 0) {
        bytes_addf(&head, "?");
        fill(&head, m->argument, m->target - strlen("/v0/x?"));
    }
    bytes_addf(&head, " HTTP/1.1\r\nHost: localhost\r\n");
    if (m->cookies > 0) {
        bytes_addf(&head, "cooKIE: ");
        fill(&head, m->cookie, m->cookies - strlen("Cookie: "));
        bytes_addf(&head, "\r\n");
    }
    for (size_t i = 0; i < m->fields; i++)
        bytes_addf(&head, "X-Field-%zu: %zu\r\n", i, i);
    bytes_addf(&head, "\r\n");
    return head;
}

/* On one connection after the other, several on each: memory of an older one is used again. */
static void any_mixture_that_fits_passes_and_arrives_as_it_was(void **state)
{
    static const char *const arguments[] = { "a&", "&", "id=12345&", "%20=%", "a=b;c?d&" };
    static const char *const cookies[] = { "a;", "a=1; ", ";", "session=0123456789abcdef; " };
    static const size_t targets[] = { 0, 2007, 9000, TARGET_MAX - 40 };
    static const size_t cookie_bytes[] = { 0, 3000, 10000 };
    static const size_t fields[] = { 0, 25, 95 };
    (void)state;
    WORLD(w);
    world_start(&w, &(struct world_options){ .answer = NULL });
    size_t sent = 0;
    for (size_t a = 0; a < sizeof arguments / sizeof *arguments; a++)
        for (size_t k = 0; k < sizeof cookies / sizeof *cookies; k++) {
            struct client c;
            client_open(&c, w.port);
            for (size_t t = 0; t < sizeof targets / sizeof *targets; t++)
                for (size_t b = 0; b < sizeof cookie_bytes / sizeof *cookie_bytes; b++)
                    for (size_t f = 0; f < sizeof fields / sizeof *fields; f++) {
                        struct mix m = { targets[t], cookie_bytes[b], fields[f], arguments[a],
                                         cookies[k] };
                        struct bytes head = head_of(&m);
                        struct answer answer = { 0 };
                        assert_true(head.len <= HEAD_MAX);
                        client_send(&c, head.data, head.len);
                        client_read(&c, &answer, false, SOON_MS);
                        if (answer.status != 200)
                            fail_msg("%zu bytes of \"%s\", %zu of \"%s\", %zu fields: %d %s",
                                     m.target, m.argument, m.cookies, m.cookie, m.fields,
                                     answer.status, bytes_text(&answer.body));
                        const struct peer_request *r = peer_request(w.api, "GET *", sent++);
                        assert_non_null(r);
                        size_t line = strcspn(bytes_text(&head), "\r");
                        assert_memory_equal(r->head.data, head.data, line);
                        if (m.cookies > 0) {
                            const char *ours = strstr(bytes_text(&head), "\r\ncooKIE: ") + 2;
                            size_t len = strcspn(ours, "\r");
                            while (ours[len - 1] == ' ')
                                len--;
                            const char *theirs = strstr(bytes_text(&r->head), "\r\ncooKIE: ");
                            assert_non_null(theirs);
                            assert_memory_equal(theirs + 2, ours, len);
                        }
                        if (answer_header(&answer, "Connection")[0] != '\0') {
                            client_close(&c);
                            client_open(&c, w.port);
                        }
                        answer_free(&answer);
                        bytes_free(&head);
                    }
            client_close(&c);
        }
}

static void what_does_not_fit_is_refused_at_once(void **state)
{
    static const struct {
        struct mix mix;
        int status;
    } cases[] = {
        { { TARGET_MAX + 100, 0, 0, "a&", "" }, 414 },
        { { 20000, 3000, 10, "id=1&", "a=1; " }, 414 },
        { { 100, 0, 120, "a&", "" }, 431 },
        { { 16000, 16000, 95, "a&", "session=0123456789abcdef; " }, 431 },
    };
    (void)state;
    WORLD(w);
    world_start(&w, &(struct world_options){ .settings = "listen.header_timeout = 10m\n" });
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bytes head = head_of(&cases[i].mix);
        struct answer a = { 0 };
        int64_t before_ms = now_ms();
        http_raw(w.port, bytes_text(&head), &a);
        assert_problem(&a, cases[i].status, "request", "http_request_error");
        assert_true(now_ms() - before_ms < SOON_MS);
        answer_free(&a);
        bytes_free(&head);
    }
    assert_int_equal(peer_count(w.api, ""), 0);
}

static void field_of(const struct peer_request *r, const char *name, char *out, size_t cap)
{
    char needle[64];
    const char *text = bytes_text(&r->head);
    (void)snprintf(needle, sizeof needle, "\r\n%s: ", name);
    const char *at = strstr(text, needle);
    (void)snprintf(out, cap, "%s", "");
    if (at == NULL)
        return;
    at += strlen(needle);
    (void)snprintf(out, cap, "%.*s", (int)strcspn(at, "\r"), at);
    assert_null(strstr(at, needle)); /* once */
}

static void what_the_caller_calls_its_request_goes_on_as_it_is(void **state)
{
    static char long_id[201], odd[] = "with a blank";
    static const char *const ids[] = { long_id, odd, "plain-1" };
    (void)state;
    memset(long_id, 'i', sizeof long_id - 1);
    for (int h2 = 0; h2 < 2; h2++) {
        WORLD(w);
        world_start(&w, &(struct world_options){ .cert = h2 ? CERT_VALID : CERT_NONE,
                                                 .h2 = h2,
                                                 .settings = h2 ? "upstream.http_version = 2\n"
                                                                : NULL });
        for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
            char line[512], seen[512], wanted[512];
            struct answer a = { 0 };
            (void)snprintf(line, sizeof line, "X-Request-Id: %s\r\n", ids[i]);
            http_call(w.port, "GET", "/x", line, NULL, &a);
            assert_int_equal(a.status, 200);
            assert_int_equal(answer_header_count(&a, "X-Request-Id"), 1);
            if (!h2) { /* that peer keeps no fields */
                field_of(peer_request(w.api, "GET *", i), "X-Request-Id", seen, sizeof seen);
                assert_string_equal(seen, ids[i]);
            }
            bool plain = i == 2;
            assert_int_equal(strcmp(answer_header(&a, "X-Request-Id"), ids[i]) == 0, plain);
            (void)snprintf(wanted, sizeof wanted, "caller_request_id=%s%s%s",
                           ids[i] == odd ? "\"" : "", ids[i], ids[i] == odd ? "\"" : "");
            assert_true(proxy_log_wait(w.proxy, "event=access", i + 1, SOON_MS));
            assert_int_equal(proxy_log_contains(w.proxy, wanted), !plain);
            answer_free(&a);
        }
    }
}

static void answer_with_id(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)arg;
    (void)peer_answer(c, strstr(r->target, "503") != NULL ? 503 : 200,
                      "X-Request-Id: theirs of the API\r\n", "x");
}

static void the_upstreams_id_comes_back(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .answer = answer_with_id });
    http_call(w.port, "GET", "/x", "X-Request-Id: mine\r\n", NULL, &a);
    assert_int_equal(answer_header_count(&a, "X-Request-Id"), 1);
    assert_string_equal(answer_header(&a, "X-Request-Id"), "theirs of the API");
    assert_true(proxy_log_wait(w.proxy, "event=access request_id=mine", 1, SOON_MS));
    answer_free(&a);
}

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"

static void a_trace_is_named_where_a_failure_is_told(void **state)
{
    static const struct {
        const char *field;
        bool sound;
    } cases[] = {
        { "traceparent: 00-" TRACE "-00f067aa0ba902b7-01\r\n", true },
        { "Traceparent: cc-" TRACE "-00f067aa0ba902b7-01-what-comes-later\r\n", true },
        { "traceparent: 00-" TRACE "-00f067aa0ba902b7-01-more\r\n", false },
        { "traceparent: ff-" TRACE "-00f067aa0ba902b7-01\r\n", false },
        { "traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01\r\n", false },
        { "traceparent: 00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01\r\n", false },
        { "traceparent: 00-" TRACE "-0000000000000000-01\r\n", false },
        { "traceparent: nonsense\r\n", false },
        { NULL, false },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WORLD(w);
        struct answer a = { 0 };
        char id[64];
        world_start(&w, &(struct world_options){ .answer = NULL,
                                                 .settings = "admin.address = 127.0.0.1:0\n" });
        http_call(w.port, "GET", "/good", cases[i].field, NULL, &a);
        assert_int_equal(a.status, 200);
        const struct peer_request *r = peer_request(w.api, "GET /v0/good", 0);
        const char *head = bytes_text(&r->head);
        if (cases[i].field != NULL)
            assert_contains(head, cases[i].field);
        else
            assert_null(strcasestr(head, "traceparent"));
        http_call(w.port, "GET", "/a/../b", cases[i].field, NULL, &a);
        assert_int_equal(a.status, 400);
        json_member(&a.body, "trace_id", id, sizeof id);
        assert_string_equal(id, cases[i].sound ? TRACE : "");
        assert_true(proxy_log_wait(w.proxy, "event=access", 2, SOON_MS));
        assert_int_equal(proxy_log_count(w.proxy, "event=access trace_id=" TRACE),
                         cases[i].sound ? 2 : 0);
        for (int64_t until_ms = now_ms() + SOON_MS; now_ms() < until_ms;) {
            http_get(proxy_admin_port(w.proxy), "/", &a);
            if (strstr(bytes_text(&a.body), "bad-target") != NULL)
                break;
        }
        assert_int_equal(strstr(bytes_text(&a.body), TRACE) != NULL, cases[i].sound);
        answer_free(&a);
    }
}

static void options_for_the_proxy_itself_are_answered_here(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .answer = NULL });
    http_call(w.port, "OPTIONS", "*", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    assert_contains(answer_header(&a, "Allow"), "PATCH");
    assert_int_equal(a.content_length, 0);
    http_call(w.port, "OPTIONS", "/x", "Max-Forwards: 0\r\n", NULL, &a);
    assert_int_equal(a.status, 200);
    assert_contains(answer_header(&a, "Allow"), "PATCH");
    http_call(w.port, "TRACE", "/x", "Max-Forwards: 0\r\n", NULL, &a);
    assert_int_equal(a.status, 405);
    http_call(w.port, "GET", "*", NULL, NULL, &a);
    assert_int_equal(a.status, 400);
    assert_int_equal(peer_count(w.api, ""), 0);
    http_call(w.port, "OPTIONS", "/x", "Max-Forwards: 7\r\n", NULL, &a);
    assert_int_equal(a.status, 200);
    assert_contains(bytes_text(&peer_request(w.api, "OPTIONS /v0/x", 0)->head),
                    "Max-Forwards: 6\r\n");
    http_call(w.port, "GET", "/x", "Max-Forwards: 0\r\n", NULL, &a);
    assert_contains(bytes_text(&peer_request(w.api, "GET /v0/x", 0)->head),
                    "Max-Forwards: 0\r\n");
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(any_mixture_that_fits_passes_and_arrives_as_it_was),
        TEST(what_does_not_fit_is_refused_at_once),
        TEST(what_the_caller_calls_its_request_goes_on_as_it_is),
        TEST(the_upstreams_id_comes_back),
        TEST(a_trace_is_named_where_a_failure_is_told),
        TEST(options_for_the_proxy_itself_are_answered_here),
    };
    return RUN_TESTS(tests);
}

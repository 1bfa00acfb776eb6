/* Additional ways for an upstream with TLS to fail: handshakes that must not succeed, and
 * the difference between an end and a cut (close_notify). Rows: tests/hostile/README.md. */
#include "harness.h"

/* Certificates that are expired, of another name or not trusted, old TLS, a client certificate
 * demanded: 502, and the log names the cause. (row 52) */
static void a_handshake_that_proves_nothing_is_502_and_the_log_says_why(void **state)
{
    (void)state;
    static const struct {
        enum cert_kind kind;
        const char *error, *logged;
    } cases[] = {
        { CERT_EXPIRED, "tls_certificate_error", "certificate" },
        { CERT_WRONG_NAME, "tls_certificate_error", "certificate" },
        { CERT_SELF_SIGNED, "tls_certificate_error", "certificate" },
        { CERT_CHAIN_MISSING, "tls_certificate_error", "certificate" },
        { CERT_OLD_TLS, "tls_protocol_error", "tls" },
        /* with TLS 1.3 the server refuses when we think the handshake is over; its alert may be
         * overtaken by the end of the connection */
        { CERT_WANTS_CLIENT, "", "upstream-" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WORLD(w);
        struct answer a = { 0 };
        char value[160];
        world_start(&w, &(struct world_options){ .cert = cases[i].kind });
        http_call(w.port, "POST", "/x", NULL, "{}", &a);
        if (a.status != 502 ||
            strstr(answer_header(&a, "Proxy-Status"), cases[i].error) == NULL)
            fail_msg("kind %d: %d, %s", (int)cases[i].kind, a.status,
                     answer_header(&a, "Proxy-Status"));
        json_member(&a.body, "stage", value, sizeof value);
        assert_string_equal(value, "upstream");
        assert_true(proxy_log_wait(w.proxy, "event=upstream_failed", 1, SOON_MS));
        assert_true(
            proxy_log_field(w.proxy, "event=upstream_failed", 0, "error", value, sizeof value));
        assert_contains(value, cases[i].logged);
        assert_int_equal(peer_count(w.api, ""), 0); /* no token went to a stranger */
        answer_free(&a);
    }
}

/* What the target asks for, and how the connection ends behind it. */
static void answer_until_the_end(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n";
    struct bytes body = { 0 };
    (void)arg;
    if (strstr(r->target, "measured") != NULL) {
        (void)peer_answer(c, 200, NULL, "measured");
    } else {
        bytes_fill(&body, 'x', strtoul(r->target + strlen("/v0/"), NULL, 10));
        (void)peer_puts(c, head);
        (void)peer_write(c, bytes_text(&body), body.len);
        bytes_free(&body);
    }
    if (strstr(r->target, "cut") != NULL)
        peer_cut(c);
    else if (strstr(r->target, "reset") != NULL)
        peer_reset(c);
    else
        peer_close(c);
}

/* An answer without a length ends with the connection. Without close_notify anybody could have
 * cut it, so it is aborted. (row 52) */
static void an_answer_until_the_end_is_whole_only_with_close_notify(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 10, 20000, 300000 };
    WORLD(w);
    struct answer a = { 0 };
    char target[64];
    world_start(&w,
                &(struct world_options){ .answer = answer_until_the_end, .cert = CERT_VALID });
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        (void)snprintf(target, sizeof target, "/%zu/closed", sizes[i]);
        http_get(w.port, target, &a);
        if (a.status != 200 || a.end != ANSWER_WHOLE || a.body.len != sizes[i])
            fail_msg("%s: %d, end %d, %zu bytes", target, a.status, (int)a.end, a.body.len);
        for (int reset = 0; reset < 2; reset++) {
            (void)snprintf(target, sizeof target, "/%zu/%s", sizes[i], reset ? "reset" : "cut");
            http_get(w.port, target, &a);
            bool told = a.end == ANSWER_WHOLE && a.status == 502;
            if (!told && a.end != ANSWER_CUT && a.end != ANSWER_NONE)
                fail_msg("%s: %d, end %d, %zu bytes", target, a.status, (int)a.end, a.body.len);
        }
    }
    assert_true(proxy_log_wait(w.proxy, "event=access error=upstream-incomplete", 4, SOON_MS));
    answer_free(&a);
}

/* The same for a caller of HTTP/1.0, to whom only the connection's end tells an end.
 * (row 52) */
static void an_old_caller_can_tell_a_cut_from_an_end(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w,
                &(struct world_options){ .answer = answer_until_the_end, .cert = CERT_VALID });
    http_raw(w.port, "GET /300000/closed HTTP/1.0\r\nHost: localhost\r\n\r\n", &a);
    assert_int_equal(a.end, ANSWER_WHOLE);
    assert_int_equal(a.body.len, 300000);
    http_raw(w.port, "GET /300000/cut HTTP/1.0\r\nHost: localhost\r\n\r\n", &a);
    assert_true(a.end == ANSWER_CUT || a.end == ANSWER_NONE ||
                (a.end == ANSWER_WHOLE && a.status == 502));
    answer_free(&a);
}

/* An answer that was as long as it said needs no close_notify (RFC 9112, section 9.8).
 * (row 52) */
static void a_measured_answer_needs_no_close_notify(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w,
                &(struct world_options){ .answer = answer_until_the_end, .cert = CERT_VALID });
    for (int i = 0; i < 3; i++) {
        http_get(w.port, "/measured/cut", &a);
        assert_int_equal(a.status, 200);
        assert_int_equal(a.end, ANSWER_WHOLE);
        assert_string_equal(bytes_text(&a.body), "measured");
    }
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_handshake_that_proves_nothing_is_502_and_the_log_says_why),
        TEST(an_answer_until_the_end_is_whole_only_with_close_notify),
        TEST(an_old_caller_can_tell_a_cut_from_an_end),
        TEST(a_measured_answer_needs_no_close_notify),
    };
    return RUN_TESTS(tests);
}

/* outbound.c: how settings of outbound connections are translated. */
#include "certs.h"
#include "config/config_case.h"
#include "config/outbound.h"

static void each_leg_has_its_authorities_and_its_proxy(void **state)
{
    char text[1024];

    (void)state;
    const char *a = certs_ca_file(), *b = certs_other_ca_file();
    (void)snprintf(text, sizeof text,
                   CREDENTIALS "ca_file = %s\nproxy = http://p:1\n[upstream]\nca_file = %s\n"
                               "proxy = none\nconnect_timeout = 3s\nkeepalive = 9s\n",
                   b, a);
    auto_result struct result r = load(text);
    assert_loads(r);
    struct curl_host_settings upstream = config_outbound(r.config, LEG_UPSTREAM);
    struct curl_host_settings token = config_outbound(r.config, LEG_TOKEN);
    assert_ptr_equal(upstream.ca.data, r.config->upstream.ca.data);
    assert_ptr_equal(token.ca.data, r.config->token.ca.data);
    assert_true(upstream.ca.len > 0 && token.ca.len > 0);
    assert_int_not_equal(strcmp(upstream.ca.data, token.ca.data), 0);
    assert_string_equal(upstream.proxy, "none");
    assert_string_equal(token.proxy, "http://p:1");
    assert_int_equal(upstream.connect_timeout_ms, 3000);
    assert_int_equal(upstream.keepalive_ms, 9000);
    assert_false(upstream.lasting);
    assert_null(upstream.certificate.data);
}

static void plain_text_is_never_asked_to_upgrade(void **state)
{
    static const struct {
        const char *url, *version;
        long expected;
    } cases[] = {
        { "https://a", "1.1", CURL_HTTP_VERSION_1_1 },
        { "https://a", "2", CURL_HTTP_VERSION_2TLS },
        { "https://a", "auto", CURL_HTTP_VERSION_2TLS },
        { "http://localhost", "1.1", CURL_HTTP_VERSION_1_1 },
        { "http://localhost", "2", CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE },
        { "http://localhost", "auto", CURL_HTTP_VERSION_1_1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[256];

        (void)snprintf(text, sizeof text,
                       CREDENTIALS "[upstream]\nbase_url = %s\nhttp_version = %s\n",
                       cases[i].url, cases[i].version);
        auto_result struct result r = load(text);
        assert_loads(r);
        assert_int_equal(config_outbound(r.config, LEG_UPSTREAM).http_version,
                         cases[i].expected);
    }
}

/* The token leg speaks what its own URL gives, whatever the upstream is set to. */
static void the_token_leg_does_not_follow_the_upstream(void **state)
{
    static const char *const versions[] = { "1.1", "2", "auto" };
    static const struct {
        const char *upstream, *token;
        long expected;
    } cases[] = {
        { "https://a", "https://b/t", CURL_HTTP_VERSION_2TLS },
        { "https://a", "http://localhost/t", CURL_HTTP_VERSION_1_1 },
        { "http://localhost", "https://b/t?x=1", CURL_HTTP_VERSION_2TLS },
        { "http://localhost", "http://localhost/t", CURL_HTTP_VERSION_1_1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases) * ARRAY_LEN(versions); i++) {
        char text[256];

        (void)snprintf(text, sizeof text,
                       CREDENTIALS "url = %s\n[upstream]\nbase_url = %s\nhttp_version = %s\n",
                       cases[i / 3].token, cases[i / 3].upstream, versions[i % 3]);
        auto_result struct result r = load(text);
        assert_loads(r);
        assert_int_equal(config_outbound(r.config, LEG_TOKEN).http_version,
                         cases[i / 3].expected);
    }
}

static void an_exception_from_the_proxy_may_have_a_port(void **state)
{
    static const struct {
        const char *list;
        int port;
        const char *expected; /* NULL: as it is */
    } cases[] = {
        { "", 443, NULL },
        { "*", 443, NULL },
        { "a, .b c", 443, NULL },
        { "::1, fe80::1", 443, NULL },
        { "a:443", 443, "a" },
        { "a:443", 8443, "" },
        { "a:443, .b:8443 c,::1,[::1]:8443,[::2]:443", 8443, ".b,c,::1,[::1]" },
        { "a:", 443, NULL },
        { "a:b", 443, NULL },
        { "127.0.0.1:8443,x", 8443, "127.0.0.1,x" },
        { "10.0.0.0/8,a:99999999999999999999", 1, "10.0.0.0/8" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_free char *list = curl_host_no_proxy(cases[i].list, cases[i].port);

        if (cases[i].expected == NULL)
            assert_null(list);
        else
            assert_string_equal(list, cases[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_leg_has_its_authorities_and_its_proxy),
        cmocka_unit_test(plain_text_is_never_asked_to_upgrade),
        cmocka_unit_test(the_token_leg_does_not_follow_the_upstream),
        cmocka_unit_test(an_exception_from_the_proxy_may_have_a_port),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

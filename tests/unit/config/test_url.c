/* url.c: parsing addresses, hosts and URLs. */
#include "config/config_case.h"
#include "config/url.h"

static void an_address_is_taken_apart(void **state)
{
    struct config_address a;

    (void)state;
    assert_true(config_address_split("127.0.0.1:8080", &a));
    assert_string_equal(a.host, "127.0.0.1");
    assert_int_equal(a.port, 8080);
    assert_false(a.v6);
    assert_null(a.unix_path);
    assert_true(config_address_split("[::1]:0", &a));
    assert_string_equal(a.host, "::1");
    assert_int_equal(a.port, 0);
    assert_true(a.v6);
    assert_true(config_address_split("LocalHost:65535", &a));
    assert_string_equal(a.host, "localhost");
    assert_true(config_address_split("unix:/run/a:b,c", &a));
    assert_string_equal(a.unix_path, "/run/a:b,c");
    assert_int_equal(a.port, -1);
    assert_string_equal(a.host, "");
}

static void hosts_are_told_from_their_loopback_lookalikes(void **state)
{
    (void)state;
    assert_true(config_is_loopback("LOCALHOST"));
    assert_true(config_is_loopback("127.1.2.3"));
    assert_true(config_is_loopback("::1"));
    assert_true(config_is_loopback("0:0:0:0:0:0:0:1"));
    assert_false(config_is_loopback("::ffff:127.0.0.1"));
    assert_false(config_is_loopback("0.0.0.0"));
    assert_false(config_is_loopback("127.0.0.1.nip.io"));
    assert_false(config_is_loopback(""));
}

/* The default ports are libcurl's, which takes a scheme in any case. */
static void a_proxy_has_the_port_that_libcurl_uses(void **state)
{
    char host[256];

    (void)state;
    assert_int_equal(config_proxy_port("http://u:p@Proxy.example", host), 1080);
    assert_string_equal(host, "proxy.example");
    assert_int_equal(config_proxy_port("socks5h://proxy.example", NULL), 1080);
    assert_int_equal(config_proxy_port("proxy.example:3128", NULL), 3128);
    assert_int_equal(config_proxy_port("https://proxy.example", NULL), 443);
    assert_int_equal(config_proxy_port("HTTPS://proxy.example", NULL), 443);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_taken_apart),
        cmocka_unit_test(hosts_are_told_from_their_loopback_lookalikes),
        cmocka_unit_test(a_proxy_has_the_port_that_libcurl_uses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

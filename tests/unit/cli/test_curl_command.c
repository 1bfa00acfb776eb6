/* curl_command.c: the command reaches the proxy in every way that callers may. */
#include <string.h>

#include "cli/curl_command.h"
#include "config/config_case.h"
#include "http/access.h"

/* What is between "://" and the end. */
static void assert_host_is_allowed(const struct config *c, const char *command)
{
    const char *host = strstr(command, "://");

    assert_non_null(host);
    if (!access_host_allowed(c, host + 3, strlen(host + 3)))
        fail_msg("421 for: %s", command);
}

static void assert_command(struct config *c, const char *expected)
{
    struct buf out;

    buf_init(&out, 4096);
    curl_command_begin(&out, c);
    assert_string_equal(buf_text(&out), expected);
    assert_host_is_allowed(c, buf_text(&out));
    buf_done(&out);
}

static void the_proxy_answers_the_command(void **state)
{
    static const struct {
        const char *listen, *plain, *tls;
    } rows[] = {
        { "", "\"http://127.0.0.1:8080", "\"https://127.0.0.1:8080" },
        { "address = [::1]:81", "\"http://[::1]:81", "\"https://[::1]:81" },
        { "address = pay.example:81", "\"http://pay.example:81", "\"https://pay.example:81" },
        { "address = 0.0.0.0:81", "\"http://127.0.0.1:81",
          "--connect-to ::127.0.0.1:81 \"https://localhost:81" },
        { "address = [::]:81", "\"http://[::1]:81",
          "--connect-to ::[::1]:81 \"https://localhost:81" },
        { "address = 0.0.0.0:81\nallowed_hosts = pay.example",
          "--connect-to ::127.0.0.1:81 \"http://pay.example:81",
          "--connect-to ::127.0.0.1:81 \"https://pay.example:81" },
        { "address = 0.0.0.0:81\nallowed_hosts = pay.example:9, 10.0.0.1",
          "--connect-to ::127.0.0.1:81 \"http://pay.example:9",
          "--connect-to ::127.0.0.1:81 \"https://pay.example:9" },
        { "address = [::]:81\nallowed_hosts = [2001:db8::1]:*",
          "--connect-to ::[::1]:81 \"http://[2001:db8::1]:81",
          "--connect-to ::[::1]:81 \"https://[2001:db8::1]:81" },
        { "address = 0.0.0.0:81\nallowed_hosts = *", "\"http://127.0.0.1:81",
          "--connect-to ::127.0.0.1:81 \"https://localhost:81" },
        { "address = unix:/run/x/1.sock, 127.0.0.1:81", "\"http://127.0.0.1:81",
          "\"https://127.0.0.1:81" },
        { "address = unix:/run/x/1.sock, unix:/run/x/2.sock",
          "--unix-socket /run/x/1.sock \"http://localhost",
          "--unix-socket /run/x/1.sock \"http://localhost" },
        { "address = unix:/run/it's x.sock\nallowed_hosts = pay.example",
          "--unix-socket '/run/it'\\''s x.sock' \"http://pay.example",
          "--unix-socket '/run/it'\\''s x.sock' \"http://pay.example" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[512], expected[256];

        (void)snprintf(text, sizeof text, CREDENTIALS "[listen]\n%s\n", rows[i].listen);
        auto_result struct result r = load(text);
        assert_loads(r);
        (void)snprintf(expected, sizeof expected, "curl -sS %s", rows[i].plain);
        assert_command(r.config, expected);
        r.config->listen.tls_certificate = strdup("/none");
        (void)snprintf(expected, sizeof expected, "curl -sS %s", rows[i].tls);
        assert_command(r.config, expected);
    }
}

/* Nobody but the running proxy knows it. */
static void a_port_that_is_free_at_the_start_has_a_placeholder(void **state)
{
    auto_result struct result r = load_one("listen", "address", "127.0.0.1:0");
    struct buf out;

    (void)state;
    assert_loads(r);
    buf_init(&out, 4096);
    curl_command_begin(&out, r.config);
    assert_string_equal(buf_text(&out), "curl -sS \"http://127.0.0.1:PORT");
    buf_done(&out);
}

static void what_callers_have_to_show_is_told(void **state)
{
    static const char *const more[] = {
        "[listen]\nrequire_header = X-Proxy-Key: k\n",
        "[classes]\ntable = 1shot\n[caller a]\naddress = unix:/run/a.sock\nallow = read\n",
    };

    (void)state;
    auto_result struct result r = load(CREDENTIALS);
    assert_loads(r);
    assert_false(curl_command_needs_more(r.config));
    r.config->listen.tls_certificate = strdup("/none");
    assert_true(curl_command_needs_more(r.config));
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        char text[512];

        (void)snprintf(text, sizeof text, CREDENTIALS "%s", more[i]);
        auto_result struct result with = load(text);
        assert_loads(with);
        assert_true(curl_command_needs_more(with.config));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_proxy_answers_the_command),
        cmocka_unit_test(a_port_that_is_free_at_the_start_has_a_placeholder),
        cmocka_unit_test(what_callers_have_to_show_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

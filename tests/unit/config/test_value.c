/* value.c: the default, the least and the largest value of each key, and values beyond. */
#include <inttypes.h>

#include "config/config_case.h"

/* Every key and what it is when nothing is said, as --print-config shows it. */
static const struct {
    const char *section, *key, *value;
} defaults[] = {
    { "listen", "address", "127.0.0.1:8080" },
    { "listen", "socket_mode", "0600" },
    { "listen", "allowed_hosts", "localhost, 127.0.0.1, [::1]" },
    { "listen", "allowed_origins", NULL },
    { "listen", "require_header", NULL },
    { "listen", "max_connections", "4096" },
    { "listen", "header_timeout", "10s" },
    { "listen", "idle_timeout", "2m" },
    { "listen", "body_timeout", "30s" },
    { "listen", "send_timeout", "1m" },
    { "listen", "max_header_size", "32k" },
    { "listen", "max_target_size", "16k" },
    { "listen", "max_headers", "100" },
    { "listen", "max_body_size", "0" },
    { "listen", "tls_certificate", NULL },
    { "listen", "tls_key", NULL },
    { "listen", "tls_client_ca", NULL },
    { "upstream", "base_url", "https://api.1shotapi.dev/v0" },
    { "upstream", "allow_plaintext", "no" },
    { "upstream", "http_version", "1.1" },
    { "upstream", "ca_file", NULL },
    { "upstream", "client_certificate", NULL },
    { "upstream", "client_key", NULL },
    { "upstream", "proxy", "env" },
    { "upstream", "connect_timeout", "5s" },
    { "upstream", "response_timeout", "3m" },
    { "upstream", "idle_timeout", "1m" },
    { "upstream", "max_connections", "256" },
    { "upstream", "keepalive", "30s" },
    { "upstream", "max_connection_age", "10m" },
    { "upstream", "max_in_flight", "1024" },
    { "upstream", "replay", "all" },
    { "upstream", "replay_limit", "256k" },
    { "upstream", "token_refused_statuses", "401" },
    { "token", "url", "https://api.1shotapi.dev/v0/token" },
    { "token", "client_id", "id" },
    { "token", "client_id_file", NULL },
    { "token", "client_secret", "******" },
    { "token", "client_secret_file", NULL },
    { "token", "scope", NULL },
    { "token", "audience", NULL },
    { "token", "resource", NULL },
    { "token", "extra", NULL },
    { "token", "auth_style", "body" },
    { "token", "refresh_before", "10%" },
    { "token", "default_lifetime", "5m" },
    { "token", "timeout", "10s" },
    { "token", "wait_timeout", "4s" },
    { "token", "retry_min", "1s" },
    { "token", "retry_max", "15s" },
    { "token", "refused_status", "mirror" },
    { "token", "local_endpoint", "yes" },
    { "token", "ca_file", NULL },
    { "token", "proxy", "env" },
    { "admin", "address", "127.0.0.1:9090" },
    { "log", "level", "info" },
    { "log", "format", "logfmt" },
    { "log", "access", "yes" },
    { "process", "workers", "auto" },
    { "process", "drain_delay", "0s" },
    { "process", "drain_timeout", "30s" },
    { "process", "sandbox", "auto" },
    { "classes", "table", "off" },
    { "classes", "read", NULL },
    { "classes", "simulate", NULL },
    { "classes", "create", NULL },
    { "classes", "change", NULL },
    { "classes", "sign", NULL },
    { "classes", "money", NULL },
    { "classes", "repeat_simulate", "no" },
    { "freeze", "file", NULL },
    { "freeze", "classes", "sign, money" },
    { "ledger", "store", NULL },
    { "ledger", "store_password_file", NULL },
    { "ledger", "store_ca_file", NULL },
    { "ledger", "store_timeout", "2s" },
    { "ledger", "keys", "header" },
    { "ledger", "body_key_prefix", "idem:" },
    { "ledger", "require_key", "no" },
    { "ledger", "journal", "no" },
    { "ledger", "store_requests", "no" },
    { "ledger", "forward_key", "yes" },
    { "ledger", "release_statuses", "401, 429" },
    { "ledger", "max_request", "256k" },
    { "ledger", "max_answer", "256k" },
    { "ledger", "keep_answers", "30d" },
    { "ledger", "keep_keys", "400d" },
    { "callers", "header", "X-Caller-Key" },
    { "callers", "mode", "enforce" },
};

/* The key's value in force as text; "(none)" when there is none. */
static const char *printed(const struct config *c, const char *section, const char *key,
                           char out[20000])
{
    struct buf b;

    buf_init(&b, 1 << 20);
    int rc = config_value_print(c, config_find(section, key), &b);
    (void)snprintf(out, 20000, "%s", rc == 0 ? buf_text(&b) : "(none)");
    buf_done(&b);
    return out;
}

static void each_key_has_its_default(void **state)
{
    char text[20000];

    (void)state;
    auto_result struct result r = load(CREDENTIALS);
    assert_loads(r);
    assert_int_equal(config_single_count(), ARRAY_LEN(defaults));
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++) {
        const char *expected = defaults[i].value == NULL ? "(none)" : defaults[i].value;

        assert_non_null(config_find(defaults[i].section, defaults[i].key));
        assert_string_equal(printed(r.config, defaults[i].section, defaults[i].key, text),
                            expected);
    }
}

static void defaults_arrive_in_their_fields(void **state)
{
    (void)state;
    auto_result struct result r = load(CREDENTIALS);
    const struct config *c = r.config;

    assert_loads(r);
    assert_int_equal(c->listen.socket_mode, 0600);
    assert_int_equal(c->listen.header_timeout_ms, 10000);
    assert_int_equal(c->listen.max_header_size_bytes, 32768);
    assert_int_equal(c->upstream.http_version, HTTP_VERSION_1_1);
    assert_int_equal(c->upstream.replay, REPLAY_ALL);
    assert_int_equal(c->upstream.replay_limit_bytes, 262144);
    assert_int_equal(c->upstream.token_refused.count, 1);
    assert_int_equal(c->upstream.token_refused.item[0], 401);
    assert_int_equal(c->token.auth_style, AUTH_STYLE_BODY);
    assert_int_equal(c->token.refresh_before.percent, 10);
    assert_int_equal(c->token.refused_status, REFUSED_MIRROR);
    assert_true(c->token.local_endpoint);
    assert_int_equal(c->log.level, 2); /* LOG_INFO */
    assert_int_equal(c->process.workers, 0);
    assert_int_equal(c->process.sandbox, SANDBOX_AUTO);
}

/* NULL: there is nothing beyond. */
static const struct edge {
    const char *section, *key;
    const char *below, *least, *most, *above;
} edges[] = {
    { "listen", "socket_mode", "00", "0000", "0777", "01000" },
    { "listen", "max_connections", "0", "1", "1000000", "1000001" },
    { "listen", "header_timeout", "0ms", "1ms", "1h", "3600001ms" },
    { "listen", "idle_timeout", "0s", "1ms", "24h", "86401s" },
    { "listen", "body_timeout", "0s", "1ms", "24h", "25h" },
    { "listen", "max_header_size", "1023", "1k", "256k", "262145" },
    { "listen", "max_target_size", "1023", "1k", "256k", "262145" },
    { "listen", "send_timeout", "0s", "1ms", "1d", "25h" },
    { "upstream", "max_connection_age", "999ms", "1s", "1d", "2d" },
    { "listen", "max_headers", "0", "1", "1000", "1001" },
    { "listen", "max_body_size", "-1", "0", "1024g", "1025g" },
    { "upstream", "connect_timeout", "0s", "1ms", "1h", "2h" },
    { "upstream", "response_timeout", "0s", "1ms", "24h", "25h" },
    { "upstream", "idle_timeout", "0s", "1ms", "24h", "25h" },
    { "upstream", "max_connections", "0", "1", "65536", "65537" },
    { "upstream", "keepalive", "999ms", "1s", "1h", "61m" },
    { "upstream", "max_in_flight", "0", "1", "1000000", "1000001" },
    { "upstream", "replay_limit", "-1", "0", "64m", "65m" },
    { "upstream", "token_refused_statuses", "399", "400", "499", "500" },
    { "token", "refresh_before", "0%", "1%", "90%", "91%" },
    { "token", "refresh_before", "0s", "1ms", "24h", "25h" },
    { "token", "default_lifetime", "999ms", "1s", "24h", "25h" },
    { "token", "timeout", "0s", "1ms", "1h", "2h" },
    { "token", "wait_timeout", "0s", "1ms", "1h", "2h" },
    { "token", "retry_min", "0s", "1ms", "15s", "2h" },
    { "token", "retry_max", "0s", "1s", "24h", "25h" },
    { "ledger", "store_timeout", "9ms", "10ms", "60s", "61s" },
    { "ledger", "release_statuses", "399", "400", "503", "504" },
    { "ledger", "max_request", "1023", "1k", "16m", "17m" },
    { "ledger", "max_answer", "-1", "0", "16m", "17m" },
    { "ledger", "keep_answers", "59m", "1h", "400d", "3651d" },
    { "ledger", "keep_keys", "59m", "30d", "3650d", "3651d" },
    { "process", "workers", "0", "1", "256", "257" },
    { "process", "drain_delay", "-1s", "0s", "30s", "2h" }, /* the default of drain_timeout */
    { "process", "drain_timeout", "-1s", "0s", "1h", "2h" },
};

static void each_range_ends_where_it_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(edges); i++) {
        const struct edge *e = &edges[i];
        char name[64], text[20000];
        auto_result struct result below = load_one(e->section, e->key, e->below);
        auto_result struct result least = load_one(e->section, e->key, e->least);
        auto_result struct result most = load_one(e->section, e->key, e->most);
        auto_result struct result above = load_one(e->section, e->key, e->above);

        (void)snprintf(name, sizeof name, "%s.%s: ", e->section, e->key);
        assert_refuses(below, name);
        assert_refuses(above, name);
        assert_refuses(above, "; allowed: ");
        assert_loads(least);
        assert_loads(most);
        assert_string_equal(printed(least.config, e->section, e->key, text), e->least);
    }
}

static void each_word_is_known_and_no_other(void **state)
{
    static const struct {
        const char *section, *key;
        const char *words[5];
    } cases[] = {
        { "upstream", "allow_plaintext", { "yes", "no" } },
        { "upstream", "http_version", { "1.1", "2", "auto" } },
        { "upstream", "replay", { "all", "safe", "none" } },
        { "token", "auth_style", { "body", "basic" } },
        { "token", "refused_status", { "mirror", "502" } },
        { "token", "local_endpoint", { "yes", "no" } },
        { "log", "level", { "error", "warn", "info", "debug" } },
        { "log", "format", { "logfmt", "json" } },
        { "log", "access", { "yes", "no" } },
        { "process", "sandbox", { "auto", "off" } },
    };
    static const char *const wrong[] = { "Yes", "true", "1", "on", "AUTO", "mirror 502", "\"" };
    char text[20000];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t w = 0; cases[i].words[w] != NULL; w++) {
            auto_result struct result r =
                load_one(cases[i].section, cases[i].key, cases[i].words[w]);
            assert_loads(r);
            assert_string_equal(printed(r.config, cases[i].section, cases[i].key, text),
                                cases[i].words[w]);
        }
        for (size_t w = 0; w < ARRAY_LEN(wrong); w++) {
            auto_result struct result r = load_one(cases[i].section, cases[i].key, wrong[w]);
            assert_refuses(r, "; allowed: ");
        }
    }
}

static void words_become_the_values_of_their_enum(void **state)
{
    (void)state;
    auto_result struct result r =
        load(CREDENTIALS "auth_style = basic\nrefused_status = 502\nrefresh_before = 90s\n"
                         "[upstream]\nhttp_version = auto\nreplay = none\n"
                         "[log]\nlevel = error\nformat = json\naccess = no\n"
                         "[process]\nsandbox = off\nworkers = 3\n");

    assert_loads(r);
    assert_int_equal(r.config->token.auth_style, AUTH_STYLE_BASIC);
    assert_int_equal(r.config->token.refused_status, REFUSED_502);
    assert_int_equal(r.config->token.refresh_before.percent, 0);
    assert_int_equal(r.config->token.refresh_before.ms, 90000);
    assert_int_equal(r.config->upstream.http_version, HTTP_VERSION_AUTO);
    assert_int_equal(r.config->upstream.replay, REPLAY_NONE);
    assert_int_equal(r.config->log.level, 0);
    assert_int_equal(r.config->log.format, 1);
    assert_false(r.config->log.access);
    assert_int_equal(r.config->process.sandbox, SANDBOX_OFF);
    assert_int_equal(r.config->process.workers, 3);
}

static void numbers_are_read_to_the_letter(void **state)
{
    static const struct {
        const char *section, *key, *value;
    } wrong[] = {
        { "token", "timeout", "5" },
        { "token", "timeout", "5 s" },
        { "token", "timeout", "5S" },
        { "token", "timeout", "1D" },
        { "token", "timeout", "1m30s" },
        { "token", "timeout", "1.5s" },
        { "token", "timeout", "+5s" },
        { "token", "timeout", "-5s" },
        { "token", "timeout", "s" },
        { "token", "timeout", "0x5s" },
        { "token", "timeout", "5s ; five" },
        { "token", "timeout", "99999999999999999999s" },
        { "token", "timeout", "9223372036854775807h" },
        { "token", "refresh_before", "10" },
        { "token", "refresh_before", "10 %" },
        { "token", "refresh_before", "%" },
        { "listen", "max_body_size", "64K" },
        { "listen", "max_body_size", "64kb" },
        { "listen", "max_body_size", "9223372036854775807g" },
        { "listen", "max_headers", "1e2" },
        { "listen", "max_headers", "" },
        { "listen", "max_headers", "99999999999999999999" },
        { "listen", "socket_mode", "0680" },
        { "listen", "socket_mode", "rw" },
        { "listen", "socket_mode", "00600" },
        { "process", "workers", "all" },
        { "upstream", "token_refused_statuses", "407" },
        { "upstream", "token_refused_statuses", "401,,403" },
        { "upstream", "token_refused_statuses", "401, 401" },
        { "upstream", "token_refused_statuses", "401 403" },
        { "upstream", "token_refused_statuses", "400,401,402,403,404,405,406,408,409" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        auto_result struct result r = load_one(wrong[i].section, wrong[i].key, wrong[i].value);
        if (r.config != NULL)
            fail_msg("%s = %s is accepted", wrong[i].key, wrong[i].value);
        assert_int_equal(count_lines(&r.errors), 1);
    }
}

static void eight_statuses_fit(void **state)
{
    (void)state;
    auto_result struct result r =
        load_one("upstream", "token_refused_statuses", "400,401, 402 ,403,404,405,406,499");

    assert_loads(r);
    assert_int_equal(r.config->upstream.token_refused.count, 8);
    assert_int_equal(r.config->upstream.token_refused.item[7], 499);
}

/* Empty is "none" where there is no default, and an error where there is one. */
static void an_empty_value_is_none_or_an_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_single_count(); i++) {
        const struct config_key *key = &config_keys[i];
        char text[256];

        if (strcmp(key->name, "client_id") == 0 || strcmp(key->name, "client_secret") == 0)
            continue;
        (void)snprintf(text, sizeof text, CREDENTIALS "%s%s%s%s =\n",
                       strcmp(key->section, "token") == 0 ? "" : "[",
                       strcmp(key->section, "token") == 0 ? "" : key->section,
                       strcmp(key->section, "token") == 0 ? "" : "]\n", key->name);
        auto_result struct result r = load(text);
        if (key->fallback == NULL && key->min == 0)
            assert_loads(r);
        else
            assert_refuses(r, ": is empty; allowed: ");
    }
}

static void text_may_be_8_kib_long_and_holds_no_control_characters(void **state)
{
    static char value[8193];

    (void)state;
    memset(value, 'v', 8192 - strlen("scope = "));
    auto_result struct result fits = load_one("token", "scope", value);
    auto_result struct result tab = load_one("token", "scope", "a\tb");

    assert_loads(fits);
    assert_string_equal(fits.config->token.scope, value);
    assert_refuses(tab, "token.scope: \"a?b\" has a control byte, 0x09 at byte 2 of 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key_has_its_default),
        cmocka_unit_test(defaults_arrive_in_their_fields),
        cmocka_unit_test(each_range_ends_where_it_says),
        cmocka_unit_test(each_word_is_known_and_no_other),
        cmocka_unit_test(words_become_the_values_of_their_enum),
        cmocka_unit_test(numbers_are_read_to_the_letter),
        cmocka_unit_test(eight_statuses_fit),
        cmocka_unit_test(an_empty_value_is_none_or_an_error),
        cmocka_unit_test(text_may_be_8_kib_long_and_holds_no_control_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

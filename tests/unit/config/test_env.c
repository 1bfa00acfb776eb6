/* env.c: settings from the environment. */
#include "config/config_case.h"

#define ID "ONESHOT_PROXY_TOKEN_CLIENT_ID=env-id"
#define SECRET "ONESHOT_PROXY_TOKEN_CLIENT_SECRET=env-secret"

static void the_environment_alone_is_enough(void **state)
{
    (void)state;
    auto_result struct result r = load_env(
        NULL, (const char *[]){ "PATH=/bin", ID, SECRET, "ONESHOT_PROXY_LOG_LEVEL=debug",
                                "ONESHOT_PROXY_LISTEN_MAX_BODY_SIZE=1m", NULL });

    assert_loads(r);
    assert_string_equal(r.config->token.client_id, "env-id");
    assert_string_equal(secret_text(r.config->token.client_secret), "env-secret");
    assert_int_equal(r.config->log.level, 3);
    assert_int_equal(r.config->listen.max_body_size_bytes, 1 << 20);
    assert_null(r.config->file);
}

static void the_environment_wins_over_the_file(void **state)
{
    (void)state;
    auto_scratch struct scratch s = scratch_new();
    static const char text[] = CREDENTIALS "timeout = 9s\nscope = from-file\n";
    const char *path = scratch_write(&s, text, sizeof text - 1, 0600);
    auto_result struct result r =
        load_env(path, (const char *[]){ SECRET, "ONESHOT_PROXY_TOKEN_SCOPE=", NULL });

    assert_loads(r);
    assert_string_equal(r.config->token.client_id, "id");
    assert_string_equal(secret_text(r.config->token.client_secret), "env-secret");
    assert_int_equal(r.config->token.timeout_ms, 9000);
    assert_null(r.config->token.scope);
    assert_string_equal(r.config->file, path);
}

static void errors_in_the_environment_name_the_variable(void **state)
{
    (void)state;
    auto_result struct result r = load_env(
        NULL,
        (const char *[]){ ID, SECRET, "ONESHOT_PROXY_LISTEN_MAX_HEADERS=many",
                          "ONESHOT_PROXY_TOKEN_TIMEOUT=", "ONESHOT_PROXY_TOKEN_CLIENT_SECERT=x",
                          "ONESHOT_PROXY_LISTEN_PORT=8080", "ONESHOT_PROXY_WHATEVER=1",
                          "ONESHOT_PROXY_TOKEN_SCOPE=a\nb", "ONESHOT_PROXY_LOG_LEVEL=info",
                          "ONESHOT_PROXY_LOG_LEVEL=warn", NULL });

    assert_refuses(r, "ONESHOT_PROXY_LISTEN_MAX_HEADERS: listen.max_headers: \"many\" is not");
    assert_refuses(r, "ONESHOT_PROXY_TOKEN_TIMEOUT: token.timeout: is empty; allowed: 1ms");
    assert_refuses(r, "ONESHOT_PROXY_TOKEN_CLIENT_SECERT: unknown variable; did you mean "
                      "ONESHOT_PROXY_TOKEN_CLIENT_SECRET?");
    assert_refuses(r, "ONESHOT_PROXY_LISTEN_PORT: unknown variable; did you mean "
                      "ONESHOT_PROXY_LISTEN_ADDRESS?");
    assert_refuses(r, "ONESHOT_PROXY_WHATEVER: unknown variable; variables are named");
    assert_refuses(r, "ONESHOT_PROXY_TOKEN_SCOPE: token.scope: \"a?b\" has a control");
    assert_refuses(r, "ONESHOT_PROXY_LOG_LEVEL: is in the environment twice");
    assert_int_equal(count_lines(&r.errors), 7);
}

static void an_empty_required_variable_is_an_error(void **state)
{
    (void)state;
    auto_result struct result r =
        load_env(NULL, (const char *[]){ "ONESHOT_PROXY_TOKEN_CLIENT_ID=",
                                         "ONESHOT_PROXY_TOKEN_CLIENT_SECRET=", NULL });

    assert_refuses(r, "ONESHOT_PROXY_TOKEN_CLIENT_ID: token.client_id: is empty");
    assert_refuses(r, "ONESHOT_PROXY_TOKEN_CLIENT_SECRET: token.client_secret: is empty");
    assert_int_equal(count_lines(&r.errors), 2);
}

static void the_variables_of_a_kubernetes_service_are_passed_over(void **state)
{
    (void)state;
    auto_result struct result r = load_env(
        NULL, (const char *[]){ ID, SECRET, "ONESHOT_PROXY_SERVICE_HOST=10.0.0.1",
                                "ONESHOT_PROXY_SERVICE_PORT=8080",
                                "ONESHOT_PROXY_SERVICE_PORT_HTTP=80",
                                "ONESHOT_PROXY_PORT=tcp://10.0.0.1:8080",
                                "ONESHOT_PROXY_PORT_8080_TCP=tcp://10.0.0.1:8080",
                                "ONESHOT_PROXY_PORT_8080_TCP_PROTO=tcp",
                                "ONESHOT_PROXY_PORT_8080_TCP_ADDR=10.0.0.1",
                                "ONESHOT_PROXY_ADMIN_SERVICE_HOST=10.0.0.2",
                                "ONESHOT_PROXY_ADMIN_PORT=tcp://10.0.0.2:9090", NULL });

    assert_loads(r);
}

static void what_may_be_secret_is_scrubbed_from_the_environment(void **state)
{
    static const char *const names[] = { "ONESHOT_PROXY_TOKEN_CLIENT_SECRET=CANARY",
                                         "ONESHOT_PROXY_TOKEN_CLIENT_SECERT=CANARY",
                                         "ONESHOT_PROXY_LISTEN_REQUIRE_HEADER=X: CANARY",
                                         "ONESHOT_PROXY_UPSTREAM_PROXY=http://u:CANARY@h" };
    char text[ARRAY_LEN(names)][64] = { { 0 } }, path[] = "PATH=/bin";
    char *environment[ARRAY_LEN(names) + 2] = { path };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)snprintf(text[i], sizeof text[i], "%s", names[i]);
        environment[i + 1] = text[i];
    }
    struct config_env *env = config_env_take(environment);

    assert_string_equal(environment[0], "PATH=/bin");
    assert_null(environment[1]);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_null(memmem(text[i], sizeof text[i], "CANARY", 6));
    config_env_free(env);
    config_env_free(config_env_take(NULL));
    config_env_free(NULL);
}

/* Position and value of a control byte are told, and nothing of what is around it. */
static void a_control_byte_in_a_secret_is_an_error_that_names_it(void **state)
{
    static const struct {
        const char *secret, *why;
    } cases[] = {
        { "CANARY\n", "has a control byte, 0x0a at byte 7 of 7" },
        { "\rCANARY", "has a control byte, 0x0d at byte 1 of 7" },
        { "CAN\tARY", "has a control byte, 0x09 at byte 4 of 7" },
        { "CANARY\x7f", "has a control byte, 0x7f at byte 7 of 7" },
        { "\xEF\xBB\xBF"
          "CANARY",
          "begins with a byte order mark" },
    };
    static const char *const keys[] = { "SECRET", "ID" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
            char variable[128], where[128];

            (void)snprintf(variable, sizeof variable, "ONESHOT_PROXY_TOKEN_CLIENT_%s=%s",
                           keys[k], cases[i].secret);
            (void)snprintf(where, sizeof where,
                           "ONESHOT_PROXY_TOKEN_CLIENT_%s: token.client_%s: ", keys[k],
                           k == 0 ? "secret" : "id");
            auto_result struct result r =
                load_env(NULL, (const char *[]){ k == 0 ? "ONESHOT_PROXY_TOKEN_CLIENT_ID=i"
                                                        : "ONESHOT_PROXY_TOKEN_CLIENT_SECRET=s",
                                                 variable, NULL });
            assert_refuses(r, where);
            assert_refuses(r, cases[i].why);
            assert_int_equal(count_lines(&r.errors), 1);
            if (k == 0)
                assert_null(strstr(buf_text(&r.errors), "CANARY"));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_environment_alone_is_enough),
        cmocka_unit_test(the_environment_wins_over_the_file),
        cmocka_unit_test(errors_in_the_environment_name_the_variable),
        cmocka_unit_test(an_empty_required_variable_is_an_error),
        cmocka_unit_test(the_variables_of_a_kubernetes_service_are_passed_over),
        cmocka_unit_test(what_may_be_secret_is_scrubbed_from_the_environment),
        cmocka_unit_test(a_control_byte_in_a_secret_is_an_error_that_names_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

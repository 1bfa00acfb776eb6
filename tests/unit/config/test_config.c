/* config.c: loading and comparing settings, and what a reload changes. */
#include <errno.h>

#include "config/config_case.h"

static void credentials_are_all_that_is_needed(void **state)
{
    (void)state;
    auto_result struct result r = load(CREDENTIALS);

    assert_loads(r);
    assert_int_equal(buf_unread(&r.warnings), 0);
    assert_string_equal(r.config->token.client_id, "id");
    assert_string_equal(secret_text(r.config->token.client_secret), "s3cret");
}

static void the_last_reference_frees_the_snapshot(void **state)
{
    (void)state;
    auto_result struct result r = load(CREDENTIALS);

    assert_loads(r);
    assert_ptr_equal(config_ref(r.config), r.config);
    config_unref(r.config);
    assert_string_equal(r.config->token.client_id, "id");
    config_unref(NULL);
}

static void without_credentials_both_are_asked_for(void **state)
{
    (void)state;
    auto_result struct result r = load("");

    assert_refuses(r, "t.ini: token.client_id: is required");
    assert_refuses(r, "t.ini: token.client_secret: is required");
    assert_refuses(r, "ONESHOT_PROXY_TOKEN_CLIENT_SECRET");
    assert_int_equal(count_lines(&r.errors), 2);
}

/* Whatever stands in a secret, it arrives whole, by each of the three ways. */
static void secrets_arrive_whole(void **state)
{
    static char long_secret[501];
    static const char *const secrets[] = {
        "a+b/c=",
        "% & = : / ; # ,",
        "a ; b # c",
        ";starts",
        "#starts",
        "=starts",
        "[brackets]",
        "two  spaces inside",
        "\"quoted\" 'and' `so`",
        "\"quotes around it\"",
        "back\\slash \\n $HOME ${X} %41",
        "\xC3\xA9\xE2\x82\xAC",
        long_secret,
    };

    (void)state;
    memset(long_secret, 'S', 500);
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        auto_scratch struct scratch s = scratch_new();
        char text[1024], variable[1024];
        const char *path = scratch_write(&s, secrets[i], strlen(secrets[i]), 0600);

        (void)snprintf(text, sizeof text, "[token]\nclient_id = id\nclient_secret = %s\n",
                       secrets[i]);
        auto_result struct result in_file = load(text);
        (void)snprintf(variable, sizeof variable, "ONESHOT_PROXY_TOKEN_CLIENT_SECRET=%s",
                       secrets[i]);
        auto_result struct result in_env = load_env(
            NULL, (const char *[]){ "ONESHOT_PROXY_TOKEN_CLIENT_ID=id", variable, NULL });
        (void)snprintf(text, sizeof text, "[token]\nclient_id = id\nclient_secret_file = %s\n",
                       path);
        auto_result struct result own_file = load(text);

        assert_loads(in_file);
        assert_loads(in_env);
        assert_loads(own_file);
        assert_string_equal(secret_text(in_file.config->token.client_secret), secrets[i]);
        assert_string_equal(secret_text(in_env.config->token.client_secret), secrets[i]);
        assert_string_equal(secret_text(own_file.config->token.client_secret), secrets[i]);
    }
}

static void no_error_shows_a_secret(void **state)
{
    static const char *const lines[] = {
        "client_secret = CANARY\x01\n",
        "client_secret = a\nclient_secret = CANARY\n",
        "client_secret CANARY\n",
        "client_secret: CANARY\n",
        "client_sceret = CANARY\n",
        "client_secret = a\n CANARY\n",
        "client_secret = a\nproxy = ftp://u:CANARY@host\n",
        "client_secret = a\nproxy = CANARY\n",
        "client_secret = a\nurl = https://u:CANARY@host/\n",
        "client_secret = a\n[listen]\nrequire_header = CANARY\n",
        "client_secret = a\n[listen]\nrequire_header = Host: CANARY\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        char text[256];

        (void)snprintf(text, sizeof text, "[token]\nclient_id = a\n%s", lines[i]);
        auto_result struct result r = load(text);
        assert_null(r.config);
        if (strstr(buf_text(&r.errors), "CANARY") != NULL)
            fail_msg("case %zu shows its secret", i);
    }
}

/* A file of its own for config_reload, which reads the running one's again. */
static struct config *load_from(const char *path)
{
    auto_result struct result r = load_file(path);

    assert_loads(r);
    return STEAL(r.config);
}

static void rewrite(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void a_reload_keeps_what_needs_a_restart_and_names_it(void **state)
{
    static const char before[] = CREDENTIALS "[listen]\naddress = 127.0.0.1:1\n";
    static const char after[] = CREDENTIALS
        "scope = x\n[listen]\naddress = 10.0.0.9:2, unix:/run/x\nmax_header_size = 64k\n"
        "max_body_size = 9\nrequire_header = X-Key: other\n[process]\nworkers = 3\n"
        "[upstream]\nproxy = http://user:word@h:1\n";
    struct config_reload_report report;

    (void)state;
    auto_scratch struct scratch s = scratch_new();
    const char *path = scratch_write(&s, before, sizeof before - 1, 0600);
    struct config *running = load_from(path);

    rewrite(path, after);
    config_reload_report_init(&report);
    struct config *c = config_reload(running, NULL, &report);
    assert_non_null(c);
    assert_string_equal(buf_text(&report.restart),
                        "listen.address, listen.max_header_size, process.workers");
    assert_string_equal(buf_text(&report.changed),
                        "listen.require_header, listen.max_body_size, upstream.proxy, "
                        "token.scope, token.proxy");
    assert_int_equal(c->listen.address.count, 1);
    assert_string_equal(c->listen.address.item[0], "127.0.0.1:1");
    for (size_t i = 0; i < c->listen.allowed_hosts.count; i++)
        assert_string_not_equal(c->listen.allowed_hosts.item[i], "10.0.0.9");
    assert_int_equal(c->listen.max_header_size_bytes, 32768);
    assert_int_equal(c->listen.max_body_size_bytes, 9);
    assert_int_equal(c->process.workers, 0);
    config_reload_report_done(&report);
    config_unref(c);
    config_unref(running);
}

static void a_reload_with_a_bad_restart_key_is_refused(void **state)
{
    static const char before[] = CREDENTIALS;
    struct config_reload_report report;

    (void)state;
    auto_scratch struct scratch s = scratch_new();
    const char *path = scratch_write(&s, before, sizeof before - 1, 0600);
    struct config *running = load_from(path);

    rewrite(path, CREDENTIALS "[listen]\naddress = nonsense\n[log]\nlevel = loud\n");
    config_reload_report_init(&report);
    assert_null(config_reload(running, NULL, &report));
    assert_int_equal(report.report.count, 2);
    assert_non_null(strstr(report.report.message[0].text, "listen.address: "));
    assert_non_null(strstr(report.report.message[1].text, "log.level: "));
    config_reload_report_done(&report);
    config_unref(running);
}

/* As many callers as there may be, each with a socket of its own; the first is called `first`. */
static void many_callers(struct buf *out, const char *first)
{
    buf_clear(out);
    (void)buf_addf(out, CREDENTIALS "[classes]\ntable = 1shot\n");
    for (int i = 0; i < CONFIG_NAMED_MAX; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "c%d", i);
        (void)buf_addf(out, "[caller %s]\naddress = unix:/run/%s\nallow = read\n",
                       i == 0 ? first : name, i == 0 ? first : name);
    }
}

static void a_caller_whose_socket_waits_for_a_restart_has_nobody_elses(void **state)
{
    struct config_reload_report report;
    struct buf text;

    (void)state;
    auto_scratch struct scratch s = scratch_new();
    buf_init(&text, 1 << 16);
    many_callers(&text, "before");
    const char *path = scratch_write(&s, buf_text(&text), buf_unread(&text), 0600);
    struct config *running = load_from(path);

    many_callers(&text, "after");
    rewrite(path, buf_text(&text));
    config_reload_report_init(&report);
    struct config *c = config_reload(running, NULL, &report);
    assert_non_null(c);
    const struct callers *all = &c->rules->callers;

    assert_int_equal(all->count, CONFIG_NAMED_MAX);
    assert_string_equal(all->caller[0].name, "after");
    for (size_t i = 1; i < all->count; i++)
        assert_true((all->caller[0].listeners & all->caller[i].listeners) == 0);
    assert_true((all->caller[0].listeners & all->owned) == 0);
    config_reload_report_done(&report);
    config_unref(c);
    config_unref(running);
    buf_done(&text);
}

static void only_changed_secrets_are_named_as_changed(void **state)
{
    struct buf out;

    (void)state;
    auto_result struct result a = load("[token]\nclient_id = i\nclient_secret = one\n");
    auto_result struct result b = load("[token]\nclient_id = i\nclient_secret = one\n");
    auto_result struct result c = load("[token]\nclient_id = i\nclient_secret = two\n");

    buf_init(&out, 1000);
    assert_int_equal(config_changes(a.config, b.config, &out), 0);
    assert_string_equal(buf_text(&out), "");
    assert_int_equal(config_changes(a.config, c.config, &out), 0);
    assert_string_equal(buf_text(&out), "token.client_secret");
    buf_done(&out);
}

static void keys_that_need_a_restart_are_named(void **state)
{
    struct buf out;

    (void)state;
    auto_result struct result a = load(CREDENTIALS);
    auto_result struct result b =
        load(CREDENTIALS "timeout = 3s\nscope = other\n[log]\nlevel = debug\n"
                         "[upstream]\nbase_url = https://other.example\n");
    auto_result struct result c =
        load(CREDENTIALS "[listen]\naddress = 127.0.0.1:1\n[process]\nworkers = 2\n");

    buf_init(&out, 1000);
    assert_int_equal(config_needs_restart(a.config, a.config, &out), 0);
    assert_int_equal(config_needs_restart(a.config, b.config, &out), 0);
    assert_string_equal(buf_text(&out), "");
    assert_int_equal(config_needs_restart(a.config, c.config, &out), 0);
    assert_string_equal(buf_text(&out), "listen.address, process.workers");
    buf_done(&out);
    buf_init(&out, 3);
    assert_int_equal(config_needs_restart(a.config, c.config, &out), -EMSGSIZE);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(credentials_are_all_that_is_needed),
        cmocka_unit_test(the_last_reference_frees_the_snapshot),
        cmocka_unit_test(without_credentials_both_are_asked_for),
        cmocka_unit_test(secrets_arrive_whole),
        cmocka_unit_test(no_error_shows_a_secret),
        cmocka_unit_test(a_reload_keeps_what_needs_a_restart_and_names_it),
        cmocka_unit_test(a_reload_with_a_bad_restart_key_is_refused),
        cmocka_unit_test(a_caller_whose_socket_waits_for_a_restart_has_nobody_elses),
        cmocka_unit_test(only_changed_secrets_are_named_as_changed),
        cmocka_unit_test(keys_that_need_a_restart_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

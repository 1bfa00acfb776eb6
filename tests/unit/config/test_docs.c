/* docs.c: printing the settings, those in effect and the reference. */
#include <errno.h>

#include "config/config_case.h"

static void what_is_printed_loads_again_to_the_same(void **state)
{
    struct buf first, second;

    (void)state;
    auto_result struct result r = load(
        CREDENTIALS
        "scope = a b; c # d\nrefresh_before = 90s\nretry_min = 1500ms\nrefused_status = 502\n"
        "proxy = socks5://h:1\nurl = {base_url}/x\n"
        "[listen]\naddress = 127.0.0.1:0, unix:/run/p.sock, proxy.example:81\n"
        "socket_mode = 660\nallowed_origins = https://a, https://b:1\n"
        "max_header_size = 200000\nidle_timeout = 90m\nmax_body_size = 3g\n"
        "[upstream]\nbase_url = HTTPS://A.b:443/v1/\nhttp_version = auto\n"
        "token_refused_statuses = 401,403\nreplay_limit = 0\n"
        "[process]\nworkers = 7\ndrain_delay = 5s\n");
    buf_init(&first, 1 << 20);
    buf_init(&second, 1 << 20);
    assert_loads(r);
    assert_int_equal(config_print(r.config, &first), 0);

    auto_result struct result again = load(buf_text(&first));
    assert_loads(again);
    assert_int_equal(config_print(again.config, &second), 0);
    assert_string_equal(buf_text(&first), buf_text(&second));
    assert_says(first, "\nmax_header_size = 200000\n");
    assert_says(first, "\nidle_timeout = 90m\n");
    assert_says(first, "\nretry_min = 1500ms\n");
    assert_says(first, "\nsocket_mode = 0660\n");
    assert_says(first, "\nscope = a b; c # d\n");
    assert_says(first, "\nurl = https://a.b/v1/x\n");
    assert_says(first, "\n#audience =\n");
    assert_string_equal(again.config->token.scope, "a b; c # d");
    buf_done(&first);
    buf_done(&second);
}

static void secrets_are_printed_as_stars(void **state)
{
    struct buf out;

    (void)state;
    auto_result struct result r =
        load("[token]\nclient_id = shown\nclient_secret = CANARY\nproxy = "
             "http://user:CANARY@h:1\n[upstream]\nproxy = https://CANARY:CANARY%40p@h:2/\n"
             "[listen]\nrequire_header = X-Key: CANARY\n");
    buf_init(&out, 1 << 20);
    assert_loads(r);
    assert_int_equal(config_print(r.config, &out), 0);
    assert_null(strstr(buf_text(&out), "CANARY"));
    assert_null(strstr(buf_text(&out), "user"));
    assert_says(out, "\nclient_id = shown\n");
    assert_says(out, "\nclient_secret = ******\n");
    assert_says(out, "\nrequire_header = X-Key: ******\n");
    assert_says(out, "\nproxy = http://******@h:1\n");
    assert_says(out, "\nproxy = https://******@h:2/\n");

    auto_result struct result again = load(buf_text(&out));
    assert_loads(again);
    buf_done(&out);
}

static void credentials_from_files_are_printed_as_their_files(void **state)
{
    char text[512], line[256];
    struct buf out;

    (void)state;
    auto_scratch struct scratch s = scratch_new();
    const char *path = scratch_write(&s, "CANARY", 6, 0600);

    (void)snprintf(text, sizeof text, "[token]\nclient_id_file = %s\nclient_secret_file = %s\n",
                   path, path);
    auto_result struct result r = load(text);
    assert_loads(r);
    buf_init(&out, 1 << 20);
    assert_int_equal(config_print(r.config, &out), 0);
    (void)snprintf(line, sizeof line,
                   "\n#client_id =\nclient_id_file = %s\n#client_secret =\n"
                   "client_secret_file = %s\n",
                   path, path);
    assert_says(out, line);
    auto_result struct result again = load(buf_text(&out));
    assert_loads(again);
    buf_done(&out);
}

static void the_reference_file_is_the_one_that_ships(void **state)
{
    char why[256] = "";
    size_t len = 0;
    struct buf out;

    (void)state;
    char *file =
        config_file_read(SOURCE_DIR "/conf/oneshot-proxy.ini", 1 << 20, &len, why, sizeof why);
    buf_init(&out, 1 << 20);
    assert_int_equal(config_print_reference(&out), 0);
    assert_non_null(file);
    if (strcmp(file, buf_text(&out)) != 0)
        fail_msg("conf/oneshot-proxy.ini is not what the table says; write it again with "
                 "oneshot-proxy --print-reference");
    config_file_free(file, len);
    buf_done(&out);
}

/* Every setting of the reference, switched on, is the default. */
static void the_reference_shows_the_defaults(void **state)
{
    struct buf reference, active, a, b;

    (void)state;
    buf_init(&reference, 1 << 20);
    buf_init(&active, 1 << 20);
    buf_init(&a, 1 << 20);
    buf_init(&b, 1 << 20);
    assert_int_equal(config_print_reference(&reference), 0);
    size_t settings = 0;
    for (const char *p = buf_text(&reference); *p != '\0';) {
        size_t len = strcspn(p, "\n");

        if (strncmp(p, "#[", 2) == 0) /* a named section is an example */
            break;
        if (p[0] == '[' || (p[0] == '#' && p[1] != ' ' && len > 1)) {
            bool off = p[0] == '#' && p[len - 1] == '=';
            settings += p[0] == '#';
            assert_int_equal(buf_addf(&active, "%s%.*s\n", off ? "#" : "",
                                      (int)(p[0] == '#' ? len - 1 : len), p + (p[0] == '#')),
                             0);
        }
        assert_true(len <= 90);
        p += len + 1;
    }
    assert_int_equal(settings, config_single_count());
    assert_int_equal(buf_add_str(&active, CREDENTIALS), 0);

    auto_result struct result defaults = load(CREDENTIALS);
    auto_result struct result shown = load(buf_text(&active));
    assert_loads(defaults);
    assert_loads(shown);
    assert_int_equal(config_print(defaults.config, &a), 0);
    assert_int_equal(config_print(shown.config, &b), 0);
    assert_string_equal(buf_text(&a), buf_text(&b));
    buf_done(&reference);
    buf_done(&active);
    buf_done(&a);
    buf_done(&b);
}

static void each_document_names_each_key(void **state)
{
    int (*const print[])(struct buf *) = { config_print_reference, config_print_markdown,
                                           config_print_man };

    (void)state;
    for (size_t d = 0; d < ARRAY_LEN(print); d++) {
        struct buf out;

        buf_init(&out, 1 << 20);
        assert_int_equal(print[d](&out), 0);
        for (size_t i = 0; i < config_key_count; i++)
            assert_says(out, config_keys[i].name);
        buf_done(&out);
        buf_init(&out, 100);
        assert_int_equal(print[d](&out), -EMSGSIZE);
        buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_printed_loads_again_to_the_same),
        cmocka_unit_test(secrets_are_printed_as_stars),
        cmocka_unit_test(credentials_from_files_are_printed_as_their_files),
        cmocka_unit_test(the_reference_file_is_the_one_that_ships),
        cmocka_unit_test(the_reference_shows_the_defaults),
        cmocka_unit_test(each_document_names_each_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

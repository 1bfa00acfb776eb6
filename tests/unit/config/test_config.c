/* Loading: the file and its traps, the environment, what is said about errors. */
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

static void every_error_is_reported_with_its_line(void **state)
{
    (void)state;
    auto_result struct result r = load("[listen]\n"          /* 1 */
                                       "adress = 1\n"        /* 2 */
                                       "max_headers = 0\n"   /* 3 */
                                       "[tokn]\n"            /* 4 */
                                       "client_id = a\n"     /* 5: passed over */
                                       "[token]\n"           /* 6 */
                                       "client_id = a\n"     /* 7 */
                                       "client_secret = b\n" /* 8 */
                                       "client_id = c\n"     /* 9 */
                                       "junk\n"              /* 10 */
                                       "timeout = 5\n"       /* 11 */
                                       "[log\n"              /* 12 */
                                       "level = x\n"         /* 13: passed over */
                                       "[log] ; why\n"       /* 14 */
                                       "[upstream]\n"        /* 15 */
                                       "base_url = ftp://x\n" /* 16 */);

    assert_refuses(r, "t.ini:2: unknown key \"adress\" in [listen]; did you mean address?\n");
    assert_refuses(r,
                   "t.ini:3: listen.max_headers: \"0\" is out of range; allowed: 1 to 1000\n");
    assert_refuses(r, "t.ini:4: unknown section \"tokn\"; did you mean [token]?\n");
    assert_refuses(r, "t.ini:9: token.client_id: is given twice; first on line 7\n");
    assert_refuses(r, "t.ini:10: the line is neither");
    assert_refuses(r, "t.ini:11: token.timeout: \"5\" has no unit; allowed: 1ms to 1h");
    assert_refuses(r, "t.ini:12: the section header has no ']'\n");
    assert_refuses(r, "t.ini:14: there is text after ']'");
    assert_refuses(r, "t.ini:16: upstream.base_url: is neither https:// nor http://");
    assert_int_equal(count_lines(&r.errors), 9);
}

static void a_misspelt_key_gets_did_you_mean(void **state)
{
    static const struct {
        const char *section, *key, *hint;
    } cases[] = {
        { "token", "client_sceret", "did you mean client_secret?" },
        { "token", "Client_ID", "did you mean client_id?" },
        { "listen", "max_conections", "did you mean max_connections?" },
        { "log", "lvel", "did you mean level?" },
        { "listen", "tls_cert", "did you mean tls_certificate?" },
        { "listen", "port", "did you mean address?" },
        { "listen", "host", "did you mean address?" },
        { "admin", "listen", "did you mean address?" },
        { "upstream", "url", "did you mean base_url?" },
        { "token", "secret", "did you mean client_secret?" },
        { "token", "secret_file", "did you mean client_secret_file?" },
        { "upstream", "baseurl", "did you mean base_url?" },
        { "token", "max_in_flight", "did you mean max_in_flight of [upstream]?" },
        { "log", "completely_different", "[log] has level, format, access" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_result struct result r = load_one(cases[i].section, cases[i].key, "1");
        assert_refuses(r, cases[i].hint);
        assert_int_equal(count_lines(&r.errors), 1);
    }
}

static void a_misspelt_section_gets_did_you_mean(void **state)
{
    (void)state;
    auto_result struct result near = load(CREDENTIALS "[upsteram]\n");
    auto_result struct result blank = load(CREDENTIALS "[ listen ]\n");
    auto_result struct result far = load(CREDENTIALS "[database]\n");
    auto_result struct result long_name =
        load(CREDENTIALS "[a-section-name-that-is-longer-than-what-the-library-keeps-of-it]\n");

    assert_refuses(near, "did you mean [upstream]?");
    assert_refuses(blank, "did you mean [listen]?");
    assert_refuses(far, "there are [listen], [upstream], [token], [admin], [log], [process]");
    assert_refuses(long_name, "t.ini:4: unknown section");
}

static void a_key_before_the_first_section_is_refused(void **state)
{
    (void)state;
    auto_result struct result r = load("client_id = x\n" CREDENTIALS);

    assert_refuses(r, "t.ini:1: \"client_id\" stands before the first [section]");
}

static void a_key_given_twice_in_two_parts_of_a_section_is_refused(void **state)
{
    (void)state;
    auto_result struct result r =
        load(CREDENTIALS "[log]\nlevel = warn\n[token]\nclient_secret = other\n");

    assert_refuses(r, "t.ini:7: token.client_secret: is given twice; first on line 3");
}

static void an_indented_line_never_replaces_the_value_above(void **state)
{
    (void)state;
    auto_result struct result r = load(CREDENTIALS "  more\n\ttimeout = 5s\n [log]\n");

    assert_refuses(r, "t.ini:4: the line is indented");
    assert_refuses(r, "t.ini:5: the line is indented");
    assert_refuses(r, "t.ini:6: the line is indented");
}

static void comments_and_blank_lines_are_passed_over(void **state)
{
    (void)state;
    auto_result struct result r =
        load("# one\n; two\n   # three\n \t \n\n" CREDENTIALS "#timeout = x\n");

    assert_loads(r);
}

static void a_colon_does_not_stand_for_an_equals_sign(void **state)
{
    (void)state;
    auto_result struct result colon = load("[token]\nclient_id = a\nclient_secret: b=\n");

    assert_refuses(colon, "t.ini:3: the line is neither");
}

static void crlf_bom_and_a_missing_last_line_end_are_accepted(void **state)
{
    (void)state;
    auto_result struct result r = load("\xEF\xBB\xBF[token]\r\nclient_id = a\r\n\r\n"
                                       "client_secret = last");

    assert_loads(r);
    assert_string_equal(r.config->token.client_id, "a");
    assert_string_equal(secret_text(r.config->token.client_secret), "last");
}

static void a_file_that_is_not_text_is_one_error(void **state)
{
    static const char nul[] = "[token]\nclient_id = a\0b\nclient_secret = c\n";

    (void)state;
    auto_result struct result r = load_bytes(nul, sizeof nul - 1);
    auto_result struct result cr = load("[token]\nclient_id = a\rb\nclient_secret = c\n");
    auto_result struct result utf16 = load_bytes("\xFF\xFE[\0t\0]\0\n\0", 10);

    auto_result struct result binary = load_bytes("\x7f"
                                                  "ELF\2\1\1\n\0x\ny\n[z\n \0",
                                                  18);

    assert_refuses(r,
                   "t.ini:2: the file is not plain text (UTF-8): the line has a control byte, "
                   "0x00; nothing in the file was read");
    assert_refuses(cr,
                   "t.ini:2: the file is not plain text (UTF-8): the line has a control byte, "
                   "0x0d");
    assert_refuses(utf16, "t.ini:1: the file is not plain text");
    assert_refuses(binary, "t.ini:1: the file is not plain text");
    assert_int_equal(count_lines(&r.errors), 1);
    assert_int_equal(count_lines(&cr.errors), 1);
    assert_int_equal(count_lines(&utf16.errors), 1);
    assert_int_equal(count_lines(&binary.errors), 1);
}

static void a_line_may_be_8_kib_and_no_longer(void **state)
{
    char text[9000];
    int head = snprintf(text, sizeof text, "[token]\nclient_id = id\nclient_secret = ");
    size_t value = 8192 - strlen("client_secret = ");

    (void)state;
    memset(text + head, 'x', value + 1);
    auto_result struct result fits = load_bytes(text, (size_t)head + value);
    auto_result struct result too_long = load_bytes(text, (size_t)head + value + 1);

    assert_loads(fits);
    assert_int_equal(secret_len(fits.config->token.client_secret), value);
    assert_refuses(too_long, "t.ini:3: the line is too long; at most 8192 bytes");
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

static void quotes_around_a_value_are_kept_and_warned_about(void **state)
{
    (void)state;
    auto_result struct result r = load("[token]\nclient_id = id\nclient_secret = \"a\"\n");

    assert_loads(r);
    assert_says(r.warnings, "t.ini:3: token.client_secret: the quotes around it");
    assert_null(strstr(buf_text(&r.warnings), "\"a\""));
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

static void a_file_that_cannot_be_read_is_one_error(void **state)
{
    (void)state;
    auto_scratch struct scratch s = scratch_new();
    auto_free char *large = malloc(CONFIG_FILE_MAX + 1);
    auto_result struct result directory = load_file(s.dir);
    auto_result struct result missing = load_file("/nowhere/x.ini");
    auto_result struct result device = load_file("/dev/null");

    assert_non_null(large);
    memset(large, '\n', CONFIG_FILE_MAX + 1);
    auto_result struct result fits = load_file(scratch_write(&s, large, CONFIG_FILE_MAX, 0600));
    auto_result struct result too_large =
        load_file(scratch_write(&s, large, CONFIG_FILE_MAX + 1, 0600));

    assert_refuses(directory, ": cannot be read: Is a directory\n");
    assert_int_equal(count_lines(&directory.errors), 1);
    assert_refuses(missing, "/nowhere/x.ini: cannot be read: No such file");
    assert_int_equal(count_lines(&missing.errors), 1);
    assert_refuses(device, "/dev/null: cannot be read: it is not a regular file");
    assert_refuses(fits, "client_id: is required");
    assert_refuses(too_large, "is too large; at most 1048576 bytes");
}

static void a_file_is_named_in_its_errors(void **state)
{
    (void)state;
    static const char text[] = CREDENTIALS "bad = 1\n";
    auto_scratch struct scratch s = scratch_new();
    const char *path = scratch_write(&s, text, sizeof text - 1, 0600);
    char expected[256];
    auto_result struct result r = load_file(path);

    (void)snprintf(expected, sizeof expected, "%s:4: unknown key", path);
    assert_refuses(r, expected);
}

/* --- the environment --- */

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

static void what_is_beyond_the_first_thousand_messages_is_counted(void **state)
{
    static char text[4 * 1200 + 1];

    (void)state;
    for (size_t i = 0; i < 1200; i++)
        memcpy(text + 4 * i, "xyz\n", 5);
    auto_result struct result r = load(text);

    assert_refuses(r, "t.ini:1000: the line is neither");
    assert_refuses(r, "202 more messages are not shown"); /* two for the credentials */
    assert_int_equal(r.report.errors, 1202);
}

static void messages_are_marked_and_come_in_the_order_of_the_lines(void **state)
{
    struct buf out;

    (void)state;
    auto_result struct result r = load("[process]\n"               /* 1 */
                                       "drain_delay = 2m\n"        /* 2: found last of all */
                                       "[admin]\n"                 /* 3 */
                                       "address = 0.0.0.0:1\n"     /* 4: a warning */
                                       "[listen]\n"                /* 5 */
                                       "max_headers = 0\n"         /* 6: found first */
                                       "address = 0.0.0.0:2 # x\n" /* 7 */
                                       "[token]\n"                 /* 8 */
                                       "client_id = \"id\"\n" /* 9: a warning */);

    buf_init(&out, 10000);
    assert_int_equal(config_report_print(&r.report, &out), 0);
    const char *at = buf_text(&out);
    static const char *const lines[] = {
        "t.ini:2: error: process.drain_delay: ",
        "t.ini:4: warning: admin.address: ",
        "t.ini:6: error: listen.max_headers: ",
        "t.ini:7: warning: listen.address: ",
        "t.ini:7: error: listen.address: ",
        "t.ini:9: warning: token.client_id: ",
        "t.ini: error: token.client_secret: is required",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        if (strncmp(at, lines[i], strlen(lines[i])) != 0)
            fail_msg("line %zu is not \"%s\" but:\n%s", i, lines[i], at);
        at = strchr(at, '\n') + 1;
    }
    assert_string_equal(at, "");
    buf_done(&out);
}

static void a_comment_behind_a_value_is_warned_about(void **state)
{
    (void)state;
    auto_result struct result r =
        load("[token]\nclient_id = abc # my id\nclient_secret = d ; e\n");
    auto_result struct result quiet =
        load("[token]\nclient_id = abc#d;e\nclient_secret = #;\n");

    assert_loads(r);
    assert_string_equal(r.config->token.client_id, "abc # my id");
    assert_says(r.warnings,
                "t.ini:2: token.client_id: \" #\" and what follows are taken as part");
    assert_says(r.warnings, "t.ini:3: token.client_secret: \" ;\" and what follows");
    assert_loads(quiet);
    assert_int_equal(count_lines(&quiet.warnings), 0);
}

static void the_placeholder_of_an_example_is_warned_about(void **state)
{
    static const char *const values[] = { "your-client-id", "YOUR-CLIENT-ID", "CHANGE-ME",
                                          "changeme", "<client id>" };
    static const char *const quiet[] = { "yours", "a<b>", "exchange-merchant" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        char text[256];

        (void)snprintf(text, sizeof text, "[token]\nclient_id = %s\nclient_secret = %s\n",
                       values[i], values[i]);
        auto_result struct result r = load(text);
        assert_loads(r);
        assert_says(r.warnings, "t.ini:2: token.client_id: looks like the placeholder");
        assert_says(r.warnings, "t.ini:3: token.client_secret: looks like the placeholder");
        assert_null(strstr(buf_text(&r.warnings), values[i]));
    }
    for (size_t i = 0; i < 2; i++) {
        auto_result struct result r = load_one("token", "scope", quiet[i]);
        assert_int_equal(count_lines(&r.warnings), 0);
    }
    auto_result struct result header = load_one("listen", "require_header", "X-Key: CHANGE-ME");
    assert_says(header.warnings, "listen.require_header: looks like the placeholder");
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

static void a_blank_at_an_end_of_a_secret_is_a_warning(void **state)
{
    (void)state;
    auto_scratch struct scratch s = scratch_new();
    char text[512];
    const char *path = scratch_write(&s, " secret\n", 8, 0600);
    auto_result struct result r =
        load_env(NULL, (const char *[]){ "ONESHOT_PROXY_TOKEN_CLIENT_ID=i",
                                         "ONESHOT_PROXY_TOKEN_CLIENT_SECRET=s ", NULL });

    (void)snprintf(text, sizeof text, "[token]\nclient_id = a\nclient_secret_file = %s\n",
                   path);
    auto_result struct result in_file = load(text);
    assert_loads(r);
    assert_string_equal(secret_text(r.config->token.client_secret), "s ");
    assert_says(r.warnings,
                "ONESHOT_PROXY_TOKEN_CLIENT_SECRET: token.client_secret: has a blank "
                "at its end");
    assert_loads(in_file);
    assert_says(in_file.warnings,
                "t.ini:3: token.client_secret_file: has a blank at its beginning");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(credentials_are_all_that_is_needed),
        cmocka_unit_test(the_last_reference_frees_the_snapshot),
        cmocka_unit_test(without_credentials_both_are_asked_for),
        cmocka_unit_test(every_error_is_reported_with_its_line),
        cmocka_unit_test(a_misspelt_key_gets_did_you_mean),
        cmocka_unit_test(a_misspelt_section_gets_did_you_mean),
        cmocka_unit_test(a_key_before_the_first_section_is_refused),
        cmocka_unit_test(a_key_given_twice_in_two_parts_of_a_section_is_refused),
        cmocka_unit_test(an_indented_line_never_replaces_the_value_above),
        cmocka_unit_test(comments_and_blank_lines_are_passed_over),
        cmocka_unit_test(a_colon_does_not_stand_for_an_equals_sign),
        cmocka_unit_test(crlf_bom_and_a_missing_last_line_end_are_accepted),
        cmocka_unit_test(a_file_that_is_not_text_is_one_error),
        cmocka_unit_test(a_line_may_be_8_kib_and_no_longer),
        cmocka_unit_test(secrets_arrive_whole),
        cmocka_unit_test(quotes_around_a_value_are_kept_and_warned_about),
        cmocka_unit_test(no_error_shows_a_secret),
        cmocka_unit_test(a_file_that_cannot_be_read_is_one_error),
        cmocka_unit_test(a_file_is_named_in_its_errors),
        cmocka_unit_test(the_environment_alone_is_enough),
        cmocka_unit_test(the_environment_wins_over_the_file),
        cmocka_unit_test(errors_in_the_environment_name_the_variable),
        cmocka_unit_test(an_empty_required_variable_is_an_error),
        cmocka_unit_test(the_variables_of_a_kubernetes_service_are_passed_over),
        cmocka_unit_test(what_may_be_secret_is_scrubbed_from_the_environment),
        cmocka_unit_test(what_is_beyond_the_first_thousand_messages_is_counted),
        cmocka_unit_test(messages_are_marked_and_come_in_the_order_of_the_lines),
        cmocka_unit_test(a_comment_behind_a_value_is_warned_about),
        cmocka_unit_test(the_placeholder_of_an_example_is_warned_about),
        cmocka_unit_test(a_control_byte_in_a_secret_is_an_error_that_names_it),
        cmocka_unit_test(a_blank_at_an_end_of_a_secret_is_a_warning),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The command line and the configuration, as users see them. Rows: tests/hostile/README.md. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"

/* An ini file for the time of one test. */
struct ini {
    char path[64];
};

static void ini_write(struct ini *f, const char *text)
{
    (void)snprintf(f->path, sizeof f->path, "%s", "/tmp/oneshot-cli-XXXXXX");
    int fd = mkstemp(f->path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
}

static struct run run_with(const char *command, const char *path, const char *const *env)
{
    const char *argv[] = { command, "--config", path, NULL };
    return run_proxy(argv, env);
}

#define CREDENTIALS "[token]\nclient_id = " CLIENT_ID "\nclient_secret = " CLIENT_SECRET "\n"

static void version_and_help_are_told(void **state)
{
    (void)state;
    const char *version[] = { "--version", NULL }, *help[] = { "--help", NULL };
    struct run r = run_proxy(version, NULL);
    assert_int_equal(r.code, 0);
    assert_contains(bytes_text(&r.out), "oneshot-proxy ");
    run_free(&r);
    r = run_proxy(help, NULL);
    assert_int_equal(r.code, 0);
    static const char *const words[] = { "--config", "--check", "--print-config", "--version",
                                         "--help" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        assert_contains(bytes_text(&r.out), words[i]);
    run_free(&r);
}

/* However help is asked for, it is given, and nothing else is done. */
static void help_is_given_in_place_of_all_else(void **state)
{
    (void)state;
    static const char *const lines[][4] = {
        { "-h", NULL },
        { "help", NULL },
        { "doctor", "--help", NULL },
        { "healthcheck", "--help", NULL },
        { "doctor", "-h", NULL },
        { "--check", "--help", NULL },
        { "help", "doctor", NULL },
        { "--config", "/nonexistent", "--help", NULL },
    };
    static const char *const versions[][2] = { { "-V", NULL }, { "version", NULL } };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct run r = run_proxy(lines[i], NULL);
        if (r.code != 0)
            fail_msg("%s left with %d: %s", lines[i][0], r.code, bytes_text(&r.err));
        assert_contains(bytes_text(&r.out), "usage: oneshot-proxy ");
        assert_int_equal(r.err.len, 0);
        run_free(&r);
    }
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        struct run r = run_proxy(versions[i], NULL);
        assert_int_equal(r.code, 0);
        assert_true(strncmp(bytes_text(&r.out), "oneshot-proxy ", 14) == 0);
        run_free(&r);
    }
}

/* The package's file has the client id only: the secret is a credential of the unit. */
static void settings_of_a_systemd_unit_are_checked_without_systemd(void **state)
{
    (void)state;
    struct ini file, secret;
    char dir[] = "/tmp/oneshot-units-XXXXXX", path[96], text[512], variable[96];
    ini_write(&file, "[token]\nclient_id = " CLIENT_ID "\n");
    ini_write(&secret, CLIENT_SECRET "\n");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/gateway.service", dir);
    (void)snprintf(text, sizeof text,
                   "[Service]\nExecStart=/usr/bin/oneshot-proxy --config %s\n"
                   "LoadCredential=client_secret:%s\n"
                   "Environment=ONESHOT_PROXY_TOKEN_CLIENT_SECRET_FILE=%%d/client_secret\n"
                   "Environment=ONESHOT_PROXY_LISTEN_ADDRESS=127.0.0.1:4711\n",
                   file.path, secret.path);
    write_file(path, text);
    (void)snprintf(variable, sizeof variable, "SYSTEMD_UNIT_PATH=%s", dir);
    /* what the service does not see does not count */
    const char *const env[] = { variable, "ONESHOT_PROXY_LISTEN_ADDRESS=nonsense", NULL };
    const char *const lines[][4] = { { "--check", "--unit", "gateway", NULL },
                                     { "--check", "--unit=gateway.service", NULL } };
    for (size_t i = 0; i < 2; i++) {
        struct run r = run_proxy(lines[i], env);
        if (r.code != 0)
            fail_msg("%s", bytes_text(&r.err));
        assert_contains(bytes_text(&r.out), ": ok\n");
        run_free(&r);
    }
    const char *const print[] = { "--print-config", "--unit", "gateway", NULL };
    struct run r = run_proxy(print, env);
    assert_int_equal(r.code, 0);
    assert_contains(bytes_text(&r.out), "\naddress = 127.0.0.1:4711\n");
    assert_lacks(bytes_text(&r.out), CANARY);
    run_free(&r);
    const char *const without[] = { "--check", "--config", file.path, NULL };
    r = run_proxy(without, NULL);
    assert_int_equal(r.code, 1);
    run_free(&r);
    const char *const missing[] = { "doctor", "--unit", NULL };
    r = run_proxy(missing, env);
    assert_int_equal(r.code, 1);
    assert_contains(bytes_text(&r.err), "there is no unit oneshot-proxy.service in ");
    run_free(&r);
    const char *const wrong[][5] = { { "--unit", NULL },
                                     { "doctor", "--unit", "gateway", "more", NULL },
                                     { "doctor", "--unit", "--config", "x", NULL } };
    for (size_t i = 0; i < 3; i++) {
        r = run_proxy(wrong[i], env);
        assert_int_equal(r.code, 2);
        run_free(&r);
    }
    (void)unlink(path);
    (void)rmdir(dir);
    (void)unlink(file.path);
    (void)unlink(secret.path);
}

/* A unit of the default name, without any credentials. */
struct default_unit {
    char dir[32], path[64], variable[64];
    struct ini file;
};

static void default_unit_write(struct default_unit *u, const char *environment)
{
    char text[512];

    memcpy(u->dir, "/tmp/oneshot-units-XXXXXX", sizeof "/tmp/oneshot-units-XXXXXX");
    assert_non_null(mkdtemp(u->dir));
    ini_write(&u->file, "[upstream]\nbase_url = http://127.0.0.1:1/v0\n[token]\n"
                        "client_id = " CLIENT_ID "\nclient_secret = " CLIENT_SECRET "\n"
                        "[classes]\ntable = methods\n[caller ledger]\naddress = "
                        "unix:/tmp/oneshot-none\nallow = read\n");
    (void)snprintf(u->path, sizeof u->path, "%s/oneshot-proxy.service", u->dir);
    (void)snprintf(text, sizeof text,
                   "[Service]\nExecStart=/usr/bin/oneshot-proxy --config %s\n"
                   "Environment=\"%s\"\n",
                   u->file.path, environment);
    write_file(u->path, text);
    (void)snprintf(u->variable, sizeof u->variable, "SYSTEMD_UNIT_PATH=%s", u->dir);
}

static void default_unit_remove(struct default_unit *u)
{
    (void)unlink(u->path);
    (void)rmdir(u->dir);
    (void)unlink(u->file.path);
}

/* The service takes such variables out of its environment; so does a command with its
 * settings. libcurl opens the file of SSLKEYLOGFILE when it starts. */
static void variables_of_a_unit_that_would_weaken_tls_are_not_obeyed(void **state)
{
    static const char keys[] = "/tmp/oneshot-keys";
    struct default_unit u;
    char log[64], setting[96];

    (void)state;
    (void)snprintf(log, sizeof log, "%s-%d", keys, (int)getpid());
    (void)snprintf(setting, sizeof setting, "SSLKEYLOGFILE=%s", log);
    default_unit_write(&u, setting);
    const char *const env[] = { u.variable, NULL };
    const char *const line[] = { "doctor", "--unit", NULL };
    struct run r = run_proxy(line, env);

    assert_contains(bytes_text(&r.out), "configuration   ok");
    assert_int_not_equal(access(log, F_OK), 0);
    run_free(&r);
    default_unit_remove(&u);
}

/* --unit has an optional value, and explain has words of its own. */
static void explain_tells_the_name_of_a_unit_from_a_method(void **state)
{
    struct default_unit u;

    (void)state;
    default_unit_write(&u, "A=1");
    const char *const env[] = { u.variable, NULL };
    const char *const lines[][8] = {
        { "explain", "--caller", "ledger", "--unit", "GET", "/chains", NULL },
        { "explain", "--caller", "ledger", "GET", "/chains", "--unit", NULL },
        { "explain", "--caller", "ledger", "--unit", "oneshot-proxy", "GET", "/chains", NULL },
        { "explain", "--caller", "ledger", "--unit", "oneshot-proxy", NULL },
        { "explain", "--caller", "ledger", "--unit", NULL },
        { "--caller", "ledger", "explain", "--unit", "GET", "/chains", NULL },
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct run r = run_proxy(lines[i], env);

        if (r.code != 0)
            fail_msg("line %zu left with %d: %s", i, r.code, bytes_text(&r.err));
        assert_contains(bytes_text(&r.out), "sent");
        run_free(&r);
    }
    default_unit_remove(&u);
}

static void a_wrong_command_line_is_2(void **state)
{
    (void)state;
    const char *lines[][4] = { { "--confg", "x", NULL },
                               { "--config", NULL },
                               { "frobnicate", NULL },
                               { "--check", "--config", NULL } };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct run r = run_proxy(lines[i], NULL);
        if (r.code != 2)
            fail_msg("%s left with %d: %s", lines[i][0], r.code, bytes_text(&r.err));
        assert_true(r.err.len > 0);
        assert_int_equal(r.out.len, 0);
        run_free(&r);
    }
}

static void a_sound_file_passes_the_check(void **state)
{
    (void)state;
    struct ini f;
    ini_write(&f, "# a comment\n; another\n[upstream]\nconnect_timeout = 250ms\n" CREDENTIALS);
    struct run r = run_with("--check", f.path, NULL);
    if (r.code != 0)
        fail_msg("%d: %s", r.code, bytes_text(&r.err));
    run_free(&r);
    (void)unlink(f.path);
}

static void fewer_connections_than_workers_are_warned_about_with_http2(void **state)
{
    static const struct {
        const char *settings;
        bool warned;
    } cases[] = {
        { "max_connections = 3\nhttp_version = 2\n[process]\nworkers = 4\n", true },
        { "max_connections = 3\nhttp_version = auto\n[process]\nworkers = 4\n", true },
        { "max_connections = 4\nhttp_version = 2\n[process]\nworkers = 4\n", false },
        { "max_connections = 3\n[process]\nworkers = 4\n", false },
        /* auto: one for each CPU */
        { "max_connections = 65536\nhttp_version = 2\n", false },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ini f;
        char text[512];
        (void)snprintf(text, sizeof text, "[upstream]\n%s" CREDENTIALS, cases[i].settings);
        ini_write(&f, text);
        struct run r = run_with("--check", f.path, NULL);
        assert_int_equal(r.code, 0);
        if (cases[i].warned)
            assert_contains(bytes_text(&r.err),
                            ":2: warning: upstream.max_connections: is less than the number of "
                            "workers (3, 4): with HTTP/2 ");
        else
            assert_lacks(bytes_text(&r.err), "max_connections");
        run_free(&r);
        (void)unlink(f.path);
    }
}

/* A settings file is loaded exactly as written, or refused with the line of each error.
 * (row 80) */
static void the_check_names_every_error_with_its_line_and_key(void **state)
{
    (void)state;
    struct ini f;
    ini_write(&f, "[listen]\n"                         /* 1 */
                  "adress = 127.0.0.1:0\n"             /* 2 */
                  "max_headers = 0\n"                  /* 3 */
                  "idle_timeout = soon\n"              /* 4 */
                  "[upstrem]\n"                        /* 5 */
                  "base_url = http://x/\n"             /* 6 */
                  "[upstream]\n"                       /* 7 */
                  "base_url = http://api.example/v0\n" /* 8: plain http, not loopback */
                  "http_version = 3\n"                 /* 9 */
                  "http_version = 2\n"                 /* 10 */
                  "[token]\n"                          /* 11 */
                  "client_id = x\n"                    /* 12 */
                  "client_secret = " CLIENT_SECRET "\n"
                  "auth_style = post\n"        /* 14 */
                  "refresh_before = 200%\n"    /* 15 */
                  "local_endpoint = maybe\n"); /* 16 */
    struct run r = run_with("--check", f.path, NULL);
    assert_int_equal(r.code, 1);
    struct bytes said = { 0 };
    bytes_add(&said, bytes_text(&r.out), r.out.len);
    bytes_add(&said, bytes_text(&r.err), r.err.len);
    static const struct {
        int line;
        const char *word;
    } wanted[] = { { 2, "\"adress\"" },
                   { 2, "did you mean" },
                   { 3, "listen.max_headers" },
                   { 4, "listen.idle_timeout" },
                   { 8, "upstream.base_url" },
                   { 9, "upstream.http_version" },
                   { 10, "upstream.http_version" },
                   { 14, "token.auth_style" },
                   { 15, "token.refresh_before" },
                   { 16, "token.local_endpoint" } };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        char prefix[96];
        (void)snprintf(prefix, sizeof prefix, "%s:%d: ", f.path, wanted[i].line);
        const char *line = strstr(bytes_text(&said), prefix);
        if (line == NULL)
            fail_msg("line %d is not named in:\n%s", wanted[i].line, bytes_text(&said));
        size_t len = strcspn(line, "\n");
        if (memmem(line, len, wanted[i].word, strlen(wanted[i].word)) == NULL)
            fail_msg("no \"%s\" in: %.*s", wanted[i].word, (int)len, line);
    }
    assert_contains(bytes_text(&said), "upstrem");
    assert_lacks(bytes_text(&said), CANARY);
    bytes_free(&said);
    run_free(&r);
    (void)unlink(f.path);
}

static void a_missing_credential_is_an_error(void **state)
{
    (void)state;
    struct ini f;
    ini_write(&f, "[listen]\naddress = 127.0.0.1:0\n");
    struct run r = run_with("--check", f.path, NULL);
    assert_int_equal(r.code, 1);
    struct bytes said = { 0 };
    bytes_add(&said, bytes_text(&r.out), r.out.len);
    bytes_add(&said, bytes_text(&r.err), r.err.len);
    assert_contains(bytes_text(&said), "token.client_id");
    assert_contains(bytes_text(&said), "token.client_secret");
    bytes_free(&said);
    run_free(&r);
    /* and it does not start either */
    const char *argv[] = { "--config", f.path, NULL };
    r = run_proxy(argv, NULL);
    assert_int_equal(r.code, 1);
    assert_contains(bytes_text(&r.err), "token.client_id");
    run_free(&r);
    (void)unlink(f.path);
}

/* A settings file or a file with the secret that is not there, or a directory in its place, is
 * an error. (row 80) */
static void files_that_cannot_be_read_are_errors(void **state)
{
    (void)state;
    static const char *const paths[] = { "/nonexistent/oneshot.ini", "/tmp" };
    for (size_t i = 0; i < 2; i++) {
        struct run r = run_with("--check", paths[i], NULL);
        assert_int_equal(r.code, 1);
        assert_true(r.out.len + r.err.len > 0);
        run_free(&r);
    }
    struct ini f;
    ini_write(&f, "[token]\nclient_id = x\nclient_secret_file = /nonexistent/secret\n");
    struct run r = run_with("--check", f.path, NULL);
    assert_int_equal(r.code, 1);
    run_free(&r);
    (void)unlink(f.path);
}

static void the_printed_configuration_holds_all_but_the_secrets(void **state)
{
    (void)state;
    struct ini f, again;
    ini_write(&f, "[upstream]\nconnect_timeout = 250ms\nmax_in_flight = 7\n" CREDENTIALS);
    const char *env[] = { "ONESHOT_PROXY_UPSTREAM_MAX_IN_FLIGHT=9",
                          "ONESHOT_PROXY_LISTEN_ADDRESS=127.0.0.1:0", NULL };
    struct run r = run_with("--print-config", f.path, env);
    assert_int_equal(r.code, 0);
    const char *text = bytes_text(&r.out);
    static const char *const lines[] = {
        "[listen]",
        "[upstream]",
        "[token]",
        "[admin]",
        "[log]",
        "[process]",
        "\nconnect_timeout = 250ms\n",
        "\nmax_in_flight = 9\n",
        "\naddress = 127.0.0.1:0\n",
        "\nclient_id = " CLIENT_ID "\n",
        "\nclient_secret = ******\n",
        "\nreplay_limit = 256k\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_contains(text, lines[i]);
    assert_lacks(text, CANARY);
    /* what it prints is a file that it takes */
    ini_write(&again, text);
    struct run check = run_with("--check", again.path, NULL);
    if (check.code != 0)
        fail_msg("it does not take its own output: %s", bytes_text(&check.err));
    run_free(&check);
    run_free(&r);
    (void)unlink(f.path);
    (void)unlink(again.path);
}

static void an_unknown_variable_and_a_wrong_one_are_errors(void **state)
{
    (void)state;
    struct ini f;
    ini_write(&f, CREDENTIALS);
    const char *const variables[] = { "ONESHOT_PROXY_TOKEN_CLIENT_SECERT=" CANARY,
                                      "ONESHOT_PROXY_UPSTREAM_REPLAY=sometimes" };
    for (size_t i = 0; i < 2; i++) {
        const char *env[] = { variables[i], NULL };
        struct run r = run_with("--check", f.path, env);
        if (r.code != 1)
            fail_msg("%s: %d", variables[i], r.code);
        struct bytes said = { 0 };
        bytes_add(&said, bytes_text(&r.out), r.out.len);
        bytes_add(&said, bytes_text(&r.err), r.err.len);
        assert_contains(bytes_text(&said), "ONESHOT_PROXY_");
        assert_lacks(bytes_text(&said), CANARY);
        bytes_free(&said);
        run_free(&r);
    }
    (void)unlink(f.path);
}

/* A second instance on the same port says so in one line and leaves with 1. (row 34) */
static void a_port_that_is_taken_is_a_clear_failure(void **state)
{
    (void)state;
    WORLD(w);
    struct ini f;
    char text[256];
    world_start(&w, &(struct world_options){ 0 });
    (void)snprintf(text, sizeof text,
                   "[listen]\naddress = 127.0.0.1:%d\n[admin]\naddress = off\n" CREDENTIALS,
                   peer_port(w.api));
    ini_write(&f, text);
    const char *argv[] = { "--config", f.path, NULL };
    struct run r = run_proxy(argv, NULL);
    assert_int_equal(r.code, 1);
    (void)snprintf(text, sizeof text, "127.0.0.1:%d", peer_port(w.api));
    assert_contains(bytes_text(&r.err), text);
    run_free(&r);
    /* another instance on the port of a running one would take half of its callers */
    (void)snprintf(text, sizeof text,
                   "[listen]\naddress = 127.0.0.1:%d\n[admin]\naddress = off\n" CREDENTIALS,
                   w.port);
    struct ini g;
    ini_write(&g, text);
    argv[1] = g.path;
    r = run_proxy(argv, NULL);
    assert_int_equal(r.code, 1);
    run_free(&r);
    (void)unlink(f.path);
    (void)unlink(g.path);
}

static void tls_that_is_asked_for_is_never_served_as_plain_text(void **state)
{
    (void)state;
    struct ini f, key;
    char text[512];
    ini_write(&key, "-----BEGIN CERTIFICATE-----\n");
    (void)snprintf(text, sizeof text,
                   "[listen]\naddress = 127.0.0.1:0\ntls_certificate = %s\ntls_key = %s\n"
                   "[admin]\naddress = off\n" CREDENTIALS,
                   key.path, key.path);
    ini_write(&f, text);
    const char *argv[] = { "--config", f.path, NULL };
    struct run r = run_proxy(argv, NULL);
    assert_int_equal(r.code, 1);
    assert_contains(bytes_text(&r.err), "listen.tls_certificate");
    assert_lacks(bytes_text(&r.err), "event=ready");
    run_free(&r);
    (void)unlink(f.path);
    (void)unlink(key.path);
}

/* A byte order mark, CRLF, `;` in a value, a blank line and a last line without a line end are
 * read as they stand there. (row 80) */
static void lines_of_all_shapes_are_read_as_written(void **state)
{
    (void)state;
    struct ini f;
    ini_write(&f, "\xef\xbb\xbf[token]\r\nclient_id = " CLIENT_ID " ; part of it\r\n"
                  "client_secret=x\r\n  \r\n[log]\r\nlevel=warn");
    struct run r = run_with("--print-config", f.path, NULL);
    if (r.code != 0)
        fail_msg("%s", bytes_text(&r.err));
    assert_contains(bytes_text(&r.out), "\nclient_id = " CLIENT_ID " ; part of it\n");
    assert_contains(bytes_text(&r.out), "\nlevel = warn\n");
    run_free(&r);
    (void)unlink(f.path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(version_and_help_are_told),
        TEST(help_is_given_in_place_of_all_else),
        TEST(settings_of_a_systemd_unit_are_checked_without_systemd),
        TEST(variables_of_a_unit_that_would_weaken_tls_are_not_obeyed),
        TEST(explain_tells_the_name_of_a_unit_from_a_method),
        TEST(a_wrong_command_line_is_2),
        TEST(a_sound_file_passes_the_check),
        TEST(fewer_connections_than_workers_are_warned_about_with_http2),
        TEST(the_check_names_every_error_with_its_line_and_key),
        TEST(a_missing_credential_is_an_error),
        TEST(files_that_cannot_be_read_are_errors),
        TEST(the_printed_configuration_holds_all_but_the_secrets),
        TEST(an_unknown_variable_and_a_wrong_one_are_errors),
        TEST(a_port_that_is_taken_is_a_clear_failure),
        TEST(tls_that_is_asked_for_is_never_served_as_plain_text),
        TEST(lines_of_all_shapes_are_read_as_written),
    };
    return RUN_TESTS(tests);
}

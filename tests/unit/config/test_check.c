/* check.c: checks beyond a single value: addresses, URLs, files, inbound TLS, pairs of keys,
 * and values that are hardly ever intended. */
#include "certs.h"
#include "config/config_case.h"
#include "config/outbound.h"

static void quotes_around_a_value_are_kept_and_warned_about(void **state)
{
    (void)state;
    auto_result struct result r = load("[token]\nclient_id = id\nclient_secret = \"a\"\n");

    assert_loads(r);
    assert_says(r.warnings, "t.ini:3: token.client_secret: the quotes around it");
    assert_null(strstr(buf_text(&r.warnings), "\"a\""));
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
    for (size_t i = 0; i < sizeof quiet / sizeof *quiet; i++) {
        char text[256];

        (void)snprintf(text, sizeof text, "[token]\nclient_id = %s\nclient_secret = %s\n",
                       quiet[i], quiet[i]);
        auto_result struct result r = load(text);
        assert_loads(r);
        if (strstr(buf_text(&r.warnings), "placeholder") != NULL)
            fail_msg("%s: %s", quiet[i], buf_text(&r.warnings));
    }
    auto_result struct result header = load_one("listen", "require_header", "X-Key: CHANGE-ME");
    assert_says(header.warnings, "listen.require_header: looks like the placeholder");
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

static void what_is_no_address_is_refused(void **state)
{
    static const char *const wrong[] = {
        "8080",           ":8080",           "127.0.0.1",      "127.0.0.1:",
        "127.0.0.1:x",    "127.0.0.1:65536", "127.0.0.1:-1",   "127.0.0.1:080808",
        "::1:80",         "[::1]",           "[::1]80",        "[zz]:80",
        "[127.0.0.1]:80", "[::1:80",         "127.1:80",       "1.2.3.4.5:80",
        "*:80",           "a b:80",          "http://a:80",    "a..b:80",
        "unix:",          "unix:relative",   "unix:@abstract", "256.0.0.1:1",
        "-a:80",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        auto_result struct result listen = load_one("listen", "address", wrong[i]);
        auto_result struct result admin = load_one("admin", "address", wrong[i]);

        if (listen.config != NULL || admin.config != NULL)
            fail_msg("%s is accepted", wrong[i]);
        assert_says(listen.errors, "t.ini:5: listen.address: ");
        assert_says(admin.errors, "t.ini:5: admin.address: ");
        assert_says(admin.errors, "; allowed: host:port, [v6]:port, or unix:/path");
    }
}

static void a_unix_path_may_have_107_bytes(void **state)
{
    char value[256] = "unix:/";

    (void)state;
    memset(value + 6, 'p', 106);
    auto_result struct result fits = load_one("listen", "address", value);
    value[6 + 106] = 'p';
    auto_result struct result too_long = load_one("listen", "address", value);

    assert_loads(fits);
    assert_refuses(too_long, "at most 107 bytes");
}

static void the_same_address_twice_is_refused(void **state)
{
    (void)state;
    auto_result struct result same =
        load_one("listen", "address", "localhost:80, LOCALHOST:80");
    auto_result struct result unix_same = load_one("listen", "address", "unix:/a, unix:/a");
    auto_result struct result free_ports =
        load_one("listen", "address", "127.0.0.1:0,127.0.0.1:0");
    auto_result struct result admin = load_one("admin", "address", "127.0.0.1:8080");

    assert_refuses(same, "\"LOCALHOST:80\" is there twice");
    assert_refuses(unix_same, "is there twice");
    assert_loads(free_ports);
    assert_refuses(admin, "is in listen.address as well");
}

static void an_open_address_is_allowed_with_one_warning(void **state)
{
    static const char *const quiet[] = { "127.8.9.1:80", "[::1]:80", "localhost:80",
                                         "unix:/a" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(quiet); i++) {
        auto_result struct result r = load_one("listen", "address", quiet[i]);
        assert_loads(r);
        assert_int_equal(count_lines(&r.warnings), 0);
    }
    auto_result struct result open = load_one("listen", "address", "0.0.0.0:80, [::]:81, h:1");
    auto_result struct result admin = load_one("admin", "address", "10.0.0.1:9090");

    assert_loads(open);
    assert_int_equal(count_lines(&open.warnings), 1);
    assert_says(open.warnings, "t.ini:5: listen.address: \"0.0.0.0:80\" is not a loopback");
    assert_loads(admin);
    assert_says(admin.warnings, "admin.address: \"10.0.0.1:9090\" is not a loopback");
}

static void admin_can_be_off(void **state)
{
    (void)state;
    auto_result struct result r = load_one("admin", "address", "off");

    assert_loads(r);
    assert_string_equal(r.config->admin.address, "off");
}

static bool has_host(const struct config *c, const char *host)
{
    for (size_t i = 0; i < c->listen.allowed_hosts.count; i++) {
        if (strcmp(c->listen.allowed_hosts.item[i], host) == 0)
            return true;
    }
    return false;
}

static void hosts_of_addresses_are_allowed_hosts(void **state)
{
    (void)state;
    auto_result struct result r =
        load(CREDENTIALS
             "[listen]\naddress = Proxy.Internal:80, [fe80::1]:80, 127.0.0.1:1, "
             "0.0.0.0:2, [::]:3, unix:/x\nallowed_hosts = API.Example, b:*, c:81, [::2]:1\n");

    assert_loads(r);
    assert_int_equal(r.config->listen.allowed_hosts.count, 7);
    assert_true(has_host(r.config, "api.example"));
    assert_true(has_host(r.config, "b:*"));
    assert_true(has_host(r.config, "c:81"));
    assert_true(has_host(r.config, "[::2]:1"));
    assert_true(has_host(r.config, "proxy.internal"));
    assert_true(has_host(r.config, "[fe80::1]"));
    assert_true(has_host(r.config, "127.0.0.1"));
}

static void hosts_and_origins_have_a_form(void **state)
{
    static const char *const hosts[] = { "http://a", "a/b", "a b", "::1", "a:x", "*.a", "u@a" };
    static const char *const origins[] = { "a",        "https://a/",  "https://a/b", "://a",
                                           "https://", "https://u@a", "https://a?b" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        auto_result struct result r = load_one("listen", "allowed_hosts", hosts[i]);
        assert_refuses(r, "listen.allowed_hosts: ");
    }
    for (size_t i = 0; i < ARRAY_LEN(origins); i++) {
        auto_result struct result r = load_one("listen", "allowed_origins", origins[i]);
        assert_refuses(r, "listen.allowed_origins: ");
    }
    auto_result struct result all = load_one("listen", "allowed_hosts", "*");
    auto_result struct result fine = load_one(
        "listen", "allowed_origins", "https://A.b:8443, null, chrome-extension://x, *");

    assert_loads(all);
    assert_loads(fine);
    assert_string_equal(fine.config->listen.allowed_origins.item[0], "https://a.b:8443");
}

static void a_required_header_is_split(void **state)
{
    static const char *const wrong[] = {
        "X-Key",
        ": v",
        "X Key: v",
        "X-Key:",
        "X-Key:  ",
        "Host: a",
        "content-length: 1",
        "x-request-id: a",
        "Traceparent: a",
        "idempotency-key: a",
    };

    (void)state;
    auto_result struct result r = load_one("listen", "require_header", "X-Key:  a: b=c;d");
    assert_loads(r);
    assert_string_equal(r.config->listen.require_header_name, "X-Key");
    assert_string_equal(r.config->listen.require_header_value, "a: b=c;d");
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        auto_result struct result bad = load_one("listen", "require_header", wrong[i]);
        assert_refuses(bad, "listen.require_header: ");
    }
}

static void the_base_url_is_taken_apart(void **state)
{
    static const struct {
        const char *url, *base_url, *scheme, *authority, *origin, *path;
    } cases[] = {
        { "https://api.1shotapi.com/v0/", "https://api.1shotapi.com/v0", "https",
          "api.1shotapi.com", "https://api.1shotapi.com", "/v0" },
        { "HTTPS://API.Example:443", "https://api.example", "https", "api.example",
          "https://api.example", "" },
        { "https://h:8443/a/b~c%20d///", "https://h:8443/a/b~c%20d", "https", "h:8443",
          "https://h:8443", "/a/b~c%20d" },
        { "http://[::1]:80/", "http://[::1]", "http", "[::1]", "http://[::1]", "" },
        { "http://127.0.0.9:443/v0", "http://127.0.0.9:443/v0", "http", "127.0.0.9:443",
          "http://127.0.0.9:443", "/v0" },
        { "https://[2001:DB8::1]:1", "https://[2001:db8::1]:1", "https", "[2001:db8::1]:1",
          "https://[2001:db8::1]:1", "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_result struct result r = load_one("upstream", "base_url", cases[i].url);
        char token[256];

        assert_loads(r);
        assert_string_equal(r.config->upstream.base_url, cases[i].base_url);
        assert_string_equal(r.config->upstream.scheme, cases[i].scheme);
        assert_string_equal(r.config->upstream.authority, cases[i].authority);
        assert_string_equal(r.config->upstream.origin, cases[i].origin);
        assert_string_equal(r.config->upstream.base_path, cases[i].path);
        (void)snprintf(token, sizeof token, "%s/token", cases[i].base_url);
        assert_string_equal(r.config->token.url, token);
    }
}

static void only_the_token_url_may_have_a_query(void **state)
{
    static const char *const urls[] = { "https://a/?q", "https://a?q=/../x",
                                        "https://a/t?a=b&c" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        auto_result struct result base = load_one("upstream", "base_url", urls[i]);
        auto_result struct result token = load_one("token", "url", urls[i]);

        assert_says(base.errors, "upstream.base_url: has a query");
        assert_loads(token);
        assert_string_equal(token.config->token.url, urls[i]);
    }
}

static void urls_that_could_be_read_in_two_ways_are_refused(void **state)
{
    static const char *const wrong[] = {
        "api.example",     "//api.example",      "https:api",          "https://",
        "https:///path",   "https://a:b",        "https://a:",         "https://a:0",
        "https://a:65536", "https://a b/",       "https://u@a",        "https://u:p@a/",
        "https://a/?#f",   "https://a/#f",       "https://a?q#",       "https://a#f",
        "https://a/../b",  "https://a/./b",      "https://a/b/..",     "https://a//b",
        "https://a/%zz",   "https://a/%",        "https://a\\b/",      "https://a/b\\c",
        "https://[::1/",   "https://[g]/",       "https://[::1]x/",    "https://1.2.3/",
        "ftp://a/",        "file:///etc/passwd", "https://a/\xC3\xA9", "https://\xC3\xA9/",
        "https://a/\"",    "https://a/{x}",      "ht tp://a",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        auto_result struct result base = load_one("upstream", "base_url", wrong[i]);
        auto_result struct result token = load_one("token", "url", wrong[i]);

        if (base.config != NULL || token.config != NULL)
            fail_msg("%s is accepted", wrong[i]);
        assert_says(base.errors, "t.ini:5: upstream.base_url: ");
        assert_says(token.errors, "t.ini:4: token.url: ");
    }
}

static void plain_http_leaves_this_machine_only_when_allowed(void **state)
{
    static const char *const local[] = { "http://localhost/v0", "http://127.0.0.1:1/v0",
                                         "http://127.255.0.1/", "http://[::1]:8/v0" };
    static const char *const far[] = { "http://api.example/v0",  "http://10.0.0.1/",
                                       "http://[::2]/",          "http://localhost.evil/",
                                       "http://127.0.0.1.evil/", "http://128.0.0.1/" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(local); i++) {
        auto_result struct result r = load_one("upstream", "base_url", local[i]);
        assert_loads(r);
    }
    for (size_t i = 0; i < ARRAY_LEN(far); i++) {
        char text[256];
        auto_result struct result r = load_one("upstream", "base_url", far[i]);
        auto_result struct result token = load_one("token", "url", far[i]);

        assert_refuses(r, "upstream.base_url: http:// would send");
        assert_refuses(r, "upstream.allow_plaintext = yes");
        assert_refuses(token, "token.url: http:// would send");
        (void)snprintf(text, sizeof text,
                       CREDENTIALS "[upstream]\nbase_url = %s\nallow_plaintext = yes\n",
                       far[i]);
        auto_result struct result allowed = load(text);
        assert_loads(allowed);
    }
}

static void the_token_url_can_be_elsewhere(void **state)
{
    (void)state;
    auto_result struct result elsewhere =
        load_one("token", "url", "https://login.example/oauth2/token/");
    auto_result struct result derived = load_one("token", "url", "{base_url}/auth");
    auto_result struct result wrong = load_one("token", "url", "https://a/{base_url}");
    auto_result struct result upper =
        load_one("token", "url", "HTTPS://Login.Example:8443/OAuth?Resource=A");

    assert_loads(elsewhere);
    assert_string_equal(elsewhere.config->token.url, "https://login.example/oauth2/token/");
    assert_loads(derived);
    assert_string_equal(derived.config->token.url, "https://api.1shotapi.dev/v0/auth");
    assert_loads(upper);
    assert_string_equal(upper.config->token.url, "https://login.example:8443/OAuth?Resource=A");
    assert_refuses(wrong, "must be escaped");
}

static void a_fault_of_the_base_url_is_not_told_of_the_token_url(void **state)
{
    (void)state;
    auto_result struct result plain = load_one("upstream", "base_url", "http://api.example/v0");
    auto_result struct result own = load(CREDENTIALS "url = http://login.example/token\n");
    auto_result struct result derived = load(CREDENTIALS);
    auto_result struct result given = load(CREDENTIALS "url = {base_url}/oauth\n");

    assert_refuses(plain, "t.ini:5: upstream.base_url: http:// would send");
    assert_int_equal(count_lines(&plain.errors), 1);
    assert_refuses(own, "t.ini:4: token.url: http:// would send");
    assert_string_equal(derived.config->token.url_key, "upstream.base_url");
    assert_string_equal(given.config->token.url_key, "token.url");
}

static void a_proxy_is_env_none_or_a_url(void **state)
{
    static const char *const right[] = { "env",
                                         "none",
                                         "http://h:3128",
                                         "https://h/",
                                         "socks5h://u:p@h:1080",
                                         "http://user:p%40:@[::1]:1" };
    static const char *const wrong[] = { "h:3128",        "ftp://h",     "http://",
                                         "http://h/path", "http://u:p@", "http://h?x",
                                         "ENV",           "://h",        "http://u:p@q@h:1" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(right); i++) {
        auto_result struct result r = load_one("upstream", "proxy", right[i]);
        assert_loads(r);
        assert_string_equal(r.config->upstream.proxy, right[i]);
        assert_string_equal(r.config->token.proxy, right[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        auto_result struct result r = load_one("token", "proxy", wrong[i]);
        if (r.config != NULL)
            fail_msg("%s is accepted", wrong[i]);
        assert_refuses(r, "token.proxy: ");
    }
    auto_result struct result own =
        load(CREDENTIALS "proxy = none\n[upstream]\nproxy = http://h:1\n");
    assert_loads(own);
    assert_string_equal(own.config->token.proxy, "none");
}

#define OPEN "has a character in its user name or password that must be percent-encoded"

/* libcurl ends them at these characters. The first of the two is as it should be. */
static void credentials_of_a_proxy_are_percent_encoded(void **state)
{
    static const char *const credentials[][2] = {
        { "user:CANARY%2Fx", "user:CANARY/x" }, { "us%23er:CANARY", "us#er:CANARY" },
        { "user:CANARY%3F", "user:CANARY?" },   { "user:CANARY%40x", "user:CANARY@x" },
        { "user:CANARY%20x", "user:CANARY x" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(credentials); i++) {
        char url[64];

        (void)snprintf(url, sizeof url, "http://%s@proxy:3128", credentials[i][0]);
        auto_result struct result good = load_one("upstream", "proxy", url);
        assert_loads(good);
        (void)snprintf(url, sizeof url, "http://%s@proxy:3128", credentials[i][1]);
        auto_result struct result bad = load_one("upstream", "proxy", url);
        assert_refuses(bad, "t.ini:5: upstream.proxy: " OPEN);
        assert_null(strstr(buf_text(&bad.errors), "CANARY"));
        auto_result struct result own = load_one("token", "proxy", url);
        assert_refuses(own, "t.ini:4: token.proxy: " OPEN);
        assert_null(strstr(buf_text(&own.errors), "CANARY"));
    }
}

static void drop_proxy_variables(void)
{
    for (size_t i = 0; i < CONFIG_PROXY_VARIABLES; i++)
        assert_int_equal(unsetenv(config_proxy_variables[i].name), 0);
}

/* Of the variables the one is looked at that libcurl would take. */
static void credentials_in_the_variable_that_counts_are_percent_encoded(void **state)
{
    static const struct {
        const char *name, *value, *lines, *says;
    } cases[] = {
        { "HTTPS_PROXY", "http://u:CANARY/x@p:1", "",
          "upstream.proxy: is env, and HTTPS_PROXY" },
        { "all_proxy", "u:CANARY#x@p:1", "", "upstream.proxy: is env, and all_proxy " OPEN },
        { "HTTPS_PROXY", "http://u:CANARY/x@p:1", "proxy = env\n[upstream]\nproxy = none\n",
          "t.ini:4: token.proxy: is env, and HTTPS_PROXY" },
        { "http_proxy", "http://u:CANARY?@p:1", "[upstream]\nbase_url = http://localhost\n",
          "upstream.proxy: is env, and http_proxy" },
        { "HTTPS_PROXY", "http://u:CANARY%2Fx@p:1", "", NULL },
        { "HTTPS_PROXY", "p:1", "", NULL },
        { "HTTPS_PROXY", "http://u:CANARY/x@p:1", "[upstream]\nproxy = none\n", NULL },
        { "http_proxy", "http://u:CANARY/x@p:1", "", NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[256];

        drop_proxy_variables();
        assert_int_equal(setenv(cases[i].name, cases[i].value, 1), 0);
        (void)snprintf(text, sizeof text, CREDENTIALS "%s", cases[i].lines);
        auto_result struct result r = load(text);
        if (cases[i].says == NULL) {
            assert_loads(r);
            continue;
        }
        assert_refuses(r, cases[i].says);
        assert_int_equal(count_lines(&r.errors), 1);
        assert_null(strstr(buf_text(&r.errors), "CANARY"));
    }
    /* perhaps nothing is sent to that proxy */
    assert_int_equal(setenv("HTTPS_PROXY", "http://u:CANARY/x@p:1", 1), 0);
    assert_int_equal(setenv("NO_PROXY", "localhost", 1), 0);
    auto_result struct result r = load(CREDENTIALS);

    assert_loads(r);
    assert_says(r.warnings, "upstream.proxy: is env, and HTTPS_PROXY " OPEN);
    assert_null(strstr(buf_text(&r.warnings), "CANARY"));
    assert_int_equal(unsetenv("NO_PROXY"), 0);
    drop_proxy_variables();
}

/* As text; how long it is. */
static size_t read_whole(const char *path, char *out, size_t size)
{
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    size_t n = fread(out, 1, size - 1, file);
    (void)fclose(file);
    out[n] = '\0';
    return n;
}

static void files_must_be_readable(void **state)
{
    static const char *const keys[][2] = { { "upstream", "ca_file" },
                                           { "upstream", "client_certificate" },
                                           { "token", "ca_file" } };
    char value[256];

    (void)state;
    auto_scratch struct scratch s = scratch_new();
    struct cert_files files = { .serial = 0 };
    char certificate[8192], key[4096], pem[12288];
    certs_write(&files, CERT_VALID);
    size_t len = read_whole(files.certificate, certificate, sizeof certificate);
    (void)read_whole(files.key, key, sizeof key);
    (void)snprintf(pem, sizeof pem, "%s%s", certificate, key);
    const char *path = scratch_write(&s, pem, strlen(pem), 0644);
    assert_true(len > 0);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        auto_result struct result fine = load_one(keys[i][0], keys[i][1], path);
        auto_result struct result directory = load_one(keys[i][0], keys[i][1], s.dir);
        (void)snprintf(value, sizeof value, "%s/none", s.dir);
        auto_result struct result missing = load_one(keys[i][0], keys[i][1], value);

        assert_loads(fine);
        assert_refuses(missing, "cannot be read: No such file");
        assert_refuses(directory, "cannot be read: Is a directory");
    }
    auto_result struct result shared = load_one("upstream", "ca_file", path);
    assert_loads(shared);
    assert_string_equal(shared.config->token.ca_file, path);
}

static void certificate_files_hold_what_they_should(void **state)
{
    struct cert_files one = { .serial = 0 }, two = one;
    char certificate[8192], key[4096];
    static const char half[] = "-----BEGIN CERTIFICATE-----\nMIIB";
    static const char encrypted[] = "-----BEGIN CERTIFICATE-----\n"
                                    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n";
    char text[512];

    (void)state;
    auto_scratch struct scratch s = scratch_new();
    certs_write(&one, CERT_VALID);
    certs_write(&two, CERT_VALID);
    const char *certificate_file = one.certificate, *key_file = one.key;
    const char *half_file = scratch_write(&s, half, sizeof half - 1, 0600);
    (void)read_whole(one.certificate, certificate, sizeof certificate);
    (void)read_whole(one.key, key, sizeof key);
    const char *encrypted_file = scratch_write(&s, encrypted, sizeof encrypted - 1, 0600);
    auto_result struct result no_ca = load_one("upstream", "ca_file", key_file);
    auto_result struct result no_token_ca = load_one("token", "ca_file", key_file);
    auto_result struct result alone =
        load_one("upstream", "client_certificate", certificate_file);
    auto_result struct result locked =
        load_one("upstream", "client_certificate", encrypted_file);
    static const char format[] =
        CREDENTIALS "[upstream]\nclient_certificate = %s\nclient_key = %s\n";

    assert_refuses(no_ca, "upstream.ca_file: ");
    assert_refuses(no_ca, "holds no certificate");
    assert_refuses(no_token_ca, "token.ca_file: ");
    assert_refuses(alone, "holds no private key");
    assert_refuses(locked, "encrypted key");
    (void)snprintf(text, sizeof text, format, certificate_file, key_file);
    auto_result struct result both = load(text);
    assert_loads(both);
    assert_string_equal(both.config->upstream.certificate.data, certificate);
    assert_string_equal(both.config->upstream.key.data, key);
    (void)snprintf(text, sizeof text, format, certificate_file, certificate_file);
    auto_result struct result wrong = load(text);
    assert_refuses(wrong, "upstream.client_key: ");
    (void)snprintf(text, sizeof text, format, certificate_file, two.key);
    auto_result struct result strange = load(text);
    assert_refuses(strange, "is not the key of the certificate in upstream.client_certificate");
    auto_result struct result cut = load_one("upstream", "ca_file", half_file);
    assert_refuses(cut, "it may be half written");
}

static void an_authority_file_of_both_legs_is_told_once(void **state)
{
    char pem[8192];

    (void)state;
    size_t len = read_whole(certs_ca_file(), pem, sizeof pem);
    auto_result struct result wrong = load_one("upstream", "ca_file", "/nowhere");
    auto_result struct result r = load_one("upstream", "ca_file", certs_ca_file());

    assert_refuses(wrong, "t.ini:5: upstream.ca_file: /nowhere: cannot be read");
    assert_int_equal(count_lines(&wrong.errors), 1);
    assert_loads(r);
    assert_string_equal(r.config->token.ca_file, r.config->upstream.ca_file);
    assert_string_equal(r.config->token.ca_key, "upstream.ca_file");
    assert_int_equal(r.config->token.ca.len, len);
    assert_memory_equal(r.config->token.ca.data, pem, len);
}

static void a_secret_everyone_may_read_gets_a_warning(void **state)
{
    char text[512];

    (void)state;
    auto_scratch struct scratch s = scratch_new();
    const char *open = scratch_write(&s, "x", 1, 0644);
    const char *group = scratch_write(&s, "x", 1, 0640);

    (void)snprintf(text, sizeof text, "[token]\nclient_id_file = %s\nclient_secret_file = %s\n",
                   open, open);
    auto_result struct result warned = load(text);
    (void)snprintf(text, sizeof text, "[token]\nclient_id = a\nclient_secret_file = %s\n",
                   group);
    auto_result struct result quiet = load(text);

    assert_loads(warned);
    assert_int_equal(count_lines(&warned.warnings), 1);
    assert_says(warned.warnings, "t.ini:3: token.client_secret_file: ");
    assert_says(warned.warnings, "can be read by every user of this machine (mode 0644)");
    assert_loads(quiet);
    assert_int_equal(count_lines(&quiet.warnings), 0);
}

static void a_settings_file_with_the_secret_that_everyone_may_read_gets_a_warning(void **state)
{
    static const char without[] = "[token]\nclient_id = a\n";

    (void)state;
    auto_scratch struct scratch s = scratch_new();
    auto_result struct result warned =
        load_file(scratch_write(&s, CREDENTIALS, strlen(CREDENTIALS), 0644));
    auto_result struct result quiet =
        load_file(scratch_write(&s, CREDENTIALS, strlen(CREDENTIALS), 0640));
    auto_result struct result elsewhere =
        load_env(scratch_write(&s, without, sizeof without - 1, 0644),
                 (const char *[]){ "ONESHOT_PROXY_TOKEN_CLIENT_SECRET=from-env", NULL });

    assert_loads(warned);
    assert_int_equal(count_lines(&warned.warnings), 1);
    assert_says(warned.warnings, ":3: token.client_secret: is in a file that can be read by "
                                 "every user of this machine (mode 0644)");
    assert_loads(quiet);
    assert_int_equal(count_lines(&quiet.warnings), 0);
    assert_loads(elsewhere);
    assert_int_equal(count_lines(&elsewhere.warnings), 0);
}

static void a_secret_file_that_cannot_be_read_refuses_the_load(void **state)
{
    (void)state;
    auto_scratch struct scratch s = scratch_new();
    char text[512];
    const char *empty = scratch_write(&s, "\n", 1, 0600);

    (void)snprintf(text, sizeof text,
                   "[token]\nclient_id_file = %s\nclient_secret_file = /nowhere\n", empty);
    auto_result struct result r = load(text);
    assert_refuses(r, "t.ini:2: token.client_id_file: ");
    assert_refuses(r, ": is empty");
    assert_refuses(r, "t.ini:3: token.client_secret_file: /nowhere: cannot be read: No such");
    assert_int_equal(count_lines(&r.errors), 2);
}

static void only_one_of_key_and_file_is_allowed(void **state)
{
    char text[512], variable[256];

    (void)state;
    auto_scratch struct scratch s = scratch_new();
    const char *path = scratch_write(&s, "from-file", 9, 0600);
    auto_result struct result both = load_one("token", "client_secret_file", path);
    auto_result struct result both_ids = load_one("token", "client_id_file", path);

    assert_refuses(both, "t.ini:3: token.client_secret: is given as well as "
                         "token.client_secret_file; only one");
    assert_refuses(both_ids, "t.ini:2: token.client_id: is given as well as");

    /* the environment wins over the file, here too */
    int n =
        snprintf(text, sizeof text, "[token]\nclient_id = a\nclient_secret_file = %s\n", path);
    const char *ini = scratch_write(&s, text, (size_t)n, 0600);
    auto_result struct result direct =
        load_env(ini, (const char *[]){ "ONESHOT_PROXY_TOKEN_CLIENT_SECRET=from-env", NULL });
    assert_loads(direct);
    assert_string_equal(secret_text(direct.config->token.client_secret), "from-env");
    assert_null(direct.config->token.client_secret_file);

    const char *plain = scratch_write(&s, CREDENTIALS, strlen(CREDENTIALS), 0600);
    (void)snprintf(variable, sizeof variable, "ONESHOT_PROXY_TOKEN_CLIENT_SECRET_FILE=%s",
                   path);
    auto_result struct result by_file = load_env(plain, (const char *[]){ variable, NULL });
    assert_loads(by_file);
    assert_string_equal(secret_text(by_file.config->token.client_secret), "from-file");
    assert_string_equal(by_file.config->token.client_secret_file, path);
}

static void extra_fields_are_form_encoded_and_contradict_nothing(void **state)
{
    static const char *const wrong[] = {
        "a",
        "=a",
        "a=1&",
        "a=1&&b=2",
        "a=b c",
        "a=%zz",
        "a=%4",
        "a=#b",
        "a=\"",
        "grant_type=x",
        "b=1&client_secret=CANARY",
        "a=\x80",
        "&a=1",
        "client_id=CANARY",
        "scope=CANARY",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char text[256];

        (void)snprintf(text, sizeof text, CREDENTIALS "scope = s\nextra = %s\n", wrong[i]);
        auto_result struct result r = load(text);
        if (r.config != NULL)
            fail_msg("%s is accepted", wrong[i]);
        assert_says(r.errors, "t.ini:5: token.extra: ");
        assert_int_equal(count_lines(&r.errors), 1);
        assert_null(strstr(buf_text(&r.errors), "CANARY"));
    }
    auto_result struct result r =
        load_one("token", "extra", "resource=a&resource=b%26c&d=&scope=x");
    auto_result struct result other =
        load_one("token", "extra", "resource=a&resource=B%26c&d=&scope=x");
    struct buf changed;

    assert_loads(r);
    assert_string_equal(r.config->token.extra, "resource=a&resource=b%26c&d=&scope=x");
    /* hidden as it is when printed, a change is seen */
    buf_init(&changed, 1000);
    assert_int_equal(config_changes(r.config, other.config, &changed), 0);
    assert_string_equal(buf_text(&changed), "token.extra");
    buf_done(&changed);
}

static void the_drain_delay_fits_into_the_drain_timeout(void **state)
{
    (void)state;
    auto_result struct result same =
        load(CREDENTIALS "[process]\ndrain_delay = 5s\ndrain_timeout = 5s\n");
    auto_result struct result longer =
        load(CREDENTIALS "[process]\ndrain_delay = 6s\ndrain_timeout = 5s\n");
    auto_result struct result default_timeout =
        load(CREDENTIALS "[process]\ndrain_delay = 31s\n");

    assert_loads(same);
    assert_refuses(longer, "process.drain_delay: ");
    assert_refuses(default_timeout, "process.drain_timeout");
}

static void the_first_pause_is_no_longer_than_the_longest(void **state)
{
    (void)state;
    auto_result struct result equal = load(CREDENTIALS "retry_min = 5s\nretry_max = 5s\n");
    auto_result struct result wrong = load(CREDENTIALS "retry_min = 6s\nretry_max = 5s\n");
    auto_result struct result alone = load(CREDENTIALS "retry_max = 500ms\n");
    auto_result struct result broken = load(CREDENTIALS "retry_min = 2m\nretry_max = 5\n");

    assert_loads(equal);
    assert_refuses(wrong, "t.ini:4: token.retry_min: token.retry_min is longer");
    assert_refuses(alone, "t.ini:4: token.retry_max: ");
    assert_int_equal(count_lines(&broken.errors), 1);
}

static void tls_keys_come_together(void **state)
{
    char text[512];

    (void)state;
    auto_scratch struct scratch s = scratch_new();
    const char *pem = scratch_write(&s, "pem", 3, 0600);
    auto_result struct result certificate = load_one("listen", "tls_certificate", pem);
    auto_result struct result key = load_one("listen", "tls_key", pem);
    auto_result struct result ca = load_one("listen", "tls_client_ca", pem);
    auto_result struct result client_key = load_one("upstream", "client_key", pem);

    assert_refuses(certificate, "listen.tls_certificate: needs listen.tls_key");
    assert_refuses(key, "listen.tls_key: needs listen.tls_certificate");
    assert_refuses(ca, "listen.tls_client_ca: needs listen.tls_certificate");
    assert_refuses(client_key, "upstream.client_key: needs upstream.client_certificate");
    (void)snprintf(text, sizeof text,
                   CREDENTIALS "[listen]\ntls_certificate = %s\ntls_key = %s\n"
                               "tls_client_ca = %s\n",
                   pem, pem, pem);
    auto_result struct result all = load(text);
    assert_refuses(all, "listen.tls_certificate: ");
    assert_says(all.errors, "holds no certificate");
    assert_says(all.errors, "listen.tls_key: ");
    assert_says(all.errors, "holds no private key; allowed: PEM");
    assert_says(all.errors, "listen.tls_client_ca: ");
}

/* Whether a certificate and key are taken; what is said then must hold `said` (NULL: nothing).
 */
static void check_tls_files(const char *certificate, const char *key, const char *client_ca,
                            bool taken, const char *said)
{
    char text[1024];

    (void)snprintf(text, sizeof text,
                   CREDENTIALS "[listen]\ntls_certificate = %s\ntls_key = %s\n"
                               "tls_client_ca = %s\n",
                   certificate, key, client_ca);
    auto_result struct result r = load(text);
    if (taken)
        assert_loads(r);
    else
        assert_null(r.config);
    if (taken)
        assert_int_equal(count_lines(&r.warnings), said != NULL);
    if (said != NULL)
        assert_non_null(strstr(buf_text(taken ? &r.warnings : &r.errors), said));
}

static void tls_files_are_looked_into(void **state)
{
    struct cert_files one = { .serial = 0 }, two = one, old = one, early = one, chain = one;
    char none[96], broken[96], protected[96];

    (void)state;
    certs_write(&one, CERT_VALID);
    certs_write(&two, CERT_VALID);
    certs_write(&old, CERT_EXPIRED);
    certs_write(&early, CERT_FUTURE);
    certs_write(&chain, CERT_INTERMEDIATE);
    certs_write_text(none, "nothing of the kind\n");
    certs_write_text(broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
                             "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    certs_write_locked_key(protected);
    const char *ca = certs_ca_file();
    check_tls_files(one.certificate, one.key, "", true, NULL);
    check_tls_files(one.certificate, one.key, ca, true, NULL);
    check_tls_files(chain.certificate, chain.key, "", true, NULL);
    check_tls_files(one.certificate, two.key, "", false, "is not the key of the certificate");
    check_tls_files(one.certificate, two.key, "", false, two.key);
    check_tls_files(one.key, one.key, "", false, "listen.tls_certificate: ");
    check_tls_files(one.certificate, one.certificate, "", false, "holds no private key");
    check_tls_files(one.certificate, protected, "", false, "passphrase");
    check_tls_files(broken, one.key, "", false, "that cannot be read");
    check_tls_files(one.certificate, broken, "", false, "that cannot be read");
    check_tls_files(one.certificate, one.key, none, false, "listen.tls_client_ca: ");
    check_tls_files(one.certificate, one.key, broken, false, "that cannot be read");
    check_tls_files(one.certificate, one.key, one.key, false, "holds no certificate");
    check_tls_files(old.certificate, old.key, "", true, "has expired, on");
    check_tls_files(old.certificate, old.key, "", true, old.certificate);
    check_tls_files(early.certificate, early.key, "", true, "not valid before");
    check_tls_files(one.certificate, one.key, old.certificate, true, "has expired, on");
}

static void tls_without_a_tcp_address_gets_a_warning(void **state)
{
    struct cert_files f = { .serial = 0 };
    char text[1024];

    (void)state;
    certs_write(&f, CERT_VALID);
    (void)snprintf(text, sizeof text,
                   CREDENTIALS "[listen]\naddress = unix:/tmp/s\ntls_certificate = %s\n"
                               "tls_key = %s\n",
                   f.certificate, f.key);
    auto_result struct result r = load(text);
    assert_loads(r);
    assert_says(r.warnings, "listen.tls_certificate: is not used");
}

static void turning_tls_on_needs_a_restart_and_a_new_certificate_does_not(void **state)
{
    char text[512];
    struct buf out;

    (void)state;
    struct cert_files one = { .serial = 0 }, two = one;
    certs_write(&one, CERT_VALID);
    certs_write(&two, CERT_VALID);
    static const char format[] = CREDENTIALS "[listen]\ntls_certificate = %s\ntls_key = %s\n";

    auto_result struct result off = load(CREDENTIALS);
    (void)snprintf(text, sizeof text, format, one.certificate, one.key);
    auto_result struct result on = load(text);
    (void)snprintf(text, sizeof text, format, two.certificate, two.key);
    auto_result struct result other = load(text);

    assert_loads(other);
    buf_init(&out, 1000);
    assert_int_equal(config_needs_restart(on.config, other.config, &out), 0);
    assert_string_equal(buf_text(&out), "");
    assert_int_equal(config_needs_restart(off.config, on.config, &out), 0);
    assert_string_equal(buf_text(&out), "listen.tls_certificate, listen.tls_key");
    buf_clear(&out);
    /* new contents under the same name are a change too */
    (void)snprintf(text, sizeof text, format, one.certificate, one.key);
    certs_write(&one, CERT_VALID);
    auto_result struct result renewed = load(text);
    assert_int_equal(config_changes(on.config, renewed.config, &out), 0);
    assert_string_equal(buf_text(&out), "listen.tls_certificate, listen.tls_key");
    buf_clear(&out);
    auto_result struct result again = load(text);
    assert_int_equal(config_changes(renewed.config, again.config, &out), 0);
    assert_string_equal(buf_text(&out), "");
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotes_around_a_value_are_kept_and_warned_about),
        cmocka_unit_test(a_comment_behind_a_value_is_warned_about),
        cmocka_unit_test(the_placeholder_of_an_example_is_warned_about),
        cmocka_unit_test(a_blank_at_an_end_of_a_secret_is_a_warning),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(a_unix_path_may_have_107_bytes),
        cmocka_unit_test(the_same_address_twice_is_refused),
        cmocka_unit_test(an_open_address_is_allowed_with_one_warning),
        cmocka_unit_test(admin_can_be_off),
        cmocka_unit_test(hosts_of_addresses_are_allowed_hosts),
        cmocka_unit_test(hosts_and_origins_have_a_form),
        cmocka_unit_test(a_required_header_is_split),
        cmocka_unit_test(the_base_url_is_taken_apart),
        cmocka_unit_test(only_the_token_url_may_have_a_query),
        cmocka_unit_test(urls_that_could_be_read_in_two_ways_are_refused),
        cmocka_unit_test(plain_http_leaves_this_machine_only_when_allowed),
        cmocka_unit_test(the_token_url_can_be_elsewhere),
        cmocka_unit_test(a_fault_of_the_base_url_is_not_told_of_the_token_url),
        cmocka_unit_test(a_proxy_is_env_none_or_a_url),
        cmocka_unit_test(credentials_of_a_proxy_are_percent_encoded),
        cmocka_unit_test(credentials_in_the_variable_that_counts_are_percent_encoded),
        cmocka_unit_test(files_must_be_readable),
        cmocka_unit_test(certificate_files_hold_what_they_should),
        cmocka_unit_test(an_authority_file_of_both_legs_is_told_once),
        cmocka_unit_test(a_secret_everyone_may_read_gets_a_warning),
        cmocka_unit_test(a_settings_file_with_the_secret_that_everyone_may_read_gets_a_warning),
        cmocka_unit_test(a_secret_file_that_cannot_be_read_refuses_the_load),
        cmocka_unit_test(only_one_of_key_and_file_is_allowed),
        cmocka_unit_test(extra_fields_are_form_encoded_and_contradict_nothing),
        cmocka_unit_test(the_drain_delay_fits_into_the_drain_timeout),
        cmocka_unit_test(the_first_pause_is_no_longer_than_the_longest),
        cmocka_unit_test(tls_keys_come_together),
        cmocka_unit_test(tls_files_are_looked_into),
        cmocka_unit_test(tls_without_a_tcp_address_gets_a_warning),
        cmocka_unit_test(turning_tls_on_needs_a_restart_and_a_new_certificate_does_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* `doctor` against peers with one fault each: the sentence about it, the exit code, and
 * never a token or a secret. */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "connect_proxy.h"
#include "harness.h"

struct visit {
    struct world_options options;
    const char *settings; /* over the defaults */
    const char *const *env;
    bool system_ca;
    const char *base_url, *token_url; /* NULL: the peers' */
    const char *path;                 /* of base_url; NULL: /v0 */
    bool write_http;                  /* though the peer speaks TLS */
};

/* One run of doctor, in a system that knows localhost; env: what else is in its environment. */
static struct run run_doctor(const char *path, const char *const *env)
{
    const char *const argv[] = { "doctor", "--config", path, NULL };
    const char *all[8] = { "LD_PRELOAD=" NAMES };
    for (size_t n = 1; env != NULL && *env != NULL; env++) {
        assert_true(n < sizeof all / sizeof *all - 1);
        all[n++] = *env;
    }
    return run_proxy(argv, all);
}

/* The peers, one run of doctor, and the end of the peers; nothing secret may be in it. */
static struct run visit(const struct visit *v)
{
    WORLD(w);
    struct world_options options = v->options;
    struct bytes settings = { 0 };
    char base[160], token[160], dir[] = "/tmp/oneshot-doctor-XXXXXX", path[96];
    options.no_proxy = true;
    world_start(&w, &options);
    (void)snprintf(base, sizeof base, "%s%s", peer_url(w.api), v->path ? v->path : "/v0");
    if (v->write_http)
        (void)snprintf(base, sizeof base, "http://localhost:%d/v0", peer_port(w.api));
    (void)snprintf(token, sizeof token, "%s/v0/token", peer_url(tokens_peer(w.tokens)));
    if (!v->system_ca && (options.cert != CERT_NONE || options.token_cert != CERT_NONE))
        bytes_addf(&settings, "upstream.ca_file = %s\n", certs_ca_file());
    bytes_add_str(&settings, v->settings ? v->settings : "");
    struct bytes ini = world_ini(v->base_url ? v->base_url : base,
                                 v->token_url ? v->token_url : token, bytes_text(&settings));
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/d.ini", dir);
    write_file(path, bytes_text(&ini));
    struct run r = run_doctor(path, v->env);
    assert_lacks(bytes_text(&r.out), CANARY);
    assert_lacks(bytes_text(&r.err), CANARY);
    assert_string_equal(bytes_text(&r.err), "");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
    bytes_free(&ini);
    bytes_free(&settings);
    world_end(&w);
    return r;
}

/* A step's line begins like this. */
static void assert_step(struct run *r, const char *step, const char *verdict, const char *words)
{
    char line[64];
    (void)snprintf(line, sizeof line, "%-15s %-8s ", step, verdict);
    const char *at = strstr(bytes_text(&r->out), line);
    while (at != NULL) {
        struct bytes one = { 0 };
        bytes_add(&one, at, strcspn(at, "\n"));
        bool found = bytes_contain(&one, words);
        bytes_free(&one);
        if (found)
            return;
        at = strstr(at + 1, line);
    }
    fail_msg("no line \"%s... %s ...\" in:\n%s", line, words, bytes_text(&r->out));
}

static void assert_code(struct run *r, int code)
{
    if (r->code != code)
        fail_msg("exit code %d, not %d:\n%s%s", r->code, code, bytes_text(&r->out),
                 bytes_text(&r->err));
}

static void all_is_well(void **state)
{
    (void)state;
    struct run r =
        visit(&(struct visit){ .options = { .cert = CERT_VALID, .token_cert = CERT_SOON } });
    assert_code(&r, 0);
    assert_step(&r, "configuration", "ok", "d.ini");
    assert_step(&r, "certificate", "ok", "(upstream.ca_file) ends in ");
    assert_step(&r, "upstream DNS", "ok", "localhost is ");
    assert_step(&r, "upstream TCP", "ok", "127.0.0.1 answers");
    assert_step(&r, "upstream TLS", "ok",
                "TLSv1.3; certificate of CN=localhost, issued by "
                "CN=Test CA, trusted, valid for ");
    assert_step(&r, "token TCP", "ok", "127.0.0.1 answers");
    assert_step(&r, "token TLS", "note", "more days only");
    assert_step(&r, "token", "ok", "lifetime 3600 s, scope \"read:api write:api\"");
    assert_step(&r, "request", "ok", "GET /v0/chains?pageSize=1: 200, the token is accepted");
    assert_step(&r, "clock", "skipped", "");
    assert_contains(bytes_text(&r.out), "\nall is well\n");
    run_free(&r);
}

static void bad_settings_are_told_and_nothing_is_tried(void **state)
{
    (void)state;
    struct run r =
        visit(&(struct visit){ .settings = "log.level = loud\nlisten.adress = x\n" });
    assert_code(&r, 1);
    assert_step(&r, "configuration", "FAILED", "log.level");
    assert_step(&r, "configuration", "FAILED", "did you mean address?");
    assert_step(&r, "all else", "skipped", "");
    assert_contains(bytes_text(&r.out), "\n2 failed\n");
    run_free(&r);
}

/* --- the way there ----------------------------------------------------------------------- */

static void a_name_that_does_not_exist(void **state)
{
    (void)state;
    struct run r = visit(&(struct visit){ .base_url = "https://no-such-host.invalid/v0",
                                          .token_url = "https://no-such-host.invalid/token" });
    assert_code(&r, 1);
    /* a machine without any name server cannot know */
    if (strstr(bytes_text(&r.out), "name servers") != NULL)
        assert_step(&r, "upstream DNS", "FAILED", "no-such-host.invalid");
    else
        assert_step(&r, "upstream DNS", "FAILED",
                    "the name no-such-host.invalid does not exist: check upstream.base_url");
    assert_step(&r, "upstream TCP", "skipped", "");
    assert_step(&r, "upstream TLS", "skipped", "");
    assert_step(&r, "token", "skipped", "not reached");
    assert_step(&r, "request", "skipped", "");
    run_free(&r);
}

static void a_port_where_nobody_listens(void **state)
{
    (void)state;
    struct run r = visit(&(struct visit){ .base_url = "http://127.0.0.1:1/v0" });
    assert_code(&r, 1);
    assert_step(&r, "upstream TCP", "FAILED",
                "127.0.0.1:1 refuses connections (127.0.0.1: Connection refused)");
    assert_step(&r, "token", "ok", "lifetime 3600 s"); /* which is elsewhere */
    assert_step(&r, "request", "skipped", "the upstream is not reached");
    run_free(&r);
}

/* A listener whose queue is full: the kernel drops what comes. */
static void a_host_that_does_not_answer(void **state)
{
    (void)state;
    struct sockaddr_in addr = { .sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), filler[8];
    char url[64];
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    for (size_t i = 0; i < 8; i++) {
        filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(filler[i], (struct sockaddr *)&addr, sizeof addr);
    }
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d/v0", ntohs(addr.sin_port));
    struct run r = visit(&(struct visit){ .base_url = url });
    assert_code(&r, 1);
    assert_step(&r, "upstream TCP", "FAILED", "does not answer");
    assert_step(&r, "upstream TCP", "FAILED", "firewall");
    for (size_t i = 0; i < 8; i++)
        (void)close(filler[i]);
    (void)close(fd);
    run_free(&r);
}

/* --- certificates ------------------------------------------------------------------------ */

static void serve_hours_ago(struct peer_conn *c, void *arg)
{
    const int *hours = arg;
    time_t then = time(NULL) - (time_t)*hours * 3600 - 3; /* as if the answer took so long */
    struct tm tm;
    char headers[128];
    (void)gmtime_r(&then, &tm);
    (void)strftime(headers, sizeof headers, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
    while (peer_read_request(c) != NULL)
        (void)peer_answer(c, 200, headers, "");
}

static void each_flaw_of_a_certificate_has_its_sentence(void **state)
{
    (void)state;
    static const struct {
        enum cert_kind kind;
        const char *words;
    } rows[] = {
        { CERT_WRONG_NAME, "the certificate is for other.example, not for localhost: check the "
                           "host in upstream.base_url" },
        { CERT_SELF_SIGNED, "is signed by itself" },
        { CERT_CHAIN_MISSING,
          "was issued by CN=Intermediate CA, which is not among the authorities" },
        { CERT_OLD_TLS, "TLS versions before 1.2" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct run r = visit(&(struct visit){ .options = { .cert = rows[i].kind } });
        assert_code(&r, 1);
        assert_step(&r, "upstream TLS", "FAILED", rows[i].words);
        assert_step(&r, "request", "skipped", "the upstream is not reached");
        run_free(&r);
    }
}

static void an_unknown_authority_names_the_key_for_it(void **state)
{
    (void)state;
    struct run r =
        visit(&(struct visit){ .options = { .cert = CERT_VALID }, .system_ca = true });
    assert_code(&r, 1);
    assert_step(&r, "upstream TLS", "FAILED", "was issued by CN=Test CA");
    assert_step(&r, "upstream TLS", "FAILED", "(the system's, /");
    assert_step(&r, "upstream TLS", "FAILED", "add its certificate to upstream.ca_file");
    run_free(&r);
}

static void an_expired_certificate_and_a_wrong_clock_are_told_apart(void **state)
{
    (void)state;
    static int now = 0, then = 72; /* hours; the certificate ran out 24 hours ago */
    struct run r = visit(&(struct visit){
        .options = { .cert = CERT_EXPIRED, .serve = serve_hours_ago, .arg = &now } });
    assert_code(&r, 1);
    assert_step(&r, "upstream TLS", "FAILED",
                "the certificate of localhost expired 24 hours ago");
    assert_step(&r, "upstream TLS", "FAILED", "the clock of this machine is right");
    run_free(&r);
    r = visit(&(struct visit){
        .options = { .cert = CERT_EXPIRED, .serve = serve_hours_ago, .arg = &then } });
    assert_code(&r, 1);
    assert_step(&r, "upstream TLS", "FAILED", "the clock of this machine is 3 days ahead");
    run_free(&r);
}

static void a_clock_that_is_off_is_noted_though_all_works(void **state)
{
    (void)state;
    static int later = -5, now = 0;
    struct run r =
        visit(&(struct visit){ .options = { .serve = serve_hours_ago, .arg = &later } });
    assert_code(&r, 0);
    assert_step(&r, "clock", "note", "5 hours behind the server's");
    run_free(&r);
    r = visit(&(struct visit){ .options = { .serve = serve_hours_ago, .arg = &now } });
    assert_code(&r, 0);
    assert_step(&r, "clock", "ok", "agrees");
    run_free(&r);
}

static void a_client_certificate_that_is_missing_is_asked_for(void **state)
{
    (void)state;
    struct run r = visit(&(struct visit){ .options = { .cert = CERT_WANTS_CLIENT } });
    assert_code(&r, 1);
    assert_contains(bytes_text(&r.out), "upstream.client_certificate");
    run_free(&r);
}

static void serve_nonsense(struct peer_conn *c, void *arg)
{
    (void)arg;
    (void)peer_puts(c, "SSH-2.0-nothing\r\n");
    peer_read_eof(c);
}

static void what_speaks_no_tls_is_told(void **state)
{
    (void)state;
    WORLD(w);
    char url[64];
    world_start(&w, &(struct world_options){ .serve = serve_nonsense, .no_proxy = true });
    struct peer *plain = w.api;
    (void)snprintf(url, sizeof url, "https://localhost:%d/v0", peer_port(plain));
    struct visit v = { .base_url = url };
    struct bytes ini = world_ini(url, url, "");
    char path[] = "/tmp/oneshot-doctor-XXXXXX";
    int fd = mkstemp(path);
    (void)close(fd);
    write_file(path, bytes_text(&ini));
    struct run r = run_doctor(path, v.env);
    assert_code(&r, 1);
    assert_step(&r, "upstream TLS", "FAILED", "is not TLS: check scheme and port");
    run_free(&r);
    bytes_free(&ini);
    (void)unlink(path);
}

/* --- the token --------------------------------------------------------------------------- */

static struct run with_token_answer(struct token_answer answer)
{
    WORLD(w);
    struct bytes ini;
    char base[96], token[96], path[] = "/tmp/oneshot-doctor-XXXXXX";
    world_start(&w, &(struct world_options){ .no_proxy = true });
    tokens_always(w.tokens, answer);
    (void)snprintf(base, sizeof base, "%s/v0", peer_url(w.api));
    (void)snprintf(token, sizeof token, "%s/token", peer_url(tokens_peer(w.tokens)));
    ini = world_ini(base, token, "");
    int fd = mkstemp(path);
    assert_int_equal(write(fd, ini.data, ini.len), (ssize_t)ini.len);
    (void)close(fd);
    struct run r = run_doctor(path, NULL);
    assert_code(&r, 1);
    assert_lacks(bytes_text(&r.out), CANARY);
    assert_lacks(bytes_text(&r.err), CANARY);
    assert_step(&r, "request", "skipped", "there is no token");
    (void)unlink(path);
    bytes_free(&ini);
    world_end(&w);
    return r;
}

static void each_refusal_of_the_token_endpoint_has_its_sentence(void **state)
{
    (void)state;
    static const struct {
        struct token_answer answer;
        const char *words;
    } rows[] = {
        { { .status = 401, .body = "{\"error\":\"invalid_client\"}" },
          "answered 401: check token.client_id and token.client_secret" },
        { { .status = 401,
            .body = "{\"type\":\"UnauthenticatedError\",\"message\":\"Unknown client\"}" },
          "It does not know the client id: check token.client_id" },
        { { .status = 401,
            .body = "{\"message\":\"invalid client secret " CLIENT_SECRET "\"}" },
          "It says that the secret is wrong: check token.client_secret" },
        { { .status = 403, .body = "" }, "answered 403" },
        { { .status = 400, .body = "{\"error\":\"invalid_scope\"}" }, "check token.scope" },
        { { .status = 404, .body = "" }, "answered 404: check token.url" },
        { { .status = 302, .headers = "Location: https://login.example/\r\n", .body = "" },
          "redirects are not followed" },
        { { .status = 200, .headers = "Content-Type: text/html\r\n", .body = "<html>Log in" },
          "it is a web page; check token.url" },
        { { .status = 503, .body = "" }, "answered 503" },
        { { .what = TOKEN_CLOSE }, "" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct run r = with_token_answer(rows[i].answer);
        assert_step(&r, "token", "FAILED", rows[i].words);
        run_free(&r);
    }
}

static void a_token_endpoint_that_hangs_is_waited_for_a_while_only(void **state)
{
    (void)state;
    struct run r = with_token_answer((struct token_answer){ .what = TOKEN_HANG });
    assert_step(&r, "token", "FAILED", "did not answer");
    run_free(&r);
}

/* --- the request ------------------------------------------------------------------------- */

static int refused_status;

static void answer_refused(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)r;
    (void)peer_answer(c, refused_status, arg, "<p>" CANARY "-token-1 " CLIENT_SECRET);
}

static void each_answer_to_the_request_has_its_sentence(void **state)
{
    (void)state;
    static char html[] = "Content-Type: text/html\r\n";
    static const struct {
        int status, code;
        const char *verdict, *words;
        char *headers;
    } rows[] = {
        { 404, 0, "note", "404, the token is accepted", NULL },
        { 401, 1, "FAILED", "do token.url and upstream.base_url belong to the same", NULL },
        { 403, 1, "FAILED", "the API key lacks the right", NULL },
        { 429, 1, "FAILED", "try again later", NULL },
        { 500, 1, "FAILED", "the upstream itself is in trouble", NULL },
        { 301, 1, "FAILED", "no answer of the API", NULL },
        { 200, 1, "FAILED", "a web page", html },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        refused_status = rows[i].status;
        struct run r = visit(
            &(struct visit){ .options = { .answer = answer_refused, .arg = rows[i].headers } });
        assert_code(&r, rows[i].code);
        assert_step(&r, "request", rows[i].verdict, rows[i].words);
        run_free(&r);
    }
}

static void answer_below_v0(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)arg;
    (void)peer_answer(c, strncmp(r->target, "/v0/", 4) == 0 ? 200 : 404, "", "{}");
}

static void a_wrong_path_in_base_url_is_recognised(void **state)
{
    (void)state;
    static const char *const paths[] = { "", "/v1" };
    for (size_t i = 0; i < 2; i++) {
        struct run r = visit(
            &(struct visit){ .options = { .answer = answer_below_v0 }, .path = paths[i] });
        assert_code(&r, 1);
        assert_step(&r, "request", "FAILED", "the path in upstream.base_url is wrong");
        assert_step(&r, "request", "FAILED", "set upstream.base_url to http://127.0.0.1:");
        run_free(&r);
    }
    struct run r = visit(&(struct visit){ .options = { .answer = answer_below_v0 } });
    assert_code(&r, 0);
    run_free(&r);
}

static void http_to_a_port_that_speaks_tls_is_recognised(void **state)
{
    (void)state;
    struct run r =
        visit(&(struct visit){ .options = { .cert = CERT_VALID }, .write_http = true });
    assert_code(&r, 1);
    assert_step(&r, "upstream TLS", "note", "not used: upstream.base_url is http://");
    assert_step(&r, "request", "FAILED",
                "speaks TLS: write https:// in place of http:// in upstream.base_url");
    run_free(&r);
}

/* --- an outbound proxy ------------------------------------------------------------------- */

static struct run through(const struct connect_proxy_options *o, const char *credentials,
                          const char *no_proxy, const char *settings)
{
    struct connect_proxy *outbound = connect_proxy_start(o);
    char variable[128];
    (void)snprintf(variable, sizeof variable, "HTTPS_PROXY=http://%s127.0.0.1:%d", credentials,
                   connect_proxy_port(outbound));
    const char *const env[] = { variable, no_proxy, NULL };
    struct run r =
        visit(&(struct visit){ .options = { .cert = CERT_VALID, .token_cert = CERT_VALID },
                               .env = env,
                               .settings = settings });
    connect_proxy_stop(outbound);
    return r;
}

static void an_outbound_proxy_is_found_used_and_explained(void **state)
{
    (void)state;
    const char *const by_env = "upstream.proxy = env\n";
    struct run r = through(NULL, "", NULL, by_env);
    assert_code(&r, 0);
    assert_step(&r, "upstream proxy", "ok", "the way leads through 127.0.0.1:");
    assert_step(&r, "upstream proxy", "ok", "as HTTPS_PROXY says");
    assert_step(&r, "request", "ok", "200");
    run_free(&r);

    r = through(NULL, "", "NO_PROXY=localhost", by_env);
    assert_code(&r, 0);
    assert_step(&r, "upstream proxy", "note",
                "HTTPS_PROXY is set and not used: NO_PROXY exempts");
    run_free(&r);

    r = through(NULL, "", NULL, "upstream.proxy = none\n");
    assert_code(&r, 0);
    assert_step(&r, "upstream proxy", "note", "upstream.proxy is none");
    run_free(&r);

    const struct connect_proxy_options demand = { .authorization = "Basic no" };
    r = through(&demand, "", NULL, by_env);
    assert_code(&r, 1);
    assert_step(&r, "upstream TLS", "FAILED",
                "asks for credentials (407): put them into HTTPS_");
    run_free(&r);

    r = through(&demand, "user:canary-pass@", NULL, by_env);
    assert_code(&r, 1);
    assert_step(&r, "upstream TLS", "FAILED", "refuses the credentials in HTTPS_PROXY (407)");
    run_free(&r);

    const struct connect_proxy_options refuse = { .refuse_with = 403 };
    r = through(&refuse, "", NULL, by_env);
    assert_code(&r, 1);
    assert_step(&r, "upstream TLS", "FAILED",
                "answered 403 when asked to connect to localhost:");
    run_free(&r);
}

static void a_proxy_that_is_not_there_is_named(void **state)
{
    (void)state;
    const char *const env[] = { "HTTPS_PROXY=http://127.0.0.1:1", NULL };
    struct run r = visit(&(struct visit){
        .options = { .cert = CERT_VALID }, .env = env, .settings = "upstream.proxy = env\n" });
    assert_code(&r, 1);
    assert_step(&r, "upstream TCP", "FAILED", "127.0.0.1:1 refuses connections");
    assert_step(&r, "upstream TCP", "FAILED", "check host and port in HTTPS_PROXY");
    run_free(&r);
}

/* libcurl would take what is behind the first of these characters for the host or a path, and
 * repeat the whole URL in its message; visit() looks for CANARY in what is printed. */
static void a_proxy_password_that_is_not_encoded_is_told_and_never_shown(void **state)
{
    (void)state;
    static const char *const credentials[] = { "user:" CANARY "/x@", "user:" CANARY "@x@",
                                               "user:" CANARY "#@", "user:" CANARY "?@" };
    const char *const by_env = "upstream.proxy = env\n";
    for (size_t i = 0; i < sizeof credentials / sizeof *credentials; i++) {
        struct run r = through(NULL, credentials[i], NULL, by_env);
        assert_code(&r, 1);
        assert_step(&r, "configuration", "FAILED", "is env, and HTTPS_PROXY has a character");
        run_free(&r);
    }
    struct run r =
        through(NULL, "", NULL, "upstream.proxy = http://user:" CANARY "/x@127.0.0.1:1\n");
    assert_code(&r, 1);
    assert_step(&r, "configuration", "FAILED", "must be percent-encoded");
    run_free(&r);

    r = through(NULL, "user:" CANARY "%2Fx@", NULL, by_env);
    assert_code(&r, 0);
    run_free(&r);
}

/* libcurl's message repeats the URL. */
static void a_proxy_scheme_that_is_unknown_is_told_without_the_url(void **state)
{
    (void)state;
    struct connect_proxy *outbound = connect_proxy_start(NULL);
    char variable[128];
    (void)snprintf(variable, sizeof variable, "HTTPS_PROXY=ftp://user:" CANARY "@127.0.0.1:%d",
                   connect_proxy_port(outbound));
    const char *const env[] = { variable, NULL };
    struct run r =
        visit(&(struct visit){ .options = { .cert = CERT_VALID, .token_cert = CERT_VALID },
                               .env = env,
                               .settings = "upstream.proxy = env\n" });
    assert_code(&r, 1);
    connect_proxy_stop(outbound);
    run_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_is_well),
        TEST(bad_settings_are_told_and_nothing_is_tried),
        TEST(a_wrong_path_in_base_url_is_recognised),
        TEST(http_to_a_port_that_speaks_tls_is_recognised),
        TEST(a_name_that_does_not_exist),
        TEST(a_port_where_nobody_listens),
        TEST(a_host_that_does_not_answer),
        TEST(each_flaw_of_a_certificate_has_its_sentence),
        TEST(an_unknown_authority_names_the_key_for_it),
        TEST(an_expired_certificate_and_a_wrong_clock_are_told_apart),
        TEST(a_clock_that_is_off_is_noted_though_all_works),
        TEST(a_client_certificate_that_is_missing_is_asked_for),
        TEST(what_speaks_no_tls_is_told),
        TEST(each_refusal_of_the_token_endpoint_has_its_sentence),
        TEST(a_token_endpoint_that_hangs_is_waited_for_a_while_only),
        TEST(each_answer_to_the_request_has_its_sentence),
        TEST(an_outbound_proxy_is_found_used_and_explained),
        TEST(a_proxy_that_is_not_there_is_named),
        TEST(a_proxy_password_that_is_not_encoded_is_told_and_never_shown),
        TEST(a_proxy_scheme_that_is_unknown_is_told_without_the_url),
    };
    return RUN_TESTS(tests);
}

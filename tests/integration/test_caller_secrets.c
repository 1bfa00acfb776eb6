/* Callers that are recognised by a secret: in a header field, as a bearer token, and through
 * the local token endpoint, so that an unmodified SDK can be a caller with a name. No secret
 * appears anywhere. */
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "rights_corpus.h"

#define SETTINGS "admin.address = 127.0.0.1:0\nprocess.workers = 1\nclasses.table = 1shot\n"
/* The harness looks for the canary in whatever the proxy writes. */
#define SECRET_A CANARY "-a-0123456789abcdef0123456789"
#define SECRET_B CANARY "-b-0123456789abcdef+/0123456789=="
#define SECRET_C CANARY "-c-0123456789abcdef0123456789"
#define SECRET_D CANARY "-d-0123456789abcdef0123456789"

struct place {
    char dir[64], a[96], b[96], more[2048];
};

static void place_make(struct place *p, const char *rest)
{
    (void)snprintf(p->dir, sizeof p->dir, "/tmp/caller-secrets-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->a, sizeof p->a, "%s/a", p->dir);
    (void)snprintf(p->b, sizeof p->b, "%s/b", p->dir);
    write_file(p->a, SECRET_A "\n");
    write_file(p->b, SECRET_B "\n" SECRET_C "\n");
    (void)snprintf(p->more, sizeof p->more,
                   "[caller a]\nsecret_file = %s\nallow = read\n"
                   "[caller b]\nsecret_file = %s\nallow = read, money\nrate = money 9/1h\n%s",
                   p->a, p->b, rest);
}

static void place_remove(struct place *p)
{
    (void)unlink(p->a);
    (void)unlink(p->b);
    (void)rmdir(p->dir);
}
#define PLACE(name) struct place name __attribute__((cleanup(place_remove)))

static void start(struct world *w, const struct place *p)
{
    world_start(w, &(struct world_options){ .settings = SETTINGS, .more = p->more });
}

#define EXECUTE "/methods/" U "/execute"
#define KEY(secret) "X-Caller-Key: " secret "\r\n"
#define BEARER(secret) "Authorization: Bearer " secret "\r\n"

struct attempt {
    const char *headers; /* NULL: none */
    const char *method;
    int status;
    const char *caller; /* in the log */
};

/* All of them on one connection: each request is judged by what it shows itself. */
static void assert_attempts(struct world *w, const struct attempt *x, size_t n)
{
    struct client c;
    struct answer a = { 0 };
    size_t before = proxy_log_count(w->proxy, "event=access");

    client_open(&c, w->port);
    for (size_t i = 0; i < n; i++) {
        bool pays = x[i].method[0] == 'P';
        char caller[32];

        client_call(&c, x[i].method, pays ? EXECUTE : "/chains", x[i].headers,
                    pays ? "{}" : NULL, &a);
        if (a.status != x[i].status)
            fail_msg("attempt %zu: %d, not %d\n%s", i, a.status, x[i].status,
                     bytes_text(&a.body));
        assert_lacks(bytes_text(&a.head), CANARY);
        assert_true(proxy_log_wait(w->proxy, "event=access", before + i + 1, SOON_MS));
        assert_true(proxy_log_field(w->proxy, "event=access", before + i, "caller", caller,
                                    sizeof caller));
        assert_string_equal(caller, x[i].caller);
        if (strcmp(answer_header(&a, "Connection"), "close") == 0) { /* as a refusal does */
            client_close(&c);
            client_open(&c, w->port);
        }
    }
    client_close(&c);
    answer_free(&a);
}
#define ATTEMPTS(w, table) assert_attempts(w, table, sizeof(table) / sizeof *(table))

/* Nothing that a caller proves itself by has reached the API; only the proxy's own token
 * has. */
static void assert_nothing_forwarded(struct world *w)
{
    for (size_t i = 0; i < peer_count(w->api, ""); i++) {
        const struct peer_request *r = peer_request(w->api, "", i);
        char head[4096];

        (void)snprintf(head, sizeof head, "%s", bytes_text(&r->head));
        for (char *p = head; (p = strstr(p, CANARY "-token-")) != NULL;)
            p[0] = '-';
        assert_lacks(head, CANARY);
        assert_lacks(head, "aller");
    }
}

static void each_request_is_judged_by_the_secret_it_shows(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p, "[caller other]\nallow = read\n");
    WORLD(w);
    start(&w, &p);
    static const struct attempt table[] = {
        { KEY(SECRET_A), "GET", 200, "a" },
        { KEY(SECRET_B), "POST", 200, "b" },
        { KEY(SECRET_A), "POST", 403, "a" },
        { BEARER(SECRET_B), "POST", 200, "b" },
        { "authorization:  bearer   " SECRET_C " \r\nx-caller-key:" SECRET_C "\t\r\n", "POST",
          200, "b" },
        { NULL, "GET", 200, "other" },
        /* a bearer that is nobody's secret means what it always did: nothing */
        { BEARER("oneshot-proxy-placeholder"), "GET", 200, "other" },
        { BEARER(SECRET_D), "GET", 200, "other" },
        { "Authorization: Basic " SECRET_B "\r\n", "POST", 403, "other" },
        { BEARER(SECRET_B) BEARER(SECRET_B), "POST", 403, "other" },
        /* a header field that is nobody's is refused, whatever else may fit */
        { KEY(SECRET_D), "GET", 403, "none" },
        { KEY(""), "GET", 403, "none" },
        { KEY(SECRET_D) BEARER(SECRET_A), "GET", 403, "none" },
        { KEY(SECRET_A ", " SECRET_A), "GET", 403, "none" },
        { KEY(SECRET_A) KEY(SECRET_A), "GET", 403, "none" },
        { KEY(SECRET_A) "x-caller-key: " SECRET_D "\r\n", "GET", 403, "none" },
        { KEY(SECRET_A) BEARER(SECRET_B), "GET", 403, "none" },
        /* one that only looks like it proves nothing, and does not pass either */
        { "X_Caller_Key: " SECRET_B "\r\n", "GET", 200, "other" },
        { "X-Caller_Key: " SECRET_B "\r\n", "POST", 403, "other" },
        { "X-Caller-Key_: " SECRET_B "\r\n", "GET", 200, "other" },
        { "X_Caller_Key: " SECRET_B "\r\n" KEY(SECRET_A), "GET", 200, "a" },
    };
    ATTEMPTS(&w, table);
    assert_nothing_forwarded(&w);
    assert_false(proxy_log_contains(w.proxy, CANARY));
}

static void the_secret_of_another_does_not_open_an_address(void **state)
{
    (void)state;
    PLACE(p);
    char rest[256], path[96];
    struct answer a = { 0 };
    struct client c;
    place_make(&p, "");
    (void)snprintf(path, sizeof path, "%s/socket", p.dir);
    (void)snprintf(rest, sizeof rest, "[caller own]\naddress = unix:%s\nallow = read\n", path);
    (void)snprintf(p.more + strlen(p.more), sizeof p.more - strlen(p.more), "%s", rest);
    WORLD(w);
    start(&w, &p);
    for (int with = 0; with < 3; with++) {
        client_open_unix(&c, path);
        client_call(&c, "GET", "/chains",
                    with == 0   ? NULL
                    : with == 1 ? KEY(SECRET_A)
                                : BEARER(SECRET_A),
                    NULL, &a);
        assert_int_equal(a.status, with == 0 ? 200 : 403);
        client_close(&c);
    }
    answer_free(&a);
}

static void token_of(const struct answer *a, char *out, size_t cap)
{
    assert_int_equal(a->status, 200);
    json_member(&a->body, "access_token", out, cap);
}

#define FORM "Content-Type: application/x-www-form-urlencoded\r\n"
#define JSON "Content-Type: application/json\r\n"

/* An SDK asks with the secret it has for its client secret, and sends what it gets. */
static void an_unmodified_sdk_is_a_caller_with_a_name(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p, "");
    WORLD(w);
    start(&w, &p);
    static char large[9000];
    (void)snprintf(large, sizeof large, "client_secret=%s&x=%08000d", SECRET_A, 0);
    const struct {
        const char *headers, *body, *token;
    } cases[] = {
        { FORM, "grant_type=client_credentials&client_id=x&client_secret=" SECRET_A, SECRET_A },
        { FORM, "client_secret=" CANARY "-b-0123456789abcdef%2B%2f0123456789%3d%3D", SECRET_B },
        { JSON,
          "{\"client_id\":\"x\",\"client_secret\":\"" CANARY
          "-b-0123456789abcdef+\\/0123456789==\"}",
          SECRET_B },
        { NULL, "client_secret=" SECRET_C, SECRET_C },
        { FORM, "client_secret=" SECRET_D, "oneshot-proxy-placeholder" },
        { FORM, "client_secret=" SECRET_A "&client_secret=" SECRET_A,
          "oneshot-proxy-placeholder" },
        { FORM, "x=y", "oneshot-proxy-placeholder" },
        { FORM, NULL, "oneshot-proxy-placeholder" },
        { FORM, large, SECRET_A },
    };
    struct answer a = { 0 };
    char token[300];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        http_call(w.port, "POST", i % 2 == 0 ? "/token" : "/v0/token", cases[i].headers,
                  cases[i].body, &a);
        token_of(&a, token, sizeof token);
        assert_string_equal(token, cases[i].token);
        assert_string_equal(answer_header(&a, "Cache-Control"), "no-store");
    }
    /* of one that is too large only the placeholder comes, and its caller waits for nothing */
    (void)snprintf(large, sizeof large, "client_secret=%s&x=%08500d", SECRET_A, 0);
    http_call(w.port, "POST", "/token", FORM, large, &a);
    token_of(&a, token, sizeof token);
    assert_string_equal(token, "oneshot-proxy-placeholder");
    http_raw(w.port,
             "POST /token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
             "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
             "e\r\nclient_secret=\r\n23\r\n" SECRET_A "\r\n0\r\n\r\n",
             &a);
    token_of(&a, token, sizeof token);
    assert_string_equal(token, SECRET_A);
    /* over one connection: the token, then what it is good for */
    struct client c;
    client_open(&c, w.port);
    client_call(&c, "POST", "/token", FORM, "client_secret=" SECRET_B, &a);
    assert_int_equal(a.status, 200);
    client_call(&c, "POST", EXECUTE, BEARER(SECRET_B), "{}", &a);
    assert_int_equal(a.status, 200);
    assert_true(proxy_log_wait(w.proxy, "event=access caller=b class=money", 1, SOON_MS));
    client_close(&c);
    assert_int_equal(peer_count(w.api, ""), 1);
    assert_nothing_forwarded(&w);
    assert_false(proxy_log_contains(w.proxy, CANARY));
    answer_free(&a);
}

/* Until the new secrets are in force. */
static int soon(struct world *w, const char *headers, int status)
{
    int64_t until_ms = now_ms() + SOON_MS;
    struct answer a = { 0 };
    int got;

    do {
        http_call(w->port, "GET", "/chains", headers, NULL, &a);
        got = a.status;
    } while (got != status && now_ms() < until_ms);
    answer_free(&a);
    return got;
}

static void a_secret_is_changed_without_a_signal_and_a_missing_one_stays(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p, "");
    WORLD(w);
    start(&w, &p);
    assert_int_equal(soon(&w, KEY(SECRET_A), 200), 200);
    assert_int_equal(soon(&w, KEY(SECRET_D), 403), 403);
    write_file(p.a, SECRET_A "\n" SECRET_D);
    assert_int_equal(soon(&w, KEY(SECRET_D), 200), 200);
    assert_int_equal(soon(&w, KEY(SECRET_A), 200), 200);
    assert_true(proxy_log_wait(w.proxy, "event=caller_secret_changed caller=a", 1, SOON_MS));
    write_file(p.a, SECRET_D "\r\n");
    assert_int_equal(soon(&w, KEY(SECRET_A), 403), 403);
    assert_int_equal(soon(&w, BEARER(SECRET_D), 200), 200);
    /* what is wrong with a file is told, and nothing changes */
    static const char *const wrong[] = { "short\n", "", SECRET_D "\n\n" SECRET_A "\n",
                                         SECRET_D " \n", SECRET_C "\n" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        write_file(p.a, wrong[i]);
        assert_true(
            proxy_log_wait(w.proxy, "event=caller_secret_kept caller=a", i + 1, SOON_MS));
        write_file(p.a, SECRET_D "\n" SECRET_A "\n");
        assert_true(proxy_log_wait(w.proxy, "event=caller_secret_changed caller=a", 2 * i + 3,
                                   SOON_MS));
        write_file(p.a, SECRET_D "\n");
        assert_true(proxy_log_wait(w.proxy, "event=caller_secret_changed caller=a", 2 * i + 4,
                                   SOON_MS));
    }
    assert_int_equal(unlink(p.a), 0);
    assert_true(proxy_log_wait(w.proxy, "event=caller_secret_kept caller=a", 6, SOON_MS));
    assert_int_equal(soon(&w, KEY(SECRET_D), 200), 200);
    /* a change of another's goes on meanwhile */
    write_file(p.b, SECRET_B "\n");
    assert_int_equal(soon(&w, KEY(SECRET_C), 403), 403);
    assert_int_equal(soon(&w, KEY(SECRET_D), 200), 200);
    assert_false(proxy_log_contains(w.proxy, CANARY));
}

static void a_reload_reads_the_secrets_and_drops_those_of_a_section_that_is_gone(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p, "");
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    char more[512];
    start(&w, &p);
    client_open(&c, w.port);
    client_call(&c, "GET", "/chains", KEY(SECRET_A), NULL, &a);
    assert_int_equal(a.status, 200);
    (void)snprintf(more, sizeof more,
                   "[callers]\nheader = X-Who\n"
                   "[caller b]\nsecret_file = %s\nallow = read\n",
                   p.b);
    world_reload(&w, &(struct world_options){ .settings = SETTINGS, .more = more }, "reloaded");
    assert_int_equal(soon(&w, "X-Who: " SECRET_B "\r\n", 200), 200);
    client_call(&c, "GET", "/chains", BEARER(SECRET_A), NULL, &a);
    assert_int_equal(a.status, 403);
    assert_problem_detail(&a, "a secret");
    client_close(&c);
    write_file(p.b, SECRET_D "\n"); /* the files of the new settings are watched */
    assert_int_equal(soon(&w, "X-Who: " SECRET_D "\r\n", 200), 200);
    assert_int_equal(soon(&w, "X-Who: " SECRET_B "\r\n", 403), 403);
    answer_free(&a);
}

static void no_page_shows_a_secret(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p, "");
    WORLD(w);
    struct answer a = { 0 };
    start(&w, &p);
    http_call(w.port, "GET", "/chains", KEY(SECRET_A), NULL, &a);
    http_call(w.port, "POST", EXECUTE, KEY(SECRET_A), "{}", &a);
    assert_lacks(bytes_text(&a.body), CANARY);
    http_call(w.port, "GET", "/chains", KEY(SECRET_D), NULL, &a);
    assert_problem_detail(&a, "callers.header");
    assert_lacks(bytes_text(&a.body), CANARY);
    http_call(w.port, "POST", "/token", FORM, "client_secret=" SECRET_A, &a);
    static const char *const pages[] = { "/", "/metrics", "/readyz", "/healthz", "/status" };
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        http_get(proxy_admin_port(w.proxy), pages[i], &a);
        assert_lacks(bytes_text(&a.body), CANARY);
    }
    char ini[128];
    (void)snprintf(ini, sizeof ini, "%s/oneshot-proxy.ini", proxy_dir(w.proxy));
    static const char *const commands[] = { "--print-config", "--check" };
    for (size_t i = 0; i < 2; i++) {
        struct run r =
            run_proxy((const char *const[]){ "--config", ini, commands[i], NULL }, NULL);
        assert_int_equal(r.code, 0);
        assert_lacks(bytes_text(&r.out), SECRET_A);
        assert_lacks(bytes_text(&r.err), SECRET_A);
        run_free(&r);
    }
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_request_is_judged_by_the_secret_it_shows),
        TEST(the_secret_of_another_does_not_open_an_address),
        TEST(an_unmodified_sdk_is_a_caller_with_a_name),
        TEST(a_secret_is_changed_without_a_signal_and_a_missing_one_stays),
        TEST(a_reload_reads_the_secrets_and_drops_those_of_a_section_that_is_gone),
        TEST(no_page_shows_a_secret),
    };
    return RUN_TESTS(tests);
}

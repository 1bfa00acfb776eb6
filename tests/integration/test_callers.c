/* Callers with names and rights, against the running program: who is recognised, and what
 * each may send. */
#include <unistd.h>

#include "harness.h"
#include "rights_corpus.h"

#define SETTINGS "admin.address = 127.0.0.1:0\nprocess.workers = 1\nclasses.table = 1shot"

#define DENY "deny = POST /wallets/{uuid}/transfer\n"

struct place {
    char dir[64], more[4096];
};

static void place_make(struct place *p)
{
    (void)snprintf(p->dir, sizeof p->dir, "/tmp/callers-test-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    corpus_sections(p->more, sizeof p->more, p->dir);
}

static void place_remove(struct place *p)
{
    (void)rmdir(p->dir);
}

#define PLACE(name) struct place name __attribute__((cleanup(place_remove)))

/* One request by a caller's own socket, on a connection of its own. */
static void call_as(const struct place *p, const char *caller, const struct corpus_row *row,
                    struct answer *a)
{
    char path[96], request[1024];
    bool has_body = row->method[0] == 'P' || row->method[0] == 'p';
    struct client c;

    (void)snprintf(path, sizeof path, "%s/%s", p->dir, caller);
    (void)snprintf(request, sizeof request,
                   "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s%s%s\r\n%s",
                   row->method, row->target, row->field == NULL ? "" : row->field,
                   row->field == NULL ? "" : "\r\n", has_body ? "Content-Length: 2\r\n" : "",
                   has_body ? "{}" : "");
    client_open_unix(&c, path);
    client_puts(&c, request);
    client_read(&c, a, strcmp(row->method, "HEAD") == 0, SOON_MS);
    client_close(&c);
}

static void each_caller_sends_what_it_may_and_nothing_else(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p);
    WORLD(w);
    struct answer a = { 0 };
    size_t sent = 0, asked = 0;
    world_start(&w, &(struct world_options){ .settings = SETTINGS, .more = p.more });
    for (size_t i = 0; i < CORPUS_ROWS; i++)
        for (size_t k = 0; k < 3; k++) {
            const struct corpus_row *row = &corpus[i];
            int status = row->class == NULL ? atoi(row->sent) : row->sent[k] == '+' ? 200 : 403;
            call_as(&p, corpus_callers[k], row, &a);
            asked++;
            sent += row->class != NULL && row->sent[k] == '+';
            if (a.status != status)
                fail_msg("%s %s by %s: %d, not %d\n%s", row->method, row->target,
                         corpus_callers[k], a.status, status, bytes_text(&a.body));
            assert_true(proxy_log_wait(w.proxy, "event=access", asked, SOON_MS));
            if (row->class == NULL)
                continue;
            char class[32], caller[32], decision[32];
            assert_true(proxy_log_field(w.proxy, "event=access", asked - 1, "class", class,
                                        sizeof class));
            assert_true(proxy_log_field(w.proxy, "event=access", asked - 1, "caller", caller,
                                        sizeof caller));
            assert_true(proxy_log_field(w.proxy, "event=access", asked - 1, "decision",
                                        decision, sizeof decision));
            assert_string_equal(class, row->class);
            assert_string_equal(caller, corpus_callers[k]);
            assert_string_equal(decision, status == 200 ? "allowed" : "denied");
        }
    assert_int_equal(peer_count(w.api, ""), sent);
    answer_free(&a);
}

static void a_refusal_says_what_is_missing(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p);
    WORLD(w);
    struct answer a = { 0 };
    const struct corpus_row transfer = { "POST", "/wallets/" U "/transfer", "", "", NULL };
    const struct corpus_row odd = { "POST", "/wallets/" U "/transfer/", "", "", NULL };
    world_start(&w, &(struct world_options){ .settings = SETTINGS, .more = p.more });
    call_as(&p, "r", &transfer, &a);
    assert_problem(&a, 403, "request", "http_request_denied");
    assert_problem_detail(&a, "r may not POST /wallets/{uuid}/transfer (money): no allow entry "
                              "matches. To permit it add that text to allow in [caller r].");
    assert_contains(bytes_text(&a.body), "\"type\":\"urn:oneshot-proxy:not-allowed\"");
    assert_contains(bytes_text(&a.body), "\"caller\":\"r\",\"class\":\"money\"");
    call_as(&p, "o", &transfer, &a);
    assert_problem_detail(&a, "the entry `POST /wallets/{uuid}/transfer` of deny");
    call_as(&p, "o", &odd, &a);
    assert_problem_detail(&a, "no operation that the proxy knows");
    assert_lacks(bytes_text(&a.body), "transfer/");
    /* by an address of nobody's */
    http_get(w.port, "/chains", &a);
    assert_problem(&a, 403, "request", "http_request_denied");
    assert_contains(bytes_text(&a.body), "\"type\":\"urn:oneshot-proxy:caller-unknown\"");
    assert_true(proxy_log_wait(w.proxy, "event=caller_unknown", 1, SOON_MS));
    assert_true(proxy_log_wait(w.proxy, "event=access", 4, SOON_MS)); /* and counted */
    http_get(proxy_admin_port(w.proxy), "/metrics", &a);
    assert_contains(bytes_text(&a.body), "oneshot_proxy_caller_requests_total{caller=\"r\","
                                         "class=\"money\",decision=\"denied\"} 1\n");
    assert_contains(bytes_text(&a.body), "oneshot_proxy_caller_requests_total{caller=\"none\","
                                         "class=\"read\",decision=\"denied\"} 1\n");
    http_get(proxy_admin_port(w.proxy), "/", &a);
    assert_contains(bytes_text(&a.body), "id=\"callers\"");
    answer_free(&a);
}

static void other_stands_for_those_that_nobody_recognised(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p);
    WORLD(w);
    struct answer a = { 0 };
    char more[4600];
    (void)snprintf(more, sizeof more, "%s[caller other]\nallow = read\n", p.more);
    world_start(&w, &(struct world_options){ .settings = SETTINGS, .more = more });
    http_get(w.port, "/chains", &a);
    assert_int_equal(a.status, 200);
    http_call(w.port, "POST", "/x402/settle", NULL, "{}", &a);
    assert_int_equal(a.status, 403);
    assert_contains(bytes_text(&a.body), "\"caller\":\"other\"");
    answer_free(&a);
}

static void the_user_of_a_unix_socket_is_a_proof(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p);
    for (int mine = 0; mine < 2; mine++) {
        WORLD(w);
        struct answer a = { 0 };
        const struct corpus_row chains = { "GET", "/chains", "", "", NULL };
        (void)snprintf(p.more, sizeof p.more,
                       "[caller r]\naddress = unix:%s/r\nuid = %u\nallow = read\n"
                       "[caller other]\nallow = read\n",
                       p.dir, (unsigned)getuid() + (mine ? 0 : 1));
        world_start(&w, &(struct world_options){ .settings = SETTINGS, .more = p.more });
        call_as(&p, "r", &chains, &a);
        /* who fails there is refused, and is not `other` */
        assert_int_equal(a.status, mine ? 200 : 403);
        answer_free(&a);
    }
}

static void a_reload_changes_rights_on_open_connections_too(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p);
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    char path[96];
    world_start(&w, &(struct world_options){ .settings = SETTINGS, .more = p.more });
    (void)snprintf(path, sizeof path, "%s/r", p.dir);
    client_open_unix(&c, path);
    client_call(&c, "GET", "/chains", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    /* its section is gone; its socket stays open and is nobody's, not other's */
    (void)snprintf(p.more, sizeof p.more,
                   "[caller p]\naddress = unix:%s/p\nallow = read\n"
                   "[caller other]\nallow = read\n",
                   p.dir);
    world_reload(&w, &(struct world_options){ .settings = SETTINGS, .more = p.more },
                 "reloaded");
    int64_t until_ms = now_ms() + SOON_MS;
    do
        client_call(&c, "GET", "/chains", NULL, NULL, &a);
    while (a.status == 200 && now_ms() < until_ms);
    assert_int_equal(a.status, 403);
    assert_contains(bytes_text(&a.body), "belongs to one caller");
    assert_true(proxy_log_wait(w.proxy, "event=restart_needed", 1, SOON_MS));
    client_close(&c);
    answer_free(&a);
}

/* Its socket is opened at the next start; until then nobody could be recognised as this caller, or
 * everybody. */
static void a_caller_that_would_be_known_after_a_restart_only_is_told_so(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p);
    WORLD(w);
    char settings[256];
    (void)snprintf(settings, sizeof settings,
                   "listen.address = 127.0.0.1:0, unix:%s/all\n" SETTINGS, p.dir);
    (void)snprintf(p.more, sizeof p.more, "[caller n]\nuid = 1\nallow = read\n");
    world_start(&w, &(struct world_options){ .settings = settings, .more = p.more });
    (void)snprintf(p.more, sizeof p.more, "[caller n]\naddress = unix:%s/n\nallow = read\n",
                   p.dir);
    world_reload(&w, &(struct world_options){ .settings = settings, .more = p.more },
                 "reload_refused");
    assert_true(proxy_log_contains(w.proxy, "from the next start on"));
    assert_false(proxy_log_contains(w.proxy, "there is nothing by which"));
}

static void an_observed_caller_goes_on_and_what_would_be_refused_is_told(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p);
    WORLD(w);
    struct answer a = { 0 };
    const struct corpus_row transfer = { "POST", "/wallets/" U "/transfer", "", "", NULL };
    const struct corpus_row execute = { "POST", "/methods/" U "/execute", "", "", NULL };
    (void)snprintf(p.more, sizeof p.more,
                   "[callers]\nmode = observe\n"
                   "[caller r]\naddress = unix:%s/r\nallow = read\n"
                   "[caller o]\naddress = unix:%s/o\nallow = money\nmode = enforce\n" DENY,
                   p.dir, p.dir);
    world_start(&w, &(struct world_options){ .settings = SETTINGS, .more = p.more });
    call_as(&p, "r", &transfer, &a);
    assert_int_equal(a.status, 200);
    call_as(&p, "o", &transfer, &a); /* its own mode wins */
    assert_int_equal(a.status, 403);
    call_as(&p, "o", &execute, &a);
    assert_int_equal(a.status, 200);
    http_call(w.port, "POST", "/nowhere", NULL, "{}", &a); /* of nobody */
    assert_int_equal(a.status, 200);
    char rule[32];
    assert_true(proxy_log_wait(w.proxy, "event=access caller=r class=money decision=would-deny",
                               1, SOON_MS));
    assert_true(
        proxy_log_wait(w.proxy, "event=access caller=none decision=would-deny", 1, SOON_MS));
    assert_true(
        proxy_log_field(w.proxy, "event=access caller=none", 0, "rule", rule, sizeof rule));
    assert_string_equal(rule, "no proof");
    http_get(proxy_admin_port(w.proxy), "/metrics", &a);
    assert_contains(bytes_text(&a.body), "oneshot_proxy_caller_requests_total{caller=\"r\","
                                         "class=\"money\",decision=\"would-deny\"} 1\n");
    assert_contains(bytes_text(&a.body), "\noneshot_proxy_callers_observing 2\n");
    http_get(proxy_admin_port(w.proxy), "/", &a);
    assert_contains(bytes_text(&a.body), "<code>allow = POST /wallets/{uuid}/transfer</code>");
    assert_contains(bytes_text(&a.body), "an entry of <code>deny</code> matches");
    assert_contains(bytes_text(&a.body), "to permit it, add <code>POST /wallets/{uuid}/transfer"
                                         "</code> to <code>allow</code> in <code>[caller r]");
    /* Enforced from now on: what was seen is forgotten. */
    (void)snprintf(p.more, sizeof p.more,
                   "[caller r]\naddress = unix:%s/r\nallow = read\n"
                   "[caller o]\naddress = unix:%s/o\nallow = money\n" DENY,
                   p.dir, p.dir);
    world_reload(&w, &(struct world_options){ .settings = SETTINGS, .more = p.more },
                 "reloaded");
    int64_t until_ms = now_ms() + SOON_MS;
    do
        call_as(&p, "r", &transfer, &a);
    while (a.status == 200 && now_ms() < until_ms);
    assert_int_equal(a.status, 403);
    http_get(proxy_admin_port(w.proxy), "/", &a);
    assert_lacks(bytes_text(&a.body), "<code>allow = ");
    answer_free(&a);
}

static int status_with(int port, enum cert_kind certificate)
{
    struct client c;
    struct answer a = { 0 };
    int status = 0;

    if (client_open_tls(&c, port, &(struct client_tls){ .certificate = certificate })) {
        client_call(&c, "POST", "/methods/" U "/execute", NULL, "{}", &a);
        status = a.status;
    }
    client_close(&c);
    answer_free(&a);
    return status;
}

static void a_name_in_the_client_certificate_is_a_proof(void **state)
{
    (void)state;
    WORLD(w);
    char settings[1024];
    struct cert_files f = { .serial = 0 };
    certs_write(&f, CERT_VALID);
    (void)snprintf(settings, sizeof settings,
                   SETTINGS "\nlisten.tls_certificate = %s\nlisten.tls_key = %s\n"
                            "listen.tls_client_ca = %s",
                   f.certificate, f.key, certs_ca_file());
    world_start(&w, &(struct world_options){ .settings = settings,
                                             .more = "[caller payroll]\n"
                                                     "certificate = dns:localhost\n"
                                                     "allow = money\n" });
    assert_int_equal(status_with(w.port, CERT_VALID), 200);
    assert_int_equal(status_with(w.port, CERT_WRONG_NAME), 403);
    assert_true(
        proxy_log_wait(w.proxy, "event=access caller=payroll decision=allowed", 1, SOON_MS));
}

static void a_certificate_is_known_by_its_uri_or_its_subject(void **state)
{
    static const struct {
        enum cert_kind certificate;
        int status;
        const char *caller;
    } cases[] = {
        { CERT_SPIFFE, 200, "payroll" },
        { CERT_TWO_URIS, 403, "none" },    /* which of them is meant is not said */
        { CERT_NUL_IN_NAME, 403, "none" }, /* it begins like the right one */
        { CERT_WRONG_NAME, 200, "by-subject" },
        { CERT_SUBJECT, 200, "by-whole-subject" },
        { CERT_VALID, 403, "none" },
    };
    (void)state;
    WORLD(w);
    char settings[1024], caller[32];
    struct cert_files f = { .serial = 0 };
    certs_write(&f, CERT_VALID);
    (void)snprintf(settings, sizeof settings,
                   SETTINGS "\nlisten.tls_certificate = %s\nlisten.tls_key = %s\n"
                            "listen.tls_client_ca = %s",
                   f.certificate, f.key, certs_ca_file());
    world_start(&w, &(struct world_options){ .settings = settings,
                                             .more = "[caller payroll]\n"
                                                     "certificate = uri:" CERT_SPIFFE_NAME "\n"
                                                     "allow = money\n"
                                                     "[caller by-subject]\n"
                                                     "certificate = subject:CN=other.example\n"
                                                     "allow = money\n"
                                                     "[caller by-whole-subject]\n"
                                                     "certificate = dns:payroll.example, "
                                                     "subject:" CERT_SUBJECT_NAME "\n"
                                                     "allow = money\n" });
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(status_with(w.port, cases[i].certificate), cases[i].status);
        assert_true(proxy_log_wait(w.proxy, "event=access", i + 1, SOON_MS));
        assert_true(
            proxy_log_field(w.proxy, "event=access", i, "caller", caller, sizeof caller));
        assert_string_equal(caller, cases[i].caller);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_caller_sends_what_it_may_and_nothing_else),
        TEST(a_refusal_says_what_is_missing),
        TEST(other_stands_for_those_that_nobody_recognised),
        TEST(an_observed_caller_goes_on_and_what_would_be_refused_is_told),
        TEST(the_user_of_a_unix_socket_is_a_proof),
        TEST(a_name_in_the_client_certificate_is_a_proof),
        TEST(a_certificate_is_known_by_its_uri_or_its_subject),
        TEST(a_reload_changes_rights_on_open_connections_too),
        TEST(a_caller_that_would_be_known_after_a_restart_only_is_told_so),
    };
    return RUN_TESTS(tests);
}

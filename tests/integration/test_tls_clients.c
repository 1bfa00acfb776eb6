/* Mutual TLS with clients that have no certificate, and replacing certificates and client
 * authorities while running. */
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"

static char settings_text[1024];

/* Settings for these files; client_ca may be NULL. */
static const char *settings_of(const struct cert_files *f, const char *client_ca)
{
    (void)snprintf(settings_text, sizeof settings_text,
                   "listen.tls_certificate = %s\nlisten.tls_key = %s\n%s%s\n", f->certificate,
                   f->key, client_ca ? "listen.tls_client_ca = " : "",
                   client_ca ? client_ca : "");
    return settings_text;
}

static void start_with(struct world *w, const struct cert_files *f, const char *client_ca)
{
    world_start(w, &(struct world_options){ .settings = settings_of(f, client_ca) });
}

static void reload_with(struct world *w, const struct cert_files *f, const char *client_ca,
                        const char *event)
{
    world_reload(w, &(struct world_options){ .settings = settings_of(f, client_ca) }, event);
}

/* The status that a client with that certificate gets; 0: none. */
static int try_as(int port, enum cert_kind certificate, int version)
{
    struct client c;
    struct answer a = { 0 };
    int status = 0;
    /* In TLS 1.3 a client may think that all is well until it reads. */
    if (client_open_tls(
            &c, port, &(struct client_tls){ .certificate = certificate, .version = version })) {
        client_call(&c, "POST", "/x", NULL, "{}", &a);
        status = a.status;
    }
    client_close(&c);
    answer_free(&a);
    return status;
}

/* The workers hear of a reload a little after it is logged. */
static bool wait_for(int port, enum cert_kind certificate, int status)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    while (try_as(port, certificate, 0) != status)
        if (now_ms() > deadline_ms)
            return false;
    return true;
}

static void only_clients_with_a_certificate_of_the_authorities_get_in(void **state)
{
    (void)state;
    static const struct {
        enum cert_kind certificate;
        int status;
        const char *reason;
    } cases[] = {
        { CERT_VALID, 200, NULL },
        { CERT_WRONG_NAME, 200, NULL }, /* a client's name is its own */
        { CERT_INTERMEDIATE, 200, NULL },
        { CERT_NONE, 0, "peer did not return a certificate" },
        { CERT_SELF_SIGNED, 0, "self-signed certificate" },
        { CERT_OTHER_CA, 0, "unable to get local issuer certificate" },
        { CERT_CHAIN_MISSING, 0, "unable to get local issuer certificate" },
        { CERT_EXPIRED, 0, "certificate has expired" },
        { CERT_FUTURE, 0, "certificate is not yet valid" },
        { CERT_NOT_CLIENT, 0, "unsuitable certificate purpose" },
    };
    static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
    WORLD(w);
    struct cert_files f = { .serial = 0 };
    size_t served = 0, failed = 0;
    certs_write(&f, CERT_VALID);
    char settings[1200];
    (void)snprintf(settings, sizeof settings, "admin.address = 127.0.0.1:0\n%s",
                   settings_of(&f, certs_ca_file()));
    world_start(&w, &(struct world_options){ .settings = settings });
    size_t fetched = tokens_fetches(w.tokens);
    for (size_t v = 0; v < 2; v++) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            int status = try_as(w.port, cases[i].certificate, versions[v]);
            if (status != cases[i].status)
                fail_msg("case %zu: %d instead of %d", i, status, cases[i].status);
            served += status == 200;
            if (cases[i].reason == NULL)
                continue;
            assert_true(
                proxy_log_wait(w.proxy, "event=tls_handshake_failed", ++failed, SOON_MS));
            assert_true(proxy_log_contains(w.proxy, cases[i].reason));
        }
    }
    /* not even a refusal is made for the others: no request of theirs was looked at */
    assert_int_equal(peer_count(w.api, ""), served);
    assert_int_equal(proxy_log_count(w.proxy, "event=access"), served);
    assert_int_equal(tokens_fetches(w.tokens), fetched);
    struct answer metrics = { 0 };
    char wanted[64];
    (void)snprintf(wanted, sizeof wanted, "oneshot_proxy_tls_handshakes_failed_total %zu\n",
                   failed);
    http_get(proxy_admin_port(w.proxy), "/metrics", &metrics);
    assert_contains(bytes_text(&metrics.body), wanted);
    answer_free(&metrics);
}

static void a_request_sent_along_with_a_bad_handshake_goes_nowhere(void **state)
{
    (void)state;
    WORLD(w);
    struct cert_files f = { .serial = 0 };
    struct client c;
    static const char request[] = "POST /x HTTP/1.1\r\nHost: localhost\r\n"
                                  "Content-Length: 0\r\n\r\n";
    certs_write(&f, CERT_VALID);
    start_with(&w, &f, certs_ca_file());
    for (int i = 0; i < 20; i++) {
        (void)client_open_tls(
            &c, w.port,
            &(struct client_tls){ .certificate = i % 2 ? CERT_NONE : CERT_OTHER_CA,
                                  .version = TLS1_3_VERSION });
        for (int k = 0; k < 3; k++)
            (void)client_try_send(&c, request, sizeof request - 1, 100);
        assert_true(client_closed(&c, SOON_MS));
        client_close(&c);
    }
    assert_int_equal(peer_count(w.api, ""), 0);
}

static void a_new_certificate_is_for_new_connections(void **state)
{
    (void)state;
    WORLD(w);
    struct cert_files f = { .serial = 0 };
    struct client old, next;
    struct answer a = { 0 };
    certs_write(&f, CERT_VALID);
    long first = f.serial;
    start_with(&w, &f, NULL);
    assert_true(client_open_tls(&old, w.port, NULL));
    assert_int_equal(client_server_serial(&old), first);
    certs_write(&f, CERT_VALID); /* the same files */
    assert_int_not_equal(f.serial, first);
    reload_with(&w, &f, NULL, "reloaded");
    assert_true(proxy_log_contains(w.proxy, "listen.tls_certificate, listen.tls_key"));
    int64_t deadline_ms = now_ms() + SOON_MS;
    for (;;) {
        assert_true(client_open_tls(&next, w.port, NULL));
        if (client_server_serial(&next) == f.serial)
            break;
        client_close(&next);
        assert_true(now_ms() < deadline_ms);
    }
    struct client *const both[] = { &old, &next };
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 2; i++) {
            client_call(both[i], "POST", "/x", NULL, "hello", &a);
            assert_int_equal(a.status, 200);
            assert_string_not_equal(answer_header(&a, "Connection"), "close");
        }
    }
    client_close(&old);
    client_close(&next);
    answer_free(&a);
}

static void a_bad_certificate_changes_nothing_and_says_why(void **state)
{
    (void)state;
    WORLD(w);
    struct cert_files f = { .serial = 0 }, other = f;
    struct client c;
    char rubbish[96];
    certs_write(&f, CERT_VALID);
    certs_write(&other, CERT_VALID);
    certs_write_text(rubbish, "no certificate");
    start_with(&w, &f, NULL);
    struct cert_files bad[] = { f, f, f, f };
    (void)snprintf(bad[0].key, sizeof bad[0].key, "%s", other.key);
    (void)snprintf(bad[1].certificate, sizeof bad[1].certificate, "%s", rubbish);
    (void)snprintf(bad[2].key, sizeof bad[2].key, "%s", rubbish);
    (void)snprintf(bad[3].key, sizeof bad[3].key, "%s", "/nonexistent/key");
    const char *const named[] = { other.key, rubbish, rubbish, "/nonexistent/key" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        reload_with(&w, &bad[i], NULL, "reload_refused");
        assert_true(proxy_log_contains(w.proxy, named[i]));
        assert_true(client_open_tls(&c, w.port, NULL));
        assert_int_equal(client_server_serial(&c), f.serial);
        client_close(&c);
    }
    reload_with(&w, &f, rubbish, "reload_refused");
    assert_int_equal(try_as(w.port, CERT_NONE, 0), 200);
    reload_with(&w, &other, NULL, "reloaded");
    int64_t deadline_ms = now_ms() + SOON_MS;
    long serial = 0;
    while (serial != other.serial && now_ms() < deadline_ms) {
        assert_true(client_open_tls(&c, w.port, NULL));
        serial = client_server_serial(&c);
        client_close(&c);
    }
    assert_int_equal(serial, other.serial);
}

static void answer_held(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    if (strncmp(r->target, "/v0/held", 8) != 0 || gate_pass(arg, c))
        api_echo(c, r, NULL);
}

static void whoever_other_authorities_let_in_has_to_come_anew(void **state)
{
    (void)state;
    static struct gate gate;
    WORLD(w);
    struct cert_files f = { .serial = 0 };
    struct client idle, busy;
    struct answer a = { 0 };
    const struct client_tls valid = { .certificate = CERT_VALID };
    gate_init(&gate);
    certs_write(&f, CERT_VALID);
    world_start(&w, &(struct world_options){ .answer = answer_held,
                                             .arg = &gate,
                                             .settings = settings_of(&f, certs_ca_file()) });
    assert_true(client_open_tls(&idle, w.port, &valid));
    client_call(&idle, "GET", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    assert_true(client_open_tls(&busy, w.port, &valid));
    client_puts(&busy, "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    /* a new certificate alone disturbs nobody */
    certs_write(&f, CERT_VALID);
    reload_with(&w, &f, certs_ca_file(), "reloaded");
    client_call(&idle, "GET", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 200);

    reload_with(&w, &f, certs_other_ca_file(), "reloaded");
    assert_true(client_closed(&idle, SOON_MS));
    assert_false(idle.reset);
    gate_open(&gate); /* what runs is finished, and is the last */
    client_read(&busy, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_header(&a, "Connection"), "close");
    assert_true(client_closed(&busy, SOON_MS));
    client_close(&idle);
    client_close(&busy);
    assert_int_equal(try_as(w.port, CERT_VALID, 0), 0);
    assert_int_equal(try_as(w.port, CERT_OTHER_CA, 0), 200);
    answer_free(&a);
}

static void client_certificates_can_be_asked_for_later_and_no_more(void **state)
{
    (void)state;
    WORLD(w);
    struct cert_files f = { .serial = 0 };
    struct client c;
    struct answer a = { 0 };
    certs_write(&f, CERT_VALID);
    start_with(&w, &f, NULL);
    assert_true(client_open_tls(&c, w.port, NULL));
    client_call(&c, "GET", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    reload_with(&w, &f, certs_ca_file(), "reloaded");
    assert_true(client_closed(&c, SOON_MS));
    client_close(&c);
    assert_int_equal(try_as(w.port, CERT_NONE, 0), 0);
    assert_int_equal(try_as(w.port, CERT_VALID, 0), 200);
    reload_with(&w, &f, NULL, "reloaded");
    assert_true(wait_for(w.port, CERT_NONE, 200));
    answer_free(&a);
}

static void tls_is_neither_begun_nor_given_up_by_a_reload(void **state)
{
    (void)state;
    WORLD(w);
    struct cert_files f = { .serial = 0 };
    struct answer a = { 0 };
    certs_write(&f, CERT_VALID);
    start_with(&w, &f, NULL);
    world_reload(&w, &(struct world_options){ 0 }, "reloaded");
    assert_true(proxy_log_wait(w.proxy, "event=restart_needed", 1, SOON_MS));
    assert_true(proxy_log_contains(w.proxy, "listen.tls_certificate"));
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 400); /* TLS, as before */
    assert_int_equal(try_as(w.port, CERT_NONE, 0), 200);
    world_end(&w);

    /* (the sandbox would not let it read files that it did not know at its start) */
    world_start(&w, &(struct world_options){ .settings = "process.sandbox = off\n" });
    char settings[1200];
    (void)snprintf(settings, sizeof settings, "process.sandbox = off\n%s",
                   settings_of(&f, NULL));
    world_reload(&w, &(struct world_options){ .settings = settings }, "reloaded");
    assert_true(proxy_log_wait(w.proxy, "event=restart_needed", 1, SOON_MS));
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200); /* plain, as before */
    answer_free(&a);
}

static void the_check_looks_into_the_files(void **state)
{
    (void)state;
    struct cert_files f = { .serial = 0 }, other = f, old = f;
    certs_write(&f, CERT_VALID);
    certs_write(&other, CERT_VALID);
    certs_write(&old, CERT_EXPIRED);
    const struct {
        const char *certificate, *key;
        int code;
        const char *said, *named;
    } cases[] = {
        { f.certificate, f.key, 0, NULL, NULL },
        { f.certificate, other.key, 1, "listen.tls_key: ", other.key },
        { "/nonexistent", f.key, 1, "listen.tls_certificate: ", "/nonexistent" },
        { old.certificate, old.key, 0, "has expired", old.certificate },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char certificate[160], key[160];
        (void)snprintf(certificate, sizeof certificate,
                       "ONESHOT_PROXY_LISTEN_TLS_CERTIFICATE=%s", cases[i].certificate);
        (void)snprintf(key, sizeof key, "ONESHOT_PROXY_LISTEN_TLS_KEY=%s", cases[i].key);
        const char *argv[] = { "--check", NULL };
        const char *env[] = { certificate, key, "ONESHOT_PROXY_TOKEN_CLIENT_ID=x",
                              "ONESHOT_PROXY_TOKEN_CLIENT_SECRET=y", NULL };
        struct run r = run_proxy(argv, env);
        if (r.code != cases[i].code)
            fail_msg("case %zu: %d, %s", i, r.code, bytes_text(&r.err));
        if (cases[i].said != NULL) {
            assert_contains(bytes_text(&r.err), cases[i].said);
            assert_contains(bytes_text(&r.err), cases[i].named);
        } else {
            assert_int_equal(r.err.len, 0);
        }
        if (i == 0) { /* a key that others may read */
            run_free(&r);
            assert_int_equal(chmod(f.key, 0644), 0);
            r = run_proxy(argv, env);
            assert_int_equal(r.code, 0);
            assert_contains(bytes_text(&r.err), "every user of this machine");
            assert_contains(bytes_text(&r.err), f.key);
            assert_int_equal(chmod(f.key, 0600), 0);
        }
        run_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_clients_with_a_certificate_of_the_authorities_get_in),
        TEST(a_request_sent_along_with_a_bad_handshake_goes_nowhere),
        TEST(a_new_certificate_is_for_new_connections),
        TEST(a_bad_certificate_changes_nothing_and_says_why),
        TEST(whoever_other_authorities_let_in_has_to_come_anew),
        TEST(client_certificates_can_be_asked_for_later_and_no_more),
        TEST(tls_is_neither_begun_nor_given_up_by_a_reload),
        TEST(the_check_looks_into_the_files),
    };
    return RUN_TESTS(tests);
}

/* Certificates, keys, authorities and the system's trust store are replaced when their files
 * change, in every way in which files change: the next connection uses the new one, and no
 * request fails. */
#include <fcntl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hammer.h"
#include "harness.h"

#define KEPT "event=certificates_kept level=warn"
#define CHANGED "event=certificates_changed"

/* --- files ------------------------------------------------------------------------------- */

struct place {
    char dir[64], certificate[128], key[128];
};

/* Good for the next few calls. */
static const char *at(const struct place *p, const char *name)
{
    static char path[6][192];
    static size_t next;
    char *out = path[next++ % 6];
    (void)snprintf(out, sizeof path[0], "%s/%s", p->dir, name);
    return out;
}

static void place_make(struct place *p)
{
    *p = (struct place){ .dir = "/tmp/oneshot-certificates-XXXXXX" };
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->certificate, sizeof p->certificate, "%s/tls.crt", p->dir);
    (void)snprintf(p->key, sizeof p->key, "%s/tls.key", p->dir);
}

static void place_remove(const struct place *p)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", p->dir);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c,concurrency-mt-unsafe) */
}

static void copy(const char *from, const char *to)
{
    char text[16384];
    FILE *file = fopen(from, "re");
    assert_non_null(file);
    size_t n = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[n] = '\0';
    write_file(to, text);
}

static void copy_renamed(const struct place *p, const char *from, const char *to)
{
    copy(from, at(p, "new"));
    assert_int_equal(rename(at(p, "new"), to), 0);
}

/* As kubelet does it: tls.crt -> ..data/tls.crt, ..data -> a directory for each version. */
static void make_version(const struct place *p, const struct cert_files *f)
{
    static int count;
    char version[32], certificate[64], key[64];
    (void)snprintf(version, sizeof version, "..v%d", ++count);
    (void)snprintf(certificate, sizeof certificate, "%s/tls.crt", version);
    (void)snprintf(key, sizeof key, "%s/tls.key", version);
    assert_int_equal(mkdir(at(p, version), 0755), 0);
    copy(f->certificate, at(p, certificate));
    copy(f->key, at(p, key));
    assert_int_equal(symlink(version, at(p, "..data_tmp")), 0);
    assert_int_equal(rename(at(p, "..data_tmp"), at(p, "..data")), 0);
}

static void make_links(const struct place *p)
{
    assert_int_equal(symlink("..data/tls.crt", p->certificate), 0);
    assert_int_equal(symlink("..data/tls.key", p->key), 0);
}

/* How a pair of files comes to be another one. */
enum turn { SWAP, RENAME, IN_PLACE, HALVES, HALF_WRITTEN, TURNS };

/* certificates_kept has come once more. */
static void wait_for_kept(struct proxy *p, size_t *kept)
{
    assert_true(proxy_log_wait(p, KEPT, ++*kept, SOON_MS));
}

static void turn(const struct place *p, struct proxy *proxy, const struct cert_files *f,
                 enum turn how)
{
    /* what was said of the turn before is all here, since its end is waited for below */
    size_t kept = proxy_log_count(proxy, KEPT), changed = proxy_log_count(proxy, CHANGED);

    switch (how) {
    case SWAP:
        make_version(p, f);
        break;
    case RENAME:
        copy_renamed(p, f->certificate, p->certificate);
        copy_renamed(p, f->key, p->key);
        break;
    case IN_PLACE:
        copy(f->key, p->key);
        copy(f->certificate, p->certificate);
        break;
    case HALVES: /* the key when the program has seen that it is not there yet */
        copy_renamed(p, f->certificate, p->certificate);
        wait_for_kept(proxy, &kept);
        copy_renamed(p, f->key, p->key);
        break;
    case HALF_WRITTEN:
        copy(f->key, p->key);
        write_file(p->certificate, "-----BEGIN CERTIFICATE-----\nMIIB");
        wait_for_kept(proxy, &kept);
        assert_int_equal(unlink(p->certificate), 0);
        wait_for_kept(proxy, &kept);
        copy(f->certificate, p->certificate);
        break;
    case TURNS:
        break;
    }
    assert_true(proxy_log_wait(proxy, CHANGED, changed + 1, SOON_MS));
}

/* --- what callers see --------------------------------------------------------------------- */

static void assert_asks(struct client *c)
{
    struct answer a = { 0 };
    client_call(c, "POST", "/x", NULL, "hello", &a);
    assert_int_equal(a.status, 200);
    assert_string_not_equal(answer_header(&a, "Connection"), "close");
    answer_free(&a);
}

/* Until a new connection is shown that certificate; those that are open go on meanwhile. */
static void assert_shown(int port, long serial, struct client *open, size_t count)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    for (long shown = 0; shown != serial;) {
        struct client c;
        assert_true(now_ms() < deadline_ms);
        for (size_t i = 0; i < count; i++)
            assert_asks(&open[i]);
        assert_true(client_open_tls(&c, port, NULL));
        shown = client_server_serial(&c);
        assert_asks(&c);
        client_close(&c);
    }
}

static void the_next_caller_is_shown_the_new_certificate_however_it_came(void **state)
{
    (void)state;
    enum { OPEN = 4 };
    WORLD(w);
    struct place p;
    struct cert_files f = { .serial = 0 };
    struct client open[OPEN];
    char settings[512];
    place_make(&p);
    certs_write(&f, CERT_VALID);
    make_version(&p, &f);
    make_links(&p);
    (void)snprintf(settings, sizeof settings,
                   "process.workers = 2\nlisten.tls_certificate = %s\nlisten.tls_key = %s\n",
                   p.certificate, p.key);
    world_start(&w, &(struct world_options){ .settings = settings });
    for (size_t i = 0; i < OPEN; i++)
        assert_true(client_open_tls(&open[i], w.port, NULL));
    for (enum turn how = SWAP; how < TURNS; how++) {
        long before = f.serial;
        certs_write(&f, CERT_VALID);
        assert_int_not_equal(f.serial, before);
        turn(&p, w.proxy, &f, how);
        assert_shown(w.port, f.serial, open, OPEN);
    }
    for (size_t i = 0; i < OPEN; i++) {
        assert_asks(&open[i]);
        client_close(&open[i]);
    }
    assert_true(proxy_log_contains(w.proxy, "is not the key of the certificate in "
                                            "listen.tls_certificate"));
    assert_true(proxy_log_contains(w.proxy, "listen.tls_certificate, listen.tls_key"));
    world_end(&w);
    place_remove(&p);
}

static void a_pair_that_does_not_fit_is_told_once_and_the_old_one_serves(void **state)
{
    (void)state;
    WORLD(w);
    struct place p;
    struct cert_files f = { .serial = 0 }, other = f;
    char settings[512];
    place_make(&p);
    certs_write(&f, CERT_VALID);
    certs_write(&other, CERT_VALID);
    long first = f.serial;
    copy(f.certificate, p.certificate);
    copy(f.key, p.key);
    (void)snprintf(settings, sizeof settings,
                   "listen.tls_certificate = %s\nlisten.tls_key = %s\nlisten.tls_client_ca = "
                   "%s\n",
                   p.certificate, p.key, at(&p, "ca"));
    copy(certs_ca_file(), at(&p, "ca"));
    world_start(&w, &(struct world_options){ .settings = settings });
    copy_renamed(&p, other.key, p.key);
    assert_true(proxy_log_wait(w.proxy, KEPT, 1, SOON_MS));
    assert_true(proxy_log_contains(w.proxy, p.key));
    /* the authorities beside it count all the same */
    copy_renamed(&p, certs_other_ca_file(), at(&p, "ca"));
    assert_true(proxy_log_wait(w.proxy, CHANGED " changed=listen.tls_client_ca", 1, SOON_MS));
    struct client c;
    int64_t deadline_ms = now_ms() + SOON_MS;
    bool in = false;
    while (!in && now_ms() < deadline_ms) {
        struct answer a = { 0 };
        if (client_open_tls(&c, w.port, &(struct client_tls){ .certificate = CERT_OTHER_CA })) {
            assert_int_equal(client_server_serial(&c), first);
            client_call(&c, "GET", "/x", NULL, NULL, &a);
            in = a.status == 200;
        }
        client_close(&c);
        answer_free(&a);
    }
    assert_true(in);
    /* who was let in by the authority that is gone is not let in again */
    struct answer a = { 0 };
    if (client_open_tls(&c, w.port, &(struct client_tls){ .certificate = CERT_VALID }))
        client_call(&c, "GET", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 0);
    client_close(&c);
    answer_free(&a);
    assert_int_equal(proxy_log_count(w.proxy, KEPT), 1);
    world_end(&w);
    place_remove(&p);
}

/* --- what the upstream sees --------------------------------------------------------------- */

/* The serial number of the last client certificate. */
static _Atomic long shown_serial;

static void note_serial(const struct peer_conn *c)
{
    X509 *certificate = SSL_get0_peer_certificate(c->ssl);
    if (certificate != NULL)
        atomic_store(&shown_serial, ASN1_INTEGER_get(X509_get0_serialNumber(certificate)));
}

static void answer_known(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    note_serial(c);
    api_echo(c, r, arg);
}

static void serve_h2_known(struct peer_conn *c, void *arg)
{
    uint32_t stream;
    size_t body;
    (void)arg;
    if (!h2_begin(c))
        return;
    note_serial(c);
    while ((stream = h2_read_request(c, &body)) != 0)
        if (!h2_answer(c, stream, 200, "fine"))
            return;
}

static int status_of(const struct world *w)
{
    struct answer a = { 0 };
    http_get(w->port, "/x", &a);
    int status = a.status;
    answer_free(&a);
    return status;
}

static void assert_shows(const struct world *w, long serial)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    do {
        assert_int_equal(status_of(w), 200);
        if (now_ms() > deadline_ms)
            fail_msg("%ld is shown, not %ld", atomic_load(&shown_serial), serial);
    } while (atomic_load(&shown_serial) != serial);
}

static void no_request_fails_while_our_own_certificate_turns(bool h2)
{
    WORLD(w);
    struct place p;
    struct cert_files f = { .serial = 0 };
    struct hammer *h = NULL;
    char settings[512];
    place_make(&p);
    certs_write(&f, CERT_VALID);
    make_version(&p, &f);
    make_links(&p);
    (void)snprintf(settings, sizeof settings,
                   "process.workers = 2\nlog.access = no\nupstream.client_certificate = %s\n"
                   "upstream.client_key = %s\nupstream.http_version = %s\n",
                   p.certificate, p.key, h2 ? "2" : "1.1");
    world_start(&w, &(struct world_options){ .cert = CERT_WANTS_CLIENT,
                                             .h2 = h2,
                                             .answer = h2 ? NULL : answer_known,
                                             .serve = h2 ? serve_h2_known : NULL,
                                             .settings = settings });
    if (!h2) /* whose peer answers without a length, and one request at a time */
        h = hammer_start(w.port, 8,
                         "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nok");
    for (enum turn how = SWAP; how < TURNS; how++) {
        certs_write(&f, CERT_VALID);
        turn(&p, w.proxy, &f, how);
        assert_shows(&w, f.serial);
    }
    assert_true(
        proxy_log_contains(w.proxy, "upstream.client_certificate, upstream.client_key"));
    struct hammer_result result = { .answers = 0 };
    if (h != NULL)
        result = hammer_stop(h);
    if (result.failures != 0)
        fail_msg("%zu of %zu failed: %s", result.failures, result.answers,
                 bytes_text(&result.first));
    bytes_free(&result.first);
    world_end(&w);
    place_remove(&p);
}

static void no_request_fails_while_our_certificate_for_the_upstream_turns(void **state)
{
    (void)state;
    no_request_fails_while_our_own_certificate_turns(false);
    no_request_fails_while_our_own_certificate_turns(true);
}

/* --- whom the program trusts -------------------------------------------------------------- */

static void wait_for_status(const struct world *w, int status)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    while (status_of(w) != status)
        if (!ask_again(deadline_ms))
            fail_msg("there is no %d", status);
}

/* Another file of authorities, for each leg by itself; the file of that name is read by the
 * program. */
static void trust_comes_and_goes(struct world *w, const struct place *p, const char *name,
                                 const char *changed, bool hang_up)
{
    const char *const files[] = { certs_other_ca_file(), certs_ca_file() };
    size_t before = proxy_log_count(w->proxy, "event=token_obtained");
    for (size_t i = 0; i < 4; i++) {
        copy_renamed(p, files[i % 2], at(p, name));
        if (hang_up)
            proxy_signal(w->proxy, SIGHUP);
        wait_for_status(w, i % 2 ? 200 : 502);
    }
    assert_true(proxy_log_contains(w->proxy, changed));
    assert_true(proxy_log_contains(w->proxy, "not trusted here"));
    assert_int_equal(proxy_log_count(w->proxy, "event=token_obtained"), before);
}

static void authorities_count_from_the_next_connection_on(void **state)
{
    (void)state;
    for (int h2 = 0; h2 < 2; h2++) {
        WORLD(w);
        struct place p;
        char settings[512];
        place_make(&p);
        copy(certs_ca_file(), at(&p, "ca"));
        (void)snprintf(settings, sizeof settings,
                       "upstream.ca_file = %s\nupstream.http_version = %s\n", at(&p, "ca"),
                       h2 ? "2" : "1.1");
        world_start(&w, &(struct world_options){ .cert = CERT_VALID,
                                                 .h2 = h2,
                                                 .serve = h2 ? serve_h2_known : NULL,
                                                 .settings = settings });
        assert_int_equal(status_of(&w), 200);
        trust_comes_and_goes(&w, &p, "ca", "changed=upstream.ca_file", false);
        world_end(&w);
        place_remove(&p);
    }
}

static void the_systems_trust_store_counts_from_its_change_on(void **state)
{
    (void)state;
    for (int h2 = 0; h2 < 2; h2++) {
        WORLD(w);
        struct place p;
        char settings[256], store[128];
        const char *env[] = { "LD_PRELOAD=" TRUST_STORE, store, NULL };
        place_make(&p);
        (void)snprintf(store, sizeof store, "TRUST_STORE=%s", at(&p, "store"));
        copy(certs_ca_file(), at(&p, "store"));
        (void)snprintf(settings, sizeof settings,
                       "-upstream.ca_file\nupstream.http_version = %s\n", h2 ? "2" : "1.1");
        world_start(&w, &(struct world_options){ .cert = CERT_VALID,
                                                 .h2 = h2,
                                                 .serve = h2 ? serve_h2_known : NULL,
                                                 .env = env,
                                                 .settings = settings });
        assert_int_equal(status_of(&w), 200);
        trust_comes_and_goes(&w, &p, "store", "the system's trust store", false);
        trust_comes_and_goes(&w, &p, "store", "the system's trust store", true);
        /* one that is half written is not taken up */
        write_file(at(&p, "store"), "-----BEGIN CERTIFICATE-----\nMIIB");
        assert_true(proxy_log_wait(w.proxy, KEPT, 1, SOON_MS));
        copy_renamed(&p, certs_ca_file(), at(&p, "store"));
        wait_for_status(&w, 200);
        world_end(&w);
        place_remove(&p);
    }
}

/* What became of the store, and what is said of it. */
static const struct {
    const char *text, *said; /* NULL: it is gone */
} broken_stores[] = {
    { "-----BEGIN CERTIFICATE-----\nMIIB", "half written" },
    { "", "holds no certificate" },
    { "<html>not found</html>", "holds no certificate" },
    { NULL, "cannot be read" },
};

/* Also for a thread that has made no connection yet, on both legs, and when a signal has the
 * settings read again. */
static void a_trust_store_that_is_broken_leaves_the_one_before_in_use(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof broken_stores / sizeof *broken_stores; i++) {
        WORLD(w);
        struct place p;
        char store[128], kept[128];
        const char *env[] = { "LD_PRELOAD=" TRUST_STORE, store, NULL };
        place_make(&p);
        (void)snprintf(store, sizeof store, "TRUST_STORE=%s", at(&p, "store"));
        copy(certs_ca_file(), at(&p, "store"));
        world_start(&w, &(struct world_options){ .cert = CERT_VALID,
                                                 .env = env,
                                                 .settings = "-upstream.ca_file\n" });
        if (broken_stores[i].text == NULL)
            assert_int_equal(unlink(at(&p, "store")), 0);
        else
            write_file(at(&p, "store"), broken_stores[i].text);
        assert_true(proxy_log_wait(w.proxy, KEPT, 1, SOON_MS));
        assert_true(proxy_log_field(w.proxy, KEPT, 0, "detail", kept, sizeof kept));
        assert_true(proxy_log_contains(w.proxy, broken_stores[i].said));
        assert_int_equal(status_of(&w), 200);
        proxy_signal(w.proxy, SIGHUP);
        assert_true(proxy_log_wait(w.proxy, "event=reloaded", 1, SOON_MS));
        assert_int_equal(status_of(&w), 200);
        assert_int_equal(proxy_log_count(w.proxy, KEPT), 1);
        /* and a good one counts again, whatever was before */
        copy_renamed(&p, certs_other_ca_file(), at(&p, "store"));
        wait_for_status(&w, 502);
        copy_renamed(&p, certs_ca_file(), at(&p, "store"));
        wait_for_status(&w, 200);
        world_end(&w);
        place_remove(&p);
    }
}

/* A token endpoint that is not trusted is, as soon as its authority is added. */
static void the_token_leg_too_takes_up_an_authority(void **state)
{
    (void)state;
    for (int own_file = 0; own_file < 2; own_file++) {
        WORLD(w);
        struct place p;
        char settings[256], store[128];
        const char *env[] = { "LD_PRELOAD=" TRUST_STORE, store, NULL };
        place_make(&p);
        (void)snprintf(store, sizeof store, "TRUST_STORE=%s",
                       own_file ? "/nonexistent" : at(&p, "ca"));
        copy(certs_other_ca_file(), at(&p, "ca"));
        (void)snprintf(settings, sizeof settings,
                       "%stoken.ca_file%s%s\ntoken.retry_min = 60s\ntoken.retry_max = 60s\n",
                       own_file ? "" : "-", own_file ? " = " : "",
                       own_file ? at(&p, "ca") : "");
        struct world_options options = {
            .token_cert = CERT_VALID, .env = env, .no_proxy = true, .settings = settings
        };
        world_start(&w, &options);
        options.token_cert = CERT_NONE; /* whose file the harness would name */
        world_proxy(&w, &options);
        assert_true(proxy_log_wait(w.proxy, "event=token_fetch_failed", 1, SOON_MS));
        copy_renamed(&p, certs_ca_file(), at(&p, "ca"));
        assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
        assert_int_equal(status_of(&w), 200);
        world_end(&w);
        place_remove(&p);
    }
}

/* --- when they end ------------------------------------------------------------------------ */

static long long end_in_days(const struct world *w, const char *file)
{
    struct answer a = { 0 };
    char sample[256];
    long long end_s = 0;
    (void)snprintf(sample, sizeof sample,
                   "oneshot_proxy_certificate_expiry_timestamp_seconds{file=\"%s\"} ", file);
    http_get(proxy_admin_port(w->proxy), "/metrics", &a);
    const char *found = strstr(bytes_text(&a.body), sample);
    if (found == NULL)
        fail_msg("%s is not in:\n%s", sample, bytes_text(&a.body));
    else
        end_s = strtoll(found + strlen(sample), NULL, 10);
    answer_free(&a);
    return (end_s - time(NULL) + 43200) / 86400;
}

static void page_until(const struct world *w, const char *words, struct answer *a)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    do
        http_get(proxy_admin_port(w->proxy), "/", a);
    while (strstr(bytes_text(&a->body), words) == NULL && ask_again(deadline_ms));
    assert_contains(bytes_text(&a->body), words);
}

static void metric_page_and_doctor_tell_when_certificates_end(void **state)
{
    (void)state;
    WORLD(w);
    struct place p;
    struct cert_files f = { .serial = 0 };
    struct answer a = { 0 };
    char settings[768], ini[160];
    place_make(&p);
    certs_write(&f, CERT_VALID);
    copy(f.certificate, p.certificate);
    copy(f.key, p.key);
    copy(certs_ca_file(), at(&p, "ca"));
    (void)snprintf(settings, sizeof settings,
                   "admin.address = 127.0.0.1:0\nlisten.tls_certificate = %s\n"
                   "listen.tls_key = %s\nlisten.tls_client_ca = %s\nupstream.ca_file = %s\n",
                   p.certificate, p.key, at(&p, "ca"), certs_ca_file());
    world_start(&w, &(struct world_options){ .settings = settings });
    assert_int_equal(end_in_days(&w, p.certificate), 90);
    assert_int_equal(end_in_days(&w, at(&p, "ca")), 90);
    assert_int_equal(end_in_days(&w, certs_ca_file()), 90);
    page_until(&w, p.certificate, &a);
    assert_contains(bytes_text(&a.body), "All is well");

    certs_write(&f, CERT_SOON);
    copy_renamed(&p, f.certificate, p.certificate);
    copy_renamed(&p, f.key, p.key);
    page_until(&w, "A certificate ends soon", &a);
    assert_contains(bytes_text(&a.body), "listen.tls_certificate");
    assert_int_equal(end_in_days(&w, p.certificate), 3);

    (void)snprintf(ini, sizeof ini, "%s/oneshot-proxy.ini", proxy_dir(w.proxy));
    const char *const argv[] = { "doctor", "--config", ini, NULL };
    struct run r = run_proxy(argv, NULL);
    assert_contains(bytes_text(&r.out), "(listen.tls_certificate) ends in ");
    assert_contains(bytes_text(&r.out), p.certificate);
    run_free(&r);
    /* what is not taken up is told, too */
    write_file(p.key, "none");
    page_until(&w, "holds no private key", &a);
    answer_free(&a);
    world_end(&w);
    place_remove(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_next_caller_is_shown_the_new_certificate_however_it_came),
        TEST(a_pair_that_does_not_fit_is_told_once_and_the_old_one_serves),
        TEST(no_request_fails_while_our_certificate_for_the_upstream_turns),
        TEST(authorities_count_from_the_next_connection_on),
        TEST(the_systems_trust_store_counts_from_its_change_on),
        TEST(a_trust_store_that_is_broken_leaves_the_one_before_in_use),
        TEST(the_token_leg_too_takes_up_an_authority),
        TEST(metric_page_and_doctor_tell_when_certificates_end),
    };
    return RUN_TESTS(tests);
}

/* listen.tls_*: files that are missing, do not fit or are out of date are told at start, not by
 * the first caller. */
#include "certs.h"
#include "config/config_case.h"

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
        cmocka_unit_test(tls_keys_come_together),
        cmocka_unit_test(tls_files_are_looked_into),
        cmocka_unit_test(tls_without_a_tcp_address_gets_a_warning),
        cmocka_unit_test(turning_tls_on_needs_a_restart_and_a_new_certificate_does_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* certificates.c: replacing certificate files, and when certificates expire. */
#include <time.h>

#include "certs.h"
#include "config/certificates.h"
#include "config/config_case.h"

#define DAY 86400

static struct result load_pair(const struct cert_files *f, const char *client_ca)
{
    char text[1024];

    (void)snprintf(text, sizeof text,
                   CREDENTIALS "[listen]\ntls_certificate = %s\ntls_key = %s\n"
                               "tls_client_ca = %s\n[upstream]\nbase_url = http://localhost\n",
                   f->certificate, f->key, client_ca);
    return load(text);
}

/* What has changed, "" when there is nothing new; the errors are counted. */
static struct config *renew(struct config *running, char changed[256], size_t *errors)
{
    struct config_reload_report report;

    config_reload_report_init(&report);
    struct config *c = config_renew(running, &report);
    (void)snprintf(changed, 256, "%s", c != NULL ? buf_text(&report.changed) : "");
    *errors = report.report.errors;
    config_reload_report_done(&report);
    return c;
}

static void only_what_has_changed_is_new_and_all_else_is_shared(void **state)
{
    (void)state;
    struct cert_files f = { .serial = 0 };
    char changed[256];
    size_t errors;

    certs_write(&f, CERT_VALID);
    auto_result struct result r = load_pair(&f, certs_ca_file());
    assert_loads(r);
    assert_null(renew(r.config, changed, &errors));
    assert_int_equal(errors, 0);
    certs_write(&f, CERT_SOON);
    struct config *second = renew(r.config, changed, &errors);
    assert_non_null(second);
    assert_string_equal(changed, "listen.tls_certificate, listen.tls_key");
    assert_ptr_equal(second->upstream.base_url, r.config->upstream.base_url);
    assert_false(tls_differs(second->listen.tls, r.config->listen.tls, TLS_CLIENT_CA));
    assert_true(tls_asks_clients(second->listen.tls));
    /* a third one leans on the first, so that no row of them grows */
    certs_write(&f, CERT_VALID);
    struct config *third = renew(second, changed, &errors);
    assert_non_null(third);
    assert_ptr_equal(third->base, r.config);
    config_unref(second);
    config_unref(third);
}

static void a_half_keeps_the_whole_and_the_rest_counts(void **state)
{
    (void)state;
    struct cert_files f = { .serial = 0 }, other = f;
    char changed[256], text[256];
    size_t errors;

    certs_write(&f, CERT_VALID);
    certs_write(&other, CERT_VALID);
    auto_result struct result r = load_pair(&f, certs_ca_file());
    assert_loads(r);
    (void)snprintf(text, sizeof text, "%s.kept", f.key);
    assert_int_equal(rename(f.key, text), 0);
    assert_null(renew(r.config, changed, &errors)); /* gone */
    assert_int_equal(errors, 1);
    assert_int_equal(rename(other.key, f.key), 0);
    assert_null(renew(r.config, changed, &errors)); /* of another certificate */
    assert_int_equal(errors, 1);
    assert_int_equal(rename(other.certificate, f.certificate), 0);
    struct config *c = renew(r.config, changed, &errors);
    assert_non_null(c);
    assert_int_equal(errors, 0);
    config_unref(c);
}

static int64_t end_of(const struct config *c, const char *key, int64_t now_s)
{
    struct config_certificate all[CERTIFICATES_COUNT];
    size_t count = config_certificates(c, now_s, all);

    for (size_t i = 0; i < count; i++)
        if (strcmp(all[i].key, key) == 0)
            return all[i].end_s;
    return 0;
}

static void append(const char *from, FILE *to)
{
    char text[8192];
    FILE *file = fopen(from, "re");
    assert_non_null(file);
    size_t n = fread(text, 1, sizeof text, file);
    (void)fclose(file);
    assert_int_equal(fwrite(text, 1, n, to), n);
}

/* Of a chain the first that ends counts, of authorities the first that is still good. */
static void past_authorities_count_only_when_all_are(void **state)
{
    (void)state;
    struct cert_files valid = { .serial = 0 }, past = valid, soon = valid;
    char text[512];
    int64_t now_s = time(NULL);

    auto_scratch struct scratch s = scratch_new();
    certs_write(&valid, CERT_VALID);
    certs_write(&past, CERT_EXPIRED);
    certs_write(&soon, CERT_SOON);
    const char *path = scratch_write(&s, "", 0, 0600);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    append(valid.certificate, file);
    append(past.certificate, file);
    append(soon.certificate, file);
    (void)fclose(file);
    (void)snprintf(text, sizeof text, CREDENTIALS "[upstream]\nca_file = %s\n", path);
    auto_result struct result r = load(text);
    assert_loads(r);
    struct config_certificate all[CERTIFICATES_COUNT];
    assert_int_equal(config_certificates(r.config, now_s, all),
                     1); /* of both legs, told once */
    int64_t end_s = end_of(r.config, "upstream.ca_file", now_s);
    assert_true(end_s > now_s + 2 * DAY && end_s <= now_s + 3 * DAY + 60);
    end_s = end_of(r.config, "upstream.ca_file", now_s + 10 * DAY);
    assert_true(end_s > now_s + 80 * DAY);
    assert_int_equal(end_of(r.config, "upstream.ca_file", now_s + 1000 * DAY), end_s);
}

/* The database's client reads the file itself, so a new one needs no restart. */
static void the_authorities_of_the_ledgers_database_are_watched_too(void **state)
{
    (void)state;
    struct cert_files soon = { .serial = 0 };
    char text[512], changed[256];
    size_t errors;
    int64_t now_s = time(NULL);

    certs_write(&soon, CERT_SOON);
    (void)snprintf(text, sizeof text,
                   CREDENTIALS "[ledger]\nstore = postgresql://u@db.example/payments\n"
                               "store_ca_file = %s\n",
                   soon.certificate);
    auto_result struct result r = load(text);
    assert_loads(r);
    int64_t end_s = end_of(r.config, "ledger.store_ca_file", now_s);
    assert_true(end_s > now_s + 2 * DAY && end_s <= now_s + 3 * DAY + 60);
    assert_null(renew(r.config, changed, &errors));
    certs_write(&soon, CERT_VALID);
    struct config *c = renew(r.config, changed, &errors);
    assert_non_null(c);
    assert_string_equal(changed, "ledger.store_ca_file");
    assert_true(end_of(c, "ledger.store_ca_file", now_s) > now_s + 80 * DAY);
    struct buf restart;
    buf_init(&restart, 1024);
    assert_int_equal(config_needs_restart(r.config, c, &restart), 0);
    assert_int_equal(buf_unread(&restart), 0);
    buf_done(&restart);
    config_unref(c);
    FILE *file = fopen(soon.certificate, "we");
    assert_non_null(file);
    (void)fclose(file);
    assert_null(renew(r.config, changed, &errors));
    assert_int_equal(errors, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_has_changed_is_new_and_all_else_is_shared),
        cmocka_unit_test(a_half_keeps_the_whole_and_the_rest_counts),
        cmocka_unit_test(past_authorities_count_only_when_all_are),
        cmocka_unit_test(the_authorities_of_the_ledgers_database_are_watched_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

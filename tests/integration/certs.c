/* A CA and its leaves, made with the OpenSSL API when a test first asks for one. */
#include "certs.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct authority {
    EVP_PKEY *key;
    X509 *certificate;
    char path[96];
};

static struct authority ca, other_ca, intermediate;
static char dir[64];

static void check(bool ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "certificates: %s failed\n", what);
    abort();
}

static void extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    check(extension != NULL && X509_add_ext(cert, extension, -1) == 1, "an extension");
    X509_EXTENSION_free(extension);
}

/* A URI name with a NUL in the middle, which no text can say. */
static void extend_with_nul(X509 *cert)
{
    static const char name[] = CERT_SPIFFE_NAME "\0.elsewhere";
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *one = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    check(names != NULL && one != NULL && text != NULL &&
              ASN1_STRING_set(text, name, sizeof name - 1) == 1,
          "a name");
    GENERAL_NAME_set0_value(one, GEN_URI, text);
    check(sk_GENERAL_NAME_push(names, one) > 0 &&
              X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) == 1,
          "a name with a NUL");
    GENERAL_NAMES_free(names);
}

struct recipe {
    const char *common_name, *organization, *alternative_names, *usage;
    bool is_ca, has_nul;
    int from_days, to_days;
};

/* Without an issuer it signs itself. */
static X509 *make(EVP_PKEY *key, const struct authority *by, struct recipe recipe)
{
    static long serial;
    X509 *issuer = by ? by->certificate : NULL;
    const long day = 24 * 60 * 60L;
    X509 *cert = X509_new();
    check(cert != NULL && X509_set_version(cert, 2) == 1, "a certificate");
    (void)ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
    (void)X509_gmtime_adj(X509_getm_notBefore(cert),
                          (recipe.from_days ? recipe.from_days : -7) * day);
    (void)X509_gmtime_adj(X509_getm_notAfter(cert),
                          (recipe.to_days ? recipe.to_days : 90) * day);
    X509_NAME *name = X509_get_subject_name(cert);
    (void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                     (const unsigned char *)recipe.common_name, -1, -1, 0);
    if (recipe.organization != NULL)
        (void)X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC,
                                         (const unsigned char *)recipe.organization, -1, -1, 0);
    (void)X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : name);
    (void)X509_set_pubkey(cert, key);
    extend(cert, issuer ? issuer : cert, NID_basic_constraints,
           recipe.is_ca ? "critical,CA:TRUE" : "CA:FALSE");
    if (recipe.alternative_names)
        extend(cert, issuer ? issuer : cert, NID_subject_alt_name, recipe.alternative_names);
    if (recipe.has_nul)
        extend_with_nul(cert);
    if (recipe.usage)
        extend(cert, issuer ? issuer : cert, NID_ext_key_usage, recipe.usage);
    check(X509_sign(cert, by ? by->key : key, EVP_sha256()) > 0, "signing");
    return cert;
}

static void remove_all(void)
{
    enum { AUTHORITIES = 3 };
    struct authority *const all[AUTHORITIES] = { &ca, &other_ca, &intermediate };
    for (size_t i = 0; i < AUTHORITIES; i++) {
        X509_free(all[i]->certificate);
        EVP_PKEY_free(all[i]->key);
    }
    DIR *d = opendir(dir);
    struct dirent *entry;
    while (d != NULL && (entry = readdir(d)) != NULL)
        (void)unlinkat(dirfd(d), entry->d_name, 0);
    if (d != NULL)
        (void)closedir(d);
    (void)rmdir(dir);
}

static FILE *create(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    check(file != NULL, path);
    return file;
}

static void found(struct authority *a, const char *name, const struct authority *by)
{
    a->key = EVP_EC_gen("P-256");
    check(a->key != NULL, "a key");
    a->certificate = make(a->key, by, (struct recipe){ .common_name = name, .is_ca = true });
    (void)snprintf(a->path, sizeof a->path, "%s/%s.pem", dir, name);
    FILE *file = create(a->path);
    check(PEM_write_X509(file, a->certificate) == 1 && fclose(file) == 0, "the CA file");
}

static void need_ca(void)
{
    if (ca.key != NULL)
        return;
    (void)snprintf(dir, sizeof dir, "%s", "/tmp/oneshot-ca-XXXXXX");
    check(mkdtemp(dir) != NULL, "mkdtemp");
    found(&ca, "Test CA", NULL);
    found(&other_ca, "Other CA", NULL);
    found(&intermediate, "Intermediate CA", &ca);
    (void)atexit(remove_all);
}

const char *certs_ca_file(void)
{
    need_ca();
    return ca.path;
}

const char *certs_other_ca_file(void)
{
    need_ca();
    return other_ca.path;
}

static X509 *make_leaf(EVP_PKEY **key, enum cert_kind kind)
{
    need_ca();
    *key = EVP_EC_gen("P-256");
    check(*key != NULL, "a key");
    struct recipe recipe = { .common_name = "localhost",
                             .alternative_names = "DNS:localhost,DNS:api.test,IP:127.0.0.1" };
    if (kind == CERT_EXPIRED)
        recipe.to_days = -1;
    if (kind == CERT_SOON)
        recipe.to_days = 3;
    if (kind == CERT_FUTURE)
        recipe.from_days = 2;
    if (kind == CERT_NOT_CLIENT)
        recipe.usage = "serverAuth";
    if (kind == CERT_WRONG_NAME)
        recipe = (struct recipe){ .common_name = "other.example",
                                  .alternative_names = "DNS:other.example" };
    if (kind == CERT_SPIFFE || kind == CERT_TWO_URIS)
        recipe =
            (struct recipe){ .common_name = "payroll",
                             .alternative_names = kind == CERT_SPIFFE ? "URI:" CERT_SPIFFE_NAME
                                                                      : "URI:" CERT_SPIFFE_NAME
                                                                        ",URI:spiffe://b/c" };
    if (kind == CERT_NUL_IN_NAME)
        recipe = (struct recipe){ .common_name = "payroll", .has_nul = true };
    if (kind == CERT_SUBJECT)
        recipe = (struct recipe){ .common_name = "payroll", .organization = "Acme, Inc." };
    const struct authority *by = &ca;
    if (kind == CERT_SELF_SIGNED)
        by = NULL;
    if (kind == CERT_OTHER_CA)
        by = &other_ca;
    if (kind == CERT_INTERMEDIATE || kind == CERT_CHAIN_MISSING)
        by = &intermediate;
    return make(*key, by, recipe);
}

void certs_write(struct cert_files *f, enum cert_kind kind)
{
    static int count;
    EVP_PKEY *key;
    X509 *leaf = make_leaf(&key, kind);
    if (f->certificate[0] == '\0') {
        (void)snprintf(f->certificate, sizeof f->certificate, "%s/%d.pem", dir, ++count);
        (void)snprintf(f->key, sizeof f->key, "%s/%d.key", dir, count);
    }
    f->serial = ASN1_INTEGER_get(X509_get0_serialNumber(leaf));
    FILE *file = create(f->certificate);
    check(PEM_write_X509(file, leaf) == 1, "a certificate file");
    if (kind == CERT_INTERMEDIATE)
        check(PEM_write_X509(file, intermediate.certificate) == 1, "a chain");
    check(fclose(file) == 0, "a certificate file");
    file = create(f->key);
    check(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1 && fclose(file) == 0,
          "a key file");
    X509_free(leaf);
    EVP_PKEY_free(key);
}

void certs_write_text(char path[96], const char *text)
{
    static int count;
    need_ca();
    (void)snprintf(path, 96, "%s/text-%d", dir, ++count);
    FILE *file = create(path);
    check(fputs(text, file) >= 0 && fclose(file) == 0, "a file");
}

void certs_write_locked_key(char path[96])
{
    static unsigned char passphrase[] = "passphrase";
    certs_write_text(path, "");
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *file = create(path);
    check(PEM_write_PrivateKey(file, key, EVP_aes_128_cbc(), passphrase, sizeof passphrase - 1,
                               NULL, NULL) == 1 &&
              fclose(file) == 0,
          "a locked key");
    EVP_PKEY_free(key);
}

static void use_leaf(SSL_CTX *context, enum cert_kind kind)
{
    EVP_PKEY *key;
    X509 *leaf = make_leaf(&key, kind);
    check(SSL_CTX_use_certificate(context, leaf) == 1 &&
              SSL_CTX_use_PrivateKey(context, key) == 1,
          "a context");
    if (kind == CERT_INTERMEDIATE)
        (void)SSL_CTX_add1_chain_cert(context, intermediate.certificate);
    X509_free(leaf);
    EVP_PKEY_free(key);
}

SSL_CTX *certs_client_context(enum cert_kind kind)
{
    need_ca();
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    check(context != NULL && SSL_CTX_load_verify_file(context, ca.path) == 1, "a context");
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (kind != CERT_NONE)
        use_leaf(context, kind);
    return context;
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *wanted)
{
    (void)ssl;
    size_t len = strlen(wanted);
    for (unsigned at = 0; at < in_len; at += 1u + in[at]) {
        if (in[at] == len && memcmp(in + at + 1, wanted, len) == 0) {
            *out = in + at + 1;
            *out_len = in[at];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_NOACK;
}

SSL_CTX *certs_context(enum cert_kind kind, bool h2)
{
    static char offer_h2[] = "h2", offer_http1[] = "http/1.1";
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    check(context != NULL, "a context");
    use_leaf(context, kind);
    if (kind == CERT_OLD_TLS) {
        SSL_CTX_set_security_level(context, 0);
        check(SSL_CTX_set_min_proto_version(context, TLS1_VERSION) == 1 &&
                  SSL_CTX_set_max_proto_version(context, TLS1_1_VERSION) == 1,
              "old TLS");
    }
    if (kind == CERT_WANTS_CLIENT) {
        check(SSL_CTX_load_verify_file(context, ca.path) == 1, "the CA");
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, h2 ? offer_h2 : offer_http1);
    return context;
}

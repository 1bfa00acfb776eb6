/* A CA and its leaves, made with the OpenSSL API when a test first asks for one. */
#include "certs.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static EVP_PKEY *ca_key;
static X509 *ca;
static char ca_dir[64], ca_path[96], other_ca_path[96];

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

struct recipe {
    const char *common_name, *alternative_names;
    bool is_ca, expired;
};

/* Without an issuer it signs itself. */
static X509 *make(EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, struct recipe recipe)
{
    static long serial;
    const long day = 24 * 60 * 60L;
    X509 *cert = X509_new();
    check(cert != NULL && X509_set_version(cert, 2) == 1, "a certificate");
    (void)ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
    (void)X509_gmtime_adj(X509_getm_notBefore(cert), -7 * day);
    (void)X509_gmtime_adj(X509_getm_notAfter(cert), recipe.expired ? -day : 7 * day);
    X509_NAME *name = X509_get_subject_name(cert);
    (void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                     (const unsigned char *)recipe.common_name, -1, -1, 0);
    (void)X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : name);
    (void)X509_set_pubkey(cert, key);
    extend(cert, issuer ? issuer : cert, NID_basic_constraints,
           recipe.is_ca ? "critical,CA:TRUE" : "CA:FALSE");
    if (recipe.alternative_names)
        extend(cert, issuer ? issuer : cert, NID_subject_alt_name, recipe.alternative_names);
    check(X509_sign(cert, issuer_key ? issuer_key : key, EVP_sha256()) > 0, "signing");
    return cert;
}

static void remove_ca(void)
{
    (void)unlink(ca_path);
    (void)unlink(other_ca_path);
    (void)rmdir(ca_dir);
    X509_free(ca);
    EVP_PKEY_free(ca_key);
}

static void write_pem(const char *path, X509 *cert)
{
    FILE *file = fopen(path, "we");
    check(file != NULL && PEM_write_X509(file, cert) == 1 && fclose(file) == 0, "a PEM file");
}

static void need_ca(void)
{
    if (ca != NULL)
        return;
    ca_key = EVP_EC_gen("P-256");
    check(ca_key != NULL, "a key");
    ca = make(ca_key, NULL, NULL, (struct recipe){ .common_name = "Test CA", .is_ca = true });
    (void)snprintf(ca_dir, sizeof ca_dir, "%s", "/tmp/oneshot-ca-XXXXXX");
    check(mkdtemp(ca_dir) != NULL, "mkdtemp");
    (void)snprintf(ca_path, sizeof ca_path, "%s/ca.pem", ca_dir);
    (void)snprintf(other_ca_path, sizeof other_ca_path, "%s/other.pem", ca_dir);
    EVP_PKEY *other_key = EVP_EC_gen("P-256");
    check(other_key != NULL, "a key");
    X509 *other = make(other_key, NULL, NULL,
                       (struct recipe){ .common_name = "Another CA", .is_ca = true });
    write_pem(ca_path, ca);
    write_pem(other_ca_path, other);
    X509_free(other);
    EVP_PKEY_free(other_key);
    (void)atexit(remove_ca);
}

const char *certs_ca_file(void)
{
    need_ca();
    return ca_path;
}

const char *certs_other_ca_file(void)
{
    need_ca();
    return other_ca_path;
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

/* Whom the leaf is signed by: the CA, or one between that the server keeps to itself. */
static X509 *make_leaf(EVP_PKEY *key, enum cert_kind kind, struct recipe recipe)
{
    if (kind == CERT_SELF_SIGNED)
        return make(key, NULL, NULL, recipe);
    if (kind != CERT_CHAIN_MISSING)
        return make(key, ca, ca_key, recipe);
    EVP_PKEY *between_key = EVP_EC_gen("P-256");
    check(between_key != NULL, "a key");
    X509 *between = make(between_key, ca, ca_key,
                         (struct recipe){ .common_name = "Between", .is_ca = true });
    X509 *leaf = make(key, between, between_key, recipe);
    X509_free(between);
    EVP_PKEY_free(between_key);
    return leaf;
}

SSL_CTX *certs_context(enum cert_kind kind, bool h2)
{
    static char offer_h2[] = "h2", offer_http1[] = "http/1.1";
    need_ca();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    check(key != NULL, "a key");
    struct recipe recipe = { .common_name = "localhost",
                             .alternative_names = "DNS:localhost,IP:127.0.0.1",
                             .expired = kind == CERT_EXPIRED };
    if (kind == CERT_WRONG_NAME)
        recipe = (struct recipe){ .common_name = "other.example",
                                  .alternative_names = "DNS:other.example" };
    X509 *leaf = make_leaf(key, kind, recipe);
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    check(context != NULL && SSL_CTX_use_certificate(context, leaf) == 1 &&
              SSL_CTX_use_PrivateKey(context, key) == 1,
          "a context");
    if (kind == CERT_OLD_TLS) {
        SSL_CTX_set_security_level(context, 0);
        check(SSL_CTX_set_min_proto_version(context, TLS1_VERSION) == 1 &&
                  SSL_CTX_set_max_proto_version(context, TLS1_1_VERSION) == 1,
              "old TLS");
    }
    if (kind == CERT_WANTS_CLIENT) {
        check(SSL_CTX_load_verify_locations(context, ca_path, NULL) == 1, "the CA");
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, h2 ? offer_h2 : offer_http1);
    X509_free(leaf);
    EVP_PKEY_free(key);
    return context;
}

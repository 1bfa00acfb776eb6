#pragma once
/* Certificates made at run time: one CA for the process, and leaves with a flaw each. */
#include <openssl/ssl.h>
#include <stdbool.h>

enum cert_kind {
    CERT_NONE,  /* plain TCP */
    CERT_VALID, /* localhost and 127.0.0.1, by the CA */
    CERT_EXPIRED,
    CERT_WRONG_NAME,
    CERT_SELF_SIGNED,   /* right name, but not by the CA */
    CERT_CHAIN_MISSING, /* by an authority that the CA vouches for, whose certificate is not
                           sent */
    CERT_OLD_TLS,       /* valid, but the server speaks nothing above TLS 1.1 */
    CERT_WANTS_CLIENT,  /* valid, but the server demands a certificate of the caller too */
};

/* The CA's certificate as a PEM file, for `ca_file`. The file lives until the process ends. */
const char *certs_ca_file(void);
/* Of an authority that signed none of the leaves. */
const char *certs_other_ca_file(void);

/* A server context with such a leaf, offering ALPN "h2" or "http/1.1". The caller frees it. */
SSL_CTX *certs_context(enum cert_kind kind, bool h2);

#pragma once
/* Certificates made at run time: one CA for the process, and leaves with a flaw each. */
#include <openssl/ssl.h>
#include <stdbool.h>

#define CERT_SPIFFE_NAME "spiffe://prod.example/ns/pay/sa/payroll"
#define CERT_SUBJECT_NAME "O=Acme\\, Inc.,CN=payroll"

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
    CERT_FUTURE,        /* not valid yet */
    CERT_OTHER_CA,      /* right in all, but by another CA */
    CERT_NOT_CLIENT,    /* by the CA, for servers only (extended key usage) */
    CERT_SOON,          /* valid for three days more */
    CERT_INTERMEDIATE,  /* as CERT_CHAIN_MISSING, but the chain is with it */
    CERT_SPIFFE,        /* a caller's: one URI name, CERT_SPIFFE_NAME */
    CERT_TWO_URIS,      /* ... and another one */
    CERT_NUL_IN_NAME,   /* that name, a NUL, and more */
    CERT_SUBJECT,       /* no such name, but a subject of several parts: CERT_SUBJECT_NAME */
};

/* The CA's certificate as a PEM file, for `ca_file`. The file lives until the process ends. */
const char *certs_ca_file(void);
/* Of an authority that signed none of the leaves but CERT_OTHER_CA. */
const char *certs_other_ca_file(void);

/* Such a leaf as PEM files; they live until the process ends, or until written again. */
struct cert_files {
    char certificate[96], key[96];
    long serial; /* tells leaves apart */
};
/* Into new files when f is zeroed, else over those it names. */
void certs_write(struct cert_files *f, enum cert_kind kind);
/* A key with a passphrase. */
void certs_write_locked_key(char path[96]);
/* A file beside them, for what is none. */
void certs_write_text(char path[96], const char *text);

/* A client context that trusts the CA and shows such a leaf (CERT_NONE: none). The caller frees
 * it. */
SSL_CTX *certs_client_context(enum cert_kind kind);

/* A server context with such a leaf, offering ALPN "h2" or "http/1.1". The caller frees it. */
SSL_CTX *certs_context(enum cert_kind kind, bool h2);

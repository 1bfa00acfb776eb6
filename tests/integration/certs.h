#pragma once
/* Certificates made at run time: one CA for the process, and leaf certificates, each valid
 * or with one fault. */
#include <openssl/ssl.h>
#include <stdbool.h>

#define CERT_SPIFFE_NAME "spiffe://prod.example/ns/pay/sa/payroll"
#define CERT_SUBJECT_NAME "O=Acme\\, Inc.,CN=payroll"

enum cert_kind {
    CERT_NONE,  /* plain TCP */
    CERT_VALID, /* for localhost and 127.0.0.1, signed by the CA */
    CERT_EXPIRED,
    CERT_WRONG_NAME,
    CERT_SELF_SIGNED,   /* right name, but not signed by the CA */
    CERT_CHAIN_MISSING, /* signed by an intermediate authority, whose certificate is not sent */
    CERT_OLD_TLS,       /* valid, but the server supports only TLS 1.1 and older */
    CERT_WANTS_CLIENT,  /* valid, but the server demands a client certificate */
    CERT_FUTURE,        /* not valid yet */
    CERT_OTHER_CA,      /* valid, but signed by another CA */
    CERT_NOT_CLIENT,    /* signed by the CA, for servers only (extended key usage) */
    CERT_SOON,          /* valid for three more days */
    CERT_INTERMEDIATE,  /* like CERT_CHAIN_MISSING, but the chain is sent */
    CERT_SPIFFE,        /* a caller's: one URI name, CERT_SPIFFE_NAME */
    CERT_TWO_URIS,      /* ... and another URI name */
    CERT_NUL_IN_NAME,   /* that name, followed by a NUL and more */
    CERT_SUBJECT,       /* no such name, but a subject with several parts: CERT_SUBJECT_NAME */
};

/* The CA's certificate as a PEM file, for `ca_file`. The file exists until the process ends. */
const char *certs_ca_file(void);
/* An authority that has signed only CERT_OTHER_CA. */
const char *certs_other_ca_file(void);

/* A leaf certificate and its key as PEM files; they exist until the process ends, or until
 * they are overwritten. */
struct cert_files {
    char certificate[96], key[96];
    long serial; /* identifies the leaf */
};
/* Writes new files if f is zeroed, otherwise overwrites those it names. */
void certs_write(struct cert_files *f, enum cert_kind kind);
/* A key with a passphrase. */
void certs_write_locked_key(char path[96]);
/* Writes a text that is not a certificate to a file beside them. */
void certs_write_text(char path[96], const char *text);

/* A client context that trusts the CA and shows such a leaf (CERT_NONE: none). The caller
 * frees it. */
SSL_CTX *certs_client_context(enum cert_kind kind);

/* A server context with such a leaf, offering ALPN "h2" or "http/1.1". The caller frees it. */
SSL_CTX *certs_context(enum cert_kind kind, bool h2);

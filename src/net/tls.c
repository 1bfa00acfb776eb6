/* Inbound TLS by OpenSSL.
 *
 * Why libmicrohttpd's TLS is not used: until a handshake is done, its epoll loop (0.9.75 and
 * 1.0) treats the connection as always ready, so that one silent caller occupies a whole
 * CPU. It also asks for a client certificate without requiring one, and cannot replace its
 * own certificate while it runs.
 */
#include "net/tls.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define WHAT_MAX 256
#define CERTIFICATES_MAX 1000

/* Most records in a row without data: such that OpenSSL handles by itself. A peer that renews
 * its keys (KeyUpdate) sends one in millions of records. */
#define EMPTY_RECORDS_MAX 32
/* Most records of a handshake; with small records a chain of certificates takes dozens. */
#define HANDSHAKE_RECORDS_MAX 256

struct tls {
    SSL_CTX *context;
    bool asks_clients;
    unsigned char digest[TLS_PARTS][32]; /* of each text; zeros: none */
    _Atomic int refs;
};

struct tls_session {
    SSL *ssl;
    const char *why;
    bool http;
    bool open;        /* the handshake is done */
    bool broken;      /* it failed by something that the peer sent */
    unsigned records; /* received since the last data, or in the handshake */
};

/* --- certificate, key, authorities ----------------------------------------------------- */

static void say(const struct tls_options *o, enum tls_part part, bool fatal, const char *what)
{
    o->say(o->arg, part, fatal, what);
}

/* Reports "what: the library's reason". */
static void say_reason(const struct tls_options *o, enum tls_part part, const char *what)
{
    char text[WHAT_MAX];
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    (void)snprintf(text, sizeof text, "%s%s%s", what, reason != NULL ? ": " : "",
                   reason != NULL ? reason : "");
    say(o, part, true, text);
}

static void say_time(const struct tls_options *o, enum tls_part part, const char *what,
                     const ASN1_TIME *when)
{
    char text[WHAT_MAX];
    BIO *bio = BIO_new(BIO_s_mem());
    char *date = NULL;
    long len = 0;

    if (bio != NULL && ASN1_TIME_print(bio, when) == 1)
        len = BIO_get_mem_data(bio, &date);
    (void)snprintf(text, sizeof text, "%s %.*s", what, (int)len, date != NULL ? date : "");
    say(o, part, false, text);
    BIO_free(bio);
}

/* The certificates in a PEM text, in order; NULL after a fatal `say`. */
static STACK_OF(X509) * read_certificates(const struct tls_options *o, enum tls_part part)
{
    STACK_OF(X509) *all = sk_X509_new_null();
    BIO *bio = BIO_new_mem_buf(o->part[part].text, (int)o->part[part].len);
    X509 *one;

    if (all == NULL || bio == NULL)
        abort();
    ERR_clear_error();
    while (sk_X509_num(all) < CERTIFICATES_MAX &&
           (one = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL)
        (void)sk_X509_push(all, one);
    BIO_free(bio);
    /* The expected error at the end: no further certificate found. */
    bool damaged = ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE;
    if (sk_X509_num(all) > 0 && !damaged) {
        ERR_clear_error();
        return all;
    }
    if (damaged)
        say_reason(o, part, "holds a certificate that cannot be read");
    else
        say(o, part, true, "holds no certificate; allowed: PEM (-----BEGIN CERTIFICATE-----)");
    sk_X509_pop_free(all, X509_free);
    return NULL;
}

static void check_time(const struct tls_options *o, enum tls_part part, const X509 *certificate)
{
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
        say_time(o, part, "holds a certificate that has expired, on",
                 X509_get0_notAfter(certificate));
    else if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
        say_time(o, part, "holds a certificate that is not valid before",
                 X509_get0_notBefore(certificate));
}

/* Nobody is there to type a passphrase. */
static int no_passphrase(char *buf, int size, int writing, void *asked)
{
    (void)buf;
    (void)size;
    (void)writing;
    *(bool *)asked = true;
    return -1;
}

static EVP_PKEY *read_key(const struct tls_options *o)
{
    static const char label[] = "PRIVATE KEY-----";
    BIO *bio = BIO_new_mem_buf(o->part[TLS_KEY].text, (int)o->part[TLS_KEY].len);
    bool asked = false;

    if (bio == NULL)
        abort();
    ERR_clear_error();
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);

    BIO_free(bio);
    if (key == NULL && asked)
        say(o, TLS_KEY, true,
            "is protected by a passphrase, which nobody can type here; allowed: without one");
    else if (key == NULL && memmem(o->part[TLS_KEY].text, o->part[TLS_KEY].len, label,
                                   sizeof label - 1) == NULL)
        say(o, TLS_KEY, true,
            "holds no private key; allowed: PEM (-----BEGIN PRIVATE KEY-----)");
    else if (key == NULL)
        say_reason(o, TLS_KEY, "holds a private key that cannot be read");
    return key;
}

static bool use_chain(SSL_CTX *context, const struct tls_options *o, STACK_OF(X509) * chain)
{
    if (SSL_CTX_use_certificate(context, sk_X509_value(chain, 0)) != 1) {
        say_reason(o, TLS_CERTIFICATE, "holds a certificate that cannot be used");
        return false;
    }
    for (int i = 1; i < sk_X509_num(chain); i++) {
        if (SSL_CTX_add1_chain_cert(context, sk_X509_value(chain, i)) != 1) {
            say_reason(o, TLS_CERTIFICATE, "holds a chain that cannot be used");
            return false;
        }
    }
    check_time(o, TLS_CERTIFICATE, sk_X509_value(chain, 0));
    return true;
}

/* Takes certificate and key from another object. */
static bool keep_certificate(SSL_CTX *context, const struct tls *from)
{
    STACK_OF(X509) *chain = NULL;

    return SSL_CTX_use_certificate(context, SSL_CTX_get0_certificate(from->context)) == 1 &&
           SSL_CTX_get0_chain_certs(from->context, &chain) == 1 &&
           SSL_CTX_set1_chain(context, chain) == 1 &&
           SSL_CTX_use_PrivateKey(context, SSL_CTX_get0_privatekey(from->context)) == 1;
}

static bool use_certificate(SSL_CTX *context, const struct tls_options *o)
{
    /* neither is given: only the authorities are to be checked */
    if (o->part[TLS_CERTIFICATE].text == NULL) {
        if (o->from != NULL && !keep_certificate(context, o->from))
            abort(); /* out of memory */
        return true;
    }
    STACK_OF(X509) *chain = read_certificates(o, TLS_CERTIFICATE);
    EVP_PKEY *key = read_key(o);
    bool ok = chain != NULL && key != NULL && use_chain(context, o, chain);

    if (ok && X509_check_private_key(sk_X509_value(chain, 0), key) != 1) {
        say(o, TLS_KEY, true, "is not the key of the certificate in listen.tls_certificate");
        ok = false;
    }
    if (ok && SSL_CTX_use_PrivateKey(context, key) != 1) {
        say_reason(o, TLS_KEY, "holds a key that cannot be used");
        ok = false;
    }
    sk_X509_pop_free(chain, X509_free);
    EVP_PKEY_free(key);
    return ok;
}

static void ask_clients(struct tls *t)
{
    SSL_CTX_set_verify(t->context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    t->asks_clients = true;
}

/* Takes the authorities from another object. */
static void keep_authorities(struct tls *t, const struct tls *from)
{
    STACK_OF(X509_NAME) *names = SSL_dup_CA_list(SSL_CTX_get_client_CA_list(from->context));

    if (names == NULL)
        abort();
    SSL_CTX_set1_cert_store(t->context, SSL_CTX_get_cert_store(from->context));
    SSL_CTX_set_client_CA_list(t->context, names);
    ask_clients(t);
}

static bool use_authorities(struct tls *t, const struct tls_options *o)
{
    if (o->part[TLS_CLIENT_CA].text == NULL) {
        if (o->from != NULL && o->from->asks_clients)
            keep_authorities(t, o->from);
        return true;
    }
    STACK_OF(X509) *all = read_certificates(o, TLS_CLIENT_CA);
    X509_STORE *store = SSL_CTX_get_cert_store(t->context);

    if (all == NULL)
        return false;
    for (int i = 0; i < sk_X509_num(all); i++) {
        if (X509_STORE_add_cert(store, sk_X509_value(all, i)) != 1 ||
            SSL_CTX_add_client_CA(t->context, sk_X509_value(all, i)) != 1)
            abort();
        check_time(o, TLS_CLIENT_CA, sk_X509_value(all, i));
    }
    sk_X509_pop_free(all, X509_free);
    ask_clients(t);
    return true;
}

/* --- a listener's context ---------------------------------------------------------------- */

/* ALPN (RFC 7301): HTTP/1.1, else 1.0; a client that offers only other protocols gets an
 * alert. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1\x08http/1.0";
    unsigned char *chosen = NULL;

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* One more than the limit is counted: that record may have data. */
static bool sends_too_many(const struct tls_session *s)
{
    return s->records > (s->open ? EMPTY_RECORDS_MAX + 1 : HANDSHAKE_RECORDS_MAX);
}

/* Counts records. Within one call OpenSSL goes on to the next record until there is data, or no
 * more bytes have arrived; also without SSL_MODE_AUTO_RETRY, if bytes were read ahead or if it
 * refuses a renegotiation. A peer that sends faster than records are handled could keep the
 * thread for as long as it likes. To OpenSSL it looks as if the peer had closed. */
static void on_message(int sent, int version, int type, const void *bytes, size_t n, SSL *ssl,
                       void *arg)
{
    struct tls_session *s = arg;

    (void)version;
    (void)bytes;
    (void)n;
    if (sent != 0 || type != SSL3_RT_HEADER)
        return;
    s->records++;
    if (sends_too_many(s))
        SSL_set_shutdown(ssl, SSL_get_shutdown(ssl) | SSL_RECEIVED_SHUTDOWN);
}

static SSL_CTX *context_new(void)
{
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());

    if (c == NULL || SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(c, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1)
        abort();
    /* A caller that closes without close_notify has just left; see tls_read. */
    (void)SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_PRIORITIZE_CHACHA |
                                     /* a caller's secret may be in it */
                                     SSL_OP_CLEANSE_PLAINTEXT);
    (void)SSL_CTX_set_num_tickets(c, 0);
    (void)SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_security_level(c, 2); /* 112 bits: no RSA below 2048, no SHA-1 */
    SSL_CTX_set_read_ahead(c, 1);
    SSL_CTX_set_alpn_select_cb(c, choose_protocol, NULL);
    SSL_CTX_set_msg_callback(c, on_message);
    return c;
}

struct tls *tls_new(const struct tls_options *options)
{
    struct tls *t = base_alloc(sizeof *t);

    atomic_init(&t->refs, 1);
    for (enum tls_part part = 0; part < TLS_PARTS; part++)
        if (options->part[part].text != NULL)
            tls_digest(options->part[part].text, options->part[part].len, t->digest[part]);
        else if (options->from != NULL)
            memcpy(t->digest[part], options->from->digest[part], sizeof t->digest[part]);
    t->context = context_new();
    bool ok = use_certificate(t->context, options);
    if (!use_authorities(t, options) || !ok) {
        tls_unref(t);
        t = NULL;
    }
    ERR_clear_error();
    return t;
}

struct tls *tls_ref(struct tls *t)
{
    (void)atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void tls_unref(struct tls *t)
{
    if (t == NULL || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(t->context);
    free(t);
}

bool tls_asks_clients(const struct tls *t)
{
    return t->asks_clients;
}

bool tls_differs(const struct tls *a, const struct tls *b, enum tls_part part)
{
    return a != NULL && b != NULL &&
           memcmp(a->digest[part], b->digest[part], sizeof a->digest[part]) != 0;
}

/* --- what is in a PEM text --------------------------------------------------------------- */

void tls_digest(const char *text, size_t len, unsigned char digest[32])
{
    if (EVP_Digest(text, len, digest, NULL, EVP_sha256(), NULL) != 1)
        abort();
}

static int64_t seconds_of(const ASN1_TIME *t)
{
    struct tm tm;

    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static const char no_certificate[] = "holds no certificate";
static const char bad_certificate[] =
    "holds a certificate that cannot be read; it may be half written";

/* Whether it is exactly one ASN.1 value, with nothing after it. */
static bool is_whole_der(const unsigned char *der, long len)
{
    const unsigned char *at = der;
    long inside = 0;
    int tag, class;

    return (ASN1_get_object(&at, &inside, &tag, &class, len) & 0x80) == 0 &&
           tag == V_ASN1_SEQUENCE && at - der + inside == len;
}

bool tls_is_certificates(const char *text, size_t len, const char **why)
{
    BIO *bio = BIO_new_mem_buf(text, (int)len);
    char *name, *header;
    unsigned char *der;
    long der_len;
    size_t count = 0;
    bool whole = true;

    if (bio == NULL)
        abort();
    ERR_clear_error();
    while (whole && PEM_read_bio(bio, &name, &header, &der, &der_len) == 1) {
        /* "TRUSTED" certificates have trust settings after them */
        whole = strcmp(name, PEM_STRING_X509_TRUSTED) == 0 || is_whole_der(der, der_len);
        count++;
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(der);
    }
    BIO_free(bio);
    /* The expected error at the end: no further certificate found. */
    whole = whole && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    *why = !whole ? bad_certificate : count == 0 ? no_certificate : NULL;
    return *why == NULL;
}

size_t tls_certificate_ends(const char *text, size_t len, int64_t **ends_s, const char **why)
{
    BIO *bio = BIO_new_mem_buf(text, (int)len);
    int64_t *ends = base_alloc(sizeof *ends * CERTIFICATES_MAX);
    size_t count = 0;
    X509 *one;

    if (bio == NULL)
        abort();
    ERR_clear_error();
    while (count < CERTIFICATES_MAX &&
           (one = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL)) != NULL) {
        ends[count++] = seconds_of(X509_get0_notAfter(one));
        X509_free(one);
    }
    BIO_free(bio);
    *why = count > 0 ? NULL : no_certificate;
    /* The expected error at the end: no further certificate found. */
    if (count < CERTIFICATES_MAX &&
        ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        *why = bad_certificate;
    ERR_clear_error();
    if (*why != NULL) {
        free(ends);
        ends = NULL;
        count = 0;
    }
    *ends_s = ends;
    return count;
}

bool tls_is_pair(const char *certificate, size_t certificate_len, const char *key,
                 size_t key_len, const char **why)
{
    bool asked = false;
    BIO *certificate_bio = BIO_new_mem_buf(certificate, (int)certificate_len);
    BIO *key_bio = BIO_new_mem_buf(key, (int)key_len);

    if (certificate_bio == NULL || key_bio == NULL)
        abort();
    X509 *leaf = PEM_read_bio_X509_AUX(certificate_bio, NULL, NULL, NULL);
    EVP_PKEY *private_key = PEM_read_bio_PrivateKey(key_bio, NULL, no_passphrase, &asked);

    *why = NULL;
    if (leaf == NULL)
        *why = "the certificate cannot be read";
    else if (private_key == NULL)
        *why = "holds a private key that cannot be read; it may be half written";
    else if (X509_check_private_key(leaf, private_key) != 1)
        *why = "is not the key of the certificate";
    X509_free(leaf);
    EVP_PKEY_free(private_key);
    BIO_free(certificate_bio);
    BIO_free(key_bio);
    ERR_clear_error();
    return *why == NULL;
}

/* --- a session --------------------------------------------------------------------------- */

struct tls_session *tls_session_new(struct tls *t, int fd)
{
    struct tls_session *s = base_alloc(sizeof *s);

    s->why = "";
    s->ssl = SSL_new(t->context);
    if (s->ssl == NULL || SSL_set_fd(s->ssl, fd) != 1) {
        tls_session_free(s);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_msg_callback_arg(s->ssl, s);
    return s;
}

void tls_session_free(struct tls_session *s)
{
    if (s == NULL)
        return;
    SSL_free(s->ssl);
    free(s);
}

/* Turns a return value of OpenSSL into ours. The error queue belongs to the thread and
 * libcurl uses it too, so it is emptied before each call. */
static int result(struct tls_session *s, int rc)
{
    if (sends_too_many(s)) {
        s->why = s->open ? "too many records in a row without data"
                         : "too many records in the handshake";
        s->broken = true;
        return TLS_FAILED;
    }
    switch (SSL_get_error(s->ssl, rc)) {
    case SSL_ERROR_NONE:
        return 1;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return TLS_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_END;
    default:
        break;
    }
    unsigned long error = ERR_peek_last_error();
    long verified = SSL_get_verify_result(s->ssl);

    s->broken = ERR_GET_LIB(error) == ERR_LIB_SSL;
    s->http = s->broken && ERR_GET_REASON(error) == SSL_R_HTTP_REQUEST;
    if (s->http)
        s->why = "plain HTTP was spoken";
    else if (verified != X509_V_OK)
        s->why = X509_verify_cert_error_string(verified);
    else
        s->why = ERR_reason_error_string(error);
    if (s->why == NULL)
        s->why = "the connection was closed";
    return TLS_FAILED;
}

int tls_handshake(struct tls_session *s)
{
    ERR_clear_error();
    int rc = result(s, SSL_accept(s->ssl));

    if (rc == 1) {
        s->open = true;
        s->records = 0;
    }
    if (rc != TLS_END)
        return rc;
    s->why = "the connection was closed";
    return TLS_FAILED;
}

ssize_t tls_read(struct tls_session *s, void *out, size_t size)
{
    size_t n = 0;

    ERR_clear_error();
    int ok = SSL_read_ex(s->ssl, out, size, &n);

    if (ok == 1)
        s->records = 0;
    int rc = result(s, ok);

    return rc == 1 ? (ssize_t)n : rc;
}

ssize_t tls_write(struct tls_session *s, const void *bytes, size_t n)
{
    size_t written = 0;

    ERR_clear_error();
    int rc = result(s, SSL_write_ex(s->ssl, bytes, n, &written));
    if (rc == TLS_END)
        return TLS_FAILED;
    return rc == 1 ? (ssize_t)written : rc;
}

int tls_close_notify(struct tls_session *s)
{
    ERR_clear_error();
    int rc = SSL_shutdown(s->ssl);

    /* 0: sent; we do not wait for the peer's */
    return rc >= 0 ? 1 : result(s, rc) == TLS_AGAIN ? TLS_AGAIN : TLS_FAILED;
}

int64_t tls_received_bytes(const struct tls_session *s)
{
    return (int64_t)BIO_number_read(SSL_get_rbio(s->ssl));
}

/* With more names than this, the certificate is treated as having none. */
#define NAMES_MAX 64

static void add_name(char ***list, size_t *count, const ASN1_IA5STRING *text)
{
    const unsigned char *bytes = ASN1_STRING_get0_data(text);
    size_t len = (size_t)ASN1_STRING_length(text);
    char **more = realloc(*list, (*count + 1) * sizeof *more);
    char *copy =
        memchr(bytes, '\0', len) != NULL ? strdup("") : strndup((const char *)bytes, len);

    if (more == NULL || copy == NULL)
        abort();
    more[(*count)++] = copy;
    *list = more;
}

static char *subject_of(X509 *certificate)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes = NULL, *text = NULL;

    if (bio != NULL &&
        X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0) {
        long len = BIO_get_mem_data(bio, &bytes);

        text = len > 0 ? strndup(bytes, (size_t)len) : NULL;
    }
    BIO_free(bio);
    return text;
}

static void names_of(X509 *certificate, struct tls_names *out)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; all != NULL && i < sk_GENERAL_NAME_num(all) && i < NAMES_MAX; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(all, i);

        if (name->type == GEN_URI)
            add_name(&out->uri, &out->uris, name->d.uniformResourceIdentifier);
        else if (name->type == GEN_DNS)
            add_name(&out->dns, &out->dnss, name->d.dNSName);
    }
    bool too_many = all != NULL && sk_GENERAL_NAME_num(all) > NAMES_MAX;

    GENERAL_NAMES_free(all);
    if (too_many)
        tls_names_done(out);
    else
        out->subject = subject_of(certificate);
}

void tls_peer_names(const struct tls_session *s, struct tls_names *out)
{
    X509 *certificate = SSL_get0_peer_certificate(s->ssl);

    *out = (struct tls_names){ .uris = 0 };
    if (certificate != NULL && SSL_get_verify_result(s->ssl) == X509_V_OK)
        names_of(certificate, out);
}

bool tls_certificate_names(const char *pem, size_t len, struct tls_names *out)
{
    BIO *bio = len > INT_MAX ? NULL : BIO_new_mem_buf(pem, (int)len);
    X509 *certificate = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, NULL);

    *out = (struct tls_names){ .uris = 0 };
    if (certificate != NULL)
        names_of(certificate, out);
    X509_free(certificate);
    BIO_free(bio);
    ERR_clear_error();
    return certificate != NULL;
}

void tls_names_done(struct tls_names *n)
{
    for (size_t i = 0; i < n->uris; i++)
        free(n->uri[i]);
    for (size_t i = 0; i < n->dnss; i++)
        free(n->dns[i]);
    free(n->uri);
    free(n->dns);
    free(n->subject);
    *n = (struct tls_names){ .uris = 0 };
}

const char *tls_why(const struct tls_session *s)
{
    return s->why;
}

bool tls_is_broken(const struct tls_session *s)
{
    return s->broken;
}

bool tls_peer_spoke_http(const struct tls_session *s)
{
    return s->http;
}

#pragma once
/* Inbound TLS: a listener's certificate and client authorities, and the TLS records of one
 * connection. TLS 1.2 (AEAD and forward secrecy only) and 1.3, HTTP/1.1 by ALPN, no
 * renegotiation and no resumption: every connection authenticates anew, so that no client
 * outlives the removal of its authority. */
#include <sys/types.h>

#include "base/base.h"

/* Certificate, key and client authorities. Never changed once made; shared by all threads. */
struct tls;

enum tls_part { TLS_CERTIFICATE, TLS_KEY, TLS_CLIENT_CA, TLS_PARTS };

struct tls_options {
    struct {
        const char *text; /* PEM; NULL: none */
        size_t len;
        /* with TLS_CLIENT_CA each client must show a certificate of these authorities */
    } part[TLS_PARTS];
    /* Where a text is missing, the part is taken from here; NULL: from nowhere. Certificate
     * and key come together, as texts or from here. Without them the object is only good for
     * checking the authorities. */
    const struct tls *from;
    /* Called with what is wrong with a part; not fatal: what is doubtful. */
    void (*say)(void *arg, enum tls_part part, bool fatal, const char *what);
    void *arg;
};

/* Checks and copies the parts. Returns NULL after at least one fatal `say`. Thread: control. */
struct tls *tls_new(const struct tls_options *options) MUST_CHECK;
/* Thread: any. */
struct tls *tls_ref(struct tls *t);
/* Takes NULL. The key is wiped when the last reference and the last session are gone. */
void tls_unref(struct tls *t);
/* Whether a part was made from different texts, or only one of the two has it. False if a or
 * b is NULL. */
bool tls_differs(const struct tls *a, const struct tls *b, enum tls_part part);
/* Whether clients must show a certificate. For tests. */
bool tls_asks_clients(const struct tls *t);

/* The SHA-256 of a text. */
void tls_digest(const char *text, size_t len, unsigned char digest[32]);
/* Whether a PEM text looks like complete certificates. Their content is not parsed; this
 * takes a hundredth of the time of tls_certificate_ends. If not, `why` is set (a literal). */
bool tls_is_certificates(const char *text, size_t len, const char **why);
/* When each certificate in a PEM text expires, in seconds since 1970, in order. Returns
 * their number; 0: there is none, or one cannot be read, and `why` is set (a literal). The
 * caller frees *ends_s. */
size_t tls_certificate_ends(const char *text, size_t len, int64_t **ends_s,
                            const char **why) MUST_CHECK;
/* Whether the first certificate of a PEM text belongs to the private key in another (or the
 * same) one. If not, or one of them cannot be read, `why` is set (a literal). Thread: any. */
bool tls_is_pair(const char *certificate, size_t certificate_len, const char *key,
                 size_t key_len, const char **why) MUST_CHECK;

/* One connection on a non-blocking descriptor, which the caller still owns. Thread: always
 * the same one. */
struct tls_session;

/* NULL: no memory. The session keeps what it needs of `t` alive. */
struct tls_session *tls_session_new(struct tls *t, int fd) MUST_CHECK;
/* Takes NULL. */
void tls_session_free(struct tls_session *s);

#define TLS_END 0      /* the peer has closed */
#define TLS_AGAIN (-1) /* wait until the descriptor is ready */
#define TLS_FAILED (-2)

/* 1 when the handshake is done and the client's certificate is verified; TLS_AGAIN,
 * TLS_FAILED. The number of its records is limited. */
int tls_handshake(struct tls_session *s) MUST_CHECK;
/* Bytes read; TLS_END (with or without close_notify, since requests have their own framing);
 * TLS_AGAIN; TLS_FAILED. Handles at most one record with data and a few without: a peer cannot
 * keep it busy. */
ssize_t tls_read(struct tls_session *s, void *out, size_t size) MUST_CHECK;
/* Bytes written (at least a whole record, or all); TLS_AGAIN; TLS_FAILED. After TLS_AGAIN
 * pass the same bytes again; they may be at another address. */
ssize_t tls_write(struct tls_session *s, const void *bytes, size_t n) MUST_CHECK;
/* Sends close_notify (RFC 8446 section 6.1). Returns 1, TLS_AGAIN or TLS_FAILED. */
int tls_close_notify(struct tls_session *s) MUST_CHECK;

/* The names in the client's certificate, once the handshake is done. A name that contains a
 * NUL becomes "", which matches nobody. Zeroed: there was no certificate. */
struct tls_names {
    char **uri, **dns; /* subjectAltName */
    size_t uris, dnss;
    char *subject; /* RFC 4514 text; NULL: no certificate */
};
void tls_peer_names(const struct tls_session *s, struct tls_names *out);
/* The same for the first certificate of a PEM text. False: there is none. */
bool tls_certificate_names(const char *pem, size_t len, struct tls_names *out) MUST_CHECK;
void tls_names_done(struct tls_names *n);

/* Bytes received from the descriptor so far. */
int64_t tls_received_bytes(const struct tls_session *s);
/* Why it failed: the library's error message. */
const char *tls_why(const struct tls_session *s);
/* Whether it failed by something that the peer sent, not by the end of the connection. */
bool tls_is_broken(const struct tls_session *s);
/* Whether it failed because the peer speaks plain HTTP. */
bool tls_peer_spoke_http(const struct tls_session *s);

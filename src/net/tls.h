#pragma once
/* Inbound TLS: what a listener shows and demands, and the records of one connection. The one
 * file that knows OpenSSL. TLS 1.2 (AEAD and forward secrecy only) and 1.3, HTTP/1.1 by ALPN,
 * no renegotiation, no resumption: every connection proves itself anew, so that a client
 * authority that was taken away has no afterlife. */
#include <sys/types.h>

#include "base/base.h"

/* Certificate, key, client authorities: never changed once made, shared by all threads. */
struct tls;

enum tls_part { TLS_CERTIFICATE, TLS_KEY, TLS_CLIENT_CA, TLS_PARTS };

struct tls_options {
    struct {
        const char *text; /* PEM; NULL: none */
        size_t len;
    } part[TLS_PARTS]; /* with TLS_CLIENT_CA each client must show a certificate of these */
    /* Whose parts are taken where there is no text; NULL: nobody's. Certificate and key come
     * together, as texts or from there; with neither it is good for nothing but a check of the
     * authorities. */
    const struct tls *from;
    /* What is wrong with a part, or (not fatal) doubtful. */
    void (*say)(void *arg, enum tls_part part, bool fatal, const char *what);
    void *arg;
};

/* Checks and takes the parts; the texts are not needed any more after that. Returns NULL after
 * at least one fatal `say`. Thread: control. */
struct tls *tls_new(const struct tls_options *options) MUST_CHECK;
/* Thread: any. */
struct tls *tls_ref(struct tls *t);
/* Takes NULL. The key is wiped with the last reference and the last session. */
void tls_unref(struct tls *t);
/* Whether a part was made from another text, or only one of the two has it; no when there are
 * not two (NULL). */
bool tls_differs(const struct tls *a, const struct tls *b, enum tls_part part);
/* Whether clients must show a certificate. */
bool tls_asks_clients(const struct tls *t);

/* The SHA-256 of a text. */
void tls_digest(const char *text, size_t len, unsigned char digest[32]);
/* Whether a PEM text looks like certificates, all of them whole. What is in them is not read, which
 * takes a hundredth of the time of tls_certificate_ends. Else `why` says it (a literal). */
bool tls_is_certificates(const char *text, size_t len, const char **why);
/* When each certificate of a PEM text ends, in seconds since 1970, in their order. Returns how many
 * there are; 0: none, or one that cannot be read, and `why` says it (a literal). Owns: free. */
size_t tls_certificate_ends(const char *text, size_t len, int64_t **ends_s,
                            const char **why) MUST_CHECK;
/* Whether the first certificate of a PEM text goes with the private key of another (or the same)
 * one. False, and `why` says it (a literal): it does not, or one of them cannot be read. Thread:
 * any. */
bool tls_is_pair(const char *certificate, size_t certificate_len, const char *key,
                 size_t key_len, const char **why) MUST_CHECK;

/* One connection on a non-blocking descriptor, which stays the caller's. All of them by one
 * thread. */
struct tls_session;

/* NULL: no memory. The session keeps what `t` holds alive. */
struct tls_session *tls_session_new(struct tls *t, int fd) MUST_CHECK;
/* Takes NULL. */
void tls_session_free(struct tls_session *s);

#define TLS_END 0      /* the other side has closed */
#define TLS_AGAIN (-1) /* not before the descriptor is ready */
#define TLS_FAILED (-2)

/* 1 when the handshake is done, the client's certificate verified; TLS_AGAIN, TLS_FAILED. */
int tls_handshake(struct tls_session *s) MUST_CHECK;
/* Bytes read, TLS_END (with or without close_notify: requests have a framing of their own),
 * TLS_AGAIN, TLS_FAILED. */
ssize_t tls_read(struct tls_session *s, void *out, size_t size) MUST_CHECK;
/* Bytes written (at least one record's worth or all), TLS_AGAIN, TLS_FAILED. After TLS_AGAIN
 * the same bytes must come again, at whatever address. */
ssize_t tls_write(struct tls_session *s, const void *bytes, size_t n) MUST_CHECK;
/* Says that nothing more comes (close_notify): 1, TLS_AGAIN, TLS_FAILED. */
int tls_bye(struct tls_session *s) MUST_CHECK;

/* What the client's certificate says of its owner, once the handshake is done. A name that holds a
 * NUL is "", which is nobody's. Zeroed: there was no certificate. */
struct tls_names {
    char **uri, **dns; /* subjectAltName */
    size_t uris, dnss;
    char *subject; /* RFC 4514 text; NULL: no certificate */
};
void tls_peer_names(const struct tls_session *s, struct tls_names *out);
/* The same of a certificate in PEM that is here; the first one counts. False: it is none. */
bool tls_certificate_names(const char *pem, size_t len, struct tls_names *out) MUST_CHECK;
void tls_names_done(struct tls_names *n);

/* Bytes taken from the descriptor so far. */
int64_t tls_received_bytes(const struct tls_session *s);
/* Why it failed, in the library's words. */
const char *tls_why(const struct tls_session *s);
/* Whether it failed because the other side speaks plain HTTP. */
bool tls_spoken_to_in_http(const struct tls_session *s);

/* tls.c: checking the form of certificates without parsing them, and how much a peer can have
 * done in one call. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "certs.h"
#include "net/tls.h"
#include "unit.h"

#define BEGIN "-----BEGIN CERTIFICATE-----\n"
#define END "-----END CERTIFICATE-----\n"

/* Of P-256, for a hundred years, by itself. */
static const char body[] = "MIIBcDCCARWgAwIBAgIUOjoF8rOASGVft3OxUPW4QMgQYT8wCgYIKoZIzj0EAwIw\n"
                           "DDEKMAgGA1UEAwwBYTAgFw0yNjExMjkwMTA1NDNaGA8yMTI2MTEwNTAxMDU0M1ow\n"
                           "DDEKMAgGA1UEAwwBYTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABF1/GGuVmrr7\n"
                           "JJqlzgND5mt1snWb7rOewit6uCh5Zd9wtjDgGz7862J95qzSxTIA16UsIJpK1jRJ\n"
                           "5tI73/4CuU+jUzBRMB0GA1UdDgQWBBSttZkoKfmzxUJ7dAulGBu+y6YGcjAfBgNV\n"
                           "HSMEGDAWgBSttZkoKfmzxUJ7dAulGBu+y6YGcjAPBgNVHRMBAf8EBTADAQH/MAoG\n"
                           "CCqGSM49BAMCA0kAMEYCIQCG7OmRP86VOrEzFbQU4VK/HSgfhDX8ELDm3OzfD+DY\n"
                           "CQIhAOxWaczB/Gu+rp3RRrBuVUfF6ONfnXXqfh7YI5AHYVR+\n";

static const char *why_of(const char *before, size_t body_len, const char *behind)
{
    char text[4096];
    const char *why = "";

    (void)snprintf(text, sizeof text, "%s%.*s%s", before, (int)body_len, body, behind);
    bool good = tls_is_certificates(text, strlen(text), &why);

    assert_int_equal(good, why == NULL);
    return why;
}

static void whole_certificates_are_good(void **state)
{
    (void)state;
    assert_null(why_of(BEGIN, sizeof body - 1, END));
    assert_null(why_of("# an authority\n" BEGIN, sizeof body - 1, END "\n# and no other\n"));
}

static void what_holds_none_is_not(void **state)
{
    (void)state;
    static const char *const texts[] = { "", "\n", "<html>502 Bad Gateway</html>", END };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_string_equal(why_of(texts[i], 0, ""), "holds no certificate");
}

/* Cut at every byte, with and without an end that would hide it. */
static void a_half_is_not(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof body - 2; n++) {
        assert_non_null(strstr(why_of(BEGIN, n, ""), "half written"));
        assert_non_null(strstr(why_of(BEGIN, n, "\n" END), "half written"));
    }
}

/* --- one connection ---------------------------------------------------------------------- */

/* A peer whose records are collected in memory, so that they can be sent all at once. */
struct pair {
    struct tls *tls;
    struct tls_session *session;
    SSL *peer;
    int fd[2]; /* the session's end, the peer's */
};

static void say(void *arg, enum tls_part part, bool fatal, const char *what)
{
    (void)arg;
    (void)part;
    (void)fatal;
    fail_msg("%s", what);
}

static size_t read_file(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    size_t n = fread(out, 1, size, f);
    assert_true(n < size);
    (void)fclose(f);
    return n;
}

static struct tls *tls_of_tests(void)
{
    struct cert_files files = { .serial = 0 };
    char certificate[8192], key[8192];
    struct tls_options options = { .say = say };
    certs_write(&files, CERT_VALID);
    options.part[TLS_CERTIFICATE].text = certificate;
    options.part[TLS_CERTIFICATE].len =
        read_file(files.certificate, certificate, sizeof certificate);
    options.part[TLS_KEY].text = key;
    options.part[TLS_KEY].len = read_file(files.key, key, sizeof key);
    return tls_new(&options);
}

/* Sends what the peer has made, and gives it what has arrived. */
static void carry(struct pair *p)
{
    char *made = NULL, bytes[65536];
    long n = BIO_get_mem_data(SSL_get_wbio(p->peer), &made);
    ssize_t got;
    if (n > 0)
        assert_int_equal(send(p->fd[1], made, (size_t)n, 0), n);
    (void)BIO_reset(SSL_get_wbio(p->peer));
    while ((got = recv(p->fd[1], bytes, sizeof bytes, 0)) > 0)
        assert_int_equal(BIO_write(SSL_get_rbio(p->peer), bytes, (int)got), got);
}

/* Makes the ClientHello of a renegotiation long. */
static int add_filler(SSL *ssl, unsigned type, const unsigned char **out, size_t *len,
                      int *alert, void *arg)
{
    static unsigned char filler[60000];
    (void)type;
    (void)alert;
    (void)arg;
    memset(filler, SSL3_MT_CLIENT_HELLO, sizeof filler);
    *out = filler;
    *len = sizeof filler;
    return SSL_num_renegotiations(ssl) > 0;
}

static void pair_open(struct pair *p, int version)
{
    SSL_CTX *context = certs_client_context(CERT_NONE);
    int rc = TLS_AGAIN;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, p->fd),
                     0);
    p->tls = tls_of_tests();
    p->session = tls_session_new(p->tls, p->fd[0]);
    assert_non_null(p->session);
    assert_int_equal(
        SSL_CTX_add_client_custom_ext(context, 65000, add_filler, NULL, NULL, NULL, NULL), 1);
    (void)SSL_CTX_set_max_proto_version(context, version);
    p->peer = SSL_new(context);
    SSL_CTX_free(context);
    SSL_set_bio(p->peer, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    for (int i = 0; i < 10 && rc == TLS_AGAIN; i++) {
        (void)SSL_connect(p->peer);
        carry(p);
        rc = tls_handshake(p->session);
    }
    assert_int_equal(rc, 1);
    carry(p);
    assert_int_equal(SSL_connect(p->peer), 1);
}

static void pair_close(struct pair *p)
{
    SSL_free(p->peer);
    tls_session_free(p->session);
    tls_unref(p->tls);
    (void)close(p->fd[0]);
    (void)close(p->fd[1]);
}

static void renew_keys(struct pair *p, int times)
{
    for (int i = 0; i < times; i++) {
        assert_int_equal(SSL_key_update(p->peer, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(p->peer), 1);
    }
}

/* It fails, and most of what was sent was not even looked at. */
static void assert_cut_early(struct pair *p)
{
    char out[16384];
    int before = 0, after = 0;
    carry(p);
    assert_int_equal(ioctl(p->fd[0], FIONREAD, &before), 0);
    assert_true(before > 2 * (int)sizeof out);
    assert_int_equal(tls_read(p->session, out, sizeof out), TLS_FAILED);
    assert_string_equal(tls_why(p->session), "too many records in a row without data");
    assert_true(tls_is_broken(p->session));
    assert_int_equal(ioctl(p->fd[0], FIONREAD, &after), 0);
    assert_true(after > 0);
}

static void key_updates_without_end_do_not_keep_it_busy(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, TLS1_3_VERSION);
    renew_keys(&p, 3000);
    assert_cut_early(&p);
    pair_close(&p);
}

/* In TLS 1.2 a new ClientHello is refused, and the rest of it passed over. This one is cut into
 * small records, each of which begins like one. */
static void a_renegotiation_without_end_does_not_keep_it_busy(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, TLS1_2_VERSION);
    (void)SSL_set_max_send_fragment(p.peer, 512);
    assert_int_equal(SSL_renegotiate(p.peer), 1);
    assert_int_equal(SSL_do_handshake(p.peer), -1);
    assert_cut_early(&p);
    pair_close(&p);
}

static void keys_may_be_renewed_as_often_as_there_is_data(void **state)
{
    (void)state;
    struct pair p;
    char out[16384];
    pair_open(&p, TLS1_3_VERSION);
    for (int i = 0; i < 10; i++) {
        renew_keys(&p, 32); /* as many as docs/limits.md says */
        assert_int_equal(SSL_write(p.peer, "hello", 5), 5);
        if (i % 2 == 0)
            continue;
        carry(&p);
        assert_int_equal(tls_read(p.session, out, sizeof out), 5);
        assert_int_equal(tls_read(p.session, out, sizeof out), 5);
        assert_int_equal(tls_read(p.session, out, sizeof out), TLS_AGAIN);
        assert_int_equal(tls_write(p.session, "hello", 5), 5);
        carry(&p);
        assert_int_equal(SSL_read(p.peer, out, sizeof out), 5);
    }
    assert_false(tls_is_broken(p.session));
    pair_close(&p);
}

/* OpenSSL reads on as long as there are records, and there may be 32 useless ones in front of
 * each byte of a ClientHello. */
static void a_handshake_has_a_limit_of_records(void **state)
{
    (void)state;
    struct pair p = { .tls = tls_of_tests() };
    unsigned char bytes[40000] = "\x16\x03\x01\x00\x01\x01" /* a ClientHello of 65,536 bytes */
                                 "\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00\x01\x00"
                                 "\x16\x03\x01\x00\x01\x00";
    int after = 0;
    for (size_t at = 24; at + 6 <= sizeof bytes; at += 6)
        memcpy(bytes + at, "\x16\x03\x01\x00\x01\x00", 6);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, p.fd),
                     0);
    p.session = tls_session_new(p.tls, p.fd[0]);
    assert_non_null(p.session);
    assert_int_equal(send(p.fd[1], bytes, sizeof bytes, 0), (ssize_t)sizeof bytes);
    assert_int_equal(tls_handshake(p.session), TLS_FAILED);
    assert_string_equal(tls_why(p.session), "too many records in the handshake");
    assert_int_equal(ioctl(p.fd[0], FIONREAD, &after), 0);
    assert_true(after > 0);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_updates_without_end_do_not_keep_it_busy),
        cmocka_unit_test(a_renegotiation_without_end_does_not_keep_it_busy),
        cmocka_unit_test(keys_may_be_renewed_as_often_as_there_is_data),
        cmocka_unit_test(a_handshake_has_a_limit_of_records),
        cmocka_unit_test(whole_certificates_are_good),
        cmocka_unit_test(what_holds_none_is_not),
        cmocka_unit_test(a_half_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

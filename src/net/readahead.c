/* Reading ahead in TLS, and knowing what was read.
 *
 *     socket --recv--> BIO (libcurl's) --> SSL's buffer --SSL_read--> libcurl
 *                       ^ watched here     ^ SSL_has_pending
 *
 * The BIO tells of each read: some bytes, or "nothing there" (`drained`). OpenSSL asks it only when
 * its buffer holds no whole record. */
#include "net/readahead.h"

#include <errno.h>
#include <openssl/ssl.h>

struct readahead {
    SSL *ssl;
    bool drained;
    struct readahead **holder; /* NULL: forgotten */
    void (*on_bytes)(void *arg);
    void *arg;
};

static int slot = -1; /* where an SSL keeps it; set once, before any thread */

static void on_ssl_freed(void *ssl, void *is, CRYPTO_EX_DATA *data, int index, long n,
                         void *arg)
{
    struct readahead *a = is;

    (void)ssl;
    (void)data;
    (void)index;
    (void)n;
    (void)arg;
    if (a != NULL && a->holder != NULL)
        *a->holder = NULL;
    free(a);
}

static long on_bio(BIO *bio, int oper, const char *bytes, size_t len, int argi, long argl,
                   int ret, size_t *processed)
{
    struct readahead *a = (struct readahead *)(void *)BIO_get_callback_arg(bio);

    (void)bytes;
    (void)len;
    (void)argi;
    (void)argl;
    (void)processed;
    /* It is called for the end of the BIO too, when `a` has been freed with the SSL. */
    if (oper != (BIO_CB_READ | BIO_CB_RETURN) || a->holder == NULL)
        return ret;
    a->drained = ret <= 0;
    if (!a->drained)
        a->on_bytes(a->arg);
    return ret;
}

int readahead_global_init(void)
{
    slot = SSL_get_ex_new_index(0, NULL, NULL, NULL, on_ssl_freed);
    return slot < 0 ? -ENOMEM : 0;
}

void readahead_begin(CURL *easy, struct readahead **holder, void (*on_bytes)(void *arg),
                     void *arg)
{
    const struct curl_tlssessioninfo *tls = NULL;

    if (curl_easy_getinfo(easy, CURLINFO_TLS_SSL_PTR, &tls) != CURLE_OK || tls == NULL ||
        tls->backend != CURLSSLBACKEND_OPENSSL || tls->internals == NULL)
        return;
    SSL *ssl = tls->internals;
    BIO *bio = SSL_get_rbio(ssl);

    if (bio == NULL || SSL_get_ex_data(ssl, slot) != NULL)
        return;
    struct readahead *a = base_alloc(sizeof *a);

    *a = (struct readahead){ .ssl = ssl, .holder = holder, .on_bytes = on_bytes, .arg = arg };
    if (SSL_set_ex_data(ssl, slot, a) != 1) {
        free(a);
        return;
    }
    *holder = a;
    BIO_set_callback_arg(bio, (char *)a);
    BIO_set_callback_ex(bio, on_bio);
    SSL_set_read_ahead(ssl, 1);
}

bool readahead_holds(const struct readahead *a)
{
    return !a->drained && SSL_has_pending(a->ssl) == 1;
}

void readahead_forget(struct readahead *a)
{
    if (a != NULL)
        a->holder = NULL;
}

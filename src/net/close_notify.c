/* close_notify, as OpenSSL sees it.
 *
 *     exchanges --> close_notify <-- SSL     one for each connection; the last to let go frees
 *
 * libcurl reads through a BIO of its own that does not tell OpenSSL of the connection's end,
 * and newer ones set SSL_OP_IGNORE_UNEXPECTED_EOF: either way it sees the same "no more" for a
 * cut and for an end. OpenSSL itself sees the alert come in and tells its info callback. By the
 * time libcurl says that a transfer is over, the connection may have been freed, or it may live
 * on and be shut down later: hence the several owners. */
#include "net/close_notify.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

struct close_notify {
    unsigned owners;
    bool said;
};

static int slot = -1; /* where an SSL keeps it; set once, before any thread */

static void release(struct close_notify *f)
{
    if (f != NULL && --f->owners == 0)
        free(f);
}

static void on_ssl_freed(void *ssl, void *mine, CRYPTO_EX_DATA *data, int index, long n,
                         void *arg)
{
    (void)ssl;
    (void)data;
    (void)index;
    (void)n;
    (void)arg;
    release(mine);
}

static void on_info(const SSL *ssl, int where, int alert)
{
    struct close_notify *f = SSL_get_ex_data(ssl, slot);

    if (where == SSL_CB_READ_ALERT && (alert & 0xff) == SSL_AD_CLOSE_NOTIFY && f != NULL)
        f->said = true;
}

int close_notify_global_init(void)
{
    slot = SSL_get_ex_new_index(0, NULL, NULL, NULL, on_ssl_freed);
    return slot < 0 ? -ENOMEM : 0;
}

struct close_notify *close_notify_watch(CURL *easy)
{
    const struct curl_tlssessioninfo *tls = NULL;

    if (curl_easy_getinfo(easy, CURLINFO_TLS_SSL_PTR, &tls) != CURLE_OK || tls == NULL ||
        tls->backend != CURLSSLBACKEND_OPENSSL || tls->internals == NULL)
        return NULL;
    SSL *ssl = tls->internals;
    struct close_notify *f = SSL_get_ex_data(ssl, slot);

    if (f == NULL) {
        f = base_alloc(sizeof *f);
        if (SSL_set_ex_data(ssl, slot, f) == 1) {
            f->owners = 1;
            SSL_set_info_callback(ssl, on_info);
        }
    }
    f->owners++;
    return f;
}

bool close_notify_said(const struct close_notify *f)
{
    return f->said;
}

bool close_notify_over(const struct close_notify *f, curl_socket_t fd)
{
    char byte;

    if (f->said || fd == CURL_SOCKET_BAD)
        return true;
    ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

void close_notify_free(struct close_notify *f)
{
    release(f);
}

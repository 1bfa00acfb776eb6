/* library_alloc.c: memory that libcurl or OpenSSL frees in the thread with the client secret
 * contains nothing of it; in other threads a record's buffer is used again. */
#include <curl/curl.h>
#include <openssl/ssl.h>
#include <pthread.h>

#include "heap.h"
#include "net/library_alloc.h"

/* Not in the heap itself, and long enough that what the C library writes into a freed piece
 * does not hide it. */
static char secret[3001];

static void fill_secret(void)
{
    memset(secret, 'x', sizeof secret - 1);
    memcpy(secret + 1500, "wiping-canary", 13);
}

static void what_libcurl_has_copied_is_gone_when_it_is_freed(void **state)
{
    (void)state;
    need_heap();
    CURL *e = curl_easy_init();
    assert_non_null(e);
    assert_int_equal(curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS, secret), CURLE_OK);
    assert_true(copies_in_heap("wiping-", "canary") > 0);
    curl_easy_cleanup(e);
    assert_int_equal(copies_in_heap("wiping-", "canary"), 0);
}

static void what_has_grown_leaves_nothing_where_it_was(void **state)
{
    (void)state;
    need_heap();
    char *escaped = curl_easy_escape(NULL, secret, 0); /* byte by byte into a growing buffer */
    assert_non_null(escaped);
    assert_string_equal(escaped, secret);
    assert_int_equal(copies_in_heap("wiping-", "canary"), 1);
    curl_free(escaped);
    assert_int_equal(copies_in_heap("wiping-", "canary"), 0);
}

static unsigned key_of_client(SSL *ssl, const char *hint, char *identity, unsigned max_identity,
                              unsigned char *key, unsigned max_key)
{
    (void)ssl;
    (void)hint;
    (void)snprintf(identity, max_identity, "x");
    memset(key, 'k', max_key < 16 ? max_key : 16);
    return 16;
}

static unsigned key_of_server(SSL *ssl, const char *identity, unsigned char *key,
                              unsigned max_key)
{
    (void)ssl;
    (void)identity;
    memset(key, 'k', max_key < 16 ? max_key : 16);
    return 16;
}

/* One end of a connection in memory, by a shared key, so that it takes no certificate. */
static SSL *end_new(bool server, BIO *in, BIO *out)
{
    SSL_CTX *context = SSL_CTX_new(TLS_method());

    assert_non_null(context);
    assert_int_equal(SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION), 1);
    assert_int_equal(SSL_CTX_set_cipher_list(context, "PSK-AES128-GCM-SHA256"), 1);
    SSL_CTX_set_psk_client_callback(context, key_of_client);
    SSL_CTX_set_psk_server_callback(context, key_of_server);
    SSL *ssl = SSL_new(context);
    assert_non_null(ssl);
    SSL_CTX_free(context);
    SSL_set_bio(ssl, in, out);
    if (server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    return ssl;
}

static void what_openssl_has_received_is_gone_when_it_is_freed(void **state)
{
    (void)state;
    static char received[sizeof secret];
    need_heap();
    BIO *up = BIO_new(BIO_s_mem()), *down = BIO_new(BIO_s_mem());
    assert_non_null(up);
    assert_non_null(down);
    assert_int_equal(BIO_up_ref(up) + BIO_up_ref(down), 2); /* each end frees both */
    SSL *client = end_new(false, down, up), *server = end_new(true, up, down);

    for (int i = 0; i < 4 && !(SSL_is_init_finished(client) && SSL_is_init_finished(server));
         i++) {
        (void)SSL_do_handshake(client);
        (void)SSL_do_handshake(server);
    }
    assert_int_equal(SSL_write(client, secret, sizeof secret - 1), sizeof secret - 1);
    assert_int_equal(SSL_read(server, received, sizeof received), sizeof secret - 1);
    assert_string_equal(received, secret);
    assert_true(copies_in_heap("wiping-", "canary") > 0);
    SSL_free(client);
    SSL_free(server);
    assert_int_equal(copies_in_heap("wiping-", "canary"), 0);
}

/* The sizes of OpenSSL's two buffers, of which the second may be had in the first's place. */
static void *take_in_turns(void *same)
{
    bool *is_same = same;
    void *first = OPENSSL_malloc(16712), *other = OPENSSL_malloc(16584);
    void *other_before = other, *first_before = first;

    OPENSSL_free(first);
    OPENSSL_free(other);
    other = OPENSSL_malloc(16712);
    first = OPENSSL_malloc(16584);
    *is_same = other == other_before && first == first_before;
    OPENSSL_free(first);
    OPENSSL_free(other);
    return NULL;
}

static void another_thread_gets_a_record_s_buffer_again_the_last_one_first(void **state)
{
    (void)state;
    pthread_t thread;
    bool same = false;
    assert_int_equal(pthread_create(&thread, NULL, take_in_turns, &same), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(same);
}

static void *take_many(void *unused)
{
    (void)unused;
    void *pieces[100];

    for (size_t i = 0; i < 100; i++)
        pieces[i] = OPENSSL_malloc(16384 + i * 10);
    for (size_t i = 0; i < 100; i++) {
        pieces[i] = OPENSSL_realloc(pieces[i], 20000);
        OPENSSL_free(pieces[i]);
        pieces[i] = OPENSSL_malloc(17408);
    }
    for (size_t i = 0; i < 100; i++)
        OPENSSL_free(pieces[i]);
    return NULL;
}

/* valgrind and the address sanitizer see what is left over. */
static void a_thread_that_ends_leaves_none_behind(void **state)
{
    (void)state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, take_many, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_libcurl_has_copied_is_gone_when_it_is_freed),
        cmocka_unit_test(what_has_grown_leaves_nothing_where_it_was),
        cmocka_unit_test(what_openssl_has_received_is_gone_when_it_is_freed),
        cmocka_unit_test(another_thread_gets_a_record_s_buffer_again_the_last_one_first),
        cmocka_unit_test(a_thread_that_ends_leaves_none_behind),
    };
    fill_secret();
    library_alloc_init();
    if (library_alloc_curl_init() != 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}

/* The allocators that libcurl and OpenSSL get.
 *
 * With SSL_MODE_RELEASE_BUFFERS an idle TLS connection has no buffers. The price is that each
 * record read or written takes 16 KiB from the heap and gives them back; the C library keeps
 * pieces of that size in no cache of the thread. Here a few of them are kept, the one that was
 * used last on top, since it is still in the processor's cache. */
#include "net/library_alloc.h"

#include <curl/curl.h>
#include <errno.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <string.h>

#include "base/log.h"
#include "base/secret.h"

/* OpenSSL's buffers are a record's 16,384 bytes and up to a few hundred for its head, tag and
 * alignment. All of them get the same size here, by which they are recognised. */
#define RECORD_BYTES_MIN 16384
#define RECORD_BYTES 17408
#define KEPT_MAX 8

struct piece {
    struct piece *next;
};

static _Thread_local bool wipes;
static _Thread_local struct piece *kept;
static _Thread_local size_t kept_count;

/* Its destructor frees what a thread that ends has kept. */
static pthread_key_t at_thread_end;
/* These three are written before any thread starts. */
static bool is_used; /* by OpenSSL */
static bool keeps;
static size_t usable_bytes; /* what the allocator makes of RECORD_BYTES */

static void free_kept(void *unused)
{
    (void)unused;
    while (kept != NULL) {
        struct piece *p = kept;

        kept = p->next;
        free(p);
    }
    kept_count = KEPT_MAX; /* this thread keeps no more */
}

static bool keep(void *memory)
{
    size_t n = malloc_usable_size(memory);

    if (n < RECORD_BYTES || n > usable_bytes || kept_count == KEPT_MAX || !keeps ||
        (kept == NULL && pthread_setspecific(at_thread_end, &at_thread_end) != 0))
        return false;

    struct piece *p = memory;
    p->next = kept;
    kept = p;
    kept_count++;
    return true;
}

static void *openssl_malloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    if (n < RECORD_BYTES_MIN || n > RECORD_BYTES)
        return malloc(n);
    if (kept == NULL)
        return malloc(RECORD_BYTES);

    struct piece *p = kept;
    kept = p->next;
    kept_count--;
    return p;
}

static void openssl_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    if (p == NULL)
        return;
    if (wipes)
        secret_wiping_free(p);
    else if (!keep(p))
        free(p);
}

static void *openssl_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return wipes ? secret_wiping_realloc(p, n) : realloc(p, n);
}

static void curl_free_memory(void *p)
{
    if (wipes)
        secret_wiping_free(p);
    else
        free(p);
}

static void *curl_realloc(void *p, size_t n)
{
    return wipes ? secret_wiping_realloc(p, n) : realloc(p, n);
}

void library_alloc_init(void)
{
    void *piece = malloc(RECORD_BYTES);

    usable_bytes = piece == NULL ? 0 : malloc_usable_size(piece) + 64;
    free(piece);
    wipes = true;
    keeps = pthread_key_create(&at_thread_end, free_kept) == 0;
    is_used = CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free) == 1;
}

int library_alloc_curl_init(void)
{
    if (wipes && !is_used)
        log_warn("memory_not_wiped",
                 log_str("detail",
                         "OpenSSL was in use before this program began (by a preloaded "
                         "library?), so copies of secrets may stay in memory that it "
                         "frees"));
    return curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, curl_free_memory, curl_realloc,
                                strdup, calloc) == CURLE_OK
               ? 0
               : -EIO;
}

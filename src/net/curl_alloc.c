/* The allocator that libcurl gets. It wipes memory only in the thread that has the client
 * secret. */
#include "net/curl_alloc.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>

#include "base/secret.h"

static _Thread_local bool wipes;

static void curl_alloc_free(void *p)
{
    if (wipes)
        secret_wiping_free(p);
    else
        free(p);
}

static void *curl_alloc_realloc(void *p, size_t n)
{
    return wipes ? secret_wiping_realloc(p, n) : realloc(p, n);
}

int curl_alloc_global_init(void)
{
    wipes = true;
    return curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, curl_alloc_free,
                                curl_alloc_realloc, strdup, calloc) == CURLE_OK
               ? 0
               : -EIO;
}

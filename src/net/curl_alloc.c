/* See wiping.h. Only the thread that has the client secret pays for it. */
#include "net/curl_alloc.h"

#include <curl/curl.h>
#include <errno.h>
#include <malloc.h>
#include <string.h>

static _Thread_local bool wipes;

static void curl_alloc_free(void *p)
{
    if (wipes && p != NULL)
        explicit_bzero(p, malloc_usable_size(p));
    free(p);
}

static void *curl_alloc_realloc(void *p, size_t n)
{
    if (n == 0) {
        curl_alloc_free(p);
        return NULL;
    }
    if (!wipes || p == NULL)
        return realloc(p, n);

    size_t had = malloc_usable_size(p);
    void *moved = malloc(n);

    if (moved == NULL)
        return NULL;
    memcpy(moved, p, had < n ? had : n);
    curl_alloc_free(p);
    return moved;
}

int curl_alloc_global_init(void)
{
    wipes = true;
    return curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, curl_alloc_free,
                                curl_alloc_realloc, strdup, calloc) == CURLE_OK
               ? 0
               : -EIO;
}

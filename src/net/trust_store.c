/* Where the system's authorities are, and since when, in libcurl's terms. */
#include "net/trust_store.h"

#include <curl/curl.h>
#include <time.h>

void trust_store_find(const char **file, const char **directory)
{
    const curl_version_info_data *about = curl_version_info(CURLVERSION_NOW);

    *file = about->cainfo;
    *directory = about->capath;
}

int64_t trust_store_clock_ms(void)
{
    struct timespec ts = { 0 };

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

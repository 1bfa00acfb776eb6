/* Finds the system's trust store, tells time by libcurl's clock, and keeps a copy of the
 * store. */
#include "net/trust_store.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* A sealed file in memory. libcurl opens it by the path below; each open has a file position
 * of its own. */
struct trust_store {
    atomic_int refs;
    int fd;
    char path[32];
};

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

static bool write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);

        if (n <= 0)
            return false;
        text += n;
        len -= (size_t)n;
    }
    return true;
}

struct trust_store *trust_store_new(const char *text, size_t len)
{
    struct trust_store *s = base_alloc(sizeof *s);

    *s = (struct trust_store){ .fd = memfd_create("trust-store",
                                                  MFD_CLOEXEC | MFD_ALLOW_SEALING) };
    atomic_init(&s->refs, 1);
    (void)snprintf(s->path, sizeof s->path, "/proc/self/fd/%d", s->fd);
    if (s->fd >= 0 && write_all(s->fd, text, len) &&
        fcntl(s->fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) ==
            0) {
        auto_close int again = open(s->path, O_RDONLY | O_CLOEXEC);

        if (again >= 0)
            return s;
    }
    trust_store_unref(s);
    return NULL;
}

struct trust_store *trust_store_ref(struct trust_store *s)
{
    if (s != NULL)
        (void)atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void trust_store_unref(struct trust_store *s)
{
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
        return;
    if (s->fd >= 0)
        (void)close(s->fd);
    free(s);
}

const char *trust_store_path(const struct trust_store *s)
{
    return s == NULL ? NULL : s->path;
}

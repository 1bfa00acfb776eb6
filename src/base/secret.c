/* Keeps each secret in memory pages of its own.
 *
 * Length and bytes lie in one private mapping per secret: locked (never swapped), left out
 * of core files, zeroed in a child after fork, wiped before it is unmapped. Separate pages
 * cost memory, but a program has only a handful of secrets, and a read past the end of other
 * data cannot reach them. */
#include "base/secret.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define LENGTH_MAX 65536

struct secret {
    size_t map_bytes;
    size_t len;
    char text[];
};

/* Maps pages for len bytes and a NUL; a new mapping is zeroed. */
static struct secret *pages_new(size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t bytes = (sizeof(struct secret) + len + 1 + page - 1) / page * page;
    struct secret *s =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (s == MAP_FAILED)
        return NULL;
    /* a kernel or a limit may refuse any of these; the secret is needed all the same */
    (void)mlock(s, bytes);
    (void)madvise(s, bytes, MADV_DONTDUMP);
    (void)madvise(s, bytes, MADV_WIPEONFORK);
    s->map_bytes = bytes;
    s->len = len;
    return s;
}

struct secret *secret_prefixed(const char *prefix, const char *bytes, size_t n)
{
    size_t prefix_len = strlen(prefix);

    if (prefix_len > LENGTH_MAX || n > LENGTH_MAX - prefix_len)
        return NULL;

    struct secret *s = pages_new(prefix_len + n);
    if (s == NULL)
        return NULL;
    memcpy(s->text, prefix, prefix_len);
    if (n > 0)
        memcpy(s->text + prefix_len, bytes, n);
    return s;
}

struct secret *secret_new(const char *bytes, size_t n)
{
    return secret_prefixed("", bytes, n);
}

void secret_free(struct secret *s)
{
    if (s == NULL)
        return;

    size_t bytes = s->map_bytes;
    explicit_bzero(s, bytes);
    (void)munmap(s, bytes);
}

const char *secret_text(const struct secret *s)
{
    return s->text;
}

size_t secret_len(const struct secret *s)
{
    return s->len;
}

bool secret_is(const struct secret *s, const char *bytes, size_t n)
{
    return secret_bytes_equal(s->text, s->len, bytes, n);
}

bool secret_bytes_equal(const char *a, size_t a_len, const char *b, size_t b_len)
{
    return a_len == b_len && CRYPTO_memcmp(a, b, a_len) == 0;
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
    return a == NULL || b == NULL ? a == b : secret_is(a, b->text, b->len);
}

void secret_wiping_free(void *p)
{
    if (p != NULL)
        explicit_bzero(p, malloc_usable_size(p));
    free(p);
}

void *secret_wiping_realloc(void *p, size_t n)
{
    size_t had = p == NULL ? 0 : malloc_usable_size(p);
    void *moved = n == 0 ? NULL : malloc(n);

    if (moved == NULL && n > 0)
        return NULL;
    if (moved != NULL && had > 0)
        memcpy(moved, p, had < n ? had : n);
    secret_wiping_free(p);
    return moved;
}

void secret_wipe(void *bytes, size_t n)
{
    if (n > 0)
        explicit_bzero(bytes, n);
}

void secret_protect_process(void)
{
    /* libcurl and OpenSSL would obey these: write session keys to a file, use other trust
     * anchors, other credentials, engines */
    static const char *const weakening[] = {
        "SSLKEYLOGFILE", "NETRC", "CURL_HOME", "OPENSSL_CONF", "SSL_CERT_FILE", "SSL_CERT_DIR",
    };
    const struct rlimit none = { 0, 0 };

    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    for (size_t i = 0; i < ARRAY_LEN(weakening); i++)
        (void)unsetenv(weakening[i]); /* NOLINT(concurrency-mt-unsafe): no threads yet */
}

/* count_alloc.so: preloaded into a program, counts its allocations in the file that
 * COUNT_ALLOC_FILE names (8 bytes, shared), so that they can be read while it runs. */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t alignment, size_t n);

void *memalign(size_t alignment, size_t n);

static uint64_t nowhere;
static uint64_t *counter = &nowhere;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("COUNT_ALLOC_FILE");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return;
    if (ftruncate(fd, sizeof *counter) == 0) {
        void *p = mmap(NULL, sizeof *counter, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (p != MAP_FAILED)
            counter = p;
    }
    (void)close(fd);
}

static void count(void)
{
    (void)__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): the C library's are
 * reserved */
void *malloc(size_t n)
{
    count();
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    count();
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    count();
    return __libc_realloc(p, n);
}

void *memalign(size_t alignment, size_t n)
{
    count();
    return __libc_memalign(alignment, n);
}

void *aligned_alloc(size_t alignment, size_t n)
{
    return memalign(alignment, n);
}

int posix_memalign(void **p, size_t alignment, size_t n)
{
    *p = memalign(alignment, n);
    return *p == NULL ? 12 : 0;
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

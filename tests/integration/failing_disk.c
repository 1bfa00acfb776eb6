/* failing_disk.so: preloaded into the program, lets writes or syncs of a ledger's files fail,
 * or syncs wait, as long as a test wants. FAILING_DISK names a file with four integers: the
 * error for each pwrite, and for each fsync and fdatasync, 0: none; whether these wait; and
 * whether one waits. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

static _Atomic int *errors;

/* Before the sandbox is entered. */
__attribute__((constructor)) static void start(void)
{
    const char *file = getenv("FAILING_DISK");
    int fd = file == NULL ? -1 : open(file, O_RDWR | O_CLOEXEC);
    void *map = fd < 0
                    ? MAP_FAILED
                    : mmap(NULL, 4 * sizeof *errors, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (map != MAP_FAILED)
        errors = map;
    if (fd >= 0)
        (void)close(fd);
}

static int error_of(int which)
{
    return errors == NULL ? 0 : atomic_load(&errors[which]);
}

#define FAIL_OR(which, really)       \
    do {                             \
        int error = error_of(which); \
                                     \
        if (error == 0)              \
            return really;           \
        errno = error;               \
        return -1;                   \
    } while (0)

#define REAL(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): the headers' have
 * underscores */

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset)
{
    FAIL_OR(0, REAL(pwrite)(fd, bytes, n, offset));
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t offset)
{
    FAIL_OR(0, REAL(pwrite64)(fd, bytes, n, offset));
}

static void wait_until_let_go(void)
{
    while (errors != NULL && atomic_load(&errors[2]) != 0) {
        atomic_store(&errors[3], 1);
        (void)poll(NULL, 0, 1);
    }
}

int fsync(int fd)
{
    wait_until_let_go();
    FAIL_OR(1, REAL(fsync)(fd));
}

int fdatasync(int fd)
{
    wait_until_let_go();
    FAIL_OR(1, REAL(fdatasync)(fd));
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

/* clock_ahead.so: preloaded into the program, moves its clocks forward by the milliseconds in
 * the file that CLOCK_AHEAD names, which the test changes (later.h): first those of the
 * program's own clock, which keeps running during suspend (base/clock.c), then those of the
 * wall clock. Other clocks, by which libraries wait, are not changed. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int (*real)(clockid_t, struct timespec *);
static const _Atomic int64_t *ahead_ms;

/* Before main, and before the program enters its sandbox. */
__attribute__((constructor)) static void find(void)
{
    const char *path = getenv("CLOCK_AHEAD");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    real = (__typeof__(real))dlsym(RTLD_NEXT, "clock_gettime");
    if (fd < 0)
        return;
    void *map = mmap(NULL, 2 * sizeof *ahead_ms, PROT_READ, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED)
        ahead_ms = map;
    (void)close(fd);
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int clock_gettime(clockid_t id, struct timespec *ts)
{
    if (real == NULL) /* another library's constructor ran first */
        find();
    int rc = real(id, ts);
    if (rc == 0 && (id == CLOCK_BOOTTIME || id == CLOCK_REALTIME) && ahead_ms != NULL) {
        int64_t ms = atomic_load(&ahead_ms[id == CLOCK_REALTIME]);
        ts->tv_sec += (time_t)(ms / 1000);
        ts->tv_nsec += (long)(ms % 1000) * 1000000;
        if (ts->tv_nsec >= 1000000000) {
            ts->tv_sec++;
            ts->tv_nsec -= 1000000000;
        }
    }
    return rc;
}

/* Puts the clock of the program ahead, through a file that clock_ahead.so reads. */
#include "later.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

void later_init(struct later *l)
{
    *l = (struct later){ .fd = memfd_create("clock", MFD_CLOEXEC) };
    assert_true(l->fd >= 0);
    assert_int_equal(ftruncate(l->fd, 2 * sizeof *l->ahead_ms), 0);
    void *map =
        mmap(NULL, 2 * sizeof *l->ahead_ms, PROT_READ | PROT_WRITE, MAP_SHARED, l->fd, 0);
    assert_true(map != MAP_FAILED);
    l->ahead_ms = map;
    (void)snprintf(l->preload, sizeof l->preload, "LD_PRELOAD=%s", CLOCK_AHEAD);
    (void)snprintf(l->file, sizeof l->file, "CLOCK_AHEAD=/proc/%d/fd/%d", (int)getpid(), l->fd);
    l->env[0] = l->preload;
    l->env[1] = l->file;
}

void later_preload(struct later *l, const char *library)
{
    size_t used = strlen(l->preload);
    (void)snprintf(l->preload + used, sizeof l->preload - used, ":%s", library);
}

void later_by(struct later *l, int64_t ms)
{
    atomic_fetch_add(l->ahead_ms, ms);
}

void later_jump(struct later *l, int64_t ms)
{
    atomic_fetch_add(&l->ahead_ms[1], ms);
}

bool later_until_heard(struct later *l, struct client *c, int64_t step_ms)
{
    for (int64_t until_ms = now_ms() + SOON_MS; now_ms() < until_ms;) {
        later_by(l, step_ms);
        if (client_fill(c, 300) >= 0)
            return true;
    }
    return false;
}

void later_done(struct later *l)
{
    (void)munmap(l->ahead_ms, 2 * sizeof *l->ahead_ms);
    (void)close(l->fd);
}

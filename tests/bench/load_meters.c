/* What the program under test has used: the scheduler's own account of its threads' time on a
 * CPU (nanoseconds, user and system), and the allocations counted by count_alloc.so. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "load.h"

static int64_t thread_ns(int pid, const char *thread)
{
    char path[320];
    int64_t ns = 0;

    (void)snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, thread);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0; /* it has just ended */
    if (fscanf(f, "%" SCNd64, &ns) != 1)
        ns = 0;
    (void)fclose(f);
    return ns;
}

int64_t meters_cpu_ns(const struct meters *m)
{
    int64_t sum = 0;

    for (size_t i = 0; i < m->count; i++) {
        char path[64];

        (void)snprintf(path, sizeof path, "/proc/%d/task", m->pids[i]);
        DIR *tasks = opendir(path);
        if (tasks == NULL)
            die("process %d is gone", m->pids[i]);
        for (struct dirent *d; (d = readdir(tasks)) != NULL;)
            if (d->d_name[0] != '.')
                sum += thread_ns(m->pids[i], d->d_name);
        (void)closedir(tasks);
    }
    return sum;
}

void meters_watch(struct meters *m, const char *pids)
{
    for (char *end; *pids != '\0'; pids = *end == ',' ? end + 1 : end) {
        long pid = strtol(pids, &end, 10);

        if (end == pids || m->count == sizeof m->pids / sizeof *m->pids)
            die("not a list of process ids: %s", pids);
        m->pids[m->count++] = (int)pid;
    }
}

void meters_count(struct meters *m, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        die("%s: %s", path, strerror(errno));
    void *p = mmap(NULL, sizeof *m->allocations, PROT_READ, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (p == MAP_FAILED)
        die("%s: %s", path, strerror(errno));
    m->allocations = p;
}

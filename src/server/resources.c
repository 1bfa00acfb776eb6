/* Asks the kernel how many CPUs and descriptors the program may use, and requests more
 * descriptors. */
#include "server/resources.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>

#include "admin/status.h"
#include "base/log.h"

/* Descriptors besides those for callers and upstream connections; also for callers that are
 * accepted only to be told that there are too many. */
#define DESCRIPTORS_OF_OUR_OWN 1280

/* The number of CPUs that affinity and the control group's quota allow, at least 1. */
static unsigned cpus_here(void)
{
    cpu_set_t set;
    unsigned cpus = 1;
    long long quota, period;
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");

    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        cpus = (unsigned)base_max(1, CPU_COUNT(&set));
    if (f != NULL) {
        /* NOLINTNEXTLINE(cert-err34-c): the kernel wrote these numbers */
        if (fscanf(f, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0)
            cpus =
                (unsigned)base_max(1, base_min((int64_t)cpus, (quota + period - 1) / period));
        (void)fclose(f);
    }
    return cpus;
}

unsigned resources_workers(const struct config *c)
{
    return (unsigned)base_min(STATUS_WORKERS_MAX,
                              c->process.workers > 0 ? c->process.workers : cpus_here());
}

void resources_check(const struct config *c, unsigned workers, struct config_report *report)
{
    if (c->upstream.http_version != HTTP_VERSION_1_1 && c->upstream.max_connections < workers)
        config_warn(
            report, config_find("upstream", "max_connections"),
            "is less than the number of workers (%" PRId64
            ", %u): with HTTP/2 each needs a connection of its own, so they take turns, "
            "and each turn begins with a new connection",
            c->upstream.max_connections, workers);
}

void resources_raise_descriptors(const struct config *c)
{
    struct rlimit limit;
    /* With TLS: the connection, and the socket pair behind it (tls_bridge.c). */
    int64_t callers = c->listen.max_connections * (c->listen.tls != NULL ? 3 : 1);
    rlim_t wanted = (rlim_t)(callers + c->upstream.max_in_flight + DESCRIPTORS_OF_OUR_OWN);

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur < wanted)
        log_warn("descriptor_limit", log_int("limit", (int64_t)limit.rlim_cur),
                 log_int("wanted", (int64_t)wanted),
                 log_str("detail", "listen.max_connections and upstream.max_in_flight may not "
                                   "be reached; raise RLIMIT_NOFILE"));
}

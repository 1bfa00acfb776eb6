/* bench-load: the load of ./dev bench, on one thread.
 *
 *   closed loop: each connection sends its next request when its answer is whole. For CPU time,
 *   allocations and throughput.
 *
 *   open loop (--rate): request k is due at start + k / rate, whatever the program under test
 *   does. A latency is the time from when it was due to the last byte of its answer, so a
 *   program that stalls pays for all the requests that were due meanwhile, also when no
 *   connection was free to send them (the "coordinated omission" of a closed loop).
 *
 * What is measured starts after the warm-up, with all connections open. */
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_NS ((int64_t)600 * 1000000000)

struct run {
    const struct options *o;
    int epoll_fd;
    struct caller *callers;
    struct caller *free_first, **free_last;
    int64_t total, begun, ended, errors;
    int64_t start_ns, gap_ns;
    uint32_t *latency_us; /* of each request; NULL: warm-up */
};

static void put_free(struct run *r, struct caller *c)
{
    c->state = CALLER_FREE;
    c->next_free = NULL;
    *r->free_last = c;
    r->free_last = &c->next_free;
}

static struct caller *take_free(struct run *r)
{
    struct caller *c = r->free_first;

    r->free_first = c->next_free;
    if (r->free_first == NULL)
        r->free_last = &r->free_first;
    return c;
}

static void watch(struct run *r, struct caller *c, int how)
{
    struct epoll_event e = { .events = EPOLLIN | (c->wants_write ? (uint32_t)EPOLLOUT : 0),
                             .data.ptr = c };

    if (epoll_ctl(r->epoll_fd, how, c->fd, &e) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

static void open_connection(struct run *r, struct caller *c)
{
    c->fd = caller_connect(r->o->port, 0);
    if (c->fd < 0)
        die("connect: %s", strerror(errno));
    c->wants_write = false;
    watch(r, c, EPOLL_CTL_ADD);
}

static void end_request(struct run *r, struct caller *c, bool good)
{
    if (!good)
        r->errors++;
    if (r->latency_us != NULL)
        r->latency_us[r->ended] = (uint32_t)((now_ns() - c->due_ns) / 1000);
    r->ended++;
    put_free(r, c);
}

static void broken(struct run *r, struct caller *c)
{
    bool was_free = c->state == CALLER_FREE;

    (void)close(c->fd);
    open_connection(r, c);
    if (!was_free)
        end_request(r, c, false);
}

static void send_some(struct run *r, struct caller *c)
{
    if (!caller_send(c, &r->o->request)) {
        broken(r, c);
        return;
    }
    bool more = c->state == CALLER_SENDING;
    if (more != c->wants_write) {
        c->wants_write = more;
        watch(r, c, EPOLL_CTL_MOD);
    }
}

/* Sends what is due on connections that are free. Returns when the next one is due, 0: an
 * answer must come first. */
static int64_t send_due(struct run *r)
{
    while (r->begun < r->total && r->free_first != NULL) {
        int64_t due_ns = now_ns();

        if (r->gap_ns > 0) {
            int64_t now = due_ns;

            due_ns = r->start_ns + r->begun * r->gap_ns;
            if (due_ns > now)
                return due_ns;
        }
        struct caller *c = take_free(r);

        r->begun++;
        caller_begin(c, due_ns);
        send_some(r, c);
    }
    return 0;
}

static void on_event(struct run *r, struct caller *c, uint32_t events)
{
    if ((events & EPOLLOUT) != 0 && c->state == CALLER_SENDING)
        send_some(r, c);
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0)
        return;
    if (c->state == CALLER_FREE) {
        broken(r, c);
        return;
    }
    int done = caller_receive(c);
    if (done < 0)
        broken(r, c);
    else if (done > 0)
        end_request(r, c, c->status == 200 && c->state == CALLER_READING);
}

static void serve(struct run *r, int64_t total)
{
    struct epoll_event events[256];

    r->total = total;
    r->begun = r->ended = r->errors = 0;
    r->start_ns = now_ns();
    while (r->ended < r->total) {
        int64_t next_ns = send_due(r);
        int64_t now = now_ns();
        int64_t left = next_ns > 0 ? next_ns - now : 1000000000;
        struct timespec wait = { .tv_sec = left > 0 ? left / 1000000000 : 0,
                                 .tv_nsec = left > 0 ? left % 1000000000 : 0 };
        int n = epoll_pwait2(r->epoll_fd, events, 256, &wait, NULL);

        if (n < 0 && errno != EINTR)
            die("epoll_pwait2: %s", strerror(errno));
        for (int i = 0; i < n; i++)
            on_event(r, events[i].data.ptr, events[i].events);
        if (now - r->start_ns > PATIENCE_NS)
            die("%" PRId64 " of %" PRId64 " answers after ten minutes", r->ended, r->total);
    }
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void report(struct run *r, int64_t cpu_ns, uint64_t allocations)
{
    double seconds = (double)(now_ns() - r->start_ns) / 1e9, n = (double)r->total;
    uint32_t *us = r->latency_us;

    cpu_ns = meters_cpu_ns(&r->o->meters) - cpu_ns;
    (void)printf("requests=%" PRId64 "\nerrors=%" PRId64 "\nseconds=%.6f\nrps=%.1f\n", r->total,
                 r->errors, seconds, n / seconds);
    (void)printf("cpu_us=%.4f\ncpu_s=%.6f\n", (double)cpu_ns / 1e3 / n, (double)cpu_ns / 1e9);
    if (r->o->meters.allocations != NULL)
        (void)printf("allocations=%.4f\n",
                     (double)(*r->o->meters.allocations - allocations) / n);
    qsort(us, (size_t)r->total, sizeof *us, compare);
    (void)printf("p50_us=%u\np99_us=%u\np999_us=%u\nmax_us=%u\n", us[r->total / 2],
                 us[r->total * 99 / 100], us[r->total * 999 / 1000], us[r->total - 1]);
}

static int load(const struct options *o)
{
    struct run r = { .o = o, .epoll_fd = epoll_create1(EPOLL_CLOEXEC) };

    r.callers = calloc((size_t)o->connections, sizeof *r.callers);
    uint32_t *latency_us = calloc((size_t)o->requests, sizeof *latency_us);
    if (r.callers == NULL || latency_us == NULL || o->requests < 1)
        die("no memory, or no requests");
    r.free_last = &r.free_first;
    for (int i = 0; i < o->connections; i++) {
        open_connection(&r, &r.callers[i]);
        put_free(&r, &r.callers[i]);
    }
    if (o->warm_up > 0)
        serve(&r, o->warm_up);
    int64_t early_errors = r.errors;

    r.gap_ns = o->rate > 0 ? (int64_t)(1e9 / o->rate) : 0;
    r.latency_us = latency_us;
    uint64_t allocations = o->meters.allocations != NULL ? *o->meters.allocations : 0;
    int64_t cpu_ns = meters_cpu_ns(&o->meters);

    serve(&r, o->requests);
    r.errors += early_errors;
    report(&r, cpu_ns, allocations);
    free(latency_us);
    free(r.callers);
    return r.errors > 0 ? 3 : 0;
}

static const char usage[] =
    "usage: bench-load load|hold|slow [options]\n"
    "       bench-load first [options] -- COMMAND...   starts it, waits for its first answer\n"
    "  --port N --connections N --requests N --warm-up N --rate PER_SECOND (open loop)\n"
    "  --method M --target T --body BYTES --pids A,B --allocations FILE --used\n";

static void make_request(struct request *r, const char *method, const char *target, int port)
{
    int n = snprintf(r->head, sizeof r->head,
                     "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: bench-load/1\r\n"
                     "Accept: application/json\r\nAccept-Encoding: identity\r\n",
                     method, target, port);

    if (r->body_bytes > 0)
        n += snprintf(r->head + n, sizeof r->head - (size_t)n,
                      "Content-Type: application/json\r\nContent-Length: %" PRId64 "\r\n",
                      r->body_bytes);
    n += snprintf(r->head + n, sizeof r->head - (size_t)n, "\r\n");
    r->head_len = (size_t)n;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        { "port", 1, NULL, 'p' },        { "connections", 1, NULL, 'c' },
        { "requests", 1, NULL, 'n' },    { "warm-up", 1, NULL, 'w' },
        { "rate", 1, NULL, 'r' },        { "method", 1, NULL, 'm' },
        { "target", 1, NULL, 't' },      { "body", 1, NULL, 'b' },
        { "pids", 1, NULL, 'P' },        { "used", 0, NULL, 'u' },
        { "allocations", 1, NULL, 'a' }, { NULL, 0, NULL, 0 },
    };
    static struct options o = { .connections = 1, .requests = 1 };
    const char *method = "GET", *target = "/v0/json";
    struct rlimit files;

    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (c) {
        case 'p':
            o.port = (int)strtol(optarg, NULL, 10);
            break;
        case 'c':
            o.connections = (int)strtol(optarg, NULL, 10);
            break;
        case 'n':
            o.requests = strtoll(optarg, NULL, 10);
            break;
        case 'w':
            o.warm_up = strtoll(optarg, NULL, 10);
            break;
        case 'r':
            o.rate = strtod(optarg, NULL);
            break;
        case 'm':
            method = optarg;
            break;
        case 't':
            target = optarg;
            break;
        case 'b':
            o.request.body_bytes = strtoll(optarg, NULL, 10);
            break;
        case 'P':
            meters_watch(&o.meters, optarg);
            break;
        case 'a':
            meters_count(&o.meters, optarg);
            break;
        case 'u':
            o.used = true;
            break;
        default:
            die("%s", usage);
        }
    }
    if (optind >= argc || o.port == 0 || o.connections < 1)
        die("%s", usage);
    make_request(&o.request, method, target, o.port);
    (void)signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    if (strcmp(argv[optind], "load") == 0)
        return load(&o);
    if (strcmp(argv[optind], "hold") == 0)
        return load_hold(&o);
    if (strcmp(argv[optind], "slow") == 0)
        return load_slow(&o);
    if (strcmp(argv[optind], "first") == 0 && optind + 1 < argc)
        return load_first(o.port, &o.request, argv + optind + 1);
    die("%s", usage);
}

/* The control thread: owns everything, decides who is told what.
 *
 *   signals ----+                      +--> worker 0   (views of the token, settings,
 *   tokens -----+--> control loop -----+--> worker 1    orders to drain and stop)
 *   workers' ---+     (mailbox)        +--> ...
 *   mail (want, refused, drained)
 *
 * The end: SIGTERM -> answers say close, drain_delay passes -> listeners close -> each worker
 * reports when nothing runs any more, or drain_timeout passes -> workers stop -> exit. */
#include "server.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "admin.h"
#include "clock.h"
#include "log.h"
#include "multi.h"
#include "status.h"
#include "worker.h"

struct server {
    struct config *config;
    const char *file;
    struct config_env *env;
    struct loop loop;
    struct mailbox mailbox;
    struct loop_watch signals;
    struct tokens tokens;
    struct worker_shared shared;
    struct failures failures;
    struct worker *workers;
    unsigned worker_count, drained;
    struct listener *listeners; /* worker_count rows of address.count */
    size_t listener_count, per_worker;
    struct loop_timer drain_timer;
    struct metrics metrics; /* the control thread's shard */
    struct admin admin;
    int64_t started_ms, started_wall_s;
    bool draining, closed, hurried;
};

/* The CPUs this process may use: affinity, and the quota of its control group. */
static unsigned auto_workers(void)
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
    return (unsigned)base_min(cpus, STATUS_WORKERS_MAX);
}

static void raise_descriptor_limit(const struct config *c)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)(c->listen.max_connections + c->upstream.max_in_flight + 256);

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

/* How everything is, for those who watch. */
static void take_status(void *arg, struct status *out)
{
    const struct server *s = arg;

    status_take(out, &(struct status_source){ .started_ms = s->started_ms,
                                              .started_wall_s = s->started_wall_s,
                                              .draining = s->draining,
                                              .config = s->config,
                                              .tokens = &s->tokens,
                                              .workers = s->workers,
                                              .worker_count = s->worker_count,
                                              .control = &s->metrics });
}

static void publish(void *arg, const struct tokens_view *view)
{
    struct server *s = arg;

    for (unsigned i = 0; i < s->worker_count; i++)
        worker_send_view(&s->workers[i], view);
}

/* Mail from the workers. */
struct report {
    struct mail mail;
    struct server *server;
    struct worker *worker;
    uint64_t generation;
};

static void report(struct server *s, void (*run)(struct mail *), struct worker *w,
                   uint64_t generation)
{
    struct report *r = base_alloc(sizeof *r);

    *r = (struct report){ .mail.run = run, .server = s, .worker = w, .generation = generation };
    mailbox_send(&s->mailbox, &r->mail);
}

static void want_arrived(struct mail *m)
{
    struct report *r = CONTAINER_OF(m, struct report, mail);

    tokens_on_want(&r->server->tokens);
    free(r);
}

static void refused_arrived(struct mail *m)
{
    struct report *r = CONTAINER_OF(m, struct report, mail);
    int64_t until_ms = tokens_on_refused(&r->server->tokens, r->generation);

    if (until_ms > 0)
        worker_send_keep(r->worker, r->generation, until_ms);
    free(r);
}

static void stop_workers(struct server *s)
{
    for (unsigned i = 0; i < s->worker_count; i++)
        worker_send_stop(&s->workers[i]);
    loop_stop(&s->loop);
}

static void drained_arrived(struct mail *m)
{
    struct report *r = CONTAINER_OF(m, struct report, mail);
    struct server *s = r->server;

    free(r);
    if (++s->drained == s->worker_count)
        stop_workers(s);
}

static void on_want(void *arg)
{
    report(arg, want_arrived, NULL, 0);
}

static void on_refused(void *arg, struct worker *w, uint64_t generation)
{
    report(arg, refused_arrived, w, generation);
}

static void on_drained(void *arg)
{
    report(arg, drained_arrived, NULL, 0);
}

static void close_listeners(struct server *s)
{
    s->closed = true;
    for (unsigned i = 0; i < s->worker_count; i++)
        worker_send_close(&s->workers[i]);
}

static void on_drain_timer(struct loop_timer *t)
{
    struct server *s = CONTAINER_OF(t, struct server, drain_timer);

    if (!s->closed) {
        close_listeners(s);
        loop_timer_set(&s->loop, t, loop_now(&s->loop) + s->config->process.drain_timeout_ms);
        return;
    }
    log_warn("drain_timeout",
             log_str("detail", "requests were still running after process.drain_timeout"));
    stop_workers(s);
}

static void drain(struct server *s)
{
    if (s->draining) {
        s->hurried = true;
        stop_workers(s);
        return;
    }
    s->draining = true;
    log_info("draining", log_int("delay_ms", s->config->process.drain_delay_ms),
             log_int("timeout_ms", s->config->process.drain_timeout_ms));
    for (unsigned i = 0; i < s->worker_count; i++)
        worker_send_drain(&s->workers[i]);
    loop_timer_set(&s->loop, &s->drain_timer,
                   loop_now(&s->loop) + s->config->process.drain_delay_ms);
}

static void log_lines(const char *event, struct buf *lines, bool as_error)
{
    char *rest = NULL;
    auto_free char *text = strdup(buf_text(lines));

    for (char *line = text == NULL ? NULL : strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (as_error)
            log_error(event, log_str("detail", line));
        else
            log_warn(event, log_str("detail", line));
    }
}

static void reload(struct server *s)
{
    struct buf errors, warnings;

    buf_init(&errors, 1 << 16);
    buf_init(&warnings, 1 << 16);
    struct config *c = config_load(s->file, s->env, &errors, &warnings);
    if (c == NULL) {
        metrics_add(&s->metrics, M_reloads_refused, 1);
        log_lines("reload_refused", &errors, true);
    } else {
        struct buf restart;

        buf_init(&restart, 4096);
        if (config_needs_restart(s->config, c, &restart) == 0 && buf_unread(&restart) > 0)
            log_warn("restart_needed", log_str("keys", buf_text(&restart)));
        buf_done(&restart);
        log_setup((enum log_level)c->log.level, (enum log_format)c->log.format);
        quota_change(&s->shared.in_flight,
                     c->upstream.max_in_flight - s->config->upstream.max_in_flight);
        quota_change(&s->shared.connections,
                     c->listen.max_connections - s->config->listen.max_connections);
        for (unsigned i = 0; i < s->worker_count; i++)
            worker_send_config(&s->workers[i], c);
        tokens_reconfigure(&s->tokens, c);
        config_unref(s->config);
        s->config = c;
        metrics_add(&s->metrics, M_reloads_applied, 1);
        log_info("reloaded");
    }
    log_lines("configuration_warning", &warnings, false);
    buf_done(&errors);
    buf_done(&warnings);
}

static void on_signal(struct loop_watch *w, uint32_t events)
{
    struct server *s = CONTAINER_OF(w, struct server, signals);
    struct signalfd_siginfo info;

    (void)events;
    while (read(w->fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGHUP && !s->draining)
            reload(s);
        else if (info.ssi_signo != SIGHUP)
            drain(s);
    }
}

static int take_signals(struct server *s)
{
    const struct sigaction ignore = { .sa_handler = SIG_IGN };
    sigset_t set;

    (void)sigaction(SIGPIPE, &ignore, NULL);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    int rc = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (rc != 0)
        return -rc;
    s->signals = (struct loop_watch){ .fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
                                      .on_event = on_signal };
    if (s->signals.fd < 0)
        return -errno;
    return loop_watch(&s->loop, &s->signals, EPOLLIN);
}

/* A row of sockets for each worker. The first row is bound without SO_REUSEPORT's company in
 * mind: a second instance on the same port must fail, so that it is probed alone first. */
static int open_listeners(struct server *s, struct buf *error)
{
    const struct config *c = s->config;

    s->per_worker = c->listen.address.count;
    s->listeners = base_alloc(sizeof *s->listeners * s->worker_count * s->per_worker);
    for (size_t i = 0; i < s->worker_count * s->per_worker; i++)
        s->listeners[i].fd = -1;
    s->listener_count = s->worker_count * s->per_worker;
    for (size_t a = 0; a < s->per_worker; a++) {
        struct listener *first = &s->listeners[a];
        struct listener_options o = { .address = c->listen.address.item[a],
                                      .socket_mode = c->listen.socket_mode };
        bool local = strncmp(o.address, "unix:", 5) == 0;

        if (!local) { /* the probe */
            struct listener probe;
            int err = listener_open(&probe, &o, error);

            if (err != 0)
                return err;
            o.port = probe.port;
            listener_close(&probe);
            o.shared = true;
        }
        int err = listener_open(first, &o, error);
        for (unsigned k = 1; err == 0 && k < s->worker_count; k++) {
            struct listener *l = &s->listeners[k * s->per_worker + a];

            if (local)
                *l = (struct listener){ .fd = dup(first->fd), .port = -1 };
            else
                err = listener_open(l, &o, error);
        }
        if (err != 0)
            return err;
    }
    return 0;
}

static int start_workers(struct server *s)
{
    int err = 0;

    for (unsigned i = 0; err == 0 && i < s->worker_count; i++)
        err = worker_init(&s->workers[i], i, &s->shared, s->config,
                          &s->listeners[i * s->per_worker], s->per_worker);
    for (unsigned i = 0; err == 0 && i < s->worker_count; i++)
        err = worker_start(&s->workers[i]);
    return err;
}

static void announce(const struct server *s)
{
    struct buf names;

    buf_init(&names, 8192);
    for (size_t a = 0; a < s->per_worker; a++)
        (void)buf_addf(&names, "%s%s", a > 0 ? "," : "", s->listeners[a].name);
    log_info("ready", log_str("listen", buf_text(&names)),
             log_str("admin", admin_name(&s->admin)),
             log_str("upstream", s->config->upstream.base_url),
             log_int("workers", s->worker_count), log_str("version", PROXY_VERSION));
    log_flush();
    buf_done(&names);
}

static bool on_turn(void *arg)
{
    return admin_turn(&((struct server *)arg)->admin);
}

static int open_admin(struct server *s, struct buf *error)
{
    const struct admin_options o = { .address = s->config->admin.address,
                                     .socket_mode = s->config->listen.socket_mode,
                                     .config = (const struct config *const *)&s->config,
                                     .take = take_status,
                                     .arg = s };

    s->loop.on_turn = on_turn;
    s->loop.on_turn_arg = s;
    return admin_init(&s->admin, &s->loop, &o, error);
}

static void finish(struct server *s)
{
    admin_done(&s->admin);
    for (unsigned i = 0; s->workers != NULL && i < s->worker_count; i++)
        if (s->workers[i].started) {
            worker_send_stop(&s->workers[i]);
            (void)pthread_join(s->workers[i].thread, NULL);
        }
    for (unsigned i = 0; s->workers != NULL && i < s->worker_count; i++)
        worker_done(&s->workers[i]);
    tokens_done(&s->tokens);
    mailbox_done(&s->mailbox);
    if (s->signals.fd > 0)
        (void)close(s->signals.fd);
    loop_timer_clear(&s->loop, &s->drain_timer);
    for (size_t i = 0; i < s->listener_count; i++)
        listener_close(&s->listeners[i]);
    free(s->listeners);
    free(s->workers);
    loop_done(&s->loop);
    config_unref(s->config);
}

/* Brings everything up; what was is taken down by finish, also after a failure. */
static int start(struct server *s, struct buf *error)
{
    /* Serving plain text where TLS was asked for would be the worst way to say so. */
    if (s->config->listen.tls_certificate != NULL) {
        buf_addf(error,
                 "listen.tls_certificate: this version has no inbound TLS; remove the tls_ "
                 "keys or put a TLS server in front");
        return -ENOTSUP;
    }
    int err = multi_global_init();
    if (err == 0)
        err = loop_init(&s->loop);
    if (err == 0)
        err = mailbox_init(&s->mailbox, &s->loop);
    failures_init(&s->failures, &s->mailbox);
    if (err == 0)
        err = take_signals(s);
    if (err == 0)
        err = tokens_init(&s->tokens, &s->loop, s->config, publish, s);
    if (err == 0)
        err = open_listeners(s, error);
    if (err == 0)
        err = open_admin(s, error);
    if (err == 0)
        err = start_workers(s);
    return err;
}

int server_run(struct config *c, const char *file, struct config_env *env)
{
    struct server s = { .config = c,
                        .file = file,
                        .env = env,
                        .started_ms = clock_ms(),
                        .started_wall_s = clock_wall_s(),
                        .loop.epoll_fd = -1,
                        .drain_timer.on_due = on_drain_timer };
    struct buf error;

    buf_init(&error, 4096);
    log_setup((enum log_level)c->log.level, (enum log_format)c->log.format);
    raise_descriptor_limit(c);
    s.worker_count = c->process.workers > 0 ? (unsigned)c->process.workers : auto_workers();
    s.workers = aligned_alloc(64, sizeof *s.workers * s.worker_count);
    if (s.workers == NULL)
        abort();
    memset(s.workers, 0, sizeof *s.workers * s.worker_count);
    s.shared = (struct worker_shared){ .failures = &s.failures,
                                       .on_want = on_want,
                                       .on_refused = on_refused,
                                       .on_drained = on_drained,
                                       .arg = &s };
    quota_init(&s.shared.in_flight, c->upstream.max_in_flight, s.worker_count);
    quota_init(&s.shared.connections, c->listen.max_connections, s.worker_count);
    int err = start(&s, &error);

    if (err == 0) {
        announce(&s);
        tokens_start(&s.tokens);
        loop_run(&s.loop);
    } else {
        log_error("start_failed",
                  log_str("detail",
                          buf_unread(&error) > 0 ? buf_text(&error) : strerrordesc_np(-err)));
    }
    buf_done(&error);
    finish(&s);
    if (err == 0)
        log_info("stopped");
    log_flush();
    return err != 0 || s.hurried ? 1 : 0;
}

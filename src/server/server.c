/* Starts the program, runs its control thread, and takes everything down at the end. The
 * control thread owns all objects and tells the workers what to do.
 *
 *   signals ----+                      +--> worker 0   (views of the token, settings,
 *   tokens -----+--> control loop -----+--> worker 1    orders to drain and stop)
 *   workers' ---+     (mailbox)        +--> ...
 *   messages (want, refused, drained)
 *
 * SIGHUP: reload.c. SIGTERM and what follows: drain.c. */
#include "server/server.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#include "admin/admin.h"
#include "admin/monitor.h"
#include "admin/page/page.h"
#include "admin/status.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/caller_files.h"
#include "config/value.h"
#include "event/file_watch.h"
#include "ledger/ledger.h"
#include "net/curl_host.h"
#include "rights/limits.h"
#include "sandbox/policy.h"
#include "server/drain.h"
#include "server/reload.h"
#include "server/resources.h"
#include "server/sd_listen.h"
#include "server/sd_notify.h"
#include "server/worker.h"

/* How long the program may take to exit after drain_timeout. */
#define STOP_MARGIN_MS 5000

/* How much freed memory each thread keeps. */
#define KEPT_BYTES (8 << 20)

/* How long a thread may take to stop, and how often to check. */
#define JOIN_TIMEOUT_MS 3000

/* How long the ledger may take to write outcomes at the end. */
#define LEDGER_CLOSE_MS 1000
#define JOIN_LOOK_MS 2

/* How often to check whether the ledger is up: its own thread finds that out. */
#define LEDGER_LOOK_MS 1000

struct server {
    struct config *config;
    struct config_env *env;
    struct loop loop;
    struct mailbox mailbox;
    struct loop_io signals;
    struct token_manager tokens;
    struct worker_shared shared;
    struct worker *workers;
    unsigned worker_count;
    struct drain drain;
    struct file_watch watch;        /* secrets, certificates, the system's trust store */
    struct file_watch caller_watch; /* the callers' secret files */
    struct caller_secrets *secrets; /* read after the settings were; NULL: not read again */
    uint32_t secret_trouble;        /* bits of callers whose files are known to be faulty */
    struct reload_trouble trouble;  /* with certificates */
    struct reload_trouble refused;  /* of the last reload; "": it was not refused */
    int64_t refused_wall_s;
    struct loop_timer ledger_look;
    const char *ledger_why; /* why it was down at the last look; NULL: it was up */
    struct sd_notify notify;
    struct sd_listen passed;    /* sockets that were passed and are not in use yet */
    struct listeners listeners; /* the first worker's */
    struct listener *twins;     /* the other workers': as many for each */
    size_t twin_count;
    struct metrics metrics; /* the control thread's shard */
    struct admin admin;
    struct monitor monitor;
    int64_t started_ms, started_wall_s;
    struct buf sandbox; /* what is in force, for the ready line */
};

/* Sets the line that people see in `systemctl status`: how the token is, and what else is wrong,
 * "Serving | frozen: incident 7". */
static void tell_status(struct server *s)
{
    const struct token_view view = token_manager_view(&s->tokens);
    const struct freeze *freeze = &s->shared.freeze;
    struct ledger_status ledger;
    struct buf line;

    if (drain_begun(&s->drain))
        return;
    buf_init(&line, 4096);
    ledger_status_take(s->shared.ledger, &ledger);
    int err = view.token != NULL ? buf_add_str(&line, "Serving")
              : view.failing     ? buf_addf(&line, "No token: %s", view.failure.detail)
                                 : buf_add_str(&line, "Fetching a token");
    if (err == 0 && ledger.on && !ledger.up)
        err = buf_addf(&line, " | ledger down: %s",
                       ledger.why != NULL ? ledger.why : "the log says why");
    if (err == 0 && freeze->is_frozen)
        err = buf_addf(&line, " | frozen: %s", freeze->reason);
    if (err == 0 && s->refused.text[0] != '\0')
        err = buf_addf(&line, " | the last reload was refused: %s", s->refused.text);
    if (err == 0)
        sd_notify_status(&s->notify, "%s", buf_text(&line));
    buf_done(&line);
}

/* When the worker's loop last turned. When this one stood still, so did all others, most likely:
 * the process or the machine was suspended. They may go on a moment later, and their time counts
 * from when this one did. */
static int64_t turned_ms(const struct server *s, const struct worker *w)
{
    return base_max(s->loop.resumed_ms,
                    atomic_load_explicit(&w->ctx.loop.alive_ms, memory_order_relaxed));
}

/* Collects the status for the admin listener. */
static void take_status(void *arg, struct status *out)
{
    const struct server *s = arg;

    struct status_input in = { .started_ms = s->started_ms,
                               .started_wall_s = s->started_wall_s,
                               .draining = drain_begun(&s->drain),
                               .config = s->config,
                               .token_manager = &s->tokens,
                               .worker_count = s->worker_count,
                               .freeze = &s->shared.freeze,
                               .ledger = s->shared.ledger,
                               .certificate_trouble = s->trouble.text,
                               .reload_trouble = s->refused.text,
                               .reload_wall_s = s->refused_wall_s };

    /* The workers keep counting: each number is right, but two may be from slightly
     * different moments. */
    for (unsigned i = 0; i < s->worker_count; i++) {
        in.turned_ms[i] = turned_ms(s, &s->workers[i]);
        metrics_add_shard(&in.sum, &s->workers[i].ctx.metrics);
    }
    metrics_add_shard(&in.sum, &s->metrics);
    status_take(out, &in);
}

static void publish(void *arg, const struct token_view *view)
{
    struct server *s = arg;

    for (unsigned i = 0; i < s->worker_count; i++)
        worker_send_view(&s->workers[i], view);
    tell_status(s);
    if (view->failing && view->failure.kind == FAIL_TOKEN_DNS)
        policy_check_resolver();
    monitor_look(&s->monitor);
}

/* Messages from the workers. */
struct report {
    struct mail mail;
    struct server *server;
    uint64_t generation;
};

static void report(struct server *s, void (*run)(struct mail *), uint64_t generation)
{
    struct report *r = base_alloc(sizeof *r);

    *r = (struct report){ .mail = { .run = run, .free = mail_free },
                          .server = s,
                          .generation = generation };
    mailbox_send(&s->mailbox, &r->mail);
}

static void want_arrived(struct mail *m)
{
    struct report *r = CONTAINER_OF(m, struct report, mail);

    token_manager_on_want(&r->server->tokens);
}

static void refused_arrived(struct mail *m)
{
    struct report *r = CONTAINER_OF(m, struct report, mail);

    token_manager_on_refused(&r->server->tokens, r->generation);
}

static void accepted_arrived(struct mail *m)
{
    struct report *r = CONTAINER_OF(m, struct report, mail);

    token_manager_on_accepted(&r->server->tokens, r->generation);
}

static void drained_arrived(struct mail *m)
{
    struct report *r = CONTAINER_OF(m, struct report, mail);

    drain_on_finished(&r->server->drain);
}

static void on_want(void *arg)
{
    report(arg, want_arrived, 0);
}

static void on_refused(void *arg, uint64_t generation)
{
    report(arg, refused_arrived, generation);
}

static void on_accepted(void *arg, uint64_t generation)
{
    report(arg, accepted_arrived, generation);
}

static void on_drained(void *arg)
{
    report(arg, drained_arrived, 0);
}

struct watched {
    const char *file[FILE_WATCH_FILES_MAX];
    size_t count;
};

static void add_watched(const char *path, void *arg)
{
    struct watched *w = arg;

    if (w->count < FILE_WATCH_FILES_MAX)
        w->file[w->count++] = path;
}

static void watch_files(struct server *s)
{
    struct watched w = { .count = 0 };

    config_each_watched(s->config, add_watched, &w);
    file_watch_files(&s->watch, w.file, w.count);
}

static void watch_callers(struct server *s)
{
    const char *files[CALLERS_MAX];

    for (size_t i = 0; i < s->config->caller_count; i++)
        files[i] = s->config->caller[i].secret_file;
    file_watch_files(&s->caller_watch, files, s->config->caller_count);
}

struct secret_reading {
    struct server *server;
    uint32_t wrong;
};

/* Reported once, although the file is checked again and again. */
static void on_wrong_secret(void *arg, size_t caller, const char *why)
{
    struct secret_reading *reading = arg;
    const struct config_caller *c = &reading->server->config->caller[caller];
    uint32_t bit = (uint32_t)1 << caller;

    if ((reading->server->secret_trouble & bit) == 0)
        log_warn("caller_secret_kept", log_str("caller", c->name),
                 log_str("file", c->secret_file), log_str("detail", why));
    reading->wrong |= bit;
}

static void on_secret_files(struct file_watch *w)
{
    struct server *s = CONTAINER_OF(w, struct server, caller_watch);
    struct secret_reading reading = { .server = s };

    if (s->config->rules == NULL || s->config->rules->secrets == NULL || drain_begun(&s->drain))
        return;
    struct caller_secrets *last = s->secrets != NULL ? s->secrets : s->config->rules->secrets;
    struct caller_secrets *now = caller_files_read(s->config, last, on_wrong_secret, &reading);

    uint32_t changed = caller_secrets_changed(now, last);

    s->secret_trouble = reading.wrong;
    if (changed == 0) {
        caller_secrets_unref(now);
        return;
    }
    for (unsigned i = 0; i < s->worker_count; i++)
        worker_send_secrets(&s->workers[i], now);
    caller_secrets_unref(s->secrets);
    s->secrets = now;
    for (size_t i = 0; i < s->config->caller_count; i++)
        if ((changed & (uint32_t)1 << i) != 0)
            log_info("caller_secret_changed", log_str("caller", s->config->caller[i].name));
}

/* Callers may use the addresses that are really listened on in Host: those of a name, and
 * those of a passed socket. No attacker's name can do that (DNS rebinding), since these are
 * numeric. */
static void add_bound_hosts(const struct server *s, struct config *c)
{
    char host[64];

    for (size_t i = 0; i < s->listeners.count; i++)
        if (listener_host(&s->listeners.item[i], host))
            config_list_add(&c->listen.bound_hosts, host, strlen(host));
}

static void on_freeze(struct freeze *f)
{
    struct server *s = CONTAINER_OF(f, struct server, shared.freeze);

    if (f->is_frozen)
        log_warn("frozen", log_str("file", f->file), log_str("reason", f->reason));
    else
        log_info("thawed", log_str("file", f->file));
    tell_status(s);
    monitor_look(&s->monitor);
}

static void on_ledger_look(struct loop_timer *t)
{
    struct server *s = CONTAINER_OF(t, struct server, ledger_look);
    struct ledger_status now;

    ledger_status_take(s->shared.ledger, &now);
    if (now.why != s->ledger_why) {
        s->ledger_why = now.why;
        tell_status(s);
        monitor_look(&s->monitor);
    }
    loop_timer_set(&s->loop, t, clock_ms() + LEDGER_LOOK_MS);
}

static int start_ledger(struct server *s)
{
    int err = s->shared.ledger == NULL ? 0 : ledger_start(s->shared.ledger);

    if (s->shared.ledger != NULL && err == 0)
        loop_timer_set(&s->loop, &s->ledger_look, clock_ms());
    return err;
}

static void apply(struct server *s, struct config *c)
{
    log_setup((enum log_level)c->log.level, (enum log_format)c->log.format);
    /* Before the workers get the settings: what they freeze must be frozen at once. */
    freeze_set_file(&s->shared.freeze, c->freeze.file);
    if (s->shared.ledger != NULL)
        ledger_reconfigure(s->shared.ledger, c);
    limits_take_over(c->rules, s->config->rules);
    for (unsigned i = 0; i < s->worker_count; i++)
        worker_send_config(&s->workers[i], c);
    token_manager_reconfigure(&s->tokens, c);
    config_unref(s->config);
    s->config = c;
}

/* Secrets are handled by the token manager, certificates are part of the settings. */
static void on_files_changed(struct file_watch *w)
{
    struct server *s = CONTAINER_OF(w, struct server, watch);

    if (drain_begun(&s->drain))
        return;
    struct config *c = reload_certificates(s->config, &s->trouble);

    if (c != NULL)
        apply(s, c);
    token_manager_on_files(&s->tokens);
}

static void reload(struct server *s)
{
    if (drain_begun(&s->drain)) {
        log_info("reload_ignored", log_str("detail", "the program is stopping"));
        return;
    }
    sd_notify_reloading(&s->notify);
    struct config *c = reload_read(s->config, s->env, s->worker_count, &s->refused);
    s->refused_wall_s = clock_wall_s();
    metrics_add(&s->metrics, c != NULL ? M_reloads_applied : M_reloads_refused, 1);
    if (c != NULL) {
        s->trouble = (struct reload_trouble){ .text = "" };
        add_bound_hosts(s, c);
        apply(s, c);
        caller_secrets_unref(s->secrets);
        s->secrets = NULL;
        s->secret_trouble = 0;
        watch_files(s);
        watch_callers(s);
    }
    tell_status(s);
    monitor_look(&s->monitor);
    sd_notify_ready(&s->notify);
}

static void on_signal(struct loop_io *w, uint32_t events)
{
    struct server *s = CONTAINER_OF(w, struct server, signals);
    struct signalfd_siginfo info;

    (void)events;
    while (read(w->fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            reload(s);
        } else {
            sd_notify_stopping(&s->notify,
                               s->config->process.drain_timeout_ms + STOP_MARGIN_MS);
            drain_signal(&s->drain, s->config);
            monitor_look(&s->monitor);
        }
    }
}

/* Ignores signals that would end the process and that it does not need: a caller that left,
 * a log or ledger that may not grow (RLIMIT_FSIZE; then the write fails), and signals that
 * make other servers reopen their log or print their state. */
static void ignore_signals(void)
{
    static const int ignored[] = { SIGPIPE, SIGXFSZ, SIGUSR1, SIGUSR2 };
    const struct sigaction ignore = { .sa_handler = SIG_IGN };

    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        (void)sigaction(ignored[i], &ignore, NULL);
}

/* The start may wait, for another process to let go of the ledger or for a database. SIGHUP waits
 * meanwhile, SIGTERM and SIGINT end it as they end any program. */
static void hold_reloads(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static int take_signals(struct server *s)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    int rc = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (rc != 0)
        return -rc;
    s->signals = (struct loop_io){ .fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
                                   .on_event = on_signal };
    if (s->signals.fd < 0)
        return -errno;
    return loop_io_start(&s->loop, &s->signals, EPOLLIN);
}

/* The same warning as for an open address in the file (config/check.c). */
static void warn_of_open(const struct listeners *passed, const char *what_for)
{
    for (size_t i = 0; i < passed->count; i++)
        if (!listener_is_local(&passed->item[i]))
            log_warn("socket_open", log_str("address", passed->item[i].name),
                     log_str("detail", what_for));
}

static int bind_address(struct server *s, const char *text, struct buf *error)
{
    struct config_address a;

    if (!config_address_split(text, &a))
        return -EINVAL;
    return listeners_add(
        &s->listeners,
        &(struct listener_options){ .address = text,
                                    .host = a.host,
                                    .unix_path = a.unix_path,
                                    .port = a.port,
                                    .socket_mode = s->config->listen.socket_mode },
        error);
}

/* Binds the addresses of listen.address. */
static int bind_listeners(struct server *s, struct buf *error)
{
    const struct config *c = s->config;
    int err = 0;

    for (size_t i = 0; i < c->listen.address.count && err == 0; i++)
        err = bind_address(s, c->listen.address.item[i], error);
    return err;
}

/* Binds the addresses that belong to single callers. */
static int bind_owned(struct server *s, struct buf *error)
{
    const struct config *c = s->config;
    unsigned owner = 0;

    for (size_t i = 0; i < c->caller_count; i++) {
        const struct config_list *list = &c->caller[i].address;

        owner += list->count > 0;
        for (size_t j = 0; j < list->count; j++) {
            size_t before = s->listeners.count;
            int err = bind_address(s, list->item[j], error);

            if (err == 0 && s->listeners.count == before) {
                (void)buf_addf(error,
                               "%s: is listened on already, so it cannot belong to "
                               "[caller %s] alone",
                               list->item[j], c->caller[i].name);
                err = -EADDRINUSE;
            }
            if (err != 0)
                return err;
            for (size_t n = before; n < s->listeners.count; n++)
                s->listeners.item[n].owner = owner;
        }
    }
    return 0;
}

static int open_listeners(struct server *s, struct buf *error)
{
    int err = 0;

    if (s->passed.listen.count > 0) {
        s->listeners = s->passed.listen;
        s->passed.listen = (struct listeners){ .count = 0 };
        warn_of_open(&s->listeners,
                     "it is not a loopback address: whoever reaches it acts with "
                     "the credentials");
    } else {
        err = bind_listeners(s, error);
    }
    if (err == 0)
        err = bind_owned(s, error);
    size_t count = (s->worker_count - 1) * s->listeners.count;

    s->twins = err == 0 && count > 0 ? base_alloc(sizeof *s->twins * count) : NULL;
    for (; err == 0 && s->twin_count < count; s->twin_count++)
        err = listener_twin(&s->listeners.item[s->twin_count % s->listeners.count],
                            &s->twins[s->twin_count], error);
    return err;
}

static const struct listener *listeners_of(const struct server *s, unsigned worker)
{
    return worker == 0 ? s->listeners.item : &s->twins[(worker - 1) * s->listeners.count];
}

static int start_workers(struct server *s)
{
    int err = 0;

    for (unsigned i = 0; err == 0 && i < s->worker_count; i++)
        err = worker_init(&s->workers[i], i, &s->shared, s->config, listeners_of(s, i),
                          s->listeners.count);
    for (unsigned i = 0; err == 0 && i < s->worker_count; i++)
        err = worker_start(&s->workers[i]);
    if (err == 0) {
        drain_workers(&s->drain, s->workers, s->worker_count);
        watch_files(s);
        watch_callers(s);
    }
    return err;
}

static void start_monitor(struct server *s)
{
    struct buf names;

    if (s->admin.mhd_host.daemon == NULL)
        return;
    buf_init(&names, 8192);
    listeners_names(&s->listeners, &names);
    monitor_init(&s->monitor, &s->loop, buf_text(&names), take_status, s);
    admin_add(&s->admin, &(struct admin_path){ .path = "/",
                                               .content_type = "text/html; charset=utf-8",
                                               .policy = page_policy(),
                                               .render = monitor_render,
                                               .arg = &s->monitor });
    buf_done(&names);
}

static void announce(struct server *s)
{
    struct buf names;

    buf_init(&names, 8192);
    listeners_names(&s->listeners, &names);
    log_info(
        "ready", log_str("listen", buf_text(&names)), log_str("admin", admin_name(&s->admin)),
        log_str("upstream", s->config->upstream.base_url), log_int("workers", s->worker_count),
        log_str("sandbox", buf_text(&s->sandbox)), log_str("version", PROXY_VERSION));
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
                                     .passed = &s->passed.admin,
                                     .socket_mode = s->config->listen.socket_mode,
                                     .config = (const struct config *const *)&s->config,
                                     .take = take_status,
                                     .arg = s };

    warn_of_open(&s->passed.admin,
                 "it is not a loopback address: whoever reaches it sees status "
                 "and metrics");
    s->loop.on_turn = on_turn;
    s->loop.on_turn_arg = s;
    return admin_init(&s->admin, &s->loop, &o, error);
}

/* A worker that does not stop must not keep the program from exiting. The wait uses a clock
 * that is never set; pthread_timedjoin_np cannot do that, and the thread sanitizer does not
 * know pthread_clockjoin_np. */
static void join(struct worker *w)
{
    const struct timespec look = { .tv_nsec = JOIN_LOOK_MS * 1000000L };
    int64_t until_ms = clock_ms() + JOIN_TIMEOUT_MS;

    while (pthread_tryjoin_np(w->thread, NULL) != 0) {
        if (clock_ms() >= until_ms) {
            log_error("worker_stuck", log_int("worker", w->index),
                      log_str("detail", "its loop does not turn; leaving without it"));
            log_flush();
            _exit(EXIT_FAILURE);
        }
        (void)nanosleep(&look, NULL);
    }
}

/* The control loop has ended, so messages from workers are no longer delivered. First the
 * workers are stopped, and only then is anything freed. */
static void finish(struct server *s)
{
    mailbox_close(&s->mailbox);
    admin_done(&s->admin);
    monitor_done(&s->monitor);
    for (unsigned i = 0; s->workers != NULL && i < s->worker_count; i++)
        if (s->workers[i].started) {
            worker_send_stop(&s->workers[i]);
            join(&s->workers[i]);
        }
    ledger_stop(s->shared.ledger);
    for (unsigned i = 0; s->workers != NULL && i < s->worker_count; i++)
        worker_done(&s->workers[i]);
    ledger_close(s->shared.ledger, LEDGER_CLOSE_MS);
    conn_limit_done(&s->shared.upstream_connections);
    token_manager_done(&s->tokens);
    mailbox_done(&s->mailbox);
    if (s->signals.fd > 0)
        (void)close(s->signals.fd);
    sd_notify_done(&s->notify);
    file_watch_done(&s->watch);
    file_watch_done(&s->caller_watch);
    freeze_done(&s->shared.freeze);
    loop_timer_clear(&s->loop, &s->ledger_look);
    drain_done(&s->drain);
    for (size_t i = 0; i < s->twin_count; i++)
        listener_close(&s->twins[i]);
    free(s->twins);
    listeners_done(&s->listeners);
    sd_listen_done(&s->passed);
    free(s->workers);
    buf_done(&s->sandbox);
    loop_done(&s->loop);
    caller_secrets_unref(s->secrets);
    config_unref(s->config);
}

static bool workers_turn(void *arg)
{
    const struct server *s = arg;
    int64_t now_ms = loop_now(&s->loop);

    for (unsigned i = 0; i < s->worker_count; i++) {
        if (!status_is_stuck(turned_ms(s, &s->workers[i]), now_ms))
            continue;
        log_error("worker_stuck", log_int("worker", i),
                  log_str("detail", "its loop does not turn; no sign of life is given"));
        return false;
    }
    return true;
}

/* Otherwise the C library returns memory to the kernel for every 128 KiB that are freed, and
 * the buffers of each body would have to be mapped again, page by page. */
static void keep_freed_memory(void)
{
#ifdef __GLIBC__
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): no other thread has begun */
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
#endif
}

/* Starts everything; finish takes it down, also after a failure. */
static int start(struct server *s, struct buf *error)
{
    keep_freed_memory();
    ignore_signals();
    hold_reloads();
    /* may wait for the lock of its store */
    int err = ledger_open(&s->shared.ledger, s->config, error);

    if (err == 0)
        err = sd_listen_take(&s->passed, error);
    if (err == 0)
        err = curl_host_global_init();
    if (err == 0)
        err = loop_init(&s->loop);
    if (err == 0) {
        sd_notify_init(&s->notify, &s->loop, workers_turn, s);
        drain_init(&s->drain, &s->loop);
        file_watch_init(&s->watch, &s->loop, on_files_changed);
        file_watch_init(&s->caller_watch, &s->loop, on_secret_files);
        freeze_init(&s->shared.freeze, &s->loop, on_freeze);
    }
    if (err == 0)
        err = mailbox_init(&s->mailbox, &s->loop);
    recent_failures_init(&s->monitor.failures, &s->mailbox);
    if (err == 0)
        err = take_signals(s);
    if (err == 0)
        err = token_manager_init(&s->tokens, &s->loop, s->config, publish, s);
    if (err == 0) {
        freeze_set_file(&s->shared.freeze, s->config->freeze.file);
        err = open_admin(s, error);
    }
    s->shared.failures = s->admin.mhd_host.daemon == NULL ? NULL : &s->monitor.failures;
    if (err == 0) /* last, since from here on callers may wait in its queue */
        err = open_listeners(s, error);
    if (err == 0) {
        add_bound_hosts(s, s->config);
        policy_enforce(s->config, &s->listeners, &s->admin.listeners, &s->sandbox);
        err = start_ledger(s);
    }
    if (err == 0)
        err = start_workers(s);
    return err;
}

int server_run(struct config *c, struct config_env *env)
{
    struct server s = { .config = c,
                        .env = env,
                        .started_ms = clock_ms(),
                        .started_wall_s = clock_wall_s(),
                        .ledger_look.on_due = on_ledger_look,
                        .loop.epoll_fd = -1 };
    struct buf error;

    buf_init(&error, 4096);
    buf_init(&s.sandbox, 256);
    log_setup((enum log_level)c->log.level, (enum log_format)c->log.format);
    resources_raise_descriptors(c);
    s.worker_count = resources_workers(c);
    s.workers = aligned_alloc(64, sizeof *s.workers * s.worker_count);
    if (s.workers == NULL)
        abort();
    memset(s.workers, 0, sizeof *s.workers * s.worker_count);
    s.shared = (struct worker_shared){ .on_want = on_want,
                                       .on_refused = on_refused,
                                       .on_accepted = on_accepted,
                                       .on_drained = on_drained,
                                       .arg = &s };
    int err = conn_limit_init(&s.shared.upstream_connections, c->upstream.max_connections);

    if (err == 0)
        err = start(&s, &error);

    if (err == 0) {
        start_monitor(&s);
        announce(&s);
        sd_notify_ready(&s.notify);
        token_manager_start(&s.tokens);
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
    return err != 0 || s.drain.hurried ? 1 : 0;
}

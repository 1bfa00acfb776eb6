/* Messages to a service manager, over a socket like systemd's. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "harness.h"
#include "hold.h"
#include "store.h"

/* The manager's end. */
struct manager {
    int fd;
    char variable[160], path[108]; /* path empty: an abstract socket */
    struct bytes heard;            /* each message, and an empty line behind it */
    size_t looked;                 /* how much of it expect() has passed */
};

static void listen_for(struct manager *m, bool abstract)
{
    static int count;
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    *m = (struct manager){ .fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) };
    assert_true(m->fd >= 0);
    int n = snprintf(addr.sun_path + abstract, sizeof addr.sun_path - 1,
                     "%soneshot-notify-%d-%d", abstract ? "" : "/tmp/", (int)getpid(), count++);
    (void)snprintf(m->variable, sizeof m->variable, "NOTIFY_SOCKET=%s%s", abstract ? "@" : "",
                   addr.sun_path + abstract);
    if (!abstract)
        (void)snprintf(m->path, sizeof m->path, "%s", addr.sun_path);
    /* An abstract name has a NUL in front, a path one behind it. */
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n + 1);
    assert_int_equal(bind(m->fd, (struct sockaddr *)&addr, len), 0);
}

static void stop_listening(struct manager *m)
{
    (void)close(m->fd);
    if (m->path[0] != '\0')
        (void)unlink(m->path);
    bytes_free(&m->heard);
}

/* One more message; false: none by then. */
static bool hear(struct manager *m, int ms)
{
    char message[2048];
    struct pollfd ready = { .fd = m->fd, .events = POLLIN };
    if (poll(&ready, 1, ms) <= 0)
        return false;
    ssize_t n = recv(m->fd, message, sizeof message, 0);
    if (n < 0)
        return false;
    bytes_add(&m->heard, message, (size_t)n);
    bytes_add_str(&m->heard, "\n\n");
    return true;
}

/* Waits for a message that holds the line, behind those expected before. Returns it up to the
 * end of all that was heard. */
static const char *expect(struct manager *m, const char *line)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    const char *found;
    while ((found = strstr(bytes_text(&m->heard) + m->looked, line)) == NULL)
        if (!hear(m, left_ms(deadline_ms)))
            fail_msg("\"%s\" was not said, but:\n%s", line, bytes_text(&m->heard));
    m->looked = (size_t)(found - bytes_text(&m->heard)) + strlen(line);
    return found;
}

static int64_t monotonic_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void tells_its_whole_life(bool abstract)
{
    WORLD(w);
    struct manager m;
    listen_for(&m, abstract);
    const char *env[] = { m.variable, NULL };
    struct world_options options = { .env = env };
    world_start(&w, &options);
    (void)expect(&m, "READY=1");
    (void)expect(&m, "STATUS=Serving");
    int64_t before_us = monotonic_us();
    world_reload(&w, &options, "reloaded");
    const char *said = expect(&m, "RELOADING=1\nMONOTONIC_USEC=");
    int64_t at_us = strtoll(said + strlen("RELOADING=1\nMONOTONIC_USEC="), NULL, 10);
    assert_true(at_us >= before_us && at_us <= monotonic_us());
    (void)expect(&m, "READY=1");
    options.settings = "log.level = loud\n";
    world_reload(&w, &options, "reload_refused"); /* also over then, and it serves */
    (void)expect(&m, "RELOADING=1");
    (void)expect(&m, "STATUS=Serving | the last reload was refused: ");
    (void)expect(&m, "log.level");
    (void)expect(&m, "READY=1");
    options.settings = NULL;
    world_reload(&w, &options, "reloaded");
    (void)expect(&m, "STATUS=Serving\n");
    (void)expect(&m, "READY=1");
    proxy_signal(w.proxy, SIGTERM);
    (void)expect(&m, "STOPPING=1\nEXTEND_TIMEOUT_USEC=35000000\nSTATUS=");
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    assert_lacks(bytes_text(&m.heard), "WATCHDOG=1"); /* nobody asked for it */
    assert_lacks(bytes_text(&m.heard), CANARY);
    world_end(&w);
    stop_listening(&m);
}

static void ready_reloading_and_stopping_are_told_by_a_path(void **state)
{
    (void)state;
    tells_its_whole_life(false);
}

static void ready_reloading_and_stopping_are_told_by_an_abstract_name(void **state)
{
    (void)state;
    tells_its_whole_life(true);
}

static void the_status_line_says_why_there_is_no_token(void **state)
{
    (void)state;
    WORLD(w);
    struct manager m;
    listen_for(&m, false);
    const char *env[] = { m.variable, NULL };
    struct world_options options = { .env = env,
                                     .no_proxy = true,
                                     .settings = "token.retry_min = 100ms\n"
                                                 "token.retry_max = 200ms\n" };
    world_start(&w, &options);
    tokens_always(w.tokens, (struct token_answer){ .status = 401 });
    options.hold_tokens = true; /* only that no token is waited for */
    world_proxy(&w, &options);
    (void)expect(&m, "READY=1"); /* it is ready to say so to callers */
    (void)expect(&m, "STATUS=No token: The token endpoint answered 401: check token.client_id");
    tokens_always(w.tokens, (struct token_answer){ 0 });
    (void)expect(&m, "STATUS=Serving");
    world_end(&w);
    stop_listening(&m);
}

static void the_status_line_says_that_payments_are_frozen(void **state)
{
    (void)state;
    WORLD(w);
    struct manager m;
    listen_for(&m, false);
    const char *env[] = { m.variable, NULL };
    char dir[] = "/tmp/notify-freeze-XXXXXX", file[64], settings[160];
    assert_non_null(mkdtemp(dir));
    (void)snprintf(file, sizeof file, "%s/freeze", dir);
    (void)snprintf(settings, sizeof settings, "classes.table = 1shot\nfreeze.file = %s\n",
                   file);
    world_start(&w, &(struct world_options){ .env = env, .settings = settings });
    (void)expect(&m, "STATUS=Serving\n");
    write_file(file, "incident-7\n");
    (void)expect(&m, "STATUS=Serving | frozen: incident-7\n");
    assert_int_equal(unlink(file), 0);
    (void)expect(&m, "STATUS=Serving\n");
    world_end(&w);
    stop_listening(&m);
    assert_int_equal(rmdir(dir), 0);
}

static void the_status_line_says_that_the_ledger_is_down(void **state)
{
    (void)state;
    STORE(s);
    WORLD(w);
    struct manager m;
    char file[64];
    int fd = memfd_create("disk", MFD_CLOEXEC); /* see failing_disk.c */
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 2 * sizeof(int)), 0);
    (void)snprintf(file, sizeof file, "FAILING_DISK=/proc/%d/fd/%d", (int)getpid(), fd);
    listen_for(&m, false);
    const char *env[] = { m.variable, "LD_PRELOAD=" FAILING_DISK, file, NULL };
    store_make(&s, NULL);
    world_start(&w, &(struct world_options){ .env = env, .settings = s.settings });
    (void)expect(&m, "STATUS=Serving\n");
    int error = ENOSPC;
    assert_int_equal(pwrite(fd, &error, sizeof error, 0), sizeof error);
    assert_int_equal(store_pay_status(&w, "k"), 503);
    (void)expect(&m, "STATUS=Serving | ledger down: the ledger's store is full");
    error = 0;
    assert_int_equal(pwrite(fd, &error, sizeof error, 0), sizeof error);
    (void)expect(&m, "STATUS=Serving\n");
    world_end(&w);
    stop_listening(&m);
    (void)close(fd);
}

static void signs_of_life_are_given_only_while_the_workers_turn(void **state)
{
    (void)state;
    WORLD(w);
    struct manager m;
    listen_for(&m, false);
    const char *env[] = { m.variable, "WATCHDOG_USEC=200000", NULL };
    struct client c;
    char stuck[64];
    const char *why = "";
    bool can = hold_begin(&why);
    world_start(&w, &(struct world_options){ .env = env, .settings = "process.workers = 2\n" });
    if (!can || !hold_attach(&why)) {
        world_end(&w);
        stop_listening(&m);
        print_message("no thread can be held here: %s\n", why);
        skip();
    }
    for (int i = 0; i < 4; i++)
        (void)expect(&m, "WATCHDOG=1");
    hold_next();
    client_open(&c, w.port);
    (void)snprintf(stuck, sizeof stuck, "event=worker_stuck worker=%d", hold_worker(SOON_MS));
    assert_true(proxy_log_wait(w.proxy, stuck, 1, SOON_MS));
    while (hear(&m, 0)) /* what was said until then */
        ;
    m.looked = m.heard.len;
    assert_true(proxy_log_wait(w.proxy, stuck, 6, SOON_MS));
    assert_false(hear(&m, 0)); /* five times nothing */
    hold_release();
    for (int i = 0; i < 4; i++)
        (void)expect(&m, "WATCHDOG=1");
    client_close(&c);
    world_end(&w);
    hold_end();
    stop_listening(&m);
}

/* Somebody else's messages fill the manager's queue. */
static void fill_queue(const struct manager *m)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)snprintf(addr.sun_path, sizeof addr.sun_path, "%s", m->path);
    assert_true(fd >= 0);
    while (sendto(fd, "X=1", 3, 0, (struct sockaddr *)&addr, sizeof addr) >= 0)
        ;
    assert_int_equal(errno, EAGAIN);
    (void)close(fd);
}

static void a_manager_that_reads_late_hears_everything_in_order(void **state)
{
    (void)state;
    WORLD(w);
    struct manager m;
    listen_for(&m, false);
    const char *env[] = { m.variable, NULL };
    struct world_options options = {
        .env = env, .settings = "process.drain_timeout = 5m\nprocess.drain_delay = 1m\n"
    };
    world_start(&w, &options);
    (void)expect(&m, "READY=1");
    fill_queue(&m);
    world_reload(&w, &options, "reloaded");
    proxy_signal(w.proxy, SIGTERM);
    assert_true(proxy_log_wait(w.proxy, "event=draining", 1, SOON_MS));
    (void)expect(&m, "RELOADING=1");
    (void)expect(&m, "READY=1");
    (void)expect(&m, "STOPPING=1");
    proxy_signal(w.proxy, SIGTERM);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 1);
    proxy_free(w.proxy);
    w.proxy = NULL;
    stop_listening(&m);
}

static void a_watchdog_meant_for_another_process_is_not_fed(void **state)
{
    (void)state;
    WORLD(w);
    struct manager m;
    listen_for(&m, false);
    const char *env[] = { m.variable, "WATCHDOG_USEC=20000", "WATCHDOG_PID=1", NULL };
    struct world_options options = { .env = env };
    world_start(&w, &options);
    (void)expect(&m, "READY=1");
    for (int i = 0; i < 10; i++) { /* some time goes by */
        world_reload(&w, &options, "reloaded");
        (void)expect(&m, "READY=1");
    }
    proxy_signal(w.proxy, SIGTERM);
    (void)expect(&m, "STOPPING=1");
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    assert_lacks(bytes_text(&m.heard), "WATCHDOG=1");
    world_end(&w);
    stop_listening(&m);
}

static void a_manager_that_is_gone_or_nonsense_does_no_harm(void **state)
{
    (void)state;
    static const char *const sockets[] = { "NOTIFY_SOCKET=/nonexistent/socket",
                                           "NOTIFY_SOCKET=relative",
                                           "NOTIFY_SOCKET=", "NOTIFY_SOCKET=vsock:2:1" };
    for (size_t i = 0; i < sizeof sockets / sizeof *sockets; i++) {
        WORLD(w);
        struct answer a = { 0 };
        const char *env[] = { sockets[i], "WATCHDOG_USEC=junk", NULL };
        world_start(&w, &(struct world_options){ .env = env });
        http_get(w.port, "/x", &a);
        assert_int_equal(a.status, 200);
        answer_free(&a);
    }
}

int main(int argc, char **argv)
{
    hold_main(argc, argv);
    const struct CMUnitTest tests[] = {
        TEST(ready_reloading_and_stopping_are_told_by_a_path),
        TEST(ready_reloading_and_stopping_are_told_by_an_abstract_name),
        TEST(the_status_line_says_why_there_is_no_token),
        TEST(the_status_line_says_that_payments_are_frozen),
        TEST(the_status_line_says_that_the_ledger_is_down),
        TEST(signs_of_life_are_given_only_while_the_workers_turn),
        TEST(a_manager_that_reads_late_hears_everything_in_order),
        TEST(a_watchdog_meant_for_another_process_is_not_fed),
        TEST(a_manager_that_is_gone_or_nonsense_does_no_harm),
    };
    return RUN_TESTS(tests);
}

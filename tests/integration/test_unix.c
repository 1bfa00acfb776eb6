/* Unix sockets as listeners: the file's mode decides who may connect. It is right from the
 * first moment, and files of others are not touched. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "later.h"

/* A directory that others may enter, and a socket in it that is to be. */
struct place {
    char dir[64], path[96], settings[256];
};

static void place_open(struct place *p, const char *more)
{
    (void)snprintf(p->dir, sizeof p->dir, "%s", "/tmp/oneshot-unix-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    assert_int_equal(chmod(p->dir, 0755), 0);
    (void)snprintf(p->path, sizeof p->path, "%s/proxy.sock", p->dir);
    (void)snprintf(p->settings, sizeof p->settings, "listen.address = unix:%s\n%s", p->path,
                   more);
}

static void place_close(struct place *p)
{
    (void)unlink(p->path);
    assert_int_equal(rmdir(p->dir), 0);
}

static void start_at(struct world *w, const struct place *p)
{
    world_start(w, &(struct world_options){ .settings = p->settings });
}

static void get_over(const char *path, const char *fields, struct answer *a)
{
    struct client c;
    client_open_unix(&c, path);
    client_call(&c, "GET", "/x", fields, NULL, a);
    client_close(&c);
}

static void assert_served(const char *path)
{
    struct answer a = { 0 };
    get_over(path, NULL, &a);
    assert_int_equal(a.status, 200);
    answer_free(&a);
}

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode;
}

/* The inotify events of a directory that are there, or-ed. */
static uint32_t events_of(int fd)
{
    _Alignas(struct inotify_event) char piece[4096];
    uint32_t all = 0;
    ssize_t n;
    while ((n = read(fd, piece, sizeof piece)) > 0) {
        for (char *at = piece; at < piece + n;) {
            struct inotify_event event;
            memcpy(&event, at, sizeof event);
            all |= event.mask;
            at += sizeof event + event.len;
        }
    }
    return all;
}

static void the_mode_is_right_from_the_first_moment(void **state)
{
    (void)state;
    static const struct {
        const char *setting;
        mode_t mode;
    } cases[] = { { "", 0600 },
                  { "listen.socket_mode = 0660\n", 0660 },
                  { "listen.socket_mode = 0666\n", 0666 } };
    mode_t before = umask(0); /* the worst one; the proxy inherits it */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WORLD(w);
        struct place p;
        place_open(&p, cases[i].setting);
        int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        assert_true(inotify_add_watch(watch, p.dir, IN_CREATE | IN_ATTRIB | IN_MOVED_TO) >= 0);
        start_at(&w, &p);
        assert_int_equal(mode_of(p.path), S_IFSOCK | cases[i].mode);
        /* made with that mode, not brought to it */
        assert_int_equal(events_of(watch), IN_CREATE);
        (void)close(watch);
        assert_served(p.path);
        world_end(&w);
        assert_false(exists(p.path));
        place_close(&p);
    }
    (void)umask(before);
}

/* errno of connecting as another user. */
static int connect_as_another(const char *path)
{
    pid_t child = fork();
    if (child == 0)
        _exit(setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0
                  ? 255
                  : client_try_unix(path));
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_not_equal(WEXITSTATUS(status), 255);
    return WEXITSTATUS(status);
}

static void another_user_needs_the_mode_to_connect(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        (void)fprintf(stderr, "SKIPPED: becoming another user needs root\n");
        skip();
    }
    static const struct {
        const char *setting;
        int error;
    } cases[] = { { "", EACCES },
                  { "listen.socket_mode = 0660\n", EACCES },
                  { "listen.socket_mode = 0666\n", 0 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WORLD(w);
        struct place p;
        place_open(&p, cases[i].setting);
        start_at(&w, &p);
        assert_int_equal(connect_as_another(p.path), cases[i].error);
        world_end(&w);
        place_close(&p);
    }
}

static void several_workers_share_it_beside_other_addresses(void **state)
{
    (void)state;
    WORLD(w);
    struct place p;
    struct client c[32];
    struct answer a = { 0 };
    char settings[512];
    place_open(&p, "");
    (void)snprintf(settings, sizeof settings,
                   "listen.address = 127.0.0.1:0, unix:%s, unix:%s2\nprocess.workers = 3\n",
                   p.path, p.path);
    world_start(&w, &(struct world_options){ .settings = settings });
    for (size_t i = 0; i < 32; i++)
        client_open_unix(&c[i], p.path);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 32; i++) {
            client_call(&c[i], "POST", "/x", NULL, "hello", &a);
            assert_int_equal(a.status, 200);
            assert_string_equal(bytes_text(&a.body), "hello");
        }
    }
    for (size_t i = 0; i < 32; i++)
        client_close(&c[i]);
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    char second[128];
    (void)snprintf(second, sizeof second, "%s2", p.path);
    assert_served(second);
    world_end(&w);
    assert_false(exists(second));
    answer_free(&a);
    place_close(&p);
}

static void what_a_killed_proxy_left_is_replaced(void **state)
{
    (void)state;
    WORLD(w);
    struct place p;
    place_open(&p, "");
    start_at(&w, &p);
    proxy_signal(w.proxy, SIGKILL);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 128 + SIGKILL);
    assert_true(exists(p.path));
    proxy_free(w.proxy);
    world_proxy(&w, &(struct world_options){ .settings = p.settings });
    assert_served(p.path);
    world_end(&w);
    assert_false(exists(p.path));
    place_close(&p);
}

/* A second instance with that listen.address: exits with 1 and says why in one line. */
static void assert_does_not_start(const struct world *w, const char *settings, const char *why)
{
    struct bytes ini = world_ini(peer_url(w->api), peer_url(tokens_peer(w->tokens)), settings);
    struct proxy *second =
        proxy_start(bytes_text(&ini), &(struct proxy_options){ .no_wait = true });
    assert_int_equal(proxy_wait_exit(second, SOON_MS), 1);
    struct bytes log = proxy_log_copy(second);
    assert_contains(bytes_text(&log), why);
    assert_lacks(bytes_text(&log), "event=ready");
    bytes_free(&log);
    bytes_free(&ini);
    proxy_free(second);
}

static void the_socket_of_one_that_runs_is_not_taken(void **state)
{
    (void)state;
    WORLD(w);
    struct place p;
    struct stat before, after;
    place_open(&p, "");
    start_at(&w, &p);
    assert_int_equal(lstat(p.path, &before), 0);
    assert_does_not_start(&w, p.settings, p.path);
    assert_int_equal(lstat(p.path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_served(p.path);
    world_end(&w);
    place_close(&p);
}

static void other_files_are_never_replaced(void **state)
{
    (void)state;
    WORLD(w);
    struct place p;
    char target[128], text[8] = "";
    place_open(&p, "");
    world_start(&w, &(struct world_options){ 0 });
    write_file(p.path, "mine");
    assert_does_not_start(&w, p.settings, "not a socket");
    int fd = open(p.path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, text, sizeof text), 4);
    (void)close(fd);
    (void)unlink(p.path);
    assert_int_equal(mkdir(p.path, 0700), 0);
    assert_does_not_start(&w, p.settings, "not a socket");
    assert_int_equal(rmdir(p.path), 0);
    (void)snprintf(target, sizeof target, "%s/target", p.dir);
    write_file(target, "mine");
    assert_int_equal(symlink(target, p.path), 0);
    assert_does_not_start(&w, p.settings, "not a socket");
    assert_int_equal(mode_of(p.path) & S_IFMT, S_IFLNK);
    assert_int_equal(mode_of(target) & S_IFMT, S_IFREG);
    (void)unlink(target);
    assert_does_not_start(&w, p.settings, "not a socket"); /* nor made through it */
    assert_false(exists(target));
    (void)unlink(p.path);
    world_end(&w);
    place_close(&p);
}

static void a_file_that_took_its_place_is_not_removed(void **state)
{
    (void)state;
    WORLD(w);
    struct place p;
    place_open(&p, "");
    start_at(&w, &p);
    assert_int_equal(unlink(p.path), 0);
    write_file(p.path, "somebody else's");
    world_end(&w);
    assert_true(exists(p.path));
    place_close(&p);
}

static void addresses_that_do_not_do_are_told_by_the_check(void **state)
{
    (void)state;
    char longest[160] = "unix:/";
    memset(longest + 6, 'x', 107);
    const char *const addresses[] = { "unix:relative.sock", "unix:@abstract",
                                      "unix:", longest };
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        char listen[256];
        (void)snprintf(listen, sizeof listen, "ONESHOT_PROXY_LISTEN_ADDRESS=%s", addresses[i]);
        const char *argv[] = { "--check", NULL };
        const char *env[] = { listen, "ONESHOT_PROXY_TOKEN_CLIENT_ID=x",
                              "ONESHOT_PROXY_TOKEN_CLIENT_SECRET=y", NULL };
        struct run r = run_proxy(argv, env);
        assert_int_equal(r.code, 1);
        assert_contains(bytes_text(&r.err), "listen.address: ");
        assert_contains(bytes_text(&r.err), "unix:/path of at most 107 bytes");
        run_free(&r);
    }
}

static void the_host_is_checked_there_too(void **state)
{
    (void)state;
    WORLD(w);
    struct place p;
    struct client c;
    struct answer a = { 0 };
    static const struct {
        const char *host;
        int status;
    } cases[] = { { "localhost", 200 },
                  { "localhost:8080", 200 },
                  { "evil.example", 421 },
                  { "unix", 421 } };
    place_open(&p, "");
    start_at(&w, &p);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char request[128];
        (void)snprintf(request, sizeof request, "GET /x HTTP/1.1\r\nHost: %s\r\n\r\n",
                       cases[i].host);
        client_open_unix(&c, p.path);
        client_puts(&c, request);
        client_read(&c, &a, false, SOON_MS);
        assert_int_equal(a.status, cases[i].status);
        client_close(&c);
    }
    char command[256], line[64] = "";
    (void)snprintf(command, sizeof command,
                   "curl -q -sS --noproxy '*' -o /dev/null -w '%%{http_code}' --unix-socket %s "
                   "http://localhost/x",
                   p.path);
    FILE *curl = popen(command, "r");
    assert_non_null(curl);
    if (fgets(line, sizeof line, curl) == NULL)
        line[0] = '\0';
    assert_int_equal(pclose(curl), 0);
    assert_string_equal(line, "200");
    answer_free(&a);
    world_end(&w);
    place_close(&p);
}

/* The kernel counts no bytes of a unix socket. */
static void a_head_that_drips_in_is_408_and_silence_is_closed(void **state)
{
    (void)state;
    LATER(later);
    WORLD(w);
    struct place p;
    struct client fresh, used, silent;
    struct answer a = { 0 };
    place_open(&p, "listen.header_timeout = 1m\nlisten.idle_timeout = 24h\n");
    world_start(&w, &(struct world_options){ .settings = p.settings, .env = later.env });
    client_open_unix(&silent, p.path);
    client_open_unix(&used, p.path);
    client_call(&used, "GET", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    client_open_unix(&fresh, p.path);
    client_puts(&fresh, "GE");
    int64_t until_ms = now_ms() + SOON_MS;
    while (client_fill(&fresh, 50) < 0) {
        assert_true(now_ms() < until_ms);
        (void)client_try_send(&fresh, "T", 1, 10);
        later_by(&later, 10000);
    }
    client_read(&fresh, &a, false, SOON_MS);
    assert_problem(&a, 408, "request", "http_request_error");
    until_ms = now_ms() + SOON_MS;
    while (client_fill(&used, 50) < 0) {
        assert_true(now_ms() < until_ms);
        (void)client_try_send(&used, "P", 1, 10);
        later_by(&later, 10000);
    }
    client_read(&used, &a, false, SOON_MS);
    assert_problem(&a, 408, "request", "http_request_error");
    assert_true(later_until_heard(&later, &silent, 25 * 3600 * 1000));
    client_read(&silent, &a, false, SOON_MS);
    assert_int_equal(a.end, ANSWER_NONE);
    client_close(&fresh);
    client_close(&used);
    client_close(&silent);
    answer_free(&a);
    world_end(&w);
    place_close(&p);
}

static void answer_held(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    if (gate_pass(arg, c))
        api_echo(c, r, NULL);
}

static void a_drain_finishes_what_runs_and_takes_nobody_new(void **state)
{
    (void)state;
    static struct gate gate;
    WORLD(w);
    struct place p;
    struct client c;
    struct answer a = { 0 };
    gate_init(&gate);
    place_open(&p, "");
    world_start(&w, &(struct world_options){
                        .answer = answer_held, .arg = &gate, .settings = p.settings });
    client_open_unix(&c, p.path);
    client_puts(&c, "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    proxy_signal(w.proxy, SIGTERM);
    int64_t deadline_ms = now_ms() + SOON_MS;
    while (client_try_unix(p.path) != ECONNREFUSED)
        assert_true(now_ms() < deadline_ms);
    gate_open(&gate);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    client_close(&c);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
    assert_false(exists(p.path));
    answer_free(&a);
    world_end(&w);
    place_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_mode_is_right_from_the_first_moment),
        TEST(another_user_needs_the_mode_to_connect),
        TEST(several_workers_share_it_beside_other_addresses),
        TEST(what_a_killed_proxy_left_is_replaced),
        TEST(the_socket_of_one_that_runs_is_not_taken),
        TEST(other_files_are_never_replaced),
        TEST(a_file_that_took_its_place_is_not_removed),
        TEST(addresses_that_do_not_do_are_told_by_the_check),
        TEST(the_host_is_checked_there_too),
        TEST(a_head_that_drips_in_is_408_and_silence_is_closed),
        TEST(a_drain_finishes_what_runs_and_takes_nobody_new),
    };
    return RUN_TESTS(tests);
}

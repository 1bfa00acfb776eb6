/* A new secret in its file is noticed without a signal, causes one fetch, and callers do not
 * notice it.
 *
 * Called with --without-inotify it becomes the program under test without inotify, to test
 * the fallback.
 *
 * Rows: tests/hostile/README.md. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hammer.h"
#include "harness.h"

/* A directory of its own for each test, with the world that takes its secret from there. */
struct rotation {
    struct world world;
    struct world_options options;
    struct bytes settings;
    char dir[64], file[128]; /* the secret's */
};

static const char *at(const struct rotation *r, const char *name)
{
    static char path[4][192];
    static size_t next;
    char *out = path[next++ % 4];
    (void)snprintf(out, sizeof path[0], "%s/%s", r->dir, name);
    return out;
}

static void prepare(struct rotation *r)
{
    *r = (struct rotation){ .dir = "/tmp/oneshot-rotation-XXXXXX" };
    assert_non_null(mkdtemp(r->dir));
    (void)snprintf(r->file, sizeof r->file, "%s/secret", r->dir);
}

static void start(struct rotation *r, const char *settings)
{
    bytes_addf(&r->settings, "-token.client_secret\ntoken.client_secret_file = %s\n%s", r->file,
               settings);
    r->options.settings = bytes_text(&r->settings);
    world_start(&r->world, &r->options);
    assert_true(proxy_log_wait(r->world.proxy, "event=token_obtained", 1, SOON_MS));
}

static void remove_all(const char *dir)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c,concurrency-mt-unsafe) */
}

static void end(struct rotation *r)
{
    world_end(&r->world);
    remove_all(r->dir);
    bytes_free(&r->settings);
}

/* The n-th fetch is there, it is the last one, it is over, and came with that secret. */
static void assert_fetched(struct rotation *r, size_t n, const char *secret)
{
    char got[64];
    assert_true(proxy_log_wait(r->world.proxy, "event=token_obtained", n, SOON_MS));
    assert_int_equal(tokens_fetches(r->world.tokens), n);
    tokens_form_field(r->world.tokens, n - 1, "client_secret", got, sizeof got);
    assert_string_equal(got, secret);
}

static void assert_served(struct rotation *r)
{
    struct answer a = { 0 };
    http_get(r->world.port, "/x", &a);
    assert_int_equal(a.status, 200);
    answer_free(&a);
}

static void replace_file(struct rotation *r, const char *path, const char *text)
{
    write_file(at(r, "new"), text);
    assert_int_equal(rename(at(r, "new"), path), 0);
}

static void a_secret_written_in_place_or_renamed_over_costs_one_fetch(void **state)
{
    (void)state;
    struct rotation r;
    prepare(&r);
    write_file(r.file, CANARY "-1\n");
    start(&r, "");
    assert_fetched(&r, 1, CANARY "-1");
    write_file(r.file, CANARY "-2\n");
    assert_fetched(&r, 2, CANARY "-2");
    replace_file(&r, r.file, CANARY "-3");
    assert_fetched(&r, 3, CANARY "-3");
    replace_file(&r, r.file, CANARY "-4"); /* the watch has outlived the file it saw first */
    assert_fetched(&r, 4, CANARY "-4");
    assert_served(&r);
    assert_int_equal(proxy_log_count(r.world.proxy, "event=credentials_changed"), 3);
    end(&r);
}

/* As kubelet does it: secret -> ..data/secret, ..data -> a directory for each version. */
static void make_version(struct rotation *r, const char *version, const char *text)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/secret", version);
    assert_int_equal(mkdir(at(r, version), 0755), 0);
    write_file(at(r, path), text);
    assert_int_equal(symlink(version, at(r, "..data_tmp")), 0);
    assert_int_equal(rename(at(r, "..data_tmp"), at(r, "..data")), 0);
}

static void a_kubernetes_volume_that_swaps_its_link_costs_one_fetch(void **state)
{
    (void)state;
    struct rotation r;
    prepare(&r);
    make_version(&r, "..2024_1", CANARY "-1");
    assert_int_equal(symlink("..data/secret", r.file), 0);
    start(&r, "");
    for (size_t i = 2; i <= 4; i++) {
        char version[32], secret[32];
        (void)snprintf(version, sizeof version, "..2024_%zu", i);
        (void)snprintf(secret, sizeof secret, CANARY "-%zu", i);
        make_version(&r, version, secret);
        assert_fetched(&r, i, secret);
    }
    remove_all(at(&r, "..2024_1"));
    make_version(&r, "..2024_5", CANARY "-4"); /* another version of the same secret */
    assert_true(proxy_log_wait(r.world.proxy, "event=credentials_unchanged", 1, SOON_MS));
    assert_int_equal(tokens_fetches(r.world.tokens), 4);
    assert_served(&r);
    end(&r);
}

static void directories_on_the_way_may_be_replaced(void **state)
{
    (void)state;
    struct rotation r;
    prepare(&r);
    assert_int_equal(mkdir(at(&r, "a"), 0755), 0);
    assert_int_equal(mkdir(at(&r, "a/b"), 0755), 0);
    write_file(at(&r, "a/b/secret"), CANARY "-1");
    (void)snprintf(r.file, sizeof r.file, "%s/a/./b/../b/secret", r.dir);
    start(&r, "process.sandbox = off\n"); /* it knows directories, not their names */
    /* the upper one is moved away, another takes its place */
    assert_int_equal(mkdir(at(&r, "c"), 0755), 0);
    assert_int_equal(mkdir(at(&r, "c/b"), 0755), 0);
    write_file(at(&r, "c/b/secret"), CANARY "-2");
    assert_int_equal(rename(at(&r, "a"), at(&r, "old")), 0);
    assert_int_equal(rename(at(&r, "c"), at(&r, "a")), 0);
    assert_fetched(&r, 2, CANARY "-2");
    /* in the new one the watch is on as well */
    write_file(at(&r, "a/b/secret"), CANARY "-3");
    assert_fetched(&r, 3, CANARY "-3");
    /* removed and made again, step by step */
    remove_all(at(&r, "a"));
    assert_true(proxy_log_wait(r.world.proxy, "event=credentials_unreadable", 1, SOON_MS));
    assert_int_equal(mkdir(at(&r, "a"), 0755), 0);
    assert_int_equal(mkdir(at(&r, "a/b"), 0755), 0);
    write_file(at(&r, "a/b/secret"), CANARY "-4");
    assert_fetched(&r, 4, CANARY "-4");
    assert_served(&r);
    end(&r);
}

static void the_same_bytes_cost_nothing(void **state)
{
    (void)state;
    struct rotation r;
    prepare(&r);
    write_file(r.file, CANARY "-1\n");
    start(&r, "");
    assert_int_equal(utimensat(AT_FDCWD, r.file, NULL, 0), 0);
    assert_true(proxy_log_wait(r.world.proxy, "event=credentials_unchanged", 1, SOON_MS));
    write_file(r.file, CANARY "-1\n");
    assert_true(proxy_log_wait(r.world.proxy, "event=credentials_unchanged", 2, SOON_MS));
    replace_file(&r, r.file, CANARY "-1\n");
    assert_true(proxy_log_wait(r.world.proxy, "event=credentials_unchanged", 3, SOON_MS));
    write_file(r.file, CANARY "-1"); /* the line end does not count */
    assert_true(proxy_log_wait(r.world.proxy, "event=credentials_unchanged", 4, SOON_MS));
    proxy_signal(r.world.proxy, SIGHUP);
    assert_true(proxy_log_wait(r.world.proxy, "event=reloaded", 1, SOON_MS));
    write_file(r.file, CANARY "-2");
    assert_fetched(&r, 2, CANARY "-2");
    end(&r);
}

static void a_file_that_is_not_whole_keeps_the_last_good_secret_and_says_so_once(void **state)
{
    (void)state;
    struct rotation r;
    char got[64];
    prepare(&r);
    write_file(r.file, CANARY "-1");
    start(&r, "token.refresh_before = 29s\n");
    write_file(r.file, CANARY "-2");
    assert_fetched(&r, 2, CANARY "-2");
    tokens_lifetime(r.world.tokens, 30); /* for the renewal below */
    write_file(r.file, "");
    assert_true(proxy_log_wait(r.world.proxy, "event=credentials_unreadable", 1, SOON_MS));
    assert_true(proxy_log_contains(r.world.proxy, "secret: is empty"));
    assert_int_equal(unlink(r.file), 0);
    assert_served(&r);
    proxy_signal(r.world.proxy, SIGHUP); /* the settings are not good without it */
    assert_true(proxy_log_wait(r.world.proxy, "event=reload_refused", 1, SOON_MS));
    assert_int_equal(proxy_log_count(r.world.proxy, "event=credentials_unreadable"), 1);
    assert_int_equal(tokens_fetches(r.world.tokens), 2);
    /* the other half comes late, and the end of it later still */
    int fd = open(r.file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, CANARY, 6), 6);
    assert_int_equal(write(fd, "-3", 2), 2);
    (void)close(fd);
    assert_fetched(&r, 3, CANARY "-3");
    /* without the file, the renewals go on with what was read last, not with what was first */
    assert_int_equal(unlink(r.file), 0);
    size_t sent = tokens_fetches(r.world.tokens);
    assert_true(tokens_wait(r.world.tokens, sent + 2, SOON_MS));
    tokens_form_field(r.world.tokens, sent + 1, "client_secret", got, sizeof got);
    assert_string_equal(got, CANARY "-3");
    assert_int_equal(proxy_log_count(r.world.proxy, "event=credentials_unreadable"), 2);
    assert_served(&r);
    end(&r);
}

static void id_and_secret_change_together(void **state)
{
    (void)state;
    struct rotation r;
    char got[64];
    prepare(&r);
    write_file(r.file, CANARY "-1");
    write_file(at(&r, "id"), "id-1\n");
    bytes_addf(&r.settings, "-token.client_id\ntoken.client_id_file = %s\n", at(&r, "id"));
    start(&r, "");
    proxy_signal(r.world.proxy, SIGSTOP); /* so that it is no matter how long this takes */
    write_file(at(&r, "id"), "id-2\n");
    write_file(r.file, CANARY "-2");
    proxy_signal(r.world.proxy, SIGCONT);
    assert_fetched(&r, 2, CANARY "-2");
    tokens_form_field(r.world.tokens, 1, "client_id", got, sizeof got);
    assert_string_equal(got, "id-2");
    end(&r);
}

static void a_secret_that_is_not_valid_yet_fails_nobody(void **state)
{
    (void)state;
    struct rotation r;
    prepare(&r);
    write_file(r.file, CANARY "-1");
    start(&r, "token.retry_min = 50ms\ntoken.retry_max = 100ms\n");
    tokens_push(r.world.tokens, (struct token_answer){ .status = 401, .times = 3 });
    write_file(r.file, CANARY "-2");
    for (size_t i = 1; i <= 3; i++) {
        assert_true(
            proxy_log_wait(r.world.proxy, "event=token_fetch_failed status=401", i, SOON_MS));
        assert_served(&r);
    }
    assert_true(proxy_log_wait(r.world.proxy, "event=token_obtained", 2, SOON_MS));
    assert_served(&r);
    end(&r);
}

/* The secret turns eight times under load, with SIGHUPs flying: nothing fails, and each turn is
 * one fetch. (row 77) */
static void no_request_fails_while_the_secret_rotates(void **state)
{
    (void)state;
    enum { TURNS = 8, CALLERS = 24, BETWEEN = 600 };
    struct rotation r;
    char secret[32];
    prepare(&r);
    make_version(&r, "..v0", CANARY "-0");
    assert_int_equal(symlink("..data/secret", r.file), 0);
    start(&r, "process.workers = 2\nlog.access = no\n");
    struct hammer *h =
        hammer_start(r.world.port, CALLERS,
                     "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nok");
    for (size_t i = 1; i <= TURNS; i++) {
        char version[32];
        (void)snprintf(secret, sizeof secret, CANARY "-%zu", i);
        (void)snprintf(version, sizeof version, "..v%zu", i);
        proxy_signal(r.world.proxy, SIGHUP);
        make_version(&r, version, secret);
        proxy_signal(r.world.proxy, SIGHUP);
        assert_fetched(&r, i + 1, secret);
        proxy_signal(r.world.proxy, SIGHUP);
        assert_true(hammer_wait(h, i * BETWEEN, SOON_MS));
        assert_int_equal(tokens_fetches(r.world.tokens), i + 1);
    }
    struct hammer_result result = hammer_stop(h);
    if (result.failures != 0)
        fail_msg("%zu of %zu failed: %s", result.failures, result.answers,
                 bytes_text(&result.first));
    assert_true(result.answers >= (size_t)TURNS * BETWEEN);
    assert_int_equal(peer_count(r.world.api, ""), result.answers);
    print_message("%zu requests, %d rotations\n", result.answers, TURNS);
    bytes_free(&result.first);
    end(&r);
}

static void without_inotify_the_file_is_read_now_and_then(void **state)
{
    (void)state;
    struct rotation r;
    char self[PATH_MAX - 64], wrap[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = '\0';
    (void)snprintf(wrap, sizeof wrap, "%s --without-inotify", self);
    prepare(&r);
    write_file(r.file, CANARY "-1");
    assert_int_equal(setenv("ONESHOT_PROXY_WRAP", wrap, 1), 0); /* NOLINT */
    start(&r, "");
    assert_int_equal(unsetenv("ONESHOT_PROXY_WRAP"), 0); /* NOLINT */
    assert_int_equal(proxy_log_count(r.world.proxy, "event=watch_unavailable level=warn"), 1);
    write_file(r.file, CANARY "-2");
    assert_fetched(&r, 2, CANARY "-2");
    proxy_signal(r.world.proxy, SIGHUP);
    assert_true(proxy_log_wait(r.world.proxy, "event=reloaded", 1, SOON_MS));
    assert_int_equal(proxy_log_count(r.world.proxy, "event=watch_unavailable"), 1);
    end(&r);
}

static int run_without_inotify(char **argv)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_inotify_init1, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { .len = sizeof code / sizeof *code, .filter = code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        perror("seccomp");
        return 1;
    }
    (void)execv(argv[0], argv);
    perror(argv[0]);
    return 1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_secret_written_in_place_or_renamed_over_costs_one_fetch),
        TEST(a_kubernetes_volume_that_swaps_its_link_costs_one_fetch),
        TEST(directories_on_the_way_may_be_replaced),
        TEST(the_same_bytes_cost_nothing),
        TEST(a_file_that_is_not_whole_keeps_the_last_good_secret_and_says_so_once),
        TEST(id_and_secret_change_together),
        TEST(a_secret_that_is_not_valid_yet_fails_nobody),
        TEST(no_request_fails_while_the_secret_rotates),
        TEST(without_inotify_the_file_is_read_now_and_then),
    };
    if (argc > 2 && strcmp(argv[1], "--without-inotify") == 0)
        return run_without_inotify(argv + 2);
    return RUN_TESTS(tests);
}

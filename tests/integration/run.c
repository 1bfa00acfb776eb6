/* Starts the program with a chosen environment, and runs commands to their end. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "proxy_inside.h"
#include "unit.h"

#define RUN_MS 60000
#define ARGS_MAX 24
#define ENV_MAX 64

bool sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return true;
#else
    return false;
#endif
#else
    return false;
#endif
}

/* Where the dynamic parts of an environment entry live. */
static void pass_on(const char *name, char *entry, size_t cap, char **env, size_t *n)
{
    const char *value = getenv(name);
    if (value == NULL)
        return;
    (void)snprintf(entry, cap, "%s=%s", name, value);
    env[(*n)++] = entry;
}

pid_t spawn_proxy(const char *const *argv, const char *const *env,
                  const struct spawn_streams *streams)
{
    const char *binary = getenv("ONESHOT_PROXY_BIN");
    if (binary == NULL || *binary == '\0')
        fail_msg("ONESHOT_PROXY_BIN does not name the binary");

    /* e.g. "valgrind -q --error-exitcode=99" in front of it */
    char wrap[512];
    (void)snprintf(wrap, sizeof wrap, "%s", getenv("ONESHOT_PROXY_WRAP") ?: "");
    char *args[ARGS_MAX];
    size_t n = 0;
    char *rest = wrap, *word;
    while ((word = strsep(&rest, " ")) != NULL && n < ARGS_MAX / 2)
        if (*word != '\0')
            args[n++] = word;
    args[n++] = (char *)(uintptr_t)binary;
    for (; *argv != NULL && n < ARGS_MAX - 1; argv++)
        args[n++] = (char *)(uintptr_t)*argv;
    args[n] = NULL;

    char path[] = "PATH=/usr/bin:/bin", home[] = "HOME=/nonexistent";
    char asan[] = "ASAN_OPTIONS=detect_leaks=1:exitcode=99:quarantine_size_mb=8"
                  ":verify_asan_link_order=0"; /* tests preload */
    char ubsan[] = "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1";
    char tsan[1024], lsan[1024];
    char *all[ENV_MAX];
    n = 0;
    all[n++] = path;
    all[n++] = home;
    all[n++] = asan;
    all[n++] = ubsan;
    pass_on("TSAN_OPTIONS", tsan, sizeof tsan, all, &n);
    pass_on("LSAN_OPTIONS", lsan, sizeof lsan, all, &n);
    for (; env != NULL && *env != NULL && n < ENV_MAX - 1; env++)
        all[n++] = (char *)(uintptr_t)*env;
    all[n] = NULL;

    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    (void)posix_spawn_file_actions_init(&files);
    (void)posix_spawnattr_init(&attributes);
    const int fds[] = { streams->in_fd, streams->out_fd, streams->err_fd };
    for (int i = 0; i < 3; i++)
        if (fds[i] < 0)
            (void)posix_spawn_file_actions_addopen(&files, i, "/dev/null", O_RDWR, 0);
        else
            (void)posix_spawn_file_actions_adddup2(&files, fds[i], i);
    /* No signal blocked, none ignored: we ignore SIGPIPE ourselves, and a shell without job
     * control ignores SIGINT and SIGQUIT in what it starts in the background. Both would be
     * inherited. */
    sigset_t defaults, none;
    (void)sigemptyset(&none);
    (void)sigfillset(&defaults);
    (void)sigdelset(&defaults, SIGKILL);
    (void)sigdelset(&defaults, SIGSTOP);
    (void)posix_spawnattr_setsigdefault(&attributes, &defaults);
    (void)posix_spawnattr_setsigmask(&attributes, &none);
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    pid_t pid = -1;
    int error = posix_spawnp(&pid, args[0], &files, &attributes, args, all);
    (void)posix_spawn_file_actions_destroy(&files);
    (void)posix_spawnattr_destroy(&attributes);
    if (error != 0)
        fail_msg("%s does not start: %s", args[0], strerror(error));
    return pid;
}

void assert_no_sanitizer_spoke(const struct bytes *said)
{
    static const char *const words[] = { "AddressSanitizer", "LeakSanitizer", "ThreadSanitizer",
                                         "runtime error:" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (bytes_contain(said, words[i]))
            fail_msg("a sanitizer spoke:\n%s", bytes_text(said));
}

struct run run_proxy(const char *const *argv, const char *const *env)
{
    struct run r = { .code = -1 };
    int out[2], err[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    pid_t pid = spawn_proxy(argv, env, &(struct spawn_streams){ -1, out[1], err[1] });
    (void)close(out[1]);
    (void)close(err[1]);

    struct pollfd fds[2] = { { .fd = out[0], .events = POLLIN },
                             { .fd = err[0], .events = POLLIN } };
    int64_t deadline_ms = now_ms() + RUN_MS;
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        if (poll(fds, 2, left_ms(deadline_ms)) <= 0 && errno != EINTR)
            break;
        for (size_t i = 0; i < 2; i++) {
            char piece[4096];
            if (fds[i].fd < 0 || fds[i].revents == 0)
                continue;
            ssize_t n = read(fds[i].fd, piece, sizeof piece);
            if (n > 0)
                bytes_add(i == 0 ? &r.out : &r.err, piece, (size_t)n);
            else
                fds[i].fd = -1;
        }
    }
    bool in_time = fds[0].fd < 0 && fds[1].fd < 0;
    if (!in_time)
        (void)kill(pid, SIGKILL);
    (void)close(out[0]);
    (void)close(err[0]);
    int status = 0;
    (void)waitpid(pid, &status, 0);
    if (in_time && WIFSIGNALED(status))
        fail_msg("it was ended by signal %d:\n%s", WTERMSIG(status), bytes_text(&r.err));
    assert_no_sanitizer_spoke(&r.err);
    if (in_time)
        r.code = WEXITSTATUS(status);
    return r;
}

void run_free(struct run *r)
{
    bytes_free(&r->out);
    bytes_free(&r->err);
}

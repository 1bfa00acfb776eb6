/* Starts and stops the program under test, and watches its output. */
#include "proxy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy_inside.h"
#include "unit.h"

/* Reaching these means failure: under valgrind on a busy machine a start takes half a
 * minute. */
#define START_MS 120000
#define STOP_MS 120000

void proxy_lock_log(struct proxy *p)
{
    char piece[16384];
    (void)pthread_mutex_lock(&p->lock);
    while (!p->log_ended) {
        ssize_t n = read(p->log_fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n > 0)
            bytes_add(&p->log, piece, (size_t)n);
        else
            p->log_ended = true;
        (void)pthread_cond_broadcast(&p->changed);
    }
}

static void *read_log(void *arg)
{
    struct proxy *p = arg;
    struct pollfd readable = { .fd = p->log_fd, .events = POLLIN };
    for (bool ended = false; !ended;) {
        (void)poll(&readable, 1, -1);
        proxy_lock_log(p);
        ended = p->log_ended;
        (void)pthread_mutex_unlock(&p->lock);
    }
    return NULL;
}

static void print_log(struct proxy *p)
{
    proxy_lock_log(p); /* including what was not read yet */
    (void)fprintf(stderr, "--- the proxy's log ---\n%s--- end of log ---\n",
                  bytes_text(&p->log));
    (void)pthread_mutex_unlock(&p->lock);
}

static void remove_dir(const char *dir)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return;
    struct dirent *entry;
    while ((entry = readdir(d)) != NULL)
        if (entry->d_type != DT_DIR)
            (void)unlinkat(dirfd(d), entry->d_name, 0);
    (void)closedir(d);
    (void)rmdir(dir);
}

static void read_ready_line(struct proxy *p)
{
    char listen[256];
    if (!proxy_log_wait(p, "event=ready", 1, START_MS) ||
        !proxy_log_field(p, "event=ready", 0, "listen", listen, sizeof listen)) {
        proxy_kill(p);
        fail_msg("no ready line");
    }
    size_t first = strcspn(listen, ",");
    listen[first] = '\0';
    const char *colon = strrchr(listen, ':');
    p->port = colon ? (int)strtol(colon + 1, NULL, 10) : 0;
}

struct proxy *proxy_start(const char *ini, const struct proxy_options *options)
{
    static const struct proxy_options defaults;
    if (options == NULL)
        options = &defaults;
    struct proxy *p = calloc(1, sizeof *p);
    assert_non_null(p);
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->changed, NULL);
    (void)snprintf(p->dir, sizeof p->dir, "%s", "/tmp/oneshot-proxy-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    char path[96];
    (void)snprintf(path, sizeof path, "%s/oneshot-proxy.ini", p->dir);
    if (!options->no_file) {
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, ini, strlen(ini)), (ssize_t)strlen(ini));
        (void)close(fd);
    }
    int log[2];
    assert_int_equal(pipe2(log, O_CLOEXEC), 0);
    const char *argv[] = { "--config", path, NULL };
    p->in_fd = memfd_create("stdin", MFD_CLOEXEC);
    assert_true(p->in_fd >= 0);
    p->pid = spawn_proxy(options->no_file ? argv + 2 : argv, options->env,
                         &(struct spawn_streams){ p->in_fd, -1, log[1] });
    (void)close(log[1]);
    p->log_fd = log[0];
    assert_int_equal(fcntl(p->log_fd, F_SETFL, O_NONBLOCK), 0); /* our end, not the program's */
    p->pid_fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    (void)fcntl(p->pid_fd, F_SETFD, FD_CLOEXEC);
    assert_int_equal(pthread_create(&p->reader, NULL, read_log, p), 0);
    harness_register_proxy(p);
    if (!options->no_wait)
        read_ready_line(p);
    return p;
}

void proxy_signal(struct proxy *p, int signal)
{
    siginfo_t info;

    assert_int_equal(kill(p->pid, signal), 0);
    if (signal == SIGSTOP)
        assert_int_equal(waitid(P_PID, (id_t)p->pid, &info, WSTOPPED | WEXITED | WNOWAIT), 0);
}

int proxy_wait_exit(struct proxy *p, int ms)
{
    if (p->exited)
        return p->exit_code;
    int64_t deadline_ms = now_ms() + ms;
    struct pollfd ended = { .fd = p->pid_fd, .events = POLLIN };
    int n;
    do
        n = poll(&ended, 1, left_ms(deadline_ms));
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return -1;
    int status = 0;
    (void)waitpid(p->pid, &status, 0);
    p->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    p->dumped_core = WIFSIGNALED(status) && WCOREDUMP(status);
    p->exited = true;
    (void)pthread_join(p->reader, NULL); /* the pipe has ended with the process */
    struct stat in;
    assert_int_equal(fstat(p->in_fd, &in), 0);
    if (in.st_size != 0)
        fail_msg("it wrote %lld bytes to its standard input", (long long)in.st_size);
    assert_no_sanitizer_spoke(&p->log);
    return p->exit_code;
}

void proxy_free(struct proxy *p)
{
    if (!p->exited) {
        (void)kill(p->pid, SIGKILL);
        (void)proxy_wait_exit(p, STOP_MS);
    }
    harness_forget_proxy(p);
    (void)close(p->pid_fd);
    (void)close(p->log_fd);
    (void)close(p->in_fd);
    remove_dir(p->dir);
    bytes_free(&p->log);
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_cond_destroy(&p->changed);
    free(p);
}

void proxy_kill(struct proxy *p)
{
    print_log(p);
    proxy_free(p);
}

void proxy_stop(struct proxy *p)
{
    if (!p->exited)
        (void)kill(p->pid, SIGTERM);
    int code = proxy_wait_exit(p, STOP_MS);
    if (code != 0) {
        proxy_kill(p);
        if (code < 0)
            fail_msg("it did not stop in time");
        fail_msg("it left with %d", code);
    }
    proxy_free(p);
}

int proxy_port(const struct proxy *p)
{
    return p->port;
}

int proxy_admin_port(struct proxy *p)
{
    char address[256];
    if (!proxy_log_field(p, "event=ready", 0, "admin", address, sizeof address))
        fail_msg("the ready line names no admin address");
    const char *colon = strrchr(address, ':');
    return colon ? (int)strtol(colon + 1, NULL, 10) : 0;
}

bool proxy_dumped_core(const struct proxy *p)
{
    return p->dumped_core;
}

pid_t proxy_pid(const struct proxy *p)
{
    return p->pid;
}

const char *proxy_dir(const struct proxy *p)
{
    return p->dir;
}

long proxy_rss_kib(const struct proxy *p)
{
    char path[64], line[256];
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)p->pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    long kib = -1;
    while (kib < 0 && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "VmRSS:", 6) == 0)
            kib = strtol(line + 6, NULL, 10);
    (void)fclose(file);
    assert_true(kib > 0);
    return kib;
}

int proxy_descriptors(const struct proxy *p)
{
    char path[64];
    struct stat st;
    int n = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)p->pid);
    assert_int_equal(stat(path, &st), 0);
    if (st.st_size > 0) /* their number, from Linux 6.2 on */
        return (int)st.st_size;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return -1;
    while (readdir(dir) != NULL)
        n++;
    (void)closedir(dir);
    return n - 2; /* "." and ".." */
}

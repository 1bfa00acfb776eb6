/*   test --spawn--> this program again, as `--hold FD` --exec--> oneshot-proxy, under the
 * filter ^ <------- the filter's descriptor, through FD ---'
 *    |
 *    thread: each accept4 of the proxy comes here first; a worker's is left unanswered */
#include "hold.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "unit.h"

static int ours = -1, theirs = -1; /* the two ends that the descriptor goes through */
static int listener = -1, stop_pipe[2] = { -1, -1 };
static pthread_t thread;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool wanted;
static int held = -1; /* the worker's number */
static __u64 held_id;

/* --- in the process that becomes the proxy --- */

static int install_filter(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_accept4, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { .len = sizeof code / sizeof *code, .filter = code };

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -errno;
    long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                      &program);
    return fd < 0 ? -errno : (int)fd;
}

/* The descriptor, or an error, as one message. */
static void send_descriptor(int through, int fd)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = { .room = { 0 } };
    int error = fd < 0 ? -fd : 0;
    struct iovec body = { .iov_base = &error, .iov_len = sizeof error };
    struct msghdr message = { .msg_iov = &body, .msg_iovlen = 1 };

    if (fd >= 0) {
        message.msg_control = control.room;
        message.msg_controllen = sizeof control.room;
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    (void)sendmsg(through, &message, 0);
}

void hold_main(int argc, char **argv)
{
    if (argc < 4 || strcmp(argv[1], "--hold") != 0)
        return;
    int through = (int)strtol(argv[2], NULL, 10);
    int fd = install_filter();
    send_descriptor(through, fd);
    (void)close(through);
    if (fd >= 0)
        (void)close(fd);
    (void)execv(argv[3], argv + 3);
    _exit(127);
}

/* --- in the test --- */

bool hold_begin(const char **why)
{
    char self[256], wrap[320];
    int ends[2];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    *why = "ONESHOT_PROXY_WRAP is set already";
    if (getenv("ONESHOT_PROXY_WRAP") != NULL)
        return false;
    *why = "the path of this program is too long or has a space in it";
    if (n <= 0 || n == sizeof self - 1 || memchr(self, ' ', (size_t)n) != NULL)
        return false;
    self[n] = '\0';
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    ours = ends[0];
    theirs = ends[1];
    (void)snprintf(wrap, sizeof wrap, "%s --hold %d", self, theirs);
    return setenv("ONESHOT_PROXY_WRAP", wrap, 1) == 0;
}

/* The number of a worker's thread, -1: another thread. */
static int worker_number(__u32 tid)
{
    char path[64], name[32] = "";
    (void)snprintf(path, sizeof path, "/proc/%u/comm", tid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -1;
    char *line = fgets(name, sizeof name, file);
    (void)fclose(file);
    return line != NULL && strncmp(name, "worker-", 7) == 0 ? (int)strtol(name + 7, NULL, 10)
                                                            : -1;
}

static void let_go_on(__u64 id)
{
    struct seccomp_notif_resp answer = { .id = id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };
    (void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

static void judge_call(const struct seccomp_notif *call)
{
    int number = worker_number(call->pid);
    (void)pthread_mutex_lock(&lock);
    bool hold = wanted && number >= 0;
    if (hold) {
        wanted = false;
        held = number;
        held_id = call->id;
        (void)pthread_cond_broadcast(&changed);
    }
    (void)pthread_mutex_unlock(&lock);
    if (!hold)
        let_go_on(call->id);
}

static void *supervise(void *arg)
{
    struct pollfd fds[2] = { { .fd = listener, .events = POLLIN },
                             { .fd = stop_pipe[0], .events = POLLIN } };
    (void)arg;
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return NULL;
        if (fds[1].revents != 0 || (fds[0].revents & POLLHUP) != 0)
            return NULL;
        struct seccomp_notif call;
        memset(&call, 0, sizeof call);
        if (fds[0].revents != 0 && ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) == 0)
            judge_call(&call);
    }
}

static int receive_descriptor(void)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = { .room = { 0 } };
    int error = EPROTO, fd = -1;
    struct iovec body = { .iov_base = &error, .iov_len = sizeof error };
    struct msghdr message = { .msg_iov = &body,
                              .msg_iovlen = 1,
                              .msg_control = control.room,
                              .msg_controllen = sizeof control.room };
    if (recvmsg(ours, &message, MSG_CMSG_CLOEXEC) != sizeof error)
        return -EPROTO;
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    if (c == NULL || error != 0)
        return -error;
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
}

/* The proxy is on its way by now: the filter stood before its first instruction, and calls wait
 * until we look. */
bool hold_attach(const char **why)
{
    (void)unsetenv("ONESHOT_PROXY_WRAP");
    (void)close(theirs);
    listener = receive_descriptor();
    (void)close(ours);
    if (listener < 0) {
        *why = strerror(-listener);
        return false;
    }
    wanted = false;
    held = -1;
    assert_int_equal(pipe(stop_pipe), 0);
    assert_int_equal(pthread_create(&thread, NULL, supervise, NULL), 0);
    return true;
}

void hold_next(void)
{
    (void)pthread_mutex_lock(&lock);
    wanted = true;
    (void)pthread_mutex_unlock(&lock);
}

int hold_worker(int ms)
{
    struct timespec until = deadline_spec(now_ms() + ms);
    (void)pthread_mutex_lock(&lock);
    while (held < 0 &&
           pthread_cond_clockwait(&changed, &lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT)
        ;
    int number = held;
    (void)pthread_mutex_unlock(&lock);
    return number;
}

void hold_release(void)
{
    (void)pthread_mutex_lock(&lock);
    if (held >= 0)
        let_go_on(held_id);
    held = -1;
    (void)pthread_mutex_unlock(&lock);
}

void hold_end(void)
{
    hold_release();
    (void)close(stop_pipe[1]);
    (void)pthread_join(thread, NULL);
    (void)close(stop_pipe[0]);
    (void)close(listener);
    listener = -1;
}

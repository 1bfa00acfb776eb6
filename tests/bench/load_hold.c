/* The commands that are no plain load: connections held open, readers that do not read, and the
 * time from exec to the first answer. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

static void wait_readable(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    if (poll(&p, 1, 30000) <= 0)
        die("no answer within 30 s");
}

static void send_whole(int fd, const struct request *r)
{
    if (send(fd, r->head, r->head_len, MSG_NOSIGNAL) != (ssize_t)r->head_len)
        die("send: %s", strerror(errno));
}

/* One request on a connection, to its end. Returns the status, -1: the connection broke. */
static int ask(struct caller *c, const struct request *r)
{
    int done = 0;

    caller_begin(c, 0);
    send_whole(c->fd, r);
    while (done == 0) {
        wait_readable(c->fd);
        done = caller_receive(c);
    }
    return done < 0 ? -1 : c->status;
}

static void until_told(void)
{
    (void)puts("ready");
    (void)fflush(stdout);
    while (getchar() != EOF)
        ;
}

int load_hold(const struct options *o)
{
    struct caller c = { .fd = -1 };

    for (int i = 0; i < o->connections; i++) {
        c.fd = caller_connect(o->port, 0);
        if (c.fd < 0)
            die("connection %d: %s", i, strerror(errno));
        if (o->used && ask(&c, &o->request) != 200)
            die("connection %d: no good answer", i);
    }
    until_told();
    return 0;
}

int load_slow(const struct options *o)
{
    int *fds = calloc((size_t)o->connections, sizeof *fds);

    if (fds == NULL)
        die("no memory");
    for (int i = 0; i < o->connections; i++) {
        fds[i] = caller_connect(o->port, 4096);
        if (fds[i] < 0)
            die("connection %d: %s", i, strerror(errno));
        send_whole(fds[i], &o->request);
    }
    for (int i = 0; i < o->connections; i++) {
        char some[1024];

        wait_readable(fds[i]);
        ssize_t n = recv(fds[i], some, sizeof some, 0);
        if (n < 12 || memcmp(some + 9, "200", 3) != 0)
            die("connection %d: no good answer: %.*s", i, n > 0 ? (int)n : 0, some);
    }
    until_told();
    free(fds);
    return 0;
}

int load_first(int port, const struct request *r, char **command)
{
    const struct timespec pause = { .tv_nsec = 200000 };
    struct caller c = { .fd = -1 };
    int64_t begin_ns = now_ns();
    int status = -1;
    pid_t pid = fork();

    if (pid < 0)
        die("fork: %s", strerror(errno));
    if (pid == 0) {
        int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

        (void)dup2(nowhere, STDOUT_FILENO);
        (void)dup2(nowhere, STDERR_FILENO);
        (void)execvp(command[0], command);
        _exit(127);
    }
    while (status != 200) {
        if (now_ns() - begin_ns > 20000000000 || waitpid(pid, NULL, WNOHANG) == pid)
            die("no answer from %s", command[0]);
        if (c.fd >= 0)
            (void)close(c.fd);
        while ((c.fd = caller_connect(port, 0)) < 0 && now_ns() - begin_ns < 20000000000)
            (void)nanosleep(&pause, NULL);
        status = ask(&c, r);
    }
    (void)printf("first_ms=%.2f\npid=%d\n", (double)(now_ns() - begin_ns) / 1e6, (int)pid);
    return 0;
}

/* One thread for each lookup. Object and thread are shared: whoever lets go last frees it. */
#include "net/lookup.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "base/clock.h"

struct lookup {
    _Atomic int users;
    _Atomic bool done; /* rc and found are valid */
    int done_fd;       /* becomes readable when it is done */
    int rc;
    struct addrinfo *found;
    char host[256], port[12];
};

static void leave(struct lookup *l)
{
    if (atomic_fetch_sub(&l->users, 1) > 1)
        return;
    if (l->found != NULL)
        freeaddrinfo(l->found);
    if (l->done_fd >= 0)
        (void)close(l->done_fd);
    free(l);
}

static void *look_up(void *arg)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct lookup *l = arg;

    l->rc = getaddrinfo(l->host, l->port, &hints, &l->found);
    if (l->rc != 0)
        l->found = NULL;
    atomic_store(&l->done, true);
    (void)eventfd_write(l->done_fd, 1);
    leave(l);
    return NULL;
}

/* The thread blocks all signals. */
static int start_thread(struct lookup *l)
{
    sigset_t all, before;
    pthread_t thread;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&thread, NULL, look_up, l);

    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err == 0)
        (void)pthread_detach(thread);
    return err;
}

struct lookup *lookup_start(const char *host, int port)
{
    struct lookup *l = base_alloc(sizeof *l);

    atomic_init(&l->users, 2);
    (void)snprintf(l->host, sizeof l->host, "%s", host);
    (void)snprintf(l->port, sizeof l->port, "%d", port);
    l->done_fd = eventfd(0, EFD_CLOEXEC);
    if (l->done_fd >= 0 && start_thread(l) == 0)
        return l;
    atomic_init(&l->users, 1);
    leave(l);
    return NULL;
}

int lookup_wait(struct lookup *l, int64_t deadline_ms, int wake_fd,
                const struct addrinfo **found)
{
    struct pollfd p[2] = { { .fd = l->done_fd, .events = POLLIN },
                           { .fd = wake_fd, .events = POLLIN } };
    int n;

    *found = NULL;
    do
        n = poll(p, 2, (int)base_max(0, base_min(deadline_ms - clock_ms(), INT32_MAX)));
    while (n < 0 && errno == EINTR);
    if (!atomic_load(&l->done))
        return -ETIMEDOUT;
    *found = l->found;
    return l->rc;
}

void lookup_free(struct lookup *l)
{
    if (l != NULL)
        leave(l);
}

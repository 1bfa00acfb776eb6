/* One poll loop over non-blocking connections. No assertion of cmocka: it runs in its own
 * thread. */
#include "hammer.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LAST_ANSWERS_MS 60000

struct nail {
    int fd; /* -1: given up */
    bool waiting;
    struct bytes in;
};

struct hammer {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t n;
    struct nail *nails;
    struct pollfd *polls;
    const char *request;
    atomic_bool stop;
    size_t answers; /* under the lock */
    struct hammer_result result;
};

static void fail_nail(struct hammer *h, struct nail *nail, const char *what)
{
    if (h->result.failures++ == 0)
        bytes_addf(&h->result.first, "%s: %s", what, bytes_text(&nail->in));
    if (nail->fd >= 0)
        (void)close(nail->fd);
    nail->fd = -1;
    nail->waiting = false;
}

static int connect_to(int port)
{
    struct sockaddr_in addr = { .sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0) {
        (void)close(fd);
        return -1;
    }
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void strike(struct hammer *h, struct nail *nail)
{
    size_t len = strlen(h->request);
    if (send(nail->fd, h->request, len, MSG_NOSIGNAL) != (ssize_t)len)
        fail_nail(h, nail, "not sent");
    else
        nail->waiting = true;
}

/* Takes an answer when it is whole. */
static void take(struct hammer *h, struct nail *nail)
{
    size_t head = head_length(bytes_text(&nail->in), nail->in.len);
    if (head == 0)
        return;
    int64_t length = head_content_length(nail->in.data);
    if (length < 0) {
        fail_nail(h, nail, "no Content-Length");
        return;
    }
    if (nail->in.len < head + (size_t)length)
        return;
    if (strncmp(nail->in.data, "HTTP/1.1 200", 12) != 0 && h->result.failures++ == 0)
        bytes_add(&h->result.first, nail->in.data, nail->in.len);
    bytes_drop(&nail->in, head + (size_t)length);
    nail->waiting = false;
    (void)pthread_mutex_lock(&h->lock);
    h->answers++;
    (void)pthread_cond_broadcast(&h->changed);
    (void)pthread_mutex_unlock(&h->lock);
}

static void read_nail(struct hammer *h, struct nail *nail)
{
    char piece[8192];
    ssize_t n = recv(nail->fd, piece, sizeof piece, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        fail_nail(h, nail, n == 0 ? "closed" : "reset");
        return;
    }
    bytes_add(&nail->in, piece, (size_t)n);
    take(h, nail);
}

static void *run(void *arg)
{
    struct hammer *h = arg;
    int64_t deadline_ms = 0;
    for (;;) {
        bool stop = atomic_load(&h->stop), due = false;
        if (stop && deadline_ms == 0)
            deadline_ms = now_ms() + LAST_ANSWERS_MS;
        for (size_t i = 0; i < h->n; i++) {
            struct nail *nail = &h->nails[i];
            if (nail->fd >= 0 && !nail->waiting && !stop)
                strike(h, nail);
            due |= nail->waiting;
            h->polls[i] =
                (struct pollfd){ .fd = nail->waiting ? nail->fd : -1, .events = POLLIN };
        }
        if (!due || (stop && now_ms() >= deadline_ms))
            break;
        (void)poll(h->polls, h->n, 100);
        for (size_t i = 0; i < h->n; i++)
            if (h->polls[i].fd >= 0 && h->polls[i].revents != 0)
                read_nail(h, &h->nails[i]);
    }
    for (size_t i = 0; i < h->n; i++)
        if (h->nails[i].waiting)
            fail_nail(h, &h->nails[i], "no answer");
    return NULL;
}

struct hammer *hammer_start(int port, size_t connections, const char *request)
{
    struct hammer *h = calloc(1, sizeof *h);
    if (h == NULL)
        abort();
    h->n = connections;
    h->request = request;
    h->nails = calloc(connections, sizeof *h->nails);
    h->polls = calloc(connections, sizeof *h->polls);
    (void)pthread_mutex_init(&h->lock, NULL);
    (void)pthread_cond_init(&h->changed, NULL);
    for (size_t i = 0; i < connections; i++) {
        h->nails[i].fd = connect_to(port);
        if (h->nails[i].fd < 0)
            fail_nail(h, &h->nails[i], "not connected");
    }
    if (pthread_create(&h->thread, NULL, run, h) != 0)
        abort();
    return h;
}

bool hammer_wait(struct hammer *h, size_t n, int ms)
{
    struct timespec until = deadline_spec(now_ms() + ms);
    (void)pthread_mutex_lock(&h->lock);
    int error = 0;
    while (h->answers < n && error == 0)
        error = pthread_cond_clockwait(&h->changed, &h->lock, CLOCK_MONOTONIC, &until);
    bool enough = h->answers >= n;
    (void)pthread_mutex_unlock(&h->lock);
    return enough;
}

size_t hammer_answers(struct hammer *h)
{
    (void)pthread_mutex_lock(&h->lock);
    size_t n = h->answers;
    (void)pthread_mutex_unlock(&h->lock);
    return n;
}

struct hammer_result hammer_stop(struct hammer *h)
{
    atomic_store(&h->stop, true);
    (void)pthread_join(h->thread, NULL);
    struct hammer_result result = h->result;
    result.answers = h->answers;
    for (size_t i = 0; i < h->n; i++) {
        if (h->nails[i].fd >= 0)
            (void)close(h->nails[i].fd);
        bytes_free(&h->nails[i].in);
    }
    free(h->nails);
    free(h->polls);
    (void)pthread_mutex_destroy(&h->lock);
    (void)pthread_cond_destroy(&h->changed);
    free(h);
    return result;
}

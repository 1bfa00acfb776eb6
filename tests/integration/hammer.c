/* One poll loop over non-blocking connections. No assertion of cmocka: it runs in its own
 * thread. */
#include "hammer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"

#define LAST_ANSWERS_MS 60000

struct hammer_conn {
    int fd; /* -1: given up */
    bool waiting;
    struct bytes in;
};

struct hammer {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t n;
    struct hammer_conn *conns;
    struct pollfd *polls;
    const char *request;
    atomic_bool stop;
    size_t answers; /* under the lock */
    struct hammer_result result;
};

static void fail_conn(struct hammer *h, struct hammer_conn *conn, const char *what)
{
    if (h->result.failures++ == 0)
        bytes_addf(&h->result.first, "%s: %s", what, bytes_text(&conn->in));
    if (conn->fd >= 0)
        (void)close(conn->fd);
    conn->fd = -1;
    conn->waiting = false;
}

static void send_request(struct hammer *h, struct hammer_conn *conn)
{
    size_t len = strlen(h->request);
    if (send(conn->fd, h->request, len, MSG_NOSIGNAL) != (ssize_t)len)
        fail_conn(h, conn, "not sent");
    else
        conn->waiting = true;
}

/* Removes an answer from the input, if it is complete. */
static void take(struct hammer *h, struct hammer_conn *conn)
{
    size_t head = head_length(bytes_text(&conn->in), conn->in.len);
    if (head == 0)
        return;
    int64_t length = head_content_length(conn->in.data);
    if (length < 0) {
        fail_conn(h, conn, "no Content-Length");
        return;
    }
    if (conn->in.len < head + (size_t)length)
        return;
    if (strncmp(conn->in.data, "HTTP/1.1 200", 12) != 0 && h->result.failures++ == 0)
        bytes_add(&h->result.first, conn->in.data, conn->in.len);
    bytes_drop(&conn->in, head + (size_t)length);
    conn->waiting = false;
    (void)pthread_mutex_lock(&h->lock);
    h->answers++;
    (void)pthread_cond_broadcast(&h->changed);
    (void)pthread_mutex_unlock(&h->lock);
}

static void read_nail(struct hammer *h, struct hammer_conn *conn)
{
    char piece[8192];
    ssize_t n = recv(conn->fd, piece, sizeof piece, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        fail_conn(h, conn, n == 0 ? "closed" : "reset");
        return;
    }
    bytes_add(&conn->in, piece, (size_t)n);
    take(h, conn);
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
            struct hammer_conn *conn = &h->conns[i];
            if (conn->fd >= 0 && !conn->waiting && !stop)
                send_request(h, conn);
            due |= conn->waiting;
            h->polls[i] =
                (struct pollfd){ .fd = conn->waiting ? conn->fd : -1, .events = POLLIN };
        }
        if (!due || (stop && now_ms() >= deadline_ms))
            break;
        (void)poll(h->polls, h->n, 100);
        for (size_t i = 0; i < h->n; i++)
            if (h->polls[i].fd >= 0 && h->polls[i].revents != 0)
                read_nail(h, &h->conns[i]);
    }
    for (size_t i = 0; i < h->n; i++)
        if (h->conns[i].waiting)
            fail_conn(h, &h->conns[i], "no answer");
    return NULL;
}

struct hammer *hammer_start(int port, size_t connections, const char *request)
{
    struct hammer *h = calloc(1, sizeof *h);
    if (h == NULL)
        abort();
    h->n = connections;
    h->request = request;
    h->conns = calloc(connections, sizeof *h->conns);
    h->polls = calloc(connections, sizeof *h->polls);
    (void)pthread_mutex_init(&h->lock, NULL);
    (void)pthread_cond_init(&h->changed, NULL);
    for (size_t i = 0; i < connections; i++) {
        h->conns[i].fd = client_connect(port);
        (void)fcntl(h->conns[i].fd, F_SETFL, O_NONBLOCK);
        if (h->conns[i].fd < 0)
            fail_conn(h, &h->conns[i], "not connected");
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
        if (h->conns[i].fd >= 0)
            (void)close(h->conns[i].fd);
        bytes_free(&h->conns[i].in);
    }
    free(h->conns);
    free(h->polls);
    (void)pthread_mutex_destroy(&h->lock);
    (void)pthread_cond_destroy(&h->changed);
    free(h);
    return result;
}

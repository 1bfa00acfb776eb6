/* The socket pair from which libmicrohttpd reads the rest of a body, see body_feed.h. */
#include "downstream/body_feed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/secret.h"

static void on_event(struct loop_io *w, uint32_t events)
{
    struct body_feed *f = CONTAINER_OF(w, struct body_feed, pair);

    (void)events;
    f->on_room(f);
}

/* Fills the pair so that libmicrohttpd cannot write to it. */
static void fill_up(int fd)
{
    const int least = 1;
    const char junk[64] = { 0 };

    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
    while (send(fd, junk, sizeof junk, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        ;
}

struct body_feed *body_feed_new(struct loop *l, int fd)
{
    int pair[2];
    int connection = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    if (connection < 0)
        return NULL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        (void)close(connection);
        return NULL;
    }
    struct body_feed *f = base_alloc(sizeof *f);

    fill_up(pair[1]);
    *f = (struct body_feed){ .loop = l,
                             .connection = connection,
                             .pair = { .fd = pair[0], .on_event = on_event } };
    if (loop_io_start(l, &f->pair, EPOLLOUT | EPOLLET) != 0 ||
        dup3(pair[1], fd, O_CLOEXEC) < 0) {
        (void)close(pair[1]);
        body_feed_free(f);
        return NULL;
    }
    (void)close(pair[1]);
    return f;
}

/* Whether everything was written. */
static bool forward(struct body_feed *f)
{
    while (f->len > f->start) {
        ssize_t n = send(f->pair.fd, f->bytes + f->start, f->len - f->start,
                         MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        f->start += (size_t)n;
    }
    return true;
}

void body_feed_move(struct body_feed *f)
{
    while (forward(f) && !f->ended) {
        ssize_t n = recv(f->connection, f->bytes, sizeof f->bytes, MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        f->ended = n <= 0;
        f->start = 0;
        f->len = n > 0 ? (size_t)n : 0;
    }
}

bool body_feed_is_read(const struct body_feed *f)
{
    int unread = 0;

    return f->ended && f->len == f->start &&
           (ioctl(f->pair.fd, TIOCOUTQ, &unread) != 0 || unread == 0);
}

void body_feed_close_pair(struct body_feed *f)
{
    if (f->pair.fd < 0)
        return;
    loop_io_stop(f->loop, &f->pair);
    (void)close(f->pair.fd);
    f->pair.fd = -1;
}

void body_feed_free(struct body_feed *f)
{
    if (f == NULL)
        return;
    body_feed_close_pair(f);
    (void)close(f->connection);
    secret_wipe(f->bytes, sizeof f->bytes); /* the caller may have sent its secret */
    free(f);
}

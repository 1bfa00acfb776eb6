/* A caller: sends one request at a time on a connection it keeps, reads the answer by its
 * Content-Length. Everything measured here sends one. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

static char zeros[65536], dropped[IN_BYTES];

void die(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)fputs("bench-load: ", stderr);
    (void)vfprintf(stderr, fmt, args);
    (void)fputs("\n", stderr);
    va_end(args);
    exit(1);
}

int64_t now_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int caller_connect(int port, int rcvbuf)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("socket: %s", strerror(errno));
    if (rcvbuf > 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        int err = errno;
        (void)close(fd);
        errno = err;
        return -1;
    }
    return fd;
}

void caller_begin(struct caller *c, int64_t due_ns)
{
    c->state = CALLER_SENDING;
    c->due_ns = due_ns;
    c->sent = 0;
    c->body_left = -1;
    c->head_len = 0;
    c->status = 0;
}

bool caller_send(struct caller *c, const struct request *r)
{
    int64_t total = (int64_t)r->head_len + r->body_bytes;

    while (c->sent < total) {
        int64_t head_left = (int64_t)r->head_len - c->sent;
        int64_t body_left = total - c->sent - (head_left > 0 ? head_left : 0);
        size_t room =
            (size_t)(body_left < (int64_t)sizeof zeros ? body_left : (int64_t)sizeof zeros);
        struct iovec parts[2] = {
            { (void *)(uintptr_t)(r->head + (head_left > 0 ? c->sent : 0)),
              head_left > 0 ? (size_t)head_left : 0 },
            { zeros, room },
        };
        struct msghdr m = { .msg_iov = head_left > 0 ? parts : parts + 1,
                            .msg_iovlen = head_left > 0 ? 2 : 1 };
        ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        c->sent += n;
    }
    c->state = CALLER_READING;
    return true;
}

/* Of the head that is whole: the status and the length of the body. */
static bool read_head(struct caller *c)
{
    long long length = -1;

    if (sscanf(c->head, "HTTP/1.%*d %d", &c->status) != 1)
        return false;
    for (char *line = strstr(c->head, "\r\n"); line != NULL; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, "content-length:", 15) == 0)
            length = strtoll(line + 17, NULL, 10);
    c->body_left = length;
    return length >= 0;
}

static int take_head(struct caller *c)
{
    ssize_t n =
        recv(c->fd, c->head + c->head_len, sizeof c->head - 1 - c->head_len, MSG_DONTWAIT);

    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    c->head_len += (size_t)n;
    c->head[c->head_len] = '\0';

    char *end = strstr(c->head, "\r\n\r\n");
    if (end == NULL)
        return c->head_len < sizeof c->head - 1 ? 0 : -1;
    end[2] = '\0';
    if (!read_head(c))
        return -1;
    c->body_left -= (int64_t)(c->head_len - (size_t)(end + 4 - c->head));
    if (c->body_left < 0)
        return -1; /* more than was asked for */
    return c->body_left == 0;
}

int caller_receive(struct caller *c)
{
    if (c->body_left < 0) {
        int done = take_head(c);
        if (done != 0 || c->body_left < 0)
            return done;
    }
    for (;;) {
        size_t want = c->body_left < IN_BYTES ? (size_t)c->body_left : IN_BYTES;
        ssize_t n = recv(c->fd, dropped, want, MSG_DONTWAIT);

        if (n <= 0)
            return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
        c->body_left -= n;
        if (c->body_left == 0)
            return 1;
    }
}

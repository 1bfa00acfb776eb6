/* Tries to connect to each address in turn. */
#include "cli/doctor_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"

void doctor_address(const struct addrinfo *a, char *out, size_t size)
{
    if (getnameinfo(a->ai_addr, a->ai_addrlen, out, (socklen_t)size, NULL, 0, NI_NUMERICHOST) !=
        0)
        (void)snprintf(out, size, "?");
}

/* Returns 0 or -errno. */
static int connect_one(const struct addrinfo *a, int64_t deadline_ms)
{
    auto_close int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int err = 0;
    socklen_t len = sizeof err;

    if (fd < 0)
        return -errno;
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return -errno;
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    int n;

    do
        n = poll(&p, 1, (int)base_max(0, deadline_ms - clock_ms()));
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return -ETIMEDOUT;
    if (n < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
        return -errno;
    return -err;
}

int doctor_connect(const struct addrinfo *found, int64_t deadline_ms, struct buf *text)
{
    int err = -EHOSTUNREACH;
    size_t left = 0;

    for (const struct addrinfo *a = found; a != NULL; a = a->ai_next)
        left++;
    for (const struct addrinfo *a = found; a != NULL && err != 0; a = a->ai_next, left--) {
        char address[INET6_ADDRSTRLEN + 20];
        int64_t begin_ms = clock_ms();
        /* each gets its share, so that a dead address does not use up all the time */
        int64_t share_ms = base_max(0, deadline_ms - begin_ms) / (int64_t)left;

        doctor_address(a, address, sizeof address);
        err = connect_one(a, begin_ms + share_ms);
        const char *separator = buf_unread(text) > 0 ? "; " : "";
        if (err == 0)
            (void)buf_addf(text, "%s%s answers (%lld ms)", separator, address,
                           (long long)(clock_ms() - begin_ms));
        else
            (void)buf_addf(text, "%s%s: %s", separator, address, strerrordesc_np(-err));
    }
    return err;
}

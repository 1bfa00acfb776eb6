/* first_send.so: preloaded into the proxy, lets the first write of each upstream request
 * fail; the second one succeeds. This looks like a full socket buffer, or a connection that
 * was closed. FIRST_SEND: "wait" (EAGAIN) or "fail" (EPIPE); only for requests for
 * /v0/first... A request for /unread cannot be read at all (ENOSYS, as a tracer may leave it
 * behind). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

ssize_t send(int fd, const void *buf, size_t n, int flags)
{
    static unsigned times;
    const char *how = getenv("FIRST_SEND");

    if (how != NULL && memmem(buf, n < 64 ? n : 64, " /v0/first", 10) != NULL &&
        __atomic_fetch_add(&times, 1, __ATOMIC_RELAXED) % 2 == 0) {
        int size;
        socklen_t len = sizeof size;

        /* As if the peer had taken the content of the buffer: wakes whoever waits for room. */
        if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len) == 0) {
            size /= 2; /* the kernel doubles it */
            (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        }
        errno = strcmp(how, "fail") == 0 ? EPIPE : EAGAIN;
        return -1;
    }
    return syscall(SYS_sendto, fd, buf, n, flags, NULL, 0);
}

ssize_t recv(int fd, void *buf, size_t n, int flags)
{
    char head[12];

    if ((flags & MSG_PEEK) == 0 &&
        syscall(SYS_recvfrom, fd, head, sizeof head, MSG_PEEK | MSG_DONTWAIT, NULL, NULL) ==
            sizeof head &&
        memcmp(head, "GET /unread ", sizeof head) == 0) {
        errno = ENOSYS;
        return -1;
    }
    return syscall(SYS_recvfrom, fd, buf, n, flags, NULL, NULL);
}

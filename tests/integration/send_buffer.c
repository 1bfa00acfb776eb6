/* send_buffer.so: preloaded into the program, gives TCP connections that it accepts a send
 * buffer of SEND_BUFFER bytes, and those that it makes one of CONNECT_BUFFER bytes. Left to the
 * kernel, the buffer would grow with a connection, to megabytes. */
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void limit(int fd, const char *name)
{
    const char *text = getenv(name);
    int bytes = text != NULL ? (int)strtol(text, NULL, 10) : 0;

    if (bytes > 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int listen(int fd, int backlog)
{
    limit(fd, "SEND_BUFFER");
    return (int)syscall(SYS_listen, fd, backlog);
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    limit(fd, "CONNECT_BUFFER");
    return (int)syscall(SYS_connect, fd, to, len);
}

/* send_buffer.so: preloaded into the program, gives TCP connections that it accepts a send
 * buffer of SEND_BUFFER bytes. Left to the kernel, the buffer would grow with a connection,
 * to megabytes. */
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int listen(int fd, int backlog)
{
    const char *text = getenv("SEND_BUFFER");
    int bytes = text != NULL ? (int)strtol(text, NULL, 10) : 0;

    if (bytes > 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    return (int)syscall(SYS_listen, fd, backlog);
}

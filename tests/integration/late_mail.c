/* late_mail.so: preloaded into the proxy, stops the control thread after the first mail that
 * it sends to a worker while the file named by LATE_MAIL exists. The file is then renamed to
 * NAME.done, to tell the test; when the test removes that, the thread goes on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Longer than any test waits. */
#define STOPPED_MS 60000

ssize_t write(int fd, const void *buf, size_t n)
{
    const char *stop = getenv("LATE_MAIL");
    ssize_t written = syscall(SYS_write, fd, buf, n);
    char stopped[128];

    /* Mail is sent with a write of the eight bytes of an eventfd's counter. */
    if (n != 8 || stop == NULL || syscall(SYS_gettid) != getpid() || access(stop, F_OK) != 0)
        return written;
    (void)snprintf(stopped, sizeof stopped, "%s.done", stop);
    if (rename(stop, stopped) != 0)
        return written;
    for (int ms = 0; ms < STOPPED_MS && access(stopped, F_OK) == 0; ms++)
        (void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    return written;
}

/* Checks whether the freeze file exists, creates it and removes it. If that cannot be found
 * out, for example because its directory is missing, the file counts as existing. */
#include "rights/freeze_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The first line, without characters that cannot be printed. */
static void read_reason(const char *file, char out[FREEZE_REASON_MAX + 1])
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ssize_t n = fd < 0 ? -1 : read(fd, out, FREEZE_REASON_MAX);
    size_t len = 0;

    if (n < 0)
        n = snprintf(out, FREEZE_REASON_MAX, "the file cannot be read");
    for (; len < (size_t)n && out[len] != '\n'; len++)
        if (out[len] < ' ' || out[len] > '~')
            out[len] = '?';
    while (len > 0 && out[len - 1] == ' ')
        len--;
    out[len] = '\0';
    if (len == 0)
        (void)snprintf(out, FREEZE_REASON_MAX, "no reason is given");
    if (fd >= 0)
        (void)close(fd);
}

/* Whether the directory of the file exists. */
static bool has_directory(const char *file)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(file, '/');
    size_t n = slash == NULL ? 0 : (size_t)(slash - file);
    struct stat s;

    if (n >= sizeof directory)
        return false;
    memcpy(directory, file, n);
    directory[n] = '\0';
    return stat(n == 0 ? (slash == NULL ? "." : "/") : directory, &s) == 0 &&
           S_ISDIR(s.st_mode);
}

enum freeze_state freeze_file_look(const char *file, char why[FREEZE_REASON_MAX + 1])
{
    struct stat s;
    int err = lstat(file, &s) == 0 ? 0 : errno;

    if (err == 0) {
        read_reason(file, why);
        return FREEZE_ON;
    }
    if (err == ENOENT && has_directory(file))
        return FREEZE_OFF;
    if (err == ENOENT)
        (void)snprintf(why, FREEZE_REASON_MAX, "the directory of freeze.file is missing");
    else
        (void)snprintf(why, FREEZE_REASON_MAX, "freeze.file cannot be looked at: %s",
                       strerrordesc_np(err));
    return FREEZE_IN_DOUBT;
}

int freeze_file_create(const char *file, const char *reason)
{
    char temporary[PATH_MAX];
    int n = snprintf(temporary, sizeof temporary, "%s.%ld", file, (long)getpid());

    if (n < 0 || (size_t)n >= sizeof temporary)
        return -ENAMETOOLONG;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    if (fd < 0)
        return -errno;
    /* Whatever the umask is, the proxy's user has to read the reason. That it lies there is what
     * counts: some file systems have no modes. */
    (void)fchmod(fd, 0644);
    int err = dprintf(fd, "%s\n", reason) < 0 ? -errno : 0;

    if (close(fd) != 0 && err == 0)
        err = -errno;
    if (err == 0 && rename(temporary, file) != 0)
        err = -errno;
    if (err != 0)
        (void)unlink(temporary);
    return err;
}

int freeze_file_remove(const char *file)
{
    return unlink(file) == 0 ? 0 : -errno;
}

/* Takes over the sockets that the service manager has passed.
 *
 *     LISTEN_PID is this process? -> descriptors 3, 4, ... -> by name: listen, admin
 *
 * A socket that was passed but cannot be used is an error: callers would wait in its queue
 * for ever. */
#include "server/sd_listen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"

/* SD_LISTEN_FDS_START */
#define FIRST_FD 3

/* A copy of a variable's value, or NULL. The variable is removed, since it is not meant for
 * child processes. */
static char *take(const char *name)
{
    const char *value = getenv(name); /* NOLINT(concurrency-mt-unsafe): no threads yet */
    char *copy = value == NULL ? NULL : strdup(value);

    if (value != NULL && copy == NULL)
        abort();
    (void)unsetenv(name); /* NOLINT(concurrency-mt-unsafe) */
    return copy;
}

static struct listeners *set_of(struct sd_listen *s, const char *name)
{
    if (strcmp(name, "listen") == 0)
        return &s->listen;
    return strcmp(name, "admin") == 0 ? &s->admin : NULL;
}

static int adopt(struct sd_listen *s, int fd, const char *name, struct buf *error)
{
    struct listeners *set = set_of(s, name);
    struct buf why;

    if (set == NULL) {
        (void)buf_addf(
            error,
            "LISTEN_FDS: descriptor %d has the name \"%.64s\"; the socket unit needs "
            "FileDescriptorName=listen or admin",
            fd, name);
        return -EINVAL;
    }
    buf_init(&why, 512);
    int err = listeners_adopt(set, fd, &why);

    if (err != 0)
        (void)buf_addf(error, "LISTEN_FDS: descriptor %d (%s) cannot be used: %s", fd, name,
                       buf_text(&why));
    buf_done(&why);
    return err;
}

/* Changes `names`. */
static int adopt_all(struct sd_listen *s, int64_t count, char *names, struct buf *error)
{
    int err = 0;

    for (int i = 0; i < count && err == 0; i++) {
        size_t len = names == NULL ? 0 : strcspn(names, ":");
        bool more = names != NULL && names[len] == ':';

        if (names != NULL)
            names[len] = '\0';
        err = adopt(s, FIRST_FD + i, names == NULL ? "" : names, error);
        names = more ? names + len + 1 : NULL;
    }
    if (err == 0 && names != NULL && count > 0) {
        (void)buf_addf(error, "LISTEN_FDNAMES has more names than LISTEN_FDS has descriptors");
        err = -EINVAL;
    }
    return err;
}

int sd_listen_take(struct sd_listen *s, struct buf *error)
{
    auto_free char *pid = take("LISTEN_PID"), *fds = take("LISTEN_FDS");
    auto_free char *names = take("LISTEN_FDNAMES");

    free(take("LISTEN_PIDFDID")); /* set by systemd 257; not needed */
    *s = (struct sd_listen){ .listen.count = 0 };
    if (pid == NULL || fds == NULL || ascii_number(pid, strlen(pid)) != getpid())
        return 0;
    int64_t count = ascii_number(fds, strlen(fds));

    if (count < 0 || count > INT32_MAX - FIRST_FD) {
        (void)buf_addf(error, "LISTEN_FDS is not a number of descriptors: %.64s", fds);
        return -EINVAL;
    }
    return adopt_all(s, count, names, error);
}

void sd_listen_done(struct sd_listen *s)
{
    listeners_done(&s->listen);
    listeners_done(&s->admin);
}

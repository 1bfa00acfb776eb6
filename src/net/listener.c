/* Binding and listening. */
#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BACKLOG 1024

static int failed(struct listener *l, struct buf *error, const char *address, const char *what)
{
    int err = errno != 0 ? errno : EINVAL;

    (void)buf_addf(error, "cannot listen on %s: %s: %s\n", address, what, strerrordesc_np(err));
    listener_close(l);
    return -err;
}

/* --- unix sockets -------------------------------------------------------------------- */

/* Finding a dead socket, removing it and binding anew must not be done by two at a time: the
 * second would remove what the first has just made. They take turns by a lock on the directory,
 * which leaves no file behind. Returns the lock; -1: there is none (the directory cannot be
 * read; such a race is then possible); -2 with errno: somebody keeps it. */
static int lock_directory(const char *path)
{
    enum { TRIES = 50, PAUSE_MS = 20 };
    auto_free char *dir = strdup(path);
    char *slash = dir == NULL ? NULL : strrchr(dir, '/');

    if (slash == NULL)
        return -1;
    slash[slash == dir] = '\0';
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0; i++) {
        if (errno != EWOULDBLOCK && errno != EINTR) { /* no locks on this file system */
            (void)close(fd);
            return -1;
        }
        if (i == TRIES) {
            (void)close(fd);
            errno = EWOULDBLOCK;
            return -2;
        }
        (void)poll(NULL, 0, PAUSE_MS);
    }
    return fd;
}

/* Whether nobody listens on the socket file. A full queue, a socket of another type and one
 * that we may not connect to all mean that somebody may. */
static bool is_dead(const struct sockaddr_un *addr)
{
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd >= 0 && connect(fd, (const struct sockaddr *)addr, sizeof *addr) != 0 &&
           errno == ECONNREFUSED;
}

/* Makes room at the path: 0, or -1 with errno and what was wrong. */
static int make_room(const struct sockaddr_un *addr, const char **what)
{
    struct stat st;

    if (lstat(addr->sun_path, &st) != 0) {
        *what = "path";
        return errno == ENOENT ? 0 : -1;
    }
    if (!S_ISSOCK(st.st_mode)) {
        *what = "there is a file that is not a socket; it is left alone";
        errno = EEXIST;
        return -1;
    }
    if (!is_dead(addr)) {
        *what = "the socket that is there may be in use";
        errno = EADDRINUSE;
        return -1;
    }
    *what = "removing the dead socket";
    return unlink(addr->sun_path);
}

/* Binds with the mode that is wanted, without a moment in which it is another: the file gets
 * the descriptor's mode less the umask. */
static int bind_unix(struct listener *l, const struct sockaddr_un *addr, mode_t mode,
                     const char **what)
{
    struct stat st;

    *what = "socket";
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0 || fchmod(l->fd, mode) != 0)
        return -1;
    *what = "bind";
    mode_t before = umask(0777 & ~mode);
    int bound = bind(l->fd, (const struct sockaddr *)addr, sizeof *addr);
    (void)umask(before);
    if (bound != 0 || lstat(addr->sun_path, &st) != 0)
        return -1;
    l->path = strdup(addr->sun_path);
    l->device = st.st_dev;
    l->inode = st.st_ino;
    if ((st.st_mode & 0777) != mode) { /* an ACL of the directory */
        *what = "the directory's access list does not allow listen.socket_mode";
        errno = EPERM;
        return -1;
    }
    *what = "listen";
    return listen(l->fd, BACKLOG);
}

static int open_unix(struct listener *l, const struct listener_options *o, struct buf *error)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    const char *path = o->address + strlen("unix:"), *what = "path";

    if (strlen(path) >= sizeof addr.sun_path || path[0] != '/') {
        errno = path[0] != '/' ? EINVAL : ENAMETOOLONG;
        return failed(l, error, o->address, what);
    }
    memcpy(addr.sun_path, path, strlen(path));
    int lock = lock_directory(path);
    if (lock == -2)
        return failed(l, error, o->address, "another program is at this directory");
    int rc = make_room(&addr, &what);
    if (rc == 0)
        rc = bind_unix(l, &addr, (mode_t)o->socket_mode, &what);
    int err = errno;
    if (lock >= 0)
        (void)close(lock);
    errno = err;
    if (rc != 0)
        return failed(l, error, o->address, what);
    l->port = -1;
    l->name = strdup(o->address);
    return 0;
}

/* --- TCP ----------------------------------------------------------------------------- */

/* "host:port" and "[v6]:port" into two strings. */
static int split(const char *address, char *host, size_t host_size, char *port,
                 size_t port_size)
{
    const char *colon = strrchr(address, ':');
    const char *begin = address;
    size_t len;

    if (colon == NULL)
        return -EINVAL;
    len = (size_t)(colon - address);
    if (len >= 2 && begin[0] == '[' && begin[len - 1] == ']') {
        begin++;
        len -= 2;
    }
    if (len == 0 || len >= host_size || strlen(colon + 1) >= port_size)
        return -EINVAL;
    memcpy(host, begin, len);
    host[len] = '\0';
    memcpy(port, colon + 1, strlen(colon));
    return 0;
}

static int describe(struct listener *l)
{
    struct sockaddr_storage addr = { .ss_family = AF_UNSPEC };
    socklen_t len = sizeof addr;
    char host[INET6_ADDRSTRLEN + 20], port[12];

    if (getsockname(l->fd, (struct sockaddr *)&addr, &len) != 0)
        return -errno;
    if (getnameinfo((struct sockaddr *)&addr, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return -EINVAL;
    l->port = (int)strtol(port, NULL, 10);
    if (asprintf(&l->name, addr.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port) < 0)
        return -ENOMEM;
    return 0;
}

static int open_inet(struct listener *l, const struct listener_options *o, struct buf *error)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    char host[256], port[12];
    const int on = 1;

    errno = EINVAL;
    if (split(o->address, host, sizeof host, port, sizeof port) != 0)
        return failed(l, error, o->address, "not host:port");
    if (o->port > 0)
        (void)snprintf(port, sizeof port, "%d", o->port);
    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0) {
        errno = rc == EAI_SYSTEM ? errno : ENOENT;
        return failed(l, error, o->address, "name");
    }
    l->fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool ok =
        l->fd >= 0 && setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        (!o->shared || setsockopt(l->fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0) &&
        (found->ai_family != AF_INET6 ||
         setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
        bind(l->fd, found->ai_addr, found->ai_addrlen) == 0 && listen(l->fd, BACKLOG) == 0;
    int err = errno;

    freeaddrinfo(found);
    errno = err;
    if (!ok)
        return failed(l, error, o->address, "bind");
    if (describe(l) != 0)
        return failed(l, error, o->address, "getsockname");
    return 0;
}

int listener_open(struct listener *l, const struct listener_options *o, struct buf *error)
{
    *l = (struct listener){ .fd = -1 };
    if (strncmp(o->address, "unix:", 5) == 0)
        return open_unix(l, o, error);
    return open_inet(l, o, error);
}

void listener_close(struct listener *l)
{
    struct stat st;

    if (l->fd >= 0)
        (void)close(l->fd);
    if (l->path != NULL && lstat(l->path, &st) == 0 && st.st_dev == l->device &&
        st.st_ino == l->inode)
        (void)unlink(l->path);
    free(l->path);
    free(l->name);
    *l = (struct listener){ .fd = -1 };
}

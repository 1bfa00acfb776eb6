/* Binding and listening. */
#include "listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BACKLOG 1024

static int failed(struct listener *l, struct buf *error, const char *address, const char *what)
{
    int err = errno != 0 ? errno : EINVAL;

    (void)buf_addf(error, "cannot listen on %s: %s: %s\n", address, what, strerrordesc_np(err));
    l->path = NULL; /* not ours to remove */
    listener_close(l);
    return -err;
}

/* Whether something accepts on the socket file. */
static bool answers(const struct sockaddr_un *addr)
{
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd >= 0 && connect(fd, (const struct sockaddr *)addr, sizeof *addr) == 0;
}

static int open_unix(struct listener *l, const struct listener_options *o, struct buf *error)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    const char *path = o->address + strlen("unix:");
    struct stat st;

    if (strlen(path) >= sizeof addr.sun_path) {
        errno = ENAMETOOLONG;
        return failed(l, error, o->address, "path");
    }
    memcpy(addr.sun_path, path, strlen(path));
    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode) || answers(&addr)) {
            errno = S_ISSOCK(st.st_mode) ? EADDRINUSE : EEXIST;
            return failed(l, error, o->address, "the file is not a dead socket");
        }
        if (unlink(path) != 0)
            return failed(l, error, o->address, "removing the dead socket");
    }
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0)
        return failed(l, error, o->address, "socket");
    /* The mode is right from the first moment: nobody else can slip in before a chmod. */
    mode_t before = umask(0777 & ~(mode_t)o->socket_mode);
    int bound = bind(l->fd, (const struct sockaddr *)&addr, sizeof addr);
    (void)umask(before);
    if (bound != 0)
        return failed(l, error, o->address, "bind");
    if (listen(l->fd, BACKLOG) != 0)
        return failed(l, error, o->address, "listen");
    l->port = -1;
    l->path = strdup(path);
    l->name = strdup(o->address);
    return 0;
}

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
    if (l->fd >= 0)
        (void)close(l->fd);
    if (l->path != NULL)
        (void)unlink(l->path);
    free(l->path);
    free(l->name);
    *l = (struct listener){ .fd = -1 };
}

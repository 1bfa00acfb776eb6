/* Binds and listens: unix sockets, TCP, and sockets that were passed to the process. */
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

#include "base/log.h"

#define BACKLOG 1024

static const struct listener CLOSED = { .fd = -1, .port = -1 };

/* Writes "where: what" into the error text; returns -errno. */
static int failed(struct buf *error, const char *where, const char *what)
{
    int err = errno != 0 ? errno : EINVAL;

    (void)buf_addf(error, "cannot listen on %s: %s: %s", where, what, strerrordesc_np(err));
    return -err;
}

static int too_many(struct buf *error, const char *address)
{
    (void)buf_addf(error,
                   "cannot listen on %s: there are more than %d addresses, those of "
                   "listen.address and of all callers together; callers that share one are "
                   "told apart by uid, certificate or secret_file",
                   address, LISTENERS_MAX);
    return -E2BIG;
}

/* --- unix sockets -------------------------------------------------------------------- */

/* Finding a dead socket, removing it and binding again must not be done by two processes at
 * the same time: the second would remove what the first has just created. So they take a
 * lock on the directory, which leaves no file behind. Returns the lock; -1: no lock is
 * possible (the directory cannot be read; the race remains); -2 with errno: another process
 * holds it. */
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

/* Whether nobody listens on the socket file. A full queue, a socket of another type, and one
 * that we may not connect to, all count as in use. */
static bool is_dead(const struct sockaddr_un *addr)
{
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd >= 0 && connect(fd, (const struct sockaddr *)addr, sizeof *addr) != 0 &&
           errno == ECONNREFUSED;
}

/* Removes a dead socket from the path. Returns 0, or -1 with errno and what was wrong. */
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

/* Binds so that the file has the right mode from the beginning: it gets the descriptor's
 * mode minus the umask. */
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
    l->shared = true;
    l->path = strdup(addr->sun_path);
    l->device = st.st_dev;
    l->inode = st.st_ino;
    if ((st.st_mode & 0777) != mode) { /* an ACL of the directory changed it */
        *what = "the directory's access list does not allow listen.socket_mode";
        errno = EPERM;
        return -1;
    }
    *what = "listen";
    return listen(l->fd, BACKLOG);
}

/* On failure `l` is closed. */
static int open_unix(struct listener *l, const struct listener_options *o, struct buf *error)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    const char *path = o->unix_path, *what = "path";

    if (strlen(path) >= sizeof addr.sun_path || path[0] != '/') {
        errno = path[0] != '/' ? EINVAL : ENAMETOOLONG;
        return failed(error, o->address, what);
    }
    memcpy(addr.sun_path, path, strlen(path));
    int lock = lock_directory(path);
    if (lock == -2)
        return failed(error, o->address, "another program is at this directory");
    int rc = make_room(&addr, &what);
    if (rc == 0)
        rc = bind_unix(l, &addr, (mode_t)o->socket_mode, &what);
    int err = errno;
    if (lock >= 0)
        (void)close(lock);
    errno = err;
    if (rc != 0) {
        err = failed(error, o->address, what);
        listener_close(l);
        return err;
    }
    if (asprintf(&l->name, "unix:%s", path) < 0)
        abort();
    return 0;
}

/* --- TCP ----------------------------------------------------------------------------- */

/* The text of an address, "[::1]:8080". */
static int describe(const struct sockaddr *addr, socklen_t len, char **name)
{
    char host[INET6_ADDRSTRLEN + 20], port[12];

    if (getnameinfo(addr, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return -EINVAL;
    if (asprintf(name, addr->sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port) < 0)
        abort();
    return 0;
}

static void set_port(struct sockaddr_storage *addr, int port)
{
    if (addr->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)addr)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)addr)->sin_port = htons((uint16_t)port);
}

static int port_of(const struct sockaddr_storage *addr)
{
    return ntohs(addr->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)addr)->sin6_port
                                             : ((const struct sockaddr_in *)addr)->sin_port);
}

static bool set_option(int fd, int level, int option)
{
    const int on = 1;

    return setsockopt(fd, level, option, &on, sizeof on) == 0;
}

/* Returns 0 or -errno. Without `shared` nobody else can listen there: SO_REUSEADDR allows
 * two sockets to bind at the same time, but only one of them to listen. */
static int listen_at(struct listener *l, const struct sockaddr_storage *addr, socklen_t len,
                     bool shared)
{
    struct sockaddr_storage bound = *addr;
    socklen_t bound_len = sizeof bound;

    l->fd = socket(addr->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0)
        return -errno;
    if (!set_option(l->fd, SOL_SOCKET, SO_REUSEADDR) ||
        (shared && !set_option(l->fd, SOL_SOCKET, SO_REUSEPORT)) ||
        (addr->ss_family == AF_INET6 && !set_option(l->fd, IPPROTO_IPV6, IPV6_V6ONLY)) ||
        bind(l->fd, (const struct sockaddr *)addr, len) != 0 || listen(l->fd, BACKLOG) != 0 ||
        getsockname(l->fd, (struct sockaddr *)&bound, &bound_len) != 0) {
        int err = -errno;

        listener_close(l);
        return err;
    }
    l->port = port_of(&bound);
    return describe((const struct sockaddr *)&bound, bound_len, &l->name);
}

/* What the user can do about the error. */
static const char *hint_of(int err)
{
    switch (-err) {
    case EADDRINUSE:
        return "; another program listens there, perhaps another instance of this one";
    case EACCES:
        return "; a port below 1024 needs CAP_NET_BIND_SERVICE";
    case EADDRNOTAVAIL:
        return "; this machine does not have that address";
    default:
        return "";
    }
}

static int inet_failed(struct buf *error, const char *asked, const char *name, int err)
{
    (void)buf_addf(error, "cannot listen on %s", name != NULL ? name : asked);
    if (name != NULL && strcmp(name, asked) != 0)
        (void)buf_addf(error, " (of %s)", asked);
    (void)buf_addf(error, ": %s%s", strerrordesc_np(-err), hint_of(err));
    return err;
}

/* The addresses of a name, each once. */
struct found {
    struct {
        struct sockaddr_storage addr;
        socklen_t len;
    } item[LISTENERS_MAX];
    size_t count;
};

static bool found_has(const struct found *f, const struct addrinfo *a)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->item[i].len == a->ai_addrlen &&
            memcmp(&f->item[i].addr, a->ai_addr, a->ai_addrlen) == 0)
            return true;
    return false;
}

static int look_up(const struct listener_options *o, struct found *f, struct buf *error)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *list = NULL;
    char port[12];
    int err = 0;

    (void)snprintf(port, sizeof port, "%d", o->port);
    int rc = getaddrinfo(o->host, port, &hints, &list);

    if (rc != 0) {
        (void)buf_addf(error, "cannot listen on %s: the name %s does not resolve: %s",
                       o->address, o->host,
                       rc == EAI_SYSTEM ? strerrordesc_np(errno) : gai_strerror(rc));
        return -ENOENT;
    }
    for (const struct addrinfo *a = list; a != NULL && err == 0; a = a->ai_next) {
        if ((a->ai_family != AF_INET && a->ai_family != AF_INET6) || found_has(f, a))
            continue;
        if (f->count == LISTENERS_MAX) {
            (void)buf_addf(error, "cannot listen on %s: the name has more than %d addresses",
                           o->address, LISTENERS_MAX);
            err = -E2BIG;
            break;
        }
        memcpy(&f->item[f->count].addr, a->ai_addr, a->ai_addrlen);
        f->item[f->count++].len = a->ai_addrlen;
    }
    freeaddrinfo(list);
    return err;
}

static bool have_already(const struct listeners *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->item[i].name, name) == 0)
            return true;
    return false;
}

static void close_from(struct listeners *s, size_t first)
{
    while (s->count > first)
        listener_close(&s->item[--s->count]);
}

/* One attempt with one port. Returns 0; or -errno, with the error text written and the
 * listeners added so far still in the set. `absent` counts the addresses that this machine
 * does not have. */
static int add_found(struct listeners *s, const struct found *f,
                     const struct listener_options *o, size_t *absent, struct buf *error)
{
    int port = o->port;

    for (size_t i = 0; i < f->count; i++) {
        struct sockaddr_storage addr = f->item[i].addr;
        auto_free char *name = NULL;

        set_port(&addr, port);
        int err = describe((const struct sockaddr *)&addr, f->item[i].len, &name);
        if (err == 0 && port != 0 && have_already(s, name))
            continue;
        if (err == 0 && s->count == LISTENERS_MAX)
            return too_many(error, name);
        if (err == 0) {
            struct listener *l = &s->item[s->count];

            *l = CLOSED;
            err = listen_at(l, &addr, f->item[i].len, false);
        }
        if (err == 0) {
            port = s->item[s->count++].port;
        } else if ((err == -EADDRNOTAVAIL || err == -EAFNOSUPPORT) && f->count > 1 &&
                   ++*absent < f->count) {
            log_info("address_skipped", log_str("name", o->address), log_str("address", name),
                     log_str("detail", "this machine does not have that address"));
        } else {
            return inet_failed(error, o->address, name, err);
        }
    }
    return 0;
}

/* Attempts: a port that is free on one address may be taken on another. */
#define PORT_TRIES 20

static int add_inet(struct listeners *s, const struct listener_options *o, struct buf *error)
{
    struct found f = { .count = 0 };
    size_t before = s->count;
    int err = look_up(o, &f, error);

    for (int tries = 0; err == 0; tries++) {
        size_t absent = 0;

        err = add_found(s, &f, o, &absent, error);
        if (err == 0)
            return 0;
        bool another = err == -EADDRINUSE && o->port == 0 && s->count > before;
        close_from(s, before);
        if (!another || tries == PORT_TRIES)
            return err;
        buf_clear(error);
        err = 0;
    }
    return err;
}

/* --- passed -------------------------------------------------------------------------- */

static int number_option(int fd, int option)
{
    int value = -1;
    socklen_t len = sizeof value;

    return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 ? value : -1;
}

static int not_usable(struct buf *error, const char *why)
{
    (void)buf_addf(error, "%s", why);
    return -EINVAL;
}

/* "unix:/path", or "unix:@name" for an abstract one. */
static int describe_unix(const struct sockaddr_un *addr, socklen_t len, char **name)
{
    size_t n = len - offsetof(struct sockaddr_un, sun_path);
    bool has_file = n > 0 && addr->sun_path[0] != '\0';
    const char *path = addr->sun_path + (n > 0 && !has_file);

    n = has_file ? strnlen(path, n) : n - (n > 0);
    if (asprintf(name, "unix:%s%.*s", has_file ? "" : "@", (int)n, path) < 0)
        abort();
    return 0;
}

int listeners_adopt(struct listeners *s, int fd, struct buf *error)
{
    struct sockaddr_storage addr = { .ss_family = AF_UNSPEC };
    socklen_t len = sizeof addr;
    struct listener l = CLOSED;
    int flags = fcntl(fd, F_GETFL), protocol = number_option(fd, SO_PROTOCOL);

    if (flags < 0 || getsockname(fd, (struct sockaddr *)&addr, &len) != 0) {
        int err = -errno;

        (void)buf_addf(error, "%s",
                       err == -ENOTSOCK ? "it is not a socket" : strerrordesc_np(-err));
        return err;
    }
    bool is_unix = addr.ss_family == AF_UNIX;

    if (!is_unix && addr.ss_family != AF_INET && addr.ss_family != AF_INET6)
        return not_usable(error, "it is neither a TCP nor a unix socket");
    if (number_option(fd, SO_TYPE) != SOCK_STREAM ||
        (!is_unix && protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP))
        return not_usable(error, "it is no stream of bytes; the unit needs ListenStream=");
    if (number_option(fd, SO_ACCEPTCONN) != 1)
        return not_usable(error, "it does not listen; the unit needs Accept=no");
    if (s->count == LISTENERS_MAX) {
        (void)buf_addf(error, "there are more than %d of that name", LISTENERS_MAX);
        return -E2BIG;
    }
    int err = is_unix ? describe_unix((const struct sockaddr_un *)&addr, len, &l.name)
                      : describe((const struct sockaddr *)&addr, len, &l.name);

    if (err == 0 &&
        (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0))
        err = -errno;
    if (err != 0) {
        (void)buf_addf(error, "%s", strerrordesc_np(-err));
        free(l.name);
        return err;
    }
    l.fd = fd;
    l.port = is_unix ? -1 : port_of(&addr);
    l.shared = l.passed = true;
    s->item[s->count++] = l;
    return 0;
}

/* --- all ----------------------------------------------------------------------------- */

int listeners_add(struct listeners *s, const struct listener_options *o, struct buf *error)
{
    if (o->unix_path == NULL)
        return add_inet(s, o, error);
    if (s->count == LISTENERS_MAX)
        return too_many(error, o->address);
    s->item[s->count] = CLOSED;
    int err = open_unix(&s->item[s->count], o, error);

    s->count += err == 0;
    return err;
}

int listener_twin(struct listener *first, struct listener *twin, struct buf *error)
{
    struct sockaddr_storage addr = { .ss_family = AF_UNSPEC };
    socklen_t len = sizeof addr;
    int err = 0;

    *twin = CLOSED;
    if (first->shared) {
        twin->shared = true;
        twin->passed = first->passed;
        twin->port = first->port;
        twin->fd = fcntl(first->fd, F_DUPFD_CLOEXEC, 0);
        err = twin->fd < 0 ? -errno : 0;
    } else if (getsockname(first->fd, (struct sockaddr *)&addr, &len) != 0 ||
               !set_option(first->fd, SOL_SOCKET, SO_REUSEPORT)) {
        /* The first listens already; from now on only sockets of the same user that also set
         * it can join. Another instance cannot, because it first binds without it. */
        err = -errno;
    } else {
        err = listen_at(twin, &addr, len, true);
    }
    twin->owner = first->owner;
    return err == 0 ? 0 : inet_failed(error, first->name, first->name, err);
}

bool listener_host(const struct listener *l, char host[64])
{
    const char *end = l->port < 0 ? NULL : strrchr(l->name, ':');
    size_t scope = strcspn(l->name, "%"); /* "[fe80::1%eth0]": callers leave the zone out */

    if (end == NULL)
        return false;
    if (l->name + scope < end)
        (void)snprintf(host, 64, "%.*s]", (int)base_min((int64_t)scope, 60), l->name);
    else
        (void)snprintf(host, 64, "%.*s", (int)(end - l->name), l->name);
    return strcmp(host, "0.0.0.0") != 0 && strcmp(host, "[::]") != 0;
}

bool listener_is_local(const struct listener *l)
{
    return l->port < 0 || strncmp(l->name, "127.", 4) == 0 ||
           strncmp(l->name, "[::1]:", 6) == 0;
}

void listeners_names(const struct listeners *s, struct buf *out)
{
    for (size_t i = 0; i < s->count; i++)
        (void)buf_addf(out, "%s%s", i > 0 ? "," : "", s->item[i].name);
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
    *l = CLOSED;
}

void listeners_done(struct listeners *s)
{
    close_from(s, 0);
}

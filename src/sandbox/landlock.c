/* Restricts the process to the files and ports that it needs. Landlock is used by its system
 * calls, since Debian 12 has no library for it:
 *
 *     rules -> ruleset(files, ports) -> restrict -> filter of system calls (seccomp.c)
 *
 * A rule is for a directory and everything below it, or for one existing file; Landlock
 * knows inodes, not names. If a file is replaced by a rename, as editors and Kubernetes do,
 * only the rule of its directory applies to the new one. */
#include "sandbox/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "sandbox/seccomp.h"

#define LINKS_MAX 40

/* linux/landlock.h of Debian 12 ends at version 2 of the interface; these numbers are the
 * kernel's and never change. */
#define LL_CREATE_RULESET 444
#define LL_ADD_RULE 445
#define LL_RESTRICT_SELF 446
#define LL_VERSION 1U
#define LL_PATH_BENEATH 1
#define LL_NET_PORT 2
#define LL_FS_READ_FILE (1ULL << 2)
#define LL_FS_READ_DIR (1ULL << 3)
#define LL_FS_REMOVE_FILE (1ULL << 5)
#define LL_NET_CONNECT_TCP (1ULL << 1)

struct ruleset_attr {
    uint64_t fs, net, scoped;
};
struct path_attr {
    uint64_t access;
    int32_t fd;
} __attribute__((packed));
struct port_attr {
    uint64_t access, port;
};

/* What each version of the interface added: rights for files, TCP bind and connect, abstract
 * unix sockets and signals. */
static const struct {
    int abi;
    struct ruleset_attr adds;
} versions[] = {
    { 1, { .fs = (1ULL << 13) - 1 } },
    { 2, { .fs = 1ULL << 13 } }, /* moving between directories */
    { 3, { .fs = 1ULL << 14 } }, /* truncate */
    { 4, { .net = 3 } },
    { 5, { .fs = 1ULL << 15 } }, /* ioctl of devices */
    { 6, { .scoped = 3 } },
};

/* What libraries read while the program runs. A directory is listed where names in it are
 * created and removed. If /etc/resolv.conf is a symbolic link, its target's directory is
 * added. */
static const char *const system_files[] = {
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
#ifdef SANDBOX_SANITIZED
    "/proc", /* for their reports, and for leak detection at exit */
#endif
};

/* Directories that also contain files of others. */
static const char *const shared_dirs[] = {
    "/",        "/etc",  "/tmp",     "/var", "/var/tmp", "/var/lib",
    "/var/run", "/run",  "/dev/shm", "/usr", "/opt",     "/usr/etc",
    "/home",    "/root", "/srv",     "/mnt", "/media",
};

static struct {
    bool entered, ports_ruled;
    int port[SANDBOX_PORTS_MAX];
    size_t ports;
} now;

/* --- rules ------------------------------------------------------------------------------ */

/* There is no limit: a path without a rule would be one that cannot be read, and those that
 * name resolution needs come last. */
static void make_room(struct sandbox_rules *r)
{
    size_t room = r->room == 0 ? 64 : 2 * r->room;

    if (r->paths < r->room)
        return;
    struct sandbox_path *more = realloc(r->path, room * sizeof *more);

    if (more == NULL)
        abort();
    r->path = more;
    r->room = room;
}

static void add(struct sandbox_rules *r, const char *path, enum sandbox_use use)
{
    char real[PATH_MAX];

    if (realpath(path, real) == NULL)
        return;
    for (size_t i = 0; i < r->paths; i++)
        if (r->path[i].use == use && strcmp(r->path[i].path, real) == 0)
            return;
    make_room(r);
    r->path[r->paths] = (struct sandbox_path){ strdup(real), use };
    if (r->path[r->paths++].path == NULL)
        abort();
}

static bool is_shared(const char *dir)
{
    const char *home = getenv("HOME"); /* NOLINT(concurrency-mt-unsafe): there is one thread */
    char real[PATH_MAX];

    if (realpath(dir, real) == NULL)
        return true; /* it does not exist */
    for (size_t i = 0; i < ARRAY_LEN(shared_dirs); i++)
        if (strcmp(shared_dirs[i], real) == 0)
            return true;
    return home != NULL && strcmp(home, real) == 0;
}

/* Copies the directory of `path` into `out`. */
static void directory_of(const char *path, char out[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    int len = slash == NULL ? 0 : (int)(slash - path);

    if (slash == NULL)
        (void)snprintf(out, PATH_MAX, ".");
    else
        (void)snprintf(out, PATH_MAX, "%.*s", len > 0 ? len : 1, path);
}

static void add_directory_of(struct sandbox_rules *r, const char *path)
{
    char dir[PATH_MAX];

    directory_of(path, dir);
    if (!is_shared(dir))
        add(r, dir, SANDBOX_READ);
}

/* A directory on the path may be a symbolic link to another one beside it (`current -> v7`),
 * which may be changed later: allows the directory that contains the link. */
static void add_turning_directories(struct sandbox_rules *r, const char *path)
{
    char prefix[PATH_MAX], target[PATH_MAX];

    for (const char *p = strchr(path, '/'); p != NULL; p = strchr(p + 1, '/')) {
        if (p == path)
            continue;
        (void)snprintf(prefix, sizeof prefix, "%.*s", (int)(p - path), path);
        ssize_t n = readlink(prefix, target, sizeof target);

        if (n > 0 && memchr(target, '/', (size_t)n) == NULL)
            add_directory_of(r, prefix);
    }
}

void sandbox_may_read(struct sandbox_rules *r, const char *path)
{
    char at[PATH_MAX], dir[PATH_MAX], target[PATH_MAX];
    size_t len = path == NULL ? PATH_MAX : strlen(path);

    if (len >= PATH_MAX)
        return;
    memcpy(at, path, len + 1);
    for (int links = 0; links < LINKS_MAX; links++) {
        add_turning_directories(r, at);
        add_directory_of(r, at);
        ssize_t n = readlink(at, target, sizeof target - 1);

        if (n < 0)
            break;
        target[n] = '\0';
        directory_of(at, dir);
        int used = target[0] == '/' ? snprintf(at, sizeof at, "%s", target)
                                    : snprintf(at, sizeof at, "%s/%s", dir, target);
        if (used < 0 || (size_t)used >= sizeof at)
            return;
    }
    add(r, path, SANDBOX_READ);
}

void sandbox_may_read_beneath(struct sandbox_rules *r, const char *path)
{
    add(r, path, SANDBOX_READ);
}

void sandbox_may_remove(struct sandbox_rules *r, const char *path)
{
    char dir[PATH_MAX];

    directory_of(path, dir);
    add(r, dir, SANDBOX_REMOVE);
}

void sandbox_may_connect(struct sandbox_rules *r, int port)
{
    for (size_t i = 0; i < r->ports; i++)
        if (r->port[i] == port)
            return;
    if (port > 0 && port < 65536 && r->ports < SANDBOX_PORTS_MAX)
        r->port[r->ports++] = port;
}

void sandbox_rules_done(struct sandbox_rules *r)
{
    while (r->paths > 0)
        free(r->path[--r->paths].path);
    free(r->path);
    *r = (struct sandbox_rules){ .paths = 0 };
}

/* --- Landlock ---------------------------------------------------------------------------- */

static void allow_path(int ruleset, const struct sandbox_path *p)
{
    auto_close int fd = open(p->path, O_PATH | O_CLOEXEC);
    struct path_attr rule = { .access =
                                  p->use == SANDBOX_READ ? LL_FS_READ_FILE : LL_FS_REMOVE_FILE,
                              .fd = fd };

#ifdef SANDBOX_SANITIZED
    if (strcmp(p->path, "/proc") == 0)
        rule.access |= LL_FS_READ_DIR; /* leak detection lists the threads */
#endif
    /* What cannot be opened does not exist, and needs no rule. */
    if (fd >= 0)
        (void)syscall(LL_ADD_RULE, ruleset, LL_PATH_BENEATH, &rule, 0U);
}

static void allow_port(int ruleset, int port)
{
    const struct port_attr rule = { .access = LL_NET_CONNECT_TCP, .port = (uint64_t)port };

    (void)syscall(LL_ADD_RULE, ruleset, LL_NET_PORT, &rule, 0U);
}

/* Returns the version of the interface in use, or -errno. */
static int restrict_self(const struct sandbox_rules *r)
{
    struct ruleset_attr handled = { .fs = 0 };
    long abi = syscall(LL_CREATE_RULESET, NULL, (size_t)0, LL_VERSION);

    if (abi < 1)
        return abi < 0 ? -errno : -ENOSYS;
    for (size_t i = 0; i < ARRAY_LEN(versions) && versions[i].abi <= abi; i++) {
        handled.fs |= versions[i].adds.fs;
        handled.net |= versions[i].adds.net;
        handled.scoped |= versions[i].adds.scoped;
    }
    auto_close int ruleset = (int)syscall(LL_CREATE_RULESET, &handled, sizeof handled, 0U);
    if (ruleset < 0)
        return -errno;
    for (size_t i = 0; i < r->paths; i++)
        allow_path(ruleset, &r->path[i]);
    if (handled.net != 0)
        for (size_t i = 0; i < r->ports; i++)
            allow_port(ruleset, r->port[i]);
    if (syscall(LL_RESTRICT_SELF, ruleset, 0U) != 0)
        return -errno;
    now.ports_ruled = handled.net != 0;
    return (int)abi;
}

static void add_system(struct sandbox_rules *r)
{
    for (size_t i = 0; i < ARRAY_LEN(system_files); i++)
        sandbox_may_read_beneath(r, system_files[i]);
    sandbox_may_read(r, "/etc/resolv.conf");
}

static bool may_remove(const struct sandbox_rules *r)
{
    for (size_t i = 0; i < r->paths; i++)
        if (r->path[i].use == SANDBOX_REMOVE)
            return true;
    return false;
}

static void lacks(struct buf *missing, const char *what, int err)
{
    (void)buf_addf(missing, "%s%s: %s", buf_unread(missing) > 0 ? "; " : "", what,
                   strerrordesc_np(err));
}

bool sandbox_enter(struct sandbox_rules *r, struct buf *name, struct buf *missing)
{
    add_system(r);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    int abi = restrict_self(r);
    int err = seccomp_filter(may_remove(r));

    now.entered = abi > 0;
    now.ports = r->ports;
    memcpy(now.port, r->port, sizeof now.port);
    if (abi > 0)
        (void)buf_addf(name, "landlock(abi %d)", abi);
    else
        lacks(missing, "Landlock", -abi);
    if (err == 0)
        (void)buf_addf(name, "%sseccomp", abi > 0 ? "+" : "");
    else
        lacks(missing, "seccomp", -err);
    if (abi < 0 && err != 0)
        (void)buf_addf(name, "none");
    return abi > 0 && err == 0;
}

bool sandbox_hides(const char *path)
{
    /* access() is not affected by Landlock, only by file permissions. */
    if (!now.entered || faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) != 0)
        return false;
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    return fd < 0 && errno == EACCES;
}

bool sandbox_bars(int port)
{
    if (!now.ports_ruled)
        return false;
    for (size_t i = 0; i < now.ports; i++)
        if (now.port[i] == port)
            return false;
    return true;
}

/* shim.so: preloaded into the program, makes it die, stop or fail at a chosen system call, tells what
 * it writes to the disk, or sets its clocks. The environment says which:
 *
 *   LEDGER_AT=CALL:WHEN:N:WHAT   at the N-th call: WHEN is before or after, WHAT is kill, stop, or the
 *                                number of an error that is returned instead (then from then on too,
 *                                with `all` behind it: fsync:before:3:5:all)
 *   LEDGER_JOURNAL=FILE          each write, truncation and sync of the store's files, and each key
 *                                that is sent upstream, in their order (read by powercut in ledger.py)
 *   LEDGER_CLOCK=FILE            two 64-bit numbers, milliseconds to add: to the wall clock, and to
 *                                the clock that counts suspend
 *   LEDGER_STORE=PATH            the store's file; its -wal belongs to it
 *   LEDGER_UPSTREAM, LEDGER_LISTEN  ports
 *
 * CALL: write, fsync (of the store's files), connect, up (sent to the upstream), answer (received from
 * it), down (sent to a caller), request (received from one). */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum call { NONE, WRITE, FSYNC, CONNECT, UP, ANSWER, DOWN, REQUEST };
static const char *const names[] = { "",   "write",  "fsync", "connect",
                                     "up", "answer", "down",  "request" };

static struct {
    enum call call;
    bool after, all;
    int at, what; /* what > 0: an error; 0: kill; -1: stop */
} fault;
static _Atomic int calls;
static int journal = -1, upstream, listening;
static char store[PATH_MAX];
static const _Atomic int64_t *clocks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))

static int number(const char *name)
{
    const char *text = getenv(name);

    return text == NULL ? 0 : (int)strtol(text, NULL, 10);
}

static void read_fault(char *text)
{
    char *save = NULL, *call = strtok_r(text, ":", &save), *when = strtok_r(NULL, ":", &save);
    char *at = strtok_r(NULL, ":", &save), *what = strtok_r(NULL, ":", &save);

    if (what == NULL)
        return;
    for (size_t i = 1; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], call) == 0)
            fault.call = (enum call)i;
    fault.after = strcmp(when, "after") == 0;
    fault.at = (int)strtol(at, NULL, 10);
    fault.what = strcmp(what, "kill") == 0   ? 0
                 : strcmp(what, "stop") == 0 ? -1
                                             : (int)strtol(what, NULL, 10);
    fault.all = strtok_r(NULL, ":", &save) != NULL;
}

__attribute__((constructor)) static void start(void)
{
    static char at[128];
    const char *path = getenv("LEDGER_STORE"), *file = getenv("LEDGER_JOURNAL");
    const char *clock = getenv("LEDGER_CLOCK"), *text = getenv("LEDGER_AT");

    (void)snprintf(store, sizeof store, "%s", path == NULL ? "" : path);
    upstream = number("LEDGER_UPSTREAM");
    listening = number("LEDGER_LISTEN");
    if (text != NULL && snprintf(at, sizeof at, "%s", text) > 0)
        read_fault(at);
    if (file != NULL)
        journal = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    int fd = clock == NULL ? -1 : open(clock, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        void *map = mmap(NULL, 2 * sizeof *clocks, PROT_READ, MAP_SHARED, fd, 0);
        if (map != MAP_FAILED)
            clocks = map;
        (void)close(fd);
    }
}

/* --- which call it is ---------------------------------------------------------------------- */

/* 'd' of the database, 'w' of its log, 0: another file. */
static char file_of(int fd)
{
    char link[64], path[PATH_MAX];
    size_t len = strlen(store);

    if (len == 0)
        return 0;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0)
        return 0;
    path[n] = '\0';
    if (strncmp(path, store, len) != 0)
        return 0;
    return path[len] == '\0' ? 'd' : strcmp(path + len, "-wal") == 0 ? 'w' : 0;
}

static int port_of(int fd, int (*ask)(int, struct sockaddr *, socklen_t *))
{
    struct sockaddr_in a;
    socklen_t len = sizeof a;

    if (ask(fd, (struct sockaddr *)&a, &len) != 0 || a.sin_family != AF_INET)
        return -1;
    return ntohs(a.sin_port);
}

static enum call call_of(int fd, bool sends)
{
    int saved = errno;
    enum call c = NONE;

    if (upstream != 0 && port_of(fd, getpeername) == upstream)
        c = sends ? UP : ANSWER;
    else if (listening != 0 && port_of(fd, getsockname) == listening)
        c = sends ? DOWN : REQUEST;
    errno = saved;
    return c;
}

/* --- what happens at it -------------------------------------------------------------------- */

/* Returns an error to return instead of the call, or 0. */
static int meet(enum call c, bool after)
{
    if (c == NONE || c != fault.call || after != fault.after)
        return 0;
    int n = atomic_fetch_add(&calls, 1) + 1;
    if (n < fault.at || (n > fault.at && !(fault.all && fault.what > 0)))
        return 0;
    if (fault.what > 0)
        return fault.what;
    /* The sandbox refuses kill; a signal to oneself is allowed to the letter of tgkill only. */
    (void)syscall(SYS_tgkill, getpid(), (int)syscall(SYS_gettid),
                  fault.what == 0 ? SIGKILL : SIGSTOP);
    return 0;
}

/* A record: kind, two numbers, then so many bytes. */
static void note(char kind, char file, uint64_t offset, const void *bytes, uint64_t len)
{
    char head[18];

    if (journal < 0 || file == 0)
        return;
    head[0] = kind;
    head[1] = file;
    memcpy(head + 2, &offset, 8);
    memcpy(head + 10, &len, 8);
    const struct iovec v[2] = { { head, sizeof head },
                                { (void *)(uintptr_t)bytes, bytes == NULL ? 0 : len } };
    ssize_t n = REAL(writev)(journal, v, 2);
    (void)n;
}

/* The key of a request, as it leaves. */
static void note_key(const char *bytes, size_t n)
{
    static const char name[] = "dempotency-Key: ";
    const char *at = journal < 0 ? NULL : memmem(bytes, n, name, sizeof name - 1);

    if (at == NULL)
        return;
    at += sizeof name - 1;
    const char *end = memchr(at, '\r', n - (size_t)(at - bytes));
    if (end != NULL)
        note('K', 'k', 0, at, (uint64_t)(end - at));
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): the headers' have underscores */

/* --- the disk ------------------------------------------------------------------------------ */

#define WRITING(fd, offset, bytes, len, really)                      \
    do {                                                             \
        char file = file_of(fd);                                     \
        int error = file == 0 ? 0 : meet(WRITE, false);              \
        if (error != 0) {                                            \
            errno = error;                                           \
            return -1;                                               \
        }                                                            \
        (void)pthread_mutex_lock(&lock);                             \
        ssize_t n = really;                                          \
        if (n > 0)                                                   \
            note('W', file, (uint64_t)(offset), bytes, (uint64_t)n); \
        (void)pthread_mutex_unlock(&lock);                           \
        if (file != 0)                                               \
            (void)meet(WRITE, true);                                 \
        return n;                                                    \
    } while (0)

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    WRITING(fd, offset, bytes, len, REAL(pwrite)(fd, bytes, len, offset));
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t offset)
{
    WRITING(fd, offset, bytes, len, REAL(pwrite64)(fd, bytes, len, offset));
}

static int truncating(int fd, off_t len, int (*real)(int, off_t))
{
    char file = file_of(fd);

    (void)pthread_mutex_lock(&lock);
    int rc = real(fd, len);
    if (rc == 0)
        note('T', file, (uint64_t)len, NULL, 0);
    (void)pthread_mutex_unlock(&lock);
    return rc;
}

int ftruncate(int fd, off_t len)
{
    return truncating(fd, len, REAL(ftruncate));
}

int ftruncate64(int fd, off64_t len)
{
    return truncating(fd, len, REAL(ftruncate64));
}

static int syncing(int fd, int (*real)(int))
{
    char file = file_of(fd);
    int error = file == 0 ? 0 : meet(FSYNC, false);

    if (error != 0) {
        errno = error;
        return -1;
    }
    (void)pthread_mutex_lock(&lock);
    int rc = real(fd);
    if (rc == 0)
        note('S', file, 0, NULL, 0);
    (void)pthread_mutex_unlock(&lock);
    if (file != 0)
        (void)meet(FSYNC, true);
    return rc;
}

int fsync(int fd)
{
    return syncing(fd, REAL(fsync));
}

int fdatasync(int fd)
{
    return syncing(fd, REAL(fdatasync));
}

/* --- connections --------------------------------------------------------------------------- */

int connect(int fd, const struct sockaddr *a, socklen_t len)
{
    struct sockaddr_in in = { .sin_port = 0 };

    if (len >= sizeof in && a->sa_family == AF_INET)
        memcpy(&in, a, sizeof in);
    enum call c = upstream != 0 && ntohs(in.sin_port) == upstream ? CONNECT : NONE;
    (void)meet(c, false);
    int rc = REAL(connect)(fd, a, len);
    int saved = errno;
    (void)meet(c, true);
    errno = saved;
    return rc;
}

#define PASSING(fd, sends, really)        \
    do {                                  \
        enum call c = call_of(fd, sends); \
        (void)meet(c, false);             \
        ssize_t n = really;               \
        int saved = errno;                \
        if (n > 0)                        \
            (void)meet(c, true);          \
        errno = saved;                    \
        return n;                         \
    } while (0)

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
    if (call_of(fd, true) == UP)
        note_key(bytes, len);
    PASSING(fd, true, REAL(send)(fd, bytes, len, flags));
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    if (call_of(fd, true) == UP)
        for (size_t i = 0; i < m->msg_iovlen; i++)
            note_key(m->msg_iov[i].iov_base, m->msg_iov[i].iov_len);
    PASSING(fd, true, REAL(sendmsg)(fd, m, flags));
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    if (call_of(fd, true) == UP)
        note_key(bytes, len);
    PASSING(fd, true, REAL(write)(fd, bytes, len));
}

ssize_t writev(int fd, const struct iovec *v, int count)
{
    if (call_of(fd, true) == UP)
        for (int i = 0; i < count; i++)
            note_key(v[i].iov_base, v[i].iov_len);
    PASSING(fd, true, REAL(writev)(fd, v, count));
}

ssize_t recv(int fd, void *bytes, size_t len, int flags)
{
    PASSING(fd, false, REAL(recv)(fd, bytes, len, flags));
}

ssize_t read(int fd, void *bytes, size_t len)
{
    PASSING(fd, false, REAL(read)(fd, bytes, len));
}

ssize_t readv(int fd, const struct iovec *v, int count)
{
    PASSING(fd, false, REAL(readv)(fd, v, count));
}

/* --- clocks -------------------------------------------------------------------------------- */

int clock_gettime(clockid_t id, struct timespec *ts)
{
    int rc = (int)syscall(SYS_clock_gettime, id, ts);
    bool wall = id == CLOCK_REALTIME, boot = id == CLOCK_BOOTTIME;

    if (rc != 0 || clocks == NULL || (!wall && !boot))
        return rc;
    int64_t ms = atomic_load(&clocks[boot ? 1 : 0]);
    ts->tv_sec += (time_t)(ms / 1000);
    ts->tv_nsec += (long)(ms % 1000) * 1000000;
    if (ts->tv_nsec >= 1000000000 || ts->tv_nsec < 0) {
        ts->tv_sec += ts->tv_nsec < 0 ? -1 : 1;
        ts->tv_nsec += ts->tv_nsec < 0 ? 1000000000 : -1000000000;
    }
    return rc;
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

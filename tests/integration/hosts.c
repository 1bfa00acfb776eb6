/* A mount namespace with a hosts file and a resolv.conf for the test, and addresses that do
 * not answer. */
#include "hosts.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"

static char dir[64];

/* An address of this test's own: nobody listens there, unless this test does. */
static const char *name_server(void)
{
    static char address[INET_ADDRSTRLEN];
    unsigned pid = (unsigned)getpid();

    (void)snprintf(address, sizeof address, "127.%u.%u.%u", 64 + (pid >> 16 & 63),
                   pid >> 8 & 255, pid & 255);
    return address;
}

static const char *in_dir(const char *name)
{
    static char path[128];

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

/* With ONESHOT_PROXY_WRAP each start of the program goes through a script. */
bool hosts_begin(const char *text)
{
    static const char script[] =
        "#!/bin/sh\n"
        "[ \"$(id -u)\" = 0 ] && how=-m || how=-rm\n"
        "exec unshare $how sh -c 'mount --bind \"$0/hosts\" /etc/hosts && "
        "mount --bind \"$0/resolv.conf\" /etc/resolv.conf && exec \"$@\"' '%s' \"$@\"\n";
    char wrap[1024], probe[160], resolver[128];

    (void)snprintf(dir, sizeof dir, "/tmp/oneshot-names-XXXXXX");
    assert_non_null(mkdtemp(dir));
    hosts_write(text);
    (void)snprintf(resolver, sizeof resolver, "nameserver %s\noptions timeout:30\n",
                   name_server());
    write_file(in_dir("resolv.conf"), resolver);
    assert_int_equal(chmod(in_dir("hosts"), 0644), 0);
    assert_int_equal(chmod(in_dir("resolv.conf"), 0644), 0);
    (void)snprintf(wrap, sizeof wrap, script, dir);
    write_file(in_dir("with-hosts"), wrap);
    assert_int_equal(chmod(in_dir("with-hosts"), 0755), 0);
    assert_int_equal(setenv("ONESHOT_PROXY_WRAP", in_dir("with-hosts"), 1), 0);
    (void)snprintf(probe, sizeof probe, "%s true", in_dir("with-hosts"));
    bool possible = system(probe) == 0;

    if (!possible)
        (void)fprintf(stderr, "SKIPPED: no mount namespace can be made here\n");
    return possible;
}

void hosts_write(const char *text)
{
    write_file(in_dir("hosts"), text);
}

void hosts_end(void)
{
    (void)unlink(in_dir("hosts"));
    (void)unlink(in_dir("resolv.conf"));
    (void)unlink(in_dir("with-hosts"));
    (void)rmdir(dir);
    (void)unsetenv("ONESHOT_PROXY_WRAP");
}

bool black_hole_begin(struct black_hole *s, const char *address, int port)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at = { 0 };
    bool six = strchr(address, ':') != NULL;
    socklen_t len = six ? sizeof at.v6 : sizeof at.v4;
    struct pollfd p = { .events = POLLOUT };

    memset(s, 0, sizeof *s);
    if (six) {
        at.v6.sin6_family = AF_INET6;
        at.v6.sin6_port = htons((uint16_t)port);
        (void)inet_pton(AF_INET6, address, &at.v6.sin6_addr);
    } else {
        at.v4.sin_family = AF_INET;
        at.v4.sin_port = htons((uint16_t)port);
        (void)inet_pton(AF_INET, address, &at.v4.sin_addr);
    }
    int fd = socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, &at.any, len) != 0) {
        if (fd >= 0)
            (void)close(fd);
        return false;
    }
    s->fd[s->count++] = fd;
    assert_int_equal(listen(fd, 0), 0);
    do { /* until one connection is left waiting */
        assert_true(s->count < sizeof s->fd / sizeof *s->fd);
        p.fd = socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(p.fd >= 0);
        s->fd[s->count++] = p.fd;
        (void)connect(p.fd, &at.any, len);
    } while (poll(&p, 1, 200) == 1);
    return true;
}

void black_hole_end(struct black_hole *s)
{
    while (s->count > 0)
        (void)close(s->fd[--s->count]);
}

bool silent_name_server_begin(struct black_hole *s)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(53) };

    memset(s, 0, sizeof *s);
    (void)inet_pton(AF_INET, name_server(), &at.sin_addr);
    s->fd[s->count++] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return s->fd[0] >= 0 && bind(s->fd[0], (struct sockaddr *)&at, sizeof at) == 0;
}

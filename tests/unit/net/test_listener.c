/* listener.c: unix sockets, and sockets that were passed. The file's mode decides who may
 * connect, so it must be right from the first moment; files of others must stay as they are. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "net/listener.h"
#include "unit.h"

struct place {
    char dir[64], path[96], address[128];
    struct buf error;
};

static void place_open(struct place *p)
{
    (void)snprintf(p->dir, sizeof p->dir, "%s", "/tmp/listener-test-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->path, sizeof p->path, "%s/s", p->dir);
    (void)snprintf(p->address, sizeof p->address, "unix:%s", p->path);
    buf_init(&p->error, 4096);
}

static void place_close(struct place *p)
{
    (void)unlink(p->path);
    assert_int_equal(rmdir(p->dir), 0);
    buf_done(&p->error);
}

static int open_at(struct place *p, struct listeners *l, int64_t mode)
{
    *l = (struct listeners){ .count = 0 };
    buf_clear(&p->error);
    return listeners_add(l,
                         &(struct listener_options){
                             .address = p->address, .unix_path = p->path, .socket_mode = mode },
                         &p->error);
}

static struct stat look(const struct place *p)
{
    struct stat st;

    assert_int_equal(lstat(p->path, &st), 0);
    return st;
}

static bool is_there(const struct place *p)
{
    struct stat st;

    return lstat(p->path, &st) == 0;
}

static int bound(const struct place *p, int type, bool listening)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    memcpy(addr.sun_path, p->path, strlen(p->path));
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    if (listening)
        assert_int_equal(listen(fd, 0), 0);
    return fd;
}

static int connected(const struct place *p)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(addr.sun_path, p->path, strlen(p->path));
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

static void assert_left_alone(struct place *p, const char *why)
{
    struct stat before = look(p), after;
    struct listeners l;

    assert_true(open_at(p, &l, 0600) < 0);
    if (strstr(buf_text(&p->error), p->address) == NULL ||
        strstr(buf_text(&p->error), why) == NULL)
        fail_msg("\"%s\" is not in: %s", why, buf_text(&p->error));
    listeners_done(&l);
    after = look(p);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(before.st_mode, after.st_mode);
}

static void a_socket_has_the_mode_that_is_asked_for_whatever_the_umask(void **state)
{
    static const mode_t modes[] = { 0600, 0660, 0666, 0777, 0200, 0 };
    static const mode_t masks[] = { 0, 022, 0777 };
    struct place p;
    struct listeners l;

    (void)state;
    place_open(&p);
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        for (size_t k = 0; k < ARRAY_LEN(masks); k++) {
            mode_t before = umask(masks[k]);
            int rc = open_at(&p, &l, modes[i]);
            mode_t after = umask(before);

            assert_int_equal(rc, 0);
            assert_int_equal(after, masks[k]); /* the process's own is as it was */
            assert_int_equal(look(&p).st_mode, S_IFSOCK | modes[i]);
            assert_int_equal(l.item[0].port, -1);
            assert_string_equal(l.item[0].name, p.address);
            listeners_done(&l);
            assert_false(is_there(&p));
        }
    }
    place_close(&p);
}

static void a_socket_that_nobody_listens_on_is_replaced(void **state)
{
    static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
    struct place p;
    struct listeners l;

    (void)state;
    place_open(&p);
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        (void)close(bound(&p, types[i], false));
        assert_int_equal(open_at(&p, &l, 0600), 0);
        int fd = connected(&p);
        assert_true(fd >= 0);
        (void)close(fd);
        listeners_done(&l);
    }
    place_close(&p);
}

static void a_socket_that_is_in_use_is_left_alone(void **state)
{
    struct place p;

    (void)state;
    place_open(&p);
    int fd = bound(&p, SOCK_STREAM, true);
    assert_left_alone(&p, "in use");
    /* its queue is full now: still in use, and no reason to wait */
    int waiting[4];
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++)
        waiting[i] = connected(&p);
    assert_int_equal(waiting[ARRAY_LEN(waiting) - 1], -1);
    assert_left_alone(&p, "in use");
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++)
        if (waiting[i] >= 0)
            (void)close(waiting[i]);
    (void)close(fd);
    (void)unlink(p.path);
    fd = bound(&p, SOCK_DGRAM, false);
    assert_left_alone(&p, "in use");
    (void)close(fd);
    place_close(&p);
}

static void other_files_are_left_alone(void **state)
{
    struct place p;
    char target[128];
    struct stat st;

    (void)state;
    place_open(&p);
    int fd = open(p.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "x", 1), 1);
    (void)close(fd);
    assert_left_alone(&p, "not a socket");
    assert_int_equal(look(&p).st_size, 1);
    (void)unlink(p.path);
    assert_int_equal(mkdir(p.path, 0700), 0);
    assert_left_alone(&p, "not a socket");
    assert_int_equal(rmdir(p.path), 0);
    assert_int_equal(mkfifo(p.path, 0600), 0);
    assert_left_alone(&p, "not a socket");
    (void)unlink(p.path);
    /* not even when it leads to a dead socket, or nowhere */
    (void)snprintf(target, sizeof target, "%s/t", p.dir);
    assert_int_equal(symlink(target, p.path), 0);
    assert_left_alone(&p, "not a socket");
    (void)unlink(p.path);
    (void)close(bound(&p, SOCK_STREAM, false));
    assert_int_equal(rename(p.path, target), 0);
    assert_int_equal(symlink(target, p.path), 0);
    assert_left_alone(&p, "not a socket");
    assert_int_equal(lstat(target, &st), 0);
    (void)unlink(target);
    place_close(&p);
}

static void only_its_own_file_is_removed_at_the_end(void **state)
{
    struct place p;
    struct listeners l;

    (void)state;
    place_open(&p);
    assert_int_equal(open_at(&p, &l, 0600), 0);
    /* somebody has put another in its place */
    char aside[128];
    (void)snprintf(aside, sizeof aside, "%s/aside", p.dir);
    assert_int_equal(rename(p.path, aside), 0);
    int fd = bound(&p, SOCK_STREAM, true);
    listeners_done(&l);
    assert_true(is_there(&p));
    (void)close(fd);
    (void)unlink(aside);
    place_close(&p);
}

static void paths_that_do_not_do_are_told(void **state)
{
    static const char *const addresses[] = { "unix:relative", "unix:@abstract",
                                             "unix:", "unix:/nonexistent/dir/s", NULL };
    struct buf error;
    char longest[256] = "unix:/";

    (void)state;
    memset(longest + 6, 'x', 107);
    buf_init(&error, 4096);
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        const char *address = addresses[i] != NULL ? addresses[i] : longest;
        struct listeners l = { .count = 0 };

        buf_clear(&error);
        assert_true(listeners_add(&l,
                                  &(struct listener_options){ .address = address,
                                                              .unix_path = address + 5,
                                                              .socket_mode = 0600 },
                                  &error) < 0);
        if (strstr(buf_text(&error), address) == NULL)
            fail_msg("%s: %s", address, buf_text(&error));
        listeners_done(&l);
    }
    buf_done(&error);
}

/* Two that start at once take turns: while one is at it the other waits. */
static void one_that_is_starting_is_waited_for_but_not_for_ever(void **state)
{
    struct place p;
    struct listeners l;

    (void)state;
    place_open(&p);
    int lock = open(p.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    assert_int_equal(open_at(&p, &l, 0600), -EWOULDBLOCK);
    assert_false(is_there(&p));
    (void)close(lock);
    assert_int_equal(open_at(&p, &l, 0600), 0);
    listeners_done(&l);
    place_close(&p);
}

static void a_socket_that_was_passed_is_described_and_its_file_left_alone(void **state)
{
    struct place p;
    struct listeners l = { .count = 0 };
    struct listener twin;

    (void)state;
    place_open(&p);
    int fd = bound(&p, SOCK_STREAM, true);
    assert_int_equal(listeners_adopt(&l, fd, &p.error), 0);
    assert_string_equal(l.item[0].name, p.address);
    assert_int_equal(l.item[0].port, -1);
    assert_true(l.item[0].shared && l.item[0].passed);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_int_equal(listener_twin(&l.item[0], &twin, &p.error), 0);
    assert_true(twin.shared && twin.passed);
    assert_int_not_equal(twin.fd, fd);
    listener_close(&twin);
    listeners_done(&l);
    assert_true(is_there(&p));
    place_close(&p);
}

static int tcp_at(const char *address, bool listening)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
    bool is_v6 = strchr(address, ':') != NULL;
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(inet_pton(is_v6 ? AF_INET6 : AF_INET, address,
                               is_v6 ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr),
                     1);
    if (fd < 0 || bind(fd, is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4,
                       is_v6 ? sizeof v6 : sizeof v4) != 0) {
        (void)close(fd);
        return -1;
    }
    if (listening)
        assert_int_equal(listen(fd, 1), 0);
    return fd;
}

/* What callers may name as Host, and who reaches it. */
static void of_tcp_sockets_the_host_is_the_bare_address(void **state)
{
    static const struct {
        const char *address, *host; /* host NULL: none */
        bool local;
    } rows[] = {
        { "127.0.0.1", "127.0.0.1", true },
        { "127.1.2.3", "127.1.2.3", true },
        { "0.0.0.0", NULL, false },
        { "::1", "[::1]", true },
        { "::", NULL, false },
    };
    struct buf error;
    char host[64];

    (void)state;
    buf_init(&error, 1024);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct listeners l = { .count = 0 };
        int fd = tcp_at(rows[i].address, true);

        if (fd < 0) /* a machine without IPv6 */
            continue;
        assert_int_equal(listeners_adopt(&l, fd, &error), 0);
        assert_true(l.item[0].port > 0);
        assert_int_equal(listener_host(&l.item[0], host), rows[i].host != NULL);
        if (rows[i].host != NULL)
            assert_string_equal(host, rows[i].host);
        assert_int_equal(listener_is_local(&l.item[0]), rows[i].local);
        listeners_done(&l);
    }
    struct listener scoped = { .port = 80, .name = (char[]){ "[fe80::1%eth0]:80" } };

    assert_true(listener_host(&scoped, host));
    assert_string_equal(host, "[fe80::1]");
    assert_false(listener_is_local(&scoped));
    buf_done(&error);
}

static void more_addresses_than_it_takes_are_told_with_the_limit(void **state)
{
    (void)state;
    static const char *const says = "cannot listen on unix:/nowhere: there are more than 16 "
                                    "addresses, those of listen.address and of all callers";
    struct listeners l = { .count = LISTENERS_MAX };
    struct listener_options o = { .address = "unix:/nowhere", .unix_path = "/nowhere" };
    struct buf error;

    buf_init(&error, 4096);
    assert_int_equal(listeners_add(&l, &o, &error), -E2BIG);
    assert_memory_equal(buf_text(&error), says, strlen(says));
    buf_done(&error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_socket_has_the_mode_that_is_asked_for_whatever_the_umask),
        cmocka_unit_test(a_socket_that_nobody_listens_on_is_replaced),
        cmocka_unit_test(a_socket_that_is_in_use_is_left_alone),
        cmocka_unit_test(other_files_are_left_alone),
        cmocka_unit_test(only_its_own_file_is_removed_at_the_end),
        cmocka_unit_test(paths_that_do_not_do_are_told),
        cmocka_unit_test(one_that_is_starting_is_waited_for_but_not_for_ever),
        cmocka_unit_test(a_socket_that_was_passed_is_described_and_its_file_left_alone),
        cmocka_unit_test(of_tcp_sockets_the_host_is_the_bare_address),
        cmocka_unit_test(more_addresses_than_it_takes_are_told_with_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

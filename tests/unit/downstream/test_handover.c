/* handover.c: in whatever order libmicrohttpd reports a connection, and whether it does, nobody
 * is told what was known of another one. libmicrohttpd itself is defined here. */
#include <errno.h>

#include "downstream/handover.h"
#include "net/mhd_host.h"
#include "net/tls_bridge.h"
#include "unit.h"

static struct mhd_host host;
static struct handovers all;
static struct handover started; /* what was told when it reports the start at once */
static struct {
    bool at_once; /* 0.9.75; otherwise like 1.0, later */
    int result;
    int fd;
} library;

int mhd_host_take(struct mhd_host *h, int fd, const struct sockaddr *addr, socklen_t len)
{
    (void)addr;
    (void)len;
    assert_ptr_equal(h, &host);
    library.fd = fd;
    if (library.at_once)
        started = handover_take(&all, fd);
    return library.result;
}

static int setup(void **state)
{
    (void)state;
    memset(&library, 0, sizeof library);
    memset(&started, 0, sizeof started);
    handovers_init(&all, &host);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    handovers_done(&all);
    return 0;
}

static void give(int fd, struct handover known)
{
    assert_int_equal(handover_give(&all, fd, known, NULL, 0), library.result);
    assert_int_equal(library.fd, fd);
}

static void assert_unknown(struct handover known)
{
    assert_int_equal(known.kind, HANDOVER_UNKNOWN);
    assert_int_equal(known.owner, 0);
    assert_null(known.tls_bridge);
}

static void what_is_known_is_told_once_whenever_the_start_is_reported(void **state)
{
    static struct tls_bridge bridge;

    (void)state;
    for (int at_once = 0; at_once < 2; at_once++) {
        library.at_once = at_once;
        for (int fd = 3; fd < 2000; fd += 399) {
            give(fd, (struct handover){ HANDOVER_TLS, (unsigned)fd, &bridge });
            struct handover known = at_once ? started : handover_take(&all, fd);
            assert_int_equal(known.kind, HANDOVER_TLS);
            assert_int_equal(known.owner, fd);
            assert_ptr_equal(known.tls_bridge, &bridge);
            assert_unknown(handover_take(&all, fd));
            handover_bridge_gone(&all, fd, &bridge);
            assert_unknown(handover_take(&all, fd));
        }
    }
}

static void a_bridge_that_ended_before_the_start_is_not_told(void **state)
{
    static struct tls_bridge bridge;

    (void)state;
    give(9, (struct handover){ HANDOVER_UNIX, 4, NULL }); /* the number's former connection */
    (void)handover_take(&all, 9);
    give(9, (struct handover){ HANDOVER_TLS, 2, &bridge });
    handover_bridge_gone(&all, 9, &bridge);
    struct handover known = handover_take(&all, 9);
    assert_int_equal(known.kind, HANDOVER_TLS); /* and not the end of a unix socket */
    assert_null(known.tls_bridge);
}

static void
a_connection_that_never_started_leaves_nothing_to_the_next_of_its_number(void **state)
{
    static struct tls_bridge first, second;

    (void)state;
    give(5, (struct handover){ HANDOVER_TLS, 3, &first });
    give(5, (struct handover){ HANDOVER_UNIX, 0, NULL }); /* its bridge is still there */
    struct handover known = handover_take(&all, 5);
    assert_int_equal(known.kind, HANDOVER_UNIX);
    assert_int_equal(known.owner, 0);
    assert_null(known.tls_bridge);
    give(5, (struct handover){ HANDOVER_TLS, 0, &second });
    handover_bridge_gone(&all, 5, &first); /* only now: that is not the bridge of this one */
    assert_ptr_equal(handover_take(&all, 5).tls_bridge, &second);
    library.result = -ENOMEM;
    give(5, (struct handover){ HANDOVER_TCP, 3, NULL });
    library.result = 0;
    give(5, (struct handover){ HANDOVER_TCP, 1, NULL });
    assert_int_equal(handover_take(&all, 5).owner, 1);
}

static void nothing_is_known_of_what_was_not_given(void **state)
{
    static struct tls_bridge bridge;

    (void)state;
    assert_unknown(handover_take(&all, 0));
    handover_bridge_gone(&all, -1, &bridge);
    handover_bridge_gone(&all, 100000, &bridge);
    give(300, (struct handover){ HANDOVER_TCP, 1, NULL });
    for (int fd = -1; fd < 1000; fd++)
        if (fd != 300)
            assert_unknown(handover_take(&all, fd));
    assert_int_equal(handover_take(&all, 300).owner, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_is_known_is_told_once_whenever_the_start_is_reported),
        T(a_bridge_that_ended_before_the_start_is_not_told),
        T(a_connection_that_never_started_leaves_nothing_to_the_next_of_its_number),
        T(nothing_is_known_of_what_was_not_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

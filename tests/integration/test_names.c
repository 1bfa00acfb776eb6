/* Names with several addresses, in a mount namespace with another /etc/hosts (the machine's
 * is not changed). Skipped where no such namespace can be made. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"
#include "hosts.h"

/* The first two lines are Debian's own. */
static const char hosts[] = "127.0.0.1 localhost\n"
                            "::1 localhost ip6-localhost ip6-loopback\n"
                            "127.0.0.2 two.test\n"
                            "127.0.0.3 two.test\n"
                            "127.0.0.3 two.test again.test\n"
                            "192.0.2.9 half.test\n"
                            "127.0.0.4 half.test\n"
                            "192.0.2.9 elsewhere.test\n";

static bool possible;

static int make_world_of_names(void **state)
{
    (void)state;
    possible = hosts_begin(hosts);
    return 0;
}

static int unmake_it(void **state)
{
    (void)state;
    hosts_end();
    return 0;
}

/* The status of a GET there, 0: nobody listens, -1: no address of that kind on this machine. */
static int ask(const char *address, int port, const char *host, const char *target)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
    bool six = strchr(address, ':') != NULL;
    struct client c = { .fd = -1 };
    struct answer a = { 0 };
    char request[256];
    assert_int_equal(inet_pton(six ? AF_INET6 : AF_INET, address,
                               six ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr),
                     1);
    c.fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c.fd < 0)
        return -1;
    if (connect(c.fd, six ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4,
                six ? sizeof v6 : sizeof v4) != 0) {
        int error = errno;
        (void)close(c.fd);
        return error == ECONNREFUSED ? 0 : -1;
    }
    (void)snprintf(request, sizeof request,
                   "GET %s HTTP/1.1\r\nHost: %s:%d\r\nConnection: close\r\n\r\n", target, host,
                   port);
    client_puts(&c, request);
    client_read(&c, &a, false, SOON_MS);
    int status = a.status;
    client_close(&c);
    answer_free(&a);
    return status;
}

/* Whether this machine has ::1. */
static bool has_v6(void)
{
    struct sockaddr_in6 addr = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0;
    if (fd >= 0)
        (void)close(fd);
    if (!has)
        (void)fprintf(stderr, "SKIPPED: what concerns ::1, which this machine has not\n");
    return has;
}

static void assert_ready_names(struct proxy *p, const char *key, const char *address, int port)
{
    char line[256], name[64];
    (void)snprintf(name, sizeof name, "%s:%d", address, port);
    assert_true(proxy_log_field(p, "event=ready", 0, key, line, sizeof line));
    assert_contains(line, name);
}

/* The name that everybody uses, on a Debian system. */
static void localhost_is_listened_on_by_both_its_addresses(void **state)
{
    (void)state;
    if (!possible)
        skip();
    WORLD(w);
    world_start(&w,
                &(struct world_options){
                    .settings = "listen.address = localhost:0\nadmin.address = localhost:0\n"
                                "process.workers = 2\n" });
    int admin = proxy_admin_port(w.proxy);
    assert_int_equal(ask("127.0.0.1", w.port, "localhost", "/x"), 200);
    assert_int_equal(ask("127.0.0.1", admin, "localhost", "/healthz"), 200);
    assert_ready_names(w.proxy, "listen", "127.0.0.1", w.port);
    assert_ready_names(w.proxy, "admin", "127.0.0.1", admin);
    if (!has_v6())
        return;
    assert_int_equal(ask("::1", w.port, "localhost", "/x"), 200);
    assert_int_equal(ask("::1", w.port, "[::1]", "/x"), 200);
    assert_int_equal(ask("::1", admin, "localhost", "/healthz"), 200);
    assert_ready_names(w.proxy, "listen", "[::1]", w.port);
    assert_ready_names(w.proxy, "admin", "[::1]", admin);
}

static void one_port_is_taken_for_all_addresses_of_a_name_and_each_once(void **state)
{
    (void)state;
    if (!possible)
        skip();
    WORLD(w);
    char listen[256], wanted[256];
    world_start(&w, &(struct world_options){ .settings = "listen.address = two.test:0\n" });
    assert_true(proxy_log_field(w.proxy, "event=ready", 0, "listen", listen, sizeof listen));
    (void)snprintf(wanted, sizeof wanted, "127.0.0.2:%d,127.0.0.3:%d", w.port, w.port);
    assert_string_equal(listen, wanted);
    assert_int_equal(ask("127.0.0.2", w.port, "two.test", "/x"), 200);
    assert_int_equal(ask("127.0.0.3", w.port, "two.test", "/x"), 200);
    assert_int_equal(ask("127.0.0.9", w.port, "two.test", "/x"), 0);
}

static void an_address_that_two_entries_lead_to_is_listened_on_once(void **state)
{
    (void)state;
    if (!possible)
        skip();
    WORLD(w);
    char settings[128], listen[256], wanted[256];
    struct world_options options = { .settings = "listen.address = two.test:0\n" };
    world_start(&w, &options);
    int port = w.port;
    proxy_stop(w.proxy);
    (void)snprintf(settings, sizeof settings,
                   "listen.address = two.test:%d, again.test:%d, 127.0.0.2:%d\n", port, port,
                   port);
    options.settings = settings;
    world_proxy(&w, &options);
    assert_true(proxy_log_field(w.proxy, "event=ready", 0, "listen", listen, sizeof listen));
    (void)snprintf(wanted, sizeof wanted, "127.0.0.2:%d,127.0.0.3:%d", port, port);
    assert_string_equal(listen, wanted);
}

/* As in a container whose /etc/hosts has ::1 and whose network has not. */
static void an_address_that_the_machine_does_not_have_is_left_out(void **state)
{
    (void)state;
    if (!possible)
        skip();
    WORLD(w);
    world_start(&w, &(struct world_options){ .settings = "listen.address = half.test:0\n" });
    assert_int_equal(ask("127.0.0.4", w.port, "half.test", "/x"), 200);
    assert_int_equal(proxy_log_count(w.proxy, "event=address_skipped name=half.test:0"), 1);
}

static void the_health_check_and_the_check_of_settings_take_such_a_name(void **state)
{
    (void)state;
    if (!possible)
        skip();
    WORLD(w);
    struct world_options options = { .settings = "admin.address = two.test:0\n" };
    char settings[128], path[128];
    world_start(&w, &options);
    int port = proxy_admin_port(w.proxy);
    proxy_stop(w.proxy);
    (void)snprintf(settings, sizeof settings, "admin.address = two.test:%d\n", port);
    options.settings = settings;
    world_proxy(&w, &options);
    (void)snprintf(path, sizeof path, "%s/oneshot-proxy.ini", proxy_dir(w.proxy));
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    struct run health =
        run_proxy((const char *[]){ "--config", path, "healthcheck", NULL }, NULL);
    assert_int_equal(health.code, 0);
    run_free(&health);
    struct run check = run_proxy((const char *[]){ "--config", path, "--check", NULL }, NULL);
    assert_int_equal(check.code, 0);
    run_free(&check);
}

static void what_cannot_be_listened_on_is_told_in_words(void **state)
{
    static const struct {
        const char *address, *words;
    } cases[] = {
        { "nowhere.test:0", "the name nowhere.test does not resolve" },
        { "elsewhere.test:0", "this machine does not have that address" },
    };
    (void)state;
    if (!possible)
        skip();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char settings[128];
        (void)snprintf(settings, sizeof settings, "listen.address = %s\n", cases[i].address);
        struct bytes ini = world_ini("http://127.0.0.1:1/v0", "http://127.0.0.1:1/t", settings);
        struct proxy *p =
            proxy_start(bytes_text(&ini), &(struct proxy_options){ .no_wait = true });
        assert_int_equal(proxy_wait_exit(p, SOON_MS), 1);
        assert_true(proxy_log_contains(p, cases[i].words));
        assert_true(proxy_log_contains(p, cases[i].address));
        assert_false(proxy_log_contains(p, "\\n"));
        proxy_free(p);
        bytes_free(&ini);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(localhost_is_listened_on_by_both_its_addresses),
        TEST(one_port_is_taken_for_all_addresses_of_a_name_and_each_once),
        TEST(an_address_that_two_entries_lead_to_is_listened_on_once),
        TEST(an_address_that_the_machine_does_not_have_is_left_out),
        TEST(the_health_check_and_the_check_of_settings_take_such_a_name),
        TEST(what_cannot_be_listened_on_is_told_in_words),
    };
    return cmocka_run_group_tests(tests, make_world_of_names, unmake_it);
}

/* `oneshot-proxy healthcheck`, as a container runs it. */
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"

static struct run run_check(const char *address)
{
    char variable[256];
    const char *argv[] = { "healthcheck", NULL };
    (void)snprintf(variable, sizeof variable, "ONESHOT_PROXY_ADMIN_ADDRESS=%s", address);
    const char *env[] = { variable, NULL };
    return run_proxy(argv, env);
}

static struct run run_check_port(const char *host, int port)
{
    char address[64];
    (void)snprintf(address, sizeof address, "%s:%d", host, port);
    return run_check(address);
}

/* One line, no more, and nothing else. */
static void assert_said(struct run *r, int code, const char *words)
{
    if (r->code != code)
        fail_msg("it left with %d: %s%s", r->code, bytes_text(&r->out), bytes_text(&r->err));
    assert_contains(bytes_text(&r->out), words);
    const char *end = strchr(bytes_text(&r->out), '\n');
    assert_non_null(end);
    assert_string_equal(end, "\n");
    assert_int_equal(r->err.len, 0);
    run_free(r);
}

static void it_is_0_when_ready_and_1_when_not(void **state)
{
    (void)state;
    WORLD(w);
    world_start(&w, &(struct world_options){ .settings = "admin.address = 127.0.0.1:0\n",
                                             .hold_tokens = true });
    int admin = proxy_admin_port(w.proxy);
    struct run r = run_check_port("127.0.0.1", admin);
    assert_said(&r, 1, ": 503 {\"status\":\"not_ready\",\"reason\":\"token_pending\"");
    tokens_release(w.tokens);
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    r = run_check_port("127.0.0.1", admin);
    assert_said(&r, 0, ": 200 {\"status\":\"ready\"");
}

static void it_asks_over_a_unix_socket(void **state)
{
    (void)state;
    WORLD(w);
    char dir[] = "/tmp/oneshot-check-XXXXXX", settings[96];
    assert_non_null(mkdtemp(dir));
    (void)snprintf(settings, sizeof settings, "admin.address = unix:%s/admin.sock\n", dir);
    world_start(&w, &(struct world_options){ .settings = settings });
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    settings[strlen(settings) - 1] = '\0';
    const char *address = settings + strlen("admin.address = ");
    struct run r = run_check(address);
    assert_said(&r, 0, "/admin.sock: 200 {\"status\":\"ready\"");
    world_end(&w);
    r = run_check(address);
    assert_said(&r, 1, "no answer: No such file");
    (void)rmdir(dir);
}

static void every_address_means_loopback(void **state)
{
    (void)state;
    WORLD(w);
    world_start(&w, &(struct world_options){ .settings = "admin.address = 0.0.0.0:0\n" });
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    struct run r = run_check_port("0.0.0.0", proxy_admin_port(w.proxy));
    assert_said(&r, 0, ": 200 ");
}

static void what_cannot_be_asked_is_said(void **state)
{
    (void)state;
    struct run r = run_check("off");
    assert_said(&r, 1, "admin.address is off");
    r = run_check("127.0.0.1:0");
    assert_said(&r, 1, "admin.address has port 0");
    r = run_check("nonsense");
    assert_said(&r, 1, "admin.address is not an address: nonsense");
    const char *missing[] = { "healthcheck", "--config", "/nonexistent.ini", NULL };
    r = run_proxy(missing, NULL);
    assert_int_equal(r.code, 1);
    assert_contains(bytes_text(&r.err), "/nonexistent.ini: error: cannot be read");
    run_free(&r);
}

/* Secret files are not its business, nor is what is wrong elsewhere. */
static void it_needs_nothing_of_the_settings_but_the_address(void **state)
{
    (void)state;
    WORLD(w);
    char variable[64];
    world_start(&w, &(struct world_options){ .settings = "admin.address = 127.0.0.1:0\n" });
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    (void)snprintf(variable, sizeof variable, "ONESHOT_PROXY_ADMIN_ADDRESS=127.0.0.1:%d",
                   proxy_admin_port(w.proxy));
    const char *argv[] = { "healthcheck", NULL };
    const char *env[] = { variable, "ONESHOT_PROXY_TOKEN_CLIENT_SECRET_FILE=/nonexistent",
                          "ONESHOT_PROXY_LISTEN_ADDRESS=nonsense", NULL };
    struct run r = run_proxy(argv, env);
    assert_said(&r, 0, ": 200 ");
}

static void answer_nonsense(struct peer_conn *c, void *arg)
{
    (void)arg;
    (void)peer_read_request(c);
    (void)peer_puts(c, "220 mail ready\x1b[31m\r\n");
}

static void answer_rudely(struct peer_conn *c, void *arg)
{
    (void)arg;
    (void)peer_read_request(c);
    (void)peer_puts(c, "HTTP/1.1 200 OK\r\n\r\nfine\x1b[31m\r\nsecond line\n");
}

static void answer_never(struct peer_conn *c, void *arg)
{
    (void)arg;
    peer_read_eof(c);
}

static void answer_forever(struct peer_conn *c, void *arg)
{
    (void)arg;
    bool more = peer_puts(c, "HTTP/1.1 200 OK\r\n");
    while (more)
        more = peer_puts(c, "X-Padding: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n");
}

static void ask_peer(peer_serve_fn serve, int code, const char *words)
{
    struct peer *p = peer_start(&(struct peer_options){ .serve = serve });
    struct run r = run_check_port("127.0.0.1", peer_port(p));
    assert_said(&r, code, words);
    peer_stop(p);
}

static void a_stranger_at_the_port_is_not_believed_and_cannot_hold_it(void **state)
{
    (void)state;
    ask_peer(answer_nonsense, 1, "the answer is not HTTP");
    ask_peer(answer_rudely, 0, ": 200 fine?[31m");
    ask_peer(answer_forever, 1, "no answer: Message too long");
    int64_t began_ms = now_ms();
    ask_peer(answer_never, 1, "no answer: Connection timed out");
    assert_true(now_ms() - began_ms >= 2900);
    /* a port at which nobody listens, nor will */
    struct sockaddr_in taken = { .sin_family = AF_INET,
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof taken;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&taken, sizeof taken), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&taken, &len), 0);
    struct run r = run_check_port("127.0.0.1", ntohs(taken.sin_port));
    assert_said(&r, 1, "no answer: Connection refused");
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_is_0_when_ready_and_1_when_not),
        TEST(it_asks_over_a_unix_socket),
        TEST(every_address_means_loopback),
        TEST(what_cannot_be_asked_is_said),
        TEST(it_needs_nothing_of_the_settings_but_the_address),
        TEST(a_stranger_at_the_port_is_not_believed_and_cannot_hold_it),
    };
    return RUN_TESTS(tests);
}

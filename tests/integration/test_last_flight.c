/* A caller by TLS that sends the end of its handshake, a whole request and then what is no TLS
 * in one segment: its connection has ended before anybody has read the request. Whatever
 * becomes of that request, nobody takes it for another's. */
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"

#define MONEY "event=access class=money"
#define PAY                                                                   \
    "POST /methods/6f1c0c1e-5e0c-4a3b-9a64-0d8f6b7f7d11/execute HTTP/1.1\r\n" \
    "Host: localhost\r\nContent-Length: 2\r\n\r\n{}"
#define ROUNDS 4

struct place {
    char dir[64], settings[1024], more[1024];
};

static void place_remove(struct place *p)
{
    (void)rmdir(p->dir);
}

#define PLACE(name) struct place name __attribute__((cleanup(place_remove)))

/* TLS by TCP, and a unix socket for everybody; client_ca: callers must show a certificate. */
static void place_make(struct place *p, bool client_ca)
{
    struct cert_files f = { .serial = 0 };
    certs_write(&f, CERT_VALID);
    (void)snprintf(p->dir, sizeof p->dir, "/tmp/flight-test-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->settings, sizeof p->settings,
                   "listen.address = 127.0.0.1:0, unix:%s/all\nadmin.address = 127.0.0.1:0\n"
                   "process.workers = 1\nclasses.table = 1shot\n"
                   "listen.tls_certificate = %s\nlisten.tls_key = %s\n%s%s",
                   p->dir, f.certificate, f.key, client_ca ? "listen.tls_client_ca = " : "",
                   client_ca ? certs_ca_file() : "");
}

/* What OpenSSL wants to send so far. */
static void take_out(SSL *ssl, struct bytes *out)
{
    char *data = NULL;
    long len = BIO_get_mem_data(SSL_get_wbio(ssl), &data);

    bytes_add(out, data, (size_t)len);
    (void)BIO_reset(SSL_get_wbio(ssl));
}

static void send_once(int fd, struct bytes *out)
{
    if (out->len > 0)
        assert_int_equal(send(fd, out->data, out->len, MSG_NOSIGNAL), out->len);
    bytes_clear(out);
}

/* Waits for what the program sends. */
static void feed(int fd, SSL *ssl)
{
    char piece[16384];
    struct pollfd p = { .fd = fd, .events = POLLIN };

    assert_int_equal(poll(&p, 1, SOON_MS), 1);
    ssize_t n = recv(fd, piece, sizeof piece, 0);
    assert_true(n > 0);
    assert_int_equal(BIO_write(SSL_get_rbio(ssl), piece, (int)n), n);
}

/* Shakes hands, but keeps back the last flight. */
static void shake(int fd, SSL *ssl, struct bytes *flight)
{
    while (SSL_do_handshake(ssl) != 1) {
        take_out(ssl, flight);
        send_once(fd, flight);
        feed(fd, ssl);
    }
    take_out(ssl, flight);
}

/* Connects, and sends all at once: the end of the handshake, the request, and those bytes as
 * they are. */
static SSL *call_in_the_last_flight(struct client *c, int port, enum cert_kind certificate,
                                    const char *request, const char *after)
{
    struct bytes flight = { 0 };

    client_open(c, port);
    SSL_CTX *context = certs_client_context(certificate);
    SSL *ssl = SSL_new(context);
    SSL_CTX_free(context);
    assert_int_equal(SSL_set_min_proto_version(ssl, TLS1_3_VERSION), 1);
    assert_int_equal(SSL_set_tlsext_host_name(ssl, "localhost"), 1);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl);
    shake(c->fd, ssl, &flight);
    assert_int_equal(SSL_write(ssl, request, (int)strlen(request)), strlen(request));
    take_out(ssl, &flight);
    bytes_add_str(&flight, after);
    send_once(c->fd, &flight);
    bytes_free(&flight);
    return ssl;
}

static void break_off_as(struct world *w, enum cert_kind certificate)
{
    struct client c;

    SSL_free(call_in_the_last_flight(&c, w->port, certificate, PAY, "no TLS at all"));
    assert_true(client_closed(&c, SOON_MS));
    client_close(&c);
}

/* libmicrohttpd 0.9.75 reads the request, 1.0 finds that the connection has ended. If it is
 * read, it is this caller's, which may not send it. */
static void assert_judged_as(struct world *w, enum cert_kind certificate, const char *caller)
{
    char named[32], decision[32];

    for (size_t i = 0; i < ROUNDS; i++)
        break_off_as(w, certificate);
    proxy_signal(w->proxy, SIGTERM);
    assert_int_equal(proxy_wait_exit(w->proxy, SOON_MS), 0); /* all that was read is logged */
    for (size_t i = 0; i < proxy_log_count(w->proxy, MONEY); i++) {
        assert_true(proxy_log_field(w->proxy, MONEY, i, "caller", named, sizeof named));
        assert_true(proxy_log_field(w->proxy, MONEY, i, "decision", decision, sizeof decision));
        assert_string_equal(named, caller);
        assert_string_equal(decision, "denied");
    }
    assert_int_equal(peer_count(w->api, "POST"), 0);
}

static void it_is_not_taken_for_the_programs_own_user_by_a_unix_socket(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p, false);
    WORLD(w);
    (void)snprintf(p.more, sizeof p.more, "[caller me]\nuid = %u\nallow = money\n",
                   (unsigned)geteuid());
    world_start(&w, &(struct world_options){ .settings = p.settings, .more = p.more });
    assert_judged_as(&w, CERT_NONE, "none");
}

static void it_is_judged_by_the_certificate_that_it_has_shown(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p, true);
    WORLD(w);
    (void)snprintf(p.more, sizeof p.more,
                   "[caller payroll]\ncertificate = dns:localhost\nallow = read\n"
                   "[caller me]\nuid = %u\nallow = money\n"
                   "[caller other]\nallow = money\n",
                   (unsigned)geteuid());
    world_start(&w, &(struct world_options){ .settings = p.settings, .more = p.more });
    assert_judged_as(&w, CERT_VALID, "payroll");
}

static void it_did_not_come_by_the_address_of_a_connection_that_is_over(void **state)
{
    enum { BEFORE = 24 }; /* more than a TLS connection has descriptors */
    (void)state;
    PLACE(p);
    place_make(&p, false);
    WORLD(w);
    struct client c[BEFORE];
    struct answer a = { 0 };
    char path[96];
    (void)snprintf(p.more, sizeof p.more,
                   "[caller owner]\naddress = unix:%s/own\nallow = money, read\n", p.dir);
    world_start(&w, &(struct world_options){ .settings = p.settings, .more = p.more });
    (void)snprintf(path, sizeof path, "%s/own", p.dir);
    for (size_t i = 0; i < BEFORE; i++) {
        client_open_unix(&c[i], path);
        client_call(&c[i], "GET", "/chains", NULL, NULL, &a);
        assert_int_equal(a.status, 200);
    }
    for (size_t i = 0; i < BEFORE; i++)
        client_close(&c[i]);
    int64_t deadline_ms = now_ms() + SOON_MS;
    http_get(proxy_admin_port(w.proxy), "/metrics", &a);
    while (!bytes_contain(&a.body, "\noneshot_proxy_connections 0\n")) {
        assert_true(ask_again(deadline_ms));
        http_get(proxy_admin_port(w.proxy), "/metrics", &a);
    }
    assert_judged_as(&w, CERT_NONE, "none");
    answer_free(&a);
}

/* All that it will ever send is here when its connection becomes known: nothing else would
 * remind anybody of it. */
static void a_whole_request_in_it_is_answered(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p, true);
    WORLD(w);
    (void)snprintf(p.more, sizeof p.more,
                   "[caller payroll]\ncertificate = dns:localhost\nallow = money\n");
    world_start(&w, &(struct world_options){ .settings = p.settings, .more = p.more });
    for (size_t i = 0; i < ROUNDS; i++) {
        struct client c;
        char piece[16384];
        SSL *ssl = call_in_the_last_flight(&c, w.port, CERT_VALID, PAY, "");
        if (i % 2 == 1)
            assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
        while (head_length(c.in.data, c.in.len) == 0) {
            feed(c.fd, ssl);
            for (int n; (n = SSL_read(ssl, piece, sizeof piece)) > 0;)
                bytes_add(&c.in, piece, (size_t)n);
        }
        assert_contains(bytes_text(&c.in), "HTTP/1.1 200 ");
        SSL_free(ssl);
        client_close(&c);
    }
    assert_int_equal(peer_count(w.api, "POST"), ROUNDS);
    assert_true(proxy_log_wait(w.proxy, MONEY " caller=payroll", ROUNDS, SOON_MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_is_not_taken_for_the_programs_own_user_by_a_unix_socket),
        TEST(it_is_judged_by_the_certificate_that_it_has_shown),
        TEST(it_did_not_come_by_the_address_of_a_connection_that_is_over),
        TEST(a_whole_request_in_it_is_answered),
    };
    return RUN_TESTS(tests);
}

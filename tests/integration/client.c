/* A caller with bare sockets: one connection, one answer at a time. */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "unit.h"

/* Long enough that reaching it means failure, under valgrind beside other tests too. */
#define CALL_MS 60000

int client_receive_buffer;

static bool ready(int fd, short events, int64_t deadline_ms)
{
    struct pollfd p = { .fd = fd, .events = events };
    int n;
    do
        n = poll(&p, 1, left_ms(deadline_ms));
    while (n < 0 && errno == EINTR);
    return n > 0;
}

int client_connect(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && client_receive_buffer > 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &client_receive_buffer,
                         sizeof client_receive_buffer);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

void client_open(struct client *c, int port)
{
    *c = (struct client){ .fd = client_connect(port) };
    if (c->fd < 0)
        fail_msg("no connection to port %d: %s", port, strerror(errno));
    (void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

static int connect_unix(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, path, strlen(path));
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

void client_open_unix(struct client *c, const char *path)
{
    *c = (struct client){ .fd = connect_unix(path) };
    if (c->fd < 0)
        fail_msg("no connection to %s: %s", path, strerror(errno));
    (void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

int client_try_unix(const char *path)
{
    int fd = connect_unix(path);
    if (fd < 0)
        return errno;
    (void)close(fd);
    return 0;
}

/* What a call came to: 1 done, 0 the end, -1 wait for that. */
static int tls_result(struct client *c, int rc, short *events)
{
    int error = rc > 0 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, rc);
    ERR_clear_error();
    *events = error == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return -1;
    c->reset |= error != SSL_ERROR_NONE && error != SSL_ERROR_ZERO_RETURN;
    return error == SSL_ERROR_NONE;
}

bool client_open_tls(struct client *c, int port, const struct client_tls *options)
{
    static const struct client_tls defaults;
    if (options == NULL)
        options = &defaults;
    client_open(c, port);
    SSL_CTX *context = certs_client_context(options->certificate);
    c->ssl = SSL_new(context);
    SSL_CTX_free(context);
    assert_int_equal(SSL_set_fd(c->ssl, c->fd), 1);
    (void)SSL_set_mode(c->ssl,
                       SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    assert_int_equal(SSL_set_tlsext_host_name(c->ssl, "localhost"), 1);
    assert_int_equal(SSL_set1_host(c->ssl, "localhost"), 1);
    if (options->version != 0) {
        SSL_set_security_level(c->ssl, 0);
        (void)SSL_set_min_proto_version(c->ssl, options->version);
        (void)SSL_set_max_proto_version(c->ssl, options->version);
    }
    if (options->alpn != NULL) {
        unsigned char offer[64];
        size_t n = strlen(options->alpn);
        offer[0] = (unsigned char)n;
        memcpy(offer + 1, options->alpn, n);
        assert_int_equal(SSL_set_alpn_protos(c->ssl, offer, (unsigned)n + 1), 0);
    }
    int64_t deadline_ms = now_ms() + CALL_MS;
    int rc;
    short events;
    while ((rc = tls_result(c, SSL_connect(c->ssl), &events)) < 0)
        if (!ready(c->fd, events, deadline_ms))
            fail_msg("the handshake is not done in time");
    return rc == 1;
}

long client_server_serial(const struct client *c)
{
    X509 *certificate = SSL_get0_peer_certificate(c->ssl);
    assert_non_null(certificate);
    return ASN1_INTEGER_get(X509_get0_serialNumber(certificate));
}

bool client_refused(int port)
{
    int fd = client_connect(port);
    if (fd < 0)
        return errno == ECONNREFUSED;
    (void)ready(fd, POLLIN, now_ms() + 50); /* so that asking again and again costs little */
    (void)close(fd);
    return false;
}

void client_close(struct client *c)
{
    if (c->ssl != NULL) {
        if (SSL_is_init_finished(c->ssl) && !c->reset)
            (void)SSL_shutdown(c->ssl);
        ERR_clear_error();
        SSL_free(c->ssl);
        c->ssl = NULL;
    }
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
    bytes_free(&c->in);
}

void client_reset(struct client *c)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };
    (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    c->reset = true;
    client_close(c);
}

size_t client_try_send(struct client *c, const void *data, size_t n, int ms)
{
    int64_t deadline_ms = now_ms() + ms;
    size_t done = 0;
    while (c->ssl != NULL && done < n) {
        size_t sent = 0;
        short events;
        int rc = tls_result(c, SSL_write_ex(c->ssl, (const char *)data + done, n - done, &sent),
                            &events);
        done += sent;
        if (rc == 0 || (rc < 0 && !ready(c->fd, events, deadline_ms)))
            return done;
    }
    while (done < n) {
        ssize_t sent = send(c->fd, (const char *)data + done, n - done, MSG_NOSIGNAL);
        if (sent >= 0)
            done += (size_t)sent;
        else if (errno == EAGAIN ? !ready(c->fd, POLLOUT, deadline_ms) : errno != EINTR)
            break;
    }
    return done;
}

void client_send(struct client *c, const void *data, size_t n)
{
    size_t done = client_try_send(c, data, n, CALL_MS);
    if (done != n)
        fail_msg("only %zu of %zu bytes could be sent", done, n);
}

void client_puts(struct client *c, const char *text)
{
    client_send(c, text, strlen(text));
}

static int fill_until(struct client *c, int64_t deadline_ms)
{
    char piece[65536];
    while (c->ssl != NULL) {
        size_t got = 0;
        short events;
        int rc = tls_result(c, SSL_read_ex(c->ssl, piece, sizeof piece, &got), &events);
        if (rc == 1)
            bytes_add(&c->in, piece, got);
        if (rc >= 0 || !ready(c->fd, events, deadline_ms))
            return rc;
    }
    for (;;) {
        ssize_t n = recv(c->fd, piece, sizeof piece, 0);
        if (n > 0) {
            bytes_add(&c->in, piece, (size_t)n);
            return 1;
        }
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            c->reset = n < 0;
            return 0;
        }
        if (!ready(c->fd, POLLIN, deadline_ms))
            return -1;
    }
}

int client_fill(struct client *c, int ms)
{
    return fill_until(c, now_ms() + ms);
}

bool client_closed(struct client *c, int ms)
{
    int64_t deadline_ms = now_ms() + ms;
    int got;
    while ((got = fill_until(c, deadline_ms)) > 0)
        bytes_clear(&c->in);
    return got == 0;
}

void answer_free(struct answer *a)
{
    bytes_free(&a->head);
    bytes_free(&a->interim);
    bytes_free(&a->body);
    *a = (struct answer){ 0 };
}

/* `in` ran dry: what that means for the answer. */
static enum answer_end dried(const struct client *c, const struct answer *a, int got)
{
    if (got < 0)
        return ANSWER_LATE;
    return a->head.len + a->interim.len + c->in.len == 0 ? ANSWER_NONE : ANSWER_CUT;
}

static bool read_head(struct client *c, struct answer *a, int64_t deadline_ms)
{
    answer_free(a);
    a->content_length = -1;
    for (;;) {
        size_t len;
        while ((len = head_length(c->in.data, c->in.len)) == 0) {
            int got = fill_until(c, deadline_ms);
            if (got <= 0) {
                a->end = dried(c, a, got);
                return false;
            }
        }
        int status = 0;
        if (sscanf(c->in.data, "HTTP/1.%*1[01] %3d", &status) != 1)
            fail_msg("not a status line: %.60s", c->in.data);
        bool interim = status >= 100 && status < 200 && status != 101;
        bytes_add(interim ? &a->interim : &a->head, c->in.data, len);
        bytes_drop(&c->in, len);
        if (!interim) {
            a->status = status;
            a->chunked = head_chunked(bytes_text(&a->head));
            a->content_length = head_content_length(bytes_text(&a->head));
            a->end = ANSWER_WHOLE;
            return true;
        }
    }
}

void client_read_head(struct client *c, struct answer *a, int ms)
{
    (void)read_head(c, a, now_ms() + ms);
}

void client_read(struct client *c, struct answer *a, bool to_head, int ms)
{
    int64_t deadline_ms = now_ms() + ms;
    if (!read_head(c, a, deadline_ms))
        return;
    if (to_head || a->status == 204 || a->status == 304)
        return;
    struct chunked framing = { 0 };
    for (;;) {
        if (a->chunked) {
            if (chunked_take(&framing, &c->in, &a->body))
                return;
            if (framing.broken)
                fail_msg("broken chunk framing");
        } else {
            size_t n = c->in.len;
            if (a->content_length >= 0 && n > (size_t)a->content_length - a->body.len)
                n = (size_t)a->content_length - a->body.len;
            bytes_add(&a->body, c->in.data ? c->in.data : "", n);
            bytes_drop(&c->in, n);
            if ((int64_t)a->body.len == a->content_length)
                return;
        }
        int got = fill_until(c, deadline_ms);
        if (got < 0) {
            a->end = ANSWER_LATE;
            return;
        }
        if (got == 0) {
            /* without framing a FIN ends the body, a reset does not */
            bool framed = a->chunked || a->content_length >= 0;
            a->end = framed || c->reset ? ANSWER_CUT : ANSWER_WHOLE;
            return;
        }
    }
}

const char *answer_header(const struct answer *a, const char *name)
{
    static char value[8192];
    if (!head_value(bytes_text(&a->head), name, 0, value, sizeof value))
        return "";
    return value;
}

size_t answer_header_count(const struct answer *a, const char *name)
{
    return head_count(bytes_text(&a->head), name);
}

static void compose(struct bytes *out, const char *method, const char *target,
                    const char *headers, const char *body)
{
    bytes_addf(out, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s", method, target,
               headers ? headers : "");
    if (body != NULL)
        bytes_addf(out, "Content-Length: %zu\r\n", strlen(body));
    bytes_addf(out, "\r\n%s", body ? body : "");
}

void client_call(struct client *c, const char *method, const char *target, const char *headers,
                 const char *body, struct answer *a)
{
    struct bytes request = { 0 };
    compose(&request, method, target, headers, body);
    (void)client_try_send(c, request.data, request.len, CALL_MS);
    bytes_free(&request);
    client_read(c, a, strcmp(method, "HEAD") == 0, CALL_MS);
}

void http_raw(int port, const char *request, struct answer *a)
{
    struct client c;
    client_open(&c, port);
    (void)client_try_send(&c, request, strlen(request), CALL_MS);
    client_read(&c, a, strncmp(request, "HEAD ", 5) == 0, CALL_MS);
    client_close(&c);
}

void http_call(int port, const char *method, const char *target, const char *headers,
               const char *body, struct answer *a)
{
    struct bytes all = { 0 };
    bytes_addf(&all, "%sConnection: close\r\n", headers ? headers : "");
    struct client c;
    client_open(&c, port);
    client_call(&c, method, target, all.data, body, a);
    client_close(&c);
    bytes_free(&all);
}

void http_get(int port, const char *target, struct answer *a)
{
    http_call(port, "GET", target, NULL, NULL, a);
}

/* One connection of the scripted origin: its bytes, and the gates it waits at. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"
#include "peer_inside.h"

#define HEAD_MAX (4u << 20)

/* Reads from the socket. */
static long receive(struct peer_conn *c, void *out, size_t cap)
{
    if (c->fd < 0)
        return 0;
    if (c->ssl != NULL) {
        int n = SSL_read(c->ssl, out, cap > INT32_MAX ? INT32_MAX : (int)cap);
        if (n > 0)
            return n;
        return SSL_get_error(c->ssl, n) == SSL_ERROR_ZERO_RETURN ? 0 : -1;
    }
    ssize_t n;
    do
        n = recv(c->fd, out, cap, 0);
    while (n < 0 && errno == EINTR);
    return n;
}

long peer_read(struct peer_conn *c, void *out, size_t cap)
{
    if (c->in.len == 0)
        return receive(c, out, cap);
    size_t n = c->in.len < cap ? c->in.len : cap;
    memcpy(out, c->in.data, n);
    bytes_drop(&c->in, n);
    return (long)n;
}

/* Receives more bytes into `in`; false: there will be none. */
static bool fill(struct peer_conn *c)
{
    char piece[16384];
    long n = receive(c, piece, sizeof piece);
    if (n <= 0)
        return false;
    bytes_add(&c->in, piece, (size_t)n);
    return true;
}

void peer_read_eof(struct peer_conn *c)
{
    char piece[16384];
    bytes_clear(&c->in);
    while (receive(c, piece, sizeof piece) > 0) {
    }
}

struct peer_request *peer_read_head(struct peer_conn *c)
{
    size_t len;
    while ((len = head_length(c->in.data, c->in.len)) == 0)
        if (c->in.len > HEAD_MAX || !fill(c))
            return NULL;
    const char *line = c->in.data;
    size_t line_len = strcspn(line, "\r\n");
    size_t method_len = strcspn(line, " \r\n");
    const char *target = line + method_len + (line[method_len] == ' ');
    size_t target_len = strcspn(target, " \r\n");
    char method[32];
    (void)snprintf(method, sizeof method, "%.*s", (int)method_len, line);
    char *copy = target_len < line_len ? strndup(target, target_len) : strdup("");
    if (copy == NULL)
        abort();
    struct peer_request *r = peer_new_record(c, method, copy);
    free(copy);
    bytes_add(&r->head, c->in.data, len);
    bytes_drop(&c->in, len);
    r->chunked = head_chunked(bytes_text(&r->head));
    r->content_length = head_content_length(bytes_text(&r->head));
    peer_publish(c, r);
    return r;
}

bool peer_read_body(struct peer_conn *c, struct peer_request *r)
{
    struct chunked framing = { 0 };
    while (r->chunked && !chunked_take(&framing, &c->in, &r->body))
        if (framing.broken || !fill(c))
            return false;
    size_t wanted = !r->chunked && r->content_length > 0 ? (size_t)r->content_length : 0;
    while (r->body.len < wanted) {
        if (c->in.len == 0 && !fill(c))
            return false;
        size_t n = wanted - r->body.len;
        if (n > c->in.len)
            n = c->in.len;
        bytes_add(&r->body, c->in.data, n);
        bytes_drop(&c->in, n);
    }
    peer_complete(c, r);
    return true;
}

const struct peer_request *peer_read_request(struct peer_conn *c)
{
    struct peer_request *r = peer_read_head(c);
    return r != NULL && peer_read_body(c, r) ? r : NULL;
}

bool peer_write(struct peer_conn *c, const void *data, size_t n)
{
    const char *at = data;
    while (n > 0 && c->fd >= 0) {
        size_t piece = n > (1u << 20) ? 1u << 20 : n;
        ssize_t sent;
        if (c->ssl != NULL)
            sent = SSL_write(c->ssl, at, (int)piece);
        else
            sent = send(c->fd, at, piece, MSG_NOSIGNAL);
        if (sent < 0 && c->ssl == NULL && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        at += sent;
        n -= (size_t)sent;
    }
    return n == 0;
}

bool peer_puts(struct peer_conn *c, const char *text)
{
    return peer_write(c, text, strlen(text));
}

bool peer_answer(struct peer_conn *c, int status, const char *headers, const char *body)
{
    struct bytes out = { 0 };
    bytes_addf(&out, "HTTP/1.1 %d Status\r\n%s", status, headers ? headers : "");
    if (status != 204 && status != 304)
        bytes_addf(&out, "Content-Length: %zu\r\n", strlen(body));
    bytes_addf(&out, "\r\n%s", body);
    bool ok = peer_write(c, out.data, out.len);
    bytes_free(&out);
    return ok;
}

static void end(struct peer_conn *c)
{
    (void)pthread_mutex_lock(&c->peer->lock);
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
    (void)pthread_cond_broadcast(&c->peer->changed);
    (void)pthread_mutex_unlock(&c->peer->lock);
}

void peer_close(struct peer_conn *c)
{
    if (c->fd >= 0 && c->ssl != NULL)
        (void)SSL_shutdown(c->ssl);
    end(c);
}

void peer_cut(struct peer_conn *c)
{
    end(c);
}

void peer_reset(struct peer_conn *c)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };
    if (c->fd >= 0)
        (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    end(c);
}

void peer_finish_writing(struct peer_conn *c)
{
    if (c->fd >= 0)
        (void)shutdown(c->fd, SHUT_WR);
}

static bool stopping(struct peer *p)
{
    (void)pthread_mutex_lock(&p->lock);
    bool answer = p->stopping;
    (void)pthread_mutex_unlock(&p->lock);
    return answer;
}

bool gate_pass(struct gate *g, struct peer_conn *c)
{
    int64_t deadline_ms = now_ms() + PEER_PATIENCE_MS;
    (void)pthread_mutex_lock(&g->lock);
    g->arrived++;
    (void)pthread_cond_broadcast(&g->changed);
    bool ok;
    while (!(ok = g->open) && now_ms() < deadline_ms && !stopping(c->peer)) {
        /* in slices, so that a peer that is stopped by a failed test ends soon */
        struct timespec until = deadline_spec(now_ms() + 100);
        (void)pthread_cond_clockwait(&g->changed, &g->lock, CLOCK_MONOTONIC, &until);
    }
    (void)pthread_mutex_unlock(&g->lock);
    return ok;
}

void gate_init(struct gate *g)
{
    *g =
        (struct gate){ .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
}

static void gate_set(struct gate *g, bool open)
{
    (void)pthread_mutex_lock(&g->lock);
    g->open = open;
    (void)pthread_cond_broadcast(&g->changed);
    (void)pthread_mutex_unlock(&g->lock);
}

void gate_open(struct gate *g)
{
    gate_set(g, true);
}

void gate_shut(struct gate *g)
{
    gate_set(g, false);
}

bool gate_wait_arrived(struct gate *g, size_t n, int ms)
{
    struct timespec until = deadline_spec(now_ms() + ms);
    (void)pthread_mutex_lock(&g->lock);
    bool ok;
    while (!(ok = g->arrived >= n))
        if (pthread_cond_clockwait(&g->changed, &g->lock, CLOCK_MONOTONIC, &until) != 0)
            break;
    (void)pthread_mutex_unlock(&g->lock);
    return ok;
}

/* The scripted origin: accepting, threads, records. The bytes of one connection are in
 * peer_conn.c. */
#include "peer.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer_inside.h"

/* Call it with the lock: whether the request matches the pattern. */
static bool matches(const struct peer_request *r, const char *pattern)
{
    if (pattern[0] == '\0')
        return true;
    const char *space = strchr(pattern, ' ');
    size_t method_len = space ? (size_t)(space - pattern) : strlen(pattern);
    if (method_len > 0 &&
        (strlen(r->method) != method_len || strncmp(r->method, pattern, method_len) != 0))
        return false;
    if (space == NULL)
        return true;
    const char *target = space + 1;
    size_t len = strlen(target);
    if (len > 0 && target[len - 1] == '*')
        return strncmp(r->target, target, len - 1) == 0;
    return strcmp(r->target, target) == 0;
}

static size_t count_locked(const struct peer *p, const char *pattern, bool complete)
{
    size_t n = 0;
    for (size_t i = 0; i < p->request_count; i++)
        n += matches(p->requests[i], pattern) && (!complete || p->requests[i]->complete);
    return n;
}

static bool wait_locked(struct peer *p, int64_t deadline_ms)
{
    struct timespec until = deadline_spec(deadline_ms);
    return pthread_cond_clockwait(&p->changed, &p->lock, CLOCK_MONOTONIC, &until) == 0;
}

static bool wait_requests(struct peer *p, const char *pattern, size_t n, int ms, bool complete)
{
    int64_t deadline_ms = now_ms() + ms;
    (void)pthread_mutex_lock(&p->lock);
    bool ok;
    while (!(ok = count_locked(p, pattern, complete) >= n))
        if (!wait_locked(p, deadline_ms))
            break;
    (void)pthread_mutex_unlock(&p->lock);
    return ok;
}

bool peer_wait(struct peer *p, const char *pattern, size_t n, int ms)
{
    return wait_requests(p, pattern, n, ms, false);
}

bool peer_wait_complete(struct peer *p, const char *pattern, size_t n, int ms)
{
    return wait_requests(p, pattern, n, ms, true);
}

bool peer_wait_connections(struct peer *p, size_t n, int ms)
{
    int64_t deadline_ms = now_ms() + ms;
    (void)pthread_mutex_lock(&p->lock);
    bool ok;
    while (!(ok = p->accepted >= n))
        if (!wait_locked(p, deadline_ms))
            break;
    (void)pthread_mutex_unlock(&p->lock);
    return ok;
}

bool peer_wait_closed_to(struct peer *p, size_t n, int ms)
{
    int64_t deadline_ms = now_ms() + ms;
    (void)pthread_mutex_lock(&p->lock);
    bool ok;
    while (!(ok = p->live <= n))
        if (!wait_locked(p, deadline_ms))
            break;
    (void)pthread_mutex_unlock(&p->lock);
    return ok;
}

static size_t read_number(struct peer *p, const size_t *number)
{
    (void)pthread_mutex_lock(&p->lock);
    size_t n = *number;
    (void)pthread_mutex_unlock(&p->lock);
    return n;
}

size_t peer_connections(struct peer *p)
{
    return read_number(p, &p->accepted);
}

size_t peer_handshake_failures(struct peer *p)
{
    return read_number(p, &p->handshake_failures);
}

size_t peer_open_connections(struct peer *p)
{
    return read_number(p, &p->live);
}

size_t peer_count(struct peer *p, const char *pattern)
{
    (void)pthread_mutex_lock(&p->lock);
    size_t n = count_locked(p, pattern, false);
    (void)pthread_mutex_unlock(&p->lock);
    return n;
}

const struct peer_request *peer_request(struct peer *p, const char *pattern, size_t index)
{
    (void)pthread_mutex_lock(&p->lock);
    const struct peer_request *found = NULL;
    for (size_t i = 0; i < p->request_count && found == NULL; i++)
        if (matches(p->requests[i], pattern) && index-- == 0)
            found = p->requests[i];
    (void)pthread_mutex_unlock(&p->lock);
    return found;
}

struct peer_request *peer_new_record(struct peer_conn *c, const char *method,
                                     const char *target)
{
    struct peer_request *r = calloc(1, sizeof *r);
    if (r == NULL || (r->target = strdup(target)) == NULL)
        abort();
    r->connection = c->number;
    (void)snprintf(r->method, sizeof r->method, "%s", method);
    r->content_length = -1;
    return r;
}

void peer_publish(struct peer_conn *c, struct peer_request *r)
{
    struct peer *p = c->peer;
    (void)pthread_mutex_lock(&p->lock);
    if (p->request_count == p->request_cap) {
        p->request_cap = p->request_cap ? p->request_cap * 2 : 64;
        p->requests = realloc(p->requests, p->request_cap * sizeof(struct peer_request *));
        if (p->requests == NULL)
            abort();
    }
    p->requests[p->request_count++] = r;
    c->requests++;
    (void)pthread_cond_broadcast(&p->changed);
    (void)pthread_mutex_unlock(&p->lock);
}

void peer_complete(struct peer_conn *c, struct peer_request *r)
{
    (void)pthread_mutex_lock(&c->peer->lock);
    r->complete = true;
    (void)pthread_cond_broadcast(&c->peer->changed);
    (void)pthread_mutex_unlock(&c->peer->lock);
}

/* Closing a connection with unread bytes sends a reset, and the peer may lose an alert that
 * was sent before: waits until it has arrived. */
static void let_alert_arrive(int fd)
{
    const struct timeval patience = { .tv_sec = 1 };
    char some[4096];
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)shutdown(fd, SHUT_WR);
    for (int i = 0; i < 16 && recv(fd, some, sizeof some, 0) > 0; i++)
        ;
}

static void *serve_connection(void *arg)
{
    struct peer_conn *c = arg;
    struct peer *p = c->peer;
    bool ready = c->number > p->options.drop_first;
    if (ready && p->tls != NULL) {
        c->ssl = SSL_new(p->tls);
        ready = c->ssl != NULL && SSL_set_fd(c->ssl, c->fd) == 1 && SSL_accept(c->ssl) == 1;
    }
    bool refused = !ready && c->ssl != NULL;
    if (ready)
        p->options.serve(c, p->options.arg);
    else if (refused)
        let_alert_arrive(c->fd);
    peer_close(c);
    SSL_free(c->ssl);
    bytes_free(&c->in);

    (void)pthread_mutex_lock(&p->lock);
    for (struct peer_conn **at = &p->connections; *at != NULL; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    free(c);
    p->live--;
    p->handshake_failures += !ready;
    /* peer_stop frees p as soon as it gets the lock: p must not be used after this */
    (void)pthread_cond_broadcast(&p->changed);
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

static void begin_connection(struct peer *p, int fd)
{
    struct peer_conn *c = calloc(1, sizeof *c);
    if (c == NULL)
        abort();
    c->peer = p;
    c->fd = fd;
    struct timeval patience = { .tv_sec = PEER_PATIENCE_MS / 1000 };
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    int on = 1; /* a script's pieces go out as they are written */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);

    (void)pthread_mutex_lock(&p->lock);
    if (p->stopping) {
        (void)pthread_mutex_unlock(&p->lock);
        (void)close(fd);
        free(c);
        return;
    }
    c->number = ++p->accepted;
    c->next = p->connections;
    p->connections = c;
    p->live++;
    (void)pthread_cond_broadcast(&p->changed);
    (void)pthread_mutex_unlock(&p->lock);

    pthread_t thread;
    pthread_attr_t attr;
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attr, 512 * 1024);
    if (pthread_create(&thread, &attr, serve_connection, c) != 0)
        abort();
    (void)pthread_attr_destroy(&attr);
}

static void *accept_connections(void *arg)
{
    struct peer *p = arg;
    for (;;) {
        int fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            begin_connection(p, fd);
        else if (errno != EINTR && errno != ECONNABORTED)
            return NULL;
    }
}

int peer_host;

struct peer *peer_start(const struct peer_options *options)
{
    (void)signal(SIGPIPE, SIG_IGN);
    struct peer *p = calloc(1, sizeof *p);
    if (p == NULL)
        abort();
    p->options = *options;
    p->bound_fd = -1;
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->changed, NULL);
    if (options->cert != CERT_NONE)
        p->tls = certs_context(options->cert, options->h2);

    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr =
                                       htonl(INADDR_LOOPBACK + (uint32_t)peer_host) };
    socklen_t len = sizeof address;
    p->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (options->receive_buffer > 0)
        (void)setsockopt(p->listen_fd, SOL_SOCKET, SO_RCVBUF, &options->receive_buffer,
                         sizeof options->receive_buffer);
    if (p->listen_fd < 0 || bind(p->listen_fd, (struct sockaddr *)&address, len) != 0 ||
        listen(p->listen_fd, 4096) != 0 ||
        getsockname(p->listen_fd, (struct sockaddr *)&address, &len) != 0)
        abort();
    p->port = ntohs(address.sin_port);
    (void)snprintf(p->url, sizeof p->url, "%s:%d",
                   p->tls ? "https://localhost" : "http://127.0.0.1", p->port);
    if (pthread_create(&p->acceptor, NULL, accept_connections, p) != 0)
        abort();
    return p;
}

void peer_stop_listening(struct peer *p)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t len = sizeof address;

    if (p->listen_fd < 0)
        return;
    (void)getsockname(p->listen_fd, (struct sockaddr *)&address, &len);
    (void)shutdown(p->listen_fd, SHUT_RDWR); /* wakes accept */
    (void)pthread_join(p->acceptor, NULL);
    (void)close(p->listen_fd);
    p->listen_fd = -1;
    /* Nobody else is to listen there; with a connection left, this is not possible. */
    p->bound_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->bound_fd >= 0)
        (void)bind(p->bound_fd, (struct sockaddr *)&address, len);
}

void peer_stop(struct peer *p)
{
    if (p == NULL)
        return;
    (void)pthread_mutex_lock(&p->lock);
    p->stopping = true;
    (void)pthread_mutex_unlock(&p->lock);
    peer_stop_listening(p);
    (void)pthread_mutex_lock(&p->lock);
    for (struct peer_conn *c = p->connections; c != NULL; c = c->next)
        if (c->fd >= 0)
            (void)shutdown(c->fd, SHUT_RDWR);
    while (p->live > 0)
        (void)pthread_cond_wait(&p->changed, &p->lock);
    (void)pthread_mutex_unlock(&p->lock);
    if (p->bound_fd >= 0)
        (void)close(p->bound_fd);

    for (size_t i = 0; i < p->request_count; i++) {
        bytes_free(&p->requests[i]->head);
        bytes_free(&p->requests[i]->body);
        free(p->requests[i]->target);
        free(p->requests[i]);
    }
    free(p->requests);
    SSL_CTX_free(p->tls);
    if (p->options.free_arg)
        p->options.free_arg(p->options.arg);
    (void)pthread_cond_destroy(&p->changed);
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}

int peer_port(const struct peer *p)
{
    return p->port;
}

const char *peer_url(const struct peer *p)
{
    return p->url;
}

void *peer_arg(const struct peer *p)
{
    return p->options.arg;
}

/* One thread for each connection, as for every peer; after the CONNECT it waits on both
 * sides. */
#include "connect_proxy.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"

#define QUIET_MS 60000

struct connect_proxy {
    struct peer *peer;
    struct connect_proxy_options options;
};

static bool send_all(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t done = send(fd, data, n, MSG_NOSIGNAL);
        if (done <= 0)
            return false;
        data += done;
        n -= (size_t)done;
    }
    return true;
}

static void pass_on(struct peer_conn *c, int out)
{
    char piece[16384];
    struct pollfd fds[2] = { { .fd = c->fd, .events = POLLIN },
                             { .fd = out, .events = POLLIN } };
    if (c->in.len > 0 && !send_all(out, c->in.data, c->in.len))
        return;
    bytes_clear(&c->in);
    while (poll(fds, 2, QUIET_MS) > 0) {
        for (size_t i = 0; i < 2; i++) {
            if (fds[i].revents == 0)
                continue;
            ssize_t n = read(fds[i].fd, piece, sizeof piece);
            if (n <= 0 || !send_all(fds[1 - i].fd, piece, (size_t)n))
                return;
        }
    }
}

static void serve(struct peer_conn *c, void *arg)
{
    const struct connect_proxy_options *o = arg;
    char given[256] = "";
    const struct peer_request *r = peer_read_head(c);
    if (r == NULL)
        return;
    (void)head_value(bytes_text(&r->head), "Proxy-Authorization", 0, given, sizeof given);
    if (o->authorization != NULL && strcmp(given, o->authorization) != 0) {
        (void)peer_puts(c, "HTTP/1.1 407 Proxy Authentication Required\r\n"
                           "Proxy-Authenticate: Basic realm=\"gate\"\r\nContent-Length: 0\r\n"
                           "Connection: close\r\n\r\n");
        peer_close(c);
        return;
    }
    if (o->refuse_with != 0) {
        char head[96];
        (void)snprintf(head, sizeof head,
                       "HTTP/1.1 %d No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                       o->refuse_with);
        (void)peer_puts(c, head);
        peer_close(c);
        return;
    }
    const char *colon = strrchr(r->target, ':');
    int out = colon == NULL ? -1 : client_connect((int)strtol(colon + 1, NULL, 10));
    if (out < 0) {
        (void)peer_puts(c, "HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n");
        return;
    }
    if (peer_puts(c, "HTTP/1.1 200 Through\r\n\r\n"))
        pass_on(c, out);
    (void)close(out);
}

struct connect_proxy *connect_proxy_start(const struct connect_proxy_options *options)
{
    struct connect_proxy *t = calloc(1, sizeof *t);
    if (t == NULL)
        abort();
    if (options != NULL)
        t->options = *options;
    t->peer = peer_start(&(struct peer_options){ .serve = serve, .arg = &t->options });
    return t;
}

void connect_proxy_stop(struct connect_proxy *t)
{
    peer_stop(t->peer);
    free(t);
}

int connect_proxy_port(const struct connect_proxy *t)
{
    return peer_port(t->peer);
}

struct peer *connect_proxy_peer(struct connect_proxy *t)
{
    return t->peer;
}

/* Many callers at once: one poll loop, each with one request and one answer until the end. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "unit.h"

struct crowd {
    size_t n;
    struct client *clients;
    bool *ended;
    struct pollfd *polls;
};

static void raise_file_limit(size_t n)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < n + 256) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

struct crowd *crowd_start(int port, size_t n, const char *request)
{
    raise_file_limit(n);
    struct crowd *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->n = n;
    c->clients = calloc(n, sizeof *c->clients);
    c->ended = calloc(n, sizeof *c->ended);
    c->polls = calloc(n, sizeof *c->polls);
    for (size_t i = 0; i < n; i++)
        client_open(&c->clients[i], port);
    for (size_t i = 0; i < n; i++)
        client_puts(&c->clients[i], request);
    return c;
}

bool crowd_finish(struct crowd *c, int ms)
{
    int64_t deadline_ms = now_ms() + ms;
    size_t left = c->n;
    for (size_t i = 0; i < c->n; i++)
        c->polls[i] = (struct pollfd){ .fd = c->clients[i].fd, .events = POLLIN };
    while (left > 0 && now_ms() < deadline_ms) {
        int woken = poll(c->polls, c->n, left_ms(deadline_ms));
        if (woken < 0 && errno != EINTR)
            return false;
        for (size_t i = 0; i < c->n; i++) {
            if (c->polls[i].fd < 0 || c->polls[i].revents == 0)
                continue;
            int got;
            while ((got = client_fill(&c->clients[i], 0)) > 0) {
            }
            if (got == 0) {
                c->ended[i] = true;
                c->polls[i].fd = -1; /* poll passes over it */
                left--;
            }
        }
    }
    return left == 0;
}

size_t crowd_count(const struct crowd *c, int status)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        int got = 0;
        (void)sscanf(bytes_text(&c->clients[i].in), "HTTP/1.%*1[01] %3d", &got);
        n += got == status;
    }
    return n;
}

size_t crowd_containing(const struct crowd *c, const char *needle)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        n += bytes_contain(&c->clients[i].in, needle);
    return n;
}

void crowd_free(struct crowd *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->n; i++)
        client_close(&c->clients[i]);
    free(c->clients);
    free(c->ended);
    free(c->polls);
    free(c);
}

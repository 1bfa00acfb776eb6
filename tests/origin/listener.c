/* Opening a listening socket, and saying which port it got. */
#include "listener.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

/* "host:port" or "[v6]:port" in two; returns whether it fits. */
static int split(const char *host_port, char *host, size_t host_size, const char **port)
{
    const char *colon = strrchr(host_port, ':');
    size_t length = colon ? (size_t)(colon - host_port) : 0;

    if (length > 1 && host_port[0] == '[' && host_port[length - 1] == ']') {
        host_port++;
        length -= 2;
    }
    if (length == 0 || length >= host_size || !colon[1])
        return -1;
    memcpy(host, host_port, length);
    host[length] = '\0';
    *port = colon + 1;
    return 0;
}

static int describe(int fd, char actual[LISTENER_ADDRESS_SIZE])
{
    struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
    socklen_t length = sizeof(address);
    char host[64], port[8];

    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0 ||
        getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return -1;
    snprintf(actual, LISTENER_ADDRESS_SIZE, address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s",
             host, port);
    return 0;
}

static int open_one(const struct addrinfo *info)
{
    int on = 1;
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    info->ai_protocol);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int error = errno;

    close(fd);
    errno = error;
    return -1;
}

int listener_open(const char *host_port, char actual[LISTENER_ADDRESS_SIZE])
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *found;
    const char *port;
    char host[64];
    int fd, error;

    if (split(host_port, host, sizeof(host), &port) != 0) {
        fprintf(stderr, "oneshot-origin: '%s' is not HOST:PORT\n", host_port);
        return -1;
    }
    error = getaddrinfo(host, port, &hints, &found);
    if (error) {
        fprintf(stderr, "oneshot-origin: %s: %s\n", host_port, gai_strerror(error));
        return -1;
    }
    fd = open_one(found);
    if (fd < 0 || describe(fd, actual) != 0) {
        fprintf(stderr, "oneshot-origin: cannot listen on %s: %m\n", host_port);
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

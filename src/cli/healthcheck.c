/* A request by hand, so that nothing but sockets is needed:
 *
 *   admin.address -> where to connect -> GET /readyz -> status and body -> one line
 *
 * All of it under one deadline, whatever the other side does. */
#include "cli/healthcheck.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/ascii.h"
#include "base/clock.h"
#include "config/url.h"

#define ANSWER_BYTES_MAX 65536

/* Looking up a name can block for longer than anybody wants to wait, and cannot be told when to
 * stop. */
static void give_up(int signal)
{
    static const char line[] = "the name in admin.address did not resolve in time\n";

    (void)signal;
    if (write(STDOUT_FILENO, line, sizeof line - 1) < 0)
        _exit(EXIT_FAILURE);
    _exit(EXIT_FAILURE);
}

static int look_up(const char *host, const char *port, struct addrinfo **found)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    const struct sigaction action = { .sa_handler = give_up };

    (void)sigaction(SIGALRM, &action, NULL);
    (void)alarm(HEALTHCHECK_TIMEOUT_MS / 1000);
    int rc = getaddrinfo(host, port, &hints, found);

    (void)alarm(0);
    return rc == 0 ? 0 : -ENOENT;
}

/* 0: ready; or -ETIMEDOUT, -errno. */
static int await(int fd, short events, int64_t deadline_ms)
{
    struct pollfd p = { .fd = fd, .events = events };

    for (;;) {
        int n = poll(&p, 1, (int)base_max(0, deadline_ms - clock_ms()));

        if (n > 0)
            return 0;
        if (n == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

static int finish_connect(int fd, const struct sockaddr *addr, socklen_t len,
                          int64_t deadline_ms)
{
    int err = 0;
    socklen_t err_len = sizeof err;

    if (connect(fd, addr, len) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return -errno;
    int rc = await(fd, POLLOUT, deadline_ms);

    if (rc != 0)
        return rc;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &err_len) != 0 ? -errno : -err;
}

/* A connected, non-blocking socket, or -errno. */
static int connect_to(const struct sockaddr *addr, socklen_t len, int64_t deadline_ms)
{
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    int err = finish_connect(fd, addr, len, deadline_ms);

    if (err == 0)
        return fd;
    (void)close(fd);
    return err;
}

static int connect_unix(const char *path, int64_t deadline_ms)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof addr.sun_path)
        return -ENAMETOOLONG;
    memcpy(addr.sun_path, path, strlen(path));
    return connect_to((const struct sockaddr *)&addr, sizeof addr, deadline_ms);
}

/* Who listens on every address listens on loopback too. */
static const char *reachable(const char *host)
{
    if (strcmp(host, "0.0.0.0") == 0)
        return "127.0.0.1";
    return strcmp(host, "::") == 0 ? "::1" : host;
}

static int connect_inet(const struct config_address *a, int64_t deadline_ms)
{
    struct addrinfo *found = NULL;
    char port[12];

    (void)snprintf(port, sizeof port, "%d", a->port);
    int fd = look_up(reachable(a->host), port, &found);

    if (fd != 0)
        return fd;
    fd = -ENOENT;
    for (const struct addrinfo *f = found; f != NULL && fd < 0; f = f->ai_next)
        fd = connect_to(f->ai_addr, f->ai_addrlen, deadline_ms);
    freeaddrinfo(found);
    return fd;
}

/* Sends the request and reads until the other side closes. Returns 0 or -errno. */
static int exchange(int fd, struct buf *answer, int64_t deadline_ms)
{
    static const char request[] =
        "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

    /* It fits into the buffer of a new connection. */
    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != (ssize_t)sizeof request - 1)
        return -EIO;
    for (;;) {
        char piece[4096];
        int rc = await(fd, POLLIN, deadline_ms);

        if (rc != 0)
            return rc;
        ssize_t n = recv(fd, piece, sizeof piece, 0);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        if (n > 0 && buf_add(answer, piece, (size_t)n) != 0)
            return -EMSGSIZE;
    }
}

/* The status of "HTTP/1.x NNN ...", or 0. */
static int status_of(const char *text)
{
    if (strncmp(text, "HTTP/1.", 7) != 0 || !ascii_is_digit(text[7]) || text[8] != ' ')
        return 0;
    return (int)base_max(0, ascii_number(text + 9, strcspn(text + 9, " \r")));
}

/* The body on one line, without anything that a terminal might obey. */
static void add_body(struct buf *out, const char *body)
{
    size_t n = strcspn(body, "\n");

    for (size_t i = 0; i < n; i++)
        if (buf_add(out, ascii_is_field_byte(body[i]) ? &body[i] : "?", 1) != 0)
            return;
}

static bool report(const char *answer, struct buf *out)
{
    int status = status_of(answer);
    const char *end = strstr(answer, "\r\n\r\n");

    if (status == 0 || end == NULL) {
        (void)buf_addf(out, "the answer is not HTTP; does something else listen there?");
        return false;
    }
    (void)buf_addf(out, "%d ", status);
    add_body(out, end + 4);
    return status == 200;
}

bool healthcheck_ask(const char *address, struct buf *out)
{
    int64_t deadline_ms = clock_ms() + HEALTHCHECK_TIMEOUT_MS;
    struct config_address a;
    struct buf answer;

    if (strcmp(address, "off") == 0) {
        (void)buf_addf(out, "admin.address is off: there is nothing to ask");
        return false;
    }
    if (!config_address_split(address, &a)) {
        (void)buf_addf(out, "admin.address is not an address: %s", address);
        return false;
    }
    if (a.port == 0) {
        (void)buf_addf(out, "admin.address has port 0, which takes another one each time; "
                            "give it a number to be asked at");
        return false;
    }
    auto_close int fd = a.unix_path != NULL ? connect_unix(a.unix_path, deadline_ms)
                                            : connect_inet(&a, deadline_ms);
    bool ready = false;

    buf_init(&answer, ANSWER_BYTES_MAX);
    (void)buf_addf(out, "%s: ", address);
    int err = fd < 0 ? fd : exchange(fd, &answer, deadline_ms);

    if (err != 0)
        (void)buf_addf(out, "no answer: %s", strerrordesc_np(-err));
    else
        ready = report(buf_text(&answer), out);
    buf_done(&answer);
    return ready;
}

#pragma once
/* The admin listener: a few fixed paths for probes, Prometheus and people, on the control
 * thread, so that no stuck worker can hide it. Read only: GET and HEAD. */
#include <sys/queue.h>

#include "admin/status.h"
#include "base/base.h"
#include "base/buf.h"
#include "config/config.h"
#include "config/url.h"
#include "event/loop.h"
#include "net/acceptor.h"
#include "net/listener.h"
#include "net/mhd_host.h"

/* Open connections; when one more comes, the oldest is closed. */
#define ADMIN_CONNECTIONS_MAX 64
/* From accepting to the end of the answer; a connection carries one request. */
#define ADMIN_DEADLINE_MS 5000
#define ADMIN_HEAD_BYTES_MAX 8192
#define ADMIN_BODY_BYTES_MAX (1024 * 1024)
#define ADMIN_PATHS_MAX 8

struct admin_path {
    const char *path; /* "/metrics"; a query behind it is ignored */
    const char *content_type;
    const char *policy; /* Content-Security-Policy; NULL: nothing is allowed */
    /* Appends the body. Returns the HTTP status, or -errno, which makes a 500. */
    int (*render)(void *arg, const struct status *s, struct buf *out);
    void *arg;
};

struct admin_options {
    const char *address;      /* "off": nothing is opened */
    struct listeners *passed; /* take the place of the address, unless empty; empty then */
    int64_t socket_mode;
    const struct config *const *config; /* where the settings in force are found at any time */
    void (*take)(void *arg, struct status *out);
    void *arg;
};

TAILQ_HEAD(admin_connections, admin_connection);

struct admin {
    struct admin_options options;
    struct loop *loop;
    struct listeners listeners; /* one for each address of the name */
    struct acceptor acceptor;
    char *names; /* of the listeners, by commas; NULL: none */
    struct mhd_host mhd_host;
    struct loop_timer deadline;           /* of the oldest connection */
    struct admin_connections connections; /* oldest first */
    size_t connection_count;
    struct config_address address; /* whose host is an allowed Host */
    struct admin_path path[ADMIN_PATHS_MAX];
    size_t paths;
};

/* Listens, on what was passed or else on the address; /healthz, /readyz and /metrics are there.
 * Returns 0, or -errno with one line in `error`. Thread: control, as all of these. */
int admin_init(struct admin *a, struct loop *l, const struct admin_options *o,
               struct buf *error) MUST_CHECK;
/* Takes one that was not initialised, if zeroed. */
void admin_done(struct admin *a);

/* One more path, in front of the others in the list that a 404 gives. */
void admin_add(struct admin *a, const struct admin_path *path);

/* To be called after each batch of events, from the loop's on_turn, whose result it is. */
bool admin_turn(struct admin *a);

/* The addresses as bound, by commas, or "off": for the ready line. */
const char *admin_name(const struct admin *a);

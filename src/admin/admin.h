#pragma once
/* The admin listener: a few fixed paths for probes, Prometheus and people. It runs on the
 * control thread, so that it can report a stuck worker. Read only: GET and HEAD. */
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

/* Most open connections; when one more comes, the oldest is closed. */
#define ADMIN_CONNECTIONS_MAX 64
/* From accepting a connection to the end of its only answer. */
#define ADMIN_DEADLINE_MS 5000
#define ADMIN_HEAD_BYTES_MAX 8192
#define ADMIN_BODY_BYTES_MAX (1024 * 1024)
#define ADMIN_PATHS_MAX 8

struct admin_path {
    const char *path; /* "/metrics"; a query after it is ignored */
    const char *content_type;
    const char *policy; /* Content-Security-Policy; NULL: allow nothing */
    /* Appends the body. Returns the HTTP status, or -errno, which is answered as 500. */
    int (*render)(void *arg, const struct status *s, struct buf *out);
    void *arg;
};

struct admin_options {
    const char *address;      /* "off": no listener */
    struct listeners *passed; /* used in place of the address, unless empty; emptied */
    int64_t socket_mode;
    const struct config *const *config; /* points to the settings in force */
    void (*take)(void *arg, struct status *out);
    void *arg;
};

TAILQ_HEAD(admin_connections, admin_connection);

struct admin {
    struct admin_options options;
    struct loop *loop;
    struct listeners listeners; /* one for each address of the name */
    struct acceptor acceptor;
    char *names; /* of the listeners, separated by commas; NULL: none */
    struct mhd_host mhd_host;
    struct loop_timer deadline;           /* for the oldest connection */
    struct admin_connections connections; /* oldest first */
    size_t connection_count;
    struct config_address address; /* its host is allowed in Host */
    struct admin_path path[ADMIN_PATHS_MAX];
    size_t paths;
};

/* Listens, on the passed sockets or else on the address, and serves /healthz, /readyz and
 * /metrics. Returns 0, or -errno with one line in `error`. Thread: control, for all
 * functions here. */
int admin_init(struct admin *a, struct loop *l, const struct admin_options *o,
               struct buf *error) MUST_CHECK;
/* Takes one that was not initialised, if zeroed. */
void admin_done(struct admin *a);

/* Adds a path, listed before the others in the body of a 404. */
void admin_add(struct admin *a, const struct admin_path *path);

/* Call it after each batch of events, from the loop's on_turn, and return its result. */
bool admin_turn(struct admin *a);

/* The addresses as bound, separated by commas, or "off": for the ready line. */
const char *admin_name(const struct admin *a);

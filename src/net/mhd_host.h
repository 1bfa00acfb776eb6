#pragma once
/* Runs a libmicrohttpd daemon on a loop. The daemon has no listening socket and no thread of
 * its own: connections are given to it (mhd_host_take), and it runs when mhd_host_turn is
 * called. Thread: the loop's, for all of it. */
#include <microhttpd.h>
#include <sys/socket.h>

#include "base/base.h"
#include "event/loop.h"

struct mhd_host_options {
    size_t pool_bytes; /* per connection: the head of a request and of its answer */
    unsigned connection_limit;
    int64_t idle_timeout_ms; /* inactivity of a connection that is not suspended; 0: no limit */
    MHD_AccessHandlerCallback on_request;
    MHD_RequestCompletedCallback on_completed;
    void *(*on_target)(void *arg, const char *target, struct MHD_Connection *c);
    MHD_NotifyConnectionCallback on_connection;
    /* libmicrohttpd is about to answer a request by itself, with that status. It does not
     * say which request. May be NULL. */
    void (*on_own_answer)(void *arg, unsigned status);
    void *arg; /* passed to all five */
};

struct mhd_host {
    struct MHD_Daemon *daemon;
    struct loop *loop;
    void (*on_own_answer)(void *arg, unsigned status);
    void *arg;         /* its argument */
    struct loop_io io; /* its epoll descriptor */
    struct loop_timer timer;
    unsigned timeout_s; /* the timeout that connections have unless they get their own */
    /* The loaded library accepts heads that it should refuse (before 0.9.77): every byte of
     * a head must be accounted for, see request_check. */
    bool is_lenient;
    bool due;      /* something has happened for which MHD must be run */
    uint64_t runs; /* number of runs so far */
    /* Number of connections that wait for an answer without being suspended. Because of them
     * MHD asks to be run again at once; that is done only if the last run was `busy` with
     * something else. */
    unsigned polling;
    bool busy;
};

/* Returns 0 or -errno. */
int mhd_host_init(struct mhd_host *h, struct loop *l,
                  const struct mhd_host_options *o) MUST_CHECK;
/* No connection may be suspended. */
void mhd_host_done(struct mhd_host *h);

/* Gives an accepted, non-blocking socket to the daemon, which owns it from here, also on
 * failure. Returns 0 or -errno. */
int mhd_host_take(struct mhd_host *h, int fd, const struct sockaddr *addr,
                  socklen_t len) MUST_CHECK;

/* Runs the daemon if it is due: until it has nothing left to do, but a limited number of
 * times; then the rest is due in the next turn. Returns whether it ran. */
bool mhd_host_turn(struct mhd_host *h);

/* MHD is closing a connection inside a callback of ours: finish that in the next
 * mhd_host_turn. Otherwise MHD (0.9.75 and 1.0) may forget it until the oldest idle
 * connection times out. If the connection is not closed after all, this costs little. */
void mhd_host_close_soon(struct mhd_host *h, struct MHD_Connection *c);

/* For a connection that MHD has stopped reading from and that we have shut down. MHD does
 * not notice that; this makes it close the connection after a second of idleness. */
void mhd_host_close_stuck(struct mhd_host *h, struct MHD_Connection *c);

/* A handler has done something: its connection may have more to do at once. */
static inline void mhd_host_busy(struct mhd_host *h)
{
    h->busy = true;
}

/* Lets a suspended connection go on in the next mhd_host_turn. */
void mhd_host_resume(struct mhd_host *h, struct MHD_Connection *c);

/* The version of the loaded library, "0.9.75". */
const char *mhd_host_library_version(void);

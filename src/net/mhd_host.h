#pragma once
/* A libmicrohttpd daemon hosted on a loop: it has no listening socket and no thread of its
 * own; connections are given to it (mhd_host_take) and it runs when mhd_host_turn is called. */
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
    /* libmicrohttpd is about to answer a request by itself, with that status. It does not say
     * which. NULL: nobody wants to know. */
    void (*on_own_answer)(void *arg, unsigned status);
    void *arg; /* for all five */
};

struct mhd_host {
    struct MHD_Daemon *daemon;
    struct loop *loop;
    void (*on_own_answer)(void *arg, unsigned status);
    void *arg;         /* ... its */
    struct loop_io io; /* its epoll descriptor */
    struct loop_timer timer;
    unsigned timeout_s; /* the common one */
    /* The library that is loaded lets heads pass that it should refuse (before 0.9.77): every
     * byte of a head has to be accounted for, see request_check. */
    bool is_lenient;
    bool due;      /* something happened that MHD must be run for */
    uint64_t runs; /* counts them */
    /* Connections that wait for an answer without being suspended. MHD asks to be run again at
     * once because of them; it is, while a run was `busy` with something else. */
    unsigned polling;
    bool busy;
};

/* Returns 0 or -errno. */
int mhd_host_init(struct mhd_host *h, struct loop *l,
                  const struct mhd_host_options *o) MUST_CHECK;
/* No connection may be suspended. */
void mhd_host_done(struct mhd_host *h);

/* Gives an accepted, non-blocking socket to the daemon, which owns it from here, also on
 * failure. */
int mhd_host_take(struct mhd_host *h, int fd, const struct sockaddr *addr,
                  socklen_t len) MUST_CHECK;

/* Runs the daemon when it is due, until it has nothing left at hand. Returns whether it ran. */
bool mhd_host_turn(struct mhd_host *h);

/* A connection is being closed by MHD inside a callback of ours: have it done in the next
 * mhd_host_turn. MHD (0.9.75 and 1.0) may forget it otherwise, until the oldest idle connection
 * times out. For a connection that goes on after all this costs a little. */
void mhd_host_close_soon(struct mhd_host *h, struct MHD_Connection *c);

/* MHD has stopped reading from the connection, which we have shut down, and sees nothing of
 * that: it closes it once it was idle for a second. */
void mhd_host_close_stuck(struct mhd_host *h, struct MHD_Connection *c);

/* A handler did something: its connection may have more to do at once. */
static inline void mhd_host_busy(struct mhd_host *h)
{
    h->busy = true;
}

/* A suspended connection goes on in the next mhd_host_turn. */
void mhd_host_resume(struct mhd_host *h, struct MHD_Connection *c);

/* "0.9.75", as loaded. */
const char *mhd_host_library_version(void);

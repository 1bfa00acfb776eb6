#pragma once
/* Accepts connections on a set of listeners: a limited number in each turn of the loop, and
 * with a pause when descriptors or memory run out, because the kernel would wake the loop
 * again at once. */
#include <sys/socket.h>

#include "base/base.h"
#include "event/loop.h"
#include "net/listener.h"

struct acceptor;

/* Called with each connection: non-blocking, close-on-exec; addr may be of any family. The
 * function owns fd. */
typedef void (*acceptor_fn)(void *arg, const struct listener *from, int fd,
                            const struct sockaddr *addr, socklen_t len);

struct acceptor {
    struct loop *loop;
    struct acceptor_socket {
        struct loop_io io;
        struct acceptor *acceptor;
        const struct listener *listener;
    } socket[LISTENERS_MAX];
    size_t count;
    int batch;
    struct loop_timer pause;
    acceptor_fn on_accepted;
    void *arg;
};

struct acceptor_options {
    /* at most LISTENERS_MAX; not owned, must stay open and in place as long as the acceptor
     * exists */
    const struct listener *listeners;
    size_t count;
    int batch; /* most connections of one listener in one turn */
    acceptor_fn on_accepted;
    void *arg;
};

/* Returns 0 or -errno; call acceptor_done in both cases. Thread: the loop's, as for all
 * functions here. */
int acceptor_init(struct acceptor *a, struct loop *l,
                  const struct acceptor_options *o) MUST_CHECK;
/* Stops listening without a reset for anybody who is connected already: the connections that
 * wait in the queues are accepted in this call, then the kernel refuses new ones. The
 * descriptors stay open. For TCP this affects the listeners of this acceptor only; a unix
 * socket is shared, and closed for all threads. A socket that was passed to the process
 * keeps listening, since other processes have it too: it is no longer watched, and what
 * waits in its queue stays there. */
void acceptor_close(struct acceptor *a);
/* Stops accepting. Takes a zeroed one. */
void acceptor_done(struct acceptor *a);

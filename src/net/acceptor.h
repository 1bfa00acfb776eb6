#pragma once
/* Accepts connections on a set of listeners: some in each turn of the loop, and with a pause
 * when descriptors or memory run out, since the kernel would wake the loop at once again. */
#include <sys/socket.h>

#include "base/base.h"
#include "event/loop.h"
#include "net/listener.h"

struct acceptor;

/* A connection, non-blocking, closed on exec; addr may be of any family. Owns: fd. */
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
    const struct listener *listeners; /* at most LISTENERS_MAX; they stay the caller's, and open
                                         and in place for as long as the acceptor is */
    size_t count;
    int batch; /* connections of one listener in one turn */
    acceptor_fn on_accepted;
    void *arg;
};

/* Returns 0 or -errno; acceptor_done is due in both cases. Thread: the loop's, for all of it.
 */
int acceptor_init(struct acceptor *a, struct loop *l,
                  const struct acceptor_options *o) MUST_CHECK;
/* Stops listening without a reset for anybody who is connected already: what waits in the
 * queues is accepted, in this call; from then on the kernel refuses. The descriptors stay open.
 * For the listeners of this acceptor alone; a unix socket, which several share, is closed for
 * all of them. A socket that was passed goes on listening, since others have it too: it is only
 * not looked at any more, and what waits in its queue stays there. */
void acceptor_close(struct acceptor *a);
/* Accepts no more. Takes a zeroed one. */
void acceptor_done(struct acceptor *a);

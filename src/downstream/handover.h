#pragma once
/* Who a connection belongs to, while libmicrohttpd has its descriptor and has not started it.
 *
 * libmicrohttpd is given a descriptor, and reports later which connection it has made of it.
 * How much later depends on its version: 0.9.75 does it at once, 1.0 in its next run. In
 * between the TLS in front of it may end, and libmicrohttpd may close the descriptor without
 * any report (no memory for the connection), so that its number soon names another one. The
 * descriptor itself does not tell who calls: one from a TLS bridge is a socket pair whose
 * peer, for the kernel, is this program.
 *
 * So what is known is written under the descriptor's number when libmicrohttpd is given it,
 * for every connection and by the same function; the report of the start takes it out:
 *
 *     handover_give --> [number: kind, owner, bridge] --started--> handover_take
 *                              |
 *                              `--the bridge ends--> [number: TLS, no bridge]
 *
 * While libmicrohttpd has the descriptor, no other can have its number. What was closed
 * without being started leaves its entry behind; it is overwritten by the next descriptor of
 * that number before anybody asks. So whoever takes gets what was written for this very
 * connection. If its bridge has ended, or nothing was written, nobody knows who calls, and
 * the connection has to be closed unread.
 * Thread: the worker's, for all of it. */
#include <sys/socket.h>

#include "base/base.h"

struct mhd_host;
struct tls_bridge;

struct handover {
    enum {
        HANDOVER_UNKNOWN, /* nothing is known; a zeroed entry */
        HANDOVER_TCP,     /* accepted, without TLS */
        HANDOVER_UNIX,    /* accepted from a unix socket: the kernel knows the caller's user */
        HANDOVER_TLS      /* the plain end of a TLS bridge */
    } kind;
    unsigned owner;                /* of the listener that it came in by, see struct listener */
    struct tls_bridge *tls_bridge; /* of HANDOVER_TLS; NULL: it has ended */
};

struct handovers {
    struct mhd_host *mhd_host;
    struct handover *by_fd;
    size_t count;
};

void handovers_init(struct handovers *all, struct mhd_host *h);
/* After the daemon has stopped and the last bridge has ended. */
void handovers_done(struct handovers *all);

/* Writes down what is known and gives the descriptor to libmicrohttpd, which owns it from
 * here, also on failure; see mhd_host_take. Returns 0 or -errno. */
int handover_give(struct handovers *all, int fd, struct handover known,
                  const struct sockaddr *addr, socklen_t len) MUST_CHECK;
/* What was written for the connection that libmicrohttpd has started with this descriptor. It
 * is told once; after that the number is unknown. */
struct handover handover_take(struct handovers *all, int fd);
/* The bridge ends whose plain end had this descriptor. If it was not started, it never
 * becomes known any more. */
void handover_bridge_gone(struct handovers *all, int fd, const struct tls_bridge *t);

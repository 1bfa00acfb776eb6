#pragma once
/* A caller's TLS connection, and the plain one behind it: once the handshake is done,
 * libmicrohttpd gets one end of a socket pair. The layers above know nothing of TLS but what
 * these functions tell them. Thread: the worker's. */
#include <sys/queue.h>

#include "base/buf.h"
#include "event/loop.h"
#include "net/tls.h"

struct tls_bridge {
    struct tls_bridges *host;
    struct tls_session *session;
    struct loop_io net, plain; /* plain.fd: our end of the pair; -1: not made yet */
    struct loop_timer deadline;
    /* when the handshake must end, if `deadline` is for its first byte; 0: otherwise */
    int64_t whole_by_ms;
    int64_t passed_up_bytes; /* of the caller's bytes, written to the plain end */
    struct buf up, down;     /* decrypted, and to be encrypted: what could not be written yet */
    enum {
        TLS_BRIDGE_HANDSHAKE, /* the layers above do not know it yet */
        TLS_BRIDGE_GIVEN,     /* they have its plain end; nothing is passed up yet */
        TLS_BRIDGE_OPEN,      /* tls_bridge_hold was called: bytes go both ways */
        TLS_BRIDGE_LINGERING  /* everything is sent; what the caller still sends is discarded */
    } state;
    int given_fd;               /* the other end, which on_open was called with; -1: not yet */
    struct tls_bridge **holder; /* the pointer that tls_bridge_hold set; NULL: none */
    bool released;              /* its holder is gone, and not everything is sent yet */
    int64_t send_timeout_ms;    /* while released: longest time without progress */
    int64_t taken_bytes; /* while released: bytes accepted by the caller at the last check */
    unsigned owner;      /* of the listener, see struct listener */
    bool refused;        /* above listen.max_connections, see struct conn */
    bool cut;            /* end it in a way that the caller takes for a broken connection */
    bool watched;        /* report it when the caller leaves */
    bool left;           /* the caller has closed or half-closed */
    bool stalled;        /* it was cut because the caller accepted nothing */
    bool expired;        /* its deadline has passed */
    const char *broken;  /* the fault in what the caller sent that ends it; NULL: none */
    bool up_ended;       /* nothing more is passed up */
    bool down_ended;     /* everything is sent, close_notify too */
    bool ready;
    LIST_ENTRY(tls_bridge) link;
    TAILQ_ENTRY(tls_bridge) ready_link;
};

struct tls_bridges {
    struct loop *loop;
    LIST_HEAD(tls_bridge_list, tls_bridge) all;
    TAILQ_HEAD(tls_bridge_ready, tls_bridge) ready;
    size_t count;
    size_t releasing; /* bridges whose holder is gone and that still have bytes to send */
    /* The handshake is done. fd is the plain end; the function owns it, also on failure. No
     * byte of the caller's comes out of it until tls_bridge_hold is called, so that nobody can
     * read one without knowing whose it is. Returns 0 or -errno. */
    int (*on_open)(void *arg, struct tls_bridge *t, int fd);
    /* The handshake has failed, `why` is a text. What is written to net.fd now is sent as
     * plain text. */
    void (*on_failed)(void *arg, struct tls_bridge *t, const char *why);
    /* A bridge is about to be freed. */
    void (*on_gone)(void *arg, struct tls_bridge *t);
    void *arg;
    char scratch[16384]; /* size of a TLS record */
};

void tls_bridges_init(struct tls_bridges *host, struct loop *l);
/* Ends all of them; sends what can be sent without waiting. Call it after the plain ends are
 * closed. */
void tls_bridges_done(struct tls_bridges *host);

struct tls_bridge_options {
    struct tls *tls;
    int64_t deadline_ms; /* of the handshake */
    unsigned owner;      /* these two are kept for the layers above */
    bool refused;
};

/* Takes over an accepted, non-blocking descriptor and does the TLS handshake. Returns 0 or
 * -errno (the descriptor is closed then). on_gone is called once for each that returned 0. */
int tls_bridge_open(struct tls_bridges *host, int fd,
                    const struct tls_bridge_options *o) MUST_CHECK;

/* The reader of the plain end is ready and knows who calls: from here on bytes are passed up.
 * Call it once for each bridge that on_open was called for. Sets *holder to the bridge, and
 * to NULL when the bridge ends before tls_bridge_release is called. */
void tls_bridge_hold(struct tls_bridge *t, struct tls_bridge **holder);
/* The plain end is about to be closed. What was written to it is still sent, unless the
 * caller accepts nothing for send_timeout_ms; then it sees a reset. Takes a *holder that is
 * NULL. */
void tls_bridge_release(struct tls_bridge **holder, int64_t send_timeout_ms);

/* Whether to half-close the plain end when the caller leaves, so that libmicrohttpd notices
 * it. */
void tls_bridge_watch(struct tls_bridge *t, bool on);
/* Makes the end look like a broken connection: a reset without close_notify. */
void tls_bridge_cut(struct tls_bridge *t);
/* Ends it now, by a reset. */
void tls_bridge_abort(struct tls_bridge *t);
/* The descriptor of the caller's connection, only to be looked at. */
int tls_bridge_fd(const struct tls_bridge *t);
/* Whether it holds bytes that the caller has not accepted yet. */
bool tls_bridge_keeps_bytes(const struct tls_bridge *t);
/* Bytes received from the caller, encrypted. */
int64_t tls_bridge_received_bytes(const struct tls_bridge *t);
/* Whether more has been received that was not processed yet. */
bool tls_bridge_has_received(const struct tls_bridge *t);

/* Moves what can be moved. Returns whether there is more to do at once. */
bool tls_bridges_turn(struct tls_bridges *host);
/* Whether there are bridges for which tls_bridge_hold was not called yet: in the handshake, or
 * not yet started by libmicrohttpd. */
bool tls_bridges_in_handshake(const struct tls_bridges *host);
/* Ends those in the handshake from which nothing was received by begin_by_ms (clock_ms()). */
void tls_bridges_stop_silent(struct tls_bridges *host, int64_t begin_by_ms);
/* Ends those that the layers above do not hold yet. */
void tls_bridges_stop_handshakes(struct tls_bridges *host);

#pragma once
/* A caller's TLS connection, and the plain one behind it that libmicrohttpd gets: one end of a
 * socket pair, once the handshake is done. Nothing above knows of TLS but for what is asked
 * here. All of it by the worker's thread. */
#include <sys/queue.h>

#include "base/buf.h"
#include "event/loop.h"
#include "net/tls.h"

struct tls_bridge {
    struct tls_bridges *host;
    struct tls_session *session;
    struct loop_io net, plain; /* plain.fd: our end of the pair; -1: not yet */
    struct loop_timer deadline;
    int64_t whole_by_ms; /* of a handshake whose deadline is its first byte's; 0: of no other */
    int64_t passed_up_bytes; /* through the plain end, of what the caller sent */
    struct buf up, down;     /* what the other side of it could not take at once */
    enum {
        TLS_BRIDGE_HANDSHAKE, /* nobody above knows of it yet */
        TLS_BRIDGE_OPEN,      /* bytes go both ways */
        TLS_BRIDGE_LINGERING  /* all is sent; what the caller still sends is thrown away */
    } state;
    int given_fd;               /* the other end, until somebody asks for its bridge */
    struct tls_bridge **holder; /* who asked; NULL: none, or gone again */
    bool released;              /* ... gone again, and not all is sent yet */
    int64_t send_timeout_ms;    /* ... for how long the caller may take nothing of it then */
    int64_t taken_bytes;        /* ... of what is sent, when last looked */
    bool refused;               /* above listen.max_connections, see struct conn */
    bool cut;                   /* the end must not look like one */
    bool watched;               /* the caller leaving is of interest */
    bool left;                  /* the caller has closed, or half-closed */
    bool stalled;               /* ... it was cut, since the caller took nothing of it */
    bool expired;               /* its deadline has passed */
    bool up_ended, ready;
    LIST_ENTRY(tls_bridge) link, given_link;
    TAILQ_ENTRY(tls_bridge) ready_link;
};

struct tls_bridges {
    struct loop *loop;
    LIST_HEAD(tls_bridge_list, tls_bridge) all;
    LIST_HEAD(tls_bridge_given, tls_bridge) given;
    TAILQ_HEAD(tls_bridge_ready, tls_bridge) ready;
    size_t count;
    size_t releasing; /* bridges that still have to send what nobody waits for any more */
    /* The handshake is done: fd is the plain end, which is taken over, also on failure. Returns
     * 0 or -errno. */
    int (*on_open)(void *arg, int fd);
    /* It came to nothing (`why`, in words); what is written to net.fd now is plain text. */
    void (*on_failed)(void *arg, struct tls_bridge *t, const char *why);
    /* A bridge is about to be freed. */
    void (*on_gone)(void *arg, struct tls_bridge *t);
    void *arg;
    char scratch[16384]; /* a record */
};

void tls_bridges_init(struct tls_bridges *host, struct loop *l);
/* Ends all; what can be sent without waiting is sent. After the plain ends have been closed. */
void tls_bridges_done(struct tls_bridges *host);

/* Takes over an accepted, non-blocking descriptor and does the TLS handshake until deadline_ms. Returns 0
 * or -errno (the descriptor is closed then). on_gone is called once for each that returned 0.
 */
int tls_bridge_open(struct tls_bridges *host, struct tls *tls, int fd, int64_t deadline_ms,
                    bool refused) MUST_CHECK;

/* The bridge that a plain end leads to, or NULL; once for each. *holder is set, and set to NULL
 * when the bridge ends first. */
void tls_bridge_hold(struct tls_bridges *host, int fd, struct tls_bridge **holder);
/* The plain end is about to be closed: what it has written goes out, unless the caller takes none
 * of it for so long; then it sees a reset. Takes a *holder that is NULL. */
void tls_bridge_release(struct tls_bridge **holder, int64_t send_timeout_ms);

/* From now on, whether the caller left is told by the plain end (half-closed). */
void tls_bridge_watch(struct tls_bridge *t, bool on);
/* The end must look like a broken connection: no close_notify, a reset. */
void tls_bridge_cut(struct tls_bridge *t);
/* Ends it now, by a reset. */
void tls_bridge_abort(struct tls_bridge *t);
/* The caller's connection, to be looked at. */
int tls_bridge_fd(const struct tls_bridge *t);
/* Whether it holds bytes that the caller has had no room for. */
bool tls_bridge_keeps_bytes(const struct tls_bridge *t);
/* Bytes that have come from the caller, encrypted. */
int64_t tls_bridge_received_bytes(const struct tls_bridge *t);
/* Whether more has come and was not looked at yet. */
bool tls_bridge_has_received(const struct tls_bridge *t);

/* Moves what can be moved. Returns whether there is more at hand. */
bool tls_bridges_turn(struct tls_bridges *host);
/* Whether a handshake is under way. */
bool tls_bridges_in_handshake(const struct tls_bridges *host);
/* Ends those from which nothing has come by then. */
void tls_bridges_stop_silent(struct tls_bridges *host, int64_t begin_by_ms);
/* Ends those that nobody above knows of yet. */
void tls_bridges_stop_handshakes(struct tls_bridges *host);

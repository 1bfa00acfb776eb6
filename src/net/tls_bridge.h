#pragma once
/* A caller's TLS connection, and the plain one behind it that libmicrohttpd gets: one end of a
 * socket pair, once the handshake is done. Nothing above knows of TLS but for what is asked
 * here. All of it by the worker's thread. */
#include <sys/queue.h>

#include "base/buf.h"
#include "event/loop.h"
#include "net/tls.h"

struct tunnel {
    struct tunnels *host;
    struct tls_session *session;
    struct loop_watch net, plain; /* plain.fd: our end of the pair; -1: not yet */
    struct loop_timer deadline;
    struct buf up, down; /* what the other side of it could not take at once */
    enum {
        TUNNEL_SHAKING,  /* hands: nobody above knows of it yet */
        TUNNEL_OPEN,     /* bytes go both ways */
        TUNNEL_LINGERING /* all is said; what the caller still sends is thrown away */
    } state;
    int given_fd;           /* the other end, until somebody asks for its tunnel */
    struct tunnel **holder; /* who asked; NULL: none, or gone again */
    bool released;          /* ... gone again, and not all is sent yet */
    bool refused;           /* above listen.max_connections, see struct caller */
    bool cut;               /* the end must not look like one */
    bool watched;           /* the caller leaving is of interest */
    bool left;              /* the caller has closed, or half-closed */
    bool expired;           /* its deadline has passed */
    bool up_ended, ready;
    LIST_ENTRY(tunnel) link, given_link;
    TAILQ_ENTRY(tunnel) ready_link;
};

struct tunnels {
    struct loop *loop;
    LIST_HEAD(tunnel_list, tunnel) all;
    LIST_HEAD(tunnel_given, tunnel) given;
    TAILQ_HEAD(tunnel_ready, tunnel) ready;
    size_t count;
    size_t releasing; /* tunnels that still have to send what nobody waits for any more */
    /* The handshake is done: fd is the plain end, which is taken over, also on failure. Returns
     * 0 or -errno. */
    int (*on_open)(void *arg, int fd);
    /* It came to nothing (`why`, in words); what is written to net.fd now is plain text. */
    void (*on_failed)(void *arg, struct tunnel *t, const char *why);
    /* A tunnel is about to be freed. */
    void (*on_gone)(void *arg, struct tunnel *t);
    void *arg;
    char scratch[16384]; /* a record */
};

void tunnels_init(struct tunnels *host, struct loop *l);
/* Ends all; what can be sent without waiting is sent. After the plain ends have been closed. */
void tunnels_done(struct tunnels *host);

/* Takes over an accepted, non-blocking descriptor and shakes hands until deadline_ms. Returns 0
 * or -errno (the descriptor is closed then). on_gone is called once for each that returned 0.
 */
int tunnel_open(struct tunnels *host, struct tls *tls, int fd, int64_t deadline_ms,
                bool refused) MUST_CHECK;

/* The tunnel that a plain end leads to, or NULL; once for each. *holder is set, and set to NULL
 * when the tunnel ends first. */
void tunnel_hold(struct tunnels *host, int fd, struct tunnel **holder);
/* The plain end is about to be closed: what it has written goes out, until deadline_ms. Takes a
 * *holder that is NULL. */
void tunnel_release(struct tunnel **holder, int64_t deadline_ms);

/* From now on, whether the caller left is told by the plain end (half-closed). */
void tunnel_watch(struct tunnel *t, bool on);
/* The end must look like a broken connection: no close_notify, a reset. */
void tunnel_cut(struct tunnel *t);
/* Bytes that have come from the caller, encrypted. */
int64_t tunnel_received_bytes(const struct tunnel *t);
/* Whether more has come and was not looked at yet. */
bool tunnel_has_received(const struct tunnel *t);

/* Moves what can be moved. Returns whether there is more at hand. */
bool tunnels_turn(struct tunnels *host);
/* Whether a handshake is under way. */
bool tunnels_shaking(const struct tunnels *host);
/* Ends those from which nothing has come. */
void tunnels_stop_silent(struct tunnels *host);
/* Ends those that nobody above knows of yet. */
void tunnels_stop_shaking(struct tunnels *host);

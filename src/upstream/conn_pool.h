#pragma once
/* A connection to the upstream that libcurl makes and we speak on: names, proxies and TLS are
 * libcurl's, what goes over it is upstream_http1.c's. Those that are idle wait in a pool.
 * Thread: worker, for all of it. */
#include <sys/queue.h>
#include <sys/types.h>

#include "base/base.h"
#include "event/loop.h"
#include "net/curl_host.h"

struct snapshot;
struct wire;

TAILQ_HEAD(wire_list, wire);

/* Who speaks on them, once for all. Called in the loop's turns only, never while the user is in
 * a function of this file. */
struct wires_user {
    /* The connection is there; or not, for this reason, and the wire is to be closed. */
    void (*on_open)(struct wire *w, CURLcode code);
    /* It can be read or written again. */
    void (*on_ready)(struct wire *w);
};

#define WIRE_SCRATCH_BYTES 32768

struct wires {
    struct multi *multi;
    const struct wires_user *user;
    size_t max, count;      /* kept at most; open */
    struct wire_list idle;  /* the one that was used last in front */
    struct wire_list woken; /* to be told on_ready in the next turn */
    struct loop_timer aging;
    char *scratch; /* the user's, for what is read: WIRE_SCRATCH_BYTES */
};

struct wire {
    struct wires *wires;
    void *owner;                 /* the user's; NULL: idle */
    bool readable, writable;     /* as far as is known: until WIRE_AGAIN */
    bool used;                   /* it has carried a request before */
    char words[CURL_ERROR_SIZE]; /* libcurl's own about a failure */

    struct multi_transfer transfer; /* from here on: wire.c's */
    CURLSH *cache;                  /* where libcurl looks for the connection */
    struct loop_watch watch;
    struct snapshot *snapshot; /* the settings it was made with */
    void *tls;                 /* OpenSSL's; NULL: plain */
    bool open, is_woken;
    bool ending;          /* the other side sends nothing more, or is gone */
    bool proxied;         /* behind TLS to a proxy `drained` would say nothing of the socket */
    bool drained;         /* the last read found less than it had room for */
    int first;            /* a byte that was here before anything was asked; -1: none */
    CURLcode broken;      /* found before anything was asked */
    uint64_t plain_bytes; /* written */
    int64_t idle_since_ms;
    TAILQ_ENTRY(wire) idle_link, woken_link;
};

/* max: how many are kept. */
void wires_init(struct wires *ws, struct multi *m, size_t max, const struct wires_user *user);
/* Closes those that are idle; none may be in use. Before multi_done. Takes a zeroed one. */
void wires_done(struct wires *ws);
/* The settings have changed: those that are idle were made with others. */
void wires_forget(struct wires *ws);
/* Tells those that were woken. Returns whether there were any. */
bool wires_turn(struct wires *ws);

/* An idle connection made with these settings, of which is certain that nothing has come on it
 * since its last answer, neither bytes nor its end; or a new one, of which on_open tells.
 * fresh: only a new one will do. NULL: no memory. Owns: wire_give or wire_close. */
struct wire *wire_take(struct wires *ws, struct snapshot *s, bool fresh) MUST_CHECK;
/* Back to the others, after a whole answer to a whole request. */
void wire_give(struct wire *w);
/* Ends it, also while it is being made. */
void wire_close(struct wire *w);
/* on_ready in the next turn of wires_turn. */
void wire_wake(struct wire *w);
/* Whether the connection is there. */
bool wire_is_open(const struct wire *w);
/* Whether bytes came on a new one before anything was asked. */
bool wire_has_spoken(const struct wire *w);

#define WIRE_END 0      /* the other side has said that nothing more comes */
#define WIRE_AGAIN (-1) /* not before on_ready */
#define WIRE_CUT (-2)   /* it ended without saying so: TLS without close_notify */
#define WIRE_FAILED (-3)

/* Bytes read, or one of the above. */
ssize_t wire_read(struct wire *w, void *out, size_t size) MUST_CHECK;
/* Bytes written, WIRE_AGAIN or WIRE_FAILED. After WIRE_AGAIN the same bytes must come again, at
 * whatever address. */
ssize_t wire_write(struct wire *w, const void *bytes, size_t n) MUST_CHECK;
/* Bytes that the kernel took so far, a TLS record's own among them: as long as it stays the
 * same, not a byte of what was written can have left. */
uint64_t wire_sent_bytes(const struct wire *w);

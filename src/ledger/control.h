#pragma once
/* The socket beside an SQLite store by which the operator's command speaks to the proxy that has
 * the store: lists entries, resolves them, tells how the ledger is. Who may connect is a matter of
 * the socket's mode, 0600; who did is recorded by user id. */
#include "event/loop.h"
#include "ledger/store.h"
#include "net/acceptor.h"

/* Most connections at one time. */
#define CONTROL_CONNS_MAX 4

/* What the ledger does for it. */
struct control_user {
    enum store_result (*list)(void *arg, const struct store_list *what, struct buf *error);
    enum store_result (*resolve)(void *arg, struct store_resolve *r, struct buf *error);
    void (*status)(void *arg, struct buf *out); /* a few lines of text */
    void *arg;
};

struct control {
    struct loop *loop;
    struct listeners listeners;
    struct acceptor acceptor;
    const struct control_user *user;
    struct control_conn *conn[CONTROL_CONNS_MAX];
};

/* The socket's name, `<path>.sock`, of an SQLite store's URL; NULL: it is another store. Owns: the
 * caller frees. */
char *control_path(const char *url);

/* Listens there; before the sandbox closes and before the loop turns. Returns 0, or -errno with a
 * sentence in `error`. Thread: control, as for all before the loop turns. */
int control_open(struct control *c, struct loop *l, const char *path,
                 const struct control_user *user, struct buf *error) MUST_CHECK;
/* Takes a zeroed one. */
void control_done(struct control *c);

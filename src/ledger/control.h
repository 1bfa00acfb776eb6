#pragma once
/* The socket beside an SQLite store, by which the operator's command talks to the proxy that
 * uses the store: it lists entries, resolves them, and shows the state of the ledger. The
 * socket's mode, 0600, decides who may connect; who did is recorded by user id. */
#include "event/loop.h"
#include "ledger/store.h"
#include "net/acceptor.h"

/* Most connections at the same time. */
#define CONTROL_CONNS_MAX 4

/* The functions of the ledger that it calls. */
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

/* The name of the socket, `<path>.sock`, for the URL of an SQLite store; NULL: it is another
 * kind of store. The caller frees it. */
char *control_path(const char *url);

/* Listens there. Call it before the sandbox is entered and before the loop runs. Returns 0,
 * or -errno with a sentence in `error`. Thread: control, until the loop runs. */
int control_open(struct control *c, struct loop *l, const char *path,
                 const struct control_user *user, struct buf *error) MUST_CHECK;
/* Takes a zeroed one. */
void control_done(struct control *c);

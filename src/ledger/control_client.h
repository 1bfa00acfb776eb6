#pragma once
/* The command's end of the socket of control.h: asks a running proxy and waits for the
 * answer. */
#include "ledger/store.h"

struct control_client {
    int fd;
};

/* Connects. Returns 0; -ENOENT when nobody listens there, so no proxy runs; otherwise -errno
 * with a sentence in `error`. */
int control_client_open(struct control_client *c, const char *path,
                        struct buf *error) MUST_CHECK;
void control_client_close(struct control_client *c);

/* Like the functions of a store. Entries are read in portions, so that the proxy can go on
 * with its work in between. */
enum store_result control_client_list(struct control_client *c, const struct store_list *what,
                                      struct buf *error);
enum store_result control_client_resolve(struct control_client *c, struct store_resolve *r,
                                         struct buf *error);
/* Appends a few lines of text. */
enum store_result control_client_status(struct control_client *c, struct buf *out,
                                        struct buf *error);

#pragma once
/* The command's end of the socket of control.h: asks a running proxy, and waits. */
#include "ledger/store.h"

struct control_client {
    int fd;
};

/* Connects. Returns 0; -ENOENT when nobody listens there: no proxy runs; else -errno with a sentence
 * in `error`. */
int control_client_open(struct control_client *c, const char *path,
                        struct buf *error) MUST_CHECK;
void control_client_close(struct control_client *c);

/* As a store does them; entries are read in portions, so that the proxy goes on with its work. */
enum store_result control_client_list(struct control_client *c, const struct store_list *what,
                                      struct buf *error);
enum store_result control_client_resolve(struct control_client *c, struct store_resolve *r,
                                         struct buf *error);
/* A few lines of text, appended. */
enum store_result control_client_status(struct control_client *c, struct buf *out,
                                        struct buf *error);

#pragma once
/* Lets libmicrohttpd go on reading the body of a request while the answer is already being
 * written past it.
 *
 *   before:   caller ====== fd, libmicrohttpd's
 *   after:    caller ====== connection, ours --body_feed--> pair ====== fd, libmicrohttpd's
 *
 * libmicrohttpd keeps its descriptor, but that is one end of a socket pair now. What it writes
 * there (a 400 for a broken chunk, say) goes nowhere, so it cannot end up inside the answer; nor
 * can it end the request by itself: the pair is full in its direction. Thread: worker. */
#include "event/loop.h"

struct body_feed {
    struct loop *loop;
    int connection;                       /* the caller's, now ours */
    struct loop_io pair;                  /* our end of the pair */
    bool ended;                           /* the caller sends nothing more, or is gone */
    size_t start, len;                    /* of `bytes`: read and not handed on yet */
    void (*on_room)(struct body_feed *f); /* the pair takes more */
    void *arg;
    char bytes[16384];
};

/* Takes the caller's connection out of `fd`, which libmicrohttpd must not have in its epoll set
 * meanwhile (suspended). Returns NULL when there is no descriptor or memory left; nothing has
 * changed then. */
struct body_feed *body_feed_new(struct loop *l, int fd) MUST_CHECK;
/* Moves what has come and libmicrohttpd takes; while it takes nothing the caller is held back. */
void body_feed_move(struct body_feed *f);
/* libmicrohttpd sees the end of its connection. */
void body_feed_close_pair(struct body_feed *f);
/* Closes both. Takes NULL. */
void body_feed_free(struct body_feed *f);

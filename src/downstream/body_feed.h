#pragma once
/* Lets libmicrohttpd go on reading the body of a request while the answer is already being
 * written without it.
 *
 *   before:   caller ====== fd, libmicrohttpd's
 *   after:    caller ====== connection, ours --body_feed--> pair ====== fd, libmicrohttpd's
 *
 * libmicrohttpd keeps its descriptor, but that is now one end of a socket pair. What it
 * writes there (for example a 400 for a broken chunk) is discarded, so it cannot end up
 * inside the answer. Nor can it end the request by itself: the pair is full in its
 * direction. Thread: worker. */
#include "event/loop.h"

struct body_feed {
    struct loop *loop;
    int connection;      /* the caller's, now ours */
    struct loop_io pair; /* our end of the pair */
    bool ended;          /* nothing more is read from the caller: its end was reached */
    size_t start, len;   /* part of `bytes` that was read and not forwarded yet */
    void (*on_room)(struct body_feed *f); /* the pair accepts more */
    void *arg;
    char bytes[16384];
};

/* Takes the caller's connection out of `fd`, which must not be in libmicrohttpd's epoll set
 * meanwhile (suspended). Returns NULL if no descriptor or memory is left; then nothing has
 * changed. */
struct body_feed *body_feed_new(struct loop *l, int fd) MUST_CHECK;
/* Forwards what has arrived and libmicrohttpd accepts; as long as it accepts nothing, the
 * caller cannot send more. */
void body_feed_move(struct body_feed *f);
/* Whether libmicrohttpd has read everything that the caller has sent up to its end. */
bool body_feed_is_read(const struct body_feed *f);
/* Lets libmicrohttpd see the end of its connection. */
void body_feed_close_pair(struct body_feed *f);
/* Closes both. Takes NULL. */
void body_feed_free(struct body_feed *f);

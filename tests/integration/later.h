#pragma once
/* Moves the clock of the program under test forward, by as much as the test says, so that
 * what takes an hour is tested without waiting, and no machine is too slow for a test:
 *
 *     struct later later;
 *     later_init(&later);
 *     world_start(&w, &(struct world_options){ .env = later.env });
 *     later_by(&later, 3600000);
 *
 * A thread of the program that waits notices it when something wakes it: a request, a
 * signal. */
#include <stdbool.h>
#include <stdint.h>

struct client;

struct later {
    _Atomic int64_t *ahead_ms; /* shared with the program: two, see clock_ahead.c */
    int fd;
    char preload[512], file[64];
    const char *env[4]; /* for the start of the program; has room for one more entry */
};

/* Fails the test if it is not possible. */
void later_init(struct later *l);
/* Preloads another library too; call it before the program is started. */
void later_preload(struct later *l, const char *library);
/* Moves the clock forward from now. */
void later_by(struct later *l, int64_t ms);
/* Puts the wall clock alone forward, as whoever sets it does. */
void later_jump(struct later *l, int64_t ms);
/* Moves the clock forward in steps until the caller receives something or the connection
 * ends: for time limits that are far longer than any delay of a slow machine. False: not
 * within half a minute. */
bool later_until_heard(struct later *l, struct client *c, int64_t step_ms);
void later_done(struct later *l);
/* Declares one that ends at the end of the block. */
#define LATER(name)                                         \
    struct later name __attribute__((cleanup(later_done))); \
    later_init(&(name))

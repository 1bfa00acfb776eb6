#pragma once
/* Makes it later for the program under test, by as much as the test says and at once, so that what
 * takes an hour is tested without waiting for it and no slow machine is too slow:
 *
 *     struct later later;
 *     later_init(&later);
 *     world_start(&w, &(struct world_options){ .env = later.env });
 *     later_by(&later, 3600000);
 *
 * A thread of the program that waits notices it when something wakes it: a request, a signal. */
#include <stdbool.h>
#include <stdint.h>

struct client;

struct later {
    _Atomic int64_t *ahead_ms; /* shared with the program */
    int fd;
    char preload[512], file[64];
    const char *env[4]; /* for the start of the program; there is room for one more */
};

/* Fails the test when it cannot. */
void later_init(struct later *l);
/* Preloads another library too; before the start. */
void later_preload(struct later *l, const char *library);
/* So much later than now. */
void later_by(struct later *l, int64_t ms);
/* Later and later by that step, until the program says something to the caller or ends the
 * connection: for time-outs that are so long that no slow machine comes near them. False: not within
 * half a minute. */
bool later_until_heard(struct later *l, struct client *c, int64_t step_ms);
void later_done(struct later *l);
/* Declares one that ends with its block. */
#define LATER(name)                                         \
    struct later name __attribute__((cleanup(later_done))); \
    later_init(&(name))

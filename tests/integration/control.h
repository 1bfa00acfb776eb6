#pragma once
/* Stops the control thread of the program under test right after the first mail that a
 * reload sends to a worker, and lets it go on. Meanwhile, nothing that the control thread
 * does reaches the workers. Uses late_mail.so, which needs UNCONFINED among the settings, and
 * asks the control thread over its admin listener whether it is idle. */
#include "harness.h"

struct control {
    char folder[32], stop[48], stopped[64], env_stop[64];
    const char *env[3]; /* for the start of the program */
};

#define UNCONFINED "process.sandbox = off\n" /* late_mail.so renames a file */

/* Call it before the program is started. Fails the test if it is not possible. */
void control_init(struct control *c);
/* Reloads with these settings, up to the first mail. */
void control_stops(struct control *c, struct world *w, const char *settings);
void control_goes_on(struct control *c);
